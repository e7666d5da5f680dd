//! Frames of peers, taken apart and given to their topics.

use wse_core::topic::Filter;

use super::Logs;
use super::frames::about_many::{
    Attach, Hint, Invite, Query, QueryReply, Reply, TopicTerm, UpTo, decode_detach,
};
use super::frames::about_one::{Entries, Fetch, Fetched, HeadQuery, Publish, Stored, Sync};
use super::output::Output;
use super::ring::Message;
use super::{rank, term::Term};
use crate::ids::{NodeId, Session};
use crate::wire::{Kind, Malformed};

impl Logs {
    /// A frame of a peer. `topic` is what stands in the topic field, empty in frames about several.
    ///
    /// # Errors
    /// It is malformed: the link is to be closed. What was right about it counts.
    pub fn handle_frame(
        &mut self,
        from: NodeId,
        session: Session,
        kind: Kind,
        topic: &str,
        payload: &[u8],
        now_ms: u64,
    ) -> Result<(), Malformed> {
        self.core.now = now_ms;
        if self.core.session(from) != Some(session) {
            return Ok(());
        }
        match kind {
            Kind::LogQuery => self.on_query(from, &Query::decode(payload)?),
            Kind::LogQueryReply => self.on_query_reply(from, QueryReply::decode(payload)?),
            Kind::LogInvite => {
                for invite in Invite::decode_all(payload)? {
                    let (topic, core) = self.with(invite.topic);
                    topic.on_invite(core, from, session, &invite);
                }
            }
            Kind::LogAttach => {
                for attach in Attach::decode_all(payload)? {
                    let (topic, core) = self.with(attach.topic);
                    topic.on_attach(core, from, &attach.outline);
                }
            }
            Kind::LogDetach => {
                self.for_known(decode_detach(payload)?, |topic, core| topic.on_detach(core, from))
            }
            Kind::LogUnfollow => {
                self.for_known(decode_detach(payload)?, |topic, core| topic.on_unfollow(core, from));
            }
            Kind::LogOffer => {
                for TopicTerm { topic, term } in TopicTerm::decode_all(payload)? {
                    let (topic, core) = self.with(topic);
                    topic.on_offer(core, from, term);
                }
            }
            Kind::LogNack => {
                for TopicTerm { topic, term } in TopicTerm::decode_all(payload)? {
                    self.for_known([topic], |topic, core| topic.on_nack(core, term));
                }
            }
            Kind::LogDiscard => {
                for item in TopicTerm::decode_all(payload)? {
                    self.on_discard(from, session, &item);
                }
            }
            Kind::LogDiscarded => {
                for item in TopicTerm::decode_all(payload)? {
                    let Some(&number) = self.by_name.get(item.topic) else { continue };
                    let topic = self.topics[number as usize].as_mut().expect("a name has its topic");
                    if topic.on_discarded(&mut self.core, from, item.term) {
                        self.forget(number);
                    }
                }
            }
            Kind::LogHint => {
                for Hint { topic, position } in Hint::decode_all(payload)? {
                    self.core.outputs.push_back(Output::Hinted { topic: topic.into(), position });
                }
            }
            Kind::LogCommit => {
                for upto in UpTo::decode_all(payload)? {
                    self.for_known([upto.topic], |topic, core| topic.on_commit(core, from, session, &upto));
                }
            }
            Kind::LogReplicaAck => {
                for upto in UpTo::decode_all(payload)? {
                    self.for_known([upto.topic], |topic, core| topic.on_replica_ack(core, from, &upto));
                }
            }
            _ => return self.handle_frame_about_one(from, session, kind, topic, payload),
        }
        Ok(())
    }

