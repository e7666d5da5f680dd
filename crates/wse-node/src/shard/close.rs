//! The end of a connection, in whatever way it comes.

use std::time::Duration;

use wse_core::outbox::Run as _;
use wse_core::protocol::codes::CloseCode;
use wse_core::websocket::close::write_close;

use super::Shard;
use super::conn::Phase;
use crate::events::EventKind;
use crate::log::limited;
use crate::run::Run;

/// How long the last bytes may wait without any of them being written, and a written close frame for the client's answer.
pub(super) const CLOSE_MS: u64 = 5000;
/// How long a client that goes on reading may take for its last bytes beyond that.
pub(super) const LONGEST_CLOSE_MS: u64 = 300_000;
/// How long the server reads on after its last byte.
const LINGER_MS: u64 = 2000;

/// Why the server closes.
pub(super) enum Reason {
    /// The application asked; the frame lies in its run.
    Application { run: Run, start: u32, end: u32 },
    /// The client closed: its code comes back.
    Answer(u16),
    /// The client broke the protocol.
    Protocol(wse_core::websocket::ProtocolError),
    /// Nothing was heard for `idle_timeout`.
    Idle,
    /// More than `max_outbound_queue_bytes` wait for it.
    TooSlow,
    /// The token is missing or bad.
    Unauthenticated,
    /// The token has expired and no fresh one came.
    Expired,
    /// The server stops.
    Stop,
}

impl Reason {
    fn code_and_text(&self) -> (u16, &'static str) {
        match self {
            Self::Application { .. } => (0, ""),
            Self::Answer(code) => (*code, ""),
            Self::Protocol(error) => (error.close_code(), protocol_text(*error)),
            Self::Idle => (CloseCode::Idle.code(), "nothing heard for idle_timeout"),
            Self::TooSlow => (CloseCode::TooSlow.code(), "too far behind"),
            Self::Unauthenticated => (CloseCode::Authentication.code(), "authentication failed"),
            Self::Expired => (CloseCode::Authentication.code(), "token expired"),
            Self::Stop => (CloseCode::ServiceRestart.code(), "server stops"),
        }
    }

    fn code(&self) -> u16 {
        match self {
            // Two bytes of header, since a control frame has no long ones, and then the code.
            Self::Application { run, start, end } => match &run.bytes()[*start as usize..*end as usize] {
                [_, _, high, low, ..] => u16::from_be_bytes([*high, *low]),
                _ => CloseCode::NoStatus.code(),
            },
            other => other.code_and_text().0,
        }
    }

    /// Whether what waits to be sent is still of use to anybody.
    fn drops_queue(&self) -> bool {
        matches!(self, Self::Answer(_) | Self::TooSlow | Self::Idle | Self::Protocol(_))
    }
}

fn protocol_text(error: wse_core::websocket::ProtocolError) -> &'static str {
    use wse_core::websocket::ProtocolError as E;
    match error {
        E::ReservedBits => "a reserved bit is set",
        E::UnknownOpcode => "unknown opcode",
        E::NotMasked => "a client frame is not masked",
        E::ControlTooLong => "a control frame is longer than 125 bytes",
        E::ControlFragmented => "a control frame is fragmented",
        E::LengthOverflow => "a frame length has its highest bit set",
        E::UnexpectedContinuation => "a continuation without a message",
        E::UnexpectedMessage => "a new message inside a fragmented one",
        E::BadClose => "a close frame with an invalid body",
        E::BadUtf8 => "text is not UTF-8",
        E::TooLarge => "message too large",
        E::BadDeflate => "a compressed message can't be inflated",
    }
}

impl Shard {
    /// Ends the session and sends a close frame; the socket lives on until the client has answered or patience ends.
    pub(super) fn close(&mut self, slot: u32, reason: Reason) {
        if matches!(reason, Reason::TooSlow) {
            self.handle().stats.slow_consumer_drops.add(1);
            limited!(warn, self.shared.clock, "a client was closed with 4408: it reads too slowly");
        }
        self.count_close(slot, reason.code());
        self.end_session(slot);
        let deadline_ms = self.now_ms + CLOSE_MS;
        let pool = self.pool.clone();
        if reason.drops_queue() {
            self.give_work_back(slot);
        }
        let Some(conn) = self.slots.get_mut(slot) else { return };
        if reason.drops_queue() {
            conn.outbox.cut_at_boundary();
            conn.outbox.move_rest(|rest| pool.run(rest.to_vec()));
        }
        conn.flags.peer_closed |= matches!(reason, Reason::Answer(_));
        // After a violation nothing more is understood, so nothing is waited for but the end.
        conn.phase = if matches!(reason, Reason::Protocol(_)) { Phase::Lingering } else { Phase::Closing };
        conn.deadline_ms = deadline_ms;
        if std::mem::take(&mut conn.flags.paused).is_paused() {
            // What came while it was not read was told by an edge that is long past; the client's answer may be among it.
            self.again.push((slot, true));
        }
        let (run, start, end) = match reason {
            Reason::Application { run, start, end } => (run, start, end),
            other => {
                let (code, text) = other.code_and_text();
                let mut frame = Vec::with_capacity(64);
                write_close(&mut frame, code, text);
                let end = frame.len() as u32;
                (pool.run(frame), 0, end)
            }
        };
        conn.outbox.push(&run, start, end);
        let queued = conn.flags.queued;
        self.schedule(slot, deadline_ms);
        if !queued {
            self.flush(slot);
        }
    }

