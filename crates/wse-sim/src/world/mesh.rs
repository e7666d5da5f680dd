//! Worlds in which who is there is what the machine of members makes of a network: dials, streams, silence, clocks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use wse_mesh::ids::{NodeId, Session};
use wse_mesh::members::{self, DIAL_MS, DialFailure};
use wse_mesh::view::Standing;
use wse_mesh::wire::Address;
use wse_mesh::wire::hello::{Versions, ZSTD};

use super::{DEAD_AFTER_MS, Event, World};
use crate::network::{Hosts, PORT, Parcel, Place};
use crate::schedule::Finds;
use crate::words::describe;

/// How often a connection that does not come through is tried again.
const SYN_MS: u64 = 500;
/// The longest that a stream takes to go on after nothing passed.
const RETRANSMISSION_MS: u64 = 2000;

/// The machine of a node, and its end of the network.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) members: members::Members,
    /// Where each stream is that it knows.
    places: BTreeMap<Session, Place>,
    last_session: u64,
    /// What `Up` and `Down` have said.
    ups: BTreeMap<NodeId, Session>,
}

/// A dial under way.
#[derive(Clone, Debug)]
pub(super) struct Dial {
    pub(super) place: usize,
    pub(super) id: NodeId,
    address: Address,
    until_ms: u64,
}

impl World {
    /// The machine of a node that starts.
    pub(super) fn machine(&mut self, place: usize, id: NodeId, now_ms: u64) -> Machine {
        let names = |places: &mut dyn Iterator<Item = usize>| places.map(Hosts::name).collect::<Vec<_>>();
        let peers = match self.shape.finds {
            Finds::Everybody => names(&mut (0..self.shape.nodes)),
            Finds::First => names(&mut (0..1)),
            Finds::FirstTwo => names(&mut (0..2)),
        };
        let advertised = self.rng.percent(50).then(|| Address::of(self.hosts.ip(place), PORT));
        let config = members::Config {
            cluster: "sim".to_owned(),
            advertised: advertised.flatten(),
            cluster_port: PORT,
            peers,
            seeds: Vec::new(),
            heartbeat_ms: DEAD_AFTER_MS / 4,
            dead_after_ms: DEAD_AFTER_MS,
            max_frame: 1 << 20,
            versions: Versions::OURS,
            capabilities: ZSTD,
        };
        let members = members::Members::new(config, id, self.rng.bits(), now_ms);
        Machine {
            members,
            places: BTreeMap::new(),
            last_session: self.rng.within(0, 100),
            ups: BTreeMap::new(),
        }
    }

    fn machine_mut(&mut self, place: usize, id: NodeId) -> Option<&mut Machine> {
        self.node_if(place, id)?.machine.as_mut()
    }

    /// Tells a node's machine something, and does what it wants then.
    pub(super) fn tell(&mut self, place: usize, what: impl FnOnce(&mut members::Members, u64)) {
        let now = self.time(place);
        let machine = self.nodes[place].as_mut().and_then(|node| node.machine.as_mut());
        what(&mut machine.expect("it runs").members, now);
        self.settle(place);
    }

    /// Does what a node's machine wants, and tells the logs what has come of it.
    pub(super) fn settle(&mut self, place: usize) {
        let mut is_new = self.nodes[place].as_ref().is_some_and(|node| node.view.is_none());
        loop {
            let Some(node) = &mut self.nodes[place] else { return };
            let id = node.id;
            let machine = node.machine.as_mut().expect("a world with machines");
            let Some(output) = machine.members.poll_output() else { break };
            match output {
                members::Output::Dial { address } => {
                    let until_ms = self.now + DIAL_MS;
                    let at = self.now + self.late();
                    self.at(at, Event::Knock(Dial { place, id, address, until_ms }));
                }
                members::Output::Send { session, kind, payload } => {
                    if let Some(at) = machine.places.get(&session).copied() {
                        self.give(at, Parcel::Members(kind, payload));
                    }
                }
                members::Output::Close { session, why } => {
                    self.note(|_| format!("   node {place} closes {session:?}: {why:?}"));
                    self.hang_up(place, session);
                }
                members::Output::Up { id: peer, session, .. } => {
                    let before = machine.ups.insert(peer, session);
                    self.note(|_| format!("   node {place} up with {peer} by {session:?}"));
                    if before.is_some() {
                        self.oracle.broken(format!("M1 node {place} has two links with {peer}"));
                    }
                }
                members::Output::Down { id: peer, session } => {
                    let before = machine.ups.remove(&peer);
                    self.note(|_| format!("   node {place} down with {peer} by {session:?}"));
                    if before != Some(session) {
                        self.oracle.broken(format!("M1 node {place} loses a link with {peer} that was not"));
                    }
                }
                members::Output::Changed => is_new = true,
                members::Output::Note { text, .. } => {
                    self.note(|_| format!("   node {place} notes: {text}"));
                }
            }
        }
        if is_new {
            self.see(place);
        }
        self.arm(place);
    }

