//! What the application is to hear: a queue from the shards to whoever drains it, bounded in events and in bytes.
//!
//! A shard reserves room for a message before it takes it from the socket. Where there is none it stops reading that socket, and is
//! woken when the application has taken enough.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use wse_core::ConnId;

use crate::bell::Bell;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A connection was accepted without a token; its bytes are the cookies.
    Connect,
    /// A connection was accepted with a token; its bytes are the user id.
    AuthConnect,
    /// A text message.
    Text,
    /// A binary message.
    Binary,
    /// A connection has ended.
    Disconnect,
    /// A user has come to a topic; its bytes are a JSON object with topic, user_id and data.
    PresenceJoin,
    /// A user has left a topic; the same.
    PresenceLeave,
    /// A client wants topics about which nobody has decided; its bytes are a JSON object with action and topics.
    Authorize,
    /// A client has shown a fresh token; its bytes are the claims, a JSON object.
    AuthRefresh,
    /// A connection was accepted with a token; its bytes are the claims, a JSON object.
    Claims,
}

/// One event; its bytes lie in what it was [taken](Taken) from.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// To which connection; `None` of what happened at another node.
    pub conn: Option<ConnId>,
    start: u32,
    end: u32,
}

/// Events of one shard in their order, with their bytes in one piece of memory.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    events: Vec<Event>,
    bytes: Vec<u8>,
}

/// The size at which a shard hands a batch over though it could still add to it.
pub(crate) const FULL_BATCH: usize = 256 * 1024;

impl Batch {
    pub(crate) fn push(&mut self, kind: EventKind, conn: impl Into<Option<ConnId>>, bytes: &[u8]) {
        let (start, conn) = (self.bytes.len() as u32, conn.into());
        self.bytes.extend_from_slice(bytes);
        self.events.push(Event { kind, conn, start, end: self.bytes.len() as u32 });
    }

    /// An empty batch with room for another one of this size, if it is of a size that makes growing dear.
    fn sized_like(full: &Self) -> Self {
        if full.events.len() < 64 {
            return Self::default();
        }
        Self { events: Vec::with_capacity(full.events.len()), bytes: Vec::with_capacity(full.bytes.len()) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= FULL_BATCH || self.events.len() >= 4096
    }
}

/// Events handed out, or still waiting: a part of a batch.
#[derive(Debug)]
pub struct Taken {
    batch: Arc<Batch>,
    range: Range<usize>,
}

impl Taken {
    /// The events, in order.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.batch.events[self.range.clone()]
    }

    /// The bytes of one of them.
    #[must_use]
    pub fn bytes(&self, event: &Event) -> &[u8] {
        &self.batch.bytes[event.start as usize..event.end as usize]
    }

    fn byte_count(&self) -> usize {
        self.events().iter().map(|event| (event.end - event.start) as usize).sum()
    }
}

/// Told when there is room again.
pub(crate) trait Resume: Send + Sync {
    fn resume(&self);
}

/// What an application is told beside messages, and who comes and goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Who comes to a topic and leaves it, where presence is enabled.
    pub presence: bool,
    /// The claims of tokens, rather than the user id alone.
    pub claims: bool,
    /// It decides what clients may subscribe and publish to.
    pub questions: bool,
}

/// The queue of one server.
pub struct Events {
    run: u64,
    kept: bool,
    keep: Keep,
    max_events: usize,
    max_bytes: usize,
    events: AtomicUsize,
    bytes: AtomicUsize,
    dropped: AtomicU64,
    starved: AtomicBool,
    queue: Mutex<Queue>,
    filled: Condvar,
    /// Rings while there is something to take, or nothing will come any more. Set under the lock of the queue.
    bell: OnceLock<Arc<Bell>>,
}

#[derive(Default)]
struct Queue {
    batches: VecDeque<Taken>,
    waiting: usize,
    closed: bool,
    /// Another queue has taken its place.
    replaced: bool,
    wake: Vec<Arc<dyn Resume>>,
}

