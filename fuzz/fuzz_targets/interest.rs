//! What a node knows of another's interest is what that one has, whatever frames were lost and however often the link was; and a peer
//! that says anything at all breaks nothing.
//!
//! Operations on two nodes, and bytes from a third that the second has a link with too. A frame of that third that can't be costs it its link.

#![no_main]

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use wse_core::topic::Filter;
use wse_mesh::ids::{NodeId, Session};
use wse_mesh::interest::{Exchange, Interest, Limits, Orders, Output, Version};
use wse_mesh::wire::Kind;

const A: NodeId = NodeId(10);
const B: NodeId = NodeId(20);
const STRANGER: NodeId = NodeId(5);

const ENTRIES: [(&str, Option<&str>); 7] = [
    ("a", None),
    ("ab", None),
    ("a*", None),
    ("?b", None),
    ("a", Some("g")),
    ("a", Some("h")),
    ("b", Some("g")),
];
const TOPICS: [&str; 4] = ["a", "ab", "b", "cb"];
const KINDS: [Kind; 6] =
    [Kind::Sub, Kind::Unsub, Kind::Resync, Kind::InterestAck, Kind::InterestDigest, Kind::InterestAsk];

fuzz_target!(|input: &[u8]| {
    if let Ok((orders, message)) = Orders::decode(input) {
        let mut again = Vec::new();
        orders.encode(&mut again);
        again.extend_from_slice(message);
        assert_eq!(Orders::decode(&again), Ok((orders, message)));
    }
    let mut input = Unstructured::new(input);
    let _ = World::new().play(&mut input);
});

struct World {
    a: Exchange,
    b: Exchange,
    has: BTreeSet<usize>,
    /// On their way to `a` and to `b`.
    to_a: VecDeque<(Kind, Arc<[u8]>)>,
    to_b: VecDeque<(Kind, Arc<[u8]>)>,
    session: u64,
    stranger: u64,
    now_ms: u64,
}

fn interest(at: usize) -> Interest<'static> {
    let (text, group) = ENTRIES[at];
    let filter = Filter::parse(text).expect("a topic or pattern");
    group.map_or(Interest::of(filter), |group| Interest::in_group(filter, group).expect("a group"))
}

impl World {
    fn new() -> Self {
        let limits = Limits { max_entries: 40, frame_bytes: 1 << 10 };
        let mut world = Self {
            a: Exchange::new(A, limits, 1),
            b: Exchange::new(B, limits, 2),
            has: BTreeSet::new(),
            to_a: VecDeque::new(),
            to_b: VecDeque::new(),
            session: 0,
            stranger: 1,
            now_ms: 0,
        };
        world.link();
        world.b.handle_up(STRANGER, Session(1)).expect("there is room");
        world
    }

    fn play(mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let result = self.disturb(input);
        self.calm();
        result
    }

    fn disturb(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        while !input.is_empty() {
            match input.arbitrary::<u8>()? % 16 {
                0..=3 => {
                    let at = input.choose_index(ENTRIES.len())?;
                    let version = self.a.add(&interest(at));
                    self.has.insert(at);
                    assert!(version > Version(0));
                }
                4 | 5 => {
                    let at = input.choose_index(ENTRIES.len())?;
                    self.a.remove(&interest(at));
                    self.has.remove(&at);
                }
                6..=9 => self.deliver(input.int_in_range(1..=4)?),
                10 => {
                    self.drain();
                    if input.arbitrary()? {
                        self.to_b.pop_front()
                    } else {
                        self.to_a.pop_front()
                    };
                }
                11 => self.link(),
                12 => {
                    self.now_ms += u64::from(input.arbitrary::<u16>()?);
                    self.a.handle_timeout(self.now_ms);
                    self.b.handle_timeout(self.now_ms);
                }
                13 if input.ratio(1, 4)? => {
                    self.b.handle_dead(A);
                    self.link();
                }
                _ => self.stranger_speaks(input)?,
            }
            self.check_confirmed();
        }
        Ok(())
    }

    fn stranger_speaks(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let kind = *input.choose(&KINDS)?;
        let length = input.int_in_range(0..=40_usize)?.min(input.len());
        let payload = input.bytes(length)?;
        if self.b.handle_frame(STRANGER, Session(self.stranger), kind, payload).is_err() {
            self.b.handle_down(STRANGER, Session(self.stranger));
            self.stranger += 1;
            self.b.handle_up(STRANGER, Session(self.stranger)).expect("it has its place");
        }
        Ok(())
    }

    fn link(&mut self) {
        self.session += 1;
        self.to_a.clear();
        self.to_b.clear();
        self.a.handle_up(B, Session(self.session)).expect("there is room");
        self.b.handle_up(A, Session(self.session)).expect("there is room");
    }

    fn drain(&mut self) {
        for (node, peer, queue) in [(&mut self.a, B, &mut self.to_b), (&mut self.b, A, &mut self.to_a)] {
            while let Some(output) = node.poll_output() {
                if let Output::Send { peer: to, session, kind, payload } = output
                    && (to, session) == (peer, Session(self.session))
                {
                    queue.push_back((kind, payload));
                }
            }
        }
    }

    fn deliver(&mut self, frames: usize) {
        self.drain();
        let session = Session(self.session);
        for _ in 0..frames {
            if let Some((kind, payload)) = self.to_b.pop_front() {
                self.b.handle_frame(A, session, kind, &payload).expect("a node speaks as it should");
            }
            if let Some((kind, payload)) = self.to_a.pop_front() {
                self.a.handle_frame(B, session, kind, &payload).expect("a node speaks as it should");
            }
        }
        self.drain();
    }

    fn check_confirmed(&mut self) {
        let index = self.b.index_of(A).expect("there is a link");
        for at in self.has.clone() {
            let version = self.a.add(&interest(at));
            if !self.a.acknowledged(version) {
                continue;
            }
            let (text, group) = ENTRIES[at];
            for topic in
                TOPICS.into_iter().filter(|topic| Filter::parse(text).expect("a filter").matches(topic))
            {
                let route = self.b.table().route(topic);
                let in_group =
                    |name: &str| route.groups.iter().any(|of| &*of.name == name && of.peers.contains(index));
                assert!(match group {
                    None => route.peers.contains(index),
                    Some(name) => route.unknown.contains(index) || in_group(name),
                });
            }
        }
    }

    /// Nothing more is lost.
    fn calm(&mut self) {
        for _ in 0..300 {
            self.now_ms += 500;
            self.a.handle_timeout(self.now_ms);
            self.b.handle_timeout(self.now_ms);
            while !(self.to_a.is_empty() && self.to_b.is_empty()) {
                self.deliver(1);
            }
            self.drain();
        }
        assert!(self.b.knows(A));
        self.check_confirmed();
        let index = self.b.index_of(A).expect("there is a link");
        for topic in TOPICS {
            let meant = |group| {
                let is = |at: &usize| {
                    ENTRIES[*at].1 == group && Filter::parse(ENTRIES[*at].0).expect("a filter").matches(topic)
                };
                self.has.iter().any(is)
            };
            let route = self.b.table().route(topic);
            assert_eq!(route.peers.contains(index), meant(None), "{topic}");
            for name in ["g", "h"] {
                let is_in = route.groups.iter().any(|of| &*of.name == name && of.peers.contains(index));
                assert_eq!(is_in, meant(Some(name)), "{topic} {name}");
            }
        }
    }
}
