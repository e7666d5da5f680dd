//! Pings, silence, tokens and patience, each looked at when the wheel comes round to it.

use wse_core::auth::Due;
use wse_core::protocol::codes::ErrorCode;
use wse_core::protocol::words;
use wse_core::websocket::Opcode;
use wse_core::websocket::frame::write_frame;

use super::Shard;
use super::close::{CLOSE_MS, LONGEST_CLOSE_MS, Reason};
use super::conn::Phase;

impl Shard {
    /// Asks for a look at a connection.
    pub(super) fn schedule(&mut self, slot: u32, at_ms: u64) {
        self.wheel.schedule(slot, at_ms.div_ceil(self.tick_ms));
    }

    pub(super) fn check_timers(&mut self) {
        self.accept_if_due();
        let mut due = Vec::new();
        self.wheel.advance(self.now_ms / self.tick_ms, &mut due);
        for slot in due {
            self.check(slot);
        }
    }

    fn check(&mut self, slot: u32) {
        let now_ms = self.now_ms;
        let Some(conn) = self.slots.get_mut(slot) else { return };
        match conn.phase {
            Phase::Open => self.check_open(slot),
            _ if now_ms < conn.deadline_ms => {
                let deadline_ms = conn.deadline_ms;
                self.schedule(slot, deadline_ms);
            }
            // What it said stands in line to be read: it is the server that is slow, not the client.
            Phase::Handshake(_) if conn.flags.lined_up => {
                let soon_ms = now_ms + self.tick_ms;
                self.schedule(slot, soon_ms);
            }
            Phase::Handshake(_) => self.refuse_slow_handshake(slot),
            Phase::Api(_) => self.check_exchange(slot),
            // A client that still reads what was sent to it before the end gets it all, unless it only drips.
            Phase::Closing | Phase::Lingering
                if !conn.outbox.is_empty()
                    && now_ms < conn.wrote_ms + CLOSE_MS
                    && now_ms < conn.deadline_ms + LONGEST_CLOSE_MS =>
            {
                let again_ms = conn.wrote_ms + CLOSE_MS;
                self.schedule(slot, again_ms);
            }
            Phase::Closing | Phase::Lingering => self.cut(slot),
        }
    }

    fn check_open(&mut self, slot: u32) {
        let now_ms = self.now_ms;
        let idle_ms = self.shared.options.idle_timeout.as_millis() as u64;
        let ping_ms = self.shared.options.ping_interval.as_millis() as u64;
        let stalled_until_ms = self.stalled_until_ms;
        let Some(conn) = self.slots.get_mut(slot) else { return };
        if conn.flags.paused.is_paused() || conn.flags.lined_up {
            // It may have spoken; it is the server that does not listen.
            conn.heard_ms = now_ms;
        }
        let silent_since = conn.heard_ms.max(stalled_until_ms);
        if now_ms >= silent_since + idle_ms {
            return self.close(slot, Reason::Idle);
        }
        if now_ms >= conn.deadline_ms {
            conn.deadline_ms = now_ms + ping_ms;
            let hello = conn.flags.hello;
            self.ping(slot, hello);
        }
        self.check_token(slot);
        self.schedule_next(slot);
    }

    /// Asks for a look at an open connection when something of it is due next.
    pub(super) fn schedule_next(&mut self, slot: u32) {
        let (now_ms, stalled_until_ms) = (self.now_ms, self.stalled_until_ms);
        let idle_ms = self.shared.options.idle_timeout.as_millis() as u64;
        let clock = self.shared.clock;
        let Some(conn) = self.slots.get_mut(slot).filter(|conn| conn.is_open()) else { return };
        let silent_ms = conn.heard_ms.max(stalled_until_ms) + idle_ms;
        let token = conn.life.as_ref().map(|life| life.next_look_ms(clock.unix(), now_ms, stalled_until_ms));
        let next_ms = conn.deadline_ms.min(silent_ms).min(token.unwrap_or(u64::MAX));
        self.schedule(slot, next_ms);
    }

    /// Warns of the end of a token, and ends the connection of one that is past it.
    fn check_token(&mut self, slot: u32) {
        let unix = self.shared.clock.unix();
        let Some(conn) = self.slots.get_mut(slot).filter(|conn| conn.is_open()) else { return };
        let Some(life) = &mut conn.life else { return };
        match life.look(unix, self.now_ms, self.stalled_until_ms) {
            Due::Nothing => {}
            Due::Warning(expires_in) => self.say(slot, &words::token_expiring(expires_in)),
            Due::End => {
                let unix_ms = unix.as_millis() as u64;
                self.say(slot, &words::error(ErrorCode::AuthFailed, "token expired", unix_ms));
                self.close(slot, Reason::Expired);
            }
        }
    }

    fn ping(&mut self, slot: u32, hello: bool) {
        if hello {
            return self.say(slot, &words::ping(self.shared.clock.unix_ms()));
        }
        let mut frame = Vec::with_capacity(2);
        write_frame(&mut frame, Opcode::Ping, &[]);
        self.send_own(slot, &frame);
    }

    /// When the first ping of a connection is due: spread over an interval, so that thousands that came together are not pinged together.
    pub(super) fn first_ping_ms(&self, slot: u32) -> u64 {
        let ping_ms = self.shared.options.ping_interval.as_millis() as u64;
        // The golden ratio spreads consecutive slots evenly.
        let spread = (u64::from(slot.wrapping_mul(0x9e37_79b9)) * ping_ms) >> 33;
        self.now_ms + ping_ms - spread
    }
}
