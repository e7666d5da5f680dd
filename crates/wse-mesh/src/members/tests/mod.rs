//! The rules one by one, with one node and peers that say what they are told to.

mod believed;
mod bounds;
mod established;
mod joining;
mod links;
mod properties;
mod refused;

use std::net::SocketAddr;

use super::*;
use crate::view::Standing;
use crate::wire::gossip::{Entry, Told, decode_list, encode_lists};
use crate::wire::hello::{Greeting, Hello, LEAST_MAX_FRAME, Stand, Versions, ZSTD};

const ME: NodeId = NodeId(500);
/// Chooses, when it meets `ME`.
const LOW: NodeId = NodeId(100);
/// Leaves the choice to `ME`.
const HIGH: NodeId = NodeId(900);

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn config() -> Config {
    Config {
        cluster: "ours".to_owned(),
        advertised: Some(address("10.0.0.5:9999")),
        cluster_port: 9999,
        peers: Vec::new(),
        seeds: Vec::new(),
        heartbeat_ms: 2_000,
        dead_after_ms: 8_000,
        max_frame: 1 << 20,
        versions: Versions::OURS,
        capabilities: ZSTD,
    }
}

fn hello(id: NodeId, session: u64) -> Hello {
    Hello {
        versions: Versions::OURS,
        cluster: "ours".to_owned(),
        id,
        incarnation: Incarnation(0),
        capabilities: ZSTD | 2,
        max_frame: 1 << 16,
        leaving: false,
        joining: false,
        established: false,
        session: Session(session),
        address: Some(address(&format!("10.1.0.1:{}", id.0 % 60_000 + 1))),
    }
}

fn entry(id: NodeId, told: Told, incarnation: u32) -> Entry {
    let address = hello(id, 0).address;
    Entry {
        id,
        incarnation: Incarnation(incarnation),
        told,
        leaving: false,
        joining: false,
        established: false,
        silent_ms: 0,
        address,
    }
}

/// One node, its clock, and what it has said since it was last asked.
struct Node {
    members: Members,
    now: u64,
    next_session: u64,
    said: Vec<Output>,
}

impl Node {
    fn new(config: Config) -> Self {
        let mut node = Self {
            members: Members::new(config, ME, 1, 1_000),
            now: 1_000,
            next_session: 0,
            said: Vec::new(),
        };
        node.members.handle_timeout(1_000);
        node.gather();
        node
    }

    fn gather(&mut self) {
        while let Some(output) = self.members.poll_output() {
            self.said.push(output);
        }
    }

    fn said(&mut self) -> Vec<Output> {
        self.gather();
        std::mem::take(&mut self.said)
    }

    fn accept(&mut self) -> Session {
        self.next_session += 1;
        let session = Session(self.next_session);
        let remote = SocketAddr::new(at("10.1.0.1:0").ip(), 40_000 + self.next_session as u16);
        self.members.handle_accepted(session, remote, at("10.0.0.5:9999"), self.now);
        session
    }

    fn dialled(&mut self, address: &Address) -> Session {
        self.next_session += 1;
        let session = Session(self.next_session);
        self.members.handle_dialled(session, address, at("10.0.0.5:40000"), at("10.1.0.1:9999"), self.now);
        session
    }

    fn frame(&mut self, session: Session, kind: Kind, payload: &[u8]) -> Result<(), Malformed> {
        self.members.handle_frame(session, kind, payload, self.now)
    }

    fn tell(&mut self, session: Session, kind: Kind, payload: &[u8]) {
        assert_eq!(self.frame(session, kind, payload), Ok(()));
    }

    /// A link with a peer, named but not chosen.
    fn meet(&mut self, id: NodeId, their_session: u64) -> Session {
        let session = self.accept();
        self.tell(session, Kind::Hello, &hello(id, their_session).encode());
        session
    }

    /// A link with a peer that counts.
    fn link(&mut self, id: NodeId) -> Session {
        let session = self.meet(id, 77);
        self.choose(session, id, 1, &[]);
        session
    }

    fn choose(&mut self, session: Session, id: NodeId, number: u64, standing: &[Session]) {
        if id < ME {
            self.tell(session, Kind::Keep, &[]);
        } else {
            let stand = Stand { number, sessions: standing.to_vec() };
            self.tell(session, Kind::Stand, &stand.encode());
        }
    }

    /// Lets time pass, with the timer called when it asks for it; the links with these are heard.
    fn pass(&mut self, ms: u64, heard: &[Session]) {
        let until = self.now + ms;
        while let Some(at) = self.members.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            for session in heard {
                self.members.handle_heard(*session, self.now);
            }
            self.members.handle_timeout(self.now);
            assert!(
                self.members.poll_timeout().is_none_or(|at| at > self.now),
                "a timer that was served is over"
            );
            self.gather();
        }
        self.now = until;
    }

    fn standing(&self, id: NodeId) -> Option<Standing> {
        self.members.view().member(id).map(|member| member.standing)
    }

    fn counts(&self, id: NodeId) -> Option<Session> {
        self.members.view().member(id).and_then(|member| member.session)
    }

    fn dials(&mut self) -> Vec<String> {
        let dials = self.said().into_iter();
        dials
            .filter_map(
                |output| if let Output::Dial { address } = output { Some(address.to_string()) } else { None },
            )
            .collect()
    }

    fn notes(&mut self) -> Vec<String> {
        let notes = self.said().into_iter();
        notes
            .filter_map(|output| if let Output::Note { text, .. } = output { Some(text) } else { None })
            .collect()
    }
}

fn closed(said: &[Output]) -> Vec<(Session, Why)> {
    let closed = said.iter().filter_map(|output| {
        if let Output::Close { session, why } = output { Some((*session, *why)) } else { None }
    });
    closed.collect()
}

fn sent(said: &[Output], wanted: Kind) -> Vec<(Session, Vec<u8>)> {
    let sent = said.iter().filter_map(|output| match output {
        Output::Send { session, kind, payload } if *kind == wanted => Some((*session, payload.clone())),
        _ => None,
    });
    sent.collect()
}
