//! What a node holds of one topic: its chain, its messages, how much of them is committed, and who published what.

use wse_core::history::{Epoch, Position};

use super::chain::{Chain, MAX_SEGMENTS, Segment};
use super::frames::entries::{Item, Items};
use super::last::Last;
use super::output::Run;
use super::ring::{Entry, Limits, Ring};
use super::term::Term;
use crate::wire::Malformed;

/// How good a log is: the higher the better. No log at all is below all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lead {
    /// Of the last segment.
    pub term: Option<Term>,
    /// The last offset.
    pub top: u64,
}

/// A log without its messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// Its segments.
    pub chain: Chain,
    /// The offset before the first message that is kept.
    pub floor: u64,
    /// The last offset.
    pub top: u64,
}

impl Outline {
    /// How good it is.
    #[must_use]
    pub fn lead(&self) -> Lead {
        Lead { term: self.chain.last().map(|segment| segment.term), top: self.top }
    }
}

/// A log that was received, or a part of one: its messages after `from` up to its end, and all else as of that end.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) chain: Chain,
    pub(crate) from: u64,
    pub(crate) entries: Vec<Entry>,
    pub(crate) commit: u64,
    pub(crate) last: Last,
    /// It need not go on from what is held already.
    pub(crate) fresh: bool,
    /// What is held beyond its end belongs to the same log.
    pub(crate) is_prefix: bool,
}

/// What was received does not go on from what is held.
#[derive(Debug)]
pub(crate) struct Unconnected;

/// One topic's log at one node.
///
/// Invariants: the ring ends at the top of the log, the commit is within it, and the chain says the epochs of all that the ring holds.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) chain: Chain,
    pub(crate) ring: Ring,
    pub(crate) commit: u64,
    pub(crate) last: Last,
}

impl History {
    pub(crate) fn top(&self) -> u64 {
        self.ring.top()
    }

    pub(crate) fn floor(&self) -> u64 {
        self.ring.floor()
    }

    pub(crate) fn outline(&self) -> Outline {
        Outline { chain: self.chain.clone(), floor: self.floor(), top: self.top() }
    }

    pub(crate) fn lead(&self) -> Lead {
        Lead { term: self.chain.last().map(|segment| segment.term), top: self.top() }
    }

    pub(crate) fn contains(&self, position: Position) -> bool {
        self.chain.contains(self.top(), position)
    }

    /// Whether a log that is offered is poorer than this one. Nobody without a log has a better one.
    pub(crate) fn is_better_than(&self, lead: Lead) -> bool {
        !self.chain.is_empty() && self.lead() > lead
    }

    /// Appends a message of a segment, which may be a new one.
    pub(crate) fn append(&mut self, term: Term, epoch: Epoch, entry: Entry) {
        let offset = self.top() + 1;
        if self.chain.last().is_none_or(|last| last.epoch != epoch) {
            self.chain.push(Segment { term, epoch, first: offset });
            let oldest = self.chain.segments()[0].first - 1;
            assert!(oldest <= self.commit, "a segment is forgotten when it is committed");
            self.ring.raise_floor(oldest);
        }
        self.last.note(entry.publisher, entry.seq, offset);
        self.ring.push(entry);
    }

    /// Whether a new segment would make one be forgotten that is not committed.
    pub(crate) fn is_chain_full(&self) -> bool {
        let segments = self.chain.segments();
        segments.len() == MAX_SEGMENTS && segments[1].first - 1 > self.commit
    }

