/**
 * A client for WSE servers: it comes back by itself, goes on where it was, and tells what it missed. Nothing else is needed.
 *
 *     import { WseClient } from "./wse.js";
 *     const client = new WseClient("/wse", { onState: (state) => console.log(state) });
 *     client.subscribe("news", { onMessage: ({ payload }) => console.log(payload) });
 *
 * @typedef {{epoch: string, offset: number}} Position where a message stands in a topic with history
 * @typedef {{topic: string|null, type: string, payload: any, id: string|null, position: Position|null, content: any}} Message
 * @typedef {{kind: "join"|"leave"|"update", topic: string, userId: string, data: object}} Presence
 * @typedef {{topic: string, cause: "server"|"not_recovered"|"no_history"|"hole", missed: number|null, epoch: string|null,
 *            first: number|null, last: number|null, next: Position|null}} Gap `first` and `last` are both missing
 * @typedef {"connecting"|"open"|"waiting"|"closed"} State
 */

/** By close code whether to come back, and the shortest and longest first delay in ms, as in spec/codes.toml. */
export const CLOSES = {
  1000: ["no"], 1001: ["no"], 1010: ["no"], 4403: ["no"], 4401: ["new token", 0, 1000],
  1002: ["yes", 5000, 15000], 1003: ["yes", 5000, 15000], 1005: ["yes", 1000, 3000], 1006: ["yes", 500, 3000],
  1007: ["yes", 5000, 15000], 1009: ["yes", 1000, 5000], 1011: ["yes", 1000, 5000], 1012: ["yes", 500, 5000],
  4300: ["yes", 0, 1000], 4408: ["yes", 500, 3000], 4410: ["yes", 500, 3000], 4429: ["yes", 5000, 30000],
  unknown: ["yes", 1000, 3000],
};
/** How delays grow with each round of failed attempts, and the longest in ms. */
export const BACKOFF = { factor: 2, maxMs: 60000 };

const [PROTOCOL_ERROR, ABNORMAL, AUTHENTICATION, TOO_MUCH] = [1002, 1006, 4401, 4429];
const ELSEWHERE = [4300, 1012]; // closes after which another server is the better choice
const TOPICS_OF_A_COMMAND = 500;
const TOPICS_OF_A_PATTERN = 10000; // positions that a pattern remembers; the longest silent are forgotten first
const BUFFERED_BYTES = 1 << 20; // what may lie in the socket before nothing more is given to it
const OVERHEAD = 256; // bytes that a message counts for in the queue beside its own

const OPTIONS = {
  token: null, onState: null, onMessage: null, onError: null, onGap: (gap) => console.warn("wse: messages are missing", gap),
  maxQueueBytes: 1 << 20, answerTimeout: 30000, attemptTimeout: 10000, pongTimeout: 10000,
};

/** What went wrong: a code of the server, or CLOSED, QUEUE_FULL, OUTCOME_UNKNOWN. */
export class WseError extends Error {
  /** @param {string} code @param {string} message @param {object} [more] */
  constructor(code, message, more = {}) {
    super(message);
    this.code = code;
    Object.assign(this, { name: "WseError" }, more);
  }
}

/** A connection to one of several servers, and all that is subscribed through it. */
export class WseClient {
  /** @type {State} */ state = "closed";
  /** Who the server takes this client for, where it asks for tokens. @type {string|null} */ userId = null;

  #urls; #options; #socket = null; #hello; #subscriptions = new Set(); #isEnded = false;
  #index = 0; #failures = 0; #code = ABNORMAL; #advised = null; #attempts = 0; #refusedToken = null; #said = null;
  #queue = []; #pending = new Map(); #bytes = 0; #allowance = 0; #allowedAt = 0;
  #name = Math.random().toString(36).slice(2, 8); #cids = 0;
  #timer; #ticker; #pumpTimer; #heardAt = 0; #askedAt = null;

