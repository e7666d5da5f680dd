//! From the first byte to an open connection, or to an answer in HTTP.

use std::net::SocketAddr;

use wse_core::acl::Acl;
use wse_core::auth::{Claims, Life, TokenError, find_token};
use wse_core::encoding::Format;
use wse_core::http::api::is_path;
use wse_core::http::{Head, Request, Response};
use wse_core::protocol::codes::ErrorCode;
use wse_core::protocol::words;
use wse_core::websocket::deflate::{Agreement, Mode};
use wse_core::websocket::upgrade::{self, Upgrade};

use super::Shard;
use super::api::{self, Begun};
use super::close::{CLOSE_MS, Reason};
use super::conn::{Agreed, Own, Pause, Phase};
use super::proxied::forwarded;
use crate::api::{OTHER, PAGE};
use crate::events::EventKind;
use crate::health;
use crate::log::limited;
use crate::metrics::Metrics;
use crate::people::{Asked, Person};
use crate::shared::Shared;
use crate::squeeze::{Wire, write_text};
use crate::stats::TIMES;

/// The reading of the keys that is always over.
const NO_READING: u64 = 0;

/// What a request comes to.
enum Outcome {
    /// More bytes are needed.
    Wait,
    /// An answer in HTTP and the end; whether it is a refused upgrade, and whether its body is left out.
    Answer { response: Response, refused: bool, without_body: bool },
    /// No room for the event of another connection: later.
    NoRoom,
    /// The token's key is not known, or not yet: when the set was read for the time of this number.
    NoKey(u64),
    /// A request of the API; its body may follow the head at once.
    Api(Begun, usize),
    /// An open connection; frames may follow the head at once.
    Open(Opening),
}

/// What is known when the upgrade is accepted.
struct Opening {
    head_end: usize,
    response: Vec<u8>,
    deflate: Option<Agreement>,
    format: Format,
    identity: Identity,
    /// The client, where a trusted proxy tells who it is.
    client: Option<SocketAddr>,
}

/// Who comes in.
enum Identity {
    /// Nobody asked; the cookies as they came.
    Anonymous(Vec<u8>),
    /// What a valid token says, and what its owner may hear.
    User(Claims, Option<Acl>),
    /// No token or a bad one: told in band, since a browser can't see an HTTP status.
    Refused(ErrorCode, &'static str),
}

impl Shard {
    /// Looks at the first `len` bytes of the buffer as a request.
    pub(super) fn handshake(&mut self, slot: u32, len: usize) {
        let Some((hop, len)) = self.take_proxy_header(slot, len) else { return };
        let awaits = match self.slots.get_mut(slot).map(|conn| &conn.phase) {
            Some(Phase::Handshake(handshake)) => handshake.awaits_reading,
            _ => None,
        };
        let outcome = judge(&self.shared, hop, &self.buffer[..len], awaits);
        match outcome {
            Outcome::Wait => self.keep_head(slot, len, false),
            Outcome::NoRoom => self.keep_head(slot, len, true),
            Outcome::NoKey(reading) => {
                self.keep_head(slot, len, true);
                self.await_reading(slot, reading);
            }
            Outcome::Answer { response, refused, without_body } => {
                if refused {
                    self.handle().stats.rejected.add(1);
                }
                self.answer(slot, &response.to_bytes(without_body));
            }
            Outcome::Api(begun, head_end) => self.begin_exchange(slot, begun, head_end, len),
            Outcome::Open(opening) => self.open(slot, opening, len),
        }
    }

    fn keep_head(&mut self, slot: u32, len: usize, pause: bool) {
        let deadline_ms = self.now_ms + self.shared.options.handshake_timeout.as_millis() as u64;
        let mut begins = false;
        let Some(conn) = self.slots.get_mut(slot) else { return };
        if let Phase::Handshake(handshake) = &mut conn.phase {
            handshake.head = self.buffer[..len].to_vec();
            if len > 0 && std::mem::take(&mut handshake.is_idle) {
                conn.deadline_ms = deadline_ms;
                begins = true;
            }
        }
        if pause {
            conn.flags.paused.add(Pause::ROOM);
            self.paused.push(slot);
        }
        if begins {
            // Another request on a connection that stays has as long as the first.
            self.schedule(slot, deadline_ms);
        }
    }

