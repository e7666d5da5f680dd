//! What is told of other nodes, and what is believed of what they tell.

use super::output::Level;
use super::record::{Death, Record, State};
use super::{MAX_MEMBERS, Members};
use crate::ids::{Incarnation, NodeId, Session};
use crate::wire::gossip::{Entry, MAX_LIST, Told, encode_lists, encode_stamp};
use crate::wire::{Address, Kind};

/// A list of members goes to one of them this often, at least and at most.
const LIST_MS: (u64, u64) = (2_000, 4_000);

/// A newcomer that was announced is dialled after so long, at least and at most: it has a list and dials too.
const NEWCOMER_MS: (u64, u64) = (100, 300);

impl Members {
    /// Somebody announces itself or another.
    pub(super) fn announced(&mut self, session: Session, speaker: NodeId, entry: &Entry) {
        if entry.id != speaker {
            let wait_ms = self.random.between(NEWCOMER_MS.0, NEWCOMER_MS.1);
            self.hear_of(speaker, entry, self.now_ms + wait_ms);
            return;
        }
        self.hear_of_itself(entry);
        let link = self.links.get_mut(&session).expect("it just came on this link");
        if !std::mem::replace(&mut link.has_list, true) {
            self.send_list(session);
        }
    }

    /// A node is told of by another. If that is a reason to dial it, then at that time.
    pub(super) fn hear_of(&mut self, speaker: NodeId, entry: &Entry, dial_at_ms: u64) {
        if entry.id == self.id {
            let is_wrong = entry.told != Told::Alive && entry.incarnation == self.incarnation;
            if is_wrong || entry.incarnation > self.incarnation {
                self.contradict(entry.incarnation);
            }
        } else if entry.id == speaker {
            self.hear_of_itself(entry);
        } else if self.records.contains_key(&entry.id) {
            self.hear_again_of(entry, dial_at_ms);
        } else if entry.told == Told::Gone {
            self.hear_of_gone(entry);
        } else {
            self.hear_first_of(entry, dial_at_ms);
        }
    }

    fn hear_of_itself(&mut self, entry: &Entry) {
        self.learn(entry.id, entry.incarnation, entry.leaving, entry.address.as_ref());
        self.hear_state(entry.id, entry.joining, entry.established);
    }

    /// A node says how far it is itself.
    pub(super) fn hear_state(&mut self, id: NodeId, joining: bool, established: bool) {
        let record = self.records.get_mut(&id).expect("a named link has a record");
        record.has_joined |= !joining;
        record.established |= established;
    }

    /// Who said SHUTDOWN is remembered even by those who never met it: an older list may still say that it lives.
    fn hear_of_gone(&mut self, entry: &Entry) {
        if self.records.len() < MAX_MEMBERS {
            let mut record = Record::new(entry.id, self.now_ms, self.now_ms);
            (record.incarnation, record.state) = (entry.incarnation, State::Dead(Death::Told));
            self.records.insert(entry.id, record);
            self.is_view_stale = true;
        }
    }

    fn hear_first_of(&mut self, entry: &Entry, dial_at_ms: u64) {
        // What listened here before this node did is no more.
        let is_own = entry.address.is_some() && entry.address == self.address;
        if is_own || entry.silent_ms >= self.config.dead_after_ms || !self.make_room(entry.id) {
            return;
        }
        let heard_ms = self.now_ms.saturating_sub(entry.silent_ms);
        let mut record = Record::new(entry.id, heard_ms, self.now_ms);
        record.told_suspect = entry.told == Told::Suspect;
        self.records.insert(entry.id, record);
        self.is_view_stale = true;
        self.learn(entry.id, entry.incarnation, entry.leaving, entry.address.as_ref());
        if let Some(address) = &entry.address {
            self.book.hold(address, dial_at_ms);
        }
    }

    fn hear_again_of(&mut self, entry: &Entry, dial_at_ms: u64) {
        let record = self.records.get_mut(&entry.id).expect("the caller has looked");
        if entry.told != Told::Gone {
            record.told_ms = self.now_ms;
        }
        let (known, state, is_linked) = (record.incarnation, record.state, record.session.is_some());
        self.learn(entry.id, entry.incarnation, entry.leaving, entry.address.as_ref());
        if is_linked {
            return;
        }
        match (state, entry.told) {
            (State::Suspect, Told::Gone) if entry.incarnation >= known => self.die(entry.id, Death::Told),
            (State::Dead(Death::Told), Told::Alive) if entry.incarnation > known => self.hear_it_lives(entry),
            (State::Dead(Death::Told | Death::Shutdown | Death::Replaced), _) => return,
            _ => {}
        }
        if entry.told == Told::Alive
            && let Some(address) = self.records[&entry.id].address.clone()
        {
            self.book.hope(&address, dial_at_ms);
        }
    }

