//! A publication into the inboxes: what fits at once, and what has to wait.

use std::sync::Arc;

use wse_core::history::Position;

use super::{Publication, To, each, is_free, log_some, wait_until_free};
use crate::inbox::{self, Busy, Message, State};
use crate::shared::Shared;
use crate::squeeze::Squeezed;
use crate::topics::Audience;

impl<'a> Publication<'a> {
    /// Where the message stands in its topic's history, once it is on its way.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        match &self.to {
            To::Log(.., position) => *position,
            _ => None,
        }
    }

    /// Puts the message into every inbox that takes it at once; true when that were all.
    #[inline]
    pub fn try_finish(&mut self) -> bool {
        if self.lanes == 0 {
            return self.put_what_fits(None);
        }
        self.at_once && {
            let squeezed = self.squeeze();
            self.put_what_fits(squeezed.as_ref())
        }
    }

    /// Waits until the message is in every inbox.
    pub fn finish(mut self) -> Option<Position> {
        let squeezed = self.squeeze();
        while !self.put_what_fits(squeezed.as_ref()) {
            self.wait();
        }
        self.position()
    }

    pub(super) fn squeeze(&self) -> Option<Squeezed> {
        match &self.to {
            To::Log(_, _, message, _) => self.shared.squeeze_tail(message, self.lanes),
            To::Desk(_) => None,
            To::Topic(_, _, message, ..) | To::Everyone(_, message, _) | To::Connection(_, message) => {
                self.shared.squeeze(message, self.lanes)
            }
        }
    }

    #[inline]
    fn put_what_fits(&mut self, squeezed: Option<&Squeezed>) -> bool {
        let shared = self.shared;
        match &mut self.to {
            To::Topic(audience, topic, message, left, picks) => {
                if audience.is_held() {
                    return shared.is_stopping();
                }
                let all = put_in_each(shared, left, |state| {
                    put_renewed(shared, state, audience, topic, *message, squeezed);
                });
                if !picks.is_empty() {
                    picks.retain(|(shard, groups)| {
                        let put = |state: &mut State| state.publish_group(audience, *groups, *message);
                        shared.shards[*shard].inbox.try_put(put) == Err(Busy::Full)
                    });
                }
                all && picks.is_empty()
            }
            To::Everyone(audience, message, left) => {
                if audience.is_held() {
                    return shared.is_stopping();
                }
                put_in_each(shared, left, |state| state.publish(audience, *message, squeezed, 0))
            }
            To::Connection(conn, message) => {
                let mut left = 1 << conn.shard;
                put_in_each(shared, &mut left, |state| match squeezed {
                    None => state.send(*conn, *message),
                    Some(squeezed) => state.send_frame(*conn, squeezed.only()),
                })
            }
            To::Desk(place) => {
                let Some((desk, topic, text)) = *place else { return true };
                if !desk.has_room() && !shared.is_stopping() {
                    return false;
                }
                desk.publish(topic.as_str(), &[text], None);
                *place = None;
                true
            }
            To::Log(_, _, _, Some(_)) => true,
            To::Log(history, histories, message, position) => {
                let audience = shared.topics.audience(history.topic());
                if audience.is_some_and(|audience| !is_free(shared, &audience)) && !shared.is_stopping() {
                    return false;
                }
                // Whoever has the lock gives it back within microseconds; to let go of the GIL for that would cost milliseconds.
                *position = log_some(shared, histories, history, &[(*message, squeezed)]);
                true
            }
        }
    }

    /// Puts the message in at once: what others put in since there was room is not waited for.
    pub(super) fn put_now(&mut self, squeezed: Option<&Squeezed>) {
        let shared = self.shared;
        match &mut self.to {
            To::Desk(place) => {
                if let Some((desk, topic, text)) = place.take() {
                    desk.publish(topic.as_str(), &[text], None);
                }
            }
            To::Log(history, histories, message, position) => {
                *position = log_some(shared, histories, history, &[(*message, squeezed)]);
            }
            To::Topic(audience, topic, message, left, picks) => {
                for (shard, groups) in std::mem::take(picks) {
                    let put = |state: &mut State| state.publish_group(audience, groups, *message);
                    let _ = shared.shards[shard].inbox.put_now(put);
                }
                for shard in each(std::mem::take(left)) {
                    let _ = shared.shards[shard].inbox.put_now(|state| {
                        put_renewed(shared, state, audience, topic, *message, squeezed);
                    });
                }
            }
            To::Everyone(..) | To::Connection(..) => unreachable!("clients publish to topics"),
        }
    }

    /// Waits for what kept the message from being put in.
    fn wait(&mut self) {
        let shared = self.shared;
        match &mut self.to {
            To::Topic(audience, _, _, left, picks) => {
                shared.wait_while_held(audience);
                let full = each(*left).next().or_else(|| picks.first().map(|(shard, _)| *shard));
                if let Some(shard) = full {
                    shared.shards[shard].inbox.wait_for_room(inbox::CAPACITY);
                }
            }
            To::Everyone(audience, _, left) => {
                shared.wait_while_held(audience);
                shared.shards[left.trailing_zeros() as usize].inbox.wait_for_room(inbox::CAPACITY);
            }
            To::Connection(conn, _) => {
                shared.shards[usize::from(conn.shard)].inbox.wait_for_room(inbox::CAPACITY);
            }
            To::Desk(place) => {
                if let Some((desk, ..)) = place {
                    desk.wait_for_room(shared);
                }
            }
            To::Log(history, ..) => {
                if let Some(audience) = shared.topics.audience(history.topic()) {
                    wait_until_free(shared, &audience, inbox::CAPACITY);
                }
            }
        }
    }
}

/// Puts something into those of the shards' inboxes that take it at once; true when that were all that are left.
#[inline]
pub(super) fn put_in_each(shared: &Shared, left: &mut u64, put: impl Fn(&mut State)) -> bool {
    let mut tried = *left;
    while tried != 0 {
        let shard = tried.trailing_zeros();
        tried &= tried - 1;
        match shared.shards[shard as usize].inbox.try_put(&put) {
            // An inbox that is closed needs nothing any more.
            Ok(()) | Err(Busy::Closed) => *left &= !(1 << shard),
            Err(Busy::Full) => {}
        }
    }
    *left == 0
}

/// Puts a message into an inbox for those who hear the topic now.
#[inline]
pub(super) fn put_renewed(
    shared: &Shared,
    state: &mut State,
    audience: &Arc<Audience>,
    topic: &str,
    message: Message<'_>,
    squeezed: Option<&Squeezed>,
) {
    if let Some(audience) = shared.topics.renewed(audience, topic) {
        state.publish(&audience, message, squeezed, 0);
    }
}
