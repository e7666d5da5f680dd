//! A stand-in for the machine of members: who knows whom, who is linked, heard, suspect, dead or leaving, moved by the world.

use std::collections::BTreeMap;

use wse_mesh::ids::{Incarnation, NodeId, Session};
use wse_mesh::view::{Member, Standing, View, acquaint_ms};

use crate::world::DEAD_AFTER_MS;

/// How old a node is that is nobody's newcomer.
const ACQUAINT_MS: u64 = acquaint_ms(DEAD_AFTER_MS);

/// What a node holds of another.
#[derive(Clone, Debug)]
pub struct Known {
    /// Where it runs.
    pub place: usize,
    /// What it counts as.
    pub standing: Standing,
    /// It said that it leaves.
    pub is_leaving: bool,
    /// It said that it is one of a cluster.
    pub is_established: bool,
    /// It said so when it first met this node.
    pub is_elder: Option<bool>,
    /// The link to it.
    pub session: Option<Session>,
    /// When it was heard last.
    pub heard_ms: u64,
}

/// What one node knows of the others.
#[derive(Clone, Debug)]
pub struct Members {
    me: NodeId,
    place: usize,
    /// When it started.
    pub born_ms: u64,
    /// It leaves.
    pub is_leaving: bool,
    /// It has seeds to look for.
    pub has_seeds: bool,
    /// The others.
    pub known: BTreeMap<NodeId, Known>,
}

impl Members {
    /// A node that knows nobody.
    #[must_use]
    pub fn new(me: NodeId, place: usize, now_ms: u64, has_seeds: bool) -> Self {
        Self { me, place, born_ms: now_ms, is_leaving: false, has_seeds, known: BTreeMap::new() }
    }

    /// A link to another stands, and the other has told whom it knows.
    pub fn hello(
        &mut self,
        id: NodeId,
        place: usize,
        (is_leaving, is_established): (bool, bool),
        session: Session,
        gossip: &[(NodeId, usize)],
        now_ms: u64,
    ) {
        // Who listens at a place now proves that who listened there before is gone.
        for known in self.known.values_mut().filter(|known| known.place == place) {
            known.standing = Standing::Dead;
            known.session = None;
        }
        let (standing, session) = (Standing::Alive, Some(session));
        let before = self.known.get(&id).and_then(|known| known.is_elder);
        let is_elder = before.or(Some(is_established));
        let known =
            Known { place, standing, is_leaving, is_established, is_elder, session, heard_ms: now_ms };
        self.known.insert(id, known);
        for &(other, place) in gossip {
            self.learn(other, place, now_ms);
        }
    }

    /// Somebody else has met another.
    pub fn learn(&mut self, other: NodeId, place: usize, now_ms: u64) {
        // Who is said to be where this node is was here before it.
        let newer = self.known.values().any(|known| known.place == place && known.session.is_some());
        if place != self.place && !self.known.contains_key(&other) && !newer {
            let standing = Standing::Suspect;
            let known = Known {
                place,
                standing,
                is_leaving: false,
                is_established: false,
                is_elder: None,
                session: None,
                heard_ms: now_ms,
            };
            self.known.insert(other, known);
        }
    }

    /// Whom it would tell others of.
    #[must_use]
    pub fn gossip(&self) -> Vec<(NodeId, usize)> {
        let alive = self.known.iter().filter(|(_, known)| known.standing != Standing::Dead);
        alive.map(|(id, known)| (*id, known.place)).collect()
    }

    /// A link is gone, if it was this one.
    pub fn down(&mut self, id: NodeId, session: Session) -> bool {
        match self.known.get_mut(&id) {
            Some(known) if known.session == Some(session) => {
                known.session = None;
                if known.standing == Standing::Alive {
                    known.standing = Standing::Suspect;
                }
                true
            }
            _ => false,
        }
    }

    /// Another counts as dead.
    pub fn bury(&mut self, id: NodeId) {
        if let Some(known) = self.known.get_mut(&id) {
            known.standing = Standing::Dead;
        }
    }

    /// The link to another.
    #[must_use]
    pub fn session(&self, id: NodeId) -> Option<Session> {
        self.known.get(&id)?.session
    }

    fn is_joining(&self, now_ms: u64) -> bool {
        let is_linked = self.known.values().any(|known| known.session.is_some());
        self.has_seeds && !is_linked && now_ms < self.born_ms + 5000
    }

    /// Whether it is one of a cluster.
    #[must_use]
    pub fn is_established(&self, now_ms: u64) -> bool {
        let is_among = || self.known.values().any(|known| known.is_established && known.session.is_some());
        !self.is_joining(now_ms) && (now_ms >= self.born_ms + ACQUAINT_MS || is_among())
    }

    /// What the other machines go by.
    #[must_use]
    pub fn view(&self, now_ms: u64) -> View {
        let member = |(id, known): (&NodeId, &Known)| Member {
            id: *id,
            incarnation: Incarnation(0),
            standing: known.standing,
            leaving: known.is_leaving,
            elder: known.is_elder == Some(true),
            session: known.session,
        };
        View {
            me: self.me,
            leaving: self.is_leaving,
            joining: self.is_joining(now_ms),
            established: self.is_established(now_ms),
            members: self.known.iter().map(member).collect(),
        }
    }
}
