//! Who is in the cluster: links, gossip, suspicion and death (`spec/cluster/members.md`).
//!
//! [`Members`] is told by the links what happens and when (`handle_*`), by the application what it wants ([`leave`](Members::leave),
//! [`shutdown`](Members::shutdown)), and answers by [`poll_output`](Members::poll_output), which is drained after each call, and
//! [`poll_timeout`](Members::poll_timeout). In reading order: what it is told (`config`) and says ([`Output`]); a link (`link`) and how two
//! nodes agree on one (`meet`); what is known of another node (`record`), how it dies (`watch`) and what is told of it (`gossip`);
//! addresses (`book`) and who is dialled when (`dial`).

mod config;
mod output;

mod link;
mod meet;

mod gossip;
mod record;
mod watch;

mod book;
mod dial;

mod notes;
mod random;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use crate::ids::{Incarnation, NodeId, Session};
use crate::view::View;
use crate::wire::{Address, Kind, Malformed};

pub use config::Config;
pub use output::{DialFailure, Level, Output, Peer, Terms, Why};

use book::Book;
use dial::Joining;
use link::Link;
use notes::Notes;
use random::Random;
use record::Record;

/// A dial is to be answered within this time, a failure being an answer: while it waits, its address is not tried again.
pub const DIAL_MS: u64 = 3_000;

/// Members that are known at the most, dead ones included.
pub const MAX_MEMBERS: usize = 1_024;

/// Links at the most, whatever has become of them.
pub const MAX_LINKS: usize = 4_096;

/// A timer that is called so much later than it asked for tells of a thread that stood still.
const STALL_MS: u64 = 1_000;

/// Membership of one node.
///
/// Invariants, outside of calls: a link that was named has a record; a record's `session` is a link that counts, and each link that counts is
/// its record's; the dead have none that counts; `view` is what the records say.
#[derive(Debug)]
pub struct Members {
    config: Config,
    id: NodeId,
    incarnation: Incarnation,
    leaving: bool,
    /// SHUTDOWN is said: nothing happens any more.
    is_shut: bool,
    /// Where this node listens, told or found out.
    address: Option<Address>,
    now_ms: u64,
    random: Random,
    links: BTreeMap<Session, Link>,
    records: BTreeMap<NodeId, Record>,
    /// How often STAND was said.
    stands: u64,
    book: Book,
    notes: Notes,
    /// It is `joining`.
    joining: Option<Joining>,
    /// It is one of a cluster.
    established: bool,
    started_ms: u64,
    /// When the next list is told, and to whom the last was.
    list_at_ms: u64,
    list_last: Option<NodeId>,
    /// When the timer is wanted next; `u64::MAX` for never.
    wake_at_ms: u64,
    outputs: VecDeque<Output>,
    view: View,
    /// The records say something else than the view.
    is_view_stale: bool,
}

impl Members {
    /// A node that has just started, under an id drawn at random, with another random number as seed for what is left to chance.
    ///
    /// # Panics
    /// The configuration breaks a rule of [`Config`].
    #[must_use]
    pub fn new(config: Config, id: NodeId, seed: u64, now_ms: u64) -> Self {
        config.check();
        let mut book = Book::default();
        for address in config.peers.iter().chain(&config.seeds) {
            book.configure(address);
        }
        let joining = book.iter().next().is_some();
        Self {
            id,
            incarnation: Incarnation(0),
            leaving: false,
            is_shut: false,
            address: config.advertised.clone(),
            config,
            now_ms,
            random: Random::new(seed),
            links: BTreeMap::new(),
            records: BTreeMap::new(),
            stands: 0,
            book,
            notes: Notes::default(),
            joining: joining.then(|| Joining::new(now_ms)),
            established: false,
            started_ms: now_ms,
            list_at_ms: now_ms,
            list_last: None,
            wake_at_ms: now_ms,
            outputs: VecDeque::new(),
            view: View { me: id, leaving: false, joining, established: false, members: Vec::new() },
            is_view_stale: false,
        }
    }

    // What the links say.

