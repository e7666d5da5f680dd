//! The way into a shard: everything that other threads want of it, in one order, with the bytes in one piece of memory.
//!
//! Messages of one topic that come one after the other make one entry, so a flood of a million costs the shard a handful. The inbox
//! is bounded in bytes: whoever finds it full waits until the shard has taken what there is. A shard is woken only when asleep.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use mio::net::TcpStream;
use parking_lot::{Condvar, Mutex, MutexGuard};
use wse_core::ConnId;
use wse_core::history::{Position, Replay};
use wse_core::http::Response;
use wse_core::websocket::Opcode;
use wse_core::websocket::frame::{MAX_SERVER_HEADER, ServerHeader};

use crate::drain::Order;
use crate::events::Resume;
use crate::people::ConnectionQuery;
use crate::squeeze::{Lanes, Squeezed, Twins};
use crate::topics::Audience;

/// Bytes from which publishers wait for the shard: few enough to be still in the cache of a core when the last receiver gets them.
pub(crate) const CAPACITY: usize = 64 * 1024;
/// The same for messages that come ready by the hundred, where the lock and the waking cost more than the cache saves, and for events, each of
/// which is for one client: the more there are, the more of them one write takes.
pub(crate) const MANY_CAPACITY: usize = 256 * 1024;
/// Bytes of presence from which whoever makes people come and go waits.
const PRESENCE_CAPACITY: usize = 1024 * 1024;

/// The place of the words that tell that a topic goes on from a position that does not follow from the one before: whoever does not get them
/// can't be told by offsets what is missing.
pub(crate) const CUT: u64 = u64::MAX;

/// One thing to do; ranges lie in the bytes that came with it.
#[derive(Debug)]
pub(crate) enum Entry {
    /// Frames for all who listen. `first` is the offset of the first message; 0 for those of a topic without history.
    Publish {
        audience: Arc<Audience>,
        start: u32,
        end: u32,
        messages: u32,
        first: u64,
        twins: Option<Box<Twins>>,
    },
    /// The same for news of who is there, which may be gathered with others on their way.
    Presence { audience: Arc<Audience>, start: u32, end: u32, messages: u32 },
    /// Frames of which a member of each of some groups gets one; the groups are bits, by their place in the audience.
    Group {
        audience: Arc<Audience>,
        groups: u64,
        start: u32,
        end: u32,
        /// Another shard had them before.
        handed: bool,
    },
    /// Frames for one connection.
    Send { conn: ConnId, start: u32, end: u32 },
    /// The last frame for one connection, and the end of it.
    Close { conn: ConnId, start: u32, end: u32 },
    /// From here on the connection receives what the channel gets.
    Subscribe { conn: ConnId, channel: u64 },
    /// Here a connection that missed messages of a topic gets what there is of them.
    Replay(Box<Replaying>),
    /// From here on no more.
    Unsubscribe { conn: ConnId, channel: u64 },
    /// A new socket from the thread that accepts.
    Adopt(Box<(TcpStream, SocketAddr)>),
    /// What a request of the API is answered.
    Answer { conn: ConnId, response: Box<Response> },
    /// Somebody wants to know about a connection.
    Query { conn: ConnId, answer: SyncSender<ConnectionQuery> },
    /// The server is to be emptied.
    Drain(Box<Order>),
    /// It is time for one connection to go.
    Farewell(ConnId),
    /// There is room for events again.
    Resume,
    /// The application has said what the connection may have.
    Decided(ConnId),
    /// From here on the connection is not read, or again.
    Hold { conn: ConnId, holds: bool },
}

/// Messages of a topic that one connection missed, in their place among those that follow.
#[derive(Debug)]
pub(crate) struct Replaying {
    pub(crate) conn: ConnId,
    pub(crate) topic: Arc<str>,
    /// The first message that it missed.
    pub(crate) first: u64,
    /// Where it stands before the replay, if that is known, and where the topic stands after it: both tell which epochs are news.
    pub(crate) from: Option<Position>,
    pub(crate) upto: Position,
    /// Which healing of the connection it belongs to; 0 for a replay that was asked for.
    pub(crate) round: u32,
    /// Words that go before them: they tell which are lost.
    pub(crate) notice: String,
    pub(crate) replay: Replay,
}

/// A message in the pieces that make its payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) opcode: Opcode,
    pub(crate) head: &'a [u8],
    pub(crate) tail: &'a [u8],
}

impl Message<'_> {
    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }
}

#[derive(Debug)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    room: Condvar,
    waker: mio::Waker,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) entries: Vec<Entry>,
    pub(crate) bytes: Vec<u8>,
    /// The twins of the messages that have some.
    lanes: Lanes,
    /// Those of `bytes` that are presence.
    presence_bytes: usize,
    asleep: bool,
    closed: bool,
    waiting: usize,
}

/// What a shard took from its inbox.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) entries: Vec<Entry>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) lanes: Lanes,
}

