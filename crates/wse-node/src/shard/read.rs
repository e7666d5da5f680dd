//! Reading: from the socket through the frames to the application's batch.

use std::io::{self, Read};

use wse_core::ConnId;
use wse_core::encoding::zlib::Opener;
use wse_core::protocol::codes::ErrorCode;
use wse_core::protocol::command::{Command, strip_prefix};
use wse_core::protocol::words;
use wse_core::rate::Verdict;
use wse_core::websocket::deflate::Inflater;
use wse_core::websocket::frame::write_frame;
use wse_core::websocket::{Flow, Incoming, Inflation, Opcode, ProtocolError};

use super::close::Reason;
use super::conn::{Conn, Pause, Phase};
use super::{PREFIX_BYTES, READ_BYTES, Shard};
use crate::events::{Batch, EventKind};
use crate::shared::Shared;
use crate::stats::Stats;

/// Reads of one socket in one turn.
const READS_PER_TURN: usize = 4;

/// What a read says about the next one.
enum After {
    /// There is nothing to read, or nobody to read for.
    Nothing,
    /// Less came than there was room for: the socket is empty, unless its end was announced with the data.
    Short,
    /// There may be more.
    More,
}

impl Shard {
    /// The socket has something to read, or its end.
    pub(super) fn on_readable(&mut self, slot: u32, to_the_end: bool) {
        for _ in 0..READS_PER_TURN {
            match self.read_once(slot) {
                After::Nothing => return,
                After::Short if !to_the_end => return,
                After::Short | After::More => {}
            }
            if self.slice_is_over() {
                break;
            }
        }
        self.again.push((slot, to_the_end));
    }