    /// It contradicts what was told of it.
    fn hear_it_lives(&mut self, entry: &Entry) {
        let record = self.records.get_mut(&entry.id).expect("it was just looked up");
        (record.state, record.since_ms) = (State::Suspect, self.now_ms);
        record.heard_ms = self.now_ms.saturating_sub(entry.silent_ms.min(self.config.dead_after_ms));
        self.is_view_stale = true;
    }

    /// Takes what is newer than what is known.
    pub(super) fn learn(
        &mut self,
        id: NodeId,
        incarnation: Incarnation,
        leaving: bool,
        address: Option<&Address>,
    ) {
        let record = self.records.get_mut(&id).expect("who is told of has a record");
        let before = (record.incarnation, record.leaving);
        record.leaving |= leaving;
        let is_newer = incarnation > record.incarnation;
        record.incarnation = record.incarnation.max(incarnation);
        self.is_view_stale |= before != (record.incarnation, record.leaving);
        let Some(address) = address else { return };
        if record.address.is_none() || (is_newer && record.address.as_ref() != Some(address)) {
            if let Some(old) = record.address.replace(address.clone()) {
                self.book.take(&old, id);
            }
            self.book.put(address, id);
        }
    }

    /// A HELLO brings an address. Whoever had it before is gone, if it does not answer.
    pub(super) fn came_with(&mut self, id: NodeId, address: &Address) {
        self.book.put(address, id);
        if self.address.as_ref() == Some(address) {
            self.two_at(address, self.id, id);
        }
        let others = self.records.values().filter(|record| record.address.as_ref() == Some(address));
        let others: Vec<NodeId> =
            others.filter(|record| record.id != id && !record.is_dead()).map(|record| record.id).collect();
        for other in others {
            let record = self.records.get_mut(&other).expect("it was just listed");
            match record.session {
                Some(session) => {
                    record.doubted_until_ms = Some(self.now_ms + self.config.heartbeat_ms);
                    let stamp = encode_stamp(self.now_ms);
                    self.send(session, Kind::Ping, stamp);
                }
                None => self.die(other, Death::Replaced),
            }
        }
    }

    pub(super) fn two_at(&mut self, address: &Address, one: NodeId, other: NodeId) {
        let text = format!(
            "nodes {one} and {other} both say that they listen at {address}: each needs a cluster_addr of its own"
        );
        self.note_once(Level::Warn, &format!("two at {address}"), text);
    }

    /// Somebody said DRAIN.
    pub(super) fn leaves(&mut self, id: NodeId) {
        let record = self.records.get_mut(&id).expect("a named link has a record");
        if !std::mem::replace(&mut record.leaving, true) {
            self.is_view_stale = true;
            self.note(Level::Info, format!("node {id} is leaving"));
            self.announce(id);
        }
    }

    /// Tells the others what has become of somebody.
    pub(super) fn announce(&mut self, id: NodeId) {
        if let Some(entry) = self.records[&id].entry(self.now_ms) {
            self.send_all(Kind::PeerAnnounce, &entry.encode(), Some(id));
        }
    }

    /// The list of all goes to one, in turn.
    pub(super) fn tell_one(&mut self) {
        if self.now_ms < self.list_at_ms {
            return;
        }
        self.list_at_ms = self.now_ms + self.random.between(LIST_MS.0, LIST_MS.1);
        let linked = || self.records.values().filter(|record| record.session.is_some());
        let next = linked().find(|record| Some(record.id) > self.list_last).or_else(|| linked().next());
        if let Some((id, session)) = next.and_then(|record| Some((record.id, record.session?))) {
            self.list_last = Some(id);
            self.send_list(session);
        }
    }

    fn send_list(&mut self, session: Session) {
        let mut entries = vec![self.own_entry()];
        entries.extend(self.records.values().filter_map(|record| record.entry(self.now_ms)));
        let theirs = self.links[&session].other.expect("lists go to those with a name").terms.max_frame;
        for list in encode_lists(&entries, MAX_LIST.min(theirs - crate::wire::header::HEADER)) {
            self.send(session, Kind::PeerList, list);
        }
    }

    /// Whether somebody is known or can be: the one that is dead longest makes room.
    pub(super) fn make_room(&mut self, id: NodeId) -> bool {
        if self.records.contains_key(&id) || self.records.len() < MAX_MEMBERS {
            return true;
        }
        let dead = self.records.values().filter(|record| record.is_dead() && !self.has_link(record.id));
        match dead.min_by_key(|record| record.since_ms).map(|record| record.id) {
            Some(oldest) => {
                self.forget(oldest);
                true
            }
            None => {
                let text = format!("more than {MAX_MEMBERS} members: node {id} and others are passed over");
                self.note_once(Level::Warn, "members", text);
                false
            }
        }
    }
}
