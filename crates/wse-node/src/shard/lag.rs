//! Clients that are further behind than they may be: their backlog goes, their connection stays, and they are told what they missed.
//!
//! What a client misses is noted by topic and not kept. When its socket has taken what was left, a topic with history is replayed from
//! the first message that it missed, as far as the history goes, and a notice tells exactly what is beyond that; of a topic without history
//! it learns how many messages it missed. What was sent to the client alone is never dropped: too much of that closes it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry as MapEntry;
use wse_core::ConnId;
use wse_core::history::{Epoch, Position};
use wse_core::options::SlowClient;
use wse_core::outbox::{Outbox, Run as _};
use wse_core::protocol::words::Gap;
use wse_core::websocket::frame::server_frame_len;

use super::Shard;
use super::close::Reason;
use super::conn::Conn;
use super::deliver::note;
use super::runs::{Piece, give_kept};
use super::sweeps::Line;
use crate::gate::Missed;
use crate::inbox::{CUT, Replaying};
use crate::log::limited;
use crate::run::{Note, Pool, Run};
use crate::squeeze::Wire;
use crate::topics::Topics;

/// Topics of which one client may miss something at the same time; with more it is closed.
const MAX_TOPICS: usize = 4096;
/// The first bit of a frame's header that says it is compressed.
const COMPRESSED: u8 = 0x40;

/// What one client missed, by topic.
#[derive(Debug, Default)]
pub(super) struct Lag {
    missing: HashMap<Arc<str>, Missing, FixedState>,
    /// Its socket has taken what was left: what is not among the missing is delivered again.
    heals: bool,
    /// Counts the times that it began to heal, so that a replay for an earlier time is known.
    round: u32,
    /// There are more topics than can be noted, or one of them went on from another position: it can't be told what is missing.
    overflows: bool,
    /// Messages that were dropped or not queued, and not yet counted.
    dropped: u64,
}

/// What of one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    /// Everything from this offset on.
    From(u64),
    /// So many messages of a topic without history.
    Some(u64),
    /// Messages of a topic that it hears by a pattern.
    Unknown,
    /// Everything from this offset on; the replay is on its way through the inbox.
    Replayed(u64),
}

impl Lag {
    /// Notes messages that the client does not get.
    fn miss(&mut self, topic: &Arc<str>, messages: u64, missing: Missing) {
        self.dropped += messages;
        let full = self.missing.len() >= MAX_TOPICS;
        match self.missing.entry(topic.clone()) {
            MapEntry::Occupied(mut known) => {
                if let (Missing::Some(count), Missing::Some(more)) = (known.get_mut(), missing) {
                    *count += more;
                }
            }
            MapEntry::Vacant(_) if full => self.overflows = true,
            MapEntry::Vacant(place) => {
                place.insert(missing);
            }
        }
    }

    /// Notes those of a run's frames that lie in a range and belong to one note.
    fn miss_frames(&mut self, run: &Run, note: &Note, from: u32, to: u32, is_own: bool) {
        let before = count_frames(run, note.start, from);
        let messages = count_frames(run, from, to);
        let first = if matches!(note.first, 0 | CUT) { note.first } else { note.first + before };
        self.overflows |= first == CUT && messages > 0;
        self.miss(&note.topic, messages, missing(is_own, first, messages));
    }

    /// It falls behind, perhaps again: no replay that is on its way will do.
    fn begin(&mut self) {
        self.heals = false;
        for missing in self.missing.values_mut() {
            if let Missing::Replayed(first) = *missing {
                *missing = Missing::From(first);
            }
        }
    }

    /// It heals: what was missed, in the order of topics. Histories stay noted until their replays come.
    fn heal(&mut self) -> Vec<(Arc<str>, Missing)> {
        self.heals = true;
        self.round = self.round.wrapping_add(1).max(1);
        let mut missed: Vec<_> =
            self.missing.iter().map(|(topic, missing)| (topic.clone(), *missing)).collect();
        missed.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        self.missing.retain(|_, missing| match *missing {
            Missing::From(first) => {
                *missing = Missing::Replayed(first);
                true
            }
            _ => false,
        });
        missed
    }

    /// Whether a replay is still what is waited for; one that the client asked for itself always is.
    fn awaits(&self, round: u32) -> bool {
        self.heals && (round == 0 || round == self.round)
    }
}

fn missing(is_own: bool, first: u64, messages: u64) -> Missing {
    match (is_own, first) {
        (false, _) => Missing::Unknown,
        (true, 0) => Missing::Some(messages),
        (true, first) => Missing::From(first),
    }
}

/// Frames between two of their boundaries.
fn count_frames(run: &Run, start: u32, end: u32) -> u64 {
    let mut frames = &run.bytes()[start as usize..end as usize];
    let mut count = 0;
    while !frames.is_empty() {
        frames = &frames[server_frame_len(frames)..];
        count += 1;
    }
    count
}

