//! How long a node that has just started looks for others before it acts.

use super::*;

fn newcomer(hosts: &[&str]) -> Node {
    let mut config = config();
    config.seeds = hosts.iter().map(|host| address(host)).collect();
    let mut node = Node::new(config);
    assert!(node.members.view().joining);
    node.said();
    node
}

fn meet_joining(node: &mut Node, id: NodeId, joining: bool) -> Session {
    let session = node.dialled(&address("seed:1"));
    node.tell(session, Kind::Hello, &Hello { joining, ..hello(id, 77) }.encode());
    node.choose(session, id, 1, &[]);
    session
}

fn hear_list(node: &mut Node, session: Session, entries: &[Entry]) {
    node.tell(session, Kind::PeerList, &encode_lists(entries, 1_000)[0]);
}

/// Whether it was said to be joining, in each announcement of its own.
fn said_to_join(said: &[Output]) -> Vec<(Session, bool)> {
    let own = sent(said, Kind::PeerAnnounce).into_iter();
    own.map(|(session, payload)| (session, Entry::decode(&payload).unwrap().joining)).collect()
}

#[test]
fn a_node_with_nobody_to_look_for_acts_at_once() {
    assert!(!Node::new(config()).members.view().joining);
}

#[test]
fn a_node_that_is_linked_with_one_that_does_not_look_acts() {
    let mut node = newcomer(&["seed:1", "seed:2"]);
    let elder = meet_joining(&mut node, HIGH, false);
    assert!(node.members.view().joining, "it may go before it has said whom it knows");
    hear_list(&mut node, elder, &[entry(HIGH, Told::Alive, 0), entry(LOW, Told::Alive, 0)]);
    assert!(!node.members.view().joining);
    assert_eq!(node.standing(LOW), Some(Standing::Suspect), "and is asked");
    assert_eq!(said_to_join(&node.said()), [(elder, true), (elder, false)]);
}

#[test]
fn newcomers_who_meet_look_for_the_elder_together() {
    let mut node = newcomer(&["seed:1", "seed:2"]);
    let other = meet_joining(&mut node, HIGH, true);
    let list = [Entry { joining: true, ..entry(HIGH, Told::Alive, 0) }];
    hear_list(&mut node, other, &list);
    assert!(node.members.view().joining);
    assert_eq!(said_to_join(&node.said()), [(other, true)]);
    // The other has found it.
    node.tell(other, Kind::PeerAnnounce, &entry(HIGH, Told::Alive, 0).encode());
    assert!(!node.members.view().joining);
    assert_eq!(said_to_join(&node.said()), [(other, false)]);
}

#[test]
fn that_one_has_joined_is_never_taken_back() {
    let mut node = newcomer(&["seed:1", "seed:2"]);
    let session = meet_joining(&mut node, HIGH, false);
    // An announcement from before, and another link's HELLO.
    let older = Entry { joining: true, ..entry(HIGH, Told::Alive, 0) };
    node.tell(session, Kind::PeerAnnounce, &older.encode());
    hear_list(&mut node, session, &[older]);
    assert!(!node.members.view().joining);
}

#[test]
fn nodes_that_have_all_just_started_wait_for_an_elder_to_find_them() {
    let mut node = newcomer(&["seed:1"]);
    let other = meet_joining(&mut node, HIGH, true);
    node.pass(5_999, &[other]);
    assert!(node.members.view().joining);
    node.pass(1, &[other]);
    assert!(!node.members.view().joining);
}

#[test]
fn a_node_whose_only_seed_is_itself_waits_until_those_who_knew_it_had_time_to_find_it() {
    let mut config = config();
    config.seeds = vec![config.advertised.clone().unwrap()];
    let mut node = Node::new(config.clone());
    node.pass(5_999, &[]);
    assert!(node.members.view().joining);
    node.pass(1, &[]);
    assert!(!node.members.view().joining);

    let mut node = Node::new(config);
    let found = node.link(LOW);
    hear_list(&mut node, found, &[entry(LOW, Told::Alive, 0)]);
    assert!(!node.members.view().joining, "one of them has found it");
}

#[test]
fn a_clock_that_jumps_cuts_nothing_short() {
    let mut node = newcomer(&["seed:1"]);
    for _ in 0..3 {
        node.pass(400, &[]);
        node.now += 1_500;
        node.members.handle_timeout(node.now);
    }
    node.pass(4_499, &[]);
    assert!(node.members.view().joining);
    node.pass(1, &[]);
    assert!(!node.members.view().joining);
}

#[test]
fn a_link_that_is_lost_leads_nobody() {
    let mut node = newcomer(&["seed:1", "seed:2"]);
    let other = meet_joining(&mut node, HIGH, true);
    node.members.handle_closed(other, node.now);
    node.pass(4_000, &[]);
    assert!(node.members.view().joining);
}
