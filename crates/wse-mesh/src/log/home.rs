//! A home: it stamps what is published, has its replicas store it, and sends what is committed to those who follow.

use std::sync::Arc;

use wse_core::history::{Epoch, Position};

use super::config::Config;
use super::core::Core;
use super::frames::about_many::{Invite, TopicTerm, UpTo};
use super::frames::about_one::{SyncHead, put_entries_head};
use super::frames::entries::put_entries;
use super::frames::put_topic;
use super::history::{History, Outline};
use super::output::Payload;
use super::ring::{Entry, Message};
use super::term::Term;
use super::topic::{Role, Topic};
use crate::ids::{NodeId, Session};
use crate::wire::Kind;

/// A node that keeps a copy, or is to.
#[derive(Debug)]
struct Replica {
    id: NodeId,
    session: Session,
    /// When it was told that it is one.
    invited_at: u64,
    /// Up to where it was sent the log, once it has attached.
    sent: Option<u64>,
    /// Up to where it holds the log; it counts from then on.
    acked: Option<u64>,
    /// Which commit it was told.
    told: u64,
}

/// A node that follows for its subscribers' sake.
#[derive(Debug)]
struct Follower {
    id: NodeId,
    /// Up to where it was sent the log.
    sent: u64,
}

/// What a node holds of a topic as its home.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) term: Term,
    /// Its targets hold all that it took over, so it knows what is committed.
    pub(crate) settled: bool,
    /// What it took over.
    goal: u64,
    /// The epoch that it minted in this role.
    mine: Option<Epoch>,
    replicas: Vec<Replica>,
    followers: Vec<Follower>,
    /// It asks its replicas to forget the log, one after the other: this one, for whose answer it waits so long.
    pub(crate) discarding: Option<(NodeId, u64)>,
    /// The replica that did not answer when it was last asked: it may need the log, and is asked first.
    pub(crate) wanted_by: Option<NodeId>,
    /// Up to where publishers were told that their publications are stored.
    acknowledged: u64,
}

impl Home {
    pub(crate) fn new(term: Term, history: &History, mine: Option<Epoch>) -> Self {
        Self {
            term,
            settled: false,
            goal: history.top(),
            mine,
            replicas: Vec::new(),
            followers: Vec::new(),
            discarding: None,
            wanted_by: None,
            acknowledged: history.commit,
        }
    }

    pub(crate) fn lost(&mut self, peer: NodeId) {
        self.replicas.retain(|replica| replica.id != peer);
        self.followers.retain(|follower| follower.id != peer);
    }

    pub(crate) fn has_followers(&self) -> bool {
        !self.followers.is_empty()
    }

    /// The replica that is asked next to forget its copy.
    pub(crate) fn next_copy(&self) -> Option<NodeId> {
        let has = |id: NodeId| self.replicas.iter().any(|replica| replica.id == id);
        self.wanted_by.filter(|id| has(*id)).or(self.replicas.first().map(|replica| replica.id))
    }

    /// Whether all targets hold the log up to an offset, and nobody else is a replica.
    pub(crate) fn is_held_by_just(&self, targets: &[NodeId], upto: u64, core: &Core) -> bool {
        self.replicas.len() == targets.len()
            && self.held_by_all(targets, core).is_some_and(|held| held >= upto)
    }

    /// A follower has nobody left who listens.
    pub(crate) fn detach(&mut self, from: NodeId) {
        self.followers.retain(|follower| follower.id != from);
    }

    /// Whether a node is sent what is committed, or holds it.
    pub(crate) fn serves(&self, peer: NodeId) -> bool {
        let keeps = |replica: &Replica| replica.id == peer && replica.sent.is_some();
        self.replicas.iter().any(keeps) || self.followers.iter().any(|follower| follower.id == peer)
    }

    /// All that hang on it.
    pub(crate) fn listeners(&self) -> Vec<NodeId> {
        let replicas = self.replicas.iter().map(|replica| replica.id);
        replicas.chain(self.followers.iter().map(|follower| follower.id)).collect()
    }

    fn replica(&mut self, id: NodeId) -> Option<&mut Replica> {
        self.replicas.iter_mut().find(|replica| replica.id == id)
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        let waits = self.replicas.iter().filter(|replica| replica.acked.is_none());
        let invited = waits.map(|replica| replica.invited_at + Config::ANSWER_MS);
        invited.chain(self.discarding.map(|(_, until)| until)).min()
    }

    /// Up to where all targets hold the log; `None` while one has not shown that it does.
    fn held_by_all(&self, targets: &[NodeId], core: &Core) -> Option<u64> {
        targets.iter().try_fold(u64::MAX, |held, target| {
            let stale = core.lacks(super::Fault::StaleLink);
            let replica = self.replicas.iter().find(|replica| replica.id == *target)?;
            let stands = core.session(*target) == Some(replica.session) || stale;
            let acked = if core.lacks(super::Fault::CountEarly) { replica.sent } else { replica.acked };
            acked.filter(|_| stands).map(|acked| held.min(acked))
        })
    }
}

