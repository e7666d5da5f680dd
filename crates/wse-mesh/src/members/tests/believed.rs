//! What is believed of what is told, and of what happens.

use super::*;

/// A node that is linked with `LOW`, and for which `HIGH` has died.
fn bereft(death: impl Fn(&mut Node, Session)) -> (Node, Session) {
    let mut node = Node::new(config());
    let low = node.link(LOW);
    let high = node.link(HIGH);
    death(&mut node, high);
    assert_eq!(node.standing(HIGH), Some(Standing::Dead));
    node.said();
    (node, low)
}

#[test]
fn stale_gossip_never_revives_the_dead() {
    let (mut node, low) = bereft(|node, _| node.pass(8_000, &[Session(1)]));
    for incarnation in [0, 1, 7] {
        let list = encode_lists(
            &[entry(HIGH, Told::Alive, incarnation), entry(HIGH, Told::Suspect, incarnation)],
            1_000,
        );
        node.tell(low, Kind::PeerList, &list[0]);
        assert_eq!(node.standing(HIGH), Some(Standing::Dead));
    }
    assert_eq!(node.dials(), [hello(HIGH, 0).address.unwrap().to_string()], "but it is looked for");

    let (mut node, low) = bereft(|node, high| node.tell(high, Kind::Shutdown, &[]));
    node.pass(200, &[low]);
    node.said();
    node.tell(low, Kind::PeerAnnounce, &entry(HIGH, Told::Alive, 9).encode());
    assert_eq!(node.standing(HIGH), Some(Standing::Dead));
    let session = node.meet(HIGH, 90);
    assert_eq!(closed(&node.said()), [(session, Why::Dead)], "who has said SHUTDOWN does not return");
}

#[test]
fn contact_revives_one_that_was_only_unheard() {
    let (mut node, _) = bereft(|node, _| node.pass(8_000, &[Session(1)]));
    let session = node.meet(HIGH, 90);
    assert_eq!(node.standing(HIGH), Some(Standing::Dead), "not before a link counts");
    node.choose(session, HIGH, 9, &[]);
    assert_eq!((node.standing(HIGH), node.counts(HIGH)), (Some(Standing::Alive), Some(session)));
}

#[test]
fn a_death_that_was_told_is_contradicted_by_a_higher_incarnation_alone() {
    let mut node = Node::new(config());
    let low = node.link(LOW);
    node.tell(low, Kind::PeerAnnounce, &entry(HIGH, Told::Gone, 3).encode());
    assert_eq!(node.standing(HIGH), Some(Standing::Dead), "it is remembered though it was never met");
    for incarnation in [0, 3] {
        node.tell(low, Kind::PeerAnnounce, &entry(HIGH, Told::Alive, incarnation).encode());
        assert_eq!(node.standing(HIGH), Some(Standing::Dead));
    }
    node.tell(low, Kind::PeerAnnounce, &entry(HIGH, Told::Alive, 4).encode());
    assert_eq!(node.standing(HIGH), Some(Standing::Suspect));
    node.tell(low, Kind::PeerAnnounce, &entry(HIGH, Told::Gone, 3).encode());
    assert_eq!(node.standing(HIGH), Some(Standing::Suspect), "older news");
    node.pass(8_000, &[low]);
    assert_eq!(node.standing(HIGH), Some(Standing::Dead), "and it has as long as anybody");
}

#[test]
fn news_that_one_with_a_link_is_gone_is_not_believed() {
    let mut node = Node::new(config());
    let (low, high) = (node.link(LOW), node.link(HIGH));
    node.tell(low, Kind::PeerAnnounce, &entry(HIGH, Told::Gone, 9).encode());
    assert_eq!((node.standing(HIGH), node.counts(HIGH)), (Some(Standing::Alive), Some(high)));
}

#[test]
fn a_node_that_hears_that_it_is_suspect_or_gone_contradicts_to_all() {
    let mut node = Node::new(config());
    let (low, high) = (node.link(LOW), node.link(HIGH));
    node.said();
    for (told, incarnation, then) in [
        (Told::Suspect, 0, 1),
        (Told::Gone, 1, 2),
        (Told::Gone, 1, 2),
        (Told::Alive, 2, 2),
        (Told::Alive, 6, 7),
    ] {
        node.tell(low, Kind::PeerAnnounce, &entry(ME, told, incarnation).encode());
        assert_eq!(node.members.incarnation(), Incarnation(then), "{told:?} {incarnation}");
    }
    let said = node.said();
    let announced: Vec<(Session, u32)> = sent(&said, Kind::PeerAnnounce)
        .into_iter()
        .map(|(session, payload)| (session, Entry::decode(&payload).unwrap().incarnation.0))
        .collect();
    assert_eq!(announced, [(low, 1), (high, 1), (low, 2), (high, 2), (low, 7), (high, 7)]);
}

