//! A small world of nodes and links with a clock of its own: delays, resets, frames that a full queue drops, restarts, deaths that are
//! believed in vain, and links whose ends do not come and go at the same moment.

#![allow(dead_code, reason = "each test that includes this uses a part of it")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use wse_mesh::ids::{NodeId, Session};
use wse_mesh::wire::{Kind, Malformed};

/// SplitMix64: the same numbers for the same seed.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

/// What a machine wants.
pub(crate) enum Event<N> {
    Send { peer: NodeId, session: Session, kind: Kind, payload: Arc<[u8]> },
    Told(N),
}

/// A machine under test.
pub(crate) trait Machine {
    type Told;
    fn new(me: NodeId, rng: &mut Rng, class: u64) -> Self;
    fn up(&mut self, peer: NodeId, session: Session);
    fn down(&mut self, peer: NodeId, session: Session);
    fn dead(&mut self, peer: NodeId);
    fn frame(&mut self, peer: NodeId, session: Session, kind: Kind, payload: &[u8]) -> Result<(), Malformed>;
    fn timeout(&mut self, now_ms: u64);
    fn poll(&mut self) -> Option<Event<Self::Told>>;
}

pub(crate) struct Node<M: Machine> {
    pub(crate) id: NodeId,
    pub(crate) machine: M,
    /// What it told, to be looked at by the test.
    pub(crate) told: Vec<M::Told>,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Waiting,
    Up,
    Down,
}

/// A frame and when it arrives.
type Due = (u64, Kind, Arc<[u8]>);

struct Link {
    session: Session,
    ends: [usize; 2],
    ids: [NodeId; 2],
    state: [End; 2],
    up_at: [u64; 2],
    down_at: [u64; 2],
    is_broken: bool,
    /// What is on its way to each end.
    queues: [VecDeque<Due>; 2],
}

pub(crate) struct World<M: Machine> {
    pub(crate) nodes: Vec<Node<M>>,
    pub(crate) now_ms: u64,
    pub(crate) rng: Rng,
    /// One in so many frames is dropped; 0 is none.
    pub(crate) drops: u64,
    pub(crate) frames: u64,
    class: u64,
    links: Vec<Link>,
    /// When a node will take another for dead.
    deaths: Vec<(u64, usize, NodeId)>,
    /// The link that a node goes by to another.
    current: BTreeMap<(usize, NodeId), Session>,
    last: u64,
}

impl<M: Machine> World<M> {
    pub(crate) fn new(seed: u64, nodes: usize) -> Self {
        let mut rng = Rng::new(seed);
        let class = rng.below(4);
        let drops = if class >= 2 { 5 + rng.below(30) } else { 0 };
        let mut world = Self {
            nodes: Vec::new(),
            now_ms: 1_000_000,
            rng,
            drops,
            frames: 0,
            class,
            links: Vec::new(),
            deaths: Vec::new(),
            current: BTreeMap::new(),
            last: 0,
        };
        for _ in 0..nodes {
            let node = world.born();
            world.nodes.push(node);
        }
        world
    }

    fn born(&mut self) -> Node<M> {
        let id = NodeId(self.rng.next());
        let class = self.class;
        Node { id, machine: M::new(id, &mut self.rng, class), told: Vec::new() }
    }

    /// Whether what `from` sends `to` now would arrive, were no queue full.
    pub(crate) fn reaches(&self, from: usize, to: usize) -> bool {
        let session = self.current.get(&(from, self.nodes[to].id));
        session
            .is_some_and(|session| self.links.iter().any(|link| link.session == *session && !link.is_broken))
    }

    /// Whether all links stand, and nobody goes by one to a node that is gone.
    pub(crate) fn is_whole(&self) -> bool {
        let all = 0..self.nodes.len();
        let reaches_all = |from| all.clone().all(|to| from == to || self.reaches(from, to));
        let is_gone = |id: &NodeId| self.nodes.iter().all(|node| node.id != *id);
        all.clone().all(reaches_all) && !self.current.keys().any(|(_, id)| is_gone(id))
    }

