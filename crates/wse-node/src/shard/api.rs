//! Requests of the HTTP API on one connection, one after the other: the body, the answer, and the next request.
//!
//! While a request is being answered nothing more is read. What came with it waits in the record, and so does the next request while the
//! answer has not left: a client gets no further ahead of its answers than by one read.

use std::time::Instant;

use wse_core::http::api::{Accepted, Problem};
use wse_core::http::{Body, Request, Response};

use super::Shard;
use super::close::CLOSE_MS;
use super::conn::{Handshake, Pause, Phase};
use crate::api::{Job, OPENAPI, OTHER, Room, Step, Task};
use crate::log::limited;
use crate::shared::Shared;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// How often a request that is being answered is looked at, only to see whether it still is.
const LOOK_MS: u64 = 1000;

/// A request of the API whose head has come.
#[derive(Debug)]
pub(super) struct Exchange {
    /// What the connection is for the next one.
    handshake: Box<Handshake>,
    accepted: Accepted,
    /// What has come of the body; `None` while the request is being answered.
    body: Option<Body>,
    room: Option<Room>,
}

/// The same before the connection is touched.
pub(super) struct Begun {
    accepted: Accepted,
    body: Body,
    room: Room,
}

/// What the head of a request of the API comes to, if there is one.
///
/// # Errors
/// The answer with which the connection ends.
pub(super) fn begin(shared: &Shared, request: &Request<'_>) -> Option<Result<Begun, Response>> {
    let api = shared.api.as_ref()?;
    let route = wse_core::http::api::Route::of(request.path);
    let begun = wse_core::http::api::accept(request, &api.key.load()).and_then(|accepted| {
        let body = accepted.body(shared.options.max_message_size)?;
        Ok(Begun { accepted, body, room: api.room() })
    });
    Some(begun.map_err(|problem| {
        match route {
            Some(route) => shared.requests.count_route(route, problem.status),
            None => shared.requests.count(OTHER, problem.status),
        }
        if problem.status == 401 {
            api.auth_failures.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            limited!(
                warn,
                shared.clock,
                "a request of the HTTP API came without its key, or with a wrong one"
            );
        }
        problem.to_response()
    }))
}

impl Exchange {
    /// Takes what belongs to the body; what remains is kept for the next request. Whether the body is whole.
    fn take(&mut self, bytes: &[u8]) -> Result<bool, Problem> {
        let Some(body) = &mut self.body else { return Ok(false) };
        let taken = body.push(bytes)?;
        if !self.room.as_mut().is_none_or(|room| room.grow_to(body.len())) {
            return Err(Problem::busy());
        }
        if body.is_whole() {
            self.handshake.head = bytes[taken..].to_vec();
        }
        Ok(body.is_whole())
    }

    /// What is to be done.
    fn task(&mut self) -> Option<Task> {
        let (body, room) = (self.body.take()?, self.room.take()?);
        Some(Task::new(
            self.accepted.route,
            std::mem::take(&mut self.accepted.query),
            body.into_bytes(),
            room,
        ))
    }

    pub(super) fn is_being_answered(&self) -> bool {
        self.body.is_none()
    }
}

impl Shard {
    /// The head of a request has come, and ends at a byte of the buffer.
    pub(super) fn begin_exchange(&mut self, slot: u32, begun: Begun, head_end: usize, len: usize) {
        let deadline_ms = self.now_ms + self.shared.options.handshake_timeout.as_millis() as u64;
        let Some(conn) = self.slots.get_mut(slot) else { return };
        let Phase::Handshake(mut handshake) = std::mem::replace(&mut conn.phase, Phase::Lingering) else {
            return;
        };
        handshake.head = Vec::new();
        let Begun { accepted, body, room } = begun;
        let waits = accepted.expects_continue && !body.is_whole() && head_end == len;
        let exchange = Exchange { handshake, accepted, body: Some(body), room: Some(room) };
        conn.phase = Phase::Api(Box::new(exchange));
        conn.deadline_ms = deadline_ms;
        self.schedule(slot, deadline_ms);
        if waits {
            self.send_own(slot, CONTINUE);
        }
        self.take_body(slot, head_end, len);
    }

    /// Looks at the bytes `start..end` of the buffer as the body of a request.
    pub(super) fn take_body(&mut self, slot: u32, start: usize, end: usize) {
        let Some(conn) = self.slots.get_mut(slot) else { return };
        let Phase::Api(exchange) = &mut conn.phase else { return };
        match exchange.take(&self.buffer[start..end]) {
            Ok(false) => {}
            Ok(true) => self.work(slot),
            Err(problem) => self.end_exchange(slot, &problem),
        }
    }

    /// Does what a request wants, or has it done.
    fn work(&mut self, slot: u32) {
        let conn_id = self.id(slot);
        let Some(conn) = self.slots.get_mut(slot) else { return };
        let Phase::Api(exchange) = &mut conn.phase else { return };
        if exchange.accepted.route == wse_core::http::api::Route::Openapi {
            return self.answer_exchange(slot, &Response::json(200, OPENAPI.to_owned()));
        }
        let Some(mut task) = exchange.task() else { return };
        if task.is_light()
            && let Step::Done(response) = task.step(&self.shared, false)
        {
            return self.answer_exchange(slot, &response);
        }
        let Some(api) = &self.shared.api else { return };
        match api.submit(Job { conn: conn_id, task }) {
            Ok(()) => conn.flags.paused.add(Pause::ANSWER),
            Err(problem) => self.answer_exchange(slot, &problem.to_response()),
        }
    }

