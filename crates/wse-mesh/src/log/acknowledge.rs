//! Telling publishers that their publications are stored.

use super::core::Core;
use super::frames::about_one::Stored;
use super::topic::Topic;
use crate::ids::NodeId;
use crate::wire::Kind;

impl Topic {
    /// Publications that were stamped before: what of them is committed is acknowledged once more.
    pub(crate) fn acknowledge_again(&mut self, core: &mut Core, from: NodeId, first: u64, upto: u64) {
        let history = &self.history;
        let committed = history.ring.range(history.floor(), history.top()).rev();
        let mut known = upto + 1;
        let mut found: Vec<(u64, u64)> = Vec::new();
        let (copies, mut stored) = (self.copies(), Vec::new());
        for (offset, entry) in committed.filter(|(_, entry)| entry.publisher == from) {
            if entry.seq < first {
                break;
            }
            known = known.min(entry.seq);
            if entry.seq <= upto && offset <= history.commit {
                found.push((entry.seq, offset));
            }
        }
        // What is below the floor is committed, and its place forgotten.
        if first < known && history.commit == history.top() {
            stored.push(Stored { first, count: known.min(upto + 1) - first, copies, position: None });
        }
        for (seq, offset) in found.into_iter().rev() {
            stored.push(Stored { first: seq, count: 1, copies, position: history.chain.position(offset) });
        }
        self.tell_stored(core, from, &stored);
    }

    fn copies(&self) -> u8 {
        1 + self.targets.as_slice().len() as u8
    }

    fn tell_stored(&mut self, core: &mut Core, to: NodeId, stored: &[Stored]) {
        if stored.is_empty() {
            return;
        }
        if to == core.me {
            self.on_stored(core, stored);
        } else {
            core.send_new(to, Kind::LogPublishAck, &self.name, |out| {
                stored.iter().for_each(|run| run.encode(out))
            });
        }
    }

    /// Tells the publishers of messages that these are stored, a word for each run of one publisher.
    pub(crate) fn acknowledge_range(&mut self, core: &mut Core, after: u64, upto: u64) {
        let is_early = core.lacks(super::Fault::AcknowledgeEarly);
        assert!(upto <= self.history.commit || is_early, "only what is committed is acknowledged");
        let mut told: Vec<(NodeId, Vec<Stored>)> = Vec::new();
        let (copies, mut end_of_segment) = (self.copies(), 0);
        for (offset, entry) in self.history.ring.range(after, upto) {
            let new_segment = offset > end_of_segment;
            if new_segment {
                end_of_segment = self.history.segment_of(offset).1;
            }
            let at = match told.iter().position(|(publisher, _)| *publisher == entry.publisher) {
                Some(at) => at,
                None => {
                    told.push((entry.publisher, Vec::new()));
                    told.len() - 1
                }
            };
            let runs = &mut told[at].1;
            match runs.last_mut() {
                Some(run)
                    if !new_segment
                        && run.first + run.count == entry.seq
                        && run.position.is_some_and(|position| position.offset + run.count == offset) =>
                {
                    run.count += 1;
                }
                _ => {
                    let position = self.history.chain.position(offset);
                    runs.push(Stored { first: entry.seq, count: 1, copies, position });
                }
            }
        }
        for (publisher, runs) in told {
            self.tell_stored(core, publisher, &runs);
        }
    }
}
