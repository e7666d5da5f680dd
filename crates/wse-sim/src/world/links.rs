//! Links between nodes: who gets one, how long frames take on it, who notices that it is gone or silent.

use std::collections::BTreeSet;

use wse_mesh::ids::{NodeId, Session};
use wse_mesh::view::Standing;

use super::{DEAD_AFTER_MS, Event, Said, World};
use crate::schedule::Class;
use crate::words::describe;

impl World {
    pub(super) fn link(&mut self, a: usize, b: usize) {
        let is_cut = self.blocked.contains(&(a, b)) || self.blocked.contains(&(b, a));
        if is_cut || self.nodes[a].is_none() || self.nodes[b].is_none() || a == b {
            return;
        }
        self.next_session += 1;
        let session = Session(self.next_session);
        let now = self.now;
        let told = [a, b].map(|place| {
            let node = self.nodes[place].as_ref().expect("just seen");
            let members = &node.members;
            (node.id, place, (members.is_leaving, members.is_established(now)), members.gossip())
        });
        self.note(|_| format!("## link {session:?} between {a} and {b}"));
        for (me, (id, place, state, gossip)) in [(a, &told[1]), (b, &told[0])] {
            let node = self.nodes[me].as_mut().expect("just seen");
            node.members.hello(*id, *place, *state, session, gossip, now);
        }
        self.view(a);
        self.view(b);
        for (me, (id, place, ..)) in [(a, &told[1]), (b, &told[0])] {
            for (to, session) in self.linked(me) {
                if to != *place {
                    self.send(me, to, session, Said::Met(*id, *place));
                }
            }
        }
    }

    /// Whom a node has links to.
    pub(super) fn linked(&self, place: usize) -> Vec<(usize, Session)> {
        let node = self.nodes[place].as_ref();
        let known = node.into_iter().flat_map(|node| node.members.known.values());
        known.filter_map(|known| Some((known.place, known.session?))).collect()
    }

    pub(super) fn send(&mut self, from: usize, to: usize, session: Session, said: Said) {
        let lasts = 1 + self.rng.within(0, self.shape.delay_ms);
        let last = self.in_order.entry((from, to, session)).or_default();
        let at = (self.now + lasts).max(*last);
        *last = at;
        self.at(at, Event::Frame { from, to, session, said });
    }

    pub(super) fn arrive(&mut self, from: usize, to: usize, session: Session, said: Said) {
        if !self.is_linked(from, to, session) || self.lost_with.contains(&(from, session)) {
            return;
        }
        if self.blocked.contains(&(from, to)) || self.held.contains_key(&(from, to)) {
            self.held.entry((from, to)).or_default().push_back((session, said));
        } else {
            self.hear(from, to, session, &said);
        }
    }

    pub(super) fn is_linked(&self, from: usize, to: usize, session: Session) -> bool {
        let node = self.nodes[to].as_ref();
        node.is_some_and(|node| {
            node.members.known.values().any(|known| known.place == from && known.session == Some(session))
        })
    }

    pub(super) fn hear(&mut self, from: usize, to: usize, session: Session, said: &Said) {
        let now = self.now;
        let Some(node) = &mut self.nodes[to] else { return };
        let by_session = node.members.known.iter_mut().find(|(_, known)| known.session == Some(session));
        let Some((id, known)) = by_session else { return };
        let id = *id;
        match said {
            Said::Log { kind, topic, payload } => {
                let heard = node.logs.handle_frame(id, session, *kind, topic, payload, now);
                if let Err(error) = heard {
                    self.oracle.broken(format!("FRAME {kind:?} from {from} to {to}: {error}"));
                }
                self.note(|_| format!("{from} -> {to}  {}", describe(*kind, topic, payload)));
                self.drain(to);
            }
            Said::Met(id, place) => {
                let (id, place) = (*id, *place);
                node.members.learn(id, place, now);
                self.view(to);
            }
            Said::Leaving => {
                known.is_leaving = true;
                self.note(|_| format!("{from} -> {to}  leaving"));
                self.view(to);
            }
            Said::Shutdown => {
                known.standing = Standing::Dead;
                known.session = None;
                self.note(|_| format!("{from} -> {to}  shutdown"));
                self.view(to);
            }
        }
    }