impl Topic {
    fn home_mut(&mut self) -> Option<&mut Home> {
        match &mut self.role {
            Role::Home(home) => Some(home),
            _ => None,
        }
    }

    /// Publications that arrived. Answers whether this node is home.
    pub(crate) fn stamp(
        &mut self,
        core: &mut Core,
        from: NodeId,
        base: u64,
        first: u64,
        messages: &mut dyn Iterator<Item = Message>,
    ) -> bool {
        let Role::Home(home) = &mut self.role else { return false };
        let history = &mut self.history;
        let mut last = history.last.seq(from);
        let (mut again, mut seq) = (None, first);
        for message in messages {
            if seq <= last {
                again = Some((again.map_or(seq, |(first, _)| first), seq));
            } else if (seq == last + 1 || seq == base) && !(home.mine.is_none() && history.is_chain_full()) {
                let segment = history.chain.last().copied().expect("a home has a log");
                let (term, epoch) = match home.mine {
                    None if core.lacks(super::Fault::InheritEpoch) => (segment.term, segment.epoch),
                    None => (home.term, *home.mine.insert(core.mint(&history.chain))),
                    // The epoch of a log that began here has the term of no home.
                    Some(mine) => (if segment.epoch == mine { segment.term } else { home.term }, mine),
                };
                assert!(
                    home.mine == Some(epoch) || core.lacks(super::Fault::InheritEpoch),
                    "a home stamps in an epoch that it minted"
                );
                history.append(term, epoch, Entry { publisher: from, seq, at_ms: core.now, message });
                core.counters.stamped += 1;
                last = seq;
            } else {
                break;
            }
            seq += 1;
        }
        if core.lacks(super::Fault::AcknowledgeEarly) {
            self.acknowledge_range(core, self.history.floor(), self.history.top());
        }
        if let Some((first, upto)) = again {
            self.acknowledge_again(core, from, first, upto);
        }
        self.touch(core);
        true
    }

    /// Sees to it that the right nodes keep copies.
    pub(crate) fn choose(&mut self, core: &mut Core) {
        let Role::Home(home) = &mut self.role else { return };
        if home.discarding.is_some() {
            return;
        }
        let targets = self.targets;
        // One that is replaced is let go when the others hold the log, not before: it may be leaving and wait for that.
        let are_synced =
            home.held_by_all(targets.as_slice(), core).is_some_and(|held| held >= self.history.commit);
        let name = &self.name;
        home.replicas.retain(|replica| {
            // One that does not hold it yet is of no use to anybody.
            let stays = targets.contains(replica.id) || (replica.acked.is_some() && !are_synced);
            if !stays {
                core.send_item(replica.id, Kind::LogDetach, |out| put_topic(out, name));
            }
            stays
        });
        for &id in targets.as_slice() {
            let Some(session) = core.session(id) else { continue };
            let now = core.now;
            let known = home.replica(id).filter(|replica| {
                replica.session == session
                    && (replica.acked.is_some() || now < replica.invited_at + Config::ANSWER_MS)
            });
            if known.is_none() {
                match home.replica(id).filter(|replica| replica.session == session) {
                    Some(replica) => replica.invited_at = now,
                    None => {
                        home.replicas.retain(|replica| replica.id != id);
                        let replica =
                            Replica { id, session, invited_at: now, sent: None, acked: None, told: 0 };
                        home.replicas.push(replica);
                    }
                }
                let invite = Invite { topic: &self.name, term: home.term, replica: true };
                core.send_item(id, Kind::LogInvite, |out| invite.encode(out));
            }
        }
        self.touch(core);
    }

    /// A node wants to follow, or to keep a copy.
    pub(crate) fn on_attach(&mut self, core: &mut Core, from: NodeId, theirs: &Outline) {
        let name = self.name.clone();
        let history = &self.history;
        let Role::Home(home) = &mut self.role else {
            self.remember_asker(from);
            core.send_item(from, Kind::LogDetach, |out| put_topic(out, &name));
            self.touch(core);
            return;
        };
        let is_target = self.targets.contains(from);
        if !theirs.chain.is_empty()
            && theirs.lead() > history.lead()
            && !core.lacks(super::Fault::AcceptPoorer)
        {
            self.promise(self.promised.next(core.me));
            self.step_down(core);
            core.send_item(from, Kind::LogDetach, |out| put_topic(out, &name));
        } else if is_target {
            self.sync_replica(core, from, theirs);
        } else if home.settled {
            self.sync_follower(core, from, theirs);
        } else {
            self.remember_asker(from);
            core.send_item(from, Kind::LogDetach, |out| put_topic(out, &name));
        }
    }

