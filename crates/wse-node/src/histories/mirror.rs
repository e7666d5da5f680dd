//! What a node of a cluster keeps of the logs that it follows: what was delivered to its clients, in the form in which they get it again.
//!
//! Positions are the cluster's; a history that was begun here before they were known is replaced when they are.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use wse_core::history::{Epoch, Log, Position};
use wse_core::protocol::stamp::{StampPrefix, Stampable};
use wse_core::websocket::Opcode;
use wse_core::websocket::frame::ServerHeader;
use wse_mesh::log::Run;

use super::{Histories, History, Stamping};

impl Histories {
    /// From here on the cluster's logs are what topics have, and half of the budget is theirs. Answers how much that is.
    pub(crate) fn join_cluster(&self) -> usize {
        self.in_cluster.store(true, Relaxed);
        self.most - self.most()
    }

    pub(crate) fn is_in_cluster(&self) -> bool {
        self.in_cluster.load(Relaxed)
    }

    /// What all may hold.
    pub(super) fn most(&self) -> usize {
        if self.is_in_cluster() { self.most / 2 } else { self.most }
    }

    /// The history of a topic, if there is one.
    pub(crate) fn known(&self, topic: &str) -> Option<Arc<History>> {
        self.topics.read().get(topic).cloned()
    }

    /// All topics that have one.
    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        self.topics.read().keys().cloned().collect()
    }

    /// Whether somebody who stands at a position, or gives none, can be told from what is here where the topic stands and what they missed.
    pub(crate) fn covers(&self, topic: &str, position: Option<Position>, now_ms: u64) -> bool {
        let Some(history) = self.known(topic) else { return false };
        let Some(stamping) = self.lock(&history) else { return false };
        stamping.placed
            && position.is_none_or(|position| stamping.log.reaches(position, now_ms, &self.limits).is_ok())
    }

    /// The history of a topic, if the cluster's position of it is known here.
    pub(crate) fn placed(&self, topic: &str) -> Option<Arc<History>> {
        self.known(topic).filter(|history| history.stamping.lock().placed)
    }

    /// Whether those who hear the topic by patterns missed messages after an offset, which they were to get; they are told once.
    pub(crate) fn missed_after(&self, topic: &str, offset: u64) -> bool {
        let Some(history) = self.known(topic) else { return false };
        let mut stamping = history.stamping.lock();
        let missed = stamping.placed && offset < stamping.heard_from;
        if missed {
            stamping.heard_from = offset;
        }
        missed
    }

    /// The cluster's position of a topic is known: the history begins there, if it has none. `told` hears, under the lock, what was believed
    /// before.
    pub(crate) fn place(&self, topic: &str, position: Position, told: impl FnOnce(Position)) {
        let mut topics = self.topics.write();
        if let Some(history) = topics.get(topic).cloned() {
            let mut stamping = history.stamping.lock();
            drop(topics);
            if !stamping.placed {
                let before = stamping.position();
                self.begin_again(&history, &mut stamping, position);
                stamping.heard_from = position.offset;
                told(before);
            }
            return;
        }
        let history = self.make(topic, Log::beginning_at(position), true);
        topics.insert(history.topic.clone(), history.clone());
        drop(topics);
        self.shelf.lock().put(history);
    }

    /// The history goes on from another position than the one that it had.
    pub(crate) fn begin_again(&self, history: &History, stamping: &mut Stamping, position: Position) {
        stamping.prefix = StampPrefix::new(&history.topic, position);
        stamping.placed = true;
        self.change(stamping, |stamping| stamping.log = Log::beginning_at(position));
    }

    /// The next message is the first of another epoch.
    pub(crate) fn turn(&self, history: &History, stamping: &mut Stamping, epoch: Epoch) {
        self.change(stamping, |stamping| stamping.log.turn(epoch));
        stamping.prefix = StampPrefix::new(&history.topic, stamping.log.position());
    }

    /// Keeps what is older than what is kept, as far as it goes on to that. `from` is a position from which it goes on, if there is one.
    pub(crate) fn put_before(&self, topic: &str, from: Option<Position>, runs: &[Run]) {
        let Some(history) = self.known(topic) else { return };
        let Some(mut stamping) = self.lock(&history) else { return };
        for run in runs.iter().rev() {
            let end = stamping.log.begins_after();
            let missing = (end + 1).saturating_sub(run.first).min(run.messages.len() as u64) as usize;
            if missing == 0 || run.first + missing as u64 != end + 1 {
                continue;
            }
            let position = Position { epoch: run.epoch, offset: run.first - 1 };
            let frames = frames(&history.topic, position, &run.messages[..missing]);
            let frames = frames.iter().map(Vec::as_slice).zip(run.at_ms.iter().copied());
            self.change(&mut stamping, |stamping| {
                stamping.log.put_before(run.epoch, run.first, frames, &self.limits);
            });
        }
        if let Some(from) = from {
            self.change(&mut stamping, |stamping| stamping.log.reach_back_to(from));
        }
    }

    /// Nobody here hears the topic any more, and what is kept of it will soon be out of date.
    pub(crate) fn forget(&self, topic: &str) {
        let mut topics = self.topics.write();
        if let Some(history) = topics.remove(topic) {
            self.end(&mut history.stamping.lock());
            drop(topics);
            self.shelf.lock().note_ended();
        }
    }
}

/// Messages as they are sent, the first of them after a position.
fn frames(topic: &str, position: Position, messages: &[Arc<[u8]>]) -> Vec<Vec<u8>> {
    let (prefix, mut head) = (StampPrefix::new(topic, position), Vec::new());
    let frame = |(message, offset): (&Arc<[u8]>, u64)| {
        let message = stampable(message);
        message.write_head(&mut head, &prefix, offset);
        let tail = message.rest().as_bytes();
        let mut frame = ServerHeader::new(Opcode::Text, head.len() + tail.len()).as_bytes().to_vec();
        frame.extend_from_slice(&head);
        frame.extend_from_slice(tail);
        frame
    };
    messages.iter().zip(position.offset + 1..).map(frame).collect()
}

/// A message of the cluster's log. Whoever published it has looked at it; what is no message all the same is shown as such, since its place
/// must not be empty.
pub(crate) fn stampable(message: &[u8]) -> Stampable<'_> {
    let looked_at = simdutf8::basic::from_utf8(message).ok().and_then(|text| Stampable::new(text).ok());
    looked_at.unwrap_or_else(|| {
        Stampable::new(r#"{"c":"WSE","t":"error","p":{"code":"MALFORMED_PUBLICATION"}}"#)
            .expect("it has no stamp")
    })
}
