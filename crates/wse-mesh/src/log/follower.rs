//! A node that follows: it attaches to the home on one link, gets what it lacks, then all that is committed.

use super::config::Config;
use super::core::Core;
use super::frames::about_many::{Attach, Invite};
use super::frames::about_one::{Entries, Sync};
use super::frames::put_topic;
use super::history::Received;
use super::replica::Upstream;
use super::topic::{Role, Slot, Topic};
use crate::ids::{NodeId, Session};
use crate::wire::{Kind, Malformed};

impl Sync<'_> {
    pub(crate) fn received(&self, now_ms: u64) -> Received {
        Received {
            chain: self.chain.clone(),
            from: self.entries.first - 1,
            entries: self.entries.to_entries(now_ms),
            commit: self.commit,
            last: self.last.clone(),
            fresh: self.fresh,
            is_prefix: false,
        }
    }
}

impl Topic {
    /// All that a follower does when something happened.
    pub(crate) fn follow(&mut self, core: &mut Core) {
        self.acknowledge_copy(core);
        self.attach(core);
        // Nobody here listens: the home need not send.
        let is_copy = |upstream: &Upstream| upstream.is_replica();
        if !self.is_wanted() && self.upstream.as_ref().is_some_and(|upstream| !is_copy(upstream)) {
            let upstream = self.upstream.take().expect("just seen");
            core.send_item(upstream.peer, Kind::LogUnfollow, |out| put_topic(out, &self.name));
        }
    }

    /// Whom this node would attach to: who invited it, or the best node by its view.
    pub(crate) fn whom_to_attach_to(&self, core: &Core) -> Option<NodeId> {
        let wants = self.upstream.is_none() && self.is_wanted() && self.home != core.me;
        let to = self.invited.map(|(home, _)| home).or(wants.then_some(self.home))?;
        core.session(to).map(|_| to)
    }

    /// Asks to attach when that is wanted.
    pub(crate) fn attach(&mut self, core: &mut Core) {
        if matches!(self.role, Role::Taking(_)) || core.now < self.attach_after {
            return;
        }
        let Some(to) = self.whom_to_attach_to(core) else { return };
        match self.slot {
            Slot::Open(asked, _) | Slot::InLine(asked) if asked == to => return,
            Slot::Free => {}
            _ => self.free_slot(core),
        }
        self.take_slot(core, to);
    }

    /// Asks a peer now or when its turn comes.
    pub(crate) fn take_slot(&mut self, core: &mut Core, to: NodeId) {
        self.free_slot(core);
        if core.session(to).is_none() {
            return;
        }
        if core.enter_line(to, self.at) {
            self.slot = Slot::Open(to, core.now + Config::ANSWER_MS);
            self.ask(core, to);
        } else {
            self.slot = Slot::InLine(to);
        }
    }

    /// The turn has come.
    pub(crate) fn granted(&mut self, core: &mut Core, to: NodeId) {
        if self.slot != Slot::InLine(to) {
            core.leave_line(to);
            return;
        }
        self.slot = Slot::Open(to, core.now + Config::ANSWER_MS);
        self.ask(core, to);
        self.touch(core);
    }

    fn ask(&mut self, core: &mut Core, to: NodeId) {
        if matches!(self.role, Role::Taking(_)) {
            self.send_pull(core);
        } else if self.whom_to_attach_to(core) == Some(to) {
            let attach = Attach { topic: &self.name, outline: self.history.outline() };
            core.send_item(to, Kind::LogAttach, |out| attach.encode(out));
        } else {
            self.free_slot(core);
        }
    }

    /// A peer has answered, whatever it said.
    pub(crate) fn answered_by(&mut self, core: &mut Core, from: NodeId) {
        if matches!(self.slot, Slot::Open(peer, _) if peer == from) && !matches!(self.role, Role::Taking(_)) {
            self.free_slot(core);
        }
    }

    /// What came does not go on from what is here: the home is told again what that is.
    pub(crate) fn attach_again(&mut self, core: &mut Core, home: NodeId, session: Session) {
        self.forget_questions();
        self.invited = Some((home, session));
        self.attach_after = core.now;
        self.touch(core);
    }

    /// A home waits for this node.
    pub(crate) fn on_invite(&mut self, core: &mut Core, from: NodeId, session: Session, invite: &Invite<'_>) {
        if invite.term < self.promised {
            self.refuse(core, from);
            return;
        }
        if self.home == from
            && let Some(unacked) = &mut self.unacked
        {
            unacked.send_again();
        }
        self.attach_after = core.now;
        self.touch(core);
        if !invite.replica {
            return;
        }
        if let Some(upstream) =
            self.upstream.as_mut().filter(|upstream| upstream.is(core, from, session, invite.term))
            && let Some(copy) = &mut upstream.copy
        {
            // It may not have heard how far the copy goes.
            copy.told = None;
            return;
        }
        if matches!(self.role, Role::Taking(_)) {
            self.step_down(core);
        }
        self.invited = Some((from, session));
        self.attach(core);
    }