    /// One read, and whatever it brings.
    fn read_once(&mut self, slot: u32) -> After {
        let now_ms = self.now_ms;
        let Some(conn) = self.slots.get_mut(slot) else { return After::Nothing };
        if conn.flags.paused.is_paused() {
            if !conn.has_said_all() {
                return After::Nothing;
            }
            // The application hears nothing but the end.
            conn.flags.paused = Pause::default();
        }
        let prefix = match &conn.phase {
            Phase::Handshake(handshake) => handshake.head.as_slice(),
            Phase::Open | Phase::Closing => conn.receiver.tail(),
            Phase::Api(_) | Phase::Lingering => &[],
        };
        let kept = prefix.len();
        if self.buffer.len() < kept + READ_BYTES {
            self.buffer.resize(kept + READ_BYTES, 0);
        }
        self.buffer[..kept].copy_from_slice(prefix);
        match conn.stream.read(&mut self.buffer[kept..kept + READ_BYTES]) {
            Ok(0) => {
                if matches!(conn.phase, Phase::Lingering) && !conn.outbox.is_empty() {
                    conn.flags.peer_closed = true;
                } else {
                    self.drop_conn(slot);
                }
                After::Nothing
            }
            Ok(read) => {
                conn.heard_ms = now_ms;
                self.handle().stats.bytes_received.add(read as u64);
                self.take_bytes(slot, kept + read);
                self.shrink_buffer();
                if read < READ_BYTES { After::Short } else { After::More }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => After::Nothing,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => After::More,
            Err(_) => {
                self.drop_conn(slot);
                After::Nothing
            }
        }
    }

    /// The buffer grew for the remainder of a paused connection; it need not stay so.
    fn shrink_buffer(&mut self) {
        if self.buffer.len() > PREFIX_BYTES + READ_BYTES {
            self.buffer.truncate(PREFIX_BYTES + READ_BYTES);
            self.buffer.shrink_to_fit();
        }
    }

    /// Looks at the first `len` bytes of the buffer as what this connection said.
    fn take_bytes(&mut self, slot: u32, len: usize) {
        let Some(conn) = self.slots.get_mut(slot) else { return };
        match conn.phase {
            Phase::Open => self.take_frames(slot, 0, len),
            Phase::Handshake(_) => {
                self.handshake(slot, len);
                self.serve_pipelined(slot);
            }
            Phase::Api(_) => {
                self.take_body(slot, 0, len);
                self.serve_pipelined(slot);
            }
            Phase::Closing => self.await_close_frame(slot, len),
            Phase::Lingering => {}
        }
    }

    /// Looks at the bytes `start..end` of the buffer as frames.
    pub(super) fn take_frames(&mut self, slot: u32, start: usize, end: usize) {
        let id = self.id(slot);
        let max_message_size = self.shared.options.max_message_size;
        let Some(conn) = self.slots.get_mut(slot) else { return };
        let mut receiver = std::mem::take(&mut conn.receiver);
        let mut replies = std::mem::take(&mut self.scratch);
        replies.clear();
        let mut own_inflater = conn.own.as_mut().and_then(|own| own.take_inflater());
        let inflation = match &mut own_inflater {
            Some(inflater) => Inflation::By(inflater),
            None if !conn.flags.agreed.deflates() => Inflation::Refused,
            None => Inflation::By(self.inflater.get_or_insert_with(|| Inflater::new(false))),
        };
        let mut inlet = Inlet {
            id,
            now_ms: self.now_ms,
            conn,
            batch: &mut self.batch,
            replies: &mut replies,
            opener: &mut self.opener,
            shared: &self.shared,
            messages: 0,
            closed: None,
            too_large: false,
            refused: None,
            renewed: false,
            awaits_room: false,
            asked: false,
        };
        let bytes = &mut self.buffer[start..end];
        let flow = receiver.receive(bytes, max_message_size, inflation, |incoming| inlet.take(incoming));
        inlet.finish();
        let flow = if inlet.too_large { Err(ProtocolError::TooLarge) } else { flow };
        let (closed, messages, renewed) = (inlet.closed, inlet.messages, inlet.renewed);
        let (awaits_room, asked) = (inlet.awaits_room, inlet.asked);
        conn.receiver = receiver;
        if let (Some(own), Some(inflater)) = (&mut conn.own, own_inflater) {
            own.give_back(inflater);
        }
        if flow == Ok(Flow::Pause) {
            conn.flags.paused.add(if asked { Pause::ASKED } else { Pause::ROOM });
            if asked {
                // Its answer brings it back.
            } else if awaits_room {
                self.await_room(slot);
            } else {
                self.paused.push(slot);
            }
        }
        if renewed {
            self.schedule_next(slot);
        }
        self.handle().stats.messages_received.add(messages);
        self.send_own(slot, &replies);
        self.scratch = replies;
        if self.batch.is_full() {
            self.hand_over();
        }
        match (flow, closed) {
            (Err(error), _) => {
                self.say_too_large(slot, error);
                self.close(slot, Reason::Protocol(error));
            }
            (_, Some(code)) => self.close(slot, Reason::Answer(code)),
            _ => {}
        }
    }

    /// A message over the limit is a fault that a program can mend, so it is told in words before the code.
    fn say_too_large(&mut self, slot: u32, error: ProtocolError) {
        if error != ProtocolError::TooLarge {
            return;
        }
        let limit = self.shared.options.max_message_size;
        let text = format!("a message may have at most {limit} bytes (max_message_size)");
        let error = words::error(ErrorCode::MessageTooLarge, &text, self.shared.clock.unix_ms());
        self.say(slot, &error);
    }

    /// After the server's close frame only the client's is of interest.
    fn await_close_frame(&mut self, slot: u32, len: usize) {
        let Some(conn) = self.slots.get_mut(slot) else { return };
        let mut receiver = std::mem::take(&mut conn.receiver);
        let inflation = if conn.flags.agreed.deflates() { Inflation::Skipped } else { Inflation::Refused };
        let bytes = &mut self.buffer[..len];
        let flow = receiver.receive(bytes, usize::MAX >> 1, inflation, |_| Flow::Continue);
        match flow {
            Ok(Flow::Stop) | Err(_) => conn.flags.peer_closed = true,
            Ok(_) => {
                // A message that never ends must not be collected for nobody.
                if receiver.held_bytes() < READ_BYTES {
                    conn.receiver = receiver;
                }
            }
        }
        if conn.flags.peer_closed && conn.outbox.is_empty() {
            self.drop_conn(slot);
        }
    }

    /// There is room for events again: first what was kept, then the sockets.
    pub(super) fn resume_paused(&mut self) {
        self.shared.tell_owed_joins();
        for slot in std::mem::take(&mut self.paused) {
            self.resume(slot);
        }
    }

    /// Goes on with a connection for which there may be room again.
    pub(super) fn resume(&mut self, slot: u32) {
        self.go_on(slot, Pause::ROOM);
    }

    /// Goes on with a connection that was paused for this reason, unless there is another.
    pub(super) fn go_on(&mut self, slot: u32, reason: Pause) {
        let Some(conn) = self.slots.get_mut(slot).filter(|conn| conn.flags.paused.is_paused()) else {
            return;
        };
        conn.flags.paused.remove(reason);
        if conn.flags.paused.is_paused() {
            return;
        }
        let kept = match &conn.phase {
            Phase::Handshake(handshake) => handshake.head.as_slice(),
            Phase::Open => conn.receiver.tail(),
            Phase::Closing | Phase::Lingering | Phase::Api(_) => return,
        };
        let len = kept.len();
        if self.buffer.len() < len {
            self.buffer.resize(len, 0);
        }
        self.buffer[..len].copy_from_slice(kept);
        self.take_bytes(slot, len);
        self.shrink_buffer();
        if self.slots.get_mut(slot).is_some_and(|conn| conn.flags.paused.is_paused()) {
            return;
        }
        // What came meanwhile, the end included, was told by an edge that is long past.
        self.again.push((slot, true));
    }
}

/// What one connection says in one read, on its way to the application.
pub(super) struct Inlet<'a> {
    pub(super) id: ConnId,
    pub(super) now_ms: u64,
    pub(super) conn: &'a mut Conn,
    pub(super) batch: &'a mut Batch,
    /// Frames that answer, in order.
    replies: &'a mut Vec<u8>,
    pub(super) opener: &'a mut Option<Box<Opener>>,
    pub(super) shared: &'a Shared,
    pub(super) messages: u64,
    /// The code of the client's close frame.
    closed: Option<u16>,
    /// A message has more in it than `max_message_size`.
    pub(super) too_large: bool,
    /// Seconds until the limit that refused a message lets the next one pass, and which limit that is.
    pub(super) refused: Option<(f64, &'static str)>,
    /// A fresh token came: the connection's deadlines have changed.
    pub(super) renewed: bool,
    /// There was no room for what it publishes.
    pub(super) awaits_room: bool,
    /// The application is asked what the client may have.
    pub(super) asked: bool,
}

impl Inlet<'_> {
    #[inline]
    fn take(&mut self, incoming: Incoming<'_>) -> Flow {
        match incoming {
            Incoming::Text(_) if self.seals_all() => self.refuse_in_clear(),
            Incoming::Text(text) => self.text(text),
            Incoming::Binary(bytes) => self.binary(bytes),
            Incoming::Ping(payload) => {
                write_frame(self.replies, Opcode::Pong, payload);
                Flow::Continue
            }
            Incoming::Pong(_) => Flow::Continue,
            Incoming::Close(close) => {
                self.closed = Some(close.code);
                Flow::Stop
            }
        }
    }