/// Why nothing was put into the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Busy {
    /// Waiting would help.
    Full,
    /// The shard has ended.
    Closed,
}

impl State {
    fn frame(&mut self, message: Message<'_>) -> (u32, u32) {
        let start = self.bytes.len() as u32;
        let header = ServerHeader::new(message.opcode, message.len());
        self.bytes.reserve(MAX_SERVER_HEADER + message.len());
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(message.head);
        self.bytes.extend_from_slice(message.tail);
        (start, self.bytes.len() as u32)
    }

    /// Adds a message for an audience; `offset` is its place in the topic's history, 0 without one.
    pub(crate) fn publish(
        &mut self,
        to: &Arc<Audience>,
        message: Message<'_>,
        squeezed: Option<&Squeezed>,
        offset: u64,
    ) {
        let (start, end) = self.frame(message);
        if let Some(Entry::Publish { audience, end: last, messages, first, twins, .. }) =
            self.entries.last_mut()
            && Arc::ptr_eq(audience, to)
            && (offset == 0 || first.checked_add(u64::from(*messages)) == Some(offset))
            && twins.as_ref().map_or(0, |twins| twins.lanes()) == squeezed.map_or(0, Squeezed::lanes)
        {
            *last = end;
            *messages += 1;
            if let (Some(twins), Some(squeezed)) = (twins, squeezed) {
                self.lanes.append(twins, squeezed, message.head);
            }
            return;
        }
        let twins = squeezed
            .filter(|squeezed| squeezed.lanes() != 0)
            .map(|squeezed| Box::new(self.lanes.add(squeezed, message.head)));
        self.entries.push(Entry::Publish {
            audience: to.clone(),
            start,
            end,
            messages: 1,
            first: offset,
            twins,
        });
    }

    /// Adds news of who is there for an audience.
    pub(crate) fn presence(&mut self, to: &Arc<Audience>, message: Message<'_>) {
        let (start, end) = self.frame(message);
        self.presence_bytes += (end - start) as usize;
        match self.entries.last_mut() {
            Some(Entry::Presence { audience, end: last, messages, .. }) if Arc::ptr_eq(audience, to) => {
                *last = end;
                *messages += 1;
            }
            _ => self.entries.push(Entry::Presence { audience: to.clone(), start, end, messages: 1 }),
        }
    }

    /// Adds a message for members of groups.
    pub(crate) fn publish_group(&mut self, to: &Arc<Audience>, of: u64, message: Message<'_>) {
        let (start, end) = self.frame(message);
        self.note_group(to, of, start, end, false);
    }

    /// Adds a frame for a member of a group that another shard could not give to one.
    pub(crate) fn hand_on(&mut self, to: &Arc<Audience>, of: u64, frame: &[u8]) {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(frame);
        self.note_group(to, of, start, self.bytes.len() as u32, true);
    }

    fn note_group(&mut self, to: &Arc<Audience>, of: u64, start: u32, end: u32, is_handed: bool) {
        match self.entries.last_mut() {
            Some(Entry::Group { audience, groups, end: last, handed, .. })
                if Arc::ptr_eq(audience, to) && *groups == of && *handed == is_handed =>
            {
                *last = end;
            }
            _ => {
                let audience = to.clone();
                self.entries.push(Entry::Group { audience, groups: of, start, end, handed: is_handed });
            }
        }
    }

    /// Adds a message for one connection.
    pub(crate) fn send(&mut self, to: ConnId, message: Message<'_>) {
        let (start, end) = self.frame(message);
        self.note_send(to, start, end);
    }

    /// Adds a frame for one connection.
    pub(crate) fn send_frame(&mut self, to: ConnId, frame: &[u8]) {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(frame);
        self.note_send(to, start, self.bytes.len() as u32);
    }

    fn note_send(&mut self, to: ConnId, start: u32, end: u32) {
        match self.entries.last_mut() {
            Some(Entry::Send { conn, end: last, .. }) if *conn == to => *last = end,
            _ => self.entries.push(Entry::Send { conn: to, start, end }),
        }
    }

    /// Adds the last frame for one connection.
    pub(crate) fn close(&mut self, conn: ConnId, frame: &[u8]) {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(frame);
        self.entries.push(Entry::Close { conn, start, end: self.bytes.len() as u32 });
    }

    pub(crate) fn is_full(&self) -> bool {
        self.has(CAPACITY)
    }

    fn has(&self, bytes: usize) -> bool {
        // Each form by itself: a client gets one of them, and that should fill a write however many forms there are.
        self.bytes.len().max(self.lanes.longest()) >= bytes
    }
}

impl Inbox {
    pub(crate) fn new(waker: mio::Waker) -> Self {
        Self { state: Mutex::default(), room: Condvar::new(), waker }
    }

    /// Puts something in if that needs no waiting at all.
    pub(crate) fn try_put(&self, put: impl FnOnce(&mut State)) -> Result<(), Busy> {
        self.try_put_below(CAPACITY, put)
    }

