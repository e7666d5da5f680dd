//! Who is to be written to, in lines that take turns.

use std::collections::VecDeque;

/// Connections that have something new to send, in the order in which they are served.
pub(super) type Line = VecDeque<u32>;

/// Batches that may wait in the lines before the inbox, and with it the publishers, has to wait.
const MAX_BATCHES: usize = 4;

/// The line of those whose sockets take bytes again; no topic has this number.
const LATE: u64 = u64::MAX;
/// Connections of the lazy line that are served at a time, alone or after a step of others: a message that comes meanwhile waits for them.
const LAZY_STEP: usize = 1;

/// The lines of one shard.
#[derive(Debug, Default)]
pub(super) struct Sweeps {
    lines: VecDeque<Sweep>,
    /// Those who only wait for news of who is there: they let all others go first, and hold no inbox back.
    lazy: Line,
}

#[derive(Debug)]
struct Sweep {
    /// The only topic of the line, if it has only one.
    topic: Option<u64>,
    line: Line,
    /// Batches of which some receiver may still stand here.
    batches: usize,
}

impl Sweeps {
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.lazy.is_empty()
    }

    /// Whether another batch may be taken.
    pub(super) fn have_room(&self) -> bool {
        self.lines.iter().map(|sweep| sweep.batches).sum::<usize>() < MAX_BATCHES
    }

    /// Puts connections in line. Those of a topic that is being served already go to the end of its line: a flood serves all its
    /// receivers in turn, and only other topics overtake it.
    pub(super) fn add(&mut self, topic: Option<u64>, mut line: Line) {
        if line.is_empty() {
            return;
        }
        match self.lines.iter_mut().find(|sweep| topic.is_some() && sweep.topic == topic) {
            Some(sweep) => {
                sweep.line.append(&mut line);
                sweep.batches += 1;
            }
            None => self.lines.push_back(Sweep { topic, line, batches: 1 }),
        }
    }

    /// Puts a connection in line that could not be written to for a while, and has much to be sent.
    pub(super) fn add_late(&mut self, slot: u32) {
        match self.lines.iter_mut().find(|sweep| sweep.topic == Some(LATE)) {
            Some(sweep) => sweep.line.push_back(slot),
            None => self.lines.push_back(Sweep { topic: Some(LATE), line: Line::from([slot]), batches: 0 }),
        }
    }

    /// Puts connections in the line that lets others go first.
    pub(super) fn add_lazily(&mut self, line: impl IntoIterator<Item = u32>) {
        self.lazy.extend(line);
    }

    /// Whether somebody stands in that line.
    pub(super) fn are_lazily_serving(&self) -> bool {
        !self.lazy.is_empty()
    }

    /// Whether nobody stands in any other.
    pub(super) fn are_lazy(&self) -> bool {
        self.lines.is_empty()
    }

    /// Takes the next few connections of the line whose turn it is; the turn goes on to the next line.
    pub(super) fn next(&mut self, max: usize, out: &mut Vec<u32>) {
        if let Some(mut sweep) = self.lines.pop_front() {
            out.extend(sweep.line.drain(..sweep.line.len().min(max)));
            if !sweep.line.is_empty() {
                self.lines.push_back(sweep);
            }
        }
        out.extend(self.lazy.drain(..self.lazy.len().min(LAZY_STEP)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(sweeps: &mut Sweeps, step: usize) -> Vec<u32> {
        let mut out = Vec::new();
        while !sweeps.is_empty() {
            sweeps.next(step, &mut out);
        }
        out
    }

    #[test]
    fn a_small_topic_waits_for_a_step_of_a_large_one() {
        let mut sweeps = Sweeps::default();
        sweeps.add(Some(1), (0..1000).collect());
        sweeps.add(Some(2), Line::from([5000]));
        let order = served(&mut sweeps, 16);
        assert_eq!(order.iter().position(|slot| *slot == 5000), Some(16));
        assert_eq!(order.len(), 1001);
    }

    #[test]
    fn a_flood_serves_its_receivers_in_turn_and_holds_the_inbox_back() {
        let mut sweeps = Sweeps::default();
        for batch in 0..MAX_BATCHES as u32 {
            assert!(sweeps.have_room());
            sweeps.add(Some(1), (batch * 10..batch * 10 + 10).collect());
        }
        assert!(!sweeps.have_room());
        assert_eq!(served(&mut sweeps, 7), (0..40).collect::<Vec<u32>>());
        assert!(sweeps.have_room());
    }

    #[test]
    fn who_only_waits_for_news_lets_others_go_first_and_is_not_forgotten() {
        let mut sweeps = Sweeps::default();
        sweeps.add_lazily(0..100);
        for batch in 0..MAX_BATCHES as u32 {
            assert!(sweeps.have_room(), "they hold nothing back");
            sweeps.add(Some(1), (1000 + batch * 16..1016 + batch * 16).collect());
        }
        let order = served(&mut sweeps, 16);
        let last = order.iter().rposition(|slot| *slot >= 1000).unwrap();
        assert_eq!(order[..last].iter().filter(|slot| **slot < 100).count(), 3, "one of them for each step");
        let lazy: Vec<u32> = order.into_iter().filter(|slot| *slot < 100).collect();
        assert_eq!(lazy, (0..100).collect::<Vec<u32>>());
    }

    #[test]
    fn lines_of_several_topics_are_not_joined() {
        let mut sweeps = Sweeps::default();
        sweeps.add(None, Line::from([1, 2]));
        sweeps.add(None, Line::from([3, 4]));
        sweeps.add(None, Line::new());
        assert_eq!(served(&mut sweeps, 1), [1, 3, 2, 4]);
    }
}
