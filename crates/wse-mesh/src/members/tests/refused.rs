//! Who is refused.

use super::*;

#[test]
fn frames_that_can_not_be_close_the_link_with_a_line_that_names_the_place() {
    let cases: [(Kind, &[u8]); 7] = [
        (Kind::Hello, &[]),
        (Kind::Keep, &[]),
        (Kind::Stand, &[1, 0]),
        (Kind::Ping, &[1, 2]),
        (Kind::PeerList, &[9]),
        (Kind::PeerAnnounce, &[0; 8]),
        (Kind::Pong, &[]),
    ];
    for (kind, payload) in cases {
        let mut node = Node::new(config());
        let session = node.link(HIGH);
        node.said();
        assert!(node.frame(session, kind, payload).is_err(), "{kind:?}");
        let said = node.said();
        assert_eq!(closed(&said), [(session, Why::Malformed)], "{kind:?}");
        assert!(said.contains(&Output::Down { id: HIGH, session }));
        assert_eq!(node.frame(session, kind, payload), Ok(()), "it is closed: the rest is passed over");
    }
    let mut node = Node::new(config());
    let session = node.accept();
    assert_eq!(node.frame(session, Kind::Ping, &[0; 8]), Err(Malformed("HELLO comes first")));
    assert_eq!(node.notes(), ["the link with 10.1.0.1:40001 is closed: malformed frame: HELLO comes first"]);
}

#[test]
fn another_cluster_and_another_protocol_are_refused_with_both_values_once_a_minute() {
    let mut node = Node::new(config());
    let mut theirs = hello(HIGH, 7);
    theirs.cluster = "theirs".to_owned();
    for _ in 0..5 {
        let session = node.accept();
        node.tell(session, Kind::Hello, &theirs.encode());
    }
    assert_eq!(
        node.notes(),
        ["the node at 10.1.0.1:40001 belongs to cluster \"theirs\", this node to \"ours\": refused"]
    );
    node.pass(60_000, &[]);
    let session = node.accept();
    theirs.versions = Versions { oldest: 3, newest: 4 };
    node.tell(session, Kind::Hello, &theirs.encode());
    let said = node.said();
    assert_eq!(closed(&said), [(session, Why::Foreign)]);
    let text =
        "the node at 10.1.0.1:40006 speaks version 3 to 4 of the protocol, this node 1: refused".to_owned();
    assert!(said.contains(&Output::Note { level: Level::Warn, text }));
    assert_eq!(node.members.peers().count(), 0);
}

#[test]
fn the_next_version_and_the_one_before_get_along() {
    for (ours, theirs, common) in [((1, 1), (1, 2), 1), ((1, 2), (1, 1), 1), ((1, 3), (2, 4), 3)] {
        let versions = |(oldest, newest)| Versions { oldest, newest };
        let mut config = config();
        config.versions = versions(ours);
        let mut node = Node::new(config);
        let session = node.accept();
        let mut hello = hello(HIGH, 7);
        hello.versions = versions(theirs);
        let mut payload = hello.encode();
        payload.extend(b"a field of a later version");
        node.tell(session, Kind::Hello, &payload);
        node.choose(session, HIGH, 1, &[]);
        let up = node
            .said()
            .into_iter()
            .find_map(|output| if let Output::Up { terms, .. } = output { Some(terms) } else { None });
        assert_eq!(up.unwrap().version, common);
    }
}

/// The dials that a minute of news of a node brings, once every second, where whoever listens at its address is refused.
fn dials_in_a_minute_of_news(seeds: &[&str]) -> usize {
    let mut config = config();
    config.seeds = seeds.iter().map(|seed| address(seed)).collect();
    let mut node = Node::new(config);
    let teller = node.link(LOW);
    let told = entry(HIGH, Told::Alive, 0);
    let mut foreign = hello(HIGH, 7);
    foreign.versions = Versions { oldest: 3, newest: 4 };
    let mut dials = 0;
    for _ in 0..60 {
        node.tell(teller, Kind::PeerList, &encode_lists(std::slice::from_ref(&told), 30_000)[0]);
        for _ in 0..10 {
            for address in node.dials() {
                assert_eq!(Some(&address[..]), told.address.as_ref().map(Address::as_str));
                let session = node.dialled(&self::address(&address));
                node.tell(session, Kind::Hello, &foreign.encode());
                dials += 1;
            }
            node.pass(100, &[teller]);
        }
    }
    dials
}

#[test]
fn news_of_a_node_that_was_refused_does_not_make_it_dialled_sooner() {
    let place = hello(HIGH, 0).address.unwrap();
    // Waits of 50 to 100 ms at first and twice as long each time: seven are the most in a minute, and the eighth may have begun.
    let told = dials_in_a_minute_of_news(&[]);
    assert!((8..=11).contains(&told), "{told}");
    // An address that the operator gave is tried each two seconds at the latest, each second at the most.
    let configured = dials_in_a_minute_of_news(&[place.as_str()]);
    assert!((30..=66).contains(&configured), "{configured}");
}

#[test]
fn another_node_at_the_address_of_one_that_was_refused_is_dialled_as_if_nobody_had_been_there() {
    let mut node = Node::new(config());
    let teller = node.link(LOW);
    let place = hello(HIGH, 0).address.unwrap();
    let mut foreign = hello(HIGH, 7);
    foreign.versions = Versions { oldest: 3, newest: 4 };
    node.tell(teller, Kind::PeerAnnounce, &entry(HIGH, Told::Alive, 0).encode());
    for _ in 0..6 {
        node.pass(10_000, &[teller]);
        for address in node.dials() {
            let session = node.dialled(&self::address(&address));
            node.tell(session, Kind::Hello, &foreign.encode());
        }
    }
    node.said();
    let upgraded = Entry { id: NodeId(901), address: Some(place.clone()), ..entry(HIGH, Told::Alive, 0) };
    node.tell(teller, Kind::PeerList, &encode_lists(&[upgraded], 30_000)[0]);
    assert_eq!(node.dials(), [place.as_str()]);
}

#[test]
fn a_node_that_meets_itself_closes_the_link_without_a_word_and_leaves_the_address_alone() {
    let mut config = config();
    config.seeds = vec![address("seed:1")];
    let mut node = Node::new(config);
    assert!(node.members.view().joining);
    node.said();
    let session = node.dialled(&address("seed:1"));
    node.tell(session, Kind::Hello, &hello(ME, 7).encode());
    let said = node.said();
    assert_eq!(closed(&said), [(session, Why::Myself)]);
    assert!(!said.iter().any(|output| matches!(output, Output::Note { .. })), "{said:?}");
    node.pass(59_999, &[]);
    assert!(!node.members.view().joining, "all its seeds are itself");
    assert_eq!(node.dials(), [""; 0]);
    node.pass(1, &[]);
    assert_eq!(node.dials(), ["seed:1"], "it may be somebody else's by now");
}
