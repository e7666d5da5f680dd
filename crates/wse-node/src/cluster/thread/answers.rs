//! What follows from what the logs say of topics, for those here who hear them: by name, by patterns, as members of queue groups.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use wse_core::history::Position;
use wse_core::protocol::stamp::StampPrefix;
use wse_core::topic::Filter;
use wse_core::websocket::Opcode;
use wse_mesh::ids::NodeId;
use wse_mesh::log::{Gap, Run};

use super::Core;
use super::logs::{Asked, Keeper, Step};
use crate::cluster::mirror::stamped;
use crate::histories::Histories;
use crate::inbox::Message;

impl Core {
    /// The logs have answered. Where patterns wait to hear a topic from its beginning, they are first.
    pub(super) fn answered(&self, keeper: &Keeper, histories: &Histories, topic: Arc<str>, answer: Step) {
        let is_hinted = matches!(answer, Step::Answer { asked: Asked::Hinted(_), .. });
        if !is_hinted && keeper.hinted.borrow().contains(&topic) {
            keeper.held.borrow_mut().entry(topic).or_default().push(answer);
            return;
        }
        self.step(keeper, histories, topic.clone(), answer);
        if is_hinted {
            keeper.hinted.borrow_mut().remove(&topic);
            let held = keeper.held.borrow_mut().remove(&topic).unwrap_or_default();
            held.into_iter().for_each(|answer| self.step(keeper, histories, topic.clone(), answer));
        }
    }

    pub(super) fn answer(
        &self,
        histories: &Histories,
        topic: &Arc<str>,
        asked: &Asked,
        (confirmed, recovered): (bool, bool),
        position: Option<Position>,
        replay: &[Run],
    ) {
        let shared = &self.shared;
        let is_new = histories.placed(topic).is_none();
        match (asked, position) {
            (Asked::Hinted(from), Some(position)) if is_new && recovered => {
                // Those who hear it by patterns have heard nothing of it yet: what is replayed is new to all of them.
                shared.place_topic(histories, topic, *from);
                let mut at = *from;
                for run in replay {
                    self.turn_if_other(histories, topic, &mut at, run.epoch);
                    shared.deliver_run(histories, topic, run);
                    at.offset += run.messages.len() as u64;
                }
                self.turn_if_other(histories, topic, &mut at, position.epoch);
            }
            (_, Some(position)) => {
                shared.place_topic(histories, topic, position);
                let from = match asked {
                    Asked::By(wish) => wish.position.filter(|_| recovered),
                    Asked::Hinted(from) => {
                        self.tell_if_missed(histories, topic, *from);
                        None
                    }
                    Asked::Late => None,
                };
                histories.put_before(topic, from, replay);
            }
            // Where they will go on is not known yet, nor what they will have missed.
            (Asked::Hinted(_), None) => shared.tell_uncounted(topic),
            (_, None) => {}
        }
        if let Asked::By(wish) = asked {
            self.cluster.desk().answer(wish, confirmed, self.now_ms());
        }
    }

    fn turn_if_other(
        &self,
        histories: &Histories,
        topic: &Arc<str>,
        at: &mut Position,
        epoch: wse_core::history::Epoch,
    ) {
        if at.epoch != epoch {
            let next = Position { epoch, ..*at };
            let gap = Gap { after: Some(*at), missed: Some(0), next };
            self.shared.tell_gap(histories, topic, &gap);
            *at = next;
        }
    }

    /// A home says that a topic has messages, which patterns here may mean.
    pub(super) fn hinted(
        &self,
        keeper: &Keeper,
        histories: &Histories,
        topic: &Arc<str>,
        position: Position,
    ) {
        if !self.shared.topics.is_heard(topic) || keeper.hinted.borrow().contains(topic) {
            return;
        }
        if keeper.is_followed(topic) && histories.placed(topic).is_some() {
            return self.tell_if_missed(histories, topic, position);
        }
        keeper.hinted.borrow_mut().insert(topic.clone());
        keeper.ask(topic, Some(position), Asked::Hinted(position), self.now_ms());
    }

    /// A subscriber was quicker than those who hear a topic by patterns, and its place is behind what they were to get.
    fn tell_if_missed(&self, histories: &Histories, topic: &Arc<str>, from: Position) {
        if histories.missed_after(topic, from.offset) {
            self.shared.tell_uncounted(topic);
        }
    }

    /// Messages are committed in a log that is kept here.
    pub(super) fn committed(
        &self,
        keeper: &Keeper,
        histories: &Histories,
        topic: &Arc<str>,
        after: Position,
        upto: u64,
        is_home: bool,
    ) {
        self.hinted(keeper, histories, topic, after);
        if !is_home {
            return;
        }
        let route = self.cluster.interests.route(topic);
        let local = self.shared.topics.group_names(topic);
        if !route.peers.is_empty() {
            let links = self.cluster.links.read();
            let peers =
                route.peers.iter().filter_map(|peer| links.get(peer.get())?.as_ref().map(|(id, _)| *id));
            keeper.logs.borrow_mut().hint(topic, after, peers.collect::<Vec<NodeId>>());
        }
        if local.is_empty() && route.groups.is_empty() && route.unknown.is_empty() {
            return;
        }
        let Ok(filter) = Filter::parse_exact(topic) else { return };
        let runs = keeper.logs.borrow().messages(topic, after.offset, upto);
        for run in runs {
            let prefix = StampPrefix::new(topic, Position { epoch: run.epoch, offset: run.first - 1 });
            for (message, offset) in run.messages.iter().zip(run.first..) {
                let text = stamped(&prefix, message, offset);
                let message = Message { opcode: Opcode::Text, head: &[], tail: &text };
                self.cluster.share_out(&self.shared, &route, filter, &message);
            }
        }
    }

    /// Messages of a branch that did not become the cluster's.
    pub(super) fn bury(&self, topic: &str, runs: &[Run]) {
        let (shared, cluster) = (&self.shared, &self.cluster);
        for message in runs.iter().flat_map(|run| &run.messages) {
            cluster.counts.dropped.fetch_add(1, Relaxed);
            let reason = "after a partition the topic goes on without it";
            cluster.letters.add(topic, message, cluster.id(), reason, shared.clock.unix_ms());
        }
        let messages: usize = runs.iter().map(|run| run.messages.len()).sum();
        let clock = shared.clock;
        crate::log::limited!(
            warn,
            clock,
            topic,
            messages,
            "after a partition a topic goes on without messages of this side: get_cluster_dlq_entries() has the last of them"
        );
    }
}