    pub(crate) fn remember_asker(&mut self, from: NodeId) {
        if !self.askers.contains(&from) {
            self.askers.push(from);
        }
    }

    /// From where a log that ends with `end` is sent to one who has another, and whether that goes on from what it has.
    fn sync_from(&self, theirs: &Outline, end: u64) -> Option<u64> {
        let common = self.history.chain.as_of(end).common(end, &theirs.chain, theirs.top)?;
        (common >= theirs.floor).then_some(common)
    }

    fn put_sync(&self, core: &Core, fresh: bool, from: u64, upto: u64) -> (Payload, u64) {
        let Role::Home(home) = &self.role else { unreachable!("a home sends its log") };
        let mut entries = Vec::new();
        let end = put_entries(&mut entries, &self.history, from, upto, core.now, core.config.part_bytes);
        let head = SyncHead {
            term: home.term,
            lead: self.history.lead(),
            floor: self.history.floor(),
            end: upto,
            fresh,
            chain: self.history.chain.as_of(end),
            commit: self.history.commit.min(end),
            last: self.history.last_as_of(end),
        };
        let mut payload = Vec::new();
        head.encode(&mut payload);
        payload.extend_from_slice(&entries);
        (Arc::new(payload), end)
    }

    /// A replica gets the whole ring but what it has.
    fn sync_replica(&mut self, core: &mut Core, to: NodeId, theirs: &Outline) {
        let Some(session) = core.session(to) else { return };
        let (floor, top) = (self.history.floor(), self.history.top());
        let common = self.sync_from(theirs, top).filter(|common| *common >= floor);
        let (payload, end) = self.put_sync(core, common.is_none(), common.unwrap_or(floor), top);
        core.counters.replica_syncs += 1;
        core.send(to, Kind::LogReplicaSync, &self.name, payload);
        let (now, commit) = (core.now, self.history.commit.min(end));
        let home = self.home_mut().expect("a home was asked");
        home.followers.retain(|follower| follower.id != to);
        home.replicas.retain(|replica| replica.id != to);
        home.replicas.push(Replica {
            id: to,
            session,
            invited_at: now,
            sent: Some(end),
            acked: None,
            told: commit,
        });
        self.touch(core);
    }

    /// A follower gets what is committed after the common point. One that is too far behind gets what is kept, one that has nothing in common
    /// gets nothing: its subscribers' messages are others.
    fn sync_follower(&mut self, core: &mut Core, to: NodeId, theirs: &Outline) {
        let (floor, commit) = (self.history.floor(), self.history.commit);
        let common = self.sync_from(theirs, commit);
        let fresh = common.is_none_or(|common| common < floor);
        let from = common.map_or(commit, |common| common.max(floor));
        let (payload, end) = self.put_sync(core, fresh, from, commit);
        core.counters.follower_syncs += 1;
        core.send(to, Kind::LogSync, &self.name, payload);
        let home = self.home_mut().expect("a home was asked");
        home.replicas.retain(|replica| replica.id != to);
        home.followers.retain(|follower| follower.id != to);
        home.followers.push(Follower { id: to, sent: end });
        self.touch(core);
    }

    /// A replica holds the log up to an offset.
    pub(crate) fn on_replica_ack(&mut self, core: &mut Core, from: NodeId, ack: &UpTo<'_>) {
        let session = core.session(from);
        let Role::Home(home) = &mut self.role else { return };
        if home.term != ack.term {
            return;
        }
        let Some(replica) = home.replica(from) else { return };
        if Some(replica.session) != session || replica.sent.is_none() {
            return;
        }
        replica.acked = Some(replica.acked.unwrap_or(0).max(ack.offset));
        // This home rose from a shorter ring than its replica's.
        if ack.floor < self.history.floor() {
            self.fetch_below(core, from, ack.floor);
        }
        self.touch(core);
    }

    /// All that a home does when something happened.
    pub(crate) fn advance(&mut self, core: &mut Core) {
        self.replicate(core);
        self.commit(core);
        self.tell_commit(core);
        self.choose_again(core);
    }

    /// Sends the replicas what they were not sent.
    fn replicate(&mut self, core: &mut Core) {
        let Role::Home(home) = &mut self.role else { return };
        let (history, top) = (&self.history, self.history.top());
        let mut frames: Vec<(u64, u64, Payload)> = Vec::new();
        for replica in &mut home.replicas {
            while let Some(sent) = replica.sent.filter(|sent| *sent < top) {
                let (end, payload) = match frames.iter().find(|(after, _, _)| *after == sent) {
                    Some((_, end, payload)) => (*end, payload.clone()),
                    None => {
                        let mut out = Vec::new();
                        put_entries_head(&mut out, home.term, history.commit);
                        let end = put_entries(&mut out, history, sent, top, core.now, core.config.part_bytes);
                        let payload = Arc::new(out);
                        frames.push((sent, end, payload.clone()));
                        (end, payload)
                    }
                };
                core.send(replica.id, Kind::LogReplicate, &self.name, payload);
                replica.sent = Some(end);
                replica.told = history.commit;
            }
        }
    }

