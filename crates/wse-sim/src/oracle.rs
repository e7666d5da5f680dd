//! What was promised, held against what was seen.

use std::collections::{BTreeMap, BTreeSet};

use wse_core::history::{Epoch, Position};
use wse_mesh::ids::NodeId;
use wse_mesh::log::chain::Segment;
use wse_mesh::log::term::Term;

use crate::schedule::Class;

/// What happened, in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Messages that clients got.
    pub messages: u64,
    /// Clients that were recovered.
    pub recovered: u64,
    /// Clients that were not, though they gave a position.
    pub not_recovered: u64,
    /// Changes of epoch that clients were told.
    pub seams: u64,
    /// Cuts that clients were told.
    pub cuts: u64,
    /// Gaps of a known number that clients were told.
    pub gaps: u64,
    /// Publications that came again after a cut.
    pub repeats: u64,
    /// Publications that were stored.
    pub stored: u64,
    /// Topics taken over.
    pub taken: u64,
    /// Questions for entries.
    pub fetches: u64,
    /// Overflows of queues.
    pub congested: u64,
    /// Messages dropped with their branch.
    pub dropped: u64,
    /// Nodes that left because nobody needed them.
    pub left: u64,
    /// Subscribers that were answered without their home.
    pub unconfirmed: u64,
    /// Frames.
    pub frames: u64,
    /// Members that a machine of members took for dead.
    pub deaths: u64,
    /// Logs that nobody needed and that were forgotten.
    pub discarded: u64,
}

impl Stats {
    /// Adds those of another world.
    pub fn add(&mut self, other: &Stats) {
        self.messages += other.messages;
        self.recovered += other.recovered;
        self.not_recovered += other.not_recovered;
        self.seams += other.seams;
        self.cuts += other.cuts;
        self.gaps += other.gaps;
        self.repeats += other.repeats;
        self.stored += other.stored;
        self.taken += other.taken;
        self.fetches += other.fetches;
        self.congested += other.congested;
        self.dropped += other.dropped;
        self.left += other.left;
        self.unconfirmed += other.unconfirmed;
        self.frames += other.frames;
        self.deaths += other.deaths;
        self.discarded += other.discarded;
    }
}

/// See the module.
#[derive(Debug)]
pub struct Oracle {
    class: Class,
    is_tight: bool,
    /// Logs take so long to be fetched that subscribers do not wait for it.
    is_tedious: bool,
    /// What went wrong.
    pub violations: Vec<String>,
    /// What happened.
    pub stats: Stats,
    stamps: BTreeMap<(usize, Epoch, u64), u64>,
    epochs: BTreeMap<(usize, u64), BTreeSet<Epoch>>,
    homes: BTreeMap<(usize, Term), NodeId>,
    tops: BTreeMap<(usize, NodeId), (Epoch, u64)>,
    /// Topics whose logs were forgotten after two branches had gone on.
    forked: BTreeSet<usize>,
    /// Publications of logs that were forgotten, and where they were.
    gone: BTreeMap<u64, Position>,
    /// Publications that were acknowledged as stored: topic and position.
    pub stored: BTreeMap<u64, (usize, Option<Position>)>,
}

impl Oracle {
    /// It has seen nothing.
    #[must_use]
    pub fn new(class: Class, is_tight: bool, is_tedious: bool) -> Self {
        Self {
            class,
            is_tight,
            is_tedious,
            violations: Vec::new(),
            stats: Stats::default(),
            stamps: BTreeMap::new(),
            epochs: BTreeMap::new(),
            homes: BTreeMap::new(),
            tops: BTreeMap::new(),
            forked: BTreeSet::new(),
            gone: BTreeMap::new(),
            stored: BTreeMap::new(),
        }
    }

    /// A promise was broken.
    pub fn broken(&mut self, what: String) {
        if !self.violations.contains(&what) {
            self.violations.push(what);
        }
    }

    /// A client was told that it lost track. Where nothing was cut apart and all is kept, nobody is.
    pub fn cut(&mut self, confirmed: bool, what: &str) {
        self.stats.cuts += 1;
        if !self.class.is_parted() && !self.is_tight && (confirmed || !self.is_tedious) {
            self.broken(format!(
                "Q1 without a partition {what}{}",
                if confirmed { "" } else { ", unconfirmed" }
            ));
        }
    }

    /// A client was told how many messages it missed. In a partition the only log that is left may lack them.
    pub fn late(&mut self, what: &str) {
        self.stats.gaps += 1;
        if !self.class.is_parted() && !self.is_tight {
            self.broken(format!("Q2 though all is kept {what}"));
        }
    }

    /// A publication came again by one connection.
    pub fn repeated(&mut self, what: &str) {
        self.stats.repeats += 1;
        if !self.class.is_parted() {
            self.broken(format!("G2 {what}"));
        }
    }

    /// A position was seen with a publication.
    pub fn stamped(&mut self, topic: usize, at: Position, id: u64) {
        let before = *self.stamps.entry((topic, at.epoch, at.offset)).or_insert(id);
        if before != id {
            self.broken(format!("S1 {at} names two publications, {before} and {id}"));
        }
        self.epochs.entry((topic, at.offset)).or_default().insert(at.epoch);
        if let Some(was) = self.gone.get(&id).filter(|was| **was != at && !self.class.is_parted()) {
            self.broken(format!(
                "G2 publication {id} was {was}, was forgotten, and is stamped again as {at}"
            ));
        }
    }

    /// A home has forgotten a log that nobody needed: what was in it is not to be expected any more, and does not come back.
    pub fn discarded(&mut self, topic: usize, upto: Position) {
        self.stats.discarded += 1;
        for ((_, epoch, offset), id) in self.stamps.iter().filter(|((of, _, _), _)| *of == topic) {
            if *offset <= upto.offset {
                self.gone.insert(*id, Position { epoch: *epoch, offset: *offset });
            }
        }
        if self.is_forked(topic) {
            self.forked.insert(topic);
        }
        let gone = &self.gone;
        self.stored.retain(|id, (of, _)| *of != topic || !gone.contains_key(id));
        self.epochs.retain(|(of, _), _| *of != topic);
        self.tops.retain(|(of, _), _| *of != topic);
    }

    /// A home has a log that ends so.
    pub fn has_stamped(&mut self, topic: usize, node: NodeId, segment: &Segment, top: u64) {
        let before = self.tops.insert((topic, node), (segment.epoch, top));
        let after = before.map_or(0, |(epoch, before)| if epoch == segment.epoch { before } else { 0 });
        self.had(topic, segment.epoch, segment.first.max(after + 1)..=top);
    }

    /// Messages of these offsets were stamped in an epoch.
    pub fn had(&mut self, topic: usize, epoch: Epoch, offsets: std::ops::RangeInclusive<u64>) {
        for offset in offsets {
            self.epochs.entry((topic, offset)).or_default().insert(epoch);
        }
    }

    /// Two branches went on from one place.
    #[must_use]
    pub fn is_forked(&self, topic: usize) -> bool {
        self.forked.contains(&topic)
            || self.epochs.range((topic, 0)..(topic + 1, 0)).any(|(_, epochs)| epochs.len() > 1)
    }

    /// A node is home.
    pub fn is_home(&mut self, topic: usize, term: Term, node: NodeId) {
        let other = *self.homes.entry((topic, term)).or_insert(node);
        if other != node {
            self.broken(format!("I11 {other} and {node} are homes in {term:?}"));
        }
    }
}
