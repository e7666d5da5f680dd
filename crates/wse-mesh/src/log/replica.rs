//! A node that keeps a copy: it holds what its home holds, and says so.

use super::core::Core;
use super::frames::about_many::UpTo;
use super::frames::about_one::{Entries, Sync};
use super::history::{Received, Unconnected};
use super::output::Output;
use super::term::Term;
use super::topic::{Role, Topic};
use crate::ids::{NodeId, Session};
use crate::wire::{Kind, Malformed};

/// The home that this node follows, on one link and in one term.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) peer: NodeId,
    pub(crate) session: Session,
    pub(crate) term: Term,
    /// It keeps a copy for others.
    pub(crate) copy: Option<Copy>,
}

/// The state of a copy.
#[derive(Debug)]
pub(crate) struct Copy {
    /// The home's ring begins after this offset.
    pub(crate) floor: u64,
    /// It holds all that the home does, or all that its own limits allow.
    pub(crate) is_complete: bool,
    /// The home was told that it holds the log up to here.
    pub(crate) told: Option<u64>,
}

impl Upstream {
    pub(crate) fn is_replica(&self) -> bool {
        self.copy.is_some()
    }

    pub(crate) fn is(&self, core: &Core, peer: NodeId, session: Session, term: Term) -> bool {
        let stands = self.session == session || core.lacks(super::Fault::StaleLink);
        self.peer == peer && stands && self.term == term
    }
}

impl Topic {
    /// A log is taken over, or gone on with: the subscribers are told if what they heard is not part of it.
    pub(crate) fn merge(&mut self, core: &mut Core, received: Received) -> Result<(), Unconnected> {
        let cut = self.history.merge(received)?;
        if !cut.is_empty() {
            core.counters.dropped += cut.iter().map(|run| run.messages.len() as u64).sum::<u64>();
            core.outputs.push_back(Output::Dropped { topic: self.name.clone(), runs: cut });
        }
        self.place_audience(core);
        Ok(())
    }

    /// The home sends its log for a copy.
    pub(crate) fn on_replica_sync(
        &mut self,
        core: &mut Core,
        from: NodeId,
        session: Session,
        sync: &Sync<'_>,
    ) {
        self.answered_by(core, from);
        if sync.term < self.promised && !core.lacks(super::Fault::AcceptOlder) {
            self.refuse(core, from);
            return;
        }
        if self.history.is_better_than(sync.lead) && !core.lacks(super::Fault::AcceptPoorer) {
            // A home must not grow on a poorer log: with a term above its own it takes over again, and finds this one.
            self.promise(sync.term);
            self.promise(self.promised.next(core.me));
            self.refuse(core, from);
            return;
        }
        if !matches!(self.role, Role::Follower) {
            self.step_down(core);
        }
        self.promise(sync.term);
        let received = sync.received(core.now);
        if !self.take_log(core, from, session, sync, received) {
            return;
        }
        let copy = Copy { floor: sync.floor, is_complete: self.history.floor() <= sync.floor, told: None };
        self.upstream = Some(Upstream { peer: from, session, term: sync.term, copy: Some(copy) });
        self.invited = None;
        self.is_kept = true;
        self.complete_copy(core);
        self.touch(core);
    }

    /// Fetches what the home has below the floor of the copy.
    fn complete_copy(&mut self, core: &mut Core) {
        let Some(upstream) = &self.upstream else { return };
        let Some(copy) = upstream.copy.as_ref().filter(|copy| !copy.is_complete) else { return };
        let (peer, floor) = (upstream.peer, copy.floor);
        self.fetch_below(core, peer, floor);
    }

    /// Messages below the floor have come.
    pub(crate) fn filled_copy(&mut self, core: &mut Core, is_all: bool) {
        let floor = self.history.floor();
        let Some(copy) = self.upstream.as_mut().and_then(|upstream| upstream.copy.as_mut()) else { return };
        copy.is_complete |= is_all || floor <= copy.floor;
        self.complete_copy(core);
    }

    /// Messages for the copy.
    pub(crate) fn on_replicate(
        &mut self,
        core: &mut Core,
        from: NodeId,
        session: Session,
        frame: &Entries<'_>,
    ) -> Result<(), Malformed> {
        if frame.term < self.promised && !core.lacks(super::Fault::AcceptOlder) {
            self.refuse(core, from);
            return Ok(());
        }
        let is_mine = self
            .upstream
            .as_ref()
            .is_some_and(|up| up.is(core, from, session, frame.term) && up.is_replica());
        let goes_on = is_mine && self.history.append_all(&frame.entries, frame.commit, core.now)?;
        if !goes_on {
            if is_mine {
                self.upstream = None;
            }
            if matches!(self.role, Role::Follower) && self.upstream.is_none() {
                self.attach_again(core, from, session);
            }
            return Ok(());
        }
        self.commit_up_to(core, frame.commit);
        Ok(())
    }

    /// The home has committed.
    pub(crate) fn on_commit(&mut self, core: &mut Core, from: NodeId, session: Session, upto: &UpTo<'_>) {
        let is_mine =
            self.upstream.as_ref().is_some_and(|up| up.is(core, from, session, upto.term) && up.is_replica());
        if is_mine {
            self.commit_up_to(core, upto.offset);
        }
    }

    pub(crate) fn commit_up_to(&mut self, core: &mut Core, offset: u64) {
        self.history.commit = self.history.commit.max(offset.min(self.history.top()));
        self.touch(core);
    }

    /// Tells the home up to where the copy goes.
    pub(crate) fn acknowledge_copy(&mut self, core: &mut Core) {
        let (top, floor) = (self.history.top(), self.history.floor());
        let Some(upstream) = &mut self.upstream else { return };
        let Some(copy) = upstream.copy.as_mut().filter(|copy| copy.is_complete && copy.told != Some(top))
        else {
            return;
        };
        assert!(copy.told.is_none_or(|told| told < top), "what a copy holds in one term only grows");
        copy.told = Some(top);
        let upto = UpTo { topic: &self.name, term: upstream.term, offset: top, floor };
        core.send_item(upstream.peer, Kind::LogReplicaAck, |out| upto.encode(out));
    }
}
