//! What requests do to connections, and how these are found.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use wse_core::ConnId;
use wse_core::acl::Acl;
use wse_core::http::Response;

use super::Step;
use crate::server::Server;
use crate::shared::Shared;

/// Places that are looked at in one step, with their lock held.
const PLACES: usize = 4096;
/// Connections to which something is done in one step.
const PER_STEP: usize = 64;

/// The open connections that somebody means, as far as they are found.
#[derive(Debug)]
pub(super) struct Finding {
    /// Whose connections are still looked for, and where to go on.
    user: Option<(String, usize, u32)>,
    found: Vec<ConnId>,
}

impl Finding {
    /// The connection with this id, if it is open here.
    pub(super) fn one(shared: &Shared, id: &str) -> Self {
        let conn = ConnId::parse(id, shared.run);
        let is_open = |conn: &ConnId| {
            let shard = shared.shards.get(usize::from(conn.shard));
            shard.is_some_and(|shard| shard.people.with(*conn, |_| ()).is_some())
        };
        Self { user: None, found: conn.filter(is_open).into_iter().collect() }
    }

    /// All of a user's.
    pub(super) fn of(user: String) -> Self {
        Self { user: Some((user, 0, 0)), found: Vec::new() }
    }

    /// Looks at some more; whether all are found.
    fn step(&mut self, shared: &Shared) -> bool {
        let Some((user, shard, from)) = &mut self.user else { return true };
        match shared.shards.get(*shard) {
            None => self.user = None,
            Some(of) => match of.people.find_user(*shard as u8, user, *from, PLACES, &mut self.found) {
                Some(next) => *from = next,
                None => (*shard, *from) = (*shard + 1, 0),
            },
        }
        self.user.is_none()
    }
}

/// Connections that are to be closed.
#[derive(Debug)]
pub(super) struct Closing {
    finding: Finding,
    code: u16,
    reason: String,
}

impl Closing {
    pub(super) fn new(finding: Finding, code: u16, reason: String) -> Self {
        Self { finding, code, reason }
    }

    pub(super) fn step(&mut self, shared: &Arc<Shared>) -> Step {
        if !self.finding.step(shared) {
            return Step::Soon;
        }
        let server = Server::new(shared.clone());
        for conn in &self.finding.found {
            server.disconnect(*conn, self.code, &self.reason);
        }
        Step::Done(Response::json(200, json!({ "closed": self.finding.found.len() }).to_string()))
    }
}

/// Connections that get another access list.
#[derive(Debug)]
pub(super) struct Narrowing {
    finding: Finding,
    acl: Option<Acl>,
    /// How many have it.
    done: usize,
    /// Which subscriptions have ended, by connection.
    ended: Map<String, Value>,
}

impl Narrowing {
    pub(super) fn new(finding: Finding, acl: Option<Acl>) -> Self {
        Self { finding, acl, done: 0, ended: Map::new() }
    }

    pub(super) fn step(&mut self, shared: &Shared) -> Step {
        if !self.finding.step(shared) {
            return Step::Soon;
        }
        for conn in self.finding.found.iter().skip(self.done).take(PER_STEP) {
            // Whoever loses a topic is present there no more, which is news.
            if !shared.has_presence_room([]) {
                return Step::Later;
            }
            let ended = shared.set_acl(*conn, self.acl.clone());
            self.ended.insert(text_of(*conn, shared), ended.into());
            self.done += 1;
        }
        if self.done < self.finding.found.len() {
            return Step::Soon;
        }
        let answer = json!({ "connections": self.done, "ended": std::mem::take(&mut self.ended) });
        Step::Done(Response::json(200, answer.to_string()))
    }
}

/// The id of a connection, as it is told.
pub(super) fn text_of(conn: ConnId, shared: &Shared) -> String {
    String::from_utf8_lossy(&conn.to_text(shared.run)).into_owned()
}
