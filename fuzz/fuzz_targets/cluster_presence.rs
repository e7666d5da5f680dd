//! What a node tells of the presence of others is what it sees, each change once; once nothing is lost any more it sees who is there; and a
//! peer that says anything at all breaks nothing.
//!
//! Operations on two nodes, and bytes from a third that the second has a link with too. A frame of that third that can't be costs it its link.

#![no_main]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use wse_core::ConnId;
use wse_core::presence::{Change, Data, Kind as What};
use wse_mesh::ids::{NodeId, Session};
use wse_mesh::presence::{Limits, Output, Presence};
use wse_mesh::wire::Kind;

const A: NodeId = NodeId(10);
const B: NodeId = NodeId(20);
const STRANGER: NodeId = NodeId(15);

const TOPICS: [&str; 2] = ["t", "v"];
const USERS: [&str; 4] = ["", "u", "w", "\u{e9}"];
const KINDS: [Kind; 3] = [Kind::PresenceDelta, Kind::PresenceSnapshot, Kind::PresenceAsk];

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let _ = World::new().play(&mut input);
});

struct World {
    a: Presence,
    b: Presence,
    /// What `b` has told.
    seen: BTreeMap<(String, String), Data>,
    to_a: VecDeque<(Kind, Arc<[u8]>)>,
    to_b: VecDeque<(Kind, Arc<[u8]>)>,
    session: u64,
    stranger: u64,
    now_ms: u64,
}

fn conn(number: usize) -> ConnId {
    ConnId { shard: 0, slot: number as u32, generation: 0 }
}

impl World {
    fn new() -> Self {
        let limits = Limits { frame_bytes: 60, ..Limits::default() };
        let mut world = Self {
            a: Presence::new(A, limits),
            b: Presence::new(B, Limits { max_entries: 10, ..limits }),
            seen: BTreeMap::new(),
            to_a: VecDeque::new(),
            to_b: VecDeque::new(),
            session: 0,
            stranger: 1,
            now_ms: 0,
        };
        world.link();
        world.b.handle_up(STRANGER, Session(1));
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
                0..=5 => self.act(input)?,
                6..=8 => self.deliver(input.int_in_range(1..=4)?),
                9 => {
                    self.drain();
                    if input.arbitrary()? {
                        self.to_b.pop_front()
                    } else {
                        self.to_a.pop_front()
                    };
                }
                10 => self.link(),
                11 => self.pass(u64::from(input.arbitrary::<u16>()?)),
                12 if input.ratio(1, 4)? => {
                    self.b.handle_dead(A);
                    self.link();
                }
                _ => self.stranger_speaks(input)?,
            }
            self.drain();
            self.check_seen();
        }
        Ok(())
    }

    /// A connection of one of the two nodes comes, goes or shows something else.
    fn act(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let (topic, user) = (*input.choose(&TOPICS)?, *input.choose(&USERS)?);
        let conn = conn(input.choose_index(2)?);
        let data = Data::new(&format!("{{\"n\":{}}}", input.int_in_range(0..=2)?), 100).expect("short");
        let what = input.int_in_range(0..=3)?;
        let is_b = input.ratio(1, 4)?;
        let node = if is_b { &mut self.b } else { &mut self.a };
        let change = match what {
            0 => node.enter(topic, user, conn, None, self.now_ms).expect("no limit"),
            1 => node.enter(topic, user, conn, Some(data), self.now_ms).expect("no limit"),
            2 => node.update(topic, user, conn, data, self.now_ms),
            _ => node.exit(topic, user, conn),
        };
        if let Some(change) = change.filter(|_| is_b) {
            self.tell(topic, change);
        }
        Ok(())
    }

    fn stranger_speaks(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let kind = *input.choose(&KINDS)?;
        let length = input.int_in_range(0..=60_usize)?.min(input.len());
        let payload = input.bytes(length)?;
        if self.b.handle_frame(STRANGER, Session(self.stranger), kind, payload).is_err() {
            self.b.handle_down(STRANGER, Session(self.stranger));
            self.stranger += 1;
            self.b.handle_up(STRANGER, Session(self.stranger));
        }
        Ok(())
    }

    fn link(&mut self) {
        self.session += 1;
        self.to_a.clear();
        self.to_b.clear();
        self.a.handle_up(B, Session(self.session));
        self.b.handle_up(A, Session(self.session));
    }

    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        self.a.handle_timeout(self.now_ms);
        self.b.handle_timeout(self.now_ms);
    }

    fn tell(&mut self, topic: &str, change: Change) {
        let place = (topic.to_owned(), change.user.to_string());
        match change.kind {
            What::Joined => assert_eq!(self.seen.insert(place, change.data), None),
            What::Left { .. } => assert_eq!(self.seen.remove(&place), Some(change.data)),
            What::Updated => {
                let before = self.seen.insert(place, change.data.clone());
                assert!(before.is_some_and(|before| before != change.data));
            }
        }
    }

    fn drain(&mut self) {
        let session = Session(self.session);
        while let Some(output) = self.a.poll_output() {
            if let Output::Send { peer: B, session: on, kind, payload } = output
                && on == session
            {
                self.to_b.push_back((kind, payload));
            }
        }
        while self.a.first_void().is_some() {
            self.a.drop_void();
        }
        // Odd times there is no room to tell of what is void.
        while self.now_ms.is_multiple_of(2) && self.b.first_void().is_some() {
            self.b.drop_void();
        }
        while let Some(output) = self.b.poll_output() {
            match output {
                Output::Send { peer: A, session: on, kind, payload } if on == session => {
                    self.to_a.push_back((kind, payload));
                }
                Output::Told { topic, change } => self.tell(&topic, change),
                Output::Send { .. } | Output::Note(_) => {}
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

    fn check_seen(&self) {
        assert_eq!(self.b.user_count(), self.seen.len());
        for topic in TOPICS {
            let list = self.b.list(topic);
            let told = self.seen.iter().filter(|((of, _), _)| of == topic);
            assert_eq!(list.len(), told.count());
            let is_seen = |user: &str| self.seen.get(&(topic.to_owned(), user.to_owned()));
            assert!(list.iter().all(|one| is_seen(&one.user) == Some(&one.data)));
        }
    }

    /// Nothing more is lost, and the stranger is gone.
    fn calm(&mut self) {
        self.b.handle_dead(STRANGER);
        // From here on there is room: the time stays even.
        self.now_ms += self.now_ms % 2;
        for _ in 0..150 {
            self.pass(500);
            self.drain();
            while !(self.to_a.is_empty() && self.to_b.is_empty()) {
                self.deliver(1);
            }
        }
        self.check_seen();
        assert!(self.a.knows(B) && self.b.knows(A));
        for topic in TOPICS {
            let [of_a, of_b] = [&self.a, &self.b].map(|node| {
                let list = node.list(topic).into_iter();
                list.map(|one| (one.user, (one.data.as_str().to_owned(), one.connections)))
                    .collect::<BTreeMap<_, _>>()
            });
            assert_eq!(of_a, of_b);
        }
    }
}
