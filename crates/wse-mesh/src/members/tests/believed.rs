//! What is believed of what is told, and of what happens.

use super::*;

#[test]
fn a_node_that_shuts_down_before_it_has_found_anybody_does_not_act_alone() {
    let mut config = config();
    config.seeds = vec![address("seed:1")];
    let mut node = Node::new(config);
    assert!(node.members.view().joining);
    node.members.shutdown(node.now);
    assert!(node.members.view().joining && node.members.view().leaving);
    assert_eq!(node.members.poll_timeout(), None);
}

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

#[test]
fn a_hello_with_the_address_of_another_proves_it_dead_if_it_has_no_link_or_does_not_answer() {
    for answers in [false, true] {
        let mut node = Node::new(config());
        let (low, high) = (node.link(LOW), node.link(HIGH));
        node.members.handle_closed(low, node.now);
        node.said();
        for id in [LOW, HIGH] {
            let session = node.accept();
            let mut new = hello(NodeId(id.0 + 1), 7);
            new.address = hello(id, 0).address;
            node.tell(session, Kind::Hello, &new.encode());
        }
        assert_eq!(node.standing(LOW), Some(Standing::Dead), "it had no link");
        assert_eq!(node.standing(HIGH), Some(Standing::Alive), "it is asked");
        assert_eq!(
            sent(&node.said(), Kind::Ping).iter().map(|(session, _)| *session).collect::<Vec<_>>(),
            [high]
        );
        node.pass(1_999, &[]);
        if answers {
            node.members.handle_heard(high, node.now);
        }
        node.pass(1, &[]);
        let dead = if answers { Standing::Alive } else { Standing::Dead };
        assert_eq!(node.standing(HIGH), Some(dead));
        let told = node.notes().iter().filter(|text| text.contains("both say that they listen at")).count();
        assert_eq!(told, usize::from(answers));
    }
}

/// `HIGH` has a link that counts and one that waits, and another has come with its address.
fn doubted() -> (Node, Session) {
    let mut node = Node::new(config());
    let high = node.link(HIGH);
    node.meet(HIGH, 78);
    let session = node.accept();
    let mut new = hello(NodeId(901), 7);
    new.address = hello(HIGH, 0).address;
    node.tell(session, Kind::Hello, &new.encode());
    (node, high)
}

#[test]
fn one_that_is_doubted_and_loses_its_link_is_dead() {
    let (mut node, high) = doubted();
    node.members.handle_closed(high, node.now);
    assert_eq!(node.standing(HIGH), Some(Standing::Dead));
    let (mut node, _) = doubted();
    node.said();
    node.members.shutdown(node.now);
    assert_eq!(closed(&node.said()).len(), 3, "each link is closed once");
}

#[test]
fn a_newcomer_and_one_that_was_dead_are_announced_to_the_others_and_a_link_that_is_back_is_not() {
    let mut node = Node::new(config());
    let low = node.link(LOW);
    let announced = |node: &mut Node| -> Vec<(Session, NodeId, Told)> {
        let said = node.said();
        let entries = sent(&said, Kind::PeerAnnounce).into_iter();
        let entries = entries.map(|(session, payload)| (session, Entry::decode(&payload).unwrap()));
        entries
            .filter(|(_, entry)| entry.id != ME)
            .map(|(session, entry)| (session, entry.id, entry.told))
            .collect()
    };
    let high = node.link(HIGH);
    assert_eq!(announced(&mut node), [(low, HIGH, Told::Alive)]);
    node.members.handle_closed(high, node.now);
    node.link(HIGH);
    assert_eq!(announced(&mut node), []);
    node.pass(8_000, &[low]);
    assert_eq!(node.standing(HIGH), Some(Standing::Dead));
    let high = node.link(HIGH);
    assert_eq!(announced(&mut node), [(low, HIGH, Told::Alive)]);
    node.tell(high, Kind::Drain, &[]);
    node.tell(high, Kind::Drain, &[]);
    node.tell(high, Kind::Shutdown, &[]);
    assert_eq!(announced(&mut node), [(low, HIGH, Told::Alive), (low, HIGH, Told::Gone)]);
}