    /// The logs go by what the machine sees.
    fn see(&mut self, place: usize) {
        let now = self.time(place);
        let Some(node) = &mut self.nodes[place] else { return };
        let view = node.machine.as_ref().expect("a world with machines").members.view().clone();
        if node.view.as_ref() != Some(&view) {
            for member in view.members.iter().filter(|member| member.standing == Standing::Dead) {
                self.oracle.stats.deaths += u64::from(
                    node.view
                        .as_ref()
                        .and_then(|view| view.member(member.id))
                        .is_some_and(|member| member.standing != Standing::Dead),
                );
            }
            node.logs.handle_view(&view, now);
            node.view = Some(view);
            self.drain(place);
        }
    }

    // Streams.

    fn late(&mut self) -> u64 {
        1 + self.rng.within(0, self.shape.delay_ms)
    }

    fn passes(&self, from: usize, to: usize) -> bool {
        !self.blocked.contains(&(from, to))
    }

    /// What one end gives goes to the other.
    fn give(&mut self, (wire, side): Place, parcel: Parcel) {
        let at = self.now + self.late();
        if let Some(at) = self.network.put((wire, 1 - side), at, parcel) {
            self.at(at, Event::Comes((wire, 1 - side)));
        }
    }

    /// A frame of the logs goes to the peer with that link. Tells to which host, and whether it is on its way.
    pub(super) fn host_of(&self, place: usize, session: Session) -> Option<usize> {
        let machine = self.nodes[place].as_ref()?.machine.as_ref()?;
        Some(self.network.far(*machine.places.get(&session)?)?.host)
    }

    pub(super) fn give_log(&mut self, place: usize, session: Session, parcel: Parcel) {
        let machine = self.nodes[place].as_ref().and_then(|node| node.machine.as_ref());
        if let Some(at) = machine.and_then(|machine| machine.places.get(&session)).copied() {
            self.give(at, parcel);
        }
    }

    /// A process closes its end; the other hears of it after all that was said.
    fn hang_up(&mut self, place: usize, session: Session) {
        let machine = self.nodes[place].as_mut().and_then(|node| node.machine.as_mut());
        if let Some(at) = machine.and_then(|machine| machine.places.remove(&session)) {
            self.give(at, Parcel::Closed);
            self.network.close(at);
        }
    }

    /// A parcel is where it goes to, if it passes.
    pub(super) fn comes(&mut self, at: Place) {
        let (Some(end), Some(far)) = (self.network.end(at), self.network.far(at)) else { return };
        let (place, id, session, is_open, from) = (end.host, end.id, end.session, end.is_open, far.host);
        if !self.passes(from, place) || (is_open && session.is_none()) {
            self.network.hold(at);
            return;
        }
        let Some(parcel) = self.network.take(at) else { return };
        let is_closed = matches!(parcel, Parcel::Closed);
        let Some(session) = session.filter(|_| is_open && self.node_if(place, id).is_some()) else {
            if !is_closed && !self.hosts_down.contains(&place) {
                // Its host says that nobody has this stream.
                self.give(at, Parcel::Closed);
            }
            return;
        };
        let now = self.time(place);
        match parcel {
            Parcel::Members(kind, payload) => {
                self.oracle.stats.frames += 1;
                self.note(|_| format!("{from} -> {place}  {kind:?}"));
                self.tell(place, |members, now| {
                    // What is wrong with it has closed the link, and the end shows that.
                    let _ = members.handle_frame(session, kind, &payload, now);
                });
            }
            Parcel::Log(kind, topic, payload) => {
                let peer = self.network.far(at).expect("just seen").id;
                self.note(|_| format!("{from} -> {place}  {}", describe(kind, &topic, &payload)));
                let node = self.nodes[place].as_mut().expect("just seen");
                if let Err(error) = node.logs.handle_frame(peer, session, kind, &topic, &payload, now) {
                    self.oracle.broken(format!("FRAME {kind:?} from {from} to {place}: {error}"));
                }
                self.drain(place);
                self.tell(place, |members, now| members.handle_heard(session, now));
            }
            Parcel::Closed => {
                self.machine_mut(place, id).expect("just seen").places.remove(&session);
                self.network.close(at);
                self.tell(place, |members, now| members.handle_closed(session, now));
            }
        }
    }

