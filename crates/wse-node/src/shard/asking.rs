//! What a client may have is asked of the application, where that wants to be asked.

use serde_json::json;
use wse_core::topic::Filter;
use wse_core::websocket::Flow;

use super::Shard;
use super::conn::Pause;
use super::read::Inlet;
use crate::asking::Action;
use crate::events::EventKind;

impl Inlet<'_> {
    /// Asks the application about topics that it has not decided about. Until it has, the command is not taken from the socket.
    pub(super) fn ask(&mut self, action: Action, filters: &[Filter<'_>]) -> Flow {
        if !self.shared.events.asks() {
            return Flow::Continue;
        }
        let people = &self.shared.shards[usize::from(self.id.shard)].people;
        let topics = people.undecided(self.id, action, filters);
        if topics.is_empty() {
            return Flow::Continue;
        }
        let question = json!({"action": action.name(), "topics": topics}).to_string();
        if self.shared.events.reserve(1, question.len()) {
            self.batch.push(EventKind::Authorize, self.id, question.as_bytes());
            self.asked = true;
        }
        Flow::Pause
    }

    /// Why the application refuses a topic, if it does.
    pub(super) fn refusal(&self, action: Action, topic: &str) -> Option<String> {
        let people = &self.shared.shards[usize::from(self.id.shard)].people;
        self.shared.events.asks().then(|| people.refusal(self.id, action, topic))?
    }

    /// A subscription is asked for each time, so that nobody keeps what was allowed once.
    pub(super) fn forget_subscriptions(&self) {
        if self.shared.events.asks() {
            self.shared.shards[usize::from(self.id.shard)].people.forget_subscriptions(self.id);
        }
    }
}

impl Shard {
    /// The application has answered.
    pub(super) fn on_decided(&mut self, conn: wse_core::ConnId) {
        if self.slots.open(conn).is_some_and(|conn| conn.flags.paused.has(Pause::ASKED)) {
            self.go_on(conn.slot, Pause::ASKED);
        }
    }

    /// The application wants to hear nothing of a client for a while, or again.
    pub(super) fn on_hold(&mut self, conn: wse_core::ConnId, holds: bool) {
        let Some(open) = self.slots.open(conn) else { return };
        if holds {
            open.flags.paused.add(Pause::HELD);
        } else if open.flags.paused.has(Pause::HELD) {
            self.go_on(conn.slot, Pause::HELD);
        }
    }
}