    /// Something happens to the net.
    pub(crate) fn disturb(&mut self) {
        let count = self.nodes.len() as u64;
        match self.rng.below(20) {
            0..=2 => {
                if let Some(at) = self.some_link() {
                    self.break_all(at, 500);
                }
            }
            3 => {
                let at = self.rng.below(count) as usize;
                self.restart(at);
            }
            4 => {
                // Silence for so long that each takes the other for dead, though both live.
                if let Some(at) = self.some_link() {
                    let (ends, ids) = (self.links[at].ends, self.links[at].ids);
                    self.break_all(at, 300);
                    for end in 0..2 {
                        let when = self.now_ms + 300 + self.rng.below(500);
                        self.deaths.push((when, ends[end], ids[1 - end]));
                    }
                }
            }
            5 | 6 => self.double_link(),
            _ => {}
        }
    }

    fn some_link(&mut self) -> Option<usize> {
        let whole: Vec<usize> = (0..self.links.len()).filter(|at| !self.links[*at].is_broken).collect();
        let nth = self.rng.next().checked_rem(whole.len() as u64)?;
        Some(whole[nth as usize])
    }

    /// Breaks a link, and the other one between the same nodes if there are two: a node that has gone over to the second does not go back
    /// to the first.
    fn break_all(&mut self, at: usize, longest_ms: u64) {
        let [a, b] = self.links[at].ends;
        for at in 0..self.links.len() {
            let link = &self.links[at];
            if !link.is_broken && (link.ends == [a, b] || link.ends == [b, a]) {
                self.break_link(at, longest_ms);
            }
        }
    }

    fn break_link(&mut self, at: usize, longest_ms: u64) {
        let link = &mut self.links[at];
        link.is_broken = true;
        link.down_at = [0; 2].map(|_: u64| self.now_ms + self.rng.below(longest_ms));
        link.queues = Default::default();
    }

    pub(crate) fn restart(&mut self, at: usize) {
        let id = self.nodes[at].id;
        for link in 0..self.links.len() {
            if let Some(end) = self.links[link].ids.iter().position(|known| *known == id) {
                if !self.links[link].is_broken {
                    self.break_link(link, 500);
                }
                self.links[link].state[end] = End::Down;
            }
        }
        self.current.retain(|(from, _), _| *from != at);
        self.deaths.retain(|(_, of, _)| *of != at);
        for other in (0..self.nodes.len()).filter(|other| *other != at) {
            let when = self.now_ms + 500 + self.rng.below(3000);
            self.deaths.push((when, other, id));
        }
        self.nodes[at] = self.born();
    }

    fn connect(&mut self, a: usize, b: usize) {
        self.last += 1;
        let up_at = [0; 2].map(|_: u64| self.now_ms + self.rng.below(200));
        self.links.push(Link {
            session: Session(self.last),
            ends: [a, b],
            ids: [self.nodes[a].id, self.nodes[b].id],
            state: [End::Waiting; 2],
            up_at,
            down_at: [0; 2],
            is_broken: false,
            queues: Default::default(),
        });
    }

    /// Both have dialled: the second link is kept, the first until both ends know of the second.
    fn double_link(&mut self) {
        let Some(at) = self.some_link() else { return };
        let [a, b] = self.links[at].ends;
        if self.links_between(a, b) == 1 && self.links[at].state == [End::Up; 2] {
            self.connect(a, b);
        }
    }

    fn links_between(&self, a: usize, b: usize) -> usize {
        let is_between = |link: &&Link| !link.is_broken && (link.ends == [a, b] || link.ends == [b, a]);
        self.links.iter().filter(is_between).count()
    }