    /// The first word of a dial is at the host that it is for.
    pub(super) fn knock(&mut self, dial: Dial) {
        let Some(node) = self.node_if(dial.place, dial.id) else { return };
        let id = node.id;
        let Some(target) = self.hosts.resolve(&dial.address) else {
            let failure = self.rng.pick(&[DialFailure::Timeout, DialFailure::Unreachable]);
            return self.not_dialled(dial, failure);
        };
        let is_way = self.passes(dial.place, target) && self.passes(target, dial.place);
        if !is_way || self.stalled.contains_key(&target) {
            return self.try_again(dial, Event::Knock);
        }
        match &self.nodes[target] {
            None if self.hosts_down.contains(&target) => self.not_dialled(dial, DialFailure::Timeout),
            None => self.not_dialled(dial, DialFailure::Refused),
            Some(there) => {
                let acceptor = (target, there.id);
                let wire = self.network.connect((dial.place, id), acceptor);
                let at = self.now + self.late();
                self.at(at, Event::Answered { wire, dial });
                self.open((wire, 1), None);
            }
        }
    }

    fn try_again(&mut self, dial: Dial, event: impl FnOnce(Dial) -> Event) {
        let again = self.now + SYN_MS;
        if again < dial.until_ms {
            self.at(again, event(dial));
        } else {
            self.not_dialled(dial, DialFailure::Timeout);
        }
    }

    fn not_dialled(&mut self, dial: Dial, failure: DialFailure) {
        let at = if failure == DialFailure::Timeout { dial.until_ms } else { self.now + self.late() };
        self.at(at, Event::NotDialled { dial, failure });
    }

    pub(super) fn dial_failed(&mut self, dial: &Dial, failure: DialFailure) {
        if self.node_if(dial.place, dial.id).is_some() {
            self.tell(dial.place, |members, now| members.handle_dial_failed(&dial.address, failure, now));
        }
    }

    /// The answer to a dial is back.
    pub(super) fn answered(&mut self, wire: u64, dial: Dial) {
        if self.node_if(dial.place, dial.id).is_none() {
            return;
        }
        let Some(far) = self.network.far((wire, 0)) else {
            return self.not_dialled(dial, DialFailure::Unreachable);
        };
        if self.passes(far.host, dial.place) {
            self.open((wire, 0), Some(&dial.address));
        } else if self.now + SYN_MS < dial.until_ms {
            self.try_again(dial, |dial| Event::Answered { wire, dial });
        } else {
            self.give((wire, 0), Parcel::Closed);
            self.network.close((wire, 0));
            self.not_dialled(dial, DialFailure::Timeout);
        }
    }

    /// A process hears of a stream.
    fn open(&mut self, at: Place, dialled: Option<&Address>) {
        let (Some(end), Some(far)) = (self.network.end(at), self.network.far(at)) else { return };
        let (place, id) = (end.host, end.id);
        let local = SocketAddr::new(self.hosts.ip(place), PORT);
        let remote = SocketAddr::new(self.hosts.ip(far.host), PORT);
        let Some(machine) = self.machine_mut(place, id) else { return };
        machine.last_session += 1;
        let session = Session(machine.last_session);
        machine.places.insert(session, at);
        for _ in 0..self.network.named(at, session) {
            self.at(self.now, Event::Comes(at));
        }
        self.note(|_| format!("## node {place} has a link {session:?}, dialled {dialled:?}"));
        self.tell(place, |members, now| match dialled {
            Some(address) => members.handle_dialled(session, address, local, remote, now),
            None => members.handle_accepted(session, remote, local, now),
        });
    }

