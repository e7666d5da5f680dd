//! The rules of interest one by one, between two nodes and a clock.

use std::sync::Arc;

use wse_core::topic::Filter;
use wse_mesh::ids::{NodeId, Session};
use wse_mesh::interest::{Crowded, Exchange, Interest, Limits, MAX_PEERS, Note, Output, Version};
use wse_mesh::wire::{Kind, Malformed};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

type Frame = (NodeId, Session, Kind, Arc<[u8]>);

fn topic(text: &str) -> Interest<'_> {
    Interest::of(Filter::parse(text).unwrap())
}

fn node(id: NodeId) -> Exchange {
    Exchange::new(id, Limits::default(), id.0)
}

/// What a node says, and what it tells besides.
fn drain(node: &mut Exchange) -> (Vec<Frame>, Vec<Output>) {
    let (mut frames, mut told) = (Vec::new(), Vec::new());
    while let Some(output) = node.poll_output() {
        match output {
            Output::Send { peer, session, kind, payload } => frames.push((peer, session, kind, payload)),
            Output::Changed { .. } => {}
            other => told.push(other),
        }
    }
    (frames, told)
}

fn frames(node: &mut Exchange) -> Vec<Frame> {
    drain(node).0
}

fn hear(node: &mut Exchange, from: NodeId, frames: &[Frame]) {
    frames.iter().for_each(|(_, session, kind, payload)| {
        node.handle_frame(from, *session, *kind, payload).unwrap();
    });
}

/// Two nodes talk until both are silent; the kinds of what was said.
fn talk(a: &mut Exchange, b: &mut Exchange) -> Vec<Kind> {
    let mut kinds = Vec::new();
    loop {
        let (from_a, from_b) = (frames(a), frames(b));
        if from_a.is_empty() && from_b.is_empty() {
            return kinds;
        }
        kinds.extend(from_a.iter().chain(&from_b).map(|(_, _, kind, _)| *kind));
        hear(b, A, &from_a);
        hear(a, B, &from_b);
    }
}

fn link(a: &mut Exchange, b: &mut Exchange, session: u64) {
    a.handle_up(B, Session(session)).unwrap();
    b.handle_up(A, Session(session)).unwrap();
}

fn linked() -> (Exchange, Exchange) {
    let (mut a, mut b) = (node(A), node(B));
    link(&mut a, &mut b, 1);
    talk(&mut a, &mut b);
    (a, b)
}

fn is_routed(from: &Exchange, to: NodeId, topic: &str) -> bool {
    from.table().route(topic).peers.contains(from.index_of(to).unwrap())
}

#[test]
fn two_have_met_when_each_knows_what_the_other_had_and_not_when_their_link_stands() {
    let (mut a, mut b) = (node(A), node(B));
    a.add(&topic("of a"));
    b.add(&topic("of b"));
    link(&mut a, &mut b, 1);
    assert!(!a.has_met(B) && !b.has_met(A));
    // What a peer has is known to it alone: it has still to say that it knows this node's.
    let first = frames(&mut b);
    hear(&mut a, B, &first);
    let asked = frames(&mut a);
    hear(&mut b, A, &asked);
    let parts = frames(&mut b);
    hear(&mut a, B, &parts.iter().filter(|frame| frame.2 != Kind::InterestAck).cloned().collect::<Vec<_>>());
    assert!(a.knows(B) && !a.has_met(B));
    hear(&mut a, B, &parts.iter().filter(|frame| frame.2 == Kind::InterestAck).cloned().collect::<Vec<_>>());
    assert!(a.has_met(B) && !b.has_met(A));
    talk(&mut a, &mut b);
    assert!(b.has_met(A));
    // What comes later is for whoever waits for it.
    a.add(&topic("later"));
    frames(&mut a);
    assert!(a.has_met(B));
    a.handle_down(B, Session(1));
    assert!(!a.has_met(B));
}

#[test]
fn the_first_subscriber_waits_for_one_round_trip_and_the_next_for_none() {
    let (mut a, mut b) = linked();
    let version = a.add(&topic("t"));
    let sub = frames(&mut a);
    assert_eq!(a.add(&topic("t")), version, "whoever comes meanwhile waits for the same");
    assert!(frames(&mut a).is_empty() && !a.acknowledged(version));
    hear(&mut b, A, &sub);
    assert!(is_routed(&b, A, "t") && !is_routed(&b, A, "other"));
    let ack = frames(&mut b);
    hear(&mut a, B, &ack);
    assert_eq!(drain(&mut a), (vec![], vec![Output::Confirmed(version)]));
    assert_eq!(a.add(&topic("t")), version, "whoever comes later has nothing to wait for");
    assert!(a.acknowledged(version) && frames(&mut a).is_empty());
    a.remove(&topic("t"));
    talk(&mut a, &mut b);
    assert!(!is_routed(&b, A, "t"));
    assert!(a.add(&topic("t")) > version, "it is a first subscriber again");
}