    /// The client waits until the set of keys was read again, or `handshake_timeout` is over.
    fn await_reading(&mut self, slot: u32, reading: u64) {
        let Some(conn) = self.slots.get_mut(slot) else { return };
        if let Phase::Handshake(handshake) = &mut conn.phase {
            handshake.awaits_reading = Some(reading);
        }
    }

    /// Sends an HTTP answer and ends.
    pub(super) fn answer(&mut self, slot: u32, response: &[u8]) {
        let deadline_ms = self.now_ms + CLOSE_MS;
        let Some(conn) = self.slots.get_mut(slot) else { return };
        conn.phase = Phase::Lingering;
        conn.deadline_ms = deadline_ms;
        self.schedule(slot, deadline_ms);
        self.send_own(slot, response);
        self.shut_when_sent(slot);
    }

    fn shut_when_sent(&mut self, slot: u32) {
        if self.slots.get_mut(slot).is_some_and(|conn| conn.outbox.is_empty()) {
            self.shut_write(slot);
        }
    }

    /// Answers 101 and begins the session.
    fn open(&mut self, slot: u32, opening: Opening, len: usize) {
        let Opening { head_end, mut response, deflate, format, identity, client } = opening;
        let wire = Wire::of(deflate, format);
        if let Some(conn) = self.slots.get_mut(slot) {
            conn.wire = wire;
            conn.flags.agreed = Agreed::new(format, deflate.is_some());
        }
        if let Identity::Refused(code, message) = identity {
            return self.refuse_in_band(slot, response, code, message);
        }
        let id = self.id(slot);
        let mut life = None;
        let (kind, user_id, acl, bytes) = match identity {
            Identity::User(claims, acl) => {
                life = Some(Life::new(claims.expires_at, self.shared.clock.unix()));
                let user = claims.subject;
                let ready = self.ready(id, &user);
                write_text(&mut response, ready.as_bytes(), format);
                if self.shared.events.keeps_claims() {
                    (EventKind::Claims, Some(user), acl, claims.json.into_vec())
                } else {
                    (EventKind::AuthConnect, Some(user.clone()), acl, user.as_bytes().to_vec())
                }
            }
            Identity::Anonymous(cookies) => (EventKind::Connect, None, None, cookies),
            Identity::Refused(..) => unreachable!("answered above"),
        };
        let deadline_ms = self.first_ping_ms(slot);
        let Some(conn) = self.slots.get_mut(slot) else { return };
        let Phase::Handshake(handshake) = std::mem::replace(&mut conn.phase, Phase::Open) else { return };
        let (address, took) = (client.unwrap_or(handshake.address), handshake.began.elapsed());
        conn.deadline_ms = deadline_ms;
        conn.heard_ms = self.now_ms;
        conn.life = life;
        conn.own = Own::of(deflate);
        let person = Person {
            generation: id.generation,
            address,
            connected_at_ms: self.shared.clock.unix_ms(),
            user_id,
            wire,
            present: false,
            asked: Asked::Nothing,
            subscriptions: Default::default(),
        };
        self.schedule_next(slot);
        self.handle().people.enter(id, person, acl);
        self.handle().stats.accepted.add(1);
        self.handle().stats.handshakes.observe(&TIMES, took.as_nanos() as u64);
        self.shared.topics.join_everyone(usize::from(self.index), wire);
        self.enter_channel(slot, id.generation, self.shared.topics.everyone_channel().id);
        // Before anything is written: a client that is gone already must not be said to leave before it came.
        self.batch.push(kind, id, &bytes);
        self.send_own(slot, &response);
        if len > head_end && self.slots.open(id).is_some() {
            self.take_frames(slot, head_end, len);
        }
    }

