//! Many messages at once to topics without history.

use std::sync::Arc;

use wse_core::topic::Filter;

use super::{Stopwatch, each};
use crate::inbox::Message;
use crate::shared::Shared;
use crate::squeeze::{Squeezed, worthwhile};
use crate::topics::Audience;

/// Publishes as much as one inbox takes at a time to a topic without history.
pub(super) fn publish_portion(
    shared: &Shared,
    audience: &Arc<Audience>,
    topic: Filter<'_>,
    messages: &[Message<'_>],
) {
    if audience.is_held() {
        shared.wait_while_held(audience);
    }
    let _stopwatch = Stopwatch::start(shared, audience, messages.len() as u64);
    let squeezed: Vec<Option<Squeezed>> = messages
        .iter()
        .map(|message| shared.squeeze(message, worthwhile(message.len(), audience.lanes())))
        .collect();
    for shard in each(audience.shards()) {
        let _ = shared.shards[shard].inbox.put_many(|state| {
            let Some(audience) = shared.topics.renewed(audience, topic.as_str()) else { return };
            let messages = messages.iter().zip(&squeezed);
            messages.for_each(|(message, twin)| state.publish(&audience, *message, twin.as_ref(), 0));
        });
    }
    share_portion(shared, audience, messages);
}

/// The same for the queue groups of the topic: each inbox is locked once.
fn share_portion(shared: &Shared, audience: &Arc<Audience>, messages: &[Message<'_>]) {
    if audience.groups().is_empty() {
        return;
    }
    let mut shares: Vec<Vec<(usize, u64)>> = vec![Vec::new(); shared.shards.len()];
    for at in 0..messages.len() {
        audience.pick().into_iter().for_each(|(shard, groups)| shares[shard].push((at, groups)));
    }
    for (shard, share) in shares.iter().enumerate().filter(|(_, share)| !share.is_empty()) {
        let _ = shared.shards[shard].inbox.put_many(|state| {
            share.iter().for_each(|(at, groups)| state.publish_group(audience, *groups, messages[*at]));
        });
    }
}
