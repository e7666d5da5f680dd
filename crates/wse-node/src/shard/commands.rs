//! What clients do themselves, where the server lets them: subscribe, unsubscribe, publish.
//!
//! Answers go through the shard's own inbox, behind what the command put there. So a client gets its answers in the order of its commands, and
//! each in its place among the messages of the topics.

use wse_core::acl::{Admission, admission};
use wse_core::presence::Data;
use wse_core::protocol::codes::ErrorCode;
use wse_core::protocol::command::{BadCommand, Cid, PresenceUpdate, Publish, Subscribe, Unsubscribe, Wanted};
use wse_core::protocol::words::{self, Failed, Recovery};
use wse_core::topic::Filter;
use wse_core::websocket::{Flow, Opcode};
use wse_mesh::interest::Interest;

use super::Shard;
use super::read::Inlet;
use crate::asking::Action;
use crate::gate::{From, Granted, Wish};
use crate::inbox::Message;

impl Inlet<'_> {
    /// Gives a client the topics that it asks for, as far as it may have them.
    pub(super) fn subscribe(&mut self, subscribe: &Subscribe) {
        let bad =
            |code, message: &str| BadCommand { code, message: message.into(), cid: subscribe.cid.clone() };
        let group = subscribe.queue_group.as_deref();
        if group.is_some() && subscribe.topics.iter().any(|topic| topic.filter.as_filter().is_pattern()) {
            let message = "p.queue_group is of a topic, and one of p.topics is a pattern (it has '*' or '?')";
            return self.refuse_order(&bad(ErrorCode::InvalidSubscription, message));
        }
        if group.is_some() && subscribe.presence.is_some() {
            let message =
                "p.presence and p.queue_group exclude each other: a member of a group is not present";
            return self.refuse_order(&bad(ErrorCode::InvalidSubscription, message));
        }
        let presence = subscribe.presence.as_deref().map(|json| self.presence_data("p.presence", json));
        let presence = match presence.transpose() {
            Ok(presence) => presence,
            Err((code, message)) => return self.refuse_order(&bad(code, &message)),
        };
        self.hand_over_before_presence();
        let wish = |wanted| wish(wanted, presence.as_ref(), group);
        let reason = |wanted: &Wanted| self.refusal(Action::Subscribe, wanted.filter.as_filter().as_str());
        let mut refused = Vec::new();
        let mut wishes = Vec::with_capacity(subscribe.topics.len());
        for wanted in &subscribe.topics {
            match reason(wanted) {
                Some(reason) => refused.push((wanted.filter.as_filter().as_str().to_owned(), reason)),
                None => wishes.push(wish(wanted)),
            }
        }
        let answer = |granted: &Granted| subscribed(granted, &refused, subscribe.cid.as_ref());
        let _ = self.shared.subscribe(self.id, &wishes, Some(&answer));
    }

    /// Ends subscriptions, also those that were none.
    pub(super) fn unsubscribe(&mut self, unsubscribe: &Unsubscribe) {
        let topics: Vec<&str> = unsubscribe.topics.iter().map(|topic| topic.as_str()).collect();
        let answer = words::subscription_update("unsubscribe", unsubscribe.cid.as_ref(), &topics, &[], &[]);
        let filters: Vec<_> = unsubscribe.topics.iter().map(|topic| topic.as_filter()).collect();
        self.hand_over_before_presence();
        self.shared.unsubscribe(self.id, Some(&filters), Some(&answer));
    }

    /// The application is told of who comes and goes at once; what this client did before, its own coming included, goes first.
    fn hand_over_before_presence(&mut self) {
        if self.shared.attendance.is_some() {
            self.shared.events.push(self.batch);
        }
    }

    /// Publishes for a client. Where there is no room for the message it is not taken from the socket: nobody waits here, and nothing
    /// is lost.
    pub(super) fn publish(&mut self, publish: &Publish<'_>) -> Flow {
        let topic = publish.topic.as_filter();
        if self.ask(Action::Publish, &[topic]) == Flow::Pause {
            return Flow::Pause;
        }
        let refusal = self.refusal(Action::Publish, topic.as_str());
        let allowed = refusal.is_none() && self.may_publish_to(topic);
        // How full a topic is that it may not publish to is none of its business.
        if allowed && !self.shared.has_room_for(topic) {
            self.awaits_room = true;
            return Flow::Pause;
        }
        self.messages += 1;
        if !self.pass() {
            return Flow::Continue;
        }
        if !allowed {
            let reason = refusal.as_deref().unwrap_or("the access list does not allow it");
            self.not_allowed(reason, &publish.cid);
            return Flow::Continue;
        }
        match self.shared.publish_now(topic, publish.data) {
            Ok(position) => {
                if let Some(cid) = &publish.cid {
                    self.answer(&words::published(cid, topic.as_str(), position));
                }
            }
            Err(error) => {
                let message = format!("p.data: {error}");
                let cid = publish.cid.clone();
                self.refuse_order(&BadCommand { code: ErrorCode::InvalidAction, message, cid });
            }
        }
        Flow::Continue
    }

    /// Asks the application about the topics of a subscription.
    pub(super) fn ask_for(&mut self, subscribe: &Subscribe) -> Flow {
        if !self.shared.events.asks() {
            return Flow::Continue;
        }
        let filters: Vec<Filter<'_>> =
            subscribe.topics.iter().map(|wanted| wanted.filter.as_filter()).collect();
        self.ask(Action::Subscribe, &filters)
    }

    /// Whether there is room for what a subscription tells others, and the other nodes know of it, so that what they publish after the
    /// answer arrives. Until then the command is not taken from the socket.
    pub(super) fn may_be_subscribed(&mut self, subscribe: &Subscribe) -> bool {
        let topics = subscribe.topics.iter().map(|topic| topic.filter.as_filter().as_str());
        let has_room = subscribe.presence.is_none() || self.shared.has_presence_room(topics);
        let may = has_room && self.is_known_to_peers(subscribe);
        self.awaits_room |= !may;
        may
    }

    fn is_known_to_peers(&self, subscribe: &Subscribe) -> bool {
        let Some(cluster) = self.shared.cluster.get() else { return true };
        let people = &self.shared.shards[usize::from(self.id.shard)].people;
        let mut is_known = true;
        for wanted in &subscribe.topics {
            let filter = wanted.filter.as_filter();
            let interest = match &subscribe.queue_group {
                Some(name) => Interest::in_group(filter, name),
                None => Some(Interest::of(filter)),
            };
            if self.refusal(Action::Subscribe, filter.as_str()).is_some() {
                continue;
            }
            let is_allowed = || {
                let admitted = people.with_acl(self.id, |_, acl| admission(acl.map(|acl| &**acl), filter));
                admitted.is_some_and(|admission| admission != Admission::Nothing)
            };
            let is_of_log =
                self.shared.histories.is_some() && subscribe.queue_group.is_none() && !filter.is_pattern();
            if is_of_log {
                is_known &= !is_allowed() || self.shared.may_hear_from(filter.as_str(), wanted.since);
            } else if let Some(interest) = interest
                && is_allowed()
            {
                is_known &= cluster.interests.is_in_force(&interest, self.now_ms);
            }
        }
        is_known
    }

    /// The same for what the client shows already.
    pub(super) fn has_room_to_change(&mut self) -> bool {
        let topics = self.shared.present_topics(self.id);
        let has_room = self.shared.has_presence_room(topics.iter().map(String::as_str));
        self.awaits_room |= !has_room;
        has_room
    }

    fn may_publish_to(&self, topic: Filter<'_>) -> bool {
        let people = &self.shared.shards[usize::from(self.id.shard)].people;
        let admission = people.with_acl(self.id, |_, acl| admission(acl.map(|acl| &**acl), topic));
        admission == Some(Admission::Whole)
    }

    /// Changes what others see of a client.
    pub(super) fn update_presence(&mut self, update: &PresenceUpdate<'_>) {
        match self.presence_data("p.data", update.data) {
            Ok(data) => {
                self.shared.update_presence(self.id, &data);
                if let Some(cid) = &update.cid {
                    self.answer(&words::presence_updated(cid));
                }
            }
            Err((code, message)) => self.refuse_order(&BadCommand { code, message, cid: update.cid.clone() }),
        }
    }

    /// What a client wants to show, as far as the server takes it.
    fn presence_data(&self, field: &str, json: &str) -> Result<Data, (ErrorCode, String)> {
        if self.shared.attendance.is_none() {
            return Err((ErrorCode::NotAllowed, format!("{field}: this server tracks no presence")));
        }
        Data::new(json, self.shared.options.presence_max_data_size)
            .map_err(|error| (ErrorCode::InvalidAction, format!("{field}: {error}")))
    }

    fn not_allowed(&mut self, message: &str, cid: &Option<Cid>) {
        let bad = BadCommand { code: ErrorCode::NotAllowed, message: message.to_owned(), cid: cid.clone() };
        self.refuse_order(&bad);
    }

    /// Says what is wrong with a command.
    pub(super) fn refuse_order(&mut self, bad: &BadCommand) {
        self.answer(&words::refused(bad, self.shared.clock.unix_ms()));
    }

    fn answer(&mut self, text: &str) {
        let message = Message { opcode: Opcode::Text, head: &[], tail: text.as_bytes() };
        let inbox = &self.shared.shards[usize::from(self.id.shard)].inbox;
        let _ = inbox.put_now(|state| state.send(self.id, message));
    }
}

