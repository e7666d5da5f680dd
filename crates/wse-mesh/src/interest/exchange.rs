//! Telling the peers what this node has receivers of, and hearing the same of them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::entry::Interest;
use super::frames::{self, Changes, Digest, ReadPart};
use super::mask::{MAX_PEERS, PeerIndex};
use super::orders::Unknown;
use super::own::Own;
use super::peer::{ASK_ANEW, Peer, Reply, shared};
use super::table::Table;
use crate::ids::{NodeId, Session};
use crate::pages::Asked;
use crate::wire::Kind;
use crate::wire::bytes::{Malformed, Reader, put_number};

/// Counts the changes of a node's interest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// What is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A peer with more entries counts as interested in everything, and they are not kept.
    pub max_entries: u64,
    /// The most that the entries of one frame come to, in bytes: 1 KiB to 63 KiB.
    pub frame_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_entries: 4_000_000, frame_bytes: 63 << 10 }
    }
}

/// There are [`MAX_PEERS`] peers that are not dead: this one is not taken, and nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowded;

/// Something that an operator should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// A peer has more entries than are kept: from now on it is sent everything.
    TooLarge(NodeId),
}

/// What the machine wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Routes that were asked for before may be wrong. It comes before all that follows from the change, acknowledgements above all: who sees to it first, and
    /// sends later, publishes nothing by an old route after the subscriber was told that it is subscribed.
    Changed {
        /// The table's generation.
        generation: u64,
    },
    /// A frame without a topic.
    Send {
        /// To whom.
        peer: NodeId,
        /// On which link; if that is gone the frame is void.
        session: Session,
        /// What it is.
        kind: Kind,
        /// What it says.
        payload: Arc<[u8]>,
    },
    /// All that was added up to this version is in force at every peer with a link.
    Confirmed(Version),
    /// To be logged.
    Note(Note),
}

/// How often the machine looks for what had no answer.
const TICK_MS: u64 = 500;
/// How often each peer is told what the set comes to, if nothing else makes it necessary.
const DIGEST_MS: u64 = 60_000;

/// The interest of this node and of its peers.
///
/// After each call `poll_output` is asked until it has nothing more.
#[derive(Debug)]
pub struct Exchange {
    me: NodeId,
    limits: Limits,
    own: Own,
    table: Table,
    /// By index.
    peers: Vec<Option<Peer>>,
    outputs: VecDeque<Output>,
    confirmed: u64,
    told_generation: u64,
    tick_at_ms: u64,
    digest_at_ms: u64,
}

impl Exchange {
    /// A node without receivers and without peers. `seed` is a random number.
    #[must_use]
    pub fn new(me: NodeId, limits: Limits, seed: u64) -> Self {
        assert!((1 << 10..frames::MAX_FRAME).contains(&limits.frame_bytes), "a frame is at most 64 KiB");
        Self {
            me,
            limits,
            own: Own::new(limits.frame_bytes),
            table: Table::new(seed),
            peers: Vec::new(),
            outputs: VecDeque::new(),
            confirmed: 0,
            told_generation: 0,
            tick_at_ms: 0,
            digest_at_ms: 0,
        }
    }

    /// This node has a receiver, and is ready to serve it. The version at which all nodes with a link send it what is published; that of
    /// the first receiver for all who come while it stays.
    pub fn add(&mut self, interest: &Interest<'_>) -> Version {
        Version(self.own.add(interest))
    }

    /// The last receiver is gone.
    pub fn remove(&mut self, interest: &Interest<'_>) {
        self.own.remove(interest);
    }

    /// The version at which all nodes with a link send what is published to something that this node has receivers of.
    #[must_use]
    pub fn version_of(&self, interest: &Interest<'_>) -> Option<Version> {
        self.own.version_of(interest).map(Version)
    }

    /// The version of all that this node has receivers of now.
    #[must_use]
    pub fn version(&self) -> Version {
        Version(self.own.version())
    }

    /// Whether every peer with a link sends what was added up to a version.
    #[must_use]
    pub fn acknowledged(&self, version: Version) -> bool {
        version.0 <= self.confirmed.max(self.in_force())
    }

    /// What the peers have receivers of.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The bit of a peer; `None` of one that has never had a link or is dead.
    #[must_use]
    pub fn index_of(&self, peer: NodeId) -> Option<PeerIndex> {
        self.peer(peer).map(|peer| peer.index)
    }

    /// Whose bit it is.
    #[must_use]
    pub fn id_of(&self, index: PeerIndex) -> Option<NodeId> {
        self.peers.get(index.get())?.as_ref().map(|peer| peer.id)
    }

