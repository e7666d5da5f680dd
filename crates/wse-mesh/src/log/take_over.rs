//! Becoming home: every member that may have a memory is asked for its log, the best one is adopted, and what is kept of it anywhere is fetched.

use std::cmp::Reverse;

use super::config::Config;
use super::core::Core;
use super::frames::about_many::{Reply, TopicTerm};
use super::frames::about_one::{Fetch, Fetched};
use super::history::{Outline, Received};
use super::home::Home;
use super::last::Last;
use super::ring::Entry;
use super::term::Term;
use super::topic::{Role, Slot, Topic};
use crate::ids::NodeId;
use crate::view::Standing;

/// The log of a member that was asked.
#[derive(Debug)]
struct Answer {
    from: NodeId,
    outline: Outline,
    commit: u64,
    last: Last,
}

/// Messages that are fetched from one who has them, the last ones first.
#[derive(Debug)]
pub(crate) struct Pull {
    from: NodeId,
    fetch: Fetch,
    /// It is the end of a better log, of which this has come; else what lies below the floor.
    tail: Option<Vec<Entry>>,
}

/// What a node holds of a topic while it becomes its home.
#[derive(Debug)]
pub(crate) struct Taking {
    pub(crate) term: Term,
    /// Those that were asked on links that stand, or have answered.
    asked: Vec<NodeId>,
    answers: Vec<Answer>,
    pub(crate) pull: Option<Pull>,
    /// The ring takes no more below its floor.
    is_full: bool,
    pub(crate) deadline: u64,
}

impl Taking {
    pub(crate) fn lost(&mut self, peer: NodeId) {
        if !self.has_answered(peer) {
            self.asked.retain(|asked| *asked != peer);
        }
        if self.pull.as_ref().is_some_and(|pull| pull.from == peer) {
            self.pull = None;
        }
    }

    fn has_answered(&self, peer: NodeId) -> bool {
        self.answers.iter().any(|answer| answer.from == peer)
    }

    /// The best log of the others.
    fn best(&self) -> Option<&Answer> {
        let logs = self.answers.iter().filter(|answer| !answer.outline.chain.is_empty());
        logs.max_by_key(|answer| (answer.outline.lead(), Reverse(answer.outline.floor), answer.from))
    }
}

impl Topic {
    /// Whether there is anything to be home of.
    fn has_reason(&self) -> bool {
        !self.history.chain.is_empty()
            || self.is_wanted()
            || self.unacked.is_some()
            || !self.askers.is_empty()
    }

    /// Whether this node is the best by its own view, and nothing but time keeps it from taking over.
    pub(crate) fn may_take_over(&self, core: &Core) -> bool {
        let is_free = matches!(self.role, Role::Follower) && !core.joining;
        self.home == core.me && is_free && self.has_reason()
    }

    pub(crate) fn take_over_if_due(&mut self, core: &mut Core) {
        if core.now < self.rest_until || !self.may_take_over(core) {
            return;
        }
        self.free_slot(core);
        self.forget_questions();
        self.upstream = None;
        self.invited = None;
        self.promised = self.promised.next(core.me);
        let term = self.promised;
        let (asked, answers) = (Vec::new(), Vec::new());
        let taking = Taking { term, asked, answers, pull: None, is_full: false, deadline: 0 };
        self.role = Role::Taking(Box::new(taking));
        self.ask_and_check(core);
    }

    /// Asks those who were not asked, and sees whether all have answered.
    pub(crate) fn ask_and_check(&mut self, core: &mut Core) {
        if self.home != core.me {
            self.give_up(core, 0);
            return;
        }
        let Role::Taking(taking) = &mut self.role else { return };
        taking.deadline = core.now + Config::RETRY_MS;
        // A log that died with its memory can't be adopted any more; if that was not true, its node is asked again.
        let is_there = |id: NodeId| core.peer(id).is_some_and(|peer| peer.standing != Standing::Dead);
        taking.answers.retain(|answer| is_there(answer.from));
        taking.asked.retain(|asked| is_there(*asked));
        let not_asked = |id: &NodeId| !taking.asked.contains(id);
        let linked = core.not_dead().filter(|peer| peer.session.is_some()).map(|peer| peer.id);
        let to_ask: Vec<NodeId> = linked.filter(not_asked).collect();
        for to in to_ask {
            taking.asked.push(to);
            let item = TopicTerm { topic: &self.name, term: taking.term };
            core.send_query(to, self.at, taking.term, |out| item.encode(out));
        }
        self.check_answers(core);
    }

    fn give_up(&mut self, core: &mut Core, rest_until: u64) {
        if matches!(self.role, Role::Taking(_)) {
            self.role = Role::Follower;
            self.rest_until = self.rest_until.max(rest_until);
            self.free_slot(core);
            self.touch(core);
        }
    }

