//! What the schedule says, done.

use super::{Event, Said, TOPICS, World};
use wse_mesh::members::Members;

use crate::clients::Client;
use crate::schedule::Action;

impl World {
    pub(super) fn act(&mut self, number: usize) {
        let action = self.shape.actions[number].1.clone();
        self.note(|_| format!("## {number}: {action:?}"));
        match action {
            Action::Join(place) | Action::Restart(place) => self.start_again(place),
            Action::Publish(place, topic, count) => self.publish(place, topic, count),
            Action::Arrive(client) => self.connect(client),
            Action::Move(client) => {
                if self.clients[client].at.is_some() {
                    let back_ms = self.rng.within(50, 8000);
                    self.go(client, back_ms);
                }
            }
            Action::Away(client, back_ms) => self.go(client, back_ms),
            Action::Reset(a, b) if self.setup.class.has_machine() => self.reset(a, b),
            Action::Reset(a, b) => {
                if let Some(peer) = self.nodes[b].as_ref().map(|node| node.id) {
                    self.close(a, peer);
                }
            }
            Action::Congest(from, to, lasts) => {
                if !self.is_healed && !self.congested.contains_key(&(from, to)) {
                    self.congested.insert((from, to), false);
                    let at = self.now + lasts;
                    self.at(at, Event::CongestionOver { from, to });
                }
            }
            Action::Crash(place) => {
                if self.alive().len() > 2 {
                    self.kill(place);
                }
            }
            Action::Block(pairs) => self.blocked.extend(pairs),
            Action::Unblock(pairs) => self.unblock(&pairs.into_iter().collect()),
            Action::Drain(place) => self.leave(place),
            Action::Stop(place) => {
                if self.alive().len() > 2 && self.nodes[place].is_some() {
                    self.tell(place, Members::shutdown);
                    self.kill(place);
                }
            }
            Action::Stall(place, lasts) => {
                if !self.is_healed && self.nodes[place].is_some() && !self.stalled.contains_key(&place) {
                    let until = self.now + lasts;
                    self.stalled.insert(place, until);
                    self.at(until, Event::GoOn(place));
                }
            }
            Action::Jump(place, by) => {
                if let Some(node) = &mut self.nodes[place] {
                    node.clock.jump(by);
                    // The timer that was set is late, and what it was set by is called before anything else.
                    let id = node.id;
                    self.at(self.now, Event::Timer { place, id });
                }
            }
        }
    }

    /// Who restarts nodes in turn waits until each is ready.
    fn is_anybody_joining(&self) -> bool {
        let machines = self.nodes.iter().flatten().filter_map(|node| node.machine.as_ref());
        machines.into_iter().any(|machine| machine.members.view().joining)
    }

    pub(super) fn leave(&mut self, place: usize) {
        if !self.setup.class.is_parted()
            && !self.is_healed
            && (self.nodes.iter().flatten().any(|node| node.members.is_leaving) || self.is_anybody_joining())
        {
            // One after the other.
            let later = self.now + 1000;
            self.at(later, Event::Leave(place));
            return;
        }
        let least = if self.setup.class.is_parted() { 2 } else { 1 };
        if self.alive().len() <= least || self.is_healed {
            return;
        }
        let Some(node) = &mut self.nodes[place] else { return };
        node.members.is_leaving = true;
        let now = node.clock.shows(self.now);
        node.logs.leave(now);
        let id = node.id;
        if node.machine.is_some() {
            self.drain(place);
            self.tell(place, Members::leave);
        }
        for (to, session) in self.linked(place) {
            self.send(place, to, session, Said::Leaving);
        }
        self.view(place);
        // A node that leaves is waited for, unless a partition may keep it for ever.
        let at = self.now + if self.setup.class.is_parted() { 12_000 } else { 50_000 };
        self.at(at, Event::Kill { place, id });
    }

    pub(super) fn publish(&mut self, place: usize, topic: usize, count: usize) {
        let now = self.time(place);
        for _ in 0..count {
            let padding = self.rng.pick(&[0, 3, 100]);
            let Some(node) = &mut self.nodes[place] else { return };
            self.next_publication += 1;
            let id = self.next_publication;
            let mut message = id.to_le_bytes().to_vec();
            message.resize(8 + padding, 0);
            let published = node.logs.publish(TOPICS[topic], message.into(), Some(id), now);
            assert!(published.is_ok(), "there is room for what a world publishes");
            self.published.push(id);
        }
        self.drain(place);
    }

    pub(super) fn connect(&mut self, client: usize) {
        let mut alive = self.alive();
        alive.retain(|place| !self.stalled.contains_key(place));
        if !self.stalled.is_empty() && alive.is_empty() {
            let later = self.now + 1000;
            self.at(later, Event::Connect(client));
        }
        if self.clients[client].at.is_some() || alive.is_empty() {
            return;
        }
        let place = self.rng.pick(&alive);
        self.next_token += 1;
        self.arrived.insert(client);
        let (token, now) = (self.next_token, self.time(place));
        self.clients[client].connect(place, token);
        let (topic, position) = (self.clients[client].topic, self.clients[client].position);
        self.note(|_| format!("## client {client} of t{topic} comes to {place} with {position:?}"));
        let node = self.nodes[place].as_mut().expect("it is alive");
        node.logs.recover(TOPICS[topic], token, position, now);
        self.drain(place);
    }

    /// A client leaves its node, and comes back somewhere after so long.
    fn go(&mut self, client: usize, back_ms: u64) {
        let Some(place) = self.clients[client].at else { return };
        let token = self.clients[client].connection.as_ref().map(|connection| connection.token);
        self.clients[client].disconnect();
        let topic = self.clients[client].topic;
        let now = self.time(place);
        if let (Some(node), Some(token)) = (&mut self.nodes[place], token) {
            node.logs.cancel(TOPICS[topic], token, now);
        }
        self.unfollow_if_alone(place, topic);
        self.at(self.now + back_ms, Event::Connect(client));
    }

    pub(super) fn unfollow_if_alone(&mut self, place: usize, topic: usize) {
        let now = self.time(place);
        let is_there = |client: &Client| {
            client.at == Some(place)
                && client.topic == topic
                && client.connection.as_ref().is_some_and(|connection| connection.is_answered)
        };
        if !self.clients.iter().any(is_there)
            && let Some(node) = &mut self.nodes[place]
        {
            node.logs.unfollow(TOPICS[topic], now);
            self.drain(place);
        }
    }
}
