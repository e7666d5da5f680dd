//! News of who is there, gathered: while the last ones are still being written to their subscribers, the next are only kept together.
//! So a storm of joins costs each subscriber one send per sweep, however many join meanwhile, and messages wait for nobody: the line of
//! such a sweep lets all others go first.
//!
//! What is gathered never overtakes or is overtaken by what goes to the same topic or straight to one of its subscribers: before such
//! a message, and before a close, it is given out.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use wse_core::keyed::KeyedList;

use super::Shard;
use super::conn::Membership;
use super::deliver::watch;
use super::hold::Standing;
use super::runs::{Piece, Runs};
use super::sweeps::Line;
use crate::inbox::Entry;
use crate::topics::Audience;

/// Bytes of all topics together beyond which nothing is kept back.
const MOST_BYTES: usize = 1024 * 1024;

/// What waits, by audience.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    heaps: Vec<Heap>,
    /// Where an audience's heap lies, by address: the heap keeps the audience alive.
    index: HashMap<usize, usize, FixedState>,
    /// The channels of all audiences, with the heaps that go to them.
    channels: HashMap<u64, Vec<usize>, FixedState>,
    bytes: usize,
}

/// The frames for one audience.
#[derive(Debug)]
struct Heap {
    audience: Arc<Audience>,
    frames: Vec<u8>,
    messages: u32,
    /// Connections that came in between, and how many bytes and frames are older than they.
    newcomers: HashMap<u32, (u32, u32), FixedState>,
}

impl Gathered {
    /// Adds frames behind those that wait for the same audience.
    pub(super) fn add(&mut self, audience: &Arc<Audience>, frames: &[u8], messages: u32) {
        let at = *self.index.entry(Arc::as_ptr(audience).addr()).or_insert_with(|| {
            for channel in audience.channels() {
                self.channels.entry(channel.id).or_default().push(self.heaps.len());
            }
            let audience = audience.clone();
            self.heaps.push(Heap {
                audience,
                frames: Vec::new(),
                messages: 0,
                newcomers: HashMap::default(),
            });
            self.heaps.len() - 1
        });
        self.heaps[at].frames.extend_from_slice(frames);
        self.heaps[at].messages += messages;
        self.bytes += frames.len();
    }

    /// A connection with these channels is about to enter another one: what waits for that is older than it.
    pub(super) fn note_newcomer(&mut self, slot: u32, channels: &KeyedList<Membership>, channel: u64) {
        for &at in self.channels.get(&channel).map_or(&[][..], Vec::as_slice) {
            let heap = &mut self.heaps[at];
            let hears_already =
                heap.audience.channels().iter().any(|channel| channels.position(channel.id).is_some());
            if !hears_already {
                heap.newcomers.insert(slot, (heap.frames.len() as u32, heap.messages));
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.heaps.is_empty()
    }

    fn is_for(&self, channel: u64) -> bool {
        self.channels.contains_key(&channel)
    }
}

impl Shard {
    /// Gives out all that waits if one of these entries must come behind it.
    pub(super) fn give_before(&mut self, entries: &[Entry]) {
        if !self.gathered.is_empty() && entries.iter().any(|entry| self.must_follow(entry)) {
            self.give();
        }
    }

    fn must_follow(&mut self, entry: &Entry) -> bool {
        match entry {
            Entry::Publish { audience, .. } => {
                let everyone = self.shared.topics.everyone_channel().id;
                let channels = audience.channels();
                channels.iter().any(|channel| channel.id == everyone || self.gathered.is_for(channel.id))
            }
            Entry::Send { conn, .. } | Entry::Close { conn, .. } | Entry::Farewell(conn) => {
                let Self { slots, gathered, .. } = self;
                let channels = slots.open(*conn).map_or(&[][..], |conn| conn.channels.as_slice());
                channels.iter().any(|membership| gathered.is_for(membership.channel))
            }
            // Whoever moves from one part of a pattern to another must not fall between the two.
            Entry::Unsubscribe { channel, .. } => {
                let heaps = self.gathered.channels.get(channel).map_or(&[][..], Vec::as_slice);
                let channels = heaps.iter().flat_map(|at| self.gathered.heaps[*at].audience.channels());
                channels.into_iter().any(|found| found.id == *channel && !found.is_topic)
            }
            _ => false,
        }
    }

    /// Gives out what waits if the last of it has been written, or too much has come meanwhile.
    pub(super) fn give_next(&mut self) {
        let is_time = !self.sweeps.are_lazily_serving() || self.gathered.bytes > MOST_BYTES;
        if is_time && !self.gathered.is_empty() {
            self.give();
        }
    }

    fn give(&mut self) {
        let mut line = Line::new();
        for heap in std::mem::take(&mut self.gathered).heaps {
            self.give_heap(heap, &mut line);
        }
        self.sweeps.add_lazily(line);
    }

    /// Notes the frames of one audience for each of its receivers, as for a message.
    fn give_heap(&mut self, heap: Heap, line: &mut Line) {
        let Heap { audience, frames, messages, newcomers } = heap;
        let (now_ms, limit) = (self.now_ms, self.shared.options.max_outbound_queue_bytes);
        let end = frames.len() as u32;
        let runs = Runs::of(frames, &self.pool);
        let mut over = std::mem::take(&mut self.over);
        let (mut standing, mut sent) = (Standing::default(), 0);
        self.for_receivers(&audience, |slot, conn| {
            let known = if newcomers.is_empty() { None } else { newcomers.get(&slot) };
            let (start, older) = known.copied().unwrap_or_default();
            if start == end {
                return;
            }
            runs.give(conn, Piece::unnoted(start, end, messages - older));
            standing.count(conn, now_ms);
            sent += u64::from(messages - older);
            if !conn.flags.queued && !conn.flags.blocked {
                conn.flags.queued = true;
                conn.flags.lazily = true;
                line.push_back(slot);
            }
            watch(slot, conn, limit, &mut over);
        });
        self.over = over;
        self.handle().stats.messages_sent.add(sent);
        self.judge(&audience, standing, u64::from(end));
    }
}