    /// Counts the end of a connection, once: whatever ends it first gives the code.
    fn count_close(&mut self, slot: u32, code: u16) {
        let lives = |phase: &Phase| matches!(phase, Phase::Open | Phase::Handshake(_));
        if self.slots.get_mut(slot).is_some_and(|conn| lives(&conn.phase)) {
            self.handle().stats.closes.count(code);
        }
    }

    /// The connection is no longer one for the application: its place is free, its topics forgotten, its end told.
    pub(super) fn end_session(&mut self, slot: u32) {
        let id = self.id(slot);
        if self.slots.open(id).is_none() {
            return;
        }
        self.leave_all_channels(slot);
        self.end_lag(slot);
        let index = usize::from(self.index);
        if let Some(mut person) = self.handle().people.leave(id) {
            let ended = person.unsubscribe_all(&self.shared.topics, index);
            if person.present {
                // What the connection said goes before its end, and its end goes last.
                self.hand_over();
                self.shared.exit_all_presence(id, &person, ended.iter().map(|(name, _)| name.as_str()));
            }
            self.shared.topics.leave_everyone(index, person.wire);
        }
        self.shared.connections.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        self.shared.events.reserve_disconnect();
        self.batch.push(EventKind::Disconnect, id, &[]);
        if let Some(conn) = self.slots.get_mut(slot) {
            conn.phase = Phase::Lingering;
            // A context that outlives the session costs a third of a megabyte for nothing; a close frame is neither compressed nor sealed.
            conn.own = None;
        }
    }

    /// After the last byte: tells the client so, and reads on for a while, so that no reset destroys what is on its way.
    pub(super) fn shut_write(&mut self, slot: u32) {
        let deadline_ms = self.now_ms + LINGER_MS;
        let Some(conn) = self.slots.get_mut(slot) else { return };
        if conn.flags.shut {
            return;
        }
        conn.flags.shut = true;
        conn.deadline_ms = deadline_ms;
        let gone = conn.stream.shutdown(std::net::Shutdown::Write).is_err();
        if gone {
            return self.drop_conn(slot);
        }
        self.schedule(slot, deadline_ms);
    }

    /// Patience has ended: whatever is still unsent is given up, by a reset if need be, so that the kernel keeps nothing of it.
    pub(super) fn cut(&mut self, slot: u32) {
        let Some(conn) = self.slots.get_mut(slot) else { return };
        conn.flags.cut = true;
        if !conn.outbox.is_empty() {
            // Only sockets that are gone refuse this, and then there is nothing to give up.
            let _ = socket2::SockRef::from(&conn.stream).set_linger(Some(Duration::ZERO));
            self.handle().stats.cut.add(1);
        }
        self.drop_conn(slot);
    }

    /// The socket reported an error or its other end is gone.
    pub(super) fn on_hang_up(&mut self, slot: u32, is_error: bool) {
        let Some(conn) = self.slots.get_mut(slot) else { return };
        if conn.flags.paused.is_paused() {
            // What came before the end has no room yet, and the end is found again when it is read. But the application may hold a client
            // back for long, and one that was reset is gone: "All segment queues should be flushed" (RFC 9293, section 3.10.7.4).
            if is_error && conn.flags.paused.is_by_application() {
                self.drop_conn(slot);
            }
            return;
        }
        self.read_in_turn(slot, true);
        // More than one visit can read: the end is found behind it.
        let more = self.again.last().is_some_and(|(last, _)| *last == slot);
        if !more
            && self
                .slots
                .get_mut(slot)
                .is_some_and(|conn| !conn.flags.paused.is_paused() && !conn.flags.lined_up)
        {
            self.drop_conn(slot);
        }
    }

    /// Forgets a connection.
    pub(super) fn drop_conn(&mut self, slot: u32) {
        if self.slots.get_mut(slot).is_some_and(|conn| conn.is_open()) {
            self.count_close(slot, CloseCode::Abnormal.code());
        }
        self.end_session(slot);
        self.give_work_back(slot);
        self.count_lost_work(slot);
        self.wheel.cancel(slot);
        let flags = self.slots.remove(slot).map(|conn| conn.flags);
        if let Some(flags) = flags.filter(|flags| flags.drains) {
            self.count_drained(flags.cut);
        }
    }

    /// One turn of stopping: tells everybody, then waits until the frames have left; true when there is nothing to wait for.
    pub(super) fn stop_step(&mut self) -> bool {
        let since = *self.stopping_since_ms.get_or_insert(self.now_ms);
        if since == self.now_ms {
            self.stop_accepting();
            for slot in self.slots.occupied() {
                let phase = self.slots.get_mut(slot).map(|conn| &conn.phase);
                match phase {
                    Some(Phase::Open) => self.close(slot, Reason::Stop),
                    Some(Phase::Handshake(_)) => self.drop_conn(slot),
                    Some(Phase::Api(exchange)) if !exchange.is_being_answered() => self.drop_conn(slot),
                    _ => {}
                }
            }
        }
        self.slots.used() == 0 || self.now_ms >= since + super::STOP_MS
    }

    /// The end of the thread: nobody may wait for it any more, and nothing of it stays.
    pub(super) fn end(&mut self) {
        self.stop_accepting();
        for slot in self.slots.occupied() {
            if let Some(conn) = self.slots.get_mut(slot) {
                conn.flags.cut = true;
            }
            self.drop_conn(slot);
        }
        self.release_holds();
        self.handle().inbox.close();
        self.hand_over();
    }
}
