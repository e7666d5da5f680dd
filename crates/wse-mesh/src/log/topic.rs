//! One topic at one node, and what follows when something happened to it.

use std::sync::Arc;

use wse_core::history::Position;

use super::config::Config;
use super::core::Core;
use super::frames::about_many::TopicTerm;
use super::frames::about_one::Fetch;
use super::frames::put_topic;
use super::history::History;
use super::home::Home;
use super::output::{Gap, Output};
use super::publisher::Unacked;
use super::rank::{Few, rank, topic_hash};
use super::recovery::Waiting;
use super::replica::Upstream;
use super::take_over::Taking;
use super::term::Term;
use crate::ids::{NodeId, Session};
use crate::view::Standing;
use crate::wire::Kind;

/// What a node is to a topic.
#[derive(Debug)]
pub(crate) enum Role {
    /// It follows another, or nobody.
    Follower,
    /// It asks the others for their logs, to become home.
    Taking(Box<Taking>),
    /// It stamps.
    Home(Box<Home>),
}

/// Whether the topic has asked a peer for a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// It has not.
    Free,
    /// It waits for its turn.
    InLine(NodeId),
    /// It has; without an answer until then it asks again.
    Open(NodeId, u64),
}

/// The subscribers of this node, who all share one stream.
#[derive(Debug, Default)]
pub(crate) struct Audience {
    /// There are some.
    pub(crate) is_there: bool,
    /// Up to where they were given messages; `None` while nobody was, and while it is not known.
    pub(crate) delivered: Option<Position>,
    /// Those that wait for their answer.
    pub(crate) waiting: Vec<Waiting>,
    /// Some were answered without a position: they are to be told.
    pub(crate) adrift: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) at: u32,
    pub(crate) name: Arc<str>,
    hash: u64,
    /// The best node of the rank.
    pub(crate) home: NodeId,
    /// Those that are to keep copies if this node is home.
    pub(crate) targets: Few,
    pub(crate) history: History,
    pub(crate) promised: Term,
    pub(crate) role: Role,
    pub(crate) upstream: Option<Upstream>,
    /// A home waits for this node to attach, as a replica.
    pub(crate) invited: Option<(NodeId, Session)>,
    pub(crate) slot: Slot,
    /// Messages below the floor that a peer was asked for.
    pub(crate) fetching: Option<(NodeId, Fetch)>,
    /// The log may be the only copy of something that was acknowledged: it is kept until a settled home has been heard.
    pub(crate) is_kept: bool,
    /// The number of the last publication of this node.
    pub(crate) published: u64,
    /// How often others refused to let it take over.
    pub(crate) refusals: u8,
    /// It does not take over before.
    pub(crate) rest_until: u64,
    /// It does not ask to attach before.
    pub(crate) attach_after: u64,
    /// It does not offer the topic to the best node before.
    pub(crate) offer_after: u64,
    /// Nodes that asked before there was an answer.
    pub(crate) askers: Vec<NodeId>,
    pub(crate) audience: Audience,
    /// Up to where it was announced that messages are committed.
    announced: u64,
    /// Bytes of its messages, as they were last added to the sum of all.
    counted: usize,
    pub(crate) unacked: Option<Box<Unacked>>,
    /// It waits to be [settled](Topic::settle).
    is_dirty: bool,
    /// When it is looked at again at the latest.
    pub(crate) armed: u64,
    /// Publishers whom nobody knows any more are not looked for before.
    look_at_publishers: u64,
    /// When it was last of use to anybody here.
    pub(crate) used: u64,
}

