//! What the presence of others costs: bytes for an entry, and frames for all of a node's.

use peak_alloc::PeakAlloc;
use wse_core::ConnId;
use wse_core::presence::Data;
use wse_mesh::ids::{NodeId, Session};
use wse_mesh::presence::{Limits, Output, Presence};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const USERS: usize = 100_000;
const ROOMS: usize = 100;
const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const SESSION: Session = Session(1);

/// A node hears what another says; how many frames and bytes that were, and how much was told. All frames are of one round.
fn pass_on(from: &mut Presence, from_id: NodeId, to: &mut Presence) -> (usize, usize, usize) {
    let (mut frames, mut bytes, mut told) = (0, 0, 0);
    while let Some(output) = from.poll_output() {
        match output {
            Output::Send { kind, payload, .. } => {
                assert!(payload.len() <= 64 << 10);
                (frames, bytes) = (frames + 1, bytes + payload.len());
                to.handle_frame(from_id, SESSION, kind, &payload).unwrap();
            }
            Output::Told { .. } => told += 1,
            Output::Note(note) => panic!("{note:?}"),
        }
    }
    (frames, bytes, told)
}

#[test]
fn an_entry_of_another_node_costs_less_than_500_bytes() {
    let (mut a, mut b) = (Presence::new(A, Limits::default()), Presence::new(B, Limits::default()));
    for at in 0..USERS {
        let data = Data::new(&format!("{{\"name\":\"user {at:06}\"}}"), 100).unwrap();
        let conn = ConnId { shard: 0, slot: at as u32, generation: 0 };
        let topic = format!("room.{:04}", at % ROOMS);
        a.enter(&topic, &format!("user-{at:08}"), conn, Some(data), 1_000_000).unwrap();
    }
    let before = ALLOCATED.current_usage();
    a.handle_up(B, SESSION);
    b.handle_up(A, SESSION);
    let (mut frames, mut bytes, mut told) = (0, 0, 0);
    loop {
        let said = pass_on(&mut a, A, &mut b);
        let answered = pass_on(&mut b, B, &mut a);
        if said.0 + answered.0 == 0 {
            break;
        }
        assert!(said.0 <= 7, "no more than a window and two words");
        frames += said.0;
        bytes += said.1;
        told += answered.2;
    }
    assert_eq!((told, b.user_count()), (USERS, USERS));
    let used = ALLOCATED.current_usage() - before;
    println!("{} bytes for each entry, {frames} frames with {bytes} bytes", used / USERS);
    assert!(used / USERS < 500 && bytes < USERS * 60, "{used} bytes kept, {bytes} sent");
    b.handle_dead(A);
    while b.first_void().is_some() {
        b.drop_void();
    }
    assert_eq!(pass_on(&mut b, B, &mut a).2, USERS);
    drop(b);
    assert!(
        ALLOCATED.current_usage().saturating_sub(before) < used / 100,
        "the memory of the dead is given back"
    );
}
