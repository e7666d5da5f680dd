//! Whatever peers say and links do, a node keeps its books of members: one link counts per peer, nothing is sent on a link that is closed, an
//! address is not dialled twice at once, and all of it is bounded.
//!
//! Operations on `Members` beside a ledger of what it said. Frames are right ones whose fields the input chooses, or its bytes as they are.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use wse_mesh::ids::{Incarnation, NodeId, Session};
use wse_mesh::members::{Config, DialFailure, MAX_MEMBERS, Members, Output};
use wse_mesh::view::Standing;
use wse_mesh::wire::gossip::{Entry, MAX_LIST, Told, encode_lists, encode_stamp};
use wse_mesh::wire::hello::{Hello, Stand, Versions};
use wse_mesh::wire::{Address, Kind};

const ME: u64 = 8;

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let _ = play(&mut input);
});

/// What the node has said so far.
struct Ledger {
    members: Members,
    now: u64,
    links: u64,
    closed: BTreeSet<Session>,
    ups: BTreeMap<NodeId, Session>,
    dials: BTreeSet<Address>,
    is_shut: bool,
}

fn address(number: u8) -> Address {
    Address::of(IpAddr::V4(Ipv4Addr::new(10, 0, 0, number % 16)), 9999).expect("somebody could be there")
}

fn place(number: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, number % 16)), 9999)
}

fn config(input: &mut Unstructured<'_>) -> Result<Config> {
    Ok(Config {
        cluster: "c".to_owned(),
        advertised: input.arbitrary::<bool>()?.then(|| address(ME as u8)),
        cluster_port: 9999,
        peers: vec![address(1), address(9)],
        seeds: vec![address(ME as u8)],
        heartbeat_ms: 2_000,
        dead_after_ms: 8_000,
        max_frame: 1 << 20,
        versions: Versions::OURS,
        capabilities: input.arbitrary()?,
    })
}

fn play(input: &mut Unstructured<'_>) -> Result<()> {
    let members = Members::new(config(input)?, NodeId(ME), input.arbitrary()?, 0);
    let (closed, ups, dials) = (BTreeSet::new(), BTreeMap::new(), BTreeSet::new());
    let mut ledger = Ledger { members, now: 0, links: 0, closed, ups, dials, is_shut: false };
    while !input.is_empty() {
        step(input, &mut ledger)?;
        ledger.gather();
    }
    Ok(())
}

fn step(input: &mut Unstructured<'_>, ledger: &mut Ledger) -> Result<()> {
    let op = input.arbitrary::<u8>()?;
    let (members, now) = (&mut ledger.members, ledger.now);
    match op % 16 {
        0 | 1 => {
            ledger.links += 1;
            members.handle_accepted(Session(ledger.links), place(op), place(ME as u8), now);
        }
        // A dial that was asked for has an answer.
        2 | 3 => {
            let Some(address) = ledger.dials.pop_first() else { return Ok(()) };
            ledger.links += 1;
            members.handle_dialled(Session(ledger.links), &address, place(ME as u8), place(op), now);
        }
        4 => {
            let Some(address) = ledger.dials.pop_last() else { return Ok(()) };
            let failures =
                [DialFailure::Refused, DialFailure::Unreachable, DialFailure::Timeout, DialFailure::Denied];
            members.handle_dial_failed(&address, *input.choose(&failures)?, now);
        }
        5..=10 => {
            let session = Session(1 + u64::from(input.arbitrary::<u8>()?) % ledger.links.max(1));
            let (kind, payload) = frame(input)?;
            // Who sends it stays connected or not; the frame is malformed or not.
            let _ = members.handle_frame(session, kind, &payload, now);
        }
        11 if ledger.links > 0 => {
            let session = Session(1 + u64::from(input.arbitrary::<u8>()?) % ledger.links);
            members.handle_closed(session, now);
            ledger.closed.insert(session);
        }
        12 => {
            members.handle_heard(Session(1 + u64::from(input.arbitrary::<u8>()?) % ledger.links.max(1)), now);
        }
        13 | 14 => {
            ledger.now += u64::from(input.arbitrary::<u16>()?);
            ledger.wait();
        }
        _ => match input.arbitrary::<u8>()? {
            0 => {
                members.shutdown(now);
                ledger.is_shut = true;
            }
            1 => ledger.now += 4_000_000,
            _ => members.leave(now),
        },
    }
    Ok(())
}

