//! A log that nobody needs any more: its home has the copies forgotten, then forgets it. So what a node holds does not grow with all topics
//! that there ever were.
//!
//! The order matters. A copy that outlived its home's would be adopted by whoever takes the topic over, and would outrank what was stored
//! meanwhile. So all who may have one agree first, on links that stand, and nobody is away who could bring one back.

use super::config::Config;
use super::core::Core;
use super::frames::about_many::TopicTerm;
use super::output::Output;
use super::replica::Upstream;
use super::term::Term;
use super::topic::{Role, Slot, Topic};
use crate::ids::{NodeId, Session};
use crate::view::Standing;
use crate::wire::Kind;

impl Topic {
    /// Whether this node is home of a log without messages that nobody is known to need.
    pub(crate) fn is_at_rest(&self, core: &Core) -> bool {
        let Role::Home(home) = &self.role else { return false };
        self.history.floor() == self.history.top()
            && self.history.commit == self.history.top()
            && home.settled
            && !home.has_followers()
            && self.is_used_by_nobody_here()
            && self.home == core.me
            && !core.leaving
            && !core.joining
            // Who is away may have a copy, or a publication that was stamped and is sent again.
            && (core.lacks(super::Fault::DiscardUnasked)
                || core.peers.iter().all(|peer| peer.standing == Standing::Alive && peer.session.is_some()))
    }

    fn is_used_by_nobody_here(&self) -> bool {
        !self.is_listened_to()
            && self.invited.is_none()
            && self.unacked.is_none()
            && self.askers.is_empty()
            && self.fetching.is_none()
            && self.slot == Slot::Free
    }

    /// Nobody has needed the log for long: its copies are to go. Answers whether there are none.
    pub(crate) fn discard(&mut self, core: &mut Core) -> bool {
        // It is not tried again before it has rested as long once more.
        self.used = core.now;
        let (targets, top) = (self.targets, self.history.top());
        let Role::Home(home) = &mut self.role else { return false };
        if core.lacks(super::Fault::DiscardUnasked) {
            return true;
        }
        home.is_held_by_just(targets.as_slice(), top, core) && self.discard_next(core)
    }

    /// Asks the next replica to forget its copy. Answers whether there is none.
    fn discard_next(&mut self, core: &mut Core) -> bool {
        let Role::Home(home) = &mut self.role else { return false };
        let Some(copy) = home.next_copy() else { return true };
        home.discarding = Some((copy, core.now + Config::ANSWER_MS));
        let item = TopicTerm { topic: &self.name, term: home.term };
        core.send_item(copy, Kind::LogDiscard, |out| item.encode(out));
        false
    }

    /// Something has happened while the copies were to go, or no answer came: they are wanted again.
    pub(crate) fn keep_copies(&mut self, core: &mut Core) {
        let Role::Home(home) = &self.role else { return };
        let Some((asked, until)) = home.discarding else { return };
        if core.now < until && self.is_at_rest(core) {
            return;
        }
        let Role::Home(home) = &mut self.role else { return };
        (home.discarding, home.wanted_by) = (None, Some(asked));
        self.choose(core);
    }

    /// The home asks to forget the copy. Answers whether that can be done.
    pub(crate) fn on_discard(&self, core: &Core, from: NodeId, session: Session, term: Term) -> bool {
        let is_its = |up: &Upstream| up.is(core, from, session, term) && up.is_replica();
        matches!(self.role, Role::Follower)
            && self.upstream.as_ref().is_some_and(is_its)
            && self.is_used_by_nobody_here()
    }

    /// A copy was forgotten. Answers whether it was the last, and the log is to go too.
    pub(crate) fn on_discarded(&mut self, core: &mut Core, from: NodeId, term: Term) -> bool {
        let is_at_rest = self.is_at_rest(core);
        let Role::Home(home) = &mut self.role else { return false };
        if home.term != term {
            return false;
        }
        home.lost(from);
        let was_asked = home.discarding.is_some();
        self.touch(core);
        if !was_asked || !is_at_rest {
            self.choose(core);
            return false;
        }
        self.discard_next(core)
    }

    /// The log goes.
    pub(crate) fn discarded(&self, core: &mut Core) {
        core.counters.discarded += 1;
        if let Some(upto) = self.history.chain.position(self.history.top()) {
            core.outputs.push_back(Output::Discarded { topic: self.name.clone(), upto });
        }
    }
}