    /// Another wants to be home.
    pub(crate) fn on_query(&mut self, core: &mut Core, from: NodeId, term: Term) -> Reply {
        if self.home != from || term < self.promised {
            return Reply::Refused { promised: self.promised };
        }
        self.promise(term);
        match self.role {
            Role::Home(_) if core.lacks(super::Fault::StayHome) => {}
            Role::Home(_) => self.step_down(core),
            Role::Taking(_) => self.give_up(core, 0),
            Role::Follower => {}
        }
        if matches!(self.role, Role::Follower) {
            // A log is kept for the new home until that has settled.
            self.is_kept |= self.upstream.take().is_some_and(|upstream| upstream.is_replica());
            self.invited = None;
            self.forget_questions();
            self.attach_after = core.now + Config::RETRY_MS;
            self.touch(core);
        }
        if self.history.chain.is_empty() {
            return Reply::Nothing;
        }
        Reply::Log {
            outline: self.history.outline(),
            commit: self.history.commit,
            last: self.history.last.clone(),
        }
    }

    /// A member answers.
    pub(crate) fn on_reply(&mut self, core: &mut Core, from: NodeId, term: Term, reply: Reply) {
        let of_this_term = matches!(&self.role, Role::Taking(taking) if taking.term == term);
        let (outline, commit, last) = match reply {
            Reply::Refused { promised } => {
                self.promise(promised);
                if of_this_term {
                    // At first it may only not have noticed yet that the home is gone.
                    let least_ms = (Config::FIRST_REST_MS << self.refusals.min(8)).min(300);
                    self.refusals = self.refusals.saturating_add(1);
                    let rest_until = core.soon(least_ms, 5 * least_ms);
                    self.give_up(core, rest_until);
                }
                return;
            }
            // Whoever agrees has promised this term, and has no log of a later one.
            Reply::Log { outline, .. } if outline.lead().term >= Some(term) => return,
            Reply::Nothing => (Outline::default(), 0, Last::default()),
            Reply::Log { outline, commit, last } => (outline, commit, last),
        };
        if let Role::Taking(taking) = &mut self.role
            && of_this_term
        {
            taking.answers.retain(|answer| answer.from != from);
            taking.answers.push(Answer { from, outline, commit, last });
            self.check_answers(core);
        }
    }

    /// Adopts the best log once all have answered.
    fn check_answers(&mut self, core: &mut Core) {
        let Role::Taking(taking) = &self.role else { return };
        if taking.pull.is_some() {
            return;
        }
        let alone = core.lacks(super::Fault::TakeWithoutAsking);
        let ignore = |has_link: bool| alone || (core.lacks(super::Fault::IgnoreSuspects) && !has_link);
        let all_have =
            core.not_dead().all(|peer| taking.has_answered(peer.id) || ignore(peer.session.is_some()));
        if all_have && !self.adopt_better(core) && !self.fill_below(core) {
            self.become_home(core);
        }
    }

    /// Adopts the best log of the others if it is better; answers whether its messages are fetched first.
    fn adopt_better(&mut self, core: &mut Core) -> bool {
        let Role::Taking(taking) = &self.role else { return false };
        let Some(best) = taking.best() else { return false };
        let (history, outline) = (&self.history, &best.outline);
        if outline.lead() <= history.lead() {
            return false;
        }
        let common = history.chain.common(history.top(), &outline.chain, outline.top);
        let common = common.filter(|common| *common >= history.floor() && *common >= outline.floor);
        let after = common.unwrap_or(outline.floor);
        if after < outline.top {
            let fetch = Fetch { after, upto: outline.top };
            let pull = Pull { from: best.from, fetch, tail: Some(Vec::new()) };
            self.pull(core, pull);
            return true;
        }
        self.adopt(core, Vec::new());
        false
    }

    /// Becomes the best log of the others, of which these messages have come: its last ones.
    fn adopt(&mut self, core: &mut Core, entries: Vec<Entry>) {
        let Role::Taking(taking) = &self.role else { return };
        let best = taking.best().expect("it was asked for");
        let received = Received {
            chain: best.outline.chain.clone(),
            from: best.outline.top - entries.len() as u64,
            entries,
            commit: best.commit,
            last: best.last.clone(),
            fresh: true,
            is_prefix: false,
        };
        self.merge(core, received).expect("a whole log need not connect");
    }