    /// One side closes; the other notices if that passes.
    pub(super) fn close(&mut self, place: usize, peer: NodeId) {
        let Some(node) = &mut self.nodes[place] else { return };
        let id = node.id;
        let Some(known) = node.members.known.get(&peer) else { return };
        let (other, Some(session)) = (known.place, known.session) else { return };
        node.members.down(peer, session);
        self.view(place);
        if !self.blocked.contains(&(place, other)) {
            let at = self.now + self.rng.within(10, 2000);
            self.at(at, Event::Closed { place: other, peer: id, session });
        }
    }

    /// Each second: who was heard, who is suspect or dead, who is dialled.
    pub(super) fn tick(&mut self) {
        for place in self.alive() {
            let known: Vec<NodeId> =
                self.nodes[place].as_ref().expect("alive").members.known.keys().copied().collect();
            for id in known {
                self.look_after(place, id);
            }
            self.view(place);
        }
        let at = self.now + 1000;
        self.at(at, Event::Tick);
    }

    pub(super) fn look_after(&mut self, place: usize, id: NodeId) {
        let now = self.now;
        let Some(node) = &self.nodes[place] else { return };
        let (me, known) = (node.id, node.members.known[&id].clone());
        let there = self.nodes[known.place].as_ref();
        let is_there = there.is_some_and(|there| there.id == id);
        let both =
            known.session.is_some() && there.is_some_and(|there| there.members.session(me) == known.session);
        let passes = !self.blocked.contains(&(known.place, place));
        let someone_else = there.filter(|there| there.id != id).map(|there| there.id);
        let node = self.nodes[place].as_mut().expect("just seen");
        let mine = node.members.known.get_mut(&id).expect("just seen");
        if is_there && both && passes {
            mine.heard_ms = now;
        }
        let silent_ms = now - mine.heard_ms;
        if silent_ms > DEAD_AFTER_MS && known.standing != Standing::Dead {
            node.members.bury(id);
            self.note(|_| format!("## node {place} takes {} for dead", known.place));
            self.close(place, id);
            self.view(place);
        } else if known.session.is_some()
            && silent_ms > DEAD_AFTER_MS / 2
            && known.standing == Standing::Alive
        {
            mine.standing = Standing::Suspect;
        }
        if self.nodes[place].as_ref().is_some_and(|node| node.members.session(id).is_some()) {
            return;
        }
        let dials = self.rng.percent(if self.setup.class == Class::P { 50 } else { 80 });
        let has_left = self.nodes[known.place].as_ref().is_some_and(|there| there.has_left);
        let is_linked_to = |other: NodeId| {
            self.nodes[place].as_ref().is_some_and(|node| node.members.session(other).is_some())
        };
        match someone_else {
            _ if has_left => {}
            _ if is_there && dials => self.link(place, known.place),
            Some(other) if dials && !is_linked_to(other) => self.link(place, known.place),
            None if !is_there
                && known.standing != Standing::Dead
                && passes
                && !self.shape.is_slow_to_notice
                && self.rng.percent(50) =>
            {
                self.nodes[place].as_mut().expect("just seen").members.bury(id);
                self.note(|_| format!("## node {place} is refused by {}", known.place));
                self.view(place);
            }
            _ => {}
        }
    }

    pub(super) fn unblock(&mut self, pairs: &BTreeSet<(usize, usize)>) {
        if self.setup.class.has_machine() {
            self.flow(pairs);
            return;
        }
        for pair in pairs {
            self.blocked.remove(pair);
            for (session, said) in self.held.remove(pair).unwrap_or_default() {
                if self.is_linked(pair.0, pair.1, session) {
                    self.hear(pair.0, pair.1, session, &said);
                }
            }
        }
    }

    pub(super) fn tell_congested(&mut self, from: usize, to: usize) {
        let now = self.time(from);
        let Some(node) = &self.nodes[from] else { return };
        let peer = if node.machine.is_some() {
            self.peer_at(from, to)
        } else {
            let mut known = node.members.known.iter();
            known.find(|(_, known)| known.place == to && known.session.is_some()).map(|(id, _)| *id)
        };
        let Some(node) = &mut self.nodes[from] else { return };
        if let Some(peer) = peer {
            self.oracle.stats.congested += 1;
            node.logs.handle_congested(peer, now);
            self.note(|_| format!("## the queue from {from} to {to} has overflowed"));
            self.drain(from);
        }
    }
}
