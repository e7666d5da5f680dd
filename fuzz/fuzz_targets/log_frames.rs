//! Whatever a peer says about topics with history, well formed or not, in whatever order, the machine goes on: it refuses what is malformed, and what
//! is well formed but makes no sense changes nothing that it relies on. What it says itself is well formed.
//!
//! Input: operations. Frames are bytes, or are put together from small numbers so that they mean something.

#![no_main]

use std::collections::VecDeque;

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use wse_mesh::ids::{Incarnation, NodeId, Session};
use wse_mesh::log::{Config, Limits, Logs, Output};
use wse_mesh::view::{Member, Standing, View};
use wse_mesh::wire::Kind;

const TOPICS: [&str; 2] = ["a", "b"];
const LOG_KINDS: std::ops::Range<u8> = 0x30..0x47;

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let _ = play(&mut input);
});

/// Two nodes that talk to each other, and a third that says anything to both.
struct World {
    logs: [Logs; 2],
    on_the_way: [VecDeque<(Kind, String, Vec<u8>)>; 2],
    now: u64,
    token: u64,
}

fn play(input: &mut Unstructured<'_>) -> Result<()> {
    let limits = Limits { messages: 8, ttl_ms: 60_000, bytes: 4000 };
    let config = Config { limits, replicas: 1, unacked_bytes: 2000, part_bytes: 60, window: 2, ..Config::default() };
    let logs = [1, 2].map(|id| Logs::new(NodeId(id), id, config, 0));
    let mut world = World { logs, on_the_way: Default::default(), now: 0, token: 0 };
    world.view(0, Standing::Alive);
    world.view(1, Standing::Alive);
    while !input.is_empty() {
        world.step(input)?;
        for node in 0..2 {
            world.drain(node);
        }
    }
    Ok(())
}