    /// The same with another capacity.
    pub(crate) fn try_put_below(&self, capacity: usize, put: impl FnOnce(&mut State)) -> Result<(), Busy> {
        let Some(state) = self.state.try_lock() else { return Err(Busy::Full) };
        if state.closed {
            return Err(Busy::Closed);
        }
        if state.has(capacity) {
            return Err(Busy::Full);
        }
        self.finish(state, put);
        Ok(())
    }

    /// Puts many messages in at once, waiting until there is room for such.
    pub(crate) fn put_many(&self, put: impl FnOnce(&mut State)) -> Result<(), Busy> {
        let mut state = self.state.lock();
        self.wait(&mut state, MANY_CAPACITY);
        if state.closed {
            return Err(Busy::Closed);
        }
        self.finish(state, put);
        Ok(())
    }

    /// Whether something can be put in without waiting.
    pub(crate) fn has_room(&self) -> bool {
        let state = self.state.lock();
        state.closed || !state.is_full()
    }

    /// Waits until there is room: below [`CAPACITY`] or [`MANY_CAPACITY`].
    pub(crate) fn wait_for_room(&self, capacity: usize) {
        self.wait(&mut self.state.lock(), capacity);
    }

    fn wait(&self, state: &mut MutexGuard<'_, State>, capacity: usize) {
        while state.has(capacity) && !state.closed {
            state.waiting += 1;
            self.room.wait(state);
            state.waiting -= 1;
        }
    }

    /// Whether there is not more presence than one turn should have.
    pub(crate) fn has_presence_room(&self) -> bool {
        let state = self.state.lock();
        state.closed || state.presence_bytes < PRESENCE_CAPACITY
    }

    /// Waits while there is more presence than one turn should have.
    pub(crate) fn wait_for_presence_room(&self) {
        let mut state = self.state.lock();
        while state.presence_bytes >= PRESENCE_CAPACITY && !state.closed {
            state.waiting += 1;
            self.room.wait(&mut state);
            state.waiting -= 1;
        }
    }

    /// Puts something small in without regard to the limit: what is bounded by the number of connections and must not wait.
    pub(crate) fn put_now(&self, put: impl FnOnce(&mut State)) -> Result<(), Busy> {
        let state = self.state.lock();
        if state.closed {
            return Err(Busy::Closed);
        }
        self.finish(state, put);
        Ok(())
    }

    fn finish(&self, mut state: MutexGuard<'_, State>, put: impl FnOnce(&mut State)) {
        put(&mut state);
        let wake = std::mem::take(&mut state.asleep);
        drop(state);
        if wake {
            self.wake();
        }
    }

    /// Makes the shard's poll return.
    pub(crate) fn wake(&self) {
        // Fails only when the eventfd is gone, and with it the shard.
        let _ = self.waker.wake();
    }

    /// For the shard: takes everything, leaving what is given, which is empty, in its place. When there is nothing and `sleep` is set,
    /// the next one to put something in wakes the shard.
    pub(crate) fn take(&self, into: &mut Contents, sleep: bool) -> bool {
        let mut state = self.state.lock();
        state.asleep = false;
        if state.entries.is_empty() {
            state.asleep = sleep;
            return false;
        }
        std::mem::swap(&mut state.entries, &mut into.entries);
        std::mem::swap(&mut state.bytes, &mut into.bytes);
        std::mem::swap(&mut state.lanes, &mut into.lanes);
        state.presence_bytes = 0;
        let waiting = state.waiting > 0;
        drop(state);
        if waiting {
            self.room.notify_all();
        }
        true
    }

    /// For the shard: it ends; nobody may wait for it any more.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.entries.clear();
        state.bytes = Vec::new();
        state.presence_bytes = 0;
        state.lanes = Lanes::default();
        drop(state);
        self.room.notify_all();
    }
}

impl Resume for Inbox {
    fn resume(&self) {
        let _ = self.put_now(|state| state.entries.push(Entry::Resume));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topics::Topics;

    fn firsts(offsets: &[u64]) -> Vec<(u64, u32)> {
        let topics = Topics::new(1);
        let mut state = State::default();
        for offset in offsets {
            let message = Message { opcode: Opcode::Text, head: b"", tail: b"x" };
            state.publish(topics.everyone(), message, None, *offset);
        }
        let first = |entry: &Entry| match entry {
            Entry::Publish { first, messages, .. } => (*first, *messages),
            other => panic!("{other:?}"),
        };
        state.entries.iter().map(first).collect()
    }

    #[test]
    fn messages_that_follow_each_other_are_one_entry_and_words_of_a_cut_are_their_own() {
        assert_eq!(firsts(&[0, 0, 0]), [(0, 3)]);
        assert_eq!(firsts(&[7, 8, 10]), [(7, 2), (10, 1)]);
        assert_eq!(firsts(&[7, CUT, 3, 4]), [(7, 1), (CUT, 1), (3, 2)]);
        assert_eq!(firsts(&[CUT, CUT]), [(CUT, 1), (CUT, 1)]);
    }
}