    /// Fetches what lies below the floor from one who has it; answers whether somebody has.
    fn fill_below(&mut self, core: &mut Core) -> bool {
        let Role::Taking(taking) = &self.role else { return false };
        let (history, floor) = (&self.history, self.history.floor());
        let has_more = |answer: &&Answer| {
            let outline = &answer.outline;
            let at = outline.chain.position(floor).filter(|_| outline.floor < floor && floor <= outline.top);
            at.is_some_and(|at| history.contains(at))
        };
        let richest = taking.answers.iter().filter(has_more).min_by_key(|answer| answer.outline.floor);
        match richest {
            Some(answer) if !taking.is_full => {
                let fetch = Fetch { after: answer.outline.floor, upto: floor };
                let pull = Pull { from: answer.from, fetch, tail: None };
                self.pull(core, pull);
                true
            }
            _ => false,
        }
    }

    fn pull(&mut self, core: &mut Core, pull: Pull) {
        let to = pull.from;
        let Role::Taking(taking) = &mut self.role else { return };
        if core.session(to).is_none() {
            // It is asked when its link returns, or its log is not to be had any more.
            return;
        }
        taking.pull = Some(pull);
        self.take_slot(core, to);
    }

    /// The turn has come to ask for the messages.
    pub(crate) fn send_pull(&mut self, core: &mut Core) {
        let Role::Taking(taking) = &self.role else { return };
        let Some(pull) = &taking.pull else { return };
        let (to, fetch) = (pull.from, pull.fetch);
        self.send_fetch(core, to, fetch);
    }

    /// Messages have come while this node becomes home.
    pub(crate) fn on_pulled(&mut self, core: &mut Core, from: NodeId, fetched: &Fetched<'_>) {
        let now = core.now;
        let Role::Taking(taking) = &mut self.role else { return };
        let Some(mut pull) = taking.pull.take_if(|pull| pull.from == from && pull.fetch == fetched.fetch)
        else {
            return;
        };
        let best = taking.best().filter(|best| best.from == from);
        let chain = match (&pull.tail, best) {
            (None, _) => &self.history.chain,
            (Some(_), Some(best)) => &best.outline.chain,
            (Some(_), None) => {
                // A better log has turned up meanwhile, or this one has gone.
                self.free_slot(core);
                self.check_answers(core);
                return;
            }
        };
        if !fetched.is_on(chain) {
            // What was asked has changed its log since it answered: it follows a later term.
            let rest_until = core.soon(300, 1500);
            self.give_up(core, rest_until);
            return;
        }
        let came = fetched.entries.to_entries(now);
        let more = fetched.more;
        let next = Fetch { after: pull.fetch.after, upto: fetched.entries.first - 1 };
        if let Some(tail) = &mut pull.tail {
            tail.splice(0..0, came);
            if more && next.after < next.upto {
                pull.fetch = next;
                taking.pull = Some(pull);
                self.slot = Slot::Open(from, now + Config::ANSWER_MS);
                self.send_pull(core);
                return;
            }
            self.free_slot(core);
            self.adopt(core, pull.tail.unwrap_or_default());
        } else {
            let answer = taking.answers.iter_mut().find(|answer| answer.from == from);
            if !more && let Some(answer) = answer {
                answer.outline.floor = answer.outline.floor.max(next.upto);
            }
            // What has become too old meanwhile is not asked for again.
            let connects = pull.fetch.upto == self.history.floor();
            taking.is_full |= !connects || !self.history.prepend(came, now, &core.config.limits);
            self.free_slot(core);
        }
        self.check_answers(core);
    }

    fn become_home(&mut self, core: &mut Core) {
        let Role::Taking(taking) = &self.role else { return };
        let term = taking.term;
        if core.lacks(super::Fault::ForgetPublishers) {
            self.history.last = Last::default();
        }
        let mut mine = None;
        if self.history.chain.is_empty() {
            // A log that begins from nothing ranks below any that was ever handed on.
            let epoch = core.mint(&self.history.chain);
            let first_term = if core.lacks(super::Fault::FirstSegmentRanks) { term } else { Term::ZERO };
            self.history.begin(first_term, epoch);
            mine = Some(epoch);
        }
        self.free_slot(core);
        let mut home = Home::new(term, &self.history, mine);
        home.settled = core.lacks(super::Fault::AnswerUnsettled);
        self.role = Role::Home(Box::new(home));
        core.counters.taken += 1;
        self.refusals = 0;
        // What waits for nothing but a home need not wait for it to settle.
        if let Some(unacked) = &mut self.unacked {
            unacked.send_again();
        }
        self.place_audience(core);
        self.choose(core);
        self.touch(core);
    }

    /// The home offers the topic to this node.
    pub(crate) fn on_offer(&mut self, core: &mut Core, from: NodeId, term: Term) {
        self.promise(term);
        self.remember_asker(from);
        if self.home == core.me {
            if self.is_home() && core.peers.iter().any(|peer| peer.session.is_some()) {
                self.step_down(core);
            }
            self.rest_until = 0;
        } else if !self.is_home() {
            self.askers.retain(|asker| *asker != from);
        }
        self.touch(core);
    }
}
