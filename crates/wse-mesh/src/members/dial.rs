//! Who is dialled, and when.

use std::collections::BTreeSet;

use super::book::{FAR_MS, NEAR_MS, Target};
use super::output::{DialFailure, Level, Output};
use super::record::{Death, Record, State};
use super::{DIAL_MS, Members};
use crate::ids::NodeId;
use crate::view::acquaint_ms;
use crate::wire::{Address, Kind};

/// Dials at a time to addresses that the operator did not give.
const MAX_DIALS: usize = 64;

/// How long a node that has just started looks for others, at the most, before it acts alone. Whoever is left of an earlier cluster dials the
/// place of a node that has returned there within this time: a dial may be under way that gets no answer, then it waits, and they greet.
const JOINING_MS: u64 = DIAL_MS + NEAR_MS + 1_000;

/// Of that time no more passes at once, whatever the clock says.
const STEP_MS: u64 = 500;

/// The time for which a node still looks for others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joining {
    left_ms: u64,
    /// When that was so.
    at_ms: u64,
}

impl Joining {
    pub(super) fn new(now_ms: u64) -> Self {
        Self { left_ms: JOINING_MS, at_ms: now_ms }
    }

    /// When it is to be looked at again.
    pub(super) fn deadline_ms(self) -> u64 {
        self.at_ms + self.left_ms.min(STEP_MS)
    }

    /// What is left of it.
    fn at(self, now_ms: u64) -> Self {
        let passed_ms = now_ms.saturating_sub(self.at_ms).min(STEP_MS);
        Self { left_ms: self.left_ms.saturating_sub(passed_ms), at_ms: now_ms }
    }
}

/// With whom there are links, and through which addresses: these need no dial.
pub(super) struct Peace {
    ids: BTreeSet<NodeId>,
    addresses: BTreeSet<Address>,
}

impl Peace {
    pub(super) fn has(&self, address: &Address, target: &Target) -> bool {
        self.addresses.contains(address) || target.id.is_some_and(|id| self.ids.contains(&id))
    }
}

impl Members {
    pub(super) fn peace(&self) -> Peace {
        let links = self.links.values();
        Peace {
            ids: links.clone().filter_map(|link| link.other).map(|other| other.id).collect(),
            addresses: links.filter_map(|link| link.dialled.clone()).collect(),
        }
    }

    pub(super) fn is_own(&self, address: &Address, target: &Target) -> bool {
        self.address.as_ref() == Some(address) || target.is_mine(self.now_ms)
    }

    /// Begins the dials that are due, and says when the next one will be.
    pub(super) fn dial_due(&mut self) -> u64 {
        let peace = self.peace();
        let mut room = MAX_DIALS.saturating_sub(self.book.dials());
        let (mut due, mut next_ms) = (Vec::new(), u64::MAX);
        for (address, target) in self.book.iter() {
            if target.dialling || self.address.as_ref() == Some(address) || peace.has(address, target) {
                continue;
            }
            if target.due_ms() > self.now_ms {
                next_ms = next_ms.min(target.due_ms());
            } else if target.configured || room > 0 {
                room -= usize::from(!target.configured);
                due.push(address.clone());
            }
        }
        for address in due {
            self.book.begin(&address);
            self.outputs.push_back(Output::Dial { address });
        }
        next_ms
    }

    /// An address is to be dialled again, by its backoff.
    pub(super) fn retry(&mut self, address: &Address) {
        let Some(target) = self.book.get(address) else { return };
        let is_near = |id| self.records.get(&id).is_some_and(|record| record.was_linked && !record.is_dead());
        let longest_ms = if target.configured || target.id.is_some_and(is_near) { NEAR_MS } else { FAR_MS };
        self.book.failed(address, longest_ms, self.now_ms, &mut self.random);
    }

    pub(super) fn dial_failed(&mut self, address: &Address, failure: DialFailure) {
        self.retry(address);
        if failure == DialFailure::Refused {
            self.refused(address);
        }
        let is_configured = self.book.get(address).is_some_and(|target| target.configured);
        let level = match failure {
            _ if !is_configured => Level::Debug,
            DialFailure::Denied => Level::Warn,
            _ => Level::Info,
        };
        self.note_once(level, &format!("dial {address}"), format!("no link with {address}: {failure}"));
    }

    /// A host says that nobody listens where a member did: its process is gone. Of one that was only told of as alive, that says nothing.
    fn refused(&mut self, address: &Address) {
        let gone = self.records.values().filter(|record| {
            record.address.as_ref() == Some(address)
                && record.state == State::Suspect
                && (record.was_linked || record.told_suspect)
                && !self.has_link(record.id)
        });
        for id in gone.map(|record| record.id).collect::<Vec<_>>() {
            self.die(id, Death::Refused);
        }
    }

    /// Looks whether this node has joined, and is established, and tells all when it is.
    pub(super) fn come_of_age(&mut self) {
        let before = (self.joining.is_some(), self.established);
        self.end_joining();
        self.establish();
        if before != (self.joining.is_some(), self.established) {
            self.is_view_stale = true;
            self.send_all(Kind::PeerAnnounce, &self.own_entry().encode(), None);
        }
    }

    /// A node stops to look for others before it acts when it is linked with one that does not look any more, and has heard of all whom that one
    /// knows, or when time is up.
    fn end_joining(&mut self) {
        let Some(joining) = self.joining.map(|joining| joining.at(self.now_ms)) else { return };
        let leads = |record: &Record| record.session.is_some() && record.has_joined && record.has_told;
        let is_led = self.records.values().any(leads);
        self.joining = (!is_led && joining.left_ms > 0).then_some(joining);
    }

    /// A node that looks for nobody any more is established when it is linked with one that is, or old enough itself: those who start
    /// together are nobody's newcomers.
    fn establish(&mut self) {
        let is_among = || self.records.values().any(|record| record.session.is_some() && record.established);
        let is_due = || self.established_at_ms().is_some_and(|at_ms| at_ms <= self.now_ms);
        self.established |= self.joining.is_none() && (is_due() || is_among());
    }

    /// When a node is old enough for that, if it is not yet.
    pub(super) fn established_at_ms(&self) -> Option<u64> {
        let waits = !self.established && self.joining.is_none();
        waits.then(|| self.started_ms + acquaint_ms(self.config.dead_after_ms))
    }
}
