//! The link that counts.

use super::*;

#[test]
fn each_side_says_hello_as_soon_as_a_link_stands_and_what_both_can_is_agreed() {
    let mut node = Node::new(config());
    let session = node.accept();
    let said = node.said();
    let sent = sent(&said, Kind::Hello);
    let Ok(Greeting::Hello(told)) = Hello::decode(&sent[0].1, Versions::OURS) else {
        panic!("it says hello")
    };
    assert_eq!((told.id, told.session, told.address), (ME, session, Some(address("10.0.0.5:9999"))));
    node.tell(session, Kind::Hello, &hello(HIGH, 7).encode());
    assert_eq!(node.counts(HIGH), None, "nothing counts before it is chosen");
    node.choose(session, HIGH, 1, &[]);
    let terms = Terms { version: 1, capabilities: ZSTD, max_frame: 1 << 16 };
    assert!(node.said().contains(&Output::Up { id: HIGH, session, terms }));
    assert_eq!(node.counts(HIGH), Some(session));
}

#[test]
fn the_higher_id_names_the_links_that_stand_and_the_lower_one_chooses() {
    let mut node = Node::new(config());
    let first = node.meet(LOW, 71);
    let second = node.meet(LOW, 72);
    let said = node.said();
    let stands = sent(&said, Kind::Stand);
    assert_eq!(Stand::decode(&stands[0].1), Ok(Stand { number: 1, sessions: vec![] }));
    assert_eq!(Stand::decode(&stands[1].1), Ok(Stand { number: 2, sessions: vec![Session(71)] }));
    node.tell(second, Kind::Keep, &[]);
    assert_eq!(node.counts(LOW), Some(second));
    node.tell(first, Kind::Keep, &[]);
    let said = node.said();
    assert_eq!(closed(&said), [(second, Why::Redundant)], "the chooser has lost the other one");
    assert_eq!(node.counts(LOW), Some(first));
}

#[test]
fn a_link_that_counts_is_not_given_up_while_it_stands_at_both_ends() {
    let mut node = Node::new(config());
    let first = node.link(HIGH);
    let second = node.meet(HIGH, 78);
    node.said();
    node.choose(second, HIGH, 2, &[first]);
    assert_eq!(closed(&node.said()), [(second, Why::Redundant)]);
    assert_eq!(node.counts(HIGH), Some(first));
}

#[test]
fn a_link_that_the_other_end_has_lost_gives_way() {
    let mut node = Node::new(config());
    let first = node.link(HIGH);
    let second = node.meet(HIGH, 78);
    node.said();
    node.choose(second, HIGH, 2, &[]);
    let said = node.said();
    assert_eq!(closed(&said), [(first, Why::Redundant)]);
    let down = said.iter().position(|output| *output == Output::Down { id: HIGH, session: first });
    let up =
        said.iter().position(|output| matches!(output, Output::Up { session, .. } if *session == second));
    assert!(down < up && down.is_some(), "the old one is down before the new one is up");
    assert_eq!(node.standing(HIGH), Some(Standing::Alive));
}

#[test]
fn what_was_said_before_a_link_stood_does_not_mean_that_it_is_lost() {
    let mut node = Node::new(config());
    let early = node.meet(HIGH, 78);
    let late = node.meet(HIGH, 79);
    node.choose(late, HIGH, 2, &[early]);
    node.choose(early, HIGH, 1, &[]);
    assert_eq!(node.counts(HIGH), Some(late));
}

#[test]
fn a_lone_link_counts_whoever_dialled_it() {
    for id in [LOW, HIGH] {
        let mut config = config();
        config.peers = vec![address("peer:1")];
        let mut node = Node::new(config);
        assert_eq!(node.dials(), ["peer:1"]);
        let session = node.dialled(&address("peer:1"));
        node.tell(session, Kind::Hello, &hello(id, 7).encode());
        node.choose(session, id, 1, &[]);
        assert_eq!(node.counts(id), Some(session));
        let mut node = Node::new(self::config());
        let session = node.link(id);
        assert_eq!(node.counts(id), Some(session));
    }
}

#[test]
fn a_link_that_comes_to_nothing_is_closed_after_the_limit() {
    let mut node = Node::new(config());
    let (greeting, named) = (node.accept(), node.meet(LOW, 7));
    node.pass(7_999, &[greeting, named]);
    assert_eq!(closed(&node.said()), []);
    node.pass(1, &[greeting, named]);
    assert_eq!(closed(&node.said()), [(greeting, Why::Silent), (named, Why::Silent)]);
}

#[test]
fn a_peer_that_opens_links_and_chooses_none_has_at_most_eight() {
    let mut node = Node::new(config());
    for number in 0..50 {
        node.meet(LOW, number);
    }
    assert_eq!(closed(&node.said()).len(), 42);
}