#[test]
fn one_that_was_only_told_of_counts_from_when_it_was_heard_by_the_teller() {
    let mut node = Node::new(config());
    let low = node.link(LOW);
    let mut told = entry(HIGH, Told::Suspect, 0);
    told.silent_ms = 3_000;
    node.tell(low, Kind::PeerAnnounce, &told.encode());
    // A clock that is younger than the silence must not make it older than the clock.
    node.pass(4_900, &[low]);
    assert_eq!(node.standing(HIGH), Some(Standing::Suspect));
    node.pass(3_100, &[low]);
    assert_eq!(node.standing(HIGH), Some(Standing::Dead));
    told.id = NodeId(901);
    told.silent_ms = 8_000;
    node.tell(low, Kind::PeerAnnounce, &told.encode());
    assert_eq!(node.standing(told.id), None, "who would be dead at once is not begun with");
}

#[test]
fn hearsay_is_not_passed_on() {
    let mut node = Node::new(config());
    let low = node.link(LOW);
    let high = node.link(HIGH);
    node.tell(low, Kind::PeerAnnounce, &entry(NodeId(901), Told::Alive, 0).encode());
    node.tell(low, Kind::PeerAnnounce, &entry(NodeId(902), Told::Gone, 0).encode());
    node.said();
    let mut itself = entry(HIGH, Told::Alive, 0);
    itself.incarnation = Incarnation(4);
    node.tell(high, Kind::PeerAnnounce, &itself.encode());
    let said = node.said();
    let lists = sent(&said, Kind::PeerList);
    assert_eq!((lists.len(), lists[0].0), (1, high), "the list is the answer");
    let told: Vec<(NodeId, u32)> =
        decode_list(&lists[0].1).unwrap().iter().map(|entry| (entry.id, entry.incarnation.0)).collect();
    assert_eq!(told, [(ME, 0), (LOW, 0), (HIGH, 4)]);
    node.tell(high, Kind::PeerAnnounce, &itself.encode());
    assert_eq!(sent(&node.said(), Kind::PeerList), [], "but one answer is enough");
}

#[test]
fn a_refusal_kills_who_was_lost_and_not_who_was_never_met() {
    let mut node = Node::new(config());
    let low = node.link(LOW);
    let high = node.link(HIGH);
    node.pass(3_000, &[low, high]);
    node.tell(low, Kind::PeerAnnounce, &entry(NodeId(901), Told::Alive, 0).encode());
    let there = entry(NodeId(901), Told::Alive, 0).address.unwrap();
    node.pass(300, &[low, high]);
    node.members.handle_dial_failed(&there, DialFailure::Refused, node.now);
    assert_eq!(node.standing(NodeId(901)), Some(Standing::Suspect), "its address may be wrong");

    let place = hello(HIGH, 0).address.unwrap();
    node.said();
    node.members.handle_closed(high, node.now);
    assert_eq!(node.dials(), [place.to_string()], "a lost link is dialled at once");
    node.members.handle_dial_failed(&place, DialFailure::Timeout, node.now);
    assert_eq!(node.standing(HIGH), Some(Standing::Suspect));
    node.members.handle_dial_failed(&place, DialFailure::Refused, node.now);
    assert_eq!(node.standing(HIGH), Some(Standing::Dead));
}

#[test]
fn one_that_others_reach_and_this_node_does_not_stays_dead_however_long_they_tell_of_it() {
    let mut node = Node::new(config());
    let low = node.link(LOW);
    let mut changes = 0;
    for _ in 0..3 * 1_200 {
        node.tell(low, Kind::PeerAnnounce, &entry(HIGH, Told::Alive, 0).encode());
        for dial in node.dials() {
            node.members.handle_dial_failed(&address(&dial), DialFailure::Timeout, node.now);
        }
        let before = node.standing(HIGH);
        node.pass(3_000, &[low]);
        changes += u32::from(node.standing(HIGH) != before);
    }
    assert_eq!((changes, node.standing(HIGH)), (1, Some(Standing::Dead)));
    node.pass(3_700_000, &[low]);
    assert_eq!(node.standing(HIGH), None, "an hour after the last news it is forgotten");
}