  /**
   * Begins to connect.
   *
   * @param {string|string[]} urls where servers are, best first; "/wse" is at the page's own
   * @param {object} [options]
   * @param {string|(() => string|Promise<string>)} [options.token] the token, or what gives one before each connection and
   *     when it is about to end. None where the server finds it in a cookie.
   * @param {(state: State, details: {url: string, code?: number, reason?: string, delay?: number, error?: WseError}) => void}
   *     [options.onState]
   * @param {(message: Message) => void} [options.onMessage] told of messages of no subscription
   * @param {(gap: Gap) => void} [options.onGap] told of messages that do not come; without it the console is
   * @param {(error: WseError) => void} [options.onError] told of what goes wrong while the connection goes on
   * @param {number} [options.maxQueueBytes] what may wait to be sent or answered, with and without a connection (1 MiB)
   * @param {number} [options.answerTimeout] ms until what is not answered fails (30,000)
   * @param {number} [options.attemptTimeout] ms that one attempt to connect may take (10,000)
   * @param {number} [options.pongTimeout] ms that a silent server has to answer before it is given up (10,000)
   */
  constructor(urls, options = {}) {
    for (const name of Object.keys(options)) if (!(name in OPTIONS)) throw new TypeError(`there is no option ${name}`);
    this.#urls = [urls].flat().map(absolute);
    this.#options = { ...OPTIONS, ...options };
    globalThis.addEventListener?.("online", this.#wake);
    globalThis.document?.addEventListener("visibilitychange", this.#wake);
    // A moment later, when `client` has its value in the handlers of who wrote `const client = new WseClient(...)`.
    queueMicrotask(() => this.#isEnded || this.connect());
  }

  /** Where it is connected, or connects next. @returns {string} */
  get url() {
    return this.#urls[this.#index];
  }

  /** Connects again after a server has sent this client away. Subscriptions go on where they were. */
  connect() {
    if (this.#isEnded) throw new WseError("CLOSED", "the client was closed; make another one");
    if (this.state === "closed") this.#attempt();
  }

  /** Says goodbye for good, with 1000 or a code of your own. Subscriptions end, and what is not answered fails. */
  close(code = 1000, reason = "") {
    if (this.#isEnded) return;
    this.#isEnded = true;
    globalThis.removeEventListener?.("online", this.#wake);
    globalThis.document?.removeEventListener("visibilitychange", this.#wake);
    const error = new WseError("CLOSED", "the client was closed");
    for (const subscription of this.#subscriptions) subscription.end(error);
    this.#subscriptions.clear();
    this.#stop(error, { code, reason });
  }

  /**
   * Hears a topic, several of them, or a pattern ("room:*"), from now or from a position on, until it is unsubscribed.
   *
   * @param {string|string[]} topics
   * @param {object} [handlers]
   * @param {(message: Message) => void} [handlers.onMessage]
   * @param {(gap: Gap) => void} [handlers.onGap] instead of the client's
   * @param {() => void} [handlers.onReady] told when the server has answered, on each connection
   * @param {(error: WseError) => void} [handlers.onError] told when the server refuses it, and it has ended
   * @param {object} [handlers.presence] makes this user present in the topics, and is what others see
   * @param {(presence: Presence) => void} [handlers.onPresence] told who comes, goes, and shows something else
   * @param {Record<string, Position>} [handlers.positions] the last messages that you have, by topic
   * @returns {Subscription}
   */
  subscribe(topics, handlers = {}) {
    if (this.#isEnded) throw new WseError("CLOSED", "the client was closed");
    const all = { onGap: this.#options.onGap, ...handlers };
    const subscription = new Subscription([topics].flat(), all, (left) => this.#leave(left));
    for (const { tracks } of this.#subscriptions)
      for (const topic of subscription.topics)
        if (tracks.has(topic)) throw new WseError("INVALID_SUBSCRIPTION", `${topic} is subscribed already: share its messages`);
    this.#subscriptions.add(subscription);
    if (this.state === "open") this.#ask(subscription);
    return subscription;
  }

  /**
   * Publishes an object, now or when there is a connection.
   *
   * @param {string} topic
   * @param {object} data the message, such as `{t: "chat", p: {text: "hi"}}`
   * @param {{resend?: boolean}} [how] `resend` sends it once more if the connection is lost before the answer, and perhaps it
   *     is published twice; without it the promise fails with OUTCOME_UNKNOWN then
   * @returns {Promise<Position|null>} its position, where this server gives it one
   */
  publish(topic, data, { resend = false } = {}) {
    return this.#promised("publish", { topic, data }, resend);
  }

  /** Says something to the server's program, and returns what it answers. @param {string} type @returns {Promise<any>} */
  request(type, payload = {}, { resend = false } = {}) {
    return this.#promised(type, payload, resend);
  }

  /** Says something to the server's program that needs no answer. Throws QUEUE_FULL and CLOSED. @param {string} type */
  send(type, payload = {}) {
    this.#push({ t: type, p: payload });
  }

  /** Changes what others see of this user, here and when the client comes back. @param {object} data @returns {Promise<null>} */
  updatePresence(data) {
    for (const { handlers } of this.#subscriptions) if (handlers.presence) handlers.presence = data;
    return this.#promised("presence_update", { data }, true);
  }

  // ---- What waits to be sent ----

  #promised(t, p, resend) {
    return new Promise((resolve, reject) => this.#push({ t, p, cid: this.#cid() }, { resend, resolve, reject }));
  }

  /** @param {any} message @param {{resend?: boolean, resolve?: (value: any) => void, reject?: (error: any) => void}} [how] */
  #push(message, { resend = false, resolve = nothing, reject = nothing } = {}) {
    const text = JSON.stringify(message);
    const bytes = new TextEncoder().encode(text).length + OVERHEAD;
    const limit = this.#options.maxQueueBytes;
    if (this.#isEnded || (this.state === "closed" && this.#attempts)) throw new WseError("CLOSED", "there is no connection");
    if (this.#bytes + bytes > limit) throw new WseError("QUEUE_FULL", `more than maxQueueBytes, ${limit}, would wait`);
    this.#bytes += bytes;
    this.#queue.push({ text, bytes, cid: message.cid, resend, resolve, reject });
    this.#pump();
  }

  #cid() {
    return `${this.#name}-${++this.#cids}`;
  }

  #ask(subscription) {
    for (let at = 0; at < subscription.topics.length; at += TOPICS_OF_A_COMMAND) {
      const topics = subscription.topics.slice(at, at + TOPICS_OF_A_COMMAND);
      const resolve = (p) => this.#subscriptions.has(subscription) && this.#answered(subscription, topics, p);
      const reject = (error) => this.#refused(subscription, error);
      // What it says is decided when it is sent, since positions move.
      this.#queue.push({ subscription, topics, resolve, reject, cid: this.#cid(), bytes: 0 });
    }
    this.#pump();
  }

  #answered(subscription, topics, { failed_topics = [], errors = {}, recovery = {} }) {
    const refused = topics.filter((topic) => failed_topics.includes(topic));
    if (!refused.length) return subscription.answered(topics, recovery);
    const { code = "NOT_ALLOWED", message = "the server did not say why" } = errors[refused[0]] ?? {};
    return this.#refused(subscription, new WseError(code, `${refused.join(", ")}: ${message}`, { topics: refused }));
  }

  #refused(subscription, error) {
    if (!this.#subscriptions.has(subscription)) return;
    if (error.code === "SERVER_ERROR") return this.#askLater(subscription, error.retryAfter ?? 2);
    this.#leave(subscription);
    subscription.end(error);
  }

  /** Asks again for what the server could not do just now; more than was missing does no harm. */
  #askLater(subscription, seconds) {
    const socket = this.#socket;
    setTimeout(() => socket === this.#socket && this.#subscriptions.has(subscription) && this.#ask(subscription), seconds * 1000);
  }

  #leave(subscription) {
    if (!this.#subscriptions.delete(subscription) || this.state !== "open") return;
    this.#queue = this.#queue.filter((entry) => entry.subscription !== subscription);
    const p = { action: "unsubscribe", topics: subscription.topics };
    this.#queue.push({ text: JSON.stringify({ t: "subscription_update", p }), subscription, resolve: nothing, bytes: 0 });
    this.#pump();
  }

  /** Sends what may be sent: within the server's rate, of which a fifth is left, and no faster than the socket takes it. */
  #pump() {
    clearTimeout(this.#pumpTimer);
    while (this.state === "open" && this.#canSend() && this.#queue.length) {
      const { rate_limit_capacity: capacity, rate_limit_refill: refill } = this.#hello.limits;
      const refilled = this.#allowance + ((now() - this.#allowedAt) / 1000) * refill;
      this.#allowance = Math.min(Math.max(1, capacity * 0.8), refilled);
      this.#allowedAt = now();
      const pause = this.#socket.bufferedAmount > BUFFERED_BYTES ? 50 : ((1 - this.#allowance) / refill) * 1000;
      if (pause > 0) return void (this.#pumpTimer = setTimeout(() => this.#pump(), pause + 1));
      this.#allowance -= 1;
      this.#send(this.#queue.shift());
    }
  }

  /** Not any more once the server has said goodbye, which `onclose` tells later. What waits then goes over the next connection. */
  #canSend = () => this.#socket.readyState === WebSocket.OPEN;

  #say = (message) => this.#canSend() && this.#socket.send(JSON.stringify(message));

  #send(entry) {
    const { cid } = entry;
    const text = entry.text ?? JSON.stringify({ t: "subscription_update", p: entry.subscription.command(entry.topics), cid });
    const limit = this.#hello.limits.max_message_size;
    if (entry.bytes - OVERHEAD > limit) {
      const error = new WseError("MESSAGE_TOO_LARGE", `the server takes ${limit} bytes, and this has more: nothing was sent`);
      if (!cid) this.#trouble(error);
      return this.#settle(entry, error);
    }
    this.#socket.send(text);
    entry.sentAt = now();
    if (cid) this.#pending.set(cid, entry);
    else this.#settle(entry);
  }

  #settle(entry, error, value) {
    this.#bytes -= entry.bytes;
    if (error) entry.reject(error);
    else entry.resolve(value);
  }

  // ---- The way to a connection, and back to one ----

  async #attempt() {
    const attempt = ++this.#attempts; // what belongs to an older one counts no more
    clearTimeout(this.#timer);
    this.#said = null;
    this.#timer = setTimeout(() => this.#failed("the server did not greet within attemptTimeout"), this.#options.attemptTimeout);
    this.#tell("connecting");
    const { token: source } = this.#options;
    try {
      const token = typeof source === "function" ? await source() : source;
      if (attempt !== this.#attempts) return;
      const isRefused = token && token === this.#refusedToken;
      if (isRefused) this.#stop(new WseError("AUTH_FAILED", "the server refuses the token, and there is no other"));
      else this.#dial(token);
    } catch (error) {
      if (attempt === this.#attempts) this.#failed(error?.message ?? String(error));
    }
  }

  #dial(token) {
    // A browser can set no header here, so a token travels as a subprotocol.
    const socket = token ? new WebSocket(this.url, ["wse", `bearer.${token}`]) : new WebSocket(this.url);
    const p = { client_version: "wse.js", protocol_version: 1, features: { compression: false }, capabilities: [] };
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(JSON.stringify({ t: "client_hello", p }));
    socket.onmessage = ({ data }) => this.#hear(data);
    socket.onclose = ({ code, reason }) => this.#lost(code, reason, token);
    // Not everywhere is an attempt that fails told as a close as well.
    socket.onerror = () => this.#lost(ABNORMAL, "", token);
    this.#socket = socket;
  }

  #lost(code, reason, token) {
    const wasOpen = this.state === "open";
    const closed = new WseError("CLOSED", reason || `the connection ended with ${code}`);
    const error = code === AUTHENTICATION ? (this.#said ?? closed) : closed; // an error before it says which it was
    const [reconnect] = CLOSES[code] ?? CLOSES.unknown;
    const isProvided = typeof this.#options.token === "function";
    if (reconnect === "no" || (reconnect === "new token" && !isProvided)) return this.#stop(error, { code });
    if (reconnect === "new token") this.#refusedToken = token;
    this.#code = code;
    if (!wasOpen) return this.#failed(error.message, code);
    this.#forget();
    if (this.#advised !== null || ELSEWHERE.includes(code)) this.#turn();
    // The server has spread its clients over time already, where it says when to come back.
    return this.#wait(this.#advised ?? this.#delay(), error.message, code);
  }

  #failed(reason, code) {
    this.#forget()?.close();
    this.#failures += 1;
    this.#turn();
    this.#wait(this.#delay(), reason, code);
  }

  #turn() {
    this.#index = (this.#index + 1) % this.#urls.length;
  }

  #wait(delay, reason, code) {
    this.#advised = null;
    this.#timer = setTimeout(() => this.#attempt(), delay);
    this.#tell("waiting", { delay: Math.round(delay), reason, code });
  }

  /** A random delay; it doubles once all URLs have failed, so that a second server is tried as soon as the first was. */
  #delay() {
    const [, shortest, longest] = CLOSES[this.#code] ?? CLOSES.unknown;
    const factor = BACKOFF.factor ** Math.min(Math.floor(this.#failures / this.#urls.length), 32);
    const most = Math.min(longest * factor, BACKOFF.maxMs);
    const least = Math.min(shortest * factor, most / 2);
    return least + Math.random() * (most - least);
  }

  /** Lets go of the connection. What was sent and not answered is sent again if it wants that, and fails if not. */
  #forget() {
    const socket = this.#socket;
    if (socket) socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
    this.#socket = null;
    this.#attempts += 1;
    for (const timer of [this.#timer, this.#ticker, this.#pumpTimer]) clearTimeout(timer);
    const sent = [...this.#pending.values()];
    this.#pending.clear();
    this.#queue = [...sent.filter((entry) => entry.resend), ...this.#queue.filter((entry) => !entry.subscription)];
    const error = new WseError("OUTCOME_UNKNOWN", "the connection was lost before the answer came");
    for (const entry of sent) if (!entry.resend && !entry.subscription) this.#settle(entry, error);
    for (const { tracks } of this.#subscriptions) for (const track of tracks.values()) track.down();
    return socket;
  }

  /** Stays away until `connect` is called. @param {WseError} error @param {{code?: number, reason?: string}} [farewell] */
  #stop(error, { code, reason } = {}) {
    this.#forget()?.close(...(this.#isEnded ? [code, reason] : []));
    for (const entry of this.#queue.splice(0)) this.#settle(entry, error);
    if (this.state !== "closed") this.#tell("closed", { code, reason: error.message, error: this.#isEnded ? undefined : error });
  }

  #tell(state, details) {
    this.state = state;
    call(this.#options.onState, state, { url: this.url, ...details });
  }

  #trouble(error) {
    call(this.#options.onError ?? warn, error);
  }

  /** The network is back, or somebody looks at the page again: then waiting has an end, and so has trust. */
  #wake = () => {
    if (globalThis.document?.visibilityState === "hidden") return;
    if (this.state === "waiting" && this.#code !== TOO_MUCH) this.#attempt();
    else if (this.state === "open") this.#areYouThere();
  };

  #areYouThere() {
    this.#askedAt ??= now();
    this.#say({ t: "ping", p: { timestamp: Date.now() } });
  }

  /** Looks now and then whether the server is silent. It is asked first: a laptop that has slept has not listened. */
  #tend() {
    if (this.#askedAt !== null && now() - this.#askedAt > this.#options.pongTimeout) {
      this.#socket.close();
      return this.#lost(ABNORMAL, "the server is silent");
    }
    if (this.#askedAt === null && now() - this.#heardAt > this.#hello.ping_interval * 1.2) this.#areYouThere();
    for (const [cid, entry] of this.#pending) {
      if (entry.subscription || now() - entry.sentAt < this.#options.answerTimeout) continue;
      this.#pending.delete(cid);
      this.#settle(entry, new WseError("OUTCOME_UNKNOWN", "no answer came within answerTimeout"));
    }
  }

  // ---- What the server says ----

  #hear(data) {
    this.#heardAt = now();
    this.#askedAt = null;
    try {
      this.#understand(parsed(data));
    } catch (error) {
      this.#socket?.close();
      this.#lost(PROTOCOL_ERROR, `the server said what can't be understood: ${error.message}`);
    }
  }

  #understand(content) {
    const { c, t, p, payload, tp, cid } = isObject(content) ? content : {};
    const entry = tp === undefined ? this.#pending.get(cid) : undefined;
    if (entry) this.#pending.delete(cid);
    if (c === "WSE" && t === "error") return this.#error(p, entry);
    const isPosition = c === "WSE" && t === "publish";
    if (entry) return this.#settle(entry, null, isPosition ? positionOf(p) : (p ?? payload));
    if (c !== "WSE" || !this.#word(t, p)) this.#offer(messageOf(content));
  }

  /** What the server itself says without being asked. False if this client does not know it. */
  #word(t, p) {
    if (t === "server_hello") this.#greeted(p);
    else if (t === "server_ready") this.userId = p.details.user_id ?? null;
    else if (t === "ping") this.#say({ t: "pong" });
    else if (t === "gap") for (const subscription of this.#subscriptions) subscription.trackOf(p.topic)?.gap(p);
    else if (t === "reconnect") this.#advised = Math.max(0, p.retry_in_ms);
    else if (t === "token_expiring") this.#renewToken();
    else if (/^presence_(join|leave|update)$/.test(t)) this.#presence(t.slice(9), p);
    else return ["PONG", "auth_refresh", "rate_limit_warning", "subscription_update"].includes(t);
    return true;
  }

  #greeted(hello) {
    if (this.state !== "connecting") return;
    clearTimeout(this.#timer);
    this.#hello = hello;
    this.#failures = 0;
    this.#refusedToken = null;
    this.#allowance = Infinity; // the most that is allowed, once it is looked at
    this.#ticker = setInterval(() => this.#tend(), Math.min(1000, hello.ping_interval / 4));
    const waiting = this.#queue.splice(0);
    for (const subscription of this.#subscriptions) this.#ask(subscription);
    this.#queue.push(...waiting);
    this.#tell("open");
    this.#pump();
  }

  #error({ code, message, retry_after }, entry) {
    const error = new WseError(code, message, { retryAfter: retry_after });
    if (entry) return this.#settle(entry, error);
    this.#said = error;
    // Which message was one too many is not said: subscriptions that wait for an answer are asked for again.
    const waiting = code === "RATE_LIMITED" ? [...this.#pending].filter(([, { subscription }]) => subscription) : [];
    for (const [cid, { subscription }] of waiting) this.#pending.delete(cid) && this.#askLater(subscription, retry_after);
    if (this.state === "open") this.#trouble(error);
  }

  async #renewToken() {
    const socket = this.#socket;
    if (typeof this.#options.token !== "function") return;
    try {
      const token = await this.#options.token();
      if (socket === this.#socket) this.#say({ t: "auth_refresh", p: { token } });
    } catch (error) {
      this.#trouble(new WseError("AUTH_FAILED", `no token: ${error?.message ?? error}`));
    }
  }

  #presence(kind, { topic, user_id, data }) {
    for (const subscription of this.#subscriptions)
      if (subscription.trackOf(topic)) call(subscription.handlers.onPresence, { kind, topic, userId: user_id, data });
  }

  #offer(message) {
    const [only, ...more] = this.#subscriptions;
    if (message.topic === null && only && !more.length && !this.#hello.features.recovery) {
      // Without history messages do not say their topic: they are of the only subscription.
      if (only.topics.length === 1 && !isPattern(only.topics[0])) message.topic = only.topics[0];
      return call(only.handlers.onMessage, message);
    }
    const tracks = [...this.#subscriptions].map((subscription) => subscription.trackOf(message.topic)).filter(Boolean);
    for (const track of tracks) track.offer(message);
    if (!tracks.length) call(this.#options.onMessage, message);
  }
}

/** Topics that are heard together. Made by `WseClient.subscribe`. */
class Subscription {
  /** Resolves when the server has answered for all topics; rejects if it refuses, or it ends before. @type {Promise<void>} */
  ready;
  #settle;

  /** @param {string[]} topics @param {any} handlers @param {(left: Subscription) => void} leave */
  constructor(topics, handlers, leave) {
    const give = (message) => call(this.handlers.onMessage, message);
    const tell = (gap) => call(this.handlers.onGap, gap);
    this.handlers = handlers;
    this.leave = leave;
    this.tracks = new Map(topics.map((topic) => [topic, new Track(topic, handlers.positions?.[topic] ?? null, give, tell)]));
    this.topics = [...this.tracks.keys()];
    this.patterns = [...this.tracks.values()].filter((track) => track.regex);
    this.ready = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    this.ready.catch(nothing); // who does not look at it is told by `onError`
  }

  /** The last message of each topic that was given to `onMessage`, as `positions` takes them. @returns {Record<string, Position>} */
  get positions() {
    const tracks = [...this.tracks.values()].filter((track) => track.position);
    return Object.fromEntries(tracks.map(({ topic, position }) => [topic, position]));
  }

  /** Ends it. */
  unsubscribe() {
    this.leave(this);
    this.#settle.reject(new WseError("CLOSED", "it was unsubscribed"));
  }

  command(topics) {
    const known = Object.entries(this.positions).filter(([topic]) => topics.includes(topic) && !isPattern(topic));
    const p = { action: "subscribe", topics, presence: this.handlers.presence };
    return known.length ? { ...p, recover: true, recovery: Object.fromEntries(known) } : p;
  }

  /** What follows the messages of a topic: by its own name rather than by a pattern. */
  trackOf(topic) {
    return this.tracks.get(topic) ?? this.patterns.find((track) => track.regex.test(topic));
  }

  answered(topics, recovery) {
    for (const topic of topics) this.tracks.get(topic).answered(recovery[topic]);
    if (![...this.tracks.values()].every((track) => track.isLive)) return;
    this.#settle.resolve();
    call(this.handlers.onReady);
  }

  end(error) {
    this.#settle.reject(error);
    if (error.code !== "CLOSED") call(this.handlers.onError ?? warn, error);
  }
}

/** Where a subscription stands in one topic or pattern: what comes once more is dropped, what is missing is told. */
class Track {
  topic; position; give; tell; regex;
  isLive = false; // what comes before the server has answered comes again, or is told as a gap
  #wasLive = false;
  #heard = new Map();
  #fresh = new Set();

  constructor(topic, position, give, tell) {
    Object.assign(this, { topic, position, give, tell, regex: isPattern(topic) ? regexOf(topic) : null });
  }

  down() {
    this.isLive = false;
    this.#fresh.clear();
  }

  answered(recovery) {
    const asked = this.regex ? null : this.position;
    const isLost = this.#wasLive || asked;
    this.isLive = this.#wasLive = true;
    if (!recovery) {
      this.position = null;
      if (isLost) this.tell(gapOf(this.topic, "no_history"));
      return;
    }
    const stands = positionOf(recovery);
    if (!asked || !recovery.recovered || recovery.count === 0) this.position = stands;
    if (asked && !recovery.recovered) this.tell(between(this.topic, "not_recovered", asked, stands));
  }

  offer(message) {
    const { topic, position: at } = message;
    const known = this.#known(topic);
    if (!this.isLive || (known?.epoch === at.epoch && at.offset <= known.offset)) return;
    const before = { epoch: at.epoch, offset: at.offset - 1 };
    const follows = known?.epoch === before.epoch && known.offset === before.offset;
    // Of a pattern's topic nobody may have listened in between.
    if (known && !follows && (!this.regex || this.#fresh.has(topic))) this.tell(between(topic, "hole", known, before));
    this.#set(topic, at);
    this.give(message);
  }

  gap({ topic, epoch, from, to, missed, next_epoch, next_offset }) {
    if (!this.isLive) return;
    if (epoch === undefined) return this.tell(gapOf(topic, "server", { missed }));
    const known = this.#known(topic) ?? { epoch, offset: from - 1 };
    let next = next_epoch == null ? null : { epoch: next_epoch, offset: next_offset };
    let gap;
    if (missed === null || known.epoch !== epoch) {
      // If it is about a numbering that this client has not heard of, what came before it is lost as well.
      next ??= missed === null ? known : { epoch, offset: to ?? from };
      gap = gapOf(topic, "server", { epoch: known.epoch, first: known.offset + 1, next });
    } else {
      // Of what is said to be missing the client may have a part, and miss more before it.
      const end = { epoch, offset: Math.max(to ?? from - 1, known.offset) };
      next ??= end;
      gap = { ...between(topic, "server", known, end), next };
    }
    this.#set(topic, next);
    if (gap.missed !== 0) this.tell(gap);
  }

  #known(topic) {
    return this.regex ? this.#heard.get(topic) : this.position;
  }

  #set(topic, position) {
    if (!this.regex) return void (this.position = position);
    this.#heard.delete(topic); // so that it becomes the youngest
    this.#heard.set(topic, position);
    this.#fresh.add(topic);
    if (this.#heard.size > TOPICS_OF_A_PATTERN) this.#heard.delete(this.#heard.keys().next().value);
  }
}

/** A message as handlers get it. */
function messageOf(content) {
  const { t, type = "", p, payload, id = null, tp, e, o } = isObject(content) ? content : {};
  const isStamped = typeof tp === "string" && typeof e === "string" && Number.isInteger(o);
  const stamp = isStamped ? { topic: tp, position: { epoch: e, offset: o } } : { topic: null, position: null };
  return { ...stamp, type: t ?? type, payload: p ?? payload, id, content };
}

function gapOf(topic, cause, more) {
  return { topic, cause, missed: null, epoch: null, first: null, last: null, next: null, ...more };
}

/** The gap of a client that had one position and stands at another. */
function between(topic, cause, had, stands) {
  const gap = gapOf(topic, cause, { epoch: had.epoch, first: had.offset + 1, next: stands });
  if (had.epoch !== stands.epoch || stands.offset < had.offset) return gap;
  return { ...gap, missed: stands.offset - had.offset, last: stands.offset };
}

/** A JSON object in text, or in bytes that begin with a brace; else what it was. */
function parsed(data) {
  try {
    const isText = typeof data === "string";
    if (!isText && new Uint8Array(data)[0] !== 0x7b) return data;
    const content = JSON.parse(isText ? data : new TextDecoder("utf-8", { fatal: true }).decode(data));
    return isObject(content) ? content : data;
  } catch {
    return data;
  }
}

/** Calls a handler, which harms nobody but itself. */
function call(handler, ...args) {
  try {
    handler?.(...args);
  } catch (error) {
    (globalThis.reportError ?? console.error)(error);
  }
}

function absolute(url) {
  const found = new URL(url, globalThis.location?.href);
  found.protocol = found.protocol.replace("http", "ws");
  return found.href;
}

function regexOf(pattern) {
  const meant = { "*": ".*", "?": "." };
  return new RegExp(`^${[...pattern].map((c) => meant[c] ?? c.replace(/[\\^$.+()[\]{}|/]/, "\\$&")).join("")}$`, "su");
}

const isPattern = (topic) => /[*?]/.test(topic);
const isObject = (content) => content?.constructor === Object;
const now = () => performance.now();
const nothing = () => {};
const positionOf = ({ epoch, offset }) => (epoch === undefined ? null : { epoch, offset });
const warn = (error) => console.warn(`wse: ${error.code}: ${error.message}`);