fn frame(input: &mut Unstructured<'_>) -> Result<(Kind, Vec<u8>)> {
    let number = input.arbitrary::<u8>()?;
    let id = NodeId(u64::from(number % 16));
    Ok(match number / 16 {
        0..=3 => {
            let hello = Hello {
                versions: Versions { oldest: 1, newest: 1 + u64::from(number / 128) },
                cluster: if input.ratio(1, 16)? { "d" } else { "c" }.to_owned(),
                id,
                incarnation: Incarnation(input.arbitrary::<u8>()?.into()),
                capabilities: input.arbitrary()?,
                max_frame: 4096,
                leaving: input.arbitrary()?,
                joining: input.arbitrary()?,
                established: input.arbitrary()?,
                session: Session(input.arbitrary::<u8>()?.into()),
                address: Some(address(input.arbitrary()?)),
            };
            (Kind::Hello, hello.encode())
        }
        4..=6 => {
            let sessions: Vec<u8> = input.arbitrary()?;
            let sessions = sessions.into_iter().map(|session| Session(session.into())).collect();
            (Kind::Stand, Stand { number: input.arbitrary::<u8>()?.into(), sessions }.encode())
        }
        7 | 8 => (Kind::Keep, Vec::new()),
        9 | 10 => (Kind::PeerAnnounce, entry(input)?.encode()),
        11 => {
            // Lists that follow each other name others, up to more than are remembered.
            let (first, count) = (input.arbitrary::<u16>()?, input.int_in_range(0..=300_u64)?);
            let like = entry(input)?;
            let many = (0..count).map(|more| Entry { id: NodeId(u64::from(first) + more), ..like.clone() });
            let lists = encode_lists(&many.collect::<Vec<_>>(), MAX_LIST);
            (Kind::PeerList, lists.into_iter().next().unwrap_or_default())
        }
        12 => (*input.choose(&[Kind::Drain, Kind::Shutdown])?, Vec::new()),
        13 => (*input.choose(&[Kind::Ping, Kind::Pong])?, encode_stamp(input.arbitrary()?)),
        _ => (*input.choose(Kind::ALL)?, input.arbitrary()?),
    })
}

fn entry(input: &mut Unstructured<'_>) -> Result<Entry> {
    let number = input.arbitrary::<u8>()?;
    Ok(Entry {
        id: NodeId(u64::from(number % 16)),
        incarnation: Incarnation(if number > 250 { u32::MAX } else { u32::from(number / 64) }),
        told: *input.choose(&[Told::Alive, Told::Suspect, Told::Gone])?,
        leaving: number % 3 == 0,
        joining: number % 5 == 0,
        established: number % 7 == 0,
        silent_ms: input.arbitrary::<u16>()?.into(),
        address: input.arbitrary::<bool>()?.then(|| address(number / 8)),
    })
}

impl Ledger {
    /// Calls the timer once; what it served is over.
    fn wait(&mut self) {
        if self.members.poll_timeout().is_some_and(|at| at <= self.now) {
            self.members.handle_timeout(self.now);
            assert!(
                self.members.poll_timeout().is_none_or(|at| at > self.now),
                "a timer that was served is over"
            );
        }
    }

    fn gather(&mut self) {
        while let Some(output) = self.members.poll_output() {
            match output {
                Output::Dial { address } => {
                    assert!(!self.is_shut, "who is gone dials nobody");
                    assert!(self.dials.insert(address), "an address is dialled once at a time");
                }
                Output::Send { session, payload, .. } => {
                    assert!(!self.closed.contains(&session), "nothing is sent on what is closed");
                    assert!(payload.len() <= MAX_LIST, "a frame is not long");
                }
                Output::Close { session, .. } => {
                    assert!(self.closed.insert(session), "a link is closed once")
                }
                Output::Up { id, session, .. } => {
                    assert_eq!(self.ups.insert(id, session), None, "one link counts")
                }
                Output::Down { id, session } => assert_eq!(self.ups.remove(&id), Some(session), "it was up"),
                Output::Changed | Output::Note { .. } => {}
            }
        }
        let view = self.members.view();
        let linked: BTreeMap<_, _> =
            view.members.iter().filter_map(|member| Some((member.id, member.session?))).collect();
        assert_eq!(linked, self.ups, "the view is what Up and Down said");
        let dead = view.members.iter().filter(|member| member.standing == Standing::Dead);
        assert!(dead.into_iter().all(|member| member.session.is_none()), "the dead have no link");
        assert!(view.members.is_sorted_by_key(|member| member.id) && view.members.len() <= MAX_MEMBERS);
        assert!(view.members.iter().all(|member| member.id != view.me), "a node is not its own peer");
        assert!(self.dials.len() <= 64 + 3, "dials are bounded");
    }
}
