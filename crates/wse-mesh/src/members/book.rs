//! Addresses to be dialled, and when: the backoff of each.

use std::collections::BTreeMap;

use super::random::Random;
use crate::ids::NodeId;
use crate::wire::Address;

/// The first wait after a failure.
const FIRST_MS: u64 = 100;

/// The longest for addresses that matter: a seed may be the last to start.
pub(super) const NEAR_MS: u64 = 2_000;

/// The longest for those that are known from gossip alone, and for those of the dead.
pub(super) const FAR_MS: u64 = 60_000;

/// An address at which this node found itself is left alone for so long; it may be somebody else's later.
const MINE_MS: u64 = 60_000;

/// An address.
#[derive(Clone, Debug, Default)]
pub(super) struct Target {
    /// The operator gave it: it is never forgotten.
    pub(super) configured: bool,
    /// Who was found there, or is told to be.
    pub(super) id: Option<NodeId>,
    /// A dial is under way.
    pub(super) dialling: bool,
    /// It is forgotten as soon as that dial is answered.
    is_given_up: bool,
    /// Failures since it was last well.
    tries: u32,
    /// Not dialled before.
    next_ms: u64,
    /// It leads to this node, up to then.
    mine_until_ms: u64,
    /// A node with which this one can't speak was found there: that somebody else can is no reason to dial it.
    is_refused: bool,
}

impl Target {
    /// When it may be dialled.
    pub(super) fn due_ms(&self) -> u64 {
        self.next_ms.max(self.mine_until_ms)
    }

    /// This node was found there lately.
    pub(super) fn is_mine(&self, now_ms: u64) -> bool {
        self.mine_until_ms > now_ms
    }
}

/// All addresses that this node knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    targets: BTreeMap<Address, Target>,
}

impl Book {
    pub(super) fn configure(&mut self, address: &Address) {
        self.targets.entry(address.clone()).or_default().configured = true;
    }

    /// Somebody is there, or is told to be. What was found there before says nothing of another.
    pub(super) fn put(&mut self, address: &Address, id: NodeId) {
        let target = self.targets.entry(address.clone()).or_default();
        if target.id != Some(id) {
            (target.tries, target.next_ms, target.is_refused) = (0, 0, false);
        }
        (target.id, target.is_given_up) = (Some(id), false);
    }

    /// Whoever is found at a known address.
    pub(super) fn found(&mut self, address: &Address, id: NodeId) {
        if let Some(target) = self.targets.get_mut(address) {
            (target.id, target.is_refused) = (Some(id), false);
        }
    }

    /// Whoever is found at a known address is refused: it is dialled by its backoff alone, until another node is told to be there.
    pub(super) fn refused(&mut self, address: &Address) {
        if let Some(target) = self.targets.get_mut(address) {
            target.is_refused = true;
        }
    }

    /// Somebody is not there any more. While a dial is under way its address is kept, so that there is no second one beside it.
    pub(super) fn take(&mut self, address: &Address, id: NodeId) {
        let Some(target) = self.targets.get_mut(address) else { return };
        if target.configured || target.id != Some(id) {
            return;
        }
        if target.dialling {
            (target.id, target.is_given_up) = (None, true);
        } else {
            self.targets.remove(address);
        }
    }

    pub(super) fn get(&self, address: &Address) -> Option<&Target> {
        self.targets.get(address)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Address, &Target)> {
        self.targets.iter()
    }

    /// Dials under way to addresses that the operator did not give.
    pub(super) fn dials(&self) -> usize {
        self.targets.values().filter(|target| target.dialling && !target.configured).count()
    }

    pub(super) fn begin(&mut self, address: &Address) {
        self.targets.get_mut(address).expect("it is due").dialling = true;
    }

    /// The dial has an answer.
    pub(super) fn answered(&mut self, address: &Address) {
        let Some(target) = self.targets.get_mut(address) else { return };
        target.dialling = false;
        if target.is_given_up {
            self.targets.remove(address);
        }
    }

    /// Nobody to speak with was found there: it is tried again after a while, which grows up to `longest_ms`.
    pub(super) fn failed(&mut self, address: &Address, longest_ms: u64, now_ms: u64, random: &mut Random) {
        if let Some(target) = self.targets.get_mut(address) {
            let wait = (FIRST_MS << target.tries.min(16)).min(longest_ms);
            target.tries = target.tries.saturating_add(1);
            target.next_ms = now_ms + random.between(wait / 2, wait);
        }
    }

    /// This node itself was found there.
    pub(super) fn is_mine(&mut self, address: &Address, now_ms: u64) {
        if let Some(target) = self.targets.get_mut(address) {
            target.mine_until_ms = now_ms + MINE_MS;
        }
    }

    /// There is reason to hope: the backoff begins anew, and the next dial is not later than `at_ms`.
    pub(super) fn hope(&mut self, address: &Address, at_ms: u64) {
        if let Some(target) = self.targets.get_mut(address).filter(|target| !target.is_refused) {
            target.tries = 0;
            target.next_ms = target.next_ms.min(at_ms);
        }
    }

    /// Not dialled before then: a first dial that the other side may be making too.
    pub(super) fn hold(&mut self, address: &Address, until_ms: u64) {
        if let Some(target) = self.targets.get_mut(address) {
            target.next_ms = target.next_ms.max(until_ms);
        }
    }

    /// All addresses at which somebody was found or is told to be.
    pub(super) fn names(&self, id: NodeId) -> Vec<Address> {
        let names = self.targets.iter().filter(|(_, target)| target.id == Some(id));
        names.map(|(name, _)| name.clone()).collect()
    }
}
