//! The histories of all topics: one log each, and one budget for all of them.
//!
//! Whoever publishes to a topic with history holds its lock while the message gets its stamp, its place in the log and its place in
//! the inboxes of the shards; whoever subscribes with a position holds it while the log is looked at and the subscription takes its place
//! in the same inbox. So what was logged before comes by the replay, what is logged later comes live, and nothing comes twice.

mod mirror;
mod shelf;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard, RwLock};
use wse_core::history::{Epoch, Limits, Log, NotRecovered, Position, Replay};
use wse_core::options::Options;
use wse_core::protocol::stamp::{StampPrefix, Stampable};
use wse_core::websocket::Opcode;
use wse_core::websocket::frame::ServerHeader;

use crate::shared::random_u64;
use crate::topics::Topics;
use shelf::Shelf;

pub(crate) use mirror::stampable;

/// What a history costs beside its log and its texts: the record, its place in the map, and its place on the shelf.
const RECORD_COST: usize = size_of::<History>() + 2 * size_of::<usize>() + 48 + 40;
/// The most that is kept free of the budget.
const MOST_SPARE: usize = 256 * 1024;
/// How often old messages are looked for.
const TIDY_MS: u64 = 1000;
/// The part of all topics that is looked at each time, and how many at the least.
const TIDY_PART: usize = 32;
const TIDY_LEAST: usize = 1024;

/// One topic's history.
#[derive(Debug)]
pub(crate) struct History {
    topic: Arc<str>,
    /// When it was last used, as a count of all uses.
    used: AtomicU64,
    stamping: Mutex<Stamping>,
}

/// What is looked at and changed under the lock of one topic.
#[derive(Debug)]
pub(crate) struct Stamping {
    log: Log,
    prefix: StampPrefix,
    head: Vec<u8>,
    /// It was given up while somebody still had a reference: a fresh one must be asked for.
    ended: bool,
    /// In a cluster: its positions are those of the cluster. Until that is so nothing is stamped by it.
    placed: bool,
    /// In a cluster: whoever hears the topic by a pattern got, or was told that it missed, all before this offset.
    heard_from: u64,
    /// Its bytes, as they were last added to the sum.
    counted: usize,
}

/// What became of recoveries.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    pub(crate) recovered: AtomicU64,
    pub(crate) unknown_epoch: AtomicU64,
    pub(crate) ahead: AtomicU64,
    pub(crate) gone: AtomicU64,
    pub(crate) too_many: AtomicU64,
}

impl Outcomes {
    /// Each outcome with its count, for metrics.
    pub(crate) fn counts(of: Option<&Self>) -> [(&'static str, u64); 5] {
        let count = |pick: fn(&Self) -> &AtomicU64| of.map_or(0, |outcomes| pick(outcomes).load(Relaxed));
        [
            ("recovered", count(|it| &it.recovered)),
            ("unknown_epoch", count(|it| &it.unknown_epoch)),
            ("ahead", count(|it| &it.ahead)),
            ("gone", count(|it| &it.gone)),
            ("too_many", count(|it| &it.too_many)),
        ]
    }
}

#[derive(Debug)]
pub(crate) struct Histories {
    limits: Limits,
    max_replayed: u64,
    max_replayed_bytes: usize,
    /// What all may hold when nobody is about to add to it: a little less than the budget, which a message or two must not exceed.
    most: usize,
    held: AtomicUsize,
    uses: AtomicU64,
    topics: RwLock<HashMap<Arc<str>, Arc<History>, RandomState>>,
    shelf: Mutex<Shelf>,
    tidied_ms: AtomicU64,
    /// What is kept here is what was delivered of the cluster's logs, which have the other half of the budget.
    in_cluster: AtomicBool,
    pub(crate) outcomes: Outcomes,
}

impl Histories {
    /// `None` where topics have no history.
    pub(crate) fn of(options: &Options) -> Option<Self> {
        options.recovery_enabled.then(|| Self {
            limits: Limits {
                messages: options.recovery_buffer_size.next_power_of_two(),
                ttl_ms: options.recovery_ttl.as_millis() as u64,
            },
            max_replayed: options.recovery_max_messages as u64,
            max_replayed_bytes: options.max_outbound_queue_bytes,
            most: options.recovery_memory_budget - (options.recovery_memory_budget / 32).min(MOST_SPARE),
            held: AtomicUsize::new(0),
            uses: AtomicU64::new(0),
            topics: RwLock::default(),
            shelf: Mutex::default(),
            tidied_ms: AtomicU64::new(0),
            in_cluster: AtomicBool::new(false),
            outcomes: Outcomes::default(),
        })
    }