    pub(super) fn text(&mut self, text: &str) -> Flow {
        match Command::parse(strip_prefix(text), self.shared.may) {
            Command::Application => return self.message(EventKind::Text, text.as_bytes()),
            Command::Publish(publish) => return self.publish(&publish),
            Command::Subscribe(subscribe) if self.ask_for(&subscribe) == Flow::Pause => return Flow::Pause,
            Command::Subscribe(subscribe) if !self.may_be_subscribed(&subscribe) => return Flow::Pause,
            Command::Subscribe(subscribe) => {
                if self.pass() {
                    self.subscribe(&subscribe);
                }
                self.forget_subscriptions();
            }
            Command::Unsubscribe(unsubscribe) => {
                if self.pass() {
                    self.unsubscribe(&unsubscribe);
                }
            }
            Command::PresenceUpdate(_) if !self.has_room_to_change() => return Flow::Pause,
            Command::PresenceUpdate(update) => {
                if self.pass() {
                    self.update_presence(&update);
                }
            }
            Command::Bad(bad) => {
                if self.pass() {
                    self.refuse_order(&bad);
                }
            }
            Command::Ping { timestamp } => {
                if self.pass() {
                    self.reply(&words::pong(&timestamp, self.shared.clock.unix_ms()));
                }
            }
            Command::Pong => {}
            Command::ClientHello(said) => {
                if self.pass() {
                    self.hello(&said);
                }
            }
            Command::AuthRefresh { token } => {
                let Some(keyring) = &self.shared.keyring else {
                    return self.message(EventKind::Text, text.as_bytes());
                };
                if self.pass() {
                    self.refresh(keyring, token.as_deref());
                }
            }
        }
        self.messages += 1;
        Flow::Continue
    }

    /// A message for the application: room first, for what is refused for want of it is asked again.
    #[inline]
    pub(super) fn message(&mut self, kind: EventKind, bytes: &[u8]) -> Flow {
        if !self.shared.events.reserve(1, bytes.len()) {
            return Flow::Pause;
        }
        self.messages += 1;
        if self.pass() {
            self.batch.push(kind, self.id, bytes);
            // One read may inflate to a thousand times its size.
            if self.batch.is_full() {
                self.shared.events.push(self.batch);
            }
        } else {
            self.shared.events.give_back(1, bytes.len());
        }
        Flow::Continue
    }

    /// Asks the rate limit.
    #[inline]
    pub(super) fn pass(&mut self) -> bool {
        let rate = &self.shared.rate;
        match self.conn.bucket.take(rate, self.now_ms) {
            Verdict::Pass => true,
            Verdict::Warn(remaining) => {
                self.reply(&words::rate_limit_warning(remaining, rate.capacity, rate.refill));
                true
            }
            Verdict::Refuse(retry_after) => {
                self.stats().rate_limited.add(1);
                self.refused =
                    Some((retry_after, "more messages than rate_limit_capacity and rate_limit_refill allow"));
                false
            }
        }
    }

    pub(super) fn stats(&self) -> &Stats {
        &self.shared.shards[usize::from(self.id.shard)].stats
    }

    pub(super) fn reply(&mut self, text: &str) {
        self.conn.write_words(self.replies, text);
    }

    pub(super) fn refuse(&mut self, code: ErrorCode, message: &str) {
        self.reply(&words::error(code, message, self.shared.clock.unix_ms()));
    }

    /// Takes note of a message that goes no further.
    pub(super) fn count_message(&mut self) {
        self.messages += 1;
    }

    /// One error for all that one read had refused: an answer to each would be a flood of our own.
    fn finish(&mut self) {
        if let Some((retry_after, text)) = self.refused {
            let more = serde_json::Map::from_iter([("retry_after".to_owned(), retry_after.into())]);
            let error = words::error_with(ErrorCode::RateLimited, text, self.shared.clock.unix_ms(), &more);
            self.reply(&error);
        }
    }
}
