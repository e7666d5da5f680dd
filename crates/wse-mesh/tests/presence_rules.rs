//! The rules of presence one by one, between two or three nodes and a clock.

use std::sync::Arc;

use wse_core::ConnId;
use wse_core::presence::{Data, Kind as What, Stats};
use wse_mesh::ids::{NodeId, Session};
use wse_mesh::presence::{Limits, Note, Output, Presence, topics_of};
use wse_mesh::wire::{Kind, Malformed};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const LEFT: What = What::Left { owed: false };

type Frame = (Kind, Arc<[u8]>);
/// Topic, user, what and the data.
type Told = (String, String, What, String);

fn conn(number: u32) -> ConnId {
    ConnId { shard: 0, slot: number, generation: 0 }
}

fn data(text: &str) -> Data {
    Data::new(&format!("{{\"n\":\"{text}\"}}"), 1000).unwrap()
}

fn told(topic: &str, user: &str, what: What, text: &str) -> Told {
    (topic.to_owned(), user.to_owned(), what, data(text).as_str().to_owned())
}

/// A node with the time of its own.
struct Node {
    id: NodeId,
    presence: Presence,
    unix_ms: u64,
}

impl Node {
    fn new(id: NodeId) -> Self {
        Self::with(id, Limits::default())
    }

    fn with(id: NodeId, limits: Limits) -> Self {
        Self { id, presence: Presence::new(id, limits), unix_ms: 1_000_000 }
    }

    fn enter(&mut self, user: &str, number: u32, text: &str) -> bool {
        self.unix_ms += 1;
        self.presence.enter("t", user, conn(number), Some(data(text)), self.unix_ms).unwrap().is_some()
    }

    fn exit(&mut self, user: &str, number: u32) {
        self.presence.exit("t", user, conn(number));
    }

    fn shows(&self, user: &str) -> String {
        let list = self.presence.list("t");
        list.iter()
            .find(|one| *one.user == *user)
            .map_or_else(String::new, |one| one.data.as_str().to_owned())
    }

    /// What it says to one peer, and what it tells, that of void entries included.
    fn drain(&mut self, to: NodeId) -> (Vec<Frame>, Vec<Told>, Vec<Note>) {
        while self.presence.first_void().is_some() {
            self.presence.drop_void();
        }
        self.drain_but_void(to)
    }