    fn ready(&self, id: wse_core::ConnId, user_id: &str) -> String {
        let text = id.to_text(self.shared.run);
        words::Ready {
            id: &health::message_id(self.shared.clock.unix_ms()),
            connection_id: std::str::from_utf8(&text).unwrap_or_default(),
            user_id,
            recovery: self.shared.options.recovery_enabled,
            compression: self.shared.policy.load().compression != Mode::Off,
            unix_ms: self.shared.clock.unix_ms(),
        }
        .to_text()
    }

    /// The upgrade succeeds, the reason is told, the connection closes; the application hears nothing.
    fn refuse_in_band(&mut self, slot: u32, mut response: Vec<u8>, code: ErrorCode, message: &str) {
        self.handle().stats.auth_failures.add(1);
        self.handle().stats.rejected.add(1);
        let error = words::error(code, message, self.shared.clock.unix_ms());
        if let Some(conn) = self.slots.get_mut(slot) {
            conn.write_words(&mut response, &error);
        }
        self.send_own(slot, &response);
        self.close(slot, Reason::Unauthenticated);
    }

    /// The request took longer than `handshake_timeout`.
    pub(super) fn refuse_slow_handshake(&mut self, slot: u32) {
        if self.check_between(slot) {
            return;
        }
        let Some(conn) = self.slots.get_mut(slot) else { return };
        if let Phase::Handshake(handshake) = &mut conn.phase
            && handshake.awaits_reading.is_some_and(|reading| reading != NO_READING)
        {
            // The keys did not come in time: what is there decides.
            handshake.awaits_reading = Some(NO_READING);
            self.resume(slot);
        }
        let Some(conn) = self.slots.get_mut(slot) else { return };
        if !matches!(conn.phase, Phase::Handshake(_)) {
            return;
        }
        if conn.flags.paused.is_paused() {
            // It is the application that is slow, not the client.
            conn.deadline_ms = self.now_ms + self.shared.options.handshake_timeout.as_millis() as u64;
            let deadline_ms = conn.deadline_ms;
            return self.schedule(slot, deadline_ms);
        }
        if matches!(&conn.phase, Phase::Handshake(handshake) if handshake.header_due) {
            return self.drop_without_header(slot);
        }
        self.handle().stats.rejected.add(1);
        self.shared.requests.count(OTHER, 408);
        self.answer(slot, &Response::text(408, "The request took too long.\n").to_bytes(false));
    }
}

/// Decides about a request without touching the connection.
///
/// `awaits` is the reading of the keys that the token was kept for, if it was.
fn judge(shared: &Shared, hop: Option<SocketAddr>, bytes: &[u8], awaits: Option<u64>) -> Outcome {
    let refuse = |response, without_body| Outcome::Answer { response, refused: true, without_body };
    let (request, head_end) = match Head::parse(bytes) {
        Head::Partial => return Outcome::Wait,
        Head::Refused(response) => {
            shared.requests.count(OTHER, response.status);
            return refuse(response, false);
        }
        Head::Whole(request, end) => (request, end),
    };
    let without_body = request.method == "HEAD";
    if is_path(request.path) && !request.header_has("upgrade", "websocket") {
        match api::begin(shared, &request) {
            Some(Ok(begun)) => return Outcome::Api(begun, head_end),
            Some(Err(response)) => return Outcome::Answer { response, refused: false, without_body },
            None => {}
        }
    }
    if !upgrade::is_attempt(&request) {
        return Outcome::Answer { response: page(shared, &request), refused: false, without_body };
    }
    let upgrade = match Upgrade::check(&request, &shared.policy.load()) {
        Ok(upgrade) => upgrade,
        Err(response) => return refuse(response, without_body),
    };
    if shared.drains.have_begun() {
        let draining = Response::text(503, "The server is being emptied; others go on.\n");
        return refuse(draining.with("Retry-After: 1\r\n"), without_body);
    }
    let client = forwarded(shared, hop, &request);
    let identity = match identify(shared, client.or(hop), &request, awaits) {
        Ok(identity) => identity,
        Err(AwaitsReading(reading)) => return Outcome::NoKey(reading),
    };
    if !matches!(identity, Identity::Refused(..)) {
        // Nobody comes in of whom the application could not be told.
        let bytes = identity_len(&identity, shared.events.keeps_claims());
        if !shared.events.reserve(1, bytes) {
            return Outcome::NoRoom;
        }
        if !shared.admit() {
            shared.events.give_back(1, bytes);
            let full = Response::text(503, "The server is full.\n").with("Retry-After: 5\r\n");
            return refuse(full, false);
        }
    }
    let mut response = Vec::with_capacity(512);
    upgrade.write_response(&mut response);
    Outcome::Open(Opening {
        head_end,
        response,
        deflate: upgrade.deflate,
        format: upgrade.format,
        identity,
        client,
    })
}

fn identity_len(identity: &Identity, with_claims: bool) -> usize {
    match identity {
        Identity::Anonymous(cookies) => cookies.len(),
        Identity::User(claims, _) if with_claims => claims.json.len(),
        Identity::User(claims, _) => claims.subject.len(),
        Identity::Refused(..) => 0,
    }
}

/// The token's key may be in the set when it was read for the time of this number.
struct AwaitsReading(u64);

fn identify(
    shared: &Shared,
    client: Option<SocketAddr>,
    request: &Request<'_>,
    awaits: Option<u64>,
) -> Result<Identity, AwaitsReading> {
    let Some(keyring) = &shared.keyring else {
        let cookies: Vec<&[u8]> = request.header_values("cookie").collect();
        return Ok(Identity::Anonymous(cookies.join(&b"; "[..])));
    };
    let presented = find_token(
        shared.options.jwt_cookie_name.as_deref(),
        request.header_values("cookie"),
        request.header_values("authorization"),
        request.header_values("sec-websocket-protocol"),
    );
    let Some(presented) = presented else {
        return Ok(Identity::Refused(ErrorCode::AuthRequired, "a token is required"));
    };
    // Asked before the keys are looked at: a reading that ends in between must not decide with the keys before it.
    let has_waited = awaits.is_some_and(|reading| keyring.has_read(reading));
    let verified = presented.token.and_then(|token| keyring.verifier().verify(token, shared.clock.unix()));
    if let (Err(TokenError::UnknownKey), false) = (&verified, has_waited) {
        return Err(AwaitsReading(awaits.unwrap_or_else(|| keyring.ask())));
    }
    Ok(match verified {
        Ok(claims) => {
            let acl = shared.acl_of_claim(claims.topics.as_deref());
            Identity::User(claims, acl)
        }
        Err(error) => {
            let client = client.map(|client| tracing::field::display(client.ip()));
            limited!(info, shared.clock, reason = error.reason(), client, "a token was refused");
            Identity::Refused(ErrorCode::AuthFailed, error.client_message())
        }
    })
}

/// The answer to a request that does not mean to upgrade.
fn page(shared: &Shared, request: &Request<'_>) -> Response {
    let page = match request.path {
        "/health" => Some(Response::json(200, health::Health::of(shared).to_json())),
        "/metrics" => Some(Response::metrics(Metrics::of(shared).to_text())),
        "/ready" => Some(match shared.why_not_ready() {
            None => Response::json(200, r#"{"ready":true}"#.into()),
            Some(reason) => Response::json(503, format!(r#"{{"ready":false,"reason":"{reason}"}}"#)),
        }),
        path => shared.pages.read().get(path).map(|page| Response::clone(page)),
    };
    let label = match (&page, request.path) {
        (None, _) => OTHER,
        (Some(_), own @ ("/health" | "/metrics" | "/ready")) => own,
        (Some(_), _) => PAGE,
    };
    let response = match page {
        Some(page) if request.method == "GET" || request.method == "HEAD" => page,
        Some(_) => Response::text(405, "This page can only be read.\n").with("Allow: GET, HEAD\r\n"),
        None if request.path == shared.policy.load().path.as_deref().unwrap_or("/wse") => {
            upgrade::upgrade_required()
        }
        None => Response::text(404, "Not found.\n"),
    };
    shared.requests.count(label, response.status);
    response
}