    // What happens to them.

    /// A process has ended. Its host says so, unless it is gone as well; who ended in peace has got rid of what it said.
    pub(super) fn cut_off(&mut self, place: usize, id: NodeId, is_heard: bool, may_lose: bool) {
        let loses = may_lose && self.rng.percent(50);
        for at in self.network.of(id) {
            if loses {
                // What it has sent and nobody has got yet goes with it.
                self.network.lose((at.0, 1 - at.1));
            }
            if is_heard {
                self.give(at, Parcel::Closed);
            }
            self.network.close(at);
        }
        self.stalled.remove(&place);
    }

    /// All streams between two hosts are reset: one end notices at once, the other when it is told.
    pub(super) fn reset(&mut self, a: usize, b: usize) {
        for wire in self.network.between(a, b) {
            let loses = self.rng.percent(50);
            let side = self.rng.index(2);
            let Some(end) = self.network.end((wire, side)) else { continue };
            let (place, id, session) = (end.host, end.id, end.session);
            let is_awake = end.is_open && !self.stalled.contains_key(&place);
            let Some(session) = session.filter(|_| is_awake) else { continue };
            if loses {
                self.network.lose((wire, 0));
                self.network.lose((wire, 1));
            }
            if self.machine_mut(place, id).is_some() {
                self.hang_up(place, session);
                self.tell(place, |members, now| members.handle_closed(session, now));
            }
        }
    }

    /// What was held between these comes now.
    pub(super) fn flow(&mut self, pairs: &BTreeSet<(usize, usize)>) {
        for &(from, to) in pairs {
            self.blocked.remove(&(from, to));
        }
        for &(from, to) in pairs {
            let at = self.now + self.rng.within(0, RETRANSMISSION_MS);
            for (place, held) in self.network.release(from, to, at) {
                for _ in 0..held {
                    self.at(at, Event::Comes(place));
                }
            }
        }
    }

    /// The peer at a host with which a node has a link.
    pub(super) fn peer_at(&self, place: usize, host: usize) -> Option<NodeId> {
        let ups = &self.nodes[place].as_ref()?.machine.as_ref()?.ups;
        ups.iter().find(|(_, session)| self.host_of(place, **session) == Some(host)).map(|(id, _)| *id)
    }

    /// Whom a node has links with is what the others say too, and nobody is missing.
    pub(super) fn check_whole(&mut self) {
        for place in self.alive() {
            let Some(node) = &self.nodes[place] else { continue };
            let Some(machine) = &node.machine else { return };
            let view = machine.members.view();
            let mut wrong = Vec::new();
            for other in self.alive().into_iter().filter(|other| *other != place) {
                let there = self.nodes[other].as_ref().expect("alive");
                let member = view.member(there.id);
                let session = member.and_then(|member| member.session);
                let far = session.and_then(|session| self.network.far(*machine.places.get(&session)?));
                let back = there.machine.as_ref().and_then(|there| there.ups.get(&node.id)).copied();
                let is_alive = member.is_some_and(|member| member.standing == Standing::Alive);
                if !is_alive || far.is_none_or(|far| far.id != there.id || far.session != back) {
                    wrong
                        .push(format!("M2 node {place} has {other} as {member:?}, which has it as {back:?}"));
                }
            }
            let living: BTreeSet<NodeId> = self.nodes.iter().flatten().map(|node| node.id).collect();
            let ghosts = view.members.iter().filter(|member| !living.contains(&member.id));
            let ghosts = ghosts.filter(|member| member.standing == Standing::Alive);
            wrong.extend(ghosts.map(|member| format!("M3 node {place} has {} that is gone", member.id)));
            wrong.into_iter().for_each(|what| self.oracle.broken(what));
        }
    }
}