    /// Time passes, links come up, frames arrive.
    pub(crate) fn step(&mut self, longest_ms: u64, dial_one_in: u64) {
        self.now_ms += self.rng.below(longest_ms);
        for a in 0..self.nodes.len() {
            for b in 0..a {
                if self.links_between(a, b) == 0 && self.rng.one_in(dial_one_in) {
                    self.connect(a, b);
                }
            }
        }
        for at in 0..self.links.len() {
            for end in 0..2 {
                self.step_end(at, end);
            }
        }
        for at in 0..self.links.len() {
            let link = &self.links[at];
            if !link.is_broken && link.state == [End::Up; 2] {
                let [a, b] = link.ends;
                let session = link.session;
                let is_older = |other: &Link| {
                    !other.is_broken
                        && other.session < session
                        && (other.ends == [a, b] || other.ends == [b, a])
                };
                if let Some(older) = self.links.iter().position(is_older) {
                    self.break_link(older, 50);
                }
            }
        }
        self.links.retain(|link| !link.is_broken || link.state != [End::Down; 2]);
        self.declare_deaths();
        for at in 0..self.nodes.len() {
            self.nodes[at].machine.timeout(self.now_ms);
            self.drain(at);
        }
    }

    fn step_end(&mut self, at: usize, end: usize) {
        let link = &mut self.links[at];
        let (node, peer, session) = (link.ends[end], link.ids[1 - end], link.session);
        match link.state[end] {
            End::Waiting if link.is_broken => link.state[end] = End::Down,
            End::Waiting if link.up_at[end] <= self.now_ms => {
                link.state[end] = End::Up;
                self.current.insert((node, peer), session);
                self.nodes[node].machine.up(peer, session);
                self.drain(node);
            }
            End::Up if link.is_broken && link.down_at[end] <= self.now_ms => {
                link.state[end] = End::Down;
                if self.current.get(&(node, peer)) == Some(&session) {
                    self.current.remove(&(node, peer));
                }
                self.nodes[node].machine.down(peer, session);
                self.drain(node);
            }
            End::Up => loop {
                let queue = &mut self.links[at].queues[end];
                if queue.front().is_none_or(|(due, ..)| *due > self.now_ms) {
                    break;
                }
                let (_, kind, payload) = queue.pop_front().expect("just seen");
                let result = self.nodes[node].machine.frame(peer, session, kind, &payload);
                assert_eq!(result, Ok(()), "nodes of one kind understand each other: {kind:?}");
                self.drain(node);
            },
            End::Waiting | End::Down => {}
        }
    }

    fn declare_deaths(&mut self) {
        let (due, left) = self.deaths.drain(..).partition(|(when, ..)| *when <= self.now_ms);
        self.deaths = left;
        for (when, node, peer) in due {
            if !self.current.contains_key(&(node, peer)) {
                self.nodes[node].machine.dead(peer);
                self.drain(node);
            } else if self.nodes.iter().all(|node| node.id != peer) {
                // Its link is not known to be gone yet.
                self.deaths.push((when + 500, node, peer));
            }
        }
    }

    /// Sends what a machine wants sent.
    pub(crate) fn drain(&mut self, at: usize) {
        while let Some(event) = self.nodes[at].machine.poll() {
            match event {
                Event::Told(told) => self.nodes[at].told.push(told),
                Event::Send { peer, session, kind, payload } => {
                    self.frames += 1;
                    let is_dropped = self.drops > 0 && self.rng.one_in(self.drops);
                    let delay = self.rng.below(60);
                    let link = self.links.iter_mut().find(|link| link.session == session);
                    let Some(link) = link.filter(|link| !link.is_broken && !is_dropped) else { continue };
                    let end = link.ids.iter().position(|id| *id == peer).expect("the peer of a link");
                    let last = link.queues[end].back().map_or(0, |(due, ..)| *due);
                    link.queues[end].push_back((last.max(self.now_ms + delay), kind, payload));
                }
            }
        }
    }

    /// Nothing more goes wrong, for so long.
    pub(crate) fn calm(&mut self, for_ms: u64) {
        self.drops = 0;
        let until = self.now_ms + for_ms;
        while self.now_ms < until {
            self.step(200, 1);
        }
    }
}
