//! Nodes: how they start, look for the others, and end.

use wse_mesh::ids::NodeId;
use wse_mesh::log::{Config, Fault, Limits, Logs};

use super::{DEAD_AFTER_MS, Event, Node, World};
use crate::members::Members;
use crate::network::Clock;

impl World {
    pub(super) fn start(&mut self, place: usize, has_seeds: bool) {
        let id = NodeId(self.rng.bits());
        let limits = if self.shape.is_tight {
            Limits { messages: 5, ttl_ms: if self.shape.forgets { 3000 } else { 20_000 }, bytes: 2000 }
        } else {
            Limits { messages: 10_000, ttl_ms: 600_000, bytes: 1 << 24 }
        };
        let config = Config {
            replicas: self.shape.replicas,
            limits,
            // Little enough that topics are given up for others.
            kept_bytes: if self.shape.is_tight { 2500 } else { 1 << 28 },
            forget_ms: if self.shape.forgets { 4000 } else { 600_000 },
            unacked_bytes: 1 << 20,
            dead_after_ms: DEAD_AFTER_MS,
            part_bytes: self.shape.part_bytes,
            window: self.shape.window,
        };
        let clock = if self.setup.class.has_machine() { self.new_clock() } else { Clock::default() };
        let now = clock.shows(self.now);
        let mut logs = Logs::new(id, self.rng.bits(), config, now);
        plant(&mut logs, self.setup.fault);
        let members = Members::new(id, place, self.now, has_seeds);
        let machine = self.setup.class.has_machine().then(|| self.machine(place, id, now));
        self.note(|_| format!("## node {place} starts as {id}"));
        let node =
            Node { id, logs, members, machine, clock, view: None, timer_ms: u64::MAX, has_left: false };
        self.nodes[place] = Some(node);
        if self.setup.class.has_machine() {
            self.hosts_down.remove(&place);
            self.tell(place, |members, now| members.handle_timeout(now));
        } else {
            self.view(place);
        }
    }

    fn new_clock(&mut self) -> Clock {
        let shows = self.rng.pick(&[0, 1_000, 1 << 40]);
        let fast = self.rng.pick(&[-20_000, -100, 0, 100, 20_000]);
        Clock::new(self.now, shows, fast)
    }

    pub(super) fn start_again(&mut self, place: usize) {
        if self.nodes[place].is_none() {
            let has_seeds = !self.alive().is_empty();
            if self.shape.is_moving && self.rng.percent(50) {
                let free = self.hosts.free();
                let address = self.rng.pick(&free);
                self.hosts.move_to(place, address);
            }
            self.start(place, has_seeds);
            if self.setup.class.has_machine() {
                return;
            }
            let id = self.nodes[place].as_ref().expect("it has started").id;
            self.boot(place, id);
        }
    }

    /// A node looks for its seeds.
    pub(super) fn boot(&mut self, place: usize, id: NodeId) {
        let Some(node) = self.node_if(place, id) else { return };
        if node.members.known.values().any(|known| known.session.is_some()) {
            return;
        }
        let others: Vec<usize> = self.alive().into_iter().filter(|other| *other != place).collect();
        if !others.is_empty() {
            let seed = self.rng.pick(&others);
            self.link(place, seed);
        }
        let again = self.now + self.rng.within(200, 1000);
        self.at(again, Event::Boot { place, id });
    }

    pub(super) fn kill(&mut self, place: usize) {
        let Some(node) = self.nodes[place].take() else { return };
        self.note(|_| format!("## node {place} is gone"));
        if node.machine.is_some() {
            let is_heard = node.has_left || !self.shape.is_slow_to_notice;
            if !is_heard {
                self.hosts_down.insert(place);
            }
            self.cut_off(place, node.id, is_heard, !node.has_left);
        } else if !node.has_left && self.rng.percent(50) {
            // What it has sent and nobody has got yet goes with it.
            self.lost_with
                .extend(node.members.known.values().filter_map(|known| Some((place, known.session?))));
        }
        self.oracle.stats.taken += node.logs.counters().taken;
        self.oracle.stats.fetches += node.logs.counters().fetches;
        self.kills += 1;
        for other in self.alive().into_iter().filter(|_| node.machine.is_none()) {
            let session = self.nodes[other].as_ref().and_then(|other| other.members.session(node.id));
            if let Some(session) = session
                && !self.blocked.contains(&(place, other))
                && !self.shape.is_slow_to_notice
            {
                let at = self.now + self.rng.within(10, 1000);
                self.at(at, Event::Closed { place: other, peer: node.id, session });
            }
        }
        for client in 0..self.clients.len() {
            if self.clients[client].at == Some(place) {
                self.clients[client].disconnect();
                let at = self.now + self.rng.within(100, 3000);
                self.at(at, Event::Connect(client));
            }
        }
    }

    /// Tells a node who is there, if that has changed and no machine does it.
    pub(super) fn view(&mut self, place: usize) {
        let now = self.now;
        let Some(node) = self.nodes[place].as_mut().filter(|node| node.machine.is_none()) else { return };
        let view = node.members.view(now);
        if node.view.as_ref() != Some(&view) {
            node.logs.handle_view(&view, now);
            node.view = Some(view);
            self.drain(place);
        }
    }
}

#[cfg(feature = "faults")]
fn plant(logs: &mut Logs, fault: Option<Fault>) {
    logs.plant(fault);
}

#[cfg(not(feature = "faults"))]
fn plant(_: &mut Logs, fault: Option<Fault>) {
    assert!(fault.is_none(), "faults are planted with the feature `faults` only");
}
