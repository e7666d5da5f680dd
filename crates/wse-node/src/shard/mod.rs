//! One I/O thread: its own epoll, its connections, and the loop that serves them.
//!
//! A turn of the loop polls, reads what is readable, takes the whole inbox, notes for each receiver what it is to get (cheap), and
//! writes to as many of them as a slice allows (dear). Then it polls again, so that a sweep over thousands of sockets keeps nobody
//! else waiting. No lock is held while anything is written, and Python is never called from here.

mod accept;
mod api;
mod asking;
mod close;
mod commands;
mod conn;
mod decode;
mod deliver;
mod drain;
mod flush;
mod gather;
mod groups;
mod handshake;
mod hello;
mod hold;
mod lag;
mod proxied;
mod read;
mod readers;
mod refresh;
mod runs;
mod say;
mod sweeps;
mod timers;

use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use mio::{Events as Readiness, Poll, Token};
use wse_core::ConnId;
use wse_core::encoding::zlib::Opener;
use wse_core::queue_group::Rotation;
use wse_core::websocket::deflate::Inflater;
use wse_core::wheel::Wheel;

use crate::events::Batch;
use crate::histories::Histories;
use crate::inbox::Contents;
use crate::run::Pool;
use crate::shared::{ShardHandle, Shared};
use accept::Acceptor;
use conn::{Receiving, Slots};
use drain::Drain;
use gather::Gathered;
use hold::Holds;
use readers::Readers;
use sweeps::Sweeps;

/// The token of the waker, which no connection has.
pub(crate) const WAKE: Token = Token(usize::MAX);
/// The token of the listening socket.
pub(crate) const LISTENER: Token = Token(usize::MAX - 1);

/// Bytes that one read may bring; what was left of the read before goes in front.
const READ_BYTES: usize = 64 * 1024;
/// Room in front for a request head that came in pieces.
const PREFIX_BYTES: usize = wse_core::http::request::MAX_HEAD_BYTES;
/// While there are messages too, a shard sleeps for so long after each slice of news of who is there: a core that never rests makes
/// whatever comes next wait, for the threads beside it and for the machines beside its own.
const NEWS_REST_MS: u64 = 2;
/// There are, if there was one in so long a time.
const MESSAGES_MS: u64 = 1000;
/// How long a shard that stops goes on delivering the last frames.
const STOP_MS: u64 = 1000;

/// One shard, made in its own thread.
pub(crate) struct Shard {
    index: u8,
    shared: Arc<Shared>,
    poll: Poll,
    acceptor: Option<Acceptor>,
    slots: Slots,
    /// Who receives what a channel gets.
    channels: HashMap<u64, Vec<Receiving>, FixedState>,
    wheel: Wheel,
    /// Milliseconds of a tick of the wheel.
    tick_ms: u64,
    now_ms: u64,
    /// The end of the last time that this thread was kept from running; nobody is called silent for that time.
    stalled_until_ms: u64,
    buffer: Vec<u8>,
    scratch: Vec<u8>,
    /// For clients whose messages are compressed one by one.
    inflater: Option<Inflater>,
    /// For messages in zlib streams.
    opener: Option<Box<Opener>>,
    batch: Batch,
    pool: Pool,
    /// Connections to write to.
    sweeps: Sweeps,
    /// Connections with more to read than one visit allows, and whether to read to their end.
    again: Vec<(u32, bool)>,
    /// Connections that are to be read when it is their turn.
    readers: Readers,
    /// Connections that are not read because their next message has no room.
    paused: Vec<u32>,
    /// Connections that are not read because there is no room for what they publish, and when to look again.
    awaiting_room: Vec<u32>,
    look_for_room_ms: u64,
    /// Connections over their outbound limit.
    over: Vec<u32>,
    /// News of who is there that wait for the last ones to be written.
    gathered: Gathered,
    holds: Holds,
    /// Whose turn it is in each queue group.
    rotations: HashMap<u64, Rotation, FixedState>,
    /// When there was a message to be delivered.
    delivered_ms: u64,
    stretch: u64,
    visit: u64,
    drain: Option<Drain>,
    stopping_since_ms: Option<u64>,
}

impl Shard {
    pub(crate) fn new(
        index: u8,
        shared: Arc<Shared>,
        poll: Poll,
        listener: Option<mio::net::TcpListener>,
    ) -> Self {
        let options = &shared.options;
        let shortest = options.ping_interval.min(options.idle_timeout).min(options.handshake_timeout);
        let tick_ms = (shortest.as_millis() as u64 / 20).clamp(1, 100);
        Self {
            index,
            acceptor: listener.map(Acceptor::new),
            slots: Slots::default(),
            channels: HashMap::default(),
            wheel: Wheel::new(0),
            tick_ms,
            now_ms: shared.clock.now_ms(),
            stalled_until_ms: 0,
            buffer: vec![0; PREFIX_BYTES + READ_BYTES],
            scratch: Vec::new(),
            inflater: None,
            opener: None,
            batch: Batch::default(),
            pool: Pool::new(shared.clone()),
            sweeps: Sweeps::default(),
            again: Vec::new(),
            readers: Readers::default(),
            paused: Vec::new(),
            awaiting_room: Vec::new(),
            look_for_room_ms: 0,
            over: Vec::new(),
            gathered: Gathered::default(),
            holds: Holds::default(),
            rotations: HashMap::default(),
            delivered_ms: 0,
            stretch: 0,
            visit: 0,
            drain: None,
            stopping_since_ms: None,
            shared,
            poll,
        }
    }