/// What tells what is lost of a topic with history, if anything is: from the first that is missing to where the replay begins.
fn lost(topic: &str, first: u64, from: Option<Position>, begins: Position) -> String {
    if begins.offset < first {
        return String::new();
    }
    let epoch = from.map_or(begins.epoch, |from| from.epoch);
    let missed = begins.offset + 1 - first;
    let gap = if epoch == begins.epoch {
        Gap::Lost { topic, epoch, from: first, to: begins.offset }
    } else {
        Gap::Turned { topic, epoch, from: first, missed: Some(missed), next: begins }
    };
    gap.to_text()
}

/// The words that tell that the messages after a position are of another epoch.
fn turned(topic: &str, from: Position, epoch: Epoch) -> String {
    let next = Position { epoch, ..from };
    Gap::Turned { topic, epoch: from.epoch, from: from.offset + 1, missed: Some(0), next }.to_text()
}

impl Conn {
    /// Whether a client that lags misses these pieces of one topic; if not, it is to get them.
    pub(super) fn misses(&mut self, pieces: &[Piece<'_>]) -> bool {
        let Some(lag) = &mut self.lag else { return false };
        let Some(audience) = pieces.first().and_then(|piece| piece.audience) else { return false };
        let Some(topic) = audience.topic() else { return false };
        if lag.heals && !lag.missing.contains_key(topic) {
            return false;
        }
        let is_own = audience.own_channel().is_some_and(|channel| self.channels.position(channel).is_some());
        let messages = pieces.iter().map(|piece| u64::from(piece.messages)).sum();
        lag.overflows |= pieces.iter().any(|piece| piece.first == CUT);
        lag.miss(topic, messages, missing(is_own, pieces[0].first, messages));
        true
    }

    /// Whether it is subscribed to a topic by its name.
    fn hears(&self, topics: &Topics, topic: &str) -> bool {
        topics.own_channel(topic).is_some_and(|channel| self.channels.position(channel).is_some())
    }

    /// Gives it the words that tell of another epoch. They go and come again with the message behind them.
    fn give_turn(&mut self, pool: &Pool, topic: &Arc<str>, words: &str, first: u64) {
        let mut frame = Vec::new();
        self.write_words(&mut frame, words);
        let end = frame.len() as u32;
        let note = Note { start: 0, end, first, topic: topic.clone() };
        self.outbox.push(&pool.noted(frame, vec![note]), 0, end);
    }

    /// Drops what is for all who hear its topic, and notes it. Whether what is left may follow.
    fn shed(&mut self, topics: &Topics, pool: &Pool) -> bool {
        let mut lag = self.lag.take().unwrap_or_default();
        lag.begin();
        let mut compressed = false;
        let unsent = self.outbox.take_unsent();
        self.outbox.move_rest(|rest| pool.run(rest.to_vec()));
        for (run, start, end) in unsent {
            let mut keep = |from: u32, to: u32, outbox: &mut Outbox<Run>| {
                if from < to {
                    compressed |= run.bytes()[from as usize] & COMPRESSED != 0;
                    outbox.push(&run, from, to);
                }
            };
            let mut at = start;
            for note in run.notes().iter().filter(|note| note.end > start && note.start < end) {
                let (from, to) = (note.start.max(start), note.end.min(end));
                keep(at, from, &mut self.outbox);
                lag.miss_frames(&run, note, from, to, self.hears(topics, &note.topic));
                at = to;
            }
            keep(at, end, &mut self.outbox);
        }
        self.flags.lags = true;
        self.lag = Some(lag);
        // The client's context has not seen what was dropped: what refers to it can't follow, and what comes begins anew.
        let Some(own) = self.own.as_mut().filter(|_| self.wire == Wire::Own) else { return true };
        own.forget_what_was_said();
        !compressed
    }
}

impl Shard {
    /// A client holds more than `limit`: by the policy `slow_client` it loses its backlog, or its connection.
    pub(super) fn fall_behind(&mut self, slot: u32, limit: usize) {
        let is_over =
            |shard: &mut Self| shard.slots.get_mut(slot).is_some_and(|conn| conn.outbox.cost() > limit);
        if self.slots.get_mut(slot).is_some_and(|conn| conn.has_work()) {
            // The work of a group is never dropped: others do it, or the member goes and is counted.
            match (self.hand_work_over(slot), is_over(self)) {
                (true, false) => return,
                (true, true) => {}
                (false, _) => return self.close(slot, Reason::TooSlow),
            }
        }
        let Self { slots, shared, pool, .. } = self;
        let Some(conn) = slots.get_mut(slot) else { return };
        let is_new = conn.lag.is_none();
        let may_follow = shared.options.slow_client != SlowClient::Close && conn.shed(&shared.topics, pool);
        if is_new && conn.lag.is_some() {
            shared.laggards.now.fetch_add(1, Relaxed);
        }
        if !may_follow || conn.outbox.cost() > limit {
            return self.close(slot, Reason::TooSlow);
        }
        let is_free = conn.outbox.is_empty() && !conn.flags.blocked;
        shared.laggards.fell_behind.fetch_add(1, Relaxed);
        let clock = shared.clock;
        limited!(
            warn,
            clock,
            "a client reads too slowly: its backlog is dropped, and it will be told what it missed"
        );
        self.count_dropped(slot);
        if is_free {
            self.heal(slot);
        }
    }

