//! When a node is one of a cluster, to whom whoever it meets is a newcomer.

use super::*;

/// What it said of itself, in each announcement of its own.
fn said_established(said: &[Output]) -> Vec<bool> {
    let own = sent(said, Kind::PeerAnnounce).into_iter().map(|(_, payload)| Entry::decode(&payload).unwrap());
    own.filter(|entry| entry.id == ME).map(|entry| entry.established).collect()
}

fn in_hello(node: &mut Node) -> bool {
    node.said();
    node.accept();
    let said = node.said();
    let (_, payload) = sent(&said, Kind::Hello).pop().unwrap();
    let Ok(Greeting::Hello(hello)) = Hello::decode(&payload, Versions::OURS) else { panic!("{payload:?}") };
    hello.established
}

/// A node whose seed is established already, or is not.
fn newcomer(established: bool) -> (Node, Session) {
    let mut node = Node::new(Config { seeds: vec![address("seed:1")], ..config() });
    let session = node.dialled(&address("seed:1"));
    node.tell(session, Kind::Hello, &Hello { established, ..hello(HIGH, 77) }.encode());
    node.choose(session, HIGH, 1, &[]);
    node.said();
    assert!(!node.members.view().established, "it looks for others still");
    let list = [Entry { established, ..entry(HIGH, Told::Alive, 0) }];
    node.tell(session, Kind::PeerList, &encode_lists(&list, 1_000)[0]);
    assert!(!node.members.view().joining);
    (node, session)
}

#[test]
fn a_node_is_established_when_it_has_been_there_for_a_quarter_of_dead_after() {
    let mut node = Node::new(config());
    let other = node.link(HIGH);
    node.said();
    node.pass(1_999, &[other]);
    assert!(!node.members.view().established);
    assert!(!in_hello(&mut node));
    node.pass(1, &[other]);
    assert!(node.members.view().established);
    assert_eq!(said_established(&node.said()), [true]);
    assert!(in_hello(&mut node));
}

#[test]
fn one_that_looks_for_others_is_not() {
    let mut node = Node::new(Config { seeds: vec![address("seed:1")], ..config() });
    node.pass(5_999, &[]);
    assert!(!node.members.view().established);
    node.pass(1, &[]);
    assert!(node.members.view().established);
}

#[test]
fn one_that_has_found_an_established_one_is_at_once() {
    let (mut node, _) = newcomer(true);
    assert!(node.members.view().established);
    assert!(node.members.view().members[0].elder);
    assert_eq!(said_established(&node.said()), [true], "in the word that it has joined");
}

#[test]
fn those_who_start_together_are_when_the_first_of_them_is() {
    let (mut node, other) = newcomer(false);
    assert!(!node.members.view().established);
    node.said();
    // What others tell of it is no news.
    let told = Entry { established: false, ..entry(HIGH, Told::Alive, 0) };
    node.tell(other, Kind::PeerAnnounce, &told.encode());
    assert!(!node.members.view().established);
    node.tell(other, Kind::PeerAnnounce, &Entry { established: true, ..told }.encode());
    assert!(node.members.view().established);
    assert_eq!(said_established(&node.said()), [true]);
    assert!(!node.members.view().members[0].elder, "it knows this one as long as it lives");
}

#[test]
fn one_that_greets_again_has_known_this_one_before() {
    for established in [false, true] {
        let (mut node, first) = newcomer(established);
        node.members.handle_closed(first, node.now);
        let session = node.dialled(&address("seed:1"));
        node.tell(session, Kind::Hello, &Hello { established: true, ..hello(HIGH, 78) }.encode());
        node.choose(session, HIGH, 2, &[]);
        assert_eq!(node.members.view().members[0].elder, established);
    }
}

#[test]
fn what_is_told_of_somebody_else_says_nothing_about_it() {
    let (mut node, other) = newcomer(false);
    let told = Entry { established: true, ..entry(LOW, Told::Alive, 0) };
    node.tell(other, Kind::PeerAnnounce, &told.encode());
    assert!(!node.members.view().established);
}