    /// A dial has made a link, which is through TLS and the secret. `session` was not used before.
    pub fn handle_dialled(
        &mut self,
        session: Session,
        address: &Address,
        local: SocketAddr,
        remote: SocketAddr,
        now_ms: u64,
    ) {
        self.advance(now_ms);
        self.book.answered(address);
        self.open(session, Link::new(Some(address.clone()), remote, self.now_ms), local);
        self.settle();
    }

    /// Somebody has made a link, which is through TLS and the secret. `session` was not used before.
    pub fn handle_accepted(&mut self, session: Session, remote: SocketAddr, local: SocketAddr, now_ms: u64) {
        self.advance(now_ms);
        self.open(session, Link::new(None, remote, self.now_ms), local);
        self.settle();
    }

    /// A dial has made no link.
    pub fn handle_dial_failed(&mut self, address: &Address, failure: DialFailure, now_ms: u64) {
        self.advance(now_ms);
        self.book.answered(address);
        if !self.is_shut {
            self.dial_failed(address, failure);
        }
        self.settle();
    }

    /// A frame came. Kinds of other chapters, and links that were closed here, are passed over.
    ///
    /// # Errors
    /// It can't be. The link is closed already, and a line written.
    pub fn handle_frame(
        &mut self,
        session: Session,
        kind: Kind,
        payload: &[u8],
        now_ms: u64,
    ) -> Result<(), Malformed> {
        self.advance(now_ms);
        self.heard(session);
        let read = self.frame(session, kind, payload);
        if let Err(malformed) = read {
            self.refuse(session, malformed);
        }
        // Most frames are answers to PING and of other chapters, from which nothing follows.
        if read.is_err() || self.is_view_stale || is_consequential(kind) {
            self.settle();
        }
        read
    }

    /// Another machine found a frame of this link malformed: it is closed, and a line written.
    pub fn handle_malformed(&mut self, session: Session, malformed: Malformed, now_ms: u64) {
        self.advance(now_ms);
        self.refuse(session, malformed);
        self.settle();
    }

    /// The other side closed the link, or it broke.
    pub fn handle_closed(&mut self, session: Session, now_ms: u64) {
        self.advance(now_ms);
        self.broke(session);
        self.settle();
    }

    /// Bytes came, of whatever kind; cheap, for each read.
    pub fn handle_heard(&mut self, session: Session, now_ms: u64) {
        self.advance(now_ms);
        self.heard(session);
        if self.is_view_stale {
            self.settle();
        }
    }

