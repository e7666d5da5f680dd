//! Messages of topics with history on their way through the log into the inboxes.

use std::sync::Arc;

use wse_core::history::Position;
use wse_core::protocol::stamp::Stampable;
use wse_core::topic::Filter;
use wse_core::websocket::Opcode;

use super::{Stopwatch, each, portion, wait_until_free};
use crate::histories::{Histories, History, Stamping};
use crate::inbox::{self, Message, State};
use crate::shared::Shared;
use crate::squeeze::{Squeezed, worthwhile};

/// Logs messages and puts them into the inboxes, and sees to it that the log does not become too large; the position of the last. `None` if
/// the cluster's logs took the place of this node's just now: then they are given to those.
pub(super) fn log_some(
    shared: &Shared,
    histories: &Histories,
    history: &mut Arc<History>,
    messages: &[(Stampable<'_>, Option<&Squeezed>)],
) -> Option<Position> {
    let last = loop {
        if let Some(mut stamping) = histories.lock(history) {
            if let Some(cluster) = shared.cluster.get().filter(|_| stamping.is_placed()) {
                drop(stamping);
                let texts: Vec<&str> = messages.iter().map(|(message, _)| message.whole()).collect();
                cluster.desk().publish(history.topic(), &texts, None);
                return None;
            }
            stamp(shared, histories, history, &mut stamping, messages, true);
            break stamping.position();
        }
        // It was given up a moment ago, and begins anew.
        *history = histories.open(&history.topic().clone());
    };
    histories.keep_within_budget(&shared.topics);
    Some(last)
}

/// Gives messages their stamps and their places in the log and in the inboxes, all under the lock of their topic: in no inbox does a
/// later one come before an earlier one. There was room a moment ago; what other publishers took of it since is not waited for. `shared_out`
/// says whether the queue groups of this node get them too.
pub(crate) fn stamp(
    shared: &Shared,
    histories: &Histories,
    history: &History,
    stamping: &mut Stamping,
    messages: &[(Stampable<'_>, Option<&Squeezed>)],
    shared_out: bool,
) {
    let now_ms = shared.clock.now_ms();
    let topic = history.topic();
    // Under the lock, after which whoever subscribes with a position is in it, and before which it is in their replay.
    let audience = shared.topics.audience(topic);
    let first = stamping.position().offset + 1;
    let mut heads = Heads::default();
    for (message, _) in messages {
        heads.push(histories.append(stamping, message, now_ms));
    }
    let Some(audience) = audience else { return };
    for shard in each(audience.shards()) {
        let _ = shared.shards[shard].inbox.put_now(|state| {
            let Some(audience) = shared.topics.renewed(&audience, topic) else { return };
            for (at, (message, squeezed)) in messages.iter().enumerate() {
                let tail = message.rest().as_bytes();
                let message = Message { opcode: Opcode::Text, head: heads.get(at), tail };
                state.publish(&audience, message, *squeezed, first + at as u64);
            }
        });
    }
    if !shared_out {
        return;
    }
    for (at, (message, _)) in messages.iter().enumerate() {
        let message = Message { opcode: Opcode::Text, head: heads.get(at), tail: message.rest().as_bytes() };
        for (shard, groups) in audience.pick() {
            let put = |state: &mut State| state.publish_group(&audience, groups, message);
            let _ = shared.shards[shard].inbox.put_now(put);
        }
    }
}

/// The heads of some messages in one piece of memory.
#[derive(Default)]
struct Heads {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Heads {
    fn push(&mut self, head: &[u8]) {
        self.bytes.extend_from_slice(head);
        self.ends.push(self.bytes.len());
    }

    fn get(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[at]]
    }
}

/// Publishes many messages to a topic with history; the position of the last.
pub(super) fn log_many(
    shared: &Shared,
    histories: &Histories,
    topic: Filter<'_>,
    messages: &[Stampable<'_>],
) -> Option<Position> {
    let (mut left, mut last) = (messages, None);
    while !left.is_empty() {
        let (some, rest) = left.split_at(portion(left.iter().map(|message| message.rest().len())));
        let audience = shared.topics.audience(topic.as_str());
        if let Some(audience) = &audience {
            wait_until_free(shared, audience, inbox::MANY_CAPACITY);
        }
        let _stopwatch =
            audience.as_ref().and_then(|audience| Stopwatch::start(shared, audience, some.len() as u64));
        let lanes = audience.as_ref().map_or(0, |audience| audience.lanes());
        let squeezed: Vec<Option<Squeezed>> = some
            .iter()
            .map(|message| shared.squeeze_tail(message, worthwhile(message.rest().len(), lanes)))
            .collect();
        let some: Vec<_> = some.iter().copied().zip(squeezed.iter().map(Option::as_ref)).collect();
        last = log_some(shared, histories, &mut histories.open(topic.as_str()), &some);
        left = rest;
    }
    last
}
