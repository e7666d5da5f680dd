//! Scenes of one or two nodes; the worlds of `wse-sim` have the rest.

use super::*;
use crate::ids::{Incarnation, Session};
use crate::view::{Member, Standing, acquaint_ms};
use wse_core::history::Epoch;

fn config() -> Config {
    Config {
        unacked_bytes: 1000,
        limits: Limits { messages: 4, ttl_ms: 10_000, bytes: 10_000 },
        ..Config::default()
    }
}

/// Two nodes with a link, or one of them alone.
struct Pair {
    logs: [Logs; 2],
    told: [Vec<Output>; 2],
    now: u64,
}

impl Pair {
    fn new() -> Self {
        let logs = [1, 2].map(|id| Logs::new(NodeId(id), id, config(), 0));
        Self { logs, told: Default::default(), now: 1 }
    }

    fn linked(standing: Standing) -> Self {
        let mut pair = Self::new();
        pair.link(standing);
        pair
    }

    fn link(&mut self, standing: Standing) {
        for node in 0..2 {
            let session = (standing == Standing::Alive).then_some(Session(7));
            let id = NodeId(2 - node as u64);
            let member =
                Member { elder: false, id, incarnation: Incarnation(0), standing, leaving: false, session };
            self.view(node, vec![member], false);
        }
    }

    fn view(&mut self, node: usize, members: Vec<Member>, leaving: bool) {
        let view = View { me: NodeId(node as u64 + 1), leaving, joining: false, established: false, members };
        self.logs[node].handle_view(&view, self.now);
        self.settle();
    }