#[test]
fn a_node_alone_confirms_at_once_and_one_whose_peer_hangs_when_the_link_is_lost() {
    let mut a = node(A);
    let version = a.add(&topic("t"));
    assert_eq!(drain(&mut a).1, [Output::Confirmed(version)]);
    a.handle_up(B, Session(1)).unwrap();
    let version = a.add(&topic("u"));
    assert_eq!(drain(&mut a).1, []);
    a.handle_down(B, Session(2));
    assert!(!a.acknowledged(version), "another link was lost, not this one");
    a.handle_down(B, Session(1));
    assert_eq!(drain(&mut a).1, [Output::Confirmed(version)]);
}

#[test]
fn routes_are_void_before_the_acknowledgement_leaves() {
    let (mut a, mut b) = linked();
    a.add(&topic("t"));
    let sub = frames(&mut a);
    hear(&mut b, A, &sub);
    let outputs: Vec<Output> = std::iter::from_fn(|| b.poll_output()).collect();
    let generation = b.table().generation();
    assert_eq!(outputs[0], Output::Changed { generation });
    assert!(matches!(outputs[1], Output::Send { kind: Kind::InterestAck, .. }) && outputs.len() == 2);
}

#[test]
fn whoever_is_not_known_yet_is_sent_everything() {
    let (mut a, mut b) = (node(A), node(B));
    a.add(&topic("t"));
    link(&mut a, &mut b, 1);
    assert!(is_routed(&b, A, "t") && is_routed(&b, A, "anything") && !b.knows(A));
    talk(&mut a, &mut b);
    assert!(is_routed(&b, A, "t") && !is_routed(&b, A, "anything") && b.knows(A));
    b.handle_down(A, Session(1));
    assert!(b.table().route("t").is_empty(), "nothing can be sent");
}

#[test]
fn a_link_that_was_lost_for_a_moment_costs_no_resync() {
    let (mut a, mut b) = linked();
    (0..1000).for_each(|at| {
        a.add(&topic(&format!("t{at}")));
    });
    talk(&mut a, &mut b);
    let relink = |a: &mut Exchange, b: &mut Exchange, session| {
        a.handle_down(B, Session(session - 1));
        b.handle_down(A, Session(session - 1));
        link(a, b, session);
        assert!(is_routed(b, A, "anything"), "not before its word");
        talk(a, b)
    };
    assert!(!relink(&mut a, &mut b, 2).contains(&Kind::Resync));
    assert!(b.knows(A) && is_routed(&b, A, "t7") && !is_routed(&b, A, "anything"));
    a.handle_down(B, Session(2));
    a.remove(&topic("t7"));
    assert!(relink(&mut a, &mut b, 3).contains(&Kind::Resync));
    assert!(b.knows(A) && !is_routed(&b, A, "t7"));
}

#[test]
fn a_storm_of_first_subscribers_is_a_few_frames() {
    let (mut a, mut b) = linked();
    (0..10_000).for_each(|at| {
        a.add(&topic(&format!("room.of.somebody.{at:08}")));
    });
    let kinds = talk(&mut a, &mut b);
    assert!(kinds.len() <= 6, "{kinds:?}");
    assert_eq!(b.table().topic_count(), 10_000);
}

#[test]
fn a_lost_change_is_found_by_the_next_or_after_a_second() {
    let (mut a, mut b) = linked();
    a.add(&topic("lost"));
    frames(&mut a);
    a.add(&topic("next"));
    let kinds = talk(&mut a, &mut b);
    assert!(kinds.contains(&Kind::Resync) && is_routed(&b, A, "lost"));

    let version = a.add(&topic("lost too"));
    a.handle_timeout(100_000);
    frames(&mut a);
    assert!(!is_routed(&b, A, "lost too"));
    a.handle_timeout(100_500);
    assert!(!a.acknowledged(version) && frames(&mut a).is_empty());
    a.handle_timeout(101_000);
    talk(&mut a, &mut b);
    assert!(a.acknowledged(version) && is_routed(&b, A, "lost too"));
}

