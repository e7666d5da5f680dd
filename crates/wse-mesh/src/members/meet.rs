//! Two nodes meet: their HELLOs, and how they agree on the one link that counts.

use std::net::SocketAddr;

use super::link::{Link, Other, Stage};
use super::output::{Level, Output, Terms, Why};
use super::record::{Death, Record, State};
use super::{MAX_LINKS, Members};
use crate::ids::{Incarnation, NodeId, Session};
use crate::wire::gossip::{Entry, Told, decode_list, decode_stamp, encode_stamp};
use crate::wire::hello::{Greeting, Hello, Stand};
use crate::wire::{Address, Kind, Malformed};

/// Links with one node that wait to be chosen; of more, the oldest is closed.
const MAX_WAITING: usize = 8;

/// A lost member is first looked for at its address, and so much later by the other names that led to it.
const OTHER_NAME_MS: u64 = 100;

impl Members {
    pub(super) fn open(&mut self, session: Session, link: Link, local: SocketAddr) {
        assert!(!self.links.contains_key(&session), "a session has one link");
        if self.is_shut || self.links.len() >= MAX_LINKS {
            let why = if self.is_shut { Why::Shutdown } else { Why::Full };
            self.outputs.push_back(Output::Close { session, why });
            return;
        }
        self.find_out_address(local);
        self.links.insert(session, link);
        let hello = Hello {
            versions: self.config.versions,
            cluster: self.config.cluster.clone(),
            id: self.id,
            incarnation: self.incarnation,
            capabilities: self.config.capabilities,
            max_frame: self.config.max_frame,
            leaving: self.leaving,
            joining: self.joining.is_some(),
            established: self.established,
            session,
            address: self.address.clone(),
        };
        self.send(session, Kind::Hello, hello.encode());
    }

    /// Without an advertised address the near end of a link is where this node is: that of the first link, but rather one that others can
    /// reach than loopback.
    fn find_out_address(&mut self, local: SocketAddr) {
        if self.config.advertised.is_some() {
            return;
        }
        let is_loopback =
            |address: &Address| ["127.", "[::1]"].iter().any(|start| address.as_str().starts_with(start));
        let Some(found) = Address::of(local.ip(), self.config.cluster_port) else { return };
        match &self.address {
            None => self.address = Some(found),
            Some(known) if is_loopback(known) && !is_loopback(&found) => {
                self.address = Some(found);
                self.contradict(self.incarnation);
            }
            Some(_) => {}
        }
    }

    /// Raises this node's incarnation above one, and says so.
    pub(super) fn contradict(&mut self, above: Incarnation) {
        let Some(raised) = above.0.checked_add(1) else { return };
        self.incarnation = Incarnation(raised);
        self.send_all(Kind::PeerAnnounce, &self.own_entry().encode(), None);
    }

    pub(super) fn own_entry(&self) -> Entry {
        Entry {
            id: self.id,
            incarnation: self.incarnation,
            told: Told::Alive,
            leaving: self.leaving,
            joining: self.joining.is_some(),
            established: self.established,
            silent_ms: 0,
            address: self.address.clone(),
        }
    }

