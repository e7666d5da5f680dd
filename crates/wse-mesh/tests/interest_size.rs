//! What the interest of others costs: bytes for a remote topic, and frames for a whole set.

use std::sync::Arc;

use peak_alloc::PeakAlloc;
use wse_core::topic::Filter;
use wse_mesh::ids::{NodeId, Session};
use wse_mesh::interest::{Exchange, Interest, Limits, Output};
use wse_mesh::wire::Kind;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const TOPICS: usize = 100_000;
const NODES: u64 = 5;
const SESSION: Session = Session(1);

/// A name of 24 bytes.
fn name(node: u64, at: usize) -> String {
    format!("room.{node:04}.subject.{at:06}")
}

/// The frames that a node says when asked.
fn frames(node: &mut Exchange) -> Vec<(Kind, Arc<[u8]>)> {
    let mut out = Vec::new();
    while let Some(output) = node.poll_output() {
        if let Output::Send { kind, payload, .. } = output {
            out.push((kind, payload));
        }
    }
    out
}

/// Lets two nodes talk until both are silent; how many frames and bytes that took.
fn talk(a: &mut Exchange, a_id: NodeId, b: &mut Exchange, b_id: NodeId) -> (usize, usize) {
    let (mut count, mut bytes) = (0, 0);
    loop {
        let (from_a, from_b) = (frames(a), frames(b));
        if from_a.is_empty() && from_b.is_empty() {
            return (count, bytes);
        }
        for (to, from, said) in [(&mut *b, a_id, from_a), (&mut *a, b_id, from_b)] {
            assert!(
                said.iter().map(|(_, payload)| payload.len()).sum::<usize>() <= 5 << 16,
                "a few frames at a time"
            );
            for (kind, payload) in said {
                assert!(payload.len() <= 1 << 16, "{kind:?} is longer than a frame of interest");
                (count, bytes) = (count + 1, bytes + payload.len());
                to.handle_frame(from, SESSION, kind, &payload).unwrap();
            }
        }
    }
}

/// Bytes for each topic of each of the nodes, which have them under the names of `owner`.
fn bytes_per_topic(owner: impl Fn(u64) -> u64) -> usize {
    let me = NodeId(0);
    let mut table = Exchange::new(me, Limits::default(), 1);
    let before = ALLOCATED.current_usage();
    for id in 1..=NODES {
        let mut node = Exchange::new(NodeId(id), Limits::default(), 1);
        for at in 0..TOPICS {
            let name = name(owner(id), at);
            assert_eq!(name.len(), 24);
            node.add(&Interest::of(Filter::parse(&name).unwrap()));
        }
        frames(&mut node);
        table.handle_up(NodeId(id), SESSION).unwrap();
        node.handle_up(me, SESSION).unwrap();
        let (count, bytes) = talk(&mut node, NodeId(id), &mut table, me);
        assert!(table.knows(NodeId(id)));
        assert!(count < 100 && bytes < TOPICS * 27, "{count} frames, {bytes} bytes");
    }
    let used = ALLOCATED.current_usage() - before;
    assert_eq!(
        table.table().route(&name(owner(1), 7)).peers.len(),
        if owner(1) == owner(2) { NODES } else { 1 }
    );
    for id in 1..=NODES {
        table.handle_dead(NodeId(id));
    }
    assert!(ALLOCATED.current_usage() - before < used / 100, "the memory of the dead is given back");
    used / (TOPICS * NODES as usize)
}

#[test]
fn a_remote_topic_costs_less_than_100_bytes() {
    let disjoint = bytes_per_topic(|id| id);
    let shared = bytes_per_topic(|_| 0);
    println!(
        "{disjoint} bytes for a topic that one node has, {shared} for each node of a topic that all have"
    );
    assert!(disjoint < 100 && shared < 100);
}