impl Events {
    /// A queue with these limits in events and bytes; without `kept` events are not kept at all. `dropped` is what earlier queues
    /// of this server lost.
    pub(crate) fn new(run: u64, kept: bool, (max_events, max_bytes): (usize, usize), dropped: u64) -> Self {
        Self {
            run,
            kept,
            keep: Keep::default(),
            max_events,
            max_bytes,
            events: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            dropped: AtomicU64::new(dropped),
            starved: AtomicBool::new(false),
            queue: Mutex::default(),
            filled: Condvar::new(),
            bell: OnceLock::new(),
        }
    }

    /// Keeps this beside messages, if anything is kept.
    pub(crate) fn with(self, keep: Keep) -> Self {
        Self { keep: if self.kept { keep } else { Keep::default() }, ..self }
    }

    /// Whether presence is to be told.
    pub(crate) fn keeps_presence(&self) -> bool {
        self.keep.presence
    }

    /// Whether the claims of a token are to be told rather than its user id.
    pub(crate) fn keeps_claims(&self) -> bool {
        self.keep.claims
    }

    /// Whether the application is to be asked what clients may have.
    pub(crate) fn asks(&self) -> bool {
        self.keep.questions
    }

    /// From here on somebody waits for this descriptor.
    pub(crate) fn ring_by(&self, bell: Arc<Bell>) {
        let queue = self.queue.lock();
        self.ring_if_wanted(&queue, self.bell.get_or_init(|| bell));
    }

    fn ring_if_wanted(&self, queue: &Queue, bell: &Bell) {
        bell.set(!queue.batches.is_empty() || queue.closed);
    }

    pub(crate) fn wake_on_room(&self, shards: Vec<Arc<dyn Resume>>) {
        self.queue.lock().wake = shards;
    }

    /// What the connection ids of these events are to be written with.
    #[must_use]
    pub fn run(&self) -> u64 {
        self.run
    }

    /// Whether anybody is to hear anything.
    #[must_use]
    pub fn kept(&self) -> bool {
        self.kept
    }

    /// Takes room for events with so many bytes together, if there is. An event larger than the whole queue would never fit, so it
    /// may pass alone.
    pub(crate) fn reserve(&self, events: usize, bytes: usize) -> bool {
        if !self.kept {
            return true;
        }
        let used = self.events.fetch_add(events, Ordering::Relaxed);
        let used_bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if used == 0 || (used + events <= self.max_events && used_bytes + bytes <= self.max_bytes) {
            return true;
        }
        self.give_back(events, bytes);
        self.starved.store(true, Ordering::SeqCst);
        // The application may have taken the last events between the two looks; then nobody would wake us.
        self.events.load(Ordering::SeqCst) == 0 && {
            self.events.fetch_add(events, Ordering::Relaxed);
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
            true
        }
    }