    /// The socket of a client that lags has taken everything: it gets what it missed, or is told of it.
    pub(super) fn heal(&mut self, slot: u32) {
        let id = self.id(slot);
        let options = &self.shared.options;
        let heals = options.slow_client == SlowClient::Heal;
        let max_bytes = if heals { options.max_outbound_queue_bytes / 2 } else { 0 };
        let Some(conn) = self.slots.get_mut(slot) else { return };
        let Some(lag) = conn.lag.as_mut().filter(|lag| !lag.heals) else { return };
        if lag.overflows {
            return self.close(slot, Reason::TooSlow);
        }
        let (missed, round) = (lag.heal(), lag.round);
        self.count_dropped(slot);
        let mut notices = Vec::new();
        for (topic, missing) in missed {
            let missed = match missing {
                Missing::From(first) => {
                    self.replay_from(id, &topic, first, max_bytes, round);
                    continue;
                }
                Missing::Replayed(_) => continue,
                Missing::Some(count) => Some(count),
                Missing::Unknown => None,
            };
            let gap = Gap::Uncounted { topic: &topic, missed };
            if let Some(conn) = self.slots.get_mut(slot) {
                conn.write_words(&mut notices, &gap.to_text());
            }
            self.shared.laggards.gaps.fetch_add(1, Relaxed);
        }
        self.end_lag_if_over(slot);
        self.send_own(slot, &notices);
    }

    /// Asks for the place of a replay among the messages that follow.
    fn replay_from(&mut self, id: ConnId, topic: &Arc<str>, first: u64, max_bytes: usize, round: u32) {
        let Self { slots, shared, .. } = self;
        let Some(conn) = slots.open(id) else { return };
        if conn.hears(&shared.topics, topic) {
            let missed = Missed { conn: id, topic, first, round };
            shared.replay_missed(&missed, max_bytes, |from, begins| lost(topic, first, from, begins));
        } else if let Some(lag) = &mut conn.lag {
            // It left the topic meanwhile.
            lag.missing.remove(topic);
        }
    }

    /// The place of a replay has come.
    pub(super) fn replay(&mut self, replaying: Replaying, line: &mut Line) {
        let Replaying { conn: id, topic, first, from, upto, round, notice, replay } = replaying;
        let limit = self.shared.options.max_outbound_queue_bytes;
        let pool = self.pool.clone();
        let Some(conn) = self.slots.open(id) else { return };
        if let Some(lag) = &mut conn.lag {
            if lag.awaits(round) {
                lag.missing.remove(&topic);
            } else {
                // It has fallen behind again, and will be served from what it misses then.
                if round == 0 {
                    lag.miss(&topic, replay.messages, Missing::From(first));
                }
                return;
            }
        } else if round != 0 {
            return;
        }
        if round != 0 {
            self.shared.laggards.replayed.fetch_add(replay.messages, Relaxed);
            self.shared.laggards.gaps.fetch_add(u64::from(!notice.is_empty()), Relaxed);
        }
        if !notice.is_empty() {
            let mut frame = Vec::new();
            conn.write_words(&mut frame, &notice);
            let end = frame.len() as u32;
            conn.outbox.push(&pool.run(frame), 0, end);
        }
        let mut epoch = from.map(|from| from.epoch);
        let mut turn = |conn: &mut Conn, offset: u64, next: Epoch| {
            if let Some(before) = epoch.replace(next).filter(|before| *before != next) {
                conn.give_turn(
                    &pool,
                    &topic,
                    &turned(&topic, Position { epoch: before, offset }, next),
                    offset + 1,
                );
            }
        };
        for (chunk, start, end) in &replay.parts {
            turn(conn, chunk.offset_at(*start) - 1, chunk.epoch());
            give_kept(conn, &pool, &topic, chunk, *start, *end);
        }
        turn(conn, upto.offset, upto.epoch);
        if !conn.outbox.is_empty() {
            note(id.slot, conn, limit, line, &mut self.over);
        }
        self.handle().stats.messages_sent.add(replay.messages);
        self.end_lag_if_over(id.slot);
    }

    fn count_dropped(&mut self, slot: u32) {
        if let Some(lag) = self.slots.get_mut(slot).and_then(|conn| conn.lag.as_mut()) {
            self.shared.laggards.dropped.fetch_add(std::mem::take(&mut lag.dropped), Relaxed);
        }
    }

    /// Nothing is missing any more, and nothing is on its way.
    fn end_lag_if_over(&mut self, slot: u32) {
        self.count_dropped(slot);
        if let Some(conn) = self.slots.get_mut(slot)
            && conn.lag.as_ref().is_some_and(|lag| lag.heals && lag.missing.is_empty())
        {
            self.end_lag(slot);
        }
    }

    /// Forgets what a client missed: it has got it, or goes.
    pub(super) fn end_lag(&mut self, slot: u32) {
        self.count_dropped(slot);
        let Some(conn) = self.slots.get_mut(slot) else { return };
        if conn.lag.take().is_some() {
            conn.flags.lags = false;
            self.shared.laggards.now.fetch_sub(1, Relaxed);
        }
    }
}