    /// The home sends what this node lacks, and will send what is committed.
    pub(crate) fn on_sync(&mut self, core: &mut Core, from: NodeId, session: Session, sync: &Sync<'_>) {
        self.answered_by(core, from);
        if sync.term < self.promised && !core.lacks(super::Fault::AcceptOlder) {
            self.refuse(core, from);
            return;
        }
        if !matches!(self.role, Role::Follower) {
            self.invited = None;
            return;
        }
        self.promise(sync.term);
        let mut received = sync.received(core.now);
        received.commit = sync.entries.end();
        if !self.take_log(core, from, session, sync, received) {
            return;
        }
        // A settled home has spoken: what was acknowledged is held by others.
        self.is_kept = false;
        self.invited = None;
        self.upstream = Some(Upstream { peer: from, session, term: sync.term, copy: None });
        self.place_audience(core);
        self.touch(core);
    }

    /// Takes a log that a home has sent, or the first part of it. If that was meant for somebody who has less than this node has by now, it
    /// is not taken, and the home told what there is.
    pub(crate) fn take_log(
        &mut self,
        core: &mut Core,
        from: NodeId,
        session: Session,
        sync: &Sync<'_>,
        mut received: Received,
    ) -> bool {
        let end = sync.entries.end();
        let is_attached =
            self.upstream.as_ref().is_some_and(|upstream| upstream.is(core, from, session, sync.term));
        received.is_prefix = is_attached;
        self.forget_questions();
        self.upstream = None;
        let common = self.history.chain.common(self.history.top(), &sync.chain, end);
        let history = &self.history;
        let lies_within = common == Some(end) && history.floor() <= end && end < history.top();
        let is_stale = end < sync.end && lies_within && !is_attached;
        if is_stale || self.merge(core, received).is_err() {
            self.attach_again(core, from, session);
            return false;
        }
        true
    }

    /// Committed messages.
    pub(crate) fn on_entries(
        &mut self,
        core: &mut Core,
        from: NodeId,
        session: Session,
        frame: &Entries<'_>,
    ) -> Result<(), Malformed> {
        let entries = &frame.entries;
        let Some(upstream) = &self.upstream else { return Ok(()) };
        if !upstream.is(core, from, session, frame.term) || upstream.is_replica() {
            return Ok(());
        }
        if frame.term < self.promised {
            self.upstream = None;
            self.refuse(core, from);
        } else if core.lacks(super::Fault::JumpHoles) && entries.first > self.history.top() + 1 {
            self.jump_to(core, frame);
        } else if self.history.append_all(entries, entries.end(), core.now)? {
            // That they are committed is all that a home sends a follower them for.
        } else {
            self.upstream = None;
            self.forget_questions();
            self.attach_after = core.now;
        }
        self.touch(core);
        Ok(())
    }

    /// The fault of a follower that goes on over a hole.
    fn jump_to(&mut self, core: &Core, frame: &Entries<'_>) {
        self.history.ring.reset(frame.entries.first - 1);
        self.history.commit = frame.entries.first - 1;
        let jumped = self.history.append_all(&frame.entries, frame.entries.end(), core.now);
        if let Some(at) = &mut self.audience.delivered
            && jumped.is_ok()
        {
            *at = self.history.chain.position(self.history.commit).expect("there are messages");
        }
        self.history.commit = self.history.top();
    }

    /// A follower of this home wants no more.
    pub(crate) fn on_unfollow(&mut self, core: &mut Core, from: NodeId) {
        if let Role::Home(home) = &mut self.role {
            home.detach(from);
            // It still has the log for a while.
            self.used = core.now;
            self.touch(core);
        }
    }

    /// The home sends no more, or can't answer now.
    pub(crate) fn on_detach(&mut self, core: &mut Core, from: NodeId) {
        if self.invited.is_some_and(|(home, _)| home == from) {
            self.invited = None;
        }
        if self.upstream.as_ref().is_some_and(|upstream| upstream.peer == from) {
            self.upstream = None;
            self.forget_questions();
            self.attach_after = core.now;
        } else if matches!(self.slot, Slot::Open(to, _) if to == from) {
            self.attach_after = core.now + Config::RETRY_MS;
        }
        self.answered_by(core, from);
        if let Some(unacked) = &mut self.unacked {
            unacked.lost(from);
        }
        self.touch(core);
    }
}
