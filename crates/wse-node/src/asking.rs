//! Topics of which the application decides, one by one, whether a client may have them.
//!
//! A command that names a topic nobody has decided about stays in its socket; the application is asked, and when it has answered the command is
//! looked at again. So whoever subscribes or publishes is answered in the order of its commands, and one client has one question open at most.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use wse_core::ConnId;
use wse_core::acl::{Admission, admission};
use wse_core::topic::Filter;

use crate::inbox::Entry;
use crate::people::People;
use crate::shared::Shared;

/// What a client wants with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Hear it.
    Subscribe,
    /// Publish to it.
    Publish,
}

impl Action {
    /// As the application is told, and tells.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
        }
    }

    /// The action of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Subscribe, Self::Publish].into_iter().find(|action| action.name() == name)
    }
}

/// What the application says of a topic: a refusal comes with its reason.
pub type Decision = Result<(), String>;

/// Decisions kept for one connection; with more they are asked for again.
const KEPT: usize = 2048;

/// The decisions about the topics of one connection.
#[derive(Debug, Default)]
pub(crate) struct Decisions(HashMap<(Action, Box<str>), Decision, FixedState>);

impl Decisions {
    fn add(&mut self, action: Action, decisions: Vec<(String, Decision)>) {
        if self.0.len() + decisions.len() > KEPT {
            self.0.clear();
        }
        self.0.extend(decisions.into_iter().map(|(topic, decision)| ((action, topic.into()), decision)));
    }

    fn of(&self, action: Action, topic: &str) -> Option<&Decision> {
        // A key is made for the look: hashbrown can't borrow half of one.
        self.0.get(&(action, topic.into()))
    }
}

impl People {
    /// The topics about which somebody has to decide; those that the access list refuses anyway are not asked for.
    pub(crate) fn undecided(&self, conn: ConnId, action: Action, filters: &[Filter<'_>]) -> Vec<String> {
        let asked = self.with_decisions(conn, |decisions, acl| {
            let is_open = |filter: &&Filter<'_>| {
                admission(acl, **filter) != Admission::Nothing
                    && decisions.of(action, filter.as_str()).is_none()
            };
            filters.iter().filter(is_open).map(|filter| filter.as_str().to_owned()).collect()
        });
        asked.unwrap_or_default()
    }

    /// Why a topic is refused, if it is.
    pub(crate) fn refusal(&self, conn: ConnId, action: Action, topic: &str) -> Option<String> {
        self.with_decisions(conn, |decisions, _| decisions.of(action, topic).cloned())??.err()
    }

    /// Forgets what was decided about subscriptions: each is asked for anew.
    pub(crate) fn forget_subscriptions(&self, conn: ConnId) {
        self.with_decisions(conn, |decisions, _| {
            decisions.0.retain(|(action, _), _| *action != Action::Subscribe);
        });
    }

    /// Forgets every decision about a connection.
    pub(crate) fn forget_decisions(&self, conn: ConnId) {
        self.with_decisions(conn, |decisions, _| decisions.0.clear());
    }
}

impl Shared {
    /// Takes the application's word about topics of a client, whose command then goes on.
    pub(crate) fn decide(&self, conn: ConnId, action: Action, decisions: Vec<(String, Decision)>) {
        let Some(shard) = self.shards.get(usize::from(conn.shard)) else { return };
        shard.people.with_decisions(conn, |all, _| all.add(action, decisions));
        let _ = shard.inbox.put_now(|state| state.entries.push(Entry::Decided(conn)));
    }

    /// From here on nothing more is read of a client, or again.
    pub(crate) fn hold_reading(&self, conn: ConnId, holds: bool) {
        if let Some(shard) = self.shards.get(usize::from(conn.shard)) {
            let _ = shard.inbox.put_now(|state| state.entries.push(Entry::Hold { conn, holds }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_do_not_grow_beyond_what_is_kept() {
        let mut decisions = Decisions::default();
        for number in 0..3 * KEPT {
            decisions.add(Action::Publish, vec![(number.to_string(), Ok(()))]);
            assert!(decisions.0.len() <= KEPT);
            assert_eq!(decisions.of(Action::Publish, &number.to_string()), Some(&Ok(())));
        }
    }

    #[test]
    fn each_action_is_decided_by_itself() {
        let mut decisions = Decisions::default();
        decisions.add(Action::Subscribe, vec![("t".into(), Err("no".into()))]);
        assert_eq!(decisions.of(Action::Publish, "t"), None);
        assert_eq!(decisions.of(Action::Subscribe, "t"), Some(&Err("no".into())));
        assert_eq!(Action::named("publish"), Some(Action::Publish));
        assert_eq!(Action::named("write"), None);
    }
}