    /// Whether all is known that a peer has receivers of.
    #[must_use]
    pub fn knows(&self, peer: NodeId) -> bool {
        self.peer(peer).is_some_and(|peer| peer.session.is_some() && peer.hearing.is_known())
    }

    /// Whether this node and a peer have told each other what they had receivers of when their link came to stand.
    #[must_use]
    pub fn has_met(&self, peer: NodeId) -> bool {
        self.peer(peer).is_some_and(|peer| {
            peer.session.is_some() && peer.hearing.is_settled() && peer.telling.acked >= peer.telling.had
        })
    }

    /// Whether this node is to serve a queue group of its own, if the publisher of a message did not know that it has members.
    #[must_use]
    pub fn serves(&self, group: &Interest<'_>, unknown: &Unknown<'_>) -> bool {
        let Some(name) = group.group() else { return false };
        // One without a link to here may have lost its members: rather twice than not at all.
        let having = self.table.having(group) & self.table.linked();
        let has_it = |id: &&NodeId| self.index_of(**id).is_some_and(|index| having.contains(index));
        !unknown.seen_to.contains(&name)
            && !unknown.others.iter().filter(|id| **id < self.me).any(|id| has_it(&id))
    }

    /// A link to a peer stands; one that stood before is void, and is to be closed: a node that went back to it would be behind what it has
    /// told on this one. Nothing may be sent on it before this was called.
    ///
    /// # Errors
    /// [`Crowded`].
    pub fn handle_up(&mut self, peer: NodeId, session: Session) -> Result<PeerIndex, Crowded> {
        assert!(peer != self.me, "a node is no peer of itself");
        let at = self.place_of(peer).or_else(|| self.make_room(peer)).ok_or(Crowded)?;
        self.flush();
        let place = self.peers[at].as_mut().expect("just found or made");
        place.handle_up(session, self.own.version(), &mut self.table);
        let index = place.index;
        self.tell_digest(at);
        Ok(index)
    }

    /// A link is gone. Another one that stands meanwhile is not meant.
    pub fn handle_down(&mut self, peer: NodeId, session: Session) {
        let Some(at) = self.place_of(peer) else { return };
        let place = self.peers[at].as_mut().expect("just found");
        if place.session == Some(session) {
            place.handle_down(&mut self.table);
        }
    }

    /// A peer is dead, and nobody has its name any more.
    pub fn handle_dead(&mut self, peer: NodeId) {
        let Some(at) = self.place_of(peer) else { return };
        let index = PeerIndex::new(at);
        self.table.clear(index);
        self.table.set_linked(index, false);
        self.table.set_unknown(index, false);
        self.peers[at] = None;
    }

    /// A frame came from a peer. One of another session is void, and kinds that are not about interest are not for this machine.
    ///
    /// # Errors
    /// It is not what its kind says; the link is to be closed.
    pub fn handle_frame(
        &mut self,
        peer: NodeId,
        session: Session,
        kind: Kind,
        payload: &[u8],
    ) -> Result<(), Malformed> {
        let Some(at) = self.place_of(peer) else { return Ok(()) };
        let (place, table, max) =
            (self.peers[at].as_mut().expect("just found"), &mut self.table, self.limits.max_entries);
        if place.session != Some(session) {
            return Ok(());
        }
        let reply = match kind {
            Kind::Sub | Kind::Unsub => {
                place.handle_changes(&Changes::decode(payload)?, kind == Kind::Sub, table, max)?
            }
            Kind::Resync => place.handle_part(&ReadPart::decode(payload)?, table, max)?,
            Kind::InterestDigest => {
                place.handle_digest(&Digest::decode(&mut Reader::new(payload))?, table, max)?
            }
            Kind::InterestAsk => return self.handle_ask(at, payload),
            Kind::InterestAck => return self.handle_ack(at, payload),
            _ => return Ok(()),
        };
        self.reply(at, reply);
        Ok(())
    }