impl Topic {
    pub(crate) fn new(core: &Core, at: u32, name: Arc<str>, promised: Term) -> Self {
        let hash = topic_hash(&name);
        let (home, targets) = rank(hash, &core.ranked, core.me, core.config.replicas);
        Self {
            at,
            name,
            hash,
            home,
            targets,
            history: History::default(),
            promised,
            role: Role::Follower,
            upstream: None,
            invited: None,
            slot: Slot::Free,
            fetching: None,
            is_kept: false,
            published: core.published,
            refusals: 0,
            rest_until: 0,
            attach_after: 0,
            offer_after: 0,
            askers: Vec::new(),
            audience: Audience::default(),
            announced: 0,
            counted: 0,
            unacked: None,
            is_dirty: false,
            armed: u64::MAX,
            look_at_publishers: core.now + Config::PUBLISHERS_MS,
            used: core.now,
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn is_home(&self) -> bool {
        matches!(self.role, Role::Home(_))
    }

    /// Something happened: what follows is found out when the machine is asked for its output, once for all that happened.
    pub(crate) fn touch(&mut self, core: &mut Core) {
        if !self.is_dirty {
            self.is_dirty = true;
            core.dirty.push(self.at);
        }
    }

    /// Raises the promise, which never falls.
    pub(crate) fn promise(&mut self, term: Term) {
        self.promised = self.promised.max(term);
        if let Role::Home(home) = &self.role {
            assert!(home.term <= self.promised, "a home has promised its own term");
        }
    }

    /// All that follows from what happened: what is to be sent is sent, what is committed is delivered, who waits is answered.
    pub(crate) fn settle(&mut self, core: &mut Core) {
        self.is_dirty = false;
        self.take_over_if_due(core);
        self.send_unacked(core);
        self.keep_copies(core);
        match self.role {
            Role::Home(_) => self.advance(core),
            Role::Follower => self.follow(core),
            Role::Taking(_) => {}
        }
        self.announce(core);
        self.deliver(core);
        self.serve(core);
        self.prune(core);
        self.count(core);
        self.history.check();
        if !self.is_idle(core) && !self.is_at_rest(core) {
            self.used = core.now;
        }
    }

    /// Says that messages are committed in a log that is kept here.
    fn announce(&mut self, core: &mut Core) {
        let commit = self.history.commit;
        let after = self.announced.min(commit).max(self.history.floor());
        self.announced = commit;
        let is_home = matches!(&self.role, Role::Home(home) if home.settled);
        let is_replica = self.upstream.as_ref().is_some_and(Upstream::is_replica);
        if after < commit
            && core.announces
            && (is_home || is_replica)
            && let Some(after) = self.history.chain.position(after)
        {
            let topic = self.name.clone();
            core.outputs.push_back(Output::Committed { topic, after, upto: commit, is_home });
        }
    }

    /// Takes note of what the messages cost.
    pub(crate) fn count(&mut self, core: &mut Core) {
        let bytes = self.history.ring.bytes();
        core.kept_bytes = core.kept_bytes + bytes - self.counted;
        self.counted = bytes;
    }

    /// Gives up the messages that nobody waits for.
    pub(crate) fn evict(&mut self, core: &mut Core) {
        self.history.ring.raise_floor(self.least_kept());
        core.counters.evicted += 1;
        self.count(core);
    }

    /// When the last message that is kept was stamped.
    pub(crate) fn stamped_at(&self) -> u64 {
        self.history.ring.get(self.history.top()).map_or(0, |entry| entry.at_ms)
    }

    /// What comes after it must be kept.
    fn least_kept(&self) -> u64 {
        let delivered = self.audience.delivered.map_or(u64::MAX, |at| at.offset);
        self.history.commit.min(delivered)
    }

    /// Whether somebody here needs the log.
    pub(crate) fn is_wanted(&self) -> bool {
        self.is_listened_to() || self.invited.is_some() || self.is_kept
    }

    /// Whether this node has subscribers, answered or not.
    pub(crate) fn is_listened_to(&self) -> bool {
        self.audience.is_there || !self.audience.waiting.is_empty()
    }

    /// Gives what is committed to the subscribers.
    pub(crate) fn deliver(&mut self, core: &mut Core) {
        // Only a log that has changed home many times since is no longer kept up to where it was delivered.
        self.place_audience(core);
        let Some(mut at) = self.audience.delivered else { return };
        let commit = self.history.commit;
        if at.offset >= commit {
            return;
        }
        assert!(self.history.contains(at) && self.history.floor() <= at.offset, "what comes next is kept");
        for run in self.history.runs(at.offset, commit) {
            if run.epoch != at.epoch {
                let next = Position { epoch: run.epoch, offset: run.first - 1 };
                let gap = Gap { after: Some(at), missed: Some(0), next };
                core.outputs.push_back(Output::Gap { topic: self.name.clone(), gap });
            }
            at = Position { epoch: run.epoch, offset: run.first + run.messages.len() as u64 - 1 };
            core.counters.delivered += run.messages.len() as u64;
            core.outputs.push_back(Output::Deliver { topic: self.name.clone(), run });
        }
        assert!(at.offset == commit, "all that is committed is delivered");
        self.audience.delivered = Some(at);
    }

    /// The stream of this node's subscribers begins, or goes on in a log that took the place of the one that they heard.
    pub(crate) fn place_audience(&mut self, core: &mut Core) {
        let history = &self.history;
        if let Some(at) = self.audience.delivered {
            let known = history.contains(at);
            if known && history.floor() <= at.offset {
                return;
            }
            if core.lacks(super::Fault::CutSilently)
                && at.offset <= history.commit
                && history.floor() <= at.offset
            {
                self.audience.delivered = history.chain.position(at.offset);
                return;
            }
            // On the same branch it is known what is missing, and the rest is still to come.
            let (missed, next) = if known {
                (Some(history.floor() - at.offset), history.floor())
            } else {
                (None, history.commit)
            };
            let next = history.chain.position(next).expect("a log that was taken has an epoch");
            core.counters.gaps += 1;
            let gap = Gap { after: Some(at), missed, next };
            core.outputs.push_back(Output::Gap { topic: self.name.clone(), gap });
            self.audience.delivered = Some(next);
        } else if let Some(next) = history.chain.position(history.commit)
            && self.is_ready()
            && self.is_listened_to()
        {
            self.audience.delivered = Some(next);
            if std::mem::take(&mut self.audience.adrift) {
                let gap = Gap { after: None, missed: None, next };
                core.outputs.push_back(Output::Gap { topic: self.name.clone(), gap });
            }
        }
    }

    /// Whether subscribers can be answered.
    pub(crate) fn is_ready(&self) -> bool {
        match &self.role {
            Role::Home(home) => home.settled,
            Role::Follower => self.upstream.is_some(),
            Role::Taking(_) => false,
        }
    }

    fn prune(&mut self, core: &Core) {
        self.history.ring.prune(core.now, &core.config.limits, self.least_kept());
        if self.look_at_publishers <= core.now {
            self.look_at_publishers = core.now + Config::PUBLISHERS_MS;
            let floor = self.history.floor();
            self.history.last.forget(floor, |publisher| core.may_publish(publisher));
        }
    }

    /// The view is another: links came or went, nodes died, the rank changed.
    pub(crate) fn view_changed(&mut self, core: &mut Core, lost: &[NodeId], ranked: bool) {
        for &peer in lost {
            self.link_lost(core, peer);
        }
        if ranked {
            (self.home, self.targets) = rank(self.hash, &core.ranked, core.me, core.config.replicas);
        }
        self.attach_after = 0;
        self.offer_after = 0;
        // Who refused may see it otherwise now.
        self.refusals = 0;
        self.askers.retain(|asker| core.peer(*asker).is_some_and(|peer| peer.standing != Standing::Dead));
        match self.role {
            Role::Home(_) => {
                // Who has come back may send again what was stamped already.
                self.used = core.now;
                self.choose(core);
            }
            Role::Taking(_) => self.ask_and_check(core),
            Role::Follower => {}
        }
        self.touch(core);
    }

    /// What was said on a link that is gone counts for nothing.
    pub(crate) fn link_lost(&mut self, core: &mut Core, peer: NodeId) {
        if self.slot == Slot::InLine(peer) || matches!(self.slot, Slot::Open(to, _) if to == peer) {
            self.slot = Slot::Free;
        }
        if self.invited.is_some_and(|(home, _)| home == peer) {
            self.invited = None;
        }
        if self.fetching.is_some_and(|(asked, _)| asked == peer) {
            self.fetching = None;
        }
        if self.upstream.as_ref().is_some_and(|upstream| upstream.peer == peer) {
            self.forget_questions();
            if !core.lacks(super::Fault::StaleLink) {
                self.upstream = None;
            }
        }
        match &mut self.role {
            Role::Home(home) if !core.lacks(super::Fault::StaleLink) => home.lost(peer),
            Role::Taking(taking) => taking.lost(peer),
            _ => {}
        }
        self.touch(core);
    }

    /// Stops to be home, or to become it.
    pub(crate) fn step_down(&mut self, core: &mut Core) {
        if let Role::Home(home) = &self.role {
            core.counters.stepped_down += 1;
            for to in home.listeners() {
                core.send_item(to, Kind::LogDetach, |out| put_topic(out, &self.name));
            }
            self.is_kept = true;
            self.rest_until = core.soon(500, 2000);
        }
        self.role = Role::Follower;
        self.upstream = None;
        self.free_slot(core);
        self.forget_questions();
        if let Some(unacked) = &mut self.unacked {
            unacked.send_again();
        }
        self.attach_after = 0;
        self.touch(core);
    }

    pub(crate) fn refuse(&self, core: &mut Core, to: NodeId) {
        let item = TopicTerm { topic: &self.name, term: self.promised };
        core.send_item(to, Kind::LogNack, |out| item.encode(out));
    }

    /// Somebody has promised a higher term.
    pub(crate) fn on_nack(&mut self, core: &mut Core, promised: Term) {
        let above = matches!(&self.role, Role::Home(home) if promised > home.term);
        self.promise(promised);
        if above {
            self.step_down(core);
        }
    }

    pub(crate) fn free_slot(&mut self, core: &mut Core) {
        if let Slot::Open(peer, _) = self.slot {
            core.leave_line(peer);
        }
        self.slot = Slot::Free;
    }

    /// When something is to be done though nobody says anything.
    pub(crate) fn deadline(&self, core: &Core) -> u64 {
        let mut deadline = u64::MAX;
        let mut at_latest = |at: u64| deadline = deadline.min(at);
        if let Slot::Open(_, until) = self.slot {
            at_latest(until);
        }
        match &self.role {
            Role::Home(home) => {
                if self.home != core.me {
                    at_latest(self.offer_after);
                }
                if let Some(at) = home.deadline() {
                    at_latest(at);
                }
            }
            Role::Follower => {
                if self.may_take_over(core) {
                    at_latest(self.rest_until);
                }
                if self.slot == Slot::Free && self.whom_to_attach_to(core).is_some() {
                    at_latest(self.attach_after);
                }
            }
            Role::Taking(taking) => at_latest(taking.deadline),
        }
        if let Some(unacked) = &self.unacked {
            at_latest(unacked.resend_at());
        }
        if let Some(at) = self.audience.waiting.iter().map(Waiting::deadline).min() {
            at_latest(at);
        }
        if let Some(at) = self
            .history
            .ring
            .expires_ms(&core.config.limits)
            .filter(|_| self.history.floor() < self.history.commit)
        {
            at_latest(at);
        }
        if self.is_idle(core) {
            at_latest(self.used + core.config.idle_ms());
        } else if self.is_at_rest(core) {
            at_latest(self.used + core.config.forget_ms);
        }
        deadline
    }

    /// Whether nobody here needs it and it is nobody's home or replica.
    pub(crate) fn is_idle(&self, core: &Core) -> bool {
        matches!(self.role, Role::Follower)
            && !self.is_wanted()
            && self.unacked.is_none()
            && self.slot == Slot::Free
            && (self.askers.is_empty() || self.home != core.me)
            && !self.upstream.as_ref().is_some_and(Upstream::is_replica)
    }

    /// A moment has come.
    pub(crate) fn handle_timeout(&mut self, core: &mut Core) {
        if let Slot::Open(_, until) = self.slot
            && until <= core.now
        {
            self.free_slot(core);
            if let Role::Taking(taking) = &mut self.role {
                taking.pull = None;
            }
        }
        match &mut self.role {
            Role::Home(_) => {
                self.choose(core);
                self.offer(core);
            }
            Role::Taking(_) => self.ask_and_check(core),
            Role::Follower => {}
        }
        if let Some(unacked) = &mut self.unacked {
            core.counters.resent += unacked.handle_timeout(core.now);
        }
        self.time_out_waiting(core);
        self.touch(core);
    }
}
