//! Time and bounds.

use super::*;

#[test]
fn a_thread_that_stood_still_blames_nobody() {
    let mut node = Node::new(config());
    let session = node.link(HIGH);
    node.pass(1_000, &[session]);
    node.now += 30_000;
    node.members.handle_timeout(node.now);
    assert_eq!(node.standing(HIGH), Some(Standing::Alive));
    node.pass(3_900, &[]);
    assert_eq!(node.standing(HIGH), Some(Standing::Alive));
    node.pass(4_200, &[]);
    assert_eq!(node.standing(HIGH), Some(Standing::Dead), "from then on it has to be heard");
}

#[test]
fn bytes_of_any_kind_are_a_sign_of_life() {
    let mut node = Node::new(config());
    let session = node.link(HIGH);
    node.pass(4_100, &[]);
    assert_eq!(node.standing(HIGH), Some(Standing::Suspect));
    node.members.handle_heard(session, node.now);
    assert_eq!(node.standing(HIGH), Some(Standing::Alive));
    assert!(node.said().contains(&Output::Changed));
    node.pass(60_000, &[session]);
    assert_eq!(node.standing(HIGH), Some(Standing::Alive));
}

#[test]
fn the_wait_between_dials_grows_to_two_seconds_for_what_matters_and_to_a_minute_for_hearsay() {
    let mut config = config();
    config.peers = vec![address("peer:1")];
    let mut node = Node::new(config);
    let low = node.link(LOW);
    node.tell(low, Kind::PeerAnnounce, &entry(HIGH, Told::Alive, 0).encode());
    let hearsay = entry(HIGH, Told::Alive, 0).address.unwrap();
    let (mut peer, mut other) = (Vec::new(), Vec::new());
    for _ in 0..30 * 60 * 10 {
        node.pass(100, &[low]);
        for dial in node.dials() {
            let dialled = address(&dial);
            if dialled == hearsay { &mut other } else { &mut peer }.push(node.now);
            node.members.handle_dial_failed(&dialled, DialFailure::Unreachable, node.now);
        }
    }
    let gaps = |times: &[u64]| times.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>();
    let (peer, other) = (gaps(&peer), gaps(&other));
    assert!(peer[10..].iter().all(|gap| (1_000..=2_200).contains(gap)), "{peer:?}");
    assert!(other.len() > 30 && other.iter().all(|gap| *gap <= 60_200), "{other:?}");
    assert!(other[12..].iter().all(|gap| *gap >= 30_000), "{other:?}");
}

#[test]
fn a_quarrel_does_not_spin() {
    let mut node = Node::new(config());
    let place = hello(HIGH, 0).address.unwrap();
    let first = node.link(HIGH);
    node.members.handle_closed(first, node.now);
    let mut dials = 0;
    for _ in 0..600 {
        node.pass(100, &[]);
        for _ in node.dials() {
            dials += 1;
            let session = node.dialled(&place);
            node.tell(session, Kind::Hello, &hello(HIGH, dials).encode());
            node.choose(session, HIGH, dials, &[]);
            node.members.handle_closed(session, node.now);
        }
    }
    assert!(dials <= 60, "{dials} dials in a minute");
}

#[test]
fn who_floods_gossip_is_remembered_in_part_and_the_living_are_kept() {
    let mut node = Node::new(config());
    let low = node.link(LOW);
    for round in 0..5 {
        for start in 0..20 {
            let strangers = (0..100)
                .map(|number| entry(NodeId(1_000 + round * 10_000 + start * 100 + number), Told::Alive, 0));
            for list in encode_lists(&strangers.collect::<Vec<_>>(), 30_000) {
                node.tell(low, Kind::PeerList, &list);
            }
        }
        assert_eq!(node.members.view().members.len(), MAX_MEMBERS);
        assert!(node.members.book.iter().count() <= MAX_MEMBERS + 64, "those of dials under way are kept");
        assert!(node.members.book.dials() <= 64);
        node.pass(9_000, &[low]);
    }
    assert_eq!(node.standing(LOW), Some(Standing::Alive));
    let told = node.notes().iter().filter(|text| text.contains("more than 1024 members")).count();
    assert_eq!(told, 1);
    node.pass(3_700_000, &[low]);
    assert!(
        node.members.book.dials() <= 64 && node.members.book.iter().count() <= 1 + 64,
        "dials have no answer yet"
    );
    for address in node.members.book.iter().map(|(address, _)| address.clone()).collect::<Vec<_>>() {
        node.members.handle_dial_failed(&address, DialFailure::Timeout, node.now);
    }
    assert_eq!(node.members.view().members.len(), 1, "the dead are forgotten after an hour");
    assert_eq!(node.members.book.iter().count(), 1, "and their addresses with them");
}

