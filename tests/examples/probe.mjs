// Drives the client under test as a test says, over standard input, and tells what it says, over standard output: a JSON
// object a line, both ways. `{"do": "open", ...}` and so on; `{"event": "state", ...}` and so on.

import { createInterface } from "node:readline";

import { BACKOFF, CLOSES, WseClient } from "../../python/wse_server/static/wse.js";

const subscriptions = {};
const tokens = [];
let client = null;

function tell(event, details) {
  process.stdout.write(JSON.stringify({ event, ...details }) + "\n");
}

async function provide() {
  const token = tokens.length > 1 ? tokens.shift() : tokens[0];
  tell("token", { token });
  return token;
}

const failed = ({ name, code, message, retryAfter, topics }) => ({ name, code, message, retryAfter, topics });

function settle(name, promise) {
  promise.then((value) => tell("resolved", { name, value: value ?? null }), (error) => tell("rejected", { name, error: failed(error) }));
}

const deeds = {
  tables() {
    tell("tables", { closes: CLOSES, backoff: BACKOFF });
  },
  // Lets clients come back twenty times as fast as the table says: the rest is as it is.
  soon() {
    for (const [code, [reconnect, least, most]] of Object.entries(CLOSES)) CLOSES[code] = [reconnect, least / 20, most / 20];
    BACKOFF.maxMs = 1000;
  },
  tokens({ list }) {
    tokens.push(...list);
  },
  open({ urls, options, provided, silent }) {
    client = new WseClient(urls, {
      ...options,
      ...(provided ? { token: provide } : {}),
      onState: (state, { error, ...details }) => tell("state", { state, ...details, error: error && failed(error) }),
      onMessage: ({ topic, type, payload }) => tell("message", { topic, type, payload }),
      onError: (error) => tell("trouble", failed(error)),
      ...(silent ? {} : { onGap: (gap) => tell("gap", gap) }),
    });
  },
  subscribe({ name, topics, ...handlers }) {
    subscriptions[name] = client.subscribe(topics, {
      ...handlers,
      onMessage: ({ topic, type, payload, position }) => tell("heard", { name, topic, type, payload, position }),
      onPresence: (presence) => tell("presence", { name, ...presence }),
      onReady: () => tell("ready", { name }),
      onError: (error) => tell("refused", { name, error: failed(error) }),
    });
  },
  unsubscribe({ name }) {
    subscriptions[name].unsubscribe();
  },
  positions({ name }) {
    tell("positions", { positions: subscriptions[name].positions });
  },
  publish({ name, topic, data, resend }) {
    settle(name, client.publish(topic, data, { resend }));
  },
  request({ name, type, payload }) {
    settle(name, client.request(type, payload));
  },
  presence({ name, data }) {
    settle(name, client.updatePresence(data));
  },
  send({ type, payload }) {
    client.send(type, payload);
  },
  connect() {
    client.connect();
  },
  close() {
    client.close();
  },
};

createInterface({ input: process.stdin }).on("line", (line) => {
  const { do: deed, ...details } = JSON.parse(line);
  try {
    deeds[deed](details);
  } catch (error) {
    tell("thrown", { error: failed(error) });
  }
});