    /// Appends messages that were received and are committed up to an offset. What is held of them already is passed over; answers whether
    /// they go on from it.
    pub(crate) fn append_all(
        &mut self,
        entries: &Items<'_>,
        commit: u64,
        now_ms: u64,
    ) -> Result<bool, Malformed> {
        let held = (self.top() + 1).saturating_sub(entries.first) as usize;
        let same =
            |(offset, item): (u64, &Item<'_>)| self.chain.at(offset).is_some_and(|at| at.epoch == item.epoch);
        if entries.first > self.top() + 1 || !(entries.first..).zip(&entries.items).take(held).all(same) {
            return Ok(false);
        }
        for item in entries.items.iter().skip(held) {
            self.commit = self.commit.max(commit.min(self.top()));
            let fits = match self.chain.last() {
                Some(last) if last.epoch == item.epoch => last.term == item.term,
                Some(last) => last.term < item.term && !self.chain.has_epoch(item.epoch),
                None => true,
            };
            let is_new = self.chain.last().is_none_or(|last| last.epoch != item.epoch);
            if !fits || (is_new && self.is_chain_full()) {
                return Err(Malformed("term of an entry"));
            }
            self.append(item.term, item.epoch, item.to_entry(now_ms));
        }
        self.commit = self.commit.max(commit.min(self.top()));
        Ok(true)
    }

    /// A log that begins from nothing.
    pub(crate) fn begin(&mut self, term: Term, epoch: Epoch) {
        assert!(self.chain.is_empty() && self.top() == 0, "there is no log yet");
        self.chain.push(Segment { term, epoch, first: 1 });
    }

    /// The table of publishers if the log ended with an offset that is not below the floor.
    pub(crate) fn last_as_of(&self, top: u64) -> Last {
        let mut last = self.last.clone();
        for (_, entry) in self.ring.range(top, self.top()).rev() {
            last.take_back(entry.publisher, entry.seq, top);
        }
        last
    }

    /// Becomes what was received: goes on from the common point, or begins anew where that is allowed. Answers what was cut off and is not
    /// part of the other log, as far as that can be told.
    pub(crate) fn merge(&mut self, received: Received) -> Result<Vec<Run>, Unconnected> {
        let top = received.from + received.entries.len() as u64;
        let common = self.chain.common(self.top(), &received.chain, top);
        if received.is_prefix && common == Some(top) && top < self.top() {
            self.commit = self.commit.max(received.commit.min(top));
            return Ok(Vec::new());
        }
        let connects = common.filter(|common| self.floor() <= *common && received.from <= *common);
        let (cut_after, kept) = match connects {
            Some(common) => (common, common),
            None if received.fresh => (common.unwrap_or(0).max(self.floor()).min(self.top()), received.from),
            None => return Err(Unconnected),
        };
        // What comes after the common point is another branch's only if the other log goes on there.
        let cut = if common.is_none_or(|common| common < top) {
            self.runs(cut_after, self.top())
        } else {
            Vec::new()
        };
        if connects.is_some() {
            self.ring.truncate_to(kept);
        } else {
            self.ring.reset(kept);
        }
        for (entry, offset) in received.entries.into_iter().zip(received.from + 1..) {
            if offset > kept {
                self.ring.push(entry);
            }
        }
        // A longer memory of old segments than the other's ends here.
        self.ring.raise_floor(received.chain.segments().first().map_or(0, |oldest| oldest.first - 1));
        self.chain = received.chain;
        self.last = received.last;
        self.commit = self.commit.min(common.unwrap_or(0)).max(received.commit.min(top)).max(self.floor());
        self.check();
        Ok(cut)
    }

    /// Messages as they are handed out, a run for each epoch.
    pub(crate) fn runs(&self, after: u64, upto: u64) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let mut entries = self.ring.range(after, upto).peekable();
        while let Some(&(first, _)) = entries.peek() {
            let (epoch, end) = self.segment_of(first);
            let here = std::iter::from_fn(|| entries.next_if(|(offset, _)| *offset <= end));
            let (messages, at_ms) = here.map(|(_, entry)| (entry.message.clone(), entry.at_ms)).unzip();
            runs.push(Run { epoch, first, messages, at_ms });
        }
        runs
    }

    /// The epoch of a message, and the last offset that has the same.
    pub(crate) fn segment_of(&self, offset: u64) -> (Epoch, u64) {
        let segments = self.chain.segments();
        let at = segments.partition_point(|segment| segment.first <= offset);
        assert!(at > 0, "what is kept has an epoch");
        (segments[at - 1].epoch, segments.get(at).map_or(u64::MAX, |next| next.first - 1))
    }

    /// Puts messages in front that end at the floor, as many as the limits allow, and answers whether all were taken.
    pub(crate) fn prepend(&mut self, entries: Vec<Entry>, now_ms: u64, limits: &Limits) -> bool {
        for entry in entries.into_iter().rev() {
            if !self.ring.has_room_below(entry.message.len(), entry.at_ms, now_ms, limits) {
                return false;
            }
            self.ring.prepend(entry);
        }
        true
    }

    pub(crate) fn check(&self) {
        assert!(self.floor() <= self.commit && self.commit <= self.top(), "committed is what is there");
        debug_assert!(
            self.ring.top() == self.ring.floor() || self.chain.at(self.floor() + 1).is_some(),
            "what is kept has an epoch"
        );
        debug_assert!(
            self.chain.last().is_none_or(|last| last.first <= self.top() + 1),
            "a segment begins within the log"
        );
    }
}
