//! What other threads leave for the cluster's thread about topics with history, and what it answers: publications on their way into the
//! logs, and subscriptions that wait until this node hears their topics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;
use wse_core::history::Position;
use wse_mesh::log::{Counters, Message};

use crate::shared::Shared;

/// Bytes of publications that may lie here; publishers wait beyond.
const ROOM: usize = 1 << 20;
/// What one costs beside its bytes.
const OVERHEAD: usize = 48;
/// How long an answered subscription is remembered: whoever waits for it looks much sooner, and others who come with the same position need not
/// ask again.
const ANSWERED_MS: u64 = 2000;
/// How long a publisher sleeps before it looks whether the server ends.
const LOOK: Duration = Duration::from_millis(50);

/// Messages of one topic, with the numbers under which it is told when they are stored.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) topic: Arc<str>,
    pub(super) messages: Vec<(Message, Option<u64>)>,
}

/// What a subscription waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wish {
    pub(super) topic: Arc<str>,
    /// The position that is to be gone on from.
    pub(super) position: Option<Position>,
}

/// A publication as it was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredAt {
    /// Where; `None` if that was so long ago that nobody knows.
    pub position: Option<Position>,
    /// On how many nodes.
    pub copies: u8,
}

/// What is told of the logs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LogStatus {
    pub(crate) counters: Counters,
    /// Topics of which this node keeps a log.
    pub(crate) topics: usize,
    /// Bytes of their messages.
    pub(crate) bytes: usize,
}

#[derive(Debug, Default)]
struct Outbox {
    batches: Vec<Batch>,
    /// Of those that the cluster's thread has not given to the logs.
    bytes: usize,
    waiting: usize,
}

#[derive(Clone, Copy, Debug)]
enum Asked {
    Waiting,
    Answered { at_ms: u64, confirmed: bool },
}

#[derive(Debug, Default)]
struct Wishes {
    known: HashMap<Wish, Asked, RandomState>,
    /// Those that the thread has not seen.
    fresh: Vec<Wish>,
    /// Topics that got their first subscriber or lost their last.
    changed: Vec<Arc<str>>,
    /// A pattern has come or gone.
    patterns_changed: bool,
}

/// What is changed in topics since the thread last looked.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) fresh: Vec<Wish>,
    pub(super) changed: Vec<Arc<str>>,
    pub(super) patterns_changed: bool,
}

#[derive(Debug)]
pub(crate) struct Desk {
    outbox: Mutex<Outbox>,
    room: Condvar,
    wishes: Mutex<Wishes>,
    answered: Condvar,
    tickets: Mutex<HashMap<u64, Option<StoredAt>, RandomState>>,
    stored: Condvar,
    next_ticket: AtomicU64,
    /// The cluster's thread takes nothing any more.
    closed: AtomicBool,
    /// Publications that came after that: they are lost.
    refused: AtomicU64,
    pub(super) status: Mutex<LogStatus>,
    news: Arc<Notify>,
}

impl Desk {
    pub(super) fn new(news: Arc<Notify>) -> Self {
        Self {
            outbox: Mutex::default(),
            room: Condvar::new(),
            wishes: Mutex::default(),
            answered: Condvar::new(),
            tickets: Mutex::default(),
            stored: Condvar::new(),
            next_ticket: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            status: Mutex::default(),
            news,
        }
    }

    // Publications.

    /// Whether a publisher need not wait.
    pub(crate) fn has_room(&self) -> bool {
        self.outbox.lock().bytes < ROOM || self.closed.load(Relaxed)
    }

    /// Waits until there is room, or a moment.
    pub(crate) fn wait_for_room(&self, shared: &Shared) {
        let mut outbox = self.outbox.lock();
        if outbox.bytes >= ROOM && !shared.is_stopping() && !self.closed.load(Relaxed) {
            outbox.waiting += 1;
            self.room.wait_for(&mut outbox, LOOK);
            outbox.waiting -= 1;
        }
    }

    /// Leaves publications of one topic, in order, whether there is room or not. With a ticket it is told when the last of them is stored. They are
    /// counted and lost if the cluster's thread has ended.
    pub(crate) fn publish(&self, topic: &str, texts: &[&str], ticket: Option<u64>) {
        let Some((last, before)) = texts.split_last() else { return };
        let message = |text: &str, ticket| (Message::from(text.as_bytes()), ticket);
        let mut outbox = self.outbox.lock();
        if self.closed.load(Relaxed) {
            self.refused.fetch_add(texts.len() as u64, Relaxed);
            return;
        }
        let is_first = outbox.batches.is_empty();
        outbox.bytes += texts.iter().map(|text| text.len() + OVERHEAD).sum::<usize>();
        if outbox.batches.last().is_none_or(|last| &*last.topic != topic) {
            outbox.batches.push(Batch { topic: topic.into(), messages: Vec::with_capacity(texts.len()) });
        }
        let messages = &mut outbox.batches.last_mut().expect("one was just added").messages;
        messages.extend(before.iter().map(|text| message(text, None)));
        messages.push(message(last, ticket));
        drop(outbox);
        if is_first {
            self.news.notify_one();
        }
    }

    /// A number under which it is told that a publication is stored.
    pub(crate) fn ticket(&self) -> u64 {
        let ticket = self.next_ticket.fetch_add(1, Relaxed);
        self.tickets.lock().insert(ticket, None);
        ticket
    }

