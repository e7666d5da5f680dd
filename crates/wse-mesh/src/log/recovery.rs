//! Subscribers: each is answered once, from where on it gets everything, and with what it missed if that can be told.

use wse_core::history::Position;

use super::core::Core;
use super::frames::about_one::{Head, HeadQuery};
use super::output::Output;
use super::topic::{Role, Topic};
use crate::ids::NodeId;
use crate::wire::Kind;

/// Whether the home was asked about a position that is not in the log as far as it is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Open,
    Asked,
    No,
    /// It asks again then.
    Later(u64),
}

/// A subscriber that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) token: u64,
    position: Option<Position>,
    /// It waits no longer.
    until: u64,
    question: Question,
    /// What lies below the floor was asked for, and there is no more.
    is_gone: bool,
}

impl Waiting {
    pub(crate) fn deadline(&self) -> u64 {
        match self.question {
            Question::Later(at) => at.min(self.until),
            _ => self.until,
        }
    }
}

/// What can be said to a subscriber.
enum Verdict {
    /// It is gone on from its position.
    Recovered(Position),
    /// It is not, or it gave none.
    FromHere,
    /// Not yet.
    Wait,
    /// Not before the home was asked about its position.
    Ask(Position),
    /// Not before the home has sent what lies between this offset and the floor.
    Fetch(u64),
}

impl Topic {
    /// Somebody subscribes at this node.
    pub(crate) fn recover(&mut self, core: &mut Core, token: u64, position: Option<Position>) {
        let until = core.now + core.config.confirm_ms();
        self.audience.waiting.push(Waiting {
            token,
            position,
            until,
            question: Question::Open,
            is_gone: false,
        });
        self.touch(core);
    }

    /// Questions that went with an upstream are asked again of the next.
    pub(crate) fn forget_questions(&mut self) {
        self.fetching = None;
        for waiting in &mut self.audience.waiting {
            waiting.question = Question::Open;
            waiting.is_gone = false;
        }
    }

    /// The home has no more of what lies between an offset and the floor.
    pub(crate) fn nothing_below(&mut self, after: u64) {
        let missing = after..self.history.floor();
        for waiting in &mut self.audience.waiting {
            waiting.is_gone |= waiting.position.is_some_and(|position| missing.contains(&position.offset));
        }
    }

    /// Answers those who can be answered.
    pub(crate) fn serve(&mut self, core: &mut Core) {
        if self.audience.waiting.is_empty() || !self.is_ready() {
            return;
        }
        self.place_audience(core);
        self.deliver(core);
        for mut waiting in std::mem::take(&mut self.audience.waiting) {
            if matches!(waiting.question, Question::Later(at) if at <= core.now) {
                waiting.question = Question::Open;
            }
            match self.judge(core, &waiting) {
                Verdict::Recovered(position) => {
                    self.answer(core, waiting.token, Some(position));
                    continue;
                }
                Verdict::FromHere => {
                    self.answer(core, waiting.token, None);
                    continue;
                }
                Verdict::Wait => {}
                Verdict::Ask(position) => {
                    waiting.question = Question::Asked;
                    self.ask_about(core, position);
                }
                Verdict::Fetch(after) => {
                    if let Some(home) = self.upstream.as_ref().map(|upstream| upstream.peer) {
                        self.fetch_below(core, home, after);
                    }
                }
            }
            self.audience.waiting.push(waiting);
        }
    }

    fn judge(&self, core: &Core, waiting: &Waiting) -> Verdict {
        let Some(position) = waiting.position else { return Verdict::FromHere };
        let history = &self.history;
        let ignores_floor = core.lacks(super::Fault::IgnoreFloor) && position.offset <= history.commit;
        let by_offset = core.lacks(super::Fault::IgnoreEpoch) && position.offset <= history.commit;
        if ignores_floor && history.contains(position) {
            return Verdict::Recovered(position);
        }
        if history.contains(position) || by_offset {
            if position.offset > history.commit {
                return Verdict::Wait;
            }
            return match (history.floor() <= position.offset, &self.role) {
                (true, _) => Verdict::Recovered(position),
                (false, Role::Home(_)) => Verdict::FromHere,
                (false, _) if waiting.is_gone => Verdict::FromHere,
                (false, _) => Verdict::Fetch(position.offset),
            };
        }
        match (&self.role, waiting.question) {
            (Role::Home(_), _) | (_, Question::No) => Verdict::FromHere,
            (_, Question::Open) => Verdict::Ask(position),
            _ => Verdict::Wait,
        }
    }

    fn ask_about(&self, core: &mut Core, position: Position) {
        let Some(upstream) = &self.upstream else { return };
        // Many who come back from one node ask the same.
        let is_asked = self
            .audience
            .waiting
            .iter()
            .any(|other| other.position == Some(position) && other.question == Question::Asked);
        if !is_asked {
            let query = HeadQuery { term: upstream.term, position };
            core.send_new(upstream.peer, Kind::LogHeadQuery, &self.name, |out| query.encode(out));
        }
    }

    /// The home knows a position or does not.
    pub(crate) fn on_head_reply(&mut self, core: &mut Core, from: NodeId, query: &HeadQuery, head: Head) {
        let is_mine = |up: &super::replica::Upstream| up.peer == from && up.term == query.term;
        if !self.upstream.as_ref().is_some_and(is_mine) {
            return;
        }
        let later = core.now + 100;
        for waiting in &mut self.audience.waiting {
            if waiting.position == Some(query.position) && waiting.question == Question::Asked {
                waiting.question = match head {
                    Head::No => Question::No,
                    Head::Yes => Question::Open,
                    Head::Later => Question::Later(later),
                };
            }
        }
        self.touch(core);
    }

    /// Answers a subscriber: it is one of the audience from here on.
    fn answer(&mut self, core: &mut Core, token: u64, from: Option<Position>) {
        let at = self.audience.delivered.expect("the stream has a place before anybody is answered");
        let floor = self.history.floor();
        let replay = from.map_or_else(Vec::new, |from| self.history.runs(from.offset.max(floor), at.offset));
        self.audience.is_there = true;
        core.outputs.push_back(Output::Answer {
            topic: self.name.clone(),
            token,
            confirmed: true,
            recovered: from.is_some(),
            position: Some(at),
            replay,
        });
    }

    /// Who has waited too long is told so.
    pub(crate) fn time_out_waiting(&mut self, core: &mut Core) {
        let (mut answers, now) = (Vec::new(), core.now);
        self.audience.waiting.retain(|waiting| {
            let is_over = waiting.until <= now;
            answers.extend(is_over.then_some(waiting.token));
            !is_over
        });
        for token in answers {
            self.audience.is_there = true;
            self.audience.adrift |= self.audience.delivered.is_none();
            core.counters.unconfirmed += 1;
            core.outputs.push_back(Output::Answer {
                topic: self.name.clone(),
                token,
                confirmed: false,
                recovered: false,
                position: self.audience.delivered,
                replay: Vec::new(),
            });
        }
    }
}