impl Shard {
    /// Does not read a connection until there may be room for what it publishes.
    pub(super) fn await_room(&mut self, slot: u32) {
        self.look_for_room_ms = self.now_ms + 1;
        self.awaiting_room.push(slot);
    }

    /// Looks again at those whose publication had no room, each millisecond at the most.
    pub(super) fn resume_publishers(&mut self) {
        if self.now_ms < self.look_for_room_ms {
            return;
        }
        for slot in std::mem::take(&mut self.awaiting_room) {
            self.resume(slot);
        }
    }
}

fn wish<'a>(wanted: &'a Wanted, presence: Option<&'a Data>, group: Option<&'a str>) -> Wish<'a> {
    let from = match (group, wanted.since) {
        (Some(_), _) => From::Now,
        (None, since) => since.map_or(From::Here, From::Position),
    };
    Wish { filter: wanted.filter.as_filter(), from, presence, group }
}

/// The answer to a subscription.
fn subscribed(granted: &Granted, refused: &[(String, String)], cid: Option<&Cid>) -> String {
    let success: Vec<&str> = granted.subscribed.iter().map(String::as_str).collect();
    let failed: Vec<Failed<'_>> = granted
        .refused
        .iter()
        .chain(refused)
        .map(|(topic, reason)| Failed { topic, code: ErrorCode::NotAllowed, message: reason.clone() })
        .collect();
    let recovery: Vec<Recovery<'_>> = granted
        .standing
        .iter()
        .map(|(topic, standing)| Recovery {
            topic,
            position: standing.position,
            recovered: standing.recovered(),
            count: standing.count(),
        })
        .collect();
    words::subscription_update("subscribe", cid, &success, &failed, &recovery)
}