    /// Nothing more can be made of what the client sends: it gets an answer, and the connection ends.
    fn end_exchange(&mut self, slot: u32, problem: &Problem) {
        if let Some(Phase::Api(exchange)) = self.slots.get_mut(slot).map(|conn| &mut conn.phase) {
            exchange.accepted.stays = false;
        }
        self.answer_exchange(slot, &problem.to_response());
    }

    /// Answers the request of a connection, which goes on to the next one or ends.
    pub(super) fn answer_exchange(&mut self, slot: u32, response: &Response) {
        let ends = self.shared.is_stopping() || self.shared.drains.have_begun();
        let idle_timeout = self.shared.options.idle_timeout;
        let Some(conn) = self.slots.get_mut(slot) else { return };
        if !matches!(conn.phase, Phase::Api(_)) {
            return;
        }
        let Phase::Api(exchange) = std::mem::replace(&mut conn.phase, Phase::Lingering) else { return };
        let Exchange { mut handshake, accepted, .. } = *exchange;
        self.shared.requests.count_route(accepted.route, response.status);
        let was_paused = std::mem::take(&mut conn.flags.paused).is_paused();
        if was_paused {
            // What came meanwhile, the end included, was told by an edge that is long past.
            self.again.push((slot, true));
        }
        let stays = accepted.stays && !ends;
        if stays && handshake.kept.is_none() {
            handshake.kept = self.shared.api.as_ref().and_then(|api| api.keep());
        }
        if !stays || handshake.kept.is_none() {
            return self.answer(slot, &response.to_bytes(accepted.without_body));
        }
        let bytes = response.to_bytes_and_stay(accepted.without_body, idle_timeout.as_secs());
        handshake.is_idle = true;
        handshake.has_more = !handshake.head.is_empty();
        handshake.began = Instant::now();
        conn.phase = Phase::Handshake(handshake);
        conn.deadline_ms = self.now_ms + idle_timeout.as_millis() as u64;
        let deadline_ms = conn.deadline_ms;
        self.schedule(slot, deadline_ms);
        self.send_own(slot, &bytes);
        if let Some(conn) = self.slots.get_mut(slot)
            && let Phase::Handshake(handshake) = &mut conn.phase
            && !conn.outbox.is_empty()
        {
            handshake.is_unsent = true;
            conn.flags.paused.add(Pause::ANSWER);
            conn.deadline_ms = self.now_ms + CLOSE_MS;
            let deadline_ms = conn.deadline_ms;
            self.schedule(slot, deadline_ms);
        }
    }

    /// Goes on with requests that came together with one that was answered.
    pub(super) fn serve_pipelined(&mut self, slot: u32) {
        loop {
            let slice_is_over = self.slice_is_over();
            let Some(conn) = self.slots.get_mut(slot).filter(|conn| !conn.flags.paused.is_paused()) else {
                return;
            };
            let Phase::Handshake(handshake) = &mut conn.phase else { return };
            if !std::mem::take(&mut handshake.has_more) {
                return;
            }
            if slice_is_over {
                conn.flags.paused.add(Pause::ROOM);
                return self.await_room(slot);
            }
            let len = handshake.head.len();
            if self.buffer.len() < len {
                self.buffer.resize(len, 0);
            }
            self.buffer[..len].copy_from_slice(&handshake.head);
            self.handshake(slot, len);
        }
    }

    /// An answer has left after all.
    pub(super) fn after_answer(&mut self, slot: u32) {
        let Some(conn) = self.slots.get_mut(slot) else { return };
        let Phase::Handshake(handshake) = &mut conn.phase else { return };
        if std::mem::take(&mut handshake.is_unsent) {
            conn.flags.paused.remove(Pause::ANSWER);
            conn.deadline_ms = self.now_ms + self.shared.options.idle_timeout.as_millis() as u64;
            let deadline_ms = conn.deadline_ms;
            self.schedule(slot, deadline_ms);
            self.again.push((slot, true));
            self.serve_pipelined(slot);
        }
    }

    /// What the API's thread answers.
    pub(super) fn take_answer(&mut self, conn: wse_core::ConnId, response: &Response) {
        if self.slots.generation(conn.slot) == conn.generation {
            self.answer_exchange(conn.slot, response);
            self.serve_pipelined(conn.slot);
        }
    }

    /// A look at a request that takes long.
    pub(super) fn check_exchange(&mut self, slot: u32) {
        let now_ms = self.now_ms;
        let Some(conn) = self.slots.get_mut(slot) else { return };
        let Phase::Api(exchange) = &conn.phase else { return };
        if exchange.is_being_answered() {
            self.schedule(slot, now_ms + LOOK_MS);
        } else if conn.flags.lined_up {
            // What it said stands in line to be read: it is the server that is slow, not the client.
            let soon_ms = now_ms + self.tick_ms;
            self.schedule(slot, soon_ms);
        } else {
            self.end_exchange(slot, &Problem::slow());
        }
    }

    /// A look at a connection between two requests, whose time is over or whose answer has not left; true if that is what it is.
    pub(super) fn check_between(&mut self, slot: u32) -> bool {
        let now_ms = self.now_ms;
        let Some(conn) = self.slots.get_mut(slot) else { return false };
        let Phase::Handshake(handshake) = &conn.phase else { return false };
        if handshake.is_unsent {
            let patience_ms = conn.wrote_ms + CLOSE_MS;
            if now_ms < patience_ms {
                self.schedule(slot, patience_ms);
            } else {
                self.cut(slot);
            }
            return true;
        }
        if handshake.is_idle && !conn.flags.paused.is_paused() {
            self.answer(slot, &[]);
            return true;
        }
        false
    }
}