fn number(input: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<()> {
    out.push(input.int_in_range(0..=12)?);
    Ok(())
}

fn node(input: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<()> {
    out.extend_from_slice(&input.int_in_range(0..=3_u64)?.to_le_bytes());
    Ok(())
}

fn term(input: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<()> {
    number(input, out)?;
    node(input, out)
}

fn epoch(input: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<()> {
    out.extend_from_slice(&input.int_in_range(0..=5_u32)?.to_le_bytes());
    Ok(())
}

fn topic(input: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<()> {
    let name = *input.choose(&TOPICS)?;
    out.push(1);
    out.extend_from_slice(name.as_bytes());
    Ok(())
}

fn chain(input: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<()> {
    let count = input.int_in_range(0..=3)?;
    out.push(count);
    for _ in 0..count {
        term(input, out)?;
        epoch(input, out)?;
        number(input, out)?;
    }
    Ok(())
}

fn log(input: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<()> {
    chain(input, out)?;
    number(input, out)?;
    number(input, out)
}

fn last(input: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<()> {
    let has = input.arbitrary::<bool>()?;
    out.push(u8::from(has));
    if has {
        node(input, out)?;
        number(input, out)?;
        number(input, out)?;
    }
    Ok(())
}

fn entries(input: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<()> {
    number(input, out)?;
    for at in 0..input.int_in_range(0..=4)? {
        let flags = if at == 0 { 3 } else { input.int_in_range(0..=7)? };
        out.push(flags);
        if flags & 1 != 0 {
            term(input, out)?;
            epoch(input, out)?;
        }
        if flags & 2 != 0 {
            node(input, out)?;
            number(input, out)?;
        }
        if flags & 4 != 0 {
            number(input, out)?;
        }
        out.extend_from_slice(&[1, b'm']);
    }
    Ok(())
}

/// A payload that may be read as one of its kind.
fn payload(input: &mut Unstructured<'_>, kind: Kind) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let out = &mut bytes;
    match kind {
        Kind::LogReplicaSync | Kind::LogSync => {
            term(input, out)?;
            let flags = input.int_in_range(0..=3)?;
            out.push(flags);
            if flags & 2 != 0 {
                term(input, out)?;
            }
            for _ in 0..3 {
                number(input, out)?;
            }
            chain(input, out)?;
            number(input, out)?;
            last(input, out)?;
            entries(input, out)?;
        }
        Kind::LogReplicate | Kind::LogEntries => {
            term(input, out)?;
            number(input, out)?;
            entries(input, out)?;
        }
        Kind::LogFetch => (0..2).try_for_each(|_| number(input, out))?,
        Kind::LogFetched => {
            (0..3).try_for_each(|_| number(input, out))?;
            entries(input, out)?;
        }
        Kind::LogHeadQuery | Kind::LogHeadReply => {
            term(input, out)?;
            epoch(input, out)?;
            number(input, out)?;
            number(input, out)?;
        }
        Kind::LogPublish => {
            (0..2).try_for_each(|_| number(input, out))?;
            out.extend_from_slice(&[1, b'p', 1, b'q']);
        }
        Kind::LogPublishAck => {
            (0..3).try_for_each(|_| number(input, out))?;
            out.push(0);
        }
        Kind::LogQuery => {
            number(input, out)?;
            topic(input, out)?;
            term(input, out)?;
        }
        Kind::LogQueryReply => {
            (0..2).try_for_each(|_| number(input, out))?;
            out.push(1);
            log(input, out)?;
            number(input, out)?;
            last(input, out)?;
        }
        Kind::LogAttach => {
            topic(input, out)?;
            log(input, out)?;
        }
        Kind::LogDetach | Kind::LogUnfollow => topic(input, out)?,
        _ => {
            topic(input, out)?;
            term(input, out)?;
            number(input, out)?;
            number(input, out)?;
        }
    }
    Ok(bytes)
}

impl World {
    fn step(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let node = usize::from(input.arbitrary::<bool>()?);
        let topic = *input.choose(&TOPICS)?;
        match input.int_in_range(0..=9)? {
            0..=3 => {
                let Some(kind) = Kind::from_byte(input.int_in_range(LOG_KINDS.start..=LOG_KINDS.end - 1)?) else { return Ok(()) };
                let payload = if input.ratio(1, 8)? { input.bytes(9)?.to_vec() } else { payload(input, kind)? };
                let _ = self.logs[node].handle_frame(NodeId(3), Session(3), kind, topic, &payload, self.now);
            }
            4 => {
                let _ = self.logs[node].publish(topic, b"message".as_slice().into(), Some(1), self.now);
            }
            5 => {
                self.token += 1;
                self.logs[node].recover(topic, self.token, None, self.now);
            }
            6 => self.logs[node].unfollow(topic, self.now),
            7 => self.logs[node].handle_congested(NodeId(3), self.now),
            8 => {
                self.now += u64::from(input.arbitrary::<u16>()?);
                let due = self.logs[node].poll_timeout();
                self.logs[node].handle_timeout(self.now);
                self.drain(node);
                let next = self.logs[node].poll_timeout();
                assert!(due.is_none() || next != due || due > Some(self.now), "what was due is not due again at once");
            }
            _ => {
                let standing = *input.choose(&[Standing::Alive, Standing::Suspect, Standing::Dead])?;
                self.view(node, standing);
            }
        }
        // The two hear each other.
        while let Some((kind, topic, payload)) = self.on_the_way[node].pop_front() {
            let from = 2 - node as u64;
            let heard = self.logs[node].handle_frame(NodeId(from), Session(1), kind, &topic, &payload, self.now);
            assert_eq!(heard, Ok(()), "{kind:?}");
        }
        Ok(())
    }

    fn view(&mut self, node: usize, standing: Standing) {
        let member = |id: u64, session: u64, standing: Standing| Member {
            id: NodeId(id),
            incarnation: Incarnation(0),
            standing,
            leaving: false,
            elder: false,
            session: (standing != Standing::Dead).then_some(Session(session)),
        };
        let members = vec![member(2 - node as u64, 1, Standing::Alive), member(3, 3, standing)];
        let view = View { me: NodeId(node as u64 + 1), leaving: false, joining: false, established: false, members };
        self.logs[node].handle_view(&view, self.now);
    }

    fn drain(&mut self, node: usize) {
        let mut said = 0;
        while let Some(output) = self.logs[node].poll_output() {
            said += 1;
            assert!(said < 10_000, "it has said enough");
            if let Output::Send { to, kind, topic, payload, .. } = output
                && to != NodeId(3)
            {
                self.on_the_way[1 - node].push_back((kind, topic.to_string(), payload.to_vec()));
            }
        }
    }
}