    pub(super) fn frame(&mut self, session: Session, kind: Kind, payload: &[u8]) -> Result<(), Malformed> {
        let Some(link) = self.links.get(&session) else { return Ok(()) };
        let Some(other) = link.other else {
            return if kind == Kind::Hello {
                self.hello(session, payload)
            } else {
                Err(Malformed("HELLO comes first"))
            };
        };
        match kind {
            Kind::Hello => return Err(Malformed("a second HELLO")),
            Kind::Stand => return self.stand(session, other.id, payload),
            Kind::Keep => return self.keep(session, other.id),
            Kind::Shutdown => {
                self.die(other.id, Death::Shutdown);
                return Ok(());
            }
            _ => {}
        }
        let is_ours =
            matches!(kind, Kind::Ping | Kind::Pong | Kind::Drain | Kind::PeerAnnounce | Kind::PeerList);
        if is_ours && !link.counts() {
            return Err(Malformed("KEEP comes first"));
        }
        match kind {
            Kind::Ping => {
                let stamp = decode_stamp(payload)?;
                self.send(session, Kind::Pong, encode_stamp(stamp));
            }
            Kind::Pong => {
                let stamp = decode_stamp(payload)?;
                if let Some(took_ms) = self.now_ms.checked_sub(stamp) {
                    self.records.get_mut(&other.id).expect("a named link has a record").took(took_ms);
                }
            }
            Kind::Drain => self.leaves(other.id),
            Kind::PeerAnnounce => self.announced(session, other.id, &Entry::decode(payload)?),
            Kind::PeerList => {
                for entry in decode_list(payload)? {
                    self.hear_of(other.id, &entry, self.now_ms);
                }
                self.records.get_mut(&other.id).expect("a named link has a record").has_told = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn hello(&mut self, session: Session, payload: &[u8]) -> Result<(), Malformed> {
        let hello = match Hello::decode(payload, self.config.versions)? {
            Greeting::Hello(hello) => hello,
            Greeting::Foreign(theirs) => {
                let ours = self.config.versions;
                self.is_foreign(
                    session,
                    &format!("speaks version {theirs} of the protocol, this node {ours}"),
                );
                return Ok(());
            }
        };
        if hello.cluster != self.config.cluster {
            let text =
                format!("belongs to cluster {:?}, this node to {:?}", hello.cluster, self.config.cluster);
            self.is_foreign(session, &text);
        } else if hello.id == self.id {
            self.is_me(session);
        } else if self
            .records
            .get(&hello.id)
            .is_some_and(|record| record.state == State::Dead(Death::Shutdown))
        {
            self.close(session, Why::Dead);
        } else if self.make_room(hello.id) {
            self.named(session, &hello);
        } else {
            self.close(session, Why::Full);
        }
        Ok(())
    }

    fn is_foreign(&mut self, session: Session, what: &str) {
        let (place, subject) = (self.links[&session].place(), self.links[&session].subject());
        let text = format!("the node at {place} {what}: refused");
        self.note_once(Level::Warn, &format!("foreign {subject}"), text);
        if let Some(address) = self.links[&session].dialled.clone() {
            self.book.refused(&address);
        }
        self.close(session, Why::Foreign);
    }

    /// A seed may be this node itself, or a name or a gateway may lead back here. Nobody need know.
    fn is_me(&mut self, session: Session) {
        if let Some(address) = self.links[&session].dialled.clone() {
            self.book.is_mine(&address, self.now_ms);
        }
        self.close(session, Why::Myself);
    }

    fn named(&mut self, session: Session, hello: &Hello) {
        self.close_oldest_waiting(hello.id);
        let ours = &self.config;
        let terms = Terms {
            version: ours
                .versions
                .common(hello.versions)
                .expect("a HELLO without a common version is foreign"),
            capabilities: ours.capabilities & hello.capabilities,
            max_frame: hello.max_frame,
        };
        let link = self.links.get_mut(&session).expect("its HELLO just came");
        link.other = Some(Other { id: hello.id, session: hello.session, terms });
        link.stage = Stage::Named;
        if let Some(dialled) = &link.dialled {
            self.book.found(dialled, hello.id);
        }
        let now_ms = self.now_ms;
        let record = self.records.entry(hello.id).or_insert_with(|| Record::new(hello.id, now_ms, now_ms));
        record.heard_ms = now_ms;
        record.elder.get_or_insert(hello.established);
        self.is_view_stale = true;
        self.hear_state(hello.id, hello.joining, hello.established);
        self.learn(hello.id, hello.incarnation, hello.leaving, hello.address.as_ref());
        if let Some(address) = &hello.address {
            self.came_with(hello.id, address);
        }
        if self.id > hello.id {
            let others =
                self.links.iter().filter(|(other, link)| **other != session && link.is_with(hello.id));
            let sessions = others.filter_map(|(_, link)| link.other).map(|other| other.session).collect();
            self.stands += 1;
            let stand = Stand { number: self.stands, sessions };
            self.send(session, Kind::Stand, stand.encode());
        }
    }

    fn close_oldest_waiting(&mut self, id: NodeId) {
        let waiting = self
            .links
            .iter()
            .filter(|(_, link)| link.is_with(id) && !link.counts())
            .map(|(session, _)| *session);
        let waiting: Vec<Session> = waiting.collect();
        if waiting.len() >= MAX_WAITING {
            self.close(waiting[0], Why::Redundant);
        }
    }

    /// The higher id has told which links with it stand: the lower chooses. It may not know of a link that came to stand after it
    /// spoke: then it spoke of that one later, and that was heard first.
    fn stand(&mut self, session: Session, id: NodeId, payload: &[u8]) -> Result<(), Malformed> {
        let stand = Stand::decode(payload)?;
        if self.id > id || self.links[&session].counts() {
            return Err(Malformed("STAND to one who does not choose"));
        }
        self.links.get_mut(&session).expect("it came on this link").stand = stand.number;
        if let Some(known) = self.records[&id].session {
            if stand.sessions.contains(&known) || self.links[&known].stand > stand.number {
                self.close(session, Why::Redundant);
                return Ok(());
            }
            self.close(known, Why::Redundant);
        }
        self.count(session, id);
        Ok(())
    }

    /// The lower id has chosen.
    fn keep(&mut self, session: Session, id: NodeId) -> Result<(), Malformed> {
        if self.id < id || self.links[&session].counts() {
            return Err(Malformed("KEEP from one who does not choose"));
        }
        if let Some(known) = self.records[&id].session {
            self.close(known, Why::Redundant);
        }
        self.count(session, id);
        Ok(())
    }

    /// From now on this is the link with that node.
    fn count(&mut self, session: Session, id: NodeId) {
        if self.id < id {
            self.send(session, Kind::Keep, Vec::new());
        }
        let ping_in_ms = self.random.between(0, self.config.heartbeat_ms);
        let link = self.links.get_mut(&session).expect("it was just chosen");
        (link.stage, link.since_ms, link.ping_at_ms) = (Stage::Counts, self.now_ms, self.now_ms + ping_in_ms);
        let (place, terms) = (link.place(), link.other.expect("only what is named counts").terms);
        let record = self.records.get_mut(&id).expect("a named link has a record");
        let is_news = !record.was_linked;
        (record.session, record.was_linked, record.told_suspect) = (Some(session), true, false);
        if record.state != State::Alive {
            (record.state, record.since_ms) = (State::Alive, self.now_ms);
        }
        self.is_view_stale = true;
        self.outputs.push_back(Output::Up { id, session, terms });
        self.note_once(Level::Info, &format!("up {id}"), format!("linked with node {id} at {place}"));
        self.send(session, Kind::PeerAnnounce, self.own_entry().encode());
        if is_news {
            self.announce(id);
        }
    }

    pub(super) fn refuse(&mut self, session: Session, malformed: Malformed) {
        if let Some(link) = self.links.get(&session) {
            let (place, subject) = (link.place(), link.subject());
            let text = format!("the link with {place} is closed: {malformed}");
            self.note_once(Level::Warn, &format!("malformed {subject}"), text);
            self.close(session, Why::Malformed);
        }
    }

    /// Closes a link from this side.
    pub(super) fn close(&mut self, session: Session, why: Why) {
        self.closed(session);
        self.outputs.push_back(Output::Close { session, why });
    }

    /// Somebody else closed a link, or it broke.
    pub(super) fn broke(&mut self, session: Session) {
        let Some(link) = self.links.get(&session) else { return };
        if let Some(other) = link.other.filter(|_| link.counts()) {
            let text = format!("the link with node {} at {} is lost", other.id, link.place());
            self.note_once(Level::Info, &format!("lost {}", other.id), text);
        }
        self.closed(session);
    }

    /// A link is no more.
    pub(super) fn closed(&mut self, session: Session) {
        let Some(link) = self.links.remove(&session) else { return };
        if let Some(other) = link.other
            && link.counts()
        {
            self.lost(session, other.id, link.since_ms);
        } else if let Some(address) = &link.dialled {
            // It came to nothing; if its node has another link, nobody will ask when it may be dialled again.
            self.retry(address);
        }
    }

    /// A lost link is not a death: the member is suspect and dialled at once, unless the link did not even live for a heartbeat.
    fn lost(&mut self, session: Session, id: NodeId, since_ms: u64) {
        let record = self.records.get_mut(&id).expect("a named link has a record");
        record.session = None;
        let (is_dead, is_doubted) = (record.is_dead(), record.doubted_until_ms.is_some());
        if !is_dead {
            (record.state, record.since_ms) = (State::Suspect, self.now_ms);
        }
        let address = record.address.clone();
        self.is_view_stale = true;
        self.outputs.push_back(Output::Down { id, session });
        let at_once = !is_dead && self.now_ms >= since_ms + self.config.heartbeat_ms;
        for name in self.book.names(id) {
            if at_once {
                self.book.hope(&name, self.now_ms);
            } else {
                self.retry(&name);
            }
            if Some(&name) != address.as_ref() {
                self.book.hold(&name, self.now_ms + OTHER_NAME_MS);
            }
        }
        if is_doubted {
            self.die(id, Death::Replaced);
        }
    }
}
