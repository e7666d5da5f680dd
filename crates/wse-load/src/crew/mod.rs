//! A thread with its clients: one epoll, one buffer.

mod connecting;
mod reading;
mod sending;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use mio::{Events, Poll, Token};
use socket2::SockRef;
use wse_core::websocket::Opcode;

use crate::client::{Client, State, reason};
use crate::frames;
use crate::load::{Desk, Orders};
use crate::plan::{Group, Role};
use crate::tally::{Tally, count};
use crate::template::{Finder, Values};

/// What wakes a crew that waits for its sockets.
pub(crate) const WAKER: Token = Token(usize::MAX);
/// Large reads make the generator cheap.
const READ_BYTES: usize = 256 * 1024;
/// A crew says what it has seen at least so often.
const TELL_EVERY_NS: u64 = 50_000_000;
const IDLE: Duration = Duration::from_millis(100);

pub(crate) struct Crew {
    orders: Arc<Orders>,
    desk: Arc<Desk>,
    poll: Poll,
    group: Group,
    /// The number that the first of its clients has in the group.
    first: u32,
    concurrency: u32,
    slots: Vec<Option<Client>>,
    /// Slots from here on have not begun to connect.
    next: u32,
    /// Clients that are neither ready nor failed, by the time at which they fail.
    connecting: VecDeque<(u64, u32)>,
    under_way: u32,
    /// Sockets that may have more to read.
    again: Vec<u32>,
    pace: sending::Pace,
    tally: Tally,
    resets: u32,
    answered: u64,
    told_at: u64,
    settled: bool,
    buffer: Vec<u8>,
    scratch: Vec<u8>,
    finder: Finder,
}

impl Crew {
    pub(crate) fn new(
        orders: Arc<Orders>,
        desk: Arc<Desk>,
        poll: Poll,
        first: u32,
        group: Group,
        concurrency: u32,
    ) -> Self {
        let slots = (0..group.clients).map(|_| None).collect();
        Self {
            orders,
            desk,
            poll,
            first,
            concurrency,
            slots,
            next: 0,
            connecting: VecDeque::new(),
            under_way: 0,
            again: Vec::new(),
            pace: sending::Pace::default(),
            tally: Tally::default(),
            resets: 0,
            answered: 0,
            told_at: 0,
            settled: false,
            buffer: vec![0; READ_BYTES],
            scratch: Vec::new(),
            finder: Finder::new(),
            group,
        }
    }

    pub(crate) fn run(&mut self) {
        let mut events = Events::with_capacity(1024);
        let limit = self.orders.plan.limit.as_nanos() as u64;
        let mut now = self.orders.now();
        while !self.orders.stopped() && now < limit {
            self.connect_more(now);
            self.send_due(now);
            self.tell(now, false);
            let timeout = self.timeout(now);
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != std::io::ErrorKind::Interrupted
            {
                // An epoll that is valid does not fail; whoever asks sees a load that has ended early.
                count(&mut self.tally.ended, &reason(&error));
                break;
            }
            now = self.orders.now();
            for event in &events {
                if event.token() != WAKER {
                    let slot = event.token().0 as u32;
                    self.on_event(slot, event, now);
                }
            }
            let again = std::mem::take(&mut self.again);
            for slot in again {
                self.on_readable(slot, true, now);
            }
        }
        self.say_goodbye();
        self.tell(now, true);
    }

    fn on_event(&mut self, slot: u32, event: &mio::event::Event, now: u64) {
        if event.is_writable() {
            self.on_writable(slot, now);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.on_readable(slot, event.is_read_closed() || event.is_error(), now);
        }
    }

    /// How long the sockets may be waited for. A crew that only sends waits for its moment itself, for epoll counts milliseconds.
    fn timeout(&self, now: u64) -> Option<Duration> {
        if !self.again.is_empty() || self.has_room_to_send() {
            return Some(Duration::ZERO);
        }
        let Some(due) = self.next_due() else { return Some(IDLE) };
        let left = Duration::from_nanos(due.saturating_sub(now)).min(IDLE);
        if left >= Duration::from_millis(2) || self.hears() {
            return Some(left);
        }
        thread::sleep(left);
        Some(Duration::ZERO)
    }

    /// Whether what comes to these clients is looked at for its time.
    fn hears(&self) -> bool {
        self.group.role == Role::Echo || self.group.topics == 0
    }

    /// Says what was seen, if it was asked for, is news, or was not said for a while.
    fn tell(&mut self, now: u64, ended: bool) {
        let resets = self.orders.resets.load(Ordering::Acquire);
        if resets != self.resets {
            self.resets = resets;
            self.tally.reset();
        }
        let question = self.desk.question();
        let settled = self.next == self.group.clients && self.under_way == 0;
        let is_news = question != self.answered || settled != self.settled || ended;
        if is_news || now - self.told_at >= TELL_EVERY_NS {
            self.answered = question;
            self.told_at = now;
            self.settled = settled;
            self.desk.tell(&self.orders, question, &self.tally, settled, ended);
        }
    }

    /// What a message of this client has in the places of its names.
    fn values(&self, slot: u32, at: u64, n: u64) -> Values {
        let client = u64::from(self.first + slot);
        let topic = if self.group.topics > 0 { client % self.group.topics } else { client };
        Values { at, n, topic, client }
    }

    /// The client's socket is of no use any more: it failed to become ready, or it ended.
    fn lose(&mut self, slot: u32, why: &str) {
        let Some(client) = self.slots[slot as usize].take() else { return };
        if client.state == State::Open {
            self.tally.open -= 1;
            count(&mut self.tally.ended, why);
        } else {
            self.under_way -= 1;
            count(&mut self.tally.failed, why);
        }
    }

    /// Closes what is open, with a frame that says so. Nobody waits for the answer.
    ///
    /// Without the wait of TCP for stragglers (RFC 9293, `TIME-WAIT`) the ports are free for the next load at once: thousands that are not
    /// make Linux slow to find others.
    fn say_goodbye(&mut self) {
        for client in self.slots.iter_mut().filter_map(Option::take) {
            let mut client = client;
            if client.state == State::Open && self.group.role != Role::Post && client.unsent() == 0 {
                frames::write(client.out(), Opcode::Close, &1000_u16.to_be_bytes());
                let _ = client.flush();
            }
            let _ = SockRef::from(&client.stream).set_linger(Some(Duration::ZERO));
        }
        self.tally.open = 0;
    }
}