    fn commit(&mut self, core: &mut Core) {
        let Role::Home(home) = &mut self.role else { return };
        let held = if core.lacks(super::Fault::DeliverEarly) {
            Some(u64::MAX)
        } else {
            home.held_by_all(self.targets.as_slice(), core)
        };
        let Some(held) = held.map(|held| held.min(self.history.top())) else { return };
        if held > self.history.commit {
            self.history.commit = held;
        }
        if !home.settled && held >= home.goal {
            home.settled = true;
            self.place_audience(core);
            self.invite_askers(core);
        }
        let Role::Home(home) = &mut self.role else { return };
        let (told, commit) = (home.acknowledged.max(self.history.floor()), self.history.commit);
        if told < commit {
            home.acknowledged = commit;
            self.acknowledge_range(core, told, commit);
        }
    }

    /// Who asked too early may ask now.
    pub(crate) fn invite_askers(&mut self, core: &mut Core) {
        let Role::Home(home) = &self.role else { return };
        for asker in std::mem::take(&mut self.askers) {
            let invite = Invite { topic: &self.name, term: home.term, replica: self.targets.contains(asker) };
            core.send_item(asker, Kind::LogInvite, |out| invite.encode(out));
        }
    }

    /// Sends the followers what is committed, and tells the replicas how much that is.
    fn tell_commit(&mut self, core: &mut Core) {
        let Role::Home(home) = &mut self.role else { return };
        let (history, commit) = (&self.history, self.history.commit);
        for replica in
            home.replicas.iter_mut().filter(|replica| replica.sent.is_some() && replica.told < commit)
        {
            replica.told = commit;
            let upto = UpTo { topic: &self.name, term: home.term, offset: commit, floor: 0 };
            core.send_item(replica.id, Kind::LogCommit, |out| upto.encode(out));
        }
        let mut frames: Vec<(u64, u64, Payload)> = Vec::new();
        for follower in &mut home.followers {
            while follower.sent < commit {
                let known = frames.iter().find(|(after, _, _)| *after == follower.sent);
                let (end, payload) = match known {
                    Some((_, end, payload)) => (*end, payload.clone()),
                    None => {
                        let mut out = Vec::new();
                        put_entries_head(&mut out, home.term, commit);
                        let end = put_entries(
                            &mut out,
                            history,
                            follower.sent,
                            commit,
                            core.now,
                            core.config.part_bytes,
                        );
                        let payload = Arc::new(out);
                        frames.push((follower.sent, end, payload.clone()));
                        (end, payload)
                    }
                };
                core.send(follower.id, Kind::LogEntries, &self.name, payload);
                follower.sent = end;
            }
        }
    }

    /// A replica that is replaced is let go once the others hold the log.
    fn choose_again(&mut self, core: &mut Core) {
        let Role::Home(home) = &self.role else { return };
        if home.replicas.iter().any(|replica| !self.targets.contains(replica.id)) {
            let held = home.held_by_all(self.targets.as_slice(), core);
            if held.is_some_and(|held| held >= self.history.commit) {
                self.choose(core);
            }
        }
    }

    /// Frames to a peer were dropped: it is told to attach anew, and what it misses it will get then.
    pub(crate) fn on_congested(&mut self, core: &mut Core, peer: NodeId) {
        let Role::Home(home) = &mut self.role else { return };
        if home.listeners().contains(&peer) {
            core.send_item(peer, Kind::LogDetach, |out| put_topic(out, &self.name));
            home.lost(peer);
            self.choose(core);
        }
    }

    /// Offers the topic to the node that should be its home.
    pub(crate) fn offer(&mut self, core: &mut Core) {
        let Role::Home(home) = &self.role else { return };
        if self.home != core.me && self.offer_after <= core.now && core.session(self.home).is_some() {
            let offer = TopicTerm { topic: &self.name, term: home.term };
            core.send_item(self.home, Kind::LogOffer, |out| offer.encode(out));
        }
        if self.offer_after <= core.now {
            self.offer_after = core.now + Config::RETRY_MS;
        }
    }

    /// Somebody asks whether a position is in the log.
    pub(crate) fn head_of(&self, term: Term, position: Position) -> Option<super::frames::about_one::Head> {
        use super::frames::about_one::Head;
        let Role::Home(home) = &self.role else { return None };
        (home.term == term).then(|| {
            match (self.history.contains(position), position.offset <= self.history.commit) {
                (false, _) => Head::No,
                (true, true) => Head::Yes,
                (true, false) => Head::Later,
            }
        })
    }
}