    /// Topics with a history.
    pub(crate) fn count(&self) -> usize {
        self.topics.read().len()
    }

    /// Bytes of all histories, what a topic costs by itself included.
    pub(crate) fn bytes(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// The history of a topic, which begins now if there is none.
    pub(crate) fn open(&self, topic: &str) -> Arc<History> {
        if let Some(history) = self.topics.read().get(topic) {
            return history.clone();
        }
        let mut topics = self.topics.write();
        if let Some(history) = topics.get(topic) {
            return history.clone();
        }
        let log = Log::new(Epoch::new(random_u64() as u32));
        let history = self.make(topic, log, false);
        topics.insert(history.topic.clone(), history.clone());
        drop(topics);
        self.shelf.lock().put(history.clone());
        history
    }

    fn make(&self, topic: &str, log: Log, placed: bool) -> Arc<History> {
        let topic: Arc<str> = topic.into();
        let prefix = StampPrefix::new(&topic, log.position());
        // The head of a message is a little longer than what all heads begin with.
        let counted = RECORD_COST + topic.len() + 2 * prefix.cost() + 64 + log.cost();
        let history = Arc::new(History {
            topic,
            used: AtomicU64::new(self.uses.fetch_add(1, Relaxed)),
            stamping: Mutex::new(Stamping {
                heard_from: log.position().offset,
                log,
                prefix,
                head: Vec::new(),
                ended: false,
                placed,
                counted,
            }),
        });
        self.held.fetch_add(counted, Relaxed);
        history
    }

    /// Does something with the history of a topic under its lock.
    pub(crate) fn with<T>(&self, topic: &str, what: impl FnOnce(&mut Stamping) -> T) -> T {
        loop {
            let history = self.open(topic);
            if let Some(mut stamping) = self.lock(&history) {
                return what(&mut stamping);
            }
        }
    }

    /// Locks a history; `None` if it was given up meanwhile.
    pub(crate) fn lock<'h>(&self, history: &'h History) -> Option<MutexGuard<'h, Stamping>> {
        let stamping = history.stamping.lock();
        self.use_now(history);
        (!stamping.ended).then_some(stamping)
    }