    fn drain_but_void(&mut self, to: NodeId) -> (Vec<Frame>, Vec<Told>, Vec<Note>) {
        let (mut frames, mut all, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(output) = self.presence.poll_output() {
            match output {
                Output::Send { peer, kind, payload, .. } if peer == to => frames.push((kind, payload)),
                Output::Send { .. } => {}
                Output::Told { topic, change } => all.push((
                    topic.to_string(),
                    change.user.to_string(),
                    change.kind,
                    change.data.as_str().to_owned(),
                )),
                Output::Note(note) => notes.push(note),
            }
        }
        (frames, all, notes)
    }

    fn hear(&mut self, from: NodeId, session: u64, frames: &[Frame]) {
        frames.iter().for_each(|(kind, payload)| {
            self.presence.handle_frame(from, Session(session), *kind, payload).unwrap();
        });
    }
}

/// Two nodes talk until both are silent: the kinds of what was said, and what `b` told.
fn talk(a: &mut Node, b: &mut Node, session: u64) -> (Vec<Kind>, Vec<Told>) {
    let (mut kinds, mut all) = (Vec::new(), Vec::new());
    loop {
        let (from_a, _, _) = a.drain(b.id);
        let (from_b, told, _) = b.drain(a.id);
        all.extend(told);
        if from_a.is_empty() && from_b.is_empty() {
            return (kinds, all);
        }
        kinds.extend(from_a.iter().chain(&from_b).map(|(kind, _)| *kind));
        b.hear(a.id, session, &from_a);
        a.hear(b.id, session, &from_b);
    }
}

fn link(a: &mut Node, b: &mut Node, session: u64) {
    a.presence.handle_up(b.id, Session(session));
    b.presence.handle_up(a.id, Session(session));
}

fn linked() -> (Node, Node) {
    let (mut a, mut b) = (Node::new(A), Node::new(B));
    link(&mut a, &mut b, 1);
    talk(&mut a, &mut b, 1);
    assert!(a.presence.knows(B) && b.presence.knows(A));
    (a, b)
}

/// Lets the time pass that changes are gathered.
fn pass(node: &mut Node, now_ms: &mut u64) {
    *now_ms += 20;
    node.presence.handle_timeout(*now_ms);
}

#[test]
fn a_user_at_two_nodes_joins_once_and_leaves_with_the_last() {
    let ((mut a, mut b), mut now_ms) = (linked(), 0);
    assert!(a.enter("u", 1, "of a"));
    assert_eq!(talk(&mut a, &mut b, 1).1, [told("t", "u", What::Joined, "of a")]);
    assert!(!b.enter("u", 1, "of a"), "it is there already and shows the same");
    assert_eq!(b.presence.stats("t"), Stats { users: 1, connections: 2 });
    pass(&mut a, &mut now_ms);
    a.exit("u", 1);
    assert_eq!(talk(&mut a, &mut b, 1).1, []);
    pass(&mut b, &mut now_ms);
    b.exit("u", 1);
    talk(&mut a, &mut b, 1);
    assert_eq!((a.presence.topic_count(), a.presence.user_count()), (0, 0));
}

#[test]
fn what_is_said_after_something_was_seen_is_newer_whatever_the_clocks_say() {
    let (mut a, mut b) = linked();
    a.enter("u", 1, "of a");
    b.unix_ms -= 500_000;
    talk(&mut a, &mut b, 1);
    assert!(b.enter("u", 1, "of b"), "minutes behind, and yet later");
    talk(&mut a, &mut b, 1);
    assert_eq!((a.shows("u"), b.shows("u")), (data("of b").as_str().into(), data("of b").as_str().into()));
    let mut now_ms = 0;
    pass(&mut a, &mut now_ms);
    a.unix_ms -= 900_000;
    assert!(a.enter("u", 1, "of a again"));
    talk(&mut a, &mut b, 1);
    assert_eq!([a.shows("u"), b.shows("u")], [data("of a again").as_str(); 2]);
}

#[test]
fn a_storm_of_joins_is_a_few_frames_and_the_first_does_not_wait() {
    let ((mut a, mut b), mut now_ms) = (linked(), 0);
    let (mut frames, mut joined) = (0, 0);
    for at in 0..10_000 {
        a.enter(&format!("user {at:05}"), at, "somebody's name");
        let (said, _, _) = a.drain(B);
        assert_eq!(at == 0, !said.is_empty() && frames == 0, "the first is told at once");
        frames += said.len();
        b.hear(A, 1, &said);
        joined += b.drain(A).1.len();
    }
    assert_eq!(a.presence.poll_timeout(), Some(0), "20 ms after what was told last");
    pass(&mut a, &mut now_ms);
    joined += talk(&mut a, &mut b, 1).1.len();
    assert_eq!((joined, b.presence.user_count()), (10_000, 10_000));
    assert!((2..20).contains(&frames), "{frames}");
}

#[test]
fn who_leaves_and_joins_again_at_once_is_told_both_times() {
    let ((mut a, mut b), mut now_ms) = (linked(), 0);
    a.enter("u", 1, "x");
    talk(&mut a, &mut b, 1);
    a.exit("u", 1);
    a.enter("u", 2, "x");
    a.exit("u", 2);
    a.enter("u", 3, "y");
    pass(&mut a, &mut now_ms);
    let whats: Vec<What> = talk(&mut a, &mut b, 1).1.into_iter().map(|(_, _, what, _)| what).collect();
    assert_eq!(whats, [LEFT, What::Joined, LEFT, What::Joined]);
}

#[test]
fn after_a_lost_link_only_what_changed_is_told_and_without_a_change_nothing_is_sent() {
    let ((mut a, mut b), mut now_ms) = (linked(), 0);
    for (number, user) in (0..).zip(["stays", "goes", "changes"]) {
        a.enter(user, number, "x");
    }
    pass(&mut a, &mut now_ms);
    talk(&mut a, &mut b, 1);
    let lose = |a: &mut Node, b: &mut Node, session| {
        a.presence.handle_down(B, Session(session));
        b.presence.handle_down(A, Session(session));
        assert!(!b.presence.knows(A));
    };
    lose(&mut a, &mut b, 1);
    assert_eq!(b.presence.stats("t").users, 3, "a lost link is not a death");
    link(&mut a, &mut b, 2);
    assert_eq!(talk(&mut a, &mut b, 2), (vec![Kind::PresenceDelta; 2], vec![]));
    lose(&mut a, &mut b, 2);
    a.exit("goes", 1);
    a.enter("changes", 2, "y");
    a.enter("comes", 3, "z");
    link(&mut a, &mut b, 3);
    let (kinds, changes) = talk(&mut a, &mut b, 3);
    assert!(kinds.contains(&Kind::PresenceSnapshot));
    let expected = [
        told("t", "changes", What::Updated, "y"),
        told("t", "comes", What::Joined, "z"),
        told("t", "goes", LEFT, "x"),
    ];
    assert_eq!(changes, expected);
}

#[test]
fn a_lost_delta_is_found_by_the_next_or_after_a_second() {
    let ((mut a, mut b), mut now_ms) = (linked(), 0);
    a.enter("lost", 1, "x");
    a.drain(B);
    pass(&mut a, &mut now_ms);
    a.enter("next", 2, "x");
    assert_eq!(talk(&mut a, &mut b, 1).1.len(), 2);
    pass(&mut a, &mut now_ms);
    a.enter("lost too", 3, "x");
    a.drain(B);
    let mut joined_at_ms = 0;
    while joined_at_ms == 0 {
        now_ms += 500;
        a.presence.handle_timeout(now_ms);
        b.presence.handle_timeout(now_ms);
        if !talk(&mut a, &mut b, 1).1.is_empty() {
            joined_at_ms = now_ms;
        }
    }
    assert!(joined_at_ms <= 2000, "{joined_at_ms}");
}

#[test]
fn with_a_dead_node_go_its_users_but_not_those_who_are_elsewhere() {
    let ((mut a, mut b), mut now_ms) = (linked(), 0);
    a.enter("only there", 1, "x");
    a.enter("at both", 2, "of a");
    b.enter("at both", 1, "of b");
    b.unix_ms += 1;
    pass(&mut a, &mut now_ms);
    talk(&mut a, &mut b, 1);
    b.presence.handle_dead(A);
    let (_, changes, _) = b.drain(A);
    assert!(changes.contains(&told("t", "only there", LEFT, "x")));
    assert_eq!(b.presence.stats("t"), Stats { users: 1, connections: 1 });
    assert_eq!(b.shows("at both"), data("of b").as_str());
    assert_eq!(changes.iter().filter(|(_, _, what, _)| *what == LEFT).count(), 1);
}

#[test]
fn what_a_dead_node_said_counts_until_it_is_dropped_piece_by_piece() {
    let ((mut a, mut b), mut now_ms) = (linked(), 0);
    for (number, user) in (0..).zip(["u1", "u2", "u3"]) {
        a.enter(user, number, "x");
    }
    pass(&mut a, &mut now_ms);
    talk(&mut a, &mut b, 1);
    b.presence.handle_dead(A);
    assert_eq!(b.drain_but_void(A).1, [], "nobody was asked to tell of it yet");
    assert_eq!(b.presence.user_count(), 3);
    for (user, left) in [("u1", 2), ("u2", 1)] {
        assert_eq!(b.presence.first_void().map(|topic| &**topic), Some("t"));
        b.presence.drop_void();
        assert_eq!(b.drain_but_void(A).1, [told("t", user, LEFT, "x")]);
        assert_eq!(b.presence.user_count(), left);
    }
    // It was not dead: who is there is as if nothing had been said of it.
    a.presence.handle_down(B, Session(1));
    link(&mut a, &mut b, 2);
    let (from_a, _, _) = a.drain(B);
    b.hear(A, 2, &from_a);
    let (from_b, _, _) = b.drain_but_void(A);
    a.hear(B, 2, &from_b);
    let (from_a, _, _) = a.drain(B);
    b.hear(A, 2, &from_a);
    assert_eq!(b.presence.first_void(), None);
    let joined = [told("t", "u1", What::Joined, "x"), told("t", "u2", What::Joined, "x")];
    assert_eq!(b.drain_but_void(A).1, joined, "the third was there all the time");
    assert_eq!(b.presence.user_count(), 3);
    assert!(b.presence.knows(A));
}

#[test]
fn those_who_left_while_a_link_was_gone_are_dropped_piece_by_piece_too() {
    let ((mut a, mut b), mut now_ms) = (linked(), 0);
    for number in 0..100 {
        a.enter(&format!("u{number:02}"), number, "x");
    }
    pass(&mut a, &mut now_ms);
    talk(&mut a, &mut b, 1);
    a.presence.handle_down(B, Session(1));
    b.presence.handle_down(A, Session(1));
    (0..100).filter(|number| *number != 7).for_each(|number| a.exit(&format!("u{number:02}"), number));
    link(&mut a, &mut b, 2);
    let mut all = Vec::new();
    for _ in 0..4 {
        let (from_a, _, _) = a.drain(B);
        b.hear(A, 2, &from_a);
        let (from_b, news, _) = b.drain_but_void(A);
        a.hear(B, 2, &from_b);
        all.extend(news);
    }
    assert!(b.presence.knows(A), "the copy is right, though not all were told");
    assert_eq!((all.len(), b.presence.user_count()), (0, 100));
    a.enter("u50", 50, "x");
    pass(&mut a, &mut now_ms);
    let (from_a, _, _) = a.drain(B);
    b.hear(A, 2, &from_a);
    assert_eq!(b.drain(A).1.len(), 98, "one stayed, and one is back before it was told that it had left");
    assert_eq!(b.presence.user_count(), 2);
}

#[test]
fn what_happens_while_there_is_no_link_is_counted_and_not_gathered() {
    let ((mut a, mut b), mut now_ms) = (linked(), 0);
    a.enter("u", 1, "x");
    talk(&mut a, &mut b, 1);
    a.enter("gathered", 2, "x");
    a.presence.handle_down(B, Session(1));
    b.presence.handle_down(A, Session(1));
    a.exit("gathered", 2);
    a.exit("u", 1);
    a.enter("u", 1, "x");
    pass(&mut a, &mut now_ms);
    assert!(!a.presence.has_output());
    assert_eq!(a.presence.poll_timeout(), None);
    link(&mut a, &mut b, 2);
    let (kinds, changes) = talk(&mut a, &mut b, 2);
    assert!(
        kinds.contains(&Kind::PresenceSnapshot),
        "the version is another, though the entries are the same"
    );
    assert_eq!(changes, []);
    assert_eq!(b.presence.user_count(), 1);
}

#[test]
fn the_topics_of_a_frame_are_those_of_its_items() {
    let mut a = Node::new(A);
    a.presence.handle_up(B, Session(1));
    a.drain(B);
    for (topic, user) in [("s", "u"), ("t", "u"), ("t", "v")] {
        a.presence.enter(topic, user, conn(1), None, 1).unwrap();
    }
    a.presence.handle_timeout(20);
    let (frames, _, _) = a.drain(B);
    let topics: Vec<&str> =
        frames.iter().flat_map(|(kind, payload)| topics_of(*kind, payload).unwrap()).collect();
    assert_eq!(topics, ["s", "t"]);
    assert_eq!(topics_of(Kind::PresenceAsk, &[0, 0]), Ok(vec![]));
    assert!(topics_of(Kind::PresenceDelta, &[1, 1, 0]).is_err());
}

#[test]
fn entries_beyond_the_limit_are_not_kept_until_there_is_room() {
    let mut now_ms = 0;
    let mut a = Node::new(A);
    let mut b = Node::with(B, Limits { max_entries: 8, ..Limits::default() });
    link(&mut a, &mut b, 1);
    talk(&mut a, &mut b, 1);
    let users: Vec<String> = (0..12).map(|at| format!("u{at:02}")).collect();
    (0..).zip(&users).for_each(|(at, user)| {
        a.enter(user, at, "x");
    });
    pass(&mut a, &mut now_ms);
    let (said, _, _) = a.drain(B);
    b.hear(A, 1, &said);
    assert_eq!(b.drain(A).2, [Note::TooMany(A)]);
    assert_eq!(b.presence.user_count(), 8);
    (0..).zip(&users).take(5).for_each(|(at, user)| a.exit(user, at));
    pass(&mut a, &mut now_ms);
    talk(&mut a, &mut b, 1);
    assert_eq!(b.presence.user_count(), 3, "seven are there, and four were not kept");
    for _ in 0..10 {
        now_ms += 500;
        b.presence.handle_timeout(now_ms);
    }
    talk(&mut a, &mut b, 1);
    assert_eq!(b.presence.user_count(), 7);
    assert!(b.presence.knows(A));
}

#[test]
fn frames_that_cannot_be_close_the_link_and_those_of_another_session_are_void() {
    let (mut a, _) = linked();
    let mut says =
        |session: u64, kind, payload: &[u8]| a.presence.handle_frame(B, Session(session), kind, payload);
    let part = |number: u8, part: u8, users: &[u8]| {
        let mut payload = vec![number, part, 1, 0, users.len() as u8];
        for user in users {
            payload.extend_from_slice(&[1, b't', 1, *user, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, b'{', b'}']);
        }
        payload
    };
    for (kind, payload) in [
        (Kind::PresenceDelta, vec![0, 0]),
        (Kind::PresenceDelta, vec![1, 9]),
        (Kind::PresenceAsk, vec![7, 0]),
        (Kind::PresenceSnapshot, part(0, 0, b"u")),
        (Kind::PresenceSnapshot, part(1, 0, b"vu")),
        (Kind::PresenceSnapshot, part(1, 0, b"uu")),
        (Kind::PresenceSnapshot, vec![1, 0, 1, 0, 1, 1, b't', 1, b'u', 0]),
        (Kind::PresenceSnapshot, vec![1, 0, 0, 0, 0]),
    ] {
        assert!(says(1, kind, &payload).is_err(), "{kind:?} {payload:?}");
        assert_eq!(says(2, kind, &payload), Ok(()), "{kind:?} of another session");
    }
    assert_eq!(says(1, Kind::PresenceSnapshot, &part(1, 0, b"uv")), Ok(()));
    assert_eq!(says(1, Kind::PresenceDelta, &[1, 1, 1, b't', 1, b'u', 0]), Ok(()));
    assert_eq!(says(1, Kind::PresenceDelta, &[1, 0]), Err(Malformed("version of presence falls")));
    assert_eq!(says(1, Kind::Msg, &[]), Ok(()), "not for this machine");
    assert_eq!(a.presence.stats("t").users, 1);
}