    fn handle(&self) -> &ShardHandle {
        &self.shared.shards[usize::from(self.index)]
    }

    /// The histories, for the one shard that looks after them.
    fn histories(&self) -> Option<&Histories> {
        self.shared.histories.as_ref().filter(|_| self.index == 0)
    }

    fn id(&self, slot: u32) -> ConnId {
        ConnId { shard: self.index, slot, generation: self.slots.generation(slot) }
    }

    /// Serves until the server stops.
    pub(crate) fn run(mut self) {
        let mut readiness = Readiness::with_capacity(1024);
        let mut contents = Contents::default();
        loop {
            let timeout = self.timeout(&mut contents);
            if let Err(error) = self.poll.poll(&mut readiness, timeout)
                && error.kind() != std::io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "polling failed; this I/O thread ends");
                break;
            }
            self.look_at_the_clock(timeout);
            self.begin_to_read();
            self.resume_publishers();
            for event in &readiness {
                self.on_ready(event);
            }
            self.read_line();
            self.hand_over();
            if contents.entries.is_empty() && self.sweeps.have_room() {
                self.handle().inbox.take(&mut contents, false);
            }
            self.deliver(&mut contents);
            self.give_next();
            self.close_those_over();
            self.flush_slice();
            self.check_timers();
            self.drain_step();
            self.check_holds();
            if let Some(histories) = self.histories() {
                histories.tidy(self.now_ms);
            }
            self.hand_over();
            if self.shared.is_stopping() && self.stop_step() {
                break;
            }
        }
        self.end();
    }

    /// How long the next poll may block: not at all while there is work; before it does, the inbox is told that the shard sleeps.
    fn timeout(&mut self, contents: &mut Contents) -> Option<Duration> {
        // News that were gathered while the last were written are given out in the turn that comes.
        let may_rest =
            if self.sweeps.is_empty() { self.gathered.is_empty() } else { self.may_rest_from_news() };
        if !may_rest || !self.again.is_empty() || !self.readers.is_empty() {
            return Some(Duration::ZERO);
        }
        if self.handle().inbox.take(contents, true) {
            return Some(Duration::ZERO);
        }
        let now = self.shared.clock.now_ms();
        let wheel = self.wheel.next_tick().map(|tick| tick * self.tick_ms);
        let accept = self.acceptor.as_ref().and_then(Acceptor::retry_at_ms);
        let stop = self.stopping_since_ms.map(|since| since + STOP_MS);
        let drain = self.drain.as_ref().map(Drain::next_ms);
        let tidy = self.histories().map(Histories::tidy_ms);
        let room = (!self.awaiting_room.is_empty()).then_some(self.look_for_room_ms);
        let news = (!self.sweeps.is_empty()).then_some(now + NEWS_REST_MS);
        let next =
            [news, room, wheel, accept, self.holds.next_ms(), stop, drain, tidy].into_iter().flatten().min();
        next.map(|at| Duration::from_millis(at.saturating_sub(now).max(1)))
    }

    /// Whether only news are to be written and nobody would mind if they waited.
    fn may_rest_from_news(&self) -> bool {
        self.sweeps.are_lazy()
            && self.now_ms < self.delivered_ms + MESSAGES_MS
            && self.stopping_since_ms.is_none()
    }

    /// Reads the clock once for the whole turn, and notices when the thread, or the machine, stood still.
    fn look_at_the_clock(&mut self, timeout: Option<Duration>) {
        let now = self.shared.clock.now_ms();
        let expected = timeout.map_or(u64::MAX, |timeout| timeout.as_millis() as u64 + 1000);
        if now - self.now_ms > expected {
            self.stalled_until_ms = now;
        }
        self.now_ms = now;
    }

    fn on_ready(&mut self, event: &mio::event::Event) {
        match event.token() {
            WAKE => {}
            LISTENER => self.accept(),
            Token(token) => {
                let slot = token as u32;
                if self.slots.generation(slot) != (token >> 32) as u32 {
                    return;
                }
                if event.is_writable() {
                    self.on_writable(slot);
                }
                if event.is_error() || (event.is_write_closed() && event.is_read_closed()) {
                    self.on_hang_up(slot, event.is_error());
                } else if event.is_readable() || event.is_read_closed() {
                    self.read_in_turn(slot, event.is_read_closed());
                }
            }
        }
    }

    /// Gives the application what was read, in one piece.
    fn hand_over(&mut self) {
        self.shared.events.push(&mut self.batch);
    }
}