    fn settle(&mut self) {
        let mut goes_on = true;
        while std::mem::take(&mut goes_on) {
            for node in 0..2 {
                while let Some(output) = self.logs[node].poll_output() {
                    goes_on = true;
                    let Output::Send { session, kind, topic, payload, .. } = &output else {
                        self.told[node].push(output);
                        continue;
                    };
                    let from = NodeId(node as u64 + 1);
                    self.logs[1 - node]
                        .handle_frame(from, *session, *kind, topic, payload, self.now)
                        .unwrap();
                }
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(at) = self.logs.iter().filter_map(Logs::poll_timeout).min().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.logs.iter_mut().for_each(|logs| logs.handle_timeout(self.now));
            self.settle();
        }
        self.now = end;
    }

    fn publish(&mut self, node: usize, text: &str) {
        self.logs[node].publish("t", text.as_bytes().into(), Some(1), self.now).unwrap();
        self.settle();
    }

    fn home(&self) -> usize {
        (0..2)
            .find(|node| self.logs[*node].inspect("t").is_some_and(|look| look.is_settled))
            .expect("somebody is home")
    }

    /// How many messages the subscribers of a node got, in replays and live.
    fn got(&self, node: usize) -> usize {
        let runs = self.told[node].iter().flat_map(|output| match output {
            Output::Deliver { run, .. } => std::slice::from_ref(run),
            Output::Answer { replay, .. } => replay,
            _ => &[],
        });
        runs.map(|run| run.messages.len()).sum()
    }
}

#[test]
fn a_node_alone_stamps_stores_and_delivers_at_once() {
    let mut pair = Pair::new();
    pair.view(0, Vec::new(), false);
    pair.logs[0].recover("t", 9, None, pair.now);
    pair.settle();
    pair.publish(0, "one");
    assert!(matches!(pair.told[0][0], Output::Answer { token: 9, confirmed: true, recovered: false, .. }));
    assert!(
        matches!(&pair.told[0][1..], [Output::Stored { token: 1, copies: 1, .. }, Output::Deliver { run, .. }] if run.first == 1)
    );
}

#[test]
fn a_message_is_stored_when_the_replica_holds_it_and_both_hear_it() {
    let mut pair = Pair::linked(Standing::Alive);
    for node in 0..2 {
        pair.logs[node].recover("t", node as u64, None, pair.now);
    }
    pair.settle();
    pair.pass(3000);
    pair.publish(0, "one");
    pair.pass(3000);
    let stored = pair.told[0].iter().any(|output| matches!(output, Output::Stored { copies: 2, .. }));
    assert!(stored && pair.got(0) == 1 && pair.got(1) == 1);
}

#[test]
fn nothing_is_stored_while_the_replica_is_suspect_and_all_is_when_it_is_dead() {
    let mut pair = Pair::linked(Standing::Alive);
    pair.publish(0, "one");
    pair.pass(2000);
    let home = pair.home();
    pair.link(Standing::Suspect);
    pair.publish(home, "two");
    pair.pass(2000);
    assert!(pair.logs[home].inspect("t").unwrap().unacked);
    pair.link(Standing::Dead);
    pair.pass(2000);
    let look = pair.logs[home].inspect("t").unwrap();
    assert!(!look.unacked && look.commit == 2);
}

#[test]
fn the_heir_goes_on_in_an_epoch_of_its_own_with_the_next_offset() {
    let mut pair = Pair::linked(Standing::Alive);
    pair.publish(0, "one");
    pair.pass(2000);
    let heir = 1 - pair.home();
    let before = pair.logs[heir].kept("t");
    pair.link(Standing::Dead);
    pair.publish(heir, "two");
    pair.pass(3000);
    let after = pair.logs[heir].kept("t");
    assert_eq!((before[0].epoch, before[0].first), (after[0].epoch, after[0].first));
    assert!(after[1].first == 2 && after[1].epoch != after[0].epoch);
}

#[test]
fn a_client_is_recovered_from_its_epoch_and_from_no_other() {
    let mut pair = Pair::new();
    pair.view(0, Vec::new(), false);
    (0..3).for_each(|_| pair.publish(0, "m"));
    let epoch = pair.logs[0].kept("t")[0].epoch;
    pair.logs[0].recover("t", 1, Some(Position { epoch, offset: 1 }), pair.now);
    pair.logs[0].recover("t", 2, Some(Position { epoch: Epoch::new(1), offset: 1 }), pair.now);
    pair.settle();
    let answer = |output: &Output| match output {
        Output::Answer { token, recovered, replay, .. } => Some((*token, *recovered, replay.len())),
        _ => None,
    };
    let answers: Vec<_> = pair.told[0].iter().filter_map(answer).collect();
    assert_eq!(answers, [(1, true, 1), (2, false, 0)]);
    assert_eq!(pair.got(0), 2);
}

#[test]
fn what_is_too_much_or_too_old_is_forgotten_and_a_client_is_told() {
    let mut pair = Pair::new();
    pair.view(0, Vec::new(), false);
    (0..6).for_each(|_| pair.publish(0, "m"));
    let look = pair.logs[0].inspect("t").unwrap();
    assert_eq!((look.outline.floor, look.outline.top), (2, 6));
    let epoch = pair.logs[0].kept("t")[0].epoch;
    pair.pass(11_000);
    assert_eq!(pair.logs[0].inspect("t").unwrap().outline.floor, 6);
    assert_eq!(pair.logs[0].bytes(), 0);
    pair.logs[0].recover("t", 1, Some(Position { epoch, offset: 5 }), pair.now);
    pair.logs[0].recover("t", 2, Some(Position { epoch, offset: 6 }), pair.now);
    pair.settle();
    let recovered = |wanted: u64| {
        pair.told[0]
            .iter()
            .any(|output| matches!(output, Output::Answer { token, recovered: true, .. } if *token == wanted))
    };
    assert!(!recovered(1) && recovered(2), "the last position is gone on from however old it is");
}

#[test]
fn publications_that_nobody_stores_are_refused_at_the_limit() {
    let mut pair = Pair::linked(Standing::Suspect);
    let mut taken = 0;
    let full = loop {
        match pair.logs[0].publish("t", [0; 100].as_slice().into(), None, 1) {
            Ok(()) => taken += 1,
            Err(full) => break full,
        }
    };
    assert_eq!((taken, full), (6, Full));
    pair.link(Standing::Dead);
    pair.pass(2000);
    assert!(pair.logs[0].publish("t", [0; 100].as_slice().into(), None, pair.now).is_ok());
}

#[test]
fn a_subscription_that_no_home_answers_is_unconfirmed_and_told_its_place_later() {
    let mut pair = Pair::linked(Standing::Suspect);
    for node in 0..2 {
        pair.logs[node].recover("t", 1, None, pair.now);
    }
    pair.settle();
    pair.pass(config().confirm_ms() + 1);
    for node in 0..2 {
        assert!(matches!(pair.told[node][..], [Output::Answer { confirmed: false, position: None, .. }]));
    }
    pair.link(Standing::Alive);
    pair.pass(3000);
    for node in 0..2 {
        assert!(matches!(pair.told[node][1], Output::Gap { gap: Gap { after: None, missed: None, .. }, .. }));
    }
}

#[test]
fn a_node_that_leaves_hands_its_topics_over_first() {
    let mut pair = Pair::linked(Standing::Alive);
    pair.publish(0, "one");
    pair.pass(2000);
    let home = pair.home();
    let member = |node: usize, leaving: bool| {
        let (id, session) = (NodeId(node as u64 + 1), Some(Session(7)));
        vec![Member {
            id,
            incarnation: Incarnation(0),
            standing: Standing::Alive,
            leaving,
            elder: false,
            session,
        }]
    };
    pair.logs[home].leave(pair.now);
    pair.view(home, member(1 - home, false), true);
    pair.view(1 - home, member(home, true), false);
    pair.pass(4000);
    assert_eq!(pair.home(), 1 - home);
    assert!(pair.told[home].iter().any(|output| matches!(output, Output::Left)));
}

/// The other of a pair, as a node sees it that has met it now.
fn other(node: usize, elder: bool) -> Vec<Member> {
    let (id, session) = (NodeId(2 - node as u64), Some(Session(7)));
    let (incarnation, standing) = (Incarnation(0), Standing::Alive);
    vec![Member { id, incarnation, standing, leaving: false, elder, session }]
}

#[test]
fn a_newcomer_goes_by_the_homes_of_those_who_have_met_it_until_they_rank_topics_over_it() {
    let mut pair = Pair::new();
    pair.now = 10_000;
    let topics: Vec<String> = (0..40).map(|number| format!("topic-{number}")).collect();
    let homes = |pair: &Pair, node: usize| {
        let is_home =
            |topic: &&String| pair.logs[node].inspect(topic).is_some_and(|state| state.home.is_some());
        topics.iter().filter(is_home).count()
    };
    let as_one_of_a_cluster = |me: usize, members| View {
        me: NodeId(me as u64 + 1),
        leaving: false,
        joining: false,
        established: true,
        members,
    };
    // Node 0 has been there for a while, with all topics; node 1 has just started.
    pair.logs[0].handle_view(&as_one_of_a_cluster(0, Vec::new()), pair.now);
    for topic in &topics {
        pair.logs[0].publish(topic, b"one".as_slice().into(), None, pair.now).unwrap();
        pair.settle();
    }
    assert_eq!(homes(&pair, 0), 40);
    pair.logs[0].handle_view(&as_one_of_a_cluster(0, other(0, false)), pair.now);
    pair.logs[1].handle_view(&as_one_of_a_cluster(1, other(1, true)), pair.now);
    pair.settle();
    for topic in &topics {
        pair.logs[1].publish(topic, b"two".as_slice().into(), Some(1), pair.now).unwrap();
        pair.logs[1].recover(topic, 1, None, pair.now);
        pair.settle();
    }
    let told = |wanted: fn(&Output) -> bool| pair.told[1].iter().filter(|output| wanted(output)).count();
    assert_eq!(told(|output| matches!(output, Output::Stored { .. })), 40, "nothing waits");
    assert_eq!(told(|output| matches!(output, Output::Answer { confirmed: true, .. })), 40);
    assert_eq!(homes(&pair, 1), 0);
    pair.pass(acquaint_ms(config().dead_after_ms) - 1);
    assert_eq!(homes(&pair, 1), 0);
    pair.pass(2000);
    assert_eq!(homes(&pair, 0) + homes(&pair, 1), 40);
    assert!((5..=35).contains(&homes(&pair, 1)), "{} of 40 topics moved", homes(&pair, 1));
}

#[test]
fn what_nobody_needs_is_forgotten_everywhere_and_no_position_is_used_again() {
    let mut pair = Pair::linked(Standing::Alive);
    pair.publish(0, "one");
    pair.pass(2000);
    let epoch = pair.logs[0].kept("t")[0].epoch;
    for number in 0..40 {
        let topic = format!("other-{number}");
        pair.logs[0].publish(&topic, b"m".as_slice().into(), None, pair.now).unwrap();
        pair.settle();
    }
    pair.logs[0].recover("asked-once", 3, None, pair.now);
    pair.logs[0].cancel("asked-once", 3, pair.now);
    pair.settle();
    pair.pass(5000);
    // With one replica both nodes hold every topic.
    assert_eq!(pair.logs[0].topic_count(), 42);
    pair.pass(config().idle_ms() + 5000);
    assert_eq!(pair.logs[1].topic_count(), 41, "nobody has begun a log of the last");
    pair.pass(config().forget_ms);
    assert_eq!([pair.logs[0].topic_count(), pair.logs[1].topic_count()], [0, 0]);
    let forgotten: u64 = pair.logs.iter().map(|logs| logs.counters().discarded).sum();
    assert_eq!(forgotten, 41, "each by its home");

    pair.logs[1].recover("t", 4, Some(Position { epoch, offset: 1 }), pair.now);
    pair.settle();
    pair.publish(0, "two");
    pair.pass(3000);
    let answer = pair.told[1].iter().find_map(|output| match output {
        Output::Answer { token: 4, confirmed, recovered, .. } => Some((*confirmed, *recovered)),
        _ => None,
    });
    assert_eq!(answer, Some((true, false)));
    let kept = pair.logs[0].kept("t");
    assert!(
        kept[0].epoch != epoch && kept[0].messages.len() == 1,
        "it came once, though its publisher was forgotten"
    );
}

/// A log without messages, and the node that is its home.
fn at_rest() -> (Pair, usize) {
    let mut pair = Pair::linked(Standing::Alive);
    pair.publish(0, "one");
    pair.pass(config().limits.ttl_ms + 2000);
    let home = pair.home();
    assert_eq!(pair.logs[home].inspect("t").unwrap().outline.floor, 1);
    (pair, home)
}

#[test]
fn a_log_stays_while_somebody_listens_at_its_home_or_at_its_replica() {
    for listens in 0..2 {
        let (mut pair, home) = at_rest();
        pair.logs[listens].recover("t", 5, None, pair.now);
        pair.settle();
        let before = pair.logs[home].inspect("t").unwrap().outline;
        pair.pass(3 * config().forget_ms);
        assert_eq!(pair.logs[home].inspect("t").unwrap().outline, before);
        let copy = pair.logs[1 - home].inspect("t").unwrap();
        assert_eq!((copy.outline, copy.upstream), (before, Some((NodeId(home as u64 + 1), true))));
        pair.logs[listens].unfollow("t", pair.now);
        pair.settle();
        pair.pass(2 * config().forget_ms);
        assert_eq!(pair.logs[0].topic_count() + pair.logs[1].topic_count(), 0);
    }
}

#[test]
fn a_log_stays_while_a_node_is_away_that_may_bring_it_back() {
    for standing in [Standing::Suspect, Standing::Dead] {
        let (mut pair, home) = at_rest();
        pair.link(standing);
        pair.pass(3 * config().forget_ms);
        assert_eq!(pair.logs[home].topic_count(), 1);
        pair.link(Standing::Alive);
        pair.pass(config().forget_ms - 1000);
        assert_eq!(pair.logs[home].topic_count(), 1, "whoever has come back has time to send again");
        pair.pass(20_000);
        assert_eq!(pair.logs[0].topic_count() + pair.logs[1].topic_count(), 0);
    }
}

#[test]
fn a_publication_while_copies_are_forgotten_is_stored_twice_like_any_other() {
    let (mut pair, home) = at_rest();
    let at = pair.logs[home].poll_timeout().unwrap();
    assert!(at >= config().forget_ms);
    pair.now = at;
    pair.logs[home].handle_timeout(at);
    // DISCARD is on its way.
    let syncs = pair.logs[home].counters().replica_syncs;
    let text = b"two".as_slice();
    pair.logs[home].publish("t", text.into(), Some(2), at).unwrap();
    pair.settle();
    pair.pass(4000);
    let copies = pair.told[home].iter().find_map(|output| match output {
        Output::Stored { token: 2, copies, position, .. } => Some((*copies, position.unwrap().offset)),
        _ => None,
    });
    assert_eq!(copies, Some((2, 2)));
    assert_eq!(pair.logs[home].counters().replica_syncs, syncs + 1, "the copy was forgotten first");
    assert_eq!(pair.logs[1 - home].kept("t"), pair.logs[home].kept("t"));
}