    /// Time has passed; to be called when [`poll_timeout`](Self::poll_timeout) says.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        if now_ms < self.tick_at_ms {
            return;
        }
        self.tick_at_ms = now_ms + TICK_MS;
        self.flush();
        let is_digest_due = now_ms >= self.digest_at_ms;
        if is_digest_due {
            self.digest_at_ms = now_ms + DIGEST_MS;
        }
        for at in 0..self.peers.len() {
            let Some(place) = self.peers[at].as_mut().filter(|peer| peer.session.is_some()) else { continue };
            let is_behind = place.telling.acked < self.own.version();
            let is_stuck = is_behind && place.telling.retry.is_due(now_ms);
            if place.is_silent(now_ms, &mut self.table) {
                self.reply(at, ASK_ANEW);
            }
            if is_stuck || is_digest_due {
                self.tell_digest(at);
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called; `None` while there is no link.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        (!self.table.linked().is_empty()).then_some(self.tick_at_ms)
    }

    /// What is to be done next, in this order. Changes that were made since this was last asked travel together.
    pub fn poll_output(&mut self) -> Option<Output> {
        let generation = self.table.generation();
        if generation != self.told_generation {
            self.told_generation = generation;
            return Some(Output::Changed { generation });
        }
        if self.outputs.is_empty() {
            self.flush();
            self.acknowledge();
            self.confirm();
        }
        self.outputs.pop_front()
    }

    fn place_of(&self, peer: NodeId) -> Option<usize> {
        self.peers.iter().position(|place| place.as_ref().is_some_and(|place| place.id == peer))
    }

    fn peer(&self, id: NodeId) -> Option<&Peer> {
        self.peers.iter().flatten().find(|peer| peer.id == id)
    }

    fn make_room(&mut self, peer: NodeId) -> Option<usize> {
        let free = self.peers.iter().position(Option::is_none);
        let at = free.unwrap_or(self.peers.len());
        if at == MAX_PEERS {
            return None;
        }
        if at == self.peers.len() {
            self.peers.push(None);
        }
        self.peers[at] = Some(Peer::new(peer, PeerIndex::new(at)));
        Some(at)
    }

    fn send(&mut self, at: usize, kind: Kind, payload: Arc<[u8]>) {
        let place = self.peers[at].as_ref().expect("frames go to peers");
        let Some(session) = place.session else { return };
        self.outputs.push_back(Output::Send { peer: place.id, session, kind, payload });
    }

    /// Tells all peers with a link what has changed. Before anything is said of the set as it is now, so that versions are heard in order.
    fn flush(&mut self) {
        for delta in self.own.take_untold() {
            let payload = shared(delta.encode());
            for at in 0..self.peers.len() {
                if self.peers[at].is_some() {
                    self.send(at, delta.kind, payload.clone());
                }
            }
        }
    }

    fn tell_digest(&mut self, at: usize) {
        let mut payload = Vec::new();
        self.own.digest().encode(&mut payload);
        self.send(at, Kind::InterestDigest, shared(payload));
    }

    fn reply(&mut self, at: usize, reply: Reply) {
        match reply {
            Reply::Nothing => {}
            Reply::Ask(number, parts) => {
                self.send(at, Kind::InterestAsk, shared(frames::ask(number, parts)));
            }
            Reply::TooLarge => {
                let id = self.peers[at].as_ref().expect("a peer spoke").id;
                self.outputs.push_back(Output::Note(Note::TooLarge(id)));
            }
        }
    }

    fn handle_ask(&mut self, at: usize, payload: &[u8]) -> Result<(), Malformed> {
        let (number, parts) = frames::read_ask(payload)?;
        self.flush();
        let pages = &mut self.peers[at].as_mut().expect("a peer spoke").telling.pages;
        if pages.ask(number, parts) == Asked::Never {
            return Err(Malformed("parts of an ask"));
        }
        let mut sent = Vec::new();
        while let Some((number, index, after)) = pages.next() {
            let part = self.own.part(after.map(|key| &**key));
            sent.push(part.encode(number, index, &self.own.digest()));
            pages.sent(part.up_to);
        }
        sent.into_iter().for_each(|payload| self.send(at, Kind::Resync, shared(payload)));
        Ok(())
    }

    fn handle_ack(&mut self, at: usize, payload: &[u8]) -> Result<(), Malformed> {
        let version = Reader::new(payload).number("version of an acknowledgement")?;
        if version > self.own.version() {
            return Err(Malformed("version of an acknowledgement"));
        }
        let telling = &mut self.peers[at].as_mut().expect("a peer spoke").telling;
        if version > telling.acked {
            telling.acked = version;
            telling.retry.reset();
        }
        Ok(())
    }

    /// Acknowledges what was heard, once for all frames that came together.
    fn acknowledge(&mut self) {
        for at in 0..self.peers.len() {
            let Some(place) = self.peers[at].as_mut() else { continue };
            if std::mem::take(&mut place.hearing.owes_ack) {
                let mut payload = Vec::new();
                put_number(&mut payload, place.hearing.version);
                self.send(at, Kind::InterestAck, shared(payload));
            }
        }
    }

    /// The version up to which every peer with a link has acknowledged.
    fn in_force(&self) -> u64 {
        let linked = self.peers.iter().flatten().filter(|peer| peer.session.is_some());
        linked.map(|peer| peer.telling.acked).min().unwrap_or(self.own.version())
    }

    fn confirm(&mut self) {
        let in_force = self.in_force();
        if in_force > self.confirmed {
            self.confirmed = in_force;
            self.outputs.push_back(Output::Confirmed(Version(in_force)));
        }
    }
}