    fn handle_frame_about_one(
        &mut self,
        from: NodeId,
        session: Session,
        kind: Kind,
        topic: &str,
        payload: &[u8],
    ) -> Result<(), Malformed> {
        let is_about_one = matches!(
            kind,
            Kind::LogReplicaSync
                | Kind::LogSync
                | Kind::LogReplicate
                | Kind::LogEntries
                | Kind::LogFetch
                | Kind::LogFetched
                | Kind::LogHeadQuery
                | Kind::LogHeadReply
                | Kind::LogPublish
                | Kind::LogPublishAck
        );
        if !is_about_one {
            return Ok(());
        }
        Filter::parse_exact(topic).map_err(|_| Malformed("topic"))?;
        let (topic, core) = self.with(topic);
        match kind {
            Kind::LogReplicaSync => topic.on_replica_sync(core, from, session, &Sync::decode(payload)?),
            Kind::LogSync => topic.on_sync(core, from, session, &Sync::decode(payload)?),
            Kind::LogReplicate => topic.on_replicate(core, from, session, &Entries::decode(payload)?)?,
            Kind::LogEntries => topic.on_entries(core, from, session, &Entries::decode(payload)?)?,
            Kind::LogFetch => topic.on_fetch(core, from, Fetch::decode(payload)?),
            Kind::LogFetched => topic.on_fetched(core, from, &Fetched::decode(payload)?),
            Kind::LogHeadQuery => {
                let query = HeadQuery::decode(payload)?;
                if let Some(head) = topic.head_of(query.term, query.position) {
                    core.send_new(from, Kind::LogHeadReply, &topic.name, |out| query.encode_reply(head, out));
                }
            }
            Kind::LogHeadReply => {
                let (query, head) = HeadQuery::decode_reply(payload)?;
                topic.on_head_reply(core, from, &query, head);
            }
            Kind::LogPublish => {
                let Publish { base, first, messages } = Publish::decode(payload)?;
                let mut messages = messages.into_iter().map(Message::from);
                // It may not be home yet, or not know yet that it should be.
                if !topic.stamp(core, from, base, first, &mut messages) {
                    topic.remember_asker(from);
                    topic.touch(core);
                }
            }
            _ => topic.on_stored(core, &Stored::decode_all(payload)?),
        }
        Ok(())
    }

    /// Who has no copy, or is no replica any more, does not answer: the home will see that it is none.
    fn on_discard(&mut self, from: NodeId, session: Session, item: &TopicTerm<'_>) {
        let Some(&number) = self.by_name.get(item.topic) else { return };
        let topic = self.topics[number as usize].as_ref().expect("a name has its topic");
        if topic.on_discard(&self.core, from, session, item.term) {
            self.core.send_item(from, Kind::LogDiscarded, |out| item.encode(out));
            self.forget(number);
        }
    }

    /// Answers about topics that have no place here need none: the promise is enough.
    fn on_query(&mut self, from: NodeId, query: &Query<'_>) {
        let mut replies = Vec::with_capacity(query.topics.len());
        for &(name, term) in &query.topics {
            if self.by_name.contains_key(name) {
                let (topic, core) = self.with(name);
                replies.push(topic.on_query(core, from, term));
                continue;
            }
            let hash = rank::topic_hash(name);
            let promised = self.promises.get(&hash).copied().unwrap_or(Term::ZERO).max(self.promised_all);
            let home = rank::rank(hash, &self.core.ranked, self.core.me, 0).0;
            if home != from || term < promised {
                replies.push(Reply::Refused { promised });
            } else {
                self.remember_promise(hash, term);
                replies.push(Reply::Nothing);
            }
        }
        for (number, reply) in (0_u64..).zip(replies) {
            self.core.send_reply(from, query.batch, number, |out| reply.encode(out));
        }
    }

    fn on_query_reply(&mut self, from: NodeId, answer: QueryReply) {
        let count = answer.replies.len() as u64;
        let Some(about) = self.core.answered(from, answer.batch, answer.start, count) else { return };
        for ((number, term), reply) in about.into_iter().zip(answer.replies) {
            if let Some(topic) = &mut self.topics[number as usize] {
                topic.on_reply(&mut self.core, from, term, reply);
            }
        }
    }
}
