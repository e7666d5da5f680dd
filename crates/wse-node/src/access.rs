//! Access lists of live connections.

use serde_json::{Map, json};
use wse_core::ConnId;
use wse_core::acl::Acl;
use wse_core::protocol::codes::ErrorCode;
use wse_core::protocol::words;
use wse_core::websocket::Opcode;

use crate::inbox::{Entry, Message};
use crate::log::limited;
use crate::people::Narrowed;
use crate::shared::Shared;

/// How many ended subscriptions a client is told by name; of more it gets the number.
const NAMED: usize = 16;

impl Shared {
    /// What a token's `wse_topics` claim comes to; a malformed one allows nothing.
    pub(crate) fn acl_of_claim(&self, claim: Option<&str>) -> Option<Acl> {
        let malformed = |error: wse_core::acl::Malformed| {
            let reason = error.0;
            limited!(
                warn,
                self.clock,
                reason,
                "a wse_topics claim is malformed: its owner may hear no topic"
            );
            Acl::nothing()
        };
        claim.map(|claim| Acl::from_claim(claim).unwrap_or_else(malformed))
    }

    /// Gives a connection an access list, or takes it away; returns the topics and patterns that it no longer has, sorted.
    ///
    /// What is published after this returned reaches the connection only if the list allows it. A pattern that stays misses nothing.
    pub(crate) fn set_acl(&self, conn: ConnId, acl: Option<Acl>) -> Vec<String> {
        let index = usize::from(conn.shard);
        let Some(shard) = self.shards.get(index) else { return Vec::new() };
        // All of it under the lock of the person, as for a subscription.
        let ended = shard.people.set_acl(conn, acl, |person, acl| {
            let Narrowed { mut ended, moved } = person.obey(&self.topics, acl, index);
            if ended.is_empty() && moved.is_empty() {
                return Vec::new();
            }
            ended.sort_unstable();
            let notice = (!ended.is_empty()).then(|| self.not_allowed(&ended));
            let _ = shard.inbox.put_now(|state| {
                for (old, new) in &moved {
                    state.entries.push(Entry::Subscribe { conn, channel: *new });
                    state.entries.push(Entry::Unsubscribe { conn, channel: old.id });
                }
                let left = ended.iter().map(|(_, channel)| Entry::Unsubscribe { conn, channel: *channel });
                state.entries.extend(left);
                if let Some(text) = &notice {
                    state.send(conn, Message { opcode: Opcode::Text, head: &[], tail: text.as_bytes() });
                }
            });
            for (old, _) in moved {
                self.topics.unsubscribe(&old, index, person.wire);
            }
            self.exit_all_presence(conn, person, ended.iter().map(|(name, _)| name.as_str()));
            ended.into_iter().map(|(name, _)| name).collect()
        });
        ended.unwrap_or_default()
    }

    fn not_allowed(&self, ended: &[(String, u64)]) -> String {
        let named: Vec<&str> = ended.iter().take(NAMED).map(|(name, _)| name.as_str()).collect();
        let more = Map::from_iter([("topics".into(), json!(named)), ("count".into(), json!(ended.len()))]);
        let message = "the access list has changed: subscriptions that it does not allow have ended";
        words::error_with(ErrorCode::NotAllowed, message, self.clock.unix_ms(), &more)
    }
}
