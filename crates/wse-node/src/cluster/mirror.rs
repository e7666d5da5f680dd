//! What comes of the cluster's logs for the clients of this node: kept for those who come back, and put into the inboxes.

use std::sync::Arc;

use wse_core::history::Position;
use wse_core::protocol::stamp::{StampPrefix, Stampable};
use wse_core::protocol::words;
use wse_core::websocket::Opcode;
use wse_mesh::log::{Gap, Run};

use crate::histories::{Histories, stampable};
use crate::inbox::{CUT, Message};
use crate::publish::{each, is_free, plan, portion, stamp};
use crate::shared::Shared;
use crate::squeeze::{Squeezed, without_compression};

/// The longest message that the cluster's thread compresses: nobody hears from this node while it does.
const COMPRESSED: usize = 16 * 1024;

impl Shared {
    /// Whether the clients here who hear a topic have room for messages of it.
    pub(super) fn hearers_have_room(&self, topic: &str) -> bool {
        self.topics.audience(topic).is_none_or(|audience| is_free(self, &audience))
    }

    /// Where a topic stands in the cluster is known.
    pub(super) fn place_topic(&self, histories: &Histories, topic: &Arc<str>, position: Position) {
        histories.place(topic, position, |before| {
            let words = words::Gap::Turned {
                topic,
                epoch: before.epoch,
                from: before.offset + 1,
                missed: None,
                next: position,
            };
            self.tell_audience(topic, &words.to_text(), CUT);
        });
        histories.keep_within_budget(&self.topics);
    }

    /// Committed messages that follow what was delivered before.
    pub(super) fn deliver_run(&self, histories: &Histories, topic: &Arc<str>, run: &Run) {
        // While the first subscriber waits for what it missed nobody here has a place in the stream: the replay will have this too.
        let Some(history) = histories.placed(topic) else { return };
        let lanes = self.topics.audience(topic).map_or(0, |audience| audience.lanes());
        let mut left = &run.messages[..];
        while !left.is_empty() {
            let (some, rest) = left.split_at(portion(left.iter().map(|message| message.len())));
            let some: Vec<Stampable<'_>> = some.iter().map(|message| stampable(message)).collect();
            let squeeze = |message: &Stampable<'_>| {
                let len = message.rest().len();
                let (lanes, _) = plan(len, lanes);
                self.squeeze_tail(message, if len > COMPRESSED { without_compression(lanes) } else { lanes })
            };
            let squeezed: Vec<Option<Squeezed>> = some.iter().map(squeeze).collect();
            let some: Vec<_> = some.into_iter().zip(squeezed.iter().map(Option::as_ref)).collect();
            if let Some(mut stamping) = histories.lock(&history) {
                stamp(self, histories, &history, &mut stamping, &some, false);
            }
            left = rest;
        }
        histories.keep_within_budget(&self.topics);
    }

    /// The stream of a topic goes on from another position.
    pub(super) fn tell_gap(&self, histories: &Histories, topic: &Arc<str>, gap: &Gap) {
        let Some(after) = gap.after else { return self.place_topic(histories, topic, gap.next) };
        let Some(history) = histories.known(topic) else { return };
        let Some(mut stamping) = histories.lock(&history) else { return };
        let (from, next) = (after.offset + 1, gap.next);
        if gap.missed == Some(0) {
            histories.turn(&history, &mut stamping, next.epoch);
        } else {
            histories.begin_again(&history, &mut stamping, next);
        }
        let words = match gap.missed {
            Some(missed) if missed > 0 && after.epoch == next.epoch => {
                words::Gap::Lost { topic, epoch: after.epoch, from, to: next.offset }
            }
            missed => words::Gap::Turned { topic, epoch: after.epoch, from, missed, next },
        };
        // Under the lock, so that whoever subscribes hears it or stands behind it.
        self.tell_audience(topic, &words.to_text(), if gap.missed.is_some() { from } else { CUT });
        drop(stamping);
    }

    /// A topic that patterns hear was not followed, and what they missed can't be told.
    pub(super) fn tell_uncounted(&self, topic: &Arc<str>) {
        let words = words::Gap::Uncounted { topic, missed: None };
        self.tell_audience(topic, &words.to_text(), CUT);
    }

    /// Says something to all here who hear a topic. A client that is behind hears it with the message at `first`, or is closed for it.
    fn tell_audience(&self, topic: &Arc<str>, text: &str, first: u64) {
        let Some(audience) = self.topics.audience(topic) else { return };
        let message = Message { opcode: Opcode::Text, head: &[], tail: text.as_bytes() };
        for shard in each(audience.shards()) {
            let _ = self.shards[shard].inbox.put_now(|state| {
                if let Some(audience) = self.topics.renewed(&audience, topic) {
                    state.publish(&audience, message, None, first);
                }
            });
        }
    }
}

/// A message of a log with its stamp, as a member of a queue group gets it.
pub(super) fn stamped(prefix: &StampPrefix, message: &[u8], offset: u64) -> Vec<u8> {
    let message = stampable(message);
    let mut text = Vec::new();
    message.write_head(&mut text, prefix, offset);
    text.extend_from_slice(message.rest().as_bytes());
    text
}