#[test]
fn a_question_without_an_answer_is_asked_again() {
    let (mut a, mut b) = (node(A), node(B));
    a.add(&topic("t"));
    link(&mut a, &mut b, 1);
    let digest = frames(&mut a);
    hear(&mut b, A, &digest);
    assert!(frames(&mut b).iter().any(|(_, _, kind, _)| *kind == Kind::InterestAsk), "lost");
    let asks = |b: &mut Exchange, now_ms| {
        b.handle_timeout(now_ms);
        frames(b).iter().any(|(_, _, kind, _)| *kind == Kind::InterestAsk)
    };
    let asked: Vec<u64> = (0..40).map(|tick| tick * 500).filter(|now_ms| asks(&mut b, *now_ms)).collect();
    assert_eq!(asked, [1000, 3000, 7000, 15_000]);
    assert_eq!(b.poll_timeout(), Some(20_000));
    b.handle_timeout(31_000);
    talk(&mut a, &mut b);
    assert!(b.knows(A));
}

#[test]
fn a_set_beyond_the_limit_counts_as_everything_until_it_is_smaller() {
    let (mut a, mut b) = (node(A), Exchange::new(B, Limits { max_entries: 10, ..Limits::default() }, 0));
    link(&mut a, &mut b, 1);
    talk(&mut a, &mut b);
    let names: Vec<String> = (0..11).map(|at| format!("t{at}")).collect();
    names.iter().for_each(|name| {
        a.add(&topic(name));
    });
    let said = frames(&mut a);
    hear(&mut b, A, &said);
    let (answer, told) = drain(&mut b);
    assert_eq!(told, [Output::Note(Note::TooLarge(A))]);
    hear(&mut a, B, &answer);
    assert!(a.acknowledged(Version(11)), "it gets all that it asked for, and more");
    assert!(is_routed(&b, A, "anything") && b.table().topic_count() == 0);
    a.remove(&topic("t3"));
    talk(&mut a, &mut b);
    assert!(is_routed(&b, A, "anything"));
    a.handle_timeout(60_000);
    talk(&mut a, &mut b);
    assert!(b.knows(A) && b.table().topic_count() == 10 && !is_routed(&b, A, "t3"));
}

#[test]
fn a_bit_is_given_to_another_when_the_dead_are_out_of_all_masks() {
    let mut a = node(A);
    let peers = (0..MAX_PEERS as u64).map(|at| NodeId(100 + at));
    peers.for_each(|peer| {
        a.handle_up(peer, Session(1)).unwrap();
    });
    assert_eq!(a.handle_up(B, Session(2)), Err(Crowded));
    assert_eq!((a.index_of(B), a.table().route("t").peers.len()), (None, MAX_PEERS as u64));
    a.handle_dead(NodeId(107));
    assert_eq!(a.handle_up(B, Session(2)).map(|index| index.get()), Ok(7));
    assert_eq!((a.index_of(NodeId(107)), a.id_of(a.index_of(B).unwrap())), (None, Some(B)));
}

#[test]
fn frames_that_cannot_be_close_the_link_and_those_of_another_session_are_void() {
    let (mut a, _) = linked();
    a.add(&topic("t"));
    frames(&mut a);
    let mut says = |session: u64, kind, payload: &[u8]| a.handle_frame(B, Session(session), kind, payload);
    for (kind, payload) in [
        (Kind::InterestAck, &[2][..]),
        (Kind::InterestAck, &[]),
        (Kind::InterestAsk, &[5, 0]),
        (Kind::Sub, &[0, 1, 0, 1, b't']),
        (Kind::Sub, &[1, 0]),
        (Kind::Unsub, &[1, 1, 9, 1, b't']),
        (Kind::Resync, &[0, 0, 1, 0, 0]),
        (Kind::InterestDigest, &[0, 0]),
    ] {
        assert!(says(1, kind, payload).is_err(), "{kind:?} {payload:?}");
        assert_eq!(says(2, kind, payload), Ok(()), "{kind:?} of another session");
    }
    assert_eq!(says(1, Kind::Sub, &[1, 1, 0, 1, b't']), Ok(()));
    let falls = Malformed("version of interest falls");
    assert_eq!(says(1, Kind::InterestDigest, &[0; 10]), Err(falls));
    assert_eq!(says(1, Kind::PresenceAsk, &[]), Ok(()), "not for this machine");
}