    /// Locks several, in an order that is the same for all; `None` if one of them was given up.
    pub(crate) fn lock_all<'h>(
        &self,
        histories: &'h [Arc<History>],
    ) -> Option<Vec<MutexGuard<'h, Stamping>>> {
        debug_assert!(histories.is_sorted_by(|a, b| a.topic < b.topic), "each once, in order");
        histories.iter().map(|history| self.lock(history)).collect()
    }

    fn use_now(&self, history: &History) {
        history.used.store(self.uses.fetch_add(1, Relaxed), Relaxed);
    }

    /// Changes a log, and takes note of what it costs then.
    #[inline]
    fn change<T>(&self, stamping: &mut Stamping, change: impl FnOnce(&mut Stamping) -> T) -> T {
        let before = stamping.log.cost();
        let changed = change(stamping);
        // What it costs less than before is taken off by going round.
        let more = stamping.log.cost().wrapping_sub(before);
        stamping.counted = stamping.counted.wrapping_add(more);
        self.held.fetch_add(more, Relaxed);
        changed
    }

    /// Makes a message the next one of a topic, and keeps it; returns its stamp, which goes in front of [`Stampable::rest`].
    #[inline]
    pub(crate) fn append<'s>(
        &self,
        stamping: &'s mut Stamping,
        message: &Stampable<'_>,
        now_ms: u64,
    ) -> &'s [u8] {
        let next = stamping.log.next();
        message.write_head(&mut stamping.head, &stamping.prefix, next.offset);
        let tail = message.rest().as_bytes();
        let header = ServerHeader::new(Opcode::Text, stamping.head.len() + tail.len());
        self.change(stamping, |stamping| {
            stamping.log.append(&[header.as_bytes(), &stamping.head, tail], now_ms, &self.limits);
        });
        &stamping.head
    }

    /// What may be replayed to somebody who stands at a position.
    pub(crate) fn since(
        &self,
        stamping: &Stamping,
        position: Position,
        now_ms: u64,
    ) -> Result<Replay, NotRecovered> {
        let found =
            stamping.log.since(position, now_ms, &self.limits, self.max_replayed, self.max_replayed_bytes);
        let outcome = match &found {
            Ok(_) => &self.outcomes.recovered,
            Err(NotRecovered::UnknownEpoch) => &self.outcomes.unknown_epoch,
            Err(NotRecovered::Ahead) => &self.outcomes.ahead,
            Err(NotRecovered::Gone) => &self.outcomes.gone,
            Err(NotRecovered::TooMany) => &self.outcomes.too_many,
        };
        outcome.fetch_add(1, Relaxed);
        found
    }

    /// What of the messages after an offset is still kept and fits, and the offset after which it begins.
    pub(crate) fn newest(
        &self,
        stamping: &Stamping,
        offset: u64,
        now_ms: u64,
        max_bytes: usize,
    ) -> (u64, Replay) {
        stamping.log.newest(offset, now_ms, &self.limits, max_bytes)
    }

    /// The last position of a topic, and the messages after a position or, without one, the `newest` so many; `None` if there are none, or if
    /// they are not known here. That is no recovery, and is not counted as one.
    pub(crate) fn look(
        &self,
        topic: &str,
        since: Option<Position>,
        newest: u64,
        now_ms: u64,
    ) -> Option<(Position, Result<Replay, NotRecovered>)> {
        let history = self.known(topic)?;
        let stamping = self.lock(&history)?;
        if self.is_in_cluster() && !stamping.placed {
            return None;
        }
        let (log, limits) = (&stamping.log, &self.limits);
        let top = log.position();
        let replay = match since {
            Some(position) => log.since(position, now_ms, limits, u64::MAX, usize::MAX),
            None => Ok(log.newest(top.offset.saturating_sub(newest), now_ms, limits, usize::MAX).1),
        };
        Some((top, replay))
    }

    /// Gives up the least recently used histories while all together are over the budget: whole, with their epoch, where nobody is
    /// subscribed. Where somebody is the messages go and the position stays, so that its subscribers' positions stay true.
    pub(crate) fn keep_within_budget(&self, topics: &Topics) {
        let most = self.most();
        if self.held.load(Relaxed) <= most {
            return;
        }
        let mut shelf = self.shelf.lock();
        for _ in 0..shelf.len() {
            if self.held.load(Relaxed) <= most {
                return;
            }
            let Some(history) = shelf.take_oldest() else { return };
            if self.give_up(&history, topics) {
                self.use_now(&history);
                shelf.put(history);
            }
        }
    }

    /// Gives up what one history holds; whether its record stays.
    fn give_up(&self, history: &Arc<History>, topics: &Topics) -> bool {
        let mut map = self.topics.write();
        let mut stamping = history.stamping.lock();
        if stamping.ended {
            return false;
        }
        if topics.has_subscribers(&history.topic) || self.is_in_cluster() {
            stamping.head = Vec::new();
            self.change(&mut stamping, |stamping| stamping.log.clear());
            return true;
        }
        self.end(&mut stamping);
        map.remove(&history.topic);
        false
    }

    fn end(&self, stamping: &mut Stamping) {
        stamping.ended = true;
        self.held.fetch_sub(stamping.counted, Relaxed);
    }

    /// When to look for old messages next.
    pub(crate) fn tidy_ms(&self) -> u64 {
        self.tidied_ms.load(Relaxed) + TIDY_MS
    }

    /// Gives back the memory of messages that are too old, of a part of the topics at a time.
    pub(crate) fn tidy(&self, now_ms: u64) {
        if now_ms < self.tidy_ms() {
            return;
        }
        self.tidied_ms.store(now_ms, Relaxed);
        let some = {
            let mut shelf = self.shelf.lock();
            let part = (shelf.len() / TIDY_PART).max(TIDY_LEAST);
            shelf.next_part(part)
        };
        for history in some {
            // Who has it locked is adding to it, and looks for old messages then.
            if let Some(mut stamping) = history.stamping.try_lock()
                && !stamping.ended
            {
                self.change(&mut stamping, |stamping| stamping.log.forget(now_ms, &self.limits));
            }
        }
    }
}

impl History {
    pub(crate) fn topic(&self) -> &Arc<str> {
        &self.topic
    }
}

impl Stamping {
    /// The last message.
    pub(crate) fn position(&self) -> Position {
        self.log.position()
    }

    /// In a cluster: whether its positions are the cluster's.
    pub(crate) fn is_placed(&self) -> bool {
        self.placed
    }

    /// Where whoever has everything up to an offset stands, if that is still known.
    pub(crate) fn position_at(&self, offset: u64) -> Option<Position> {
        self.log.position_at(offset)
    }
}

#[cfg(test)]
mod tests;