    /// It is as late as [`poll_timeout`](Self::poll_timeout) asked for, or later.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        self.advance(now_ms);
        if !self.is_shut {
            self.watch_members();
            self.watch_links();
            // The last link of one that is long dead may just have gone.
            self.watch_members();
            self.tell_one();
        }
        self.settle();
    }

    // What the application says.

    /// This node is to go: everybody is told not to count on it. Links and answers go on.
    pub fn leave(&mut self, now_ms: u64) {
        self.advance(now_ms);
        if !self.leaving {
            self.leaving = true;
            self.is_view_stale = true;
            self.send_all(Kind::Drain, &[], None);
        }
        self.settle();
    }

    /// This node goes now: everybody is told that its memory is gone, and all links are closed. Nothing is asked of it any more. One that
    /// was still looking for its seeds stays so: with nobody left to ask it must not act alone in its last moment.
    pub fn shutdown(&mut self, now_ms: u64) {
        self.advance(now_ms);
        if !self.is_shut {
            self.leaving = true;
            self.is_view_stale = true;
            let sessions: Vec<Session> = self.links.keys().copied().collect();
            for session in sessions {
                // One that is closed may take others with it.
                let Some(link) = self.links.get(&session) else { continue };
                if link.other.is_some() {
                    self.send(session, Kind::Shutdown, Vec::new());
                }
                self.close(session, Why::Shutdown);
            }
            self.is_shut = true;
        }
        self.settle();
    }

    // What is asked of it.

    /// What is to be done and known next, if anything is.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted, if at all; it may find nothing to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        (self.wake_at_ms != u64::MAX).then_some(self.wake_at_ms)
    }

    /// The cluster as it is seen now.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// How often this node has contradicted what was said about it.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Where this node tells others to reach it, once it is known.
    #[must_use]
    pub fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    /// The others by id, dead ones included while they are remembered.
    pub fn peers(&self) -> impl Iterator<Item = Peer> {
        self.records.values().map(|record| Peer {
            id: record.id,
            address: record.address.clone(),
            standing: record.standing(),
            leaving: record.leaving,
            since_ms: record.since_ms,
            round_trip_ms: record.round_trip_ms(),
            session: record.session,
        })
    }

    /// Configured addresses behind which there is nobody with a link, nor this node.
    pub fn unreached(&self) -> impl Iterator<Item = &Address> {
        let peace = self.peace();
        let missing = self.book.iter().filter(move |(address, target)| {
            target.configured && !self.is_own(address, target) && !peace.has(address, target)
        });
        missing.map(|(address, _)| address)
    }

    // What all of the above have in common.

    /// Takes the time. If the timer is called much too late, this thread stood still, and nobody is blamed for what it did not hear.
    fn advance(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        let late_ms = self.now_ms.saturating_sub(self.wake_at_ms);
        if late_ms > STALL_MS {
            self.forgive(late_ms);
            self.wake_at_ms = self.now_ms;
        }
    }

    /// What follows from any change: dials that are due, the view, the next timeout.
    fn settle(&mut self) {
        if self.is_shut {
            self.wake_at_ms = u64::MAX;
        } else {
            self.come_of_age();
            let dial_at_ms = self.dial_due();
            // A time that has passed is now: lateness is measured by it.
            self.wake_at_ms = self.next_deadline_ms().min(dial_at_ms).max(self.now_ms);
        }
        if std::mem::take(&mut self.is_view_stale) {
            let view = View {
                me: self.id,
                leaving: self.leaving,
                joining: self.joining.is_some(),
                established: self.established,
                members: self.records.values().map(Record::member).collect(),
            };
            if view != self.view {
                self.view = view;
                self.outputs.push_back(Output::Changed);
            }
        }
        #[cfg(debug_assertions)]
        self.check();
    }

    fn send(&mut self, session: Session, kind: Kind, payload: Vec<u8>) {
        self.outputs.push_back(Output::Send { session, kind, payload });
    }

    /// To all with a link that counts, but for one.
    fn send_all(&mut self, kind: Kind, payload: &[u8], but: Option<NodeId>) {
        let sessions =
            self.records.values().filter(|record| Some(record.id) != but).filter_map(|record| record.session);
        for session in sessions.collect::<Vec<_>>() {
            self.send(session, kind, payload.to_vec());
        }
    }

    fn note(&mut self, level: Level, text: String) {
        self.outputs.push_back(Output::Note { level, text });
    }

    /// A line that is not repeated within a minute.
    fn note_once(&mut self, level: Level, subject: &str, text: String) {
        if self.notes.may_tell(subject, self.now_ms) {
            self.note(level, text);
        }
    }

    #[cfg(debug_assertions)]
    fn check(&self) {
        for (session, link) in &self.links {
            let record =
                link.other.map(|other| self.records.get(&other.id).expect("a named link has a record"));
            let is_its_own = record.is_some_and(|record| record.session == Some(*session));
            assert_eq!(link.counts(), is_its_own, "the link that counts is the one of the record");
        }
        for record in self.records.values() {
            let counts = record.session.map(|session| self.links.get(&session).is_some_and(Link::counts));
            assert_ne!(counts, Some(false), "a session is a link that counts");
            assert!(record.session.is_none() || !record.is_dead(), "the dead have no link that counts");
            assert!(
                record.session.is_some() || record.state != record::State::Alive,
                "who is alive has a link"
            );
        }
        assert!(self.records.len() <= MAX_MEMBERS && self.links.len() <= MAX_LINKS, "all of it is bounded");
    }
}

/// Whether something can follow from a frame that leaves the view as it was: a link, an address, a dial.
fn is_consequential(kind: Kind) -> bool {
    use Kind::{Drain, Hello, Keep, PeerAnnounce, PeerList, Shutdown, Stand};
    matches!(kind, Hello | Stand | Keep | PeerAnnounce | PeerList | Drain | Shutdown)
}
