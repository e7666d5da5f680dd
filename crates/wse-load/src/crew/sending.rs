//! What the clients say, and when.

use wse_core::websocket::Opcode;

use super::Crew;
use crate::client::State;
use crate::plan::Role;
use crate::tally::count;
use crate::{frames, requests};

/// Messages that go in one turn; then the sockets are looked at.
const PER_TURN: u32 = 512;
/// Blocks that a client which floods writes in one turn.
const BLOCKS_PER_TURN: u32 = 4;
/// A client that floods has so much ready for its socket.
const BLOCK: usize = 64 * 1024;
/// A client with a rate that has so much unsent is behind.
const MOST_UNSENT: usize = 256 * 1024;

/// Where the sending stands.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When it began; `None` while there is no work.
    from: Option<u64>,
    /// Messages with a moment that have gone since.
    gone: u64,
    /// Messages of the group in all, which numbers them in their topics.
    numbered: u64,
    /// Whose turn it is.
    turn: u32,
}

impl Crew {
    /// Begins and ends the work as it is told, and sends what is due.
    pub(super) fn send_due(&mut self, now: u64) {
        let from = self.orders.work_from();
        if self.group.role == Role::Hold {
            return;
        }
        if from != self.pace.from {
            self.pace.from = from;
            self.pace.gone = 0;
            if from.is_some() && self.group.role == Role::Echo {
                (0..self.group.clients).for_each(|slot| self.start_late(slot, now));
            }
        }
        if from.is_none() || self.group.role == Role::Echo {
            return;
        }
        if self.group.rate > 0.0 {
            self.send_paced(now);
        } else {
            (0..self.group.clients).for_each(|slot| self.flood(slot, now));
        }
    }

    /// When the next message goes, if one has a moment.
    pub(super) fn next_due(&self) -> Option<u64> {
        let from = self.pace.from?;
        (self.group.rate > 0.0 && matches!(self.group.role, Role::Send | Role::Post))
            .then(|| from + (self.pace.gone as f64 / self.group.rate * 1e9) as u64)
    }

    /// Whether a client that floods could go on at once.
    pub(super) fn has_room_to_send(&self) -> bool {
        self.pace.from.is_some()
            && self.group.rate == 0.0
            && matches!(self.group.role, Role::Send | Role::Post)
            && self.slots.iter().flatten().any(|client| {
                client.state == State::Open && !client.is_blocked() && client.under_way < requests::UNDER_WAY
            })
    }

    /// A message has its moment whether or not the one before it could go: what waits is late, and its latency says so.
    fn send_paced(&mut self, now: u64) {
        for _ in 0..PER_TURN {
            let Some(due) = self.next_due().filter(|due| *due <= now) else { return };
            let slot = self.pace.turn;
            match &self.slots[slot as usize] {
                Some(client) if client.state == State::Open => {
                    let behind = client.unsent() > MOST_UNSENT || client.under_way >= requests::UNDER_WAY;
                    if behind && self.group.clients == 1 {
                        return;
                    }
                    if behind {
                        count(&mut self.tally.refused, "not taken by the socket");
                    } else {
                        self.say(slot, due);
                        self.tally.late.record(self.orders.now().saturating_sub(due));
                        self.flush(slot);
                    }
                }
                _ => count(&mut self.tally.refused, "not connected"),
            }
            self.pace.gone += 1;
            self.pace.turn = (slot + 1) % self.group.clients;
        }
    }

    fn flood(&mut self, slot: u32, now: u64) {
        for _ in 0..BLOCKS_PER_TURN {
            let Some(client) = &self.slots[slot as usize] else { return };
            if client.state != State::Open || client.is_blocked() || client.under_way >= requests::UNDER_WAY {
                return;
            }
            while let Some(client) = &self.slots[slot as usize]
                && client.unsent() < BLOCK
                && client.under_way < requests::UNDER_WAY
            {
                self.say(slot, now);
            }
            self.flush(slot);
        }
    }

    /// Puts one message among what is to be sent.
    fn say(&mut self, slot: u32, at: u64) {
        let mut values = self.values(slot, at, 0);
        let Some(client) = &mut self.slots[slot as usize] else { return };
        client.said += 1;
        values.n = client.said;
        if self.group.topics > 0 && self.group.role != Role::Echo {
            values.topic = self.pace.numbered % self.group.topics;
            values.n = self.pace.numbered / self.group.topics + 1;
        }
        self.pace.numbered += 1;
        self.scratch.clear();
        self.group.message.render(values, &mut self.scratch);
        if self.group.role == Role::Post {
            requests::write(client.out(), &self.group.request, &self.scratch);
            client.under_way += 1;
        } else {
            frames::write(client.out(), Opcode::Text, &self.scratch);
        }
        self.tally.sent += 1;
        self.tally.sent_bytes += self.scratch.len() as u64;
    }

    /// What a client says once it is connected.
    pub(super) fn say_hello(&mut self, slot: u32) {
        let values = self.values(slot, 0, 0);
        let Some(client) = &mut self.slots[slot as usize] else { return };
        self.scratch.clear();
        self.group.hello.render(values, &mut self.scratch);
        frames::write(client.out(), Opcode::Text, &self.scratch);
    }

    /// The first echo of a client, when the work begins or the client is ready after that.
    pub(super) fn start_late(&mut self, slot: u32, now: u64) {
        let is_idle = self.slots[slot as usize]
            .as_ref()
            .is_some_and(|client| client.state == State::Open && client.echo.is_none());
        if self.group.role == Role::Echo && self.pace.from.is_some() && is_idle {
            self.say_echo(slot, now);
            self.flush(slot);
        }
    }

    /// The next echo, if the work goes on. Whoever read is about to write.
    pub(super) fn say_again(&mut self, slot: u32) {
        if self.pace.from.is_some() {
            self.say_echo(slot, self.orders.now());
        }
    }

    fn say_echo(&mut self, slot: u32, at: u64) {
        self.say(slot, at);
        if let Some(client) = &mut self.slots[slot as usize] {
            client.echo = Some(at);
        }
    }

    pub(super) fn on_writable(&mut self, slot: u32, now: u64) {
        let Some(client) = &mut self.slots[slot as usize] else { return };
        if client.state == State::Connecting {
            self.on_connected(slot);
            return;
        }
        client.unblock();
        self.flush(slot);
        let floods = self.group.rate == 0.0 && matches!(self.group.role, Role::Send | Role::Post);
        if floods && self.pace.from.is_some() {
            self.flood(slot, now);
        }
    }

    pub(super) fn flush(&mut self, slot: u32) {
        let Some(client) = &mut self.slots[slot as usize] else { return };
        if client.flush().is_err() {
            // What the server said before it went can still be read, and is the better reason.
            client.stop_writing();
            self.again.push(slot);
        }
    }
}