#[test]
fn a_list_fits_into_what_the_other_takes() {
    let mut node = Node::new(config());
    for id in 1_000..1_400 {
        let session = node.meet(NodeId(id), id);
        node.choose(session, NodeId(id), 1, &[]);
    }
    let session = node.accept();
    let mut small = hello(HIGH, 7);
    small.max_frame = LEAST_MAX_FRAME;
    node.tell(session, Kind::Hello, &small.encode());
    node.choose(session, HIGH, 1, &[]);
    node.said();
    node.tell(session, Kind::PeerAnnounce, &entry(HIGH, Told::Alive, 0).encode());
    let lists = sent(&node.said(), Kind::PeerList);
    assert!(lists.iter().all(|(_, list)| list.len() + 8 <= LEAST_MAX_FRAME));
    let told: usize = lists.iter().map(|(_, list)| decode_list(list).unwrap().len()).sum();
    assert_eq!(told, 402);
}

#[test]
fn without_an_advertised_address_the_near_end_of_the_first_link_is_it() {
    let mut config = config();
    config.advertised = None;
    let mut node = Node::new(config);
    let local = |node: &mut Node, local: &str| {
        node.next_session += 1;
        node.members.handle_accepted(Session(node.next_session), at("10.1.0.1:4"), at(local), node.now);
        node.members.address().map(ToString::to_string)
    };
    assert_eq!(local(&mut node, "0.0.0.0:1"), None);
    assert_eq!(local(&mut node, "127.0.0.1:4711").as_deref(), Some("127.0.0.1:9999"));
    assert_eq!(node.members.incarnation(), Incarnation(0));
    assert_eq!(
        local(&mut node, "[::ffff:10.0.0.9]:1").as_deref(),
        Some("10.0.0.9:9999"),
        "others can reach that"
    );
    assert_eq!(node.members.incarnation(), Incarnation(1), "and it is news");
    assert_eq!(local(&mut node, "10.0.0.8:1").as_deref(), Some("10.0.0.9:9999"));
    assert_eq!(local(&mut node, "127.0.0.1:1").as_deref(), Some("10.0.0.9:9999"));
}

#[test]
fn a_node_that_has_shut_down_says_so_and_nothing_more() {
    let mut config = config();
    config.peers = vec![address("peer:1")];
    let mut node = Node::new(config);
    let (low, greeting) = (node.link(LOW), node.accept());
    node.tell(low, Kind::PeerList, &encode_lists(&[entry(LOW, Told::Alive, 0)], 1_000)[0]);
    node.said();
    node.members.shutdown(node.now);
    let said = node.said();
    assert_eq!(sent(&said, Kind::Shutdown), [(low, vec![])]);
    assert_eq!(closed(&said), [(low, Why::Shutdown), (greeting, Why::Shutdown)]);
    assert!(node.members.view().leaving && !node.members.view().joining);
    assert_eq!(node.members.poll_timeout(), None);
    node.members.handle_dial_failed(&address("peer:1"), DialFailure::Refused, node.now);
    node.members.handle_timeout(node.now + 100_000);
    let late = node.accept();
    assert_eq!(node.said(), [Output::Close { session: late, why: Why::Shutdown }]);
}

#[test]
fn a_link_that_is_silent_is_closed_though_its_node_is_heard_on_another() {
    let mut node = Node::new(config());
    let counts = node.link(LOW);
    node.pass(3_000, &[counts]);
    node.members.handle_heard(counts, node.now);
    let waits = node.meet(LOW, 78);
    node.said();
    node.pass(7_990, &[waits]);
    assert_eq!(closed(&node.said()), [], "each has its time");
    node.pass(10, &[waits]);
    assert_eq!(closed(&node.said())[0], (counts, Why::Silent));
    assert_eq!(node.standing(LOW), Some(Standing::Suspect), "its memory is there");
}

#[test]
fn an_address_is_not_dialled_twice_at_once_though_its_node_was_forgotten_meanwhile() {
    let mut node = Node::new(config());
    let low = node.link(LOW);
    node.said();
    let list = |id| encode_lists(&[Entry { id, ..entry(HIGH, Told::Alive, 0) }], 1_000).remove(0);
    node.tell(low, Kind::PeerList, &list(HIGH));
    let there = node.dials();
    assert_eq!(there.len(), 1);
    let mut moved = entry(HIGH, Told::Alive, 1);
    moved.address = Some(address("elsewhere:1"));
    node.tell(low, Kind::PeerAnnounce, &moved.encode());
    node.tell(low, Kind::PeerList, &list(NodeId(901)));
    assert_eq!(node.dials(), ["elsewhere:1"], "the answer will tell who is there");
    node.members.handle_dial_failed(&address(&there[0]), DialFailure::Timeout, node.now);
    node.pass(100, &[low]);
    assert!(node.dials().contains(&there[0]));
}