    /// Takes room for what happens so rarely that it need not wait for any.
    pub(crate) fn reserve_anyway(&self, bytes: usize) {
        if self.kept {
            self.events.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Takes room for the end of a connection, whether there is any or not: there are at most as many as connections, and none can
    /// wait or be lost.
    pub(crate) fn reserve_disconnect(&self) {
        if self.kept {
            self.events.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Adds one event from any thread, if there is room.
    pub(crate) fn offer(&self, kind: EventKind, conn: Option<ConnId>, bytes: &[u8]) -> bool {
        let has_room = self.reserve(1, bytes.len());
        if has_room {
            self.push_one(kind, conn, bytes);
        }
        has_room
    }

    /// The same, whether there is room or not: for what answers another event, so that there are not more of them.
    pub(crate) fn force(&self, kind: EventKind, conn: Option<ConnId>, bytes: &[u8]) {
        if self.kept {
            self.reserve_anyway(bytes.len());
            self.push_one(kind, conn, bytes);
        }
    }

    fn push_one(&self, kind: EventKind, conn: Option<ConnId>, bytes: &[u8]) {
        let mut batch = Batch::default();
        batch.push(kind, conn, bytes);
        self.push(&mut batch);
    }

    /// Gives back room that was reserved and not used.
    pub(crate) fn give_back(&self, events: usize, bytes: usize) {
        if self.kept {
            self.events.fetch_sub(events, Ordering::SeqCst);
            self.bytes.fetch_sub(bytes, Ordering::SeqCst);
        }
    }

    /// Hands a batch over; the room for it was reserved.
    pub(crate) fn push(&self, batch: &mut Batch) {
        if batch.is_empty() {
            return;
        }
        let next = Batch::sized_like(batch);
        let batch = std::mem::replace(batch, next);
        if !self.kept {
            return;
        }
        let batch = Taken { range: 0..batch.events.len(), batch: Arc::new(batch) };
        let mut queue = self.queue.lock();
        if queue.closed {
            drop(queue);
            self.lose(&batch);
            return;
        }
        queue.batches.push_back(batch);
        if let Some(bell) = self.bell.get() {
            bell.set(true);
        }
        let waiting = queue.waiting > 0;
        drop(queue);
        if waiting {
            self.filled.notify_one();
        }
    }

    fn lose(&self, batch: &Taken) {
        self.dropped.fetch_add(batch.events().len() as u64, Ordering::Relaxed);
        self.give_back(batch.events().len(), batch.byte_count());
    }

    /// Waits until there is an event; false when the time ran out, or when the queue was closed meanwhile.
    ///
    /// A queue that is closed already is waited for like any other: a loop that drains a stopped server must not spin.
    pub fn wait(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        let mut queue = self.queue.lock();
        let closed = queue.closed;
        while queue.batches.is_empty() && queue.closed == closed && !queue.replaced {
            queue.waiting += 1;
            let timed_out = match deadline {
                Some(deadline) => self.filled.wait_until(&mut queue, deadline).timed_out(),
                None => {
                    self.filled.wait(&mut queue);
                    false
                }
            };
            queue.waiting -= 1;
            if timed_out {
                break;
            }
        }
        !queue.batches.is_empty()
    }

    /// Whether nothing is left and nothing will come.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let queue = self.queue.lock();
        queue.closed && queue.batches.is_empty()
    }

    /// Takes up to `max` events, without waiting.
    pub fn take(&self, max: usize) -> Vec<Taken> {
        let mut out = Vec::new();
        let (mut events, mut bytes) = (0, 0);
        let mut queue = self.queue.lock();
        while events < max {
            let Some(Taken { batch, range }) = queue.batches.front_mut() else { break };
            let end = range.end.min(range.start + (max - events));
            let part = Taken { batch: batch.clone(), range: range.start..end };
            range.start = end;
            if range.start == range.end {
                queue.batches.pop_front();
            }
            events += part.events().len();
            bytes += part.byte_count();
            out.push(part);
        }
        if let Some(bell) = self.bell.get() {
            self.ring_if_wanted(&queue, bell);
        }
        let more = !queue.batches.is_empty() && queue.waiting > 0;
        let wake = if self.note_taken(events, bytes) { queue.wake.clone() } else { Vec::new() };
        drop(queue);
        if more {
            self.filled.notify_one();
        }
        for shard in wake {
            shard.resume();
        }
        out
    }

    /// Frees room; true when paused shards should try again.
    fn note_taken(&self, events: usize, bytes: usize) -> bool {
        if events == 0 {
            return false;
        }
        let left = self.events.fetch_sub(events, Ordering::SeqCst) - events;
        let left_bytes = self.bytes.fetch_sub(bytes, Ordering::SeqCst) - bytes;
        // Not at the first free place: a shard that is woken for each event does nothing else.
        left <= self.max_events / 4 * 3
            && left_bytes <= self.max_bytes / 4 * 3
            && self.starved.swap(false, Ordering::SeqCst)
    }

    /// Wakes everybody who waits, for good; events that come after this are lost and counted.
    pub(crate) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        if let Some(bell) = self.bell.get() {
            bell.set(true);
        }
        drop(queue);
        self.filled.notify_all();
    }

    /// Sends everybody who waits to the queue that took the place of this one.
    pub(crate) fn give_way(&self) {
        self.queue.lock().replaced = true;
        self.filled.notify_all();
    }

    /// Events that wait.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.queue.lock().batches.iter().map(|batch| batch.events().len()).sum()
    }

    /// Bytes that count towards the limit: of events that wait, and of messages that were promised room and are not whole yet.
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Events that were lost, which happens only to what is left at shutdown.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Throws away what nobody has taken, and counts it.
    pub fn discard(&self) -> u64 {
        let batches = std::mem::take(&mut self.queue.lock().batches);
        batches.iter().for_each(|batch| self.lose(batch));
        self.dropped()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONN: ConnId = ConnId { shard: 0, slot: 1, generation: 1 };

    fn texts(taken: &[Taken]) -> Vec<String> {
        let all = taken.iter().flat_map(|part| part.events().iter().map(|event| part.bytes(event).to_vec()));
        all.map(|bytes| String::from_utf8(bytes).unwrap()).collect()
    }

    fn push(events: &Events, texts: &[&str]) {
        let mut batch = Batch::default();
        for text in texts {
            assert!(events.reserve(1, text.len()));
            batch.push(EventKind::Text, CONN, text.as_bytes());
        }
        events.push(&mut batch);
    }

    #[test]
    fn any_limit_takes_the_same_events_in_the_same_order() {
        for max in 1..6 {
            let events = Events::new(7, true, (100, 1000), 0);
            push(&events, &["a", "b", "c"]);
            push(&events, &["d"]);
            push(&events, &["e", "f"]);
            let mut out = Vec::new();
            while events.depth() > 0 {
                let taken = events.take(max);
                assert!(texts(&taken).len() <= max);
                out.extend(texts(&taken));
            }
            assert_eq!(out.concat(), "abcdef");
        }
    }

    struct Flag(AtomicUsize);
    impl Resume for Flag {
        fn resume(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_full_queue_refuses_and_wakes_when_a_quarter_is_free() {
        let events = Events::new(7, true, (4, 1000), 0);
        let flag = Arc::new(Flag(AtomicUsize::new(0)));
        events.wake_on_room(vec![flag.clone()]);
        push(&events, &["a", "b", "c", "d"]);
        assert!(!events.reserve(1, 1) && !events.reserve(1, 1));
        events.take(1);
        assert_eq!(flag.0.load(Ordering::SeqCst), 1, "woken once, however often it was refused");
        assert!(events.reserve(1, 1));
    }

    #[test]
    fn bytes_are_a_limit_too_but_an_empty_queue_takes_anything() {
        let events = Events::new(7, true, (100, 10), 0);
        assert!(events.reserve(1, 50), "alone");
        assert!(!events.reserve(1, 1));
        events.give_back(1, 50);
        assert!(events.reserve(1, 10) && !events.reserve(1, 1));
    }

    #[test]
    fn what_comes_after_the_end_is_lost_and_counted() {
        let events = Events::new(7, true, (10, 100), 0);
        push(&events, &["a"]);
        events.close();
        push(&events, &["b", "c"]);
        assert_eq!(events.dropped(), 2);
        assert_eq!(texts(&events.take(10)), ["a"]);
        assert!(!events.wait(Duration::from_millis(1)) && events.is_finished());
        assert_eq!(events.discard(), 2);
    }

    #[test]
    fn the_end_wakes_whoever_waits() {
        let events = Arc::new(Events::new(7, true, (10, 100), 0));
        let waiting = std::thread::spawn({
            let events = events.clone();
            move || events.wait(Duration::from_secs(60))
        });
        while events.queue.lock().waiting == 0 {
            std::thread::yield_now();
        }
        events.close();
        assert!(!waiting.join().unwrap());
    }
}
