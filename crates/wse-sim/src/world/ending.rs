//! When all is quiet: what must be true of the nodes, the logs and the clients.

use std::collections::{BTreeMap, BTreeSet};

use wse_core::history::Position;

use super::{TOPICS, World};
use crate::clients::publication;

impl World {
    pub(super) fn finish(&mut self) {
        if !self.oracle.violations.is_empty() {
            return;
        }
        for place in self.alive() {
            let counters = self.nodes[place].as_ref().expect("alive").logs.counters();
            self.oracle.stats.taken += counters.taken;
            self.oracle.stats.fetches += counters.fetches;
        }
        self.check_whole();
        for topic in 0..self.shape.topics {
            self.finish_topic(topic);
        }
    }

    pub(super) fn finish_topic(&mut self, topic: usize) {
        let name = TOPICS[topic];
        let looks = self.alive().into_iter().filter_map(|place| {
            let node = self.nodes[place].as_ref().expect("alive");
            Some((place, node.logs.inspect(name)?, node.logs.kept(name)))
        });
        let looks = looks.collect::<Vec<_>>();
        let is_used = looks.iter().any(|(_, look, _)| !look.outline.chain.is_empty() || look.unacked);
        for (place, look, _) in &looks {
            if look.unacked {
                self.oracle.broken(format!("END {name}: publications of {place} are never stored"));
            }
            let kept = look.outline.top - look.outline.floor;
            if self.shape.is_tight && kept > 5 {
                self.oracle.broken(format!("G8 {name}: {place} keeps {kept} messages"));
            }
        }
        if !is_used {
            return;
        }
        let homes: Vec<_> = looks.iter().filter(|(_, look, _)| look.home.is_some()).collect();
        let &[(_, home, kept)] = &homes[..] else {
            let places: Vec<usize> = homes.iter().map(|(place, _, _)| *place).collect();
            self.oracle.broken(format!("END {name}: homes at {places:?}"));
            return;
        };
        if !home.is_settled || home.commit != home.outline.top {
            self.oracle.broken(format!("END {name}: the home is not settled"));
        }
        let mut log: BTreeMap<u64, u64> = BTreeMap::new();
        for run in kept {
            for (message, offset) in run.messages.iter().zip(run.first..) {
                let at = Position { epoch: run.epoch, offset };
                self.oracle.stamped(topic, at, publication(message));
                log.insert(offset, publication(message));
            }
        }
        // What is not kept any more was stamped all the same.
        let segments = home.outline.chain.segments();
        for (at, segment) in segments.iter().enumerate() {
            let end = segments.get(at + 1).map_or(home.outline.top, |next| next.first - 1);
            self.oracle.had(topic, segment.epoch, segment.first..=end);
        }
        self.check_log(topic, &log, home.outline.floor);
        self.check_clients(topic, &log, home.outline.floor, home.outline.top);
    }

    pub(super) fn check_log(&mut self, topic: usize, log: &BTreeMap<u64, u64>, floor: u64) {
        let name = TOPICS[topic];
        let once: BTreeSet<u64> = log.values().copied().collect();
        let is_whole = !self.setup.class.is_parted();
        if once.len() != log.len() && is_whole {
            self.oracle.broken(format!("G2 {name}: a publication is twice in the log {:?}", log.values()));
        }
        let one_side = self.kills == 0 && !self.oracle.is_forked(topic);
        // What is kept for a moment only is not kept to the end.
        let survives =
            (is_whole || one_side) && (self.shape.replicas > 0 || self.kills == 0) && !self.shape.forgets;
        let stored = self.oracle.stored.clone();
        for (id, (of, position)) in stored {
            let is_below = position.map_or(floor > 0, |position| position.offset <= floor);
            if of == topic && survives && !is_below && !once.contains(&id) {
                self.oracle
                    .broken(format!("G5 {name}: publication {id} was stored at {position:?} and is lost"));
            }
        }
    }

    pub(super) fn check_clients(&mut self, topic: usize, log: &BTreeMap<u64, u64>, floor: u64, top: u64) {
        for client in self.clients.iter().filter(|client| client.topic == topic) {
            let number = client.number;
            if !self.arrived.contains(&number) {
                continue;
            }
            let is_answered = client.connection.as_ref().is_some_and(|connection| connection.is_answered);
            if !is_answered {
                self.oracle.broken(format!("END client {number} was never answered"));
                continue;
            }
            if client.position.is_some_and(|at| at.offset != top) {
                self.oracle.broken(format!("G3 client {number} stays at {:?} behind {top}", client.position));
            }
            let wrong =
                client.seen.iter().find(|(offset, id)| *offset > floor && log.get(offset) != Some(id));
            if let Some((offset, id)) = wrong {
                self.oracle.broken(format!(
                    "G6 client {number} saw {id} at {offset}, where the log has {:?}",
                    log.get(offset)
                ));
            }
        }
    }
}