    /// Nothing was published under a ticket.
    pub(crate) fn forget_ticket(&self, ticket: u64) {
        self.tickets.lock().remove(&ticket);
    }

    /// Waits until what a ticket is for is stored; `None` if that took too long. The ticket is used up.
    pub(super) fn wait_until_stored(&self, ticket: u64, timeout: Duration) -> Option<StoredAt> {
        let deadline = Instant::now() + timeout;
        let mut tickets = self.tickets.lock();
        loop {
            let stored = *tickets.get(&ticket)?;
            let is_over = stored.is_none() && self.closed.load(Relaxed);
            if stored.is_some() || is_over || self.stored.wait_until(&mut tickets, deadline).timed_out() {
                return tickets.remove(&ticket).flatten();
            }
        }
    }

    /// The same for a thread that must not wait, and asks again. A ticket that was answered is used up.
    pub(crate) fn stored(&self, ticket: u64) -> Option<StoredAt> {
        let mut tickets = self.tickets.lock();
        let stored = (*tickets.get(&ticket)?)?;
        tickets.remove(&ticket);
        Some(stored)
    }

    /// Publications that nobody took yet; what is not [done](Self::taken) with them still counts as theirs.
    pub(super) fn take_publications(&self) -> Vec<Batch> {
        std::mem::take(&mut self.outbox.lock().batches)
    }

    /// Some publications are in the logs.
    pub(super) fn taken(&self, messages: usize, bytes: usize) {
        let mut outbox = self.outbox.lock();
        outbox.bytes -= bytes + messages * OVERHEAD;
        let wakes = outbox.waiting > 0 && outbox.bytes < ROOM;
        drop(outbox);
        if wakes {
            self.room.notify_all();
        }
    }

    pub(super) fn tell_stored(&self, ticket: u64, at: StoredAt) {
        if let Some(place) = self.tickets.lock().get_mut(&ticket) {
            *place = Some(at);
            self.stored.notify_all();
        }
    }

    /// Publications that were lost since the cluster's thread had ended.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    // Subscriptions.

    /// Whether a topic is heard here and what lies after a position was brought: `Some(true)` if the topic's home said so, `Some(false)` if
    /// it could not be asked in time, `None` if it has not answered yet. Whoever asks first makes the cluster's thread see to it.
    pub(super) fn is_answered(&self, wish: &Wish, now_ms: u64) -> Option<bool> {
        let mut wishes = self.wishes.lock();
        match wishes.known.get(wish) {
            Some(Asked::Waiting) => return None,
            Some(Asked::Answered { at_ms, confirmed }) if now_ms < at_ms + ANSWERED_MS => {
                return Some(*confirmed);
            }
            _ => {}
        }
        if self.closed.load(Relaxed) {
            return Some(false);
        }
        wishes.known.insert(wish.clone(), Asked::Waiting);
        wishes.fresh.push(wish.clone());
        drop(wishes);
        self.news.notify_one();
        None
    }

    /// Waits until a wish is answered, as [`is_answered`](Self::is_answered); `None` if it was not in time.
    pub(super) fn wait_for_answer(&self, wish: &Wish, shared: &Shared, deadline: Instant) -> Option<bool> {
        loop {
            let now_ms = shared.clock.now_ms();
            if let Some(answered) = self.is_answered(wish, now_ms) {
                return Some(answered);
            }
            let mut wishes = self.wishes.lock();
            if matches!(wishes.known.get(wish), Some(Asked::Waiting))
                && self.answered.wait_until(&mut wishes, deadline).timed_out()
            {
                return None;
            }
        }
    }

    /// A topic got its first subscriber here, or lost its last.
    pub(super) fn subscribers_changed(&self, topic: &str) {
        self.wishes.lock().changed.push(topic.into());
        self.news.notify_one();
    }

    /// A pattern has come or gone.
    pub(super) fn patterns_changed(&self) {
        self.wishes.lock().patterns_changed = true;
        self.news.notify_one();
    }

    pub(super) fn take_news(&self) -> News {
        let mut wishes = self.wishes.lock();
        News {
            fresh: std::mem::take(&mut wishes.fresh),
            changed: std::mem::take(&mut wishes.changed),
            patterns_changed: std::mem::take(&mut wishes.patterns_changed),
        }
    }

    pub(super) fn answer(&self, wish: &Wish, confirmed: bool, now_ms: u64) {
        let mut wishes = self.wishes.lock();
        if let Some(asked) = wishes.known.get_mut(wish) {
            *asked = Asked::Answered { at_ms: now_ms, confirmed };
        }
        drop(wishes);
        self.answered.notify_all();
    }

    /// Forgets what was answered long ago.
    pub(super) fn tidy(&self, now_ms: u64) {
        let mut wishes = self.wishes.lock();
        wishes.known.retain(
            |_, asked| !matches!(asked, Asked::Answered { at_ms, .. } if now_ms >= *at_ms + ANSWERED_MS),
        );
    }

    /// The cluster's thread has ended: nobody waits for it any more.
    pub(super) fn close(&self) {
        let mut outbox = self.outbox.lock();
        self.closed.store(true, Relaxed);
        let lost: usize = outbox.batches.drain(..).map(|batch| batch.messages.len()).sum();
        self.refused.fetch_add(lost as u64, Relaxed);
        drop(outbox);
        self.room.notify_all();
        self.stored.notify_all();
        let mut wishes = self.wishes.lock();
        wishes.known.clear();
        drop(wishes);
        self.answered.notify_all();
    }
}
