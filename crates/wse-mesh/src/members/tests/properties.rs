//! Whatever is said.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Accept,
    Dialled(u8),
    Failed(u8, u8),
    Frame(u8, u8, Vec<u8>),
    Hello(u8, u8, u8),
    Stand(u8, u64, u8),
    List(u8, Vec<(u8, u8, u8)>),
    Closed(u8),
    Heard(u8),
    Wait(u16),
    Leave,
}

fn op() -> impl Strategy<Value = Op> {
    let bytes = prop::collection::vec(any::<u8>(), 0..24);
    let told = prop::collection::vec((0_u8..12, 0_u8..3, 0_u8..3), 0..6);
    prop_oneof![
        3 => Just(Op::Accept),
        2 => any::<u8>().prop_map(Op::Dialled),
        2 => (any::<u8>(), 0_u8..4).prop_map(|(which, how)| Op::Failed(which, how)),
        2 => (any::<u8>(), any::<u8>(), bytes).prop_map(|(link, kind, payload)| Op::Frame(link, kind, payload)),
        6 => (any::<u8>(), 0_u8..12, any::<u8>()).prop_map(|(link, id, session)| Op::Hello(link, id, session)),
        6 => (any::<u8>(), 0_u64..9, any::<u8>()).prop_map(|(link, number, listed)| Op::Stand(link, number, listed)),
        4 => (any::<u8>(), told).prop_map(|(link, told)| Op::List(link, told)),
        2 => any::<u8>().prop_map(Op::Closed),
        2 => any::<u8>().prop_map(Op::Heard),
        5 => any::<u16>().prop_map(Op::Wait),
        1 => Just(Op::Leave),
    ]
}

fn do_it(node: &mut Node, op: Op) {
    let links = node.next_session.max(1);
    let of = |link: u8| Session(1 + u64::from(link) % links);
    let dialled = |which: u8| hello(NodeId(494 + u64::from(which) % 12), 0).address.unwrap();
    let id = |number: u8| NodeId(494 + u64::from(number));
    match op {
        Op::Accept => drop(node.accept()),
        Op::Dialled(which) => drop(node.dialled(&dialled(which))),
        Op::Failed(which, how) => {
            let how =
                [DialFailure::Refused, DialFailure::Unreachable, DialFailure::Timeout, DialFailure::Denied]
                    [how as usize];
            node.members.handle_dial_failed(&dialled(which), how, node.now);
        }
        Op::Frame(link, kind, payload) => {
            let kind = Kind::ALL[kind as usize % Kind::ALL.len()];
            let _ = node.frame(of(link), kind, &payload);
        }
        Op::Hello(link, number, session) => {
            let hello = hello(id(number), session.into());
            let _ = node.frame(of(link), Kind::Hello, &hello.encode());
        }
        Op::Stand(link, number, listed) => {
            let stand = Stand { number, sessions: vec![of(listed)] };
            let session = of(link);
            let is_lower = node
                .members
                .links
                .get(&session)
                .and_then(|link| link.other)
                .is_some_and(|other| other.id < ME);
            let _ = if is_lower {
                node.frame(session, Kind::Keep, &[])
            } else {
                node.frame(session, Kind::Stand, &stand.encode())
            };
        }
        Op::List(link, told) => {
            let told = told.into_iter().map(|(number, told, incarnation)| {
                entry(id(number), [Told::Alive, Told::Suspect, Told::Gone][told as usize], incarnation.into())
            });
            for list in encode_lists(&told.collect::<Vec<_>>(), 30_000) {
                let _ = node.frame(of(link), Kind::PeerList, &list);
            }
        }
        Op::Closed(link) => node.members.handle_closed(of(link), node.now),
        Op::Heard(link) => node.members.handle_heard(of(link), node.now),
        Op::Wait(ms) => node.pass(ms.into(), &[]),
        Op::Leave => node.members.leave(node.now),
    }
}

proptest! {
    #[test]
    fn whatever_is_said_up_and_down_alternate_and_the_view_is_what_they_said(ops in prop::collection::vec(op(), 0..80)) {
        let mut config = config();
        config.seeds = vec![hello(NodeId(495), 0).address.unwrap(), address("seed:1")];
        let mut node = Node::new(config);
        let (mut ups, mut closed) = (BTreeMap::new(), std::collections::BTreeSet::new());
        for op in ops {
            do_it(&mut node, op);
            for output in node.said() {
                match output {
                    Output::Up { id, session, .. } => prop_assert_eq!(ups.insert(id, session), None),
                    Output::Down { id, session } => prop_assert_eq!(ups.remove(&id), Some(session)),
                    Output::Close { session, .. } => prop_assert!(closed.insert(session), "a link is closed once"),
                    Output::Send { session, .. } => prop_assert!(!closed.contains(&session), "nothing is sent on what is closed"),
                    _ => {}
                }
            }
            let linked = node.members.view().members.iter().filter_map(|member| Some((member.id, member.session?)));
            prop_assert_eq!(linked.collect::<BTreeMap<_, _>>(), ups.clone());
        }
    }
}
