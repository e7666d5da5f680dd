//! Turns, and a small world of members that stall and die: nothing is done twice, and what is lost had begun to leave and is counted.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::outbox::{Outbox, Run as _};
use crate::websocket::Opcode;
use crate::websocket::frame::{server_frame_len, write_frame};

#[test]
fn turns_go_along_the_places_before_they_come_back() {
    let turns = |members: &[u32]| -> Vec<usize> {
        let all = members.iter().sum::<u32>();
        (0..u64::from(all)).map(|turn| place_of_turn(turn, members).unwrap()).collect()
    };
    assert_eq!(turns(&[2, 2]), [0, 1, 0, 1]);
    assert_eq!(turns(&[1, 0, 3]), [0, 2, 2, 2]);
    assert_eq!(turns(&[3, 1, 2]), [0, 1, 2, 0, 2, 0]);
    assert_eq!(place_of_turn(7, &[0, 0]), None);
    assert_eq!(place_of_turn(7, &[]), None);
}

proptest! {
    #[test]
    fn every_place_has_as_many_turns_as_members(members in prop::collection::vec(0_u32..9, 1..6), from in 0_u64..1000) {
        let all = u64::from(members.iter().sum::<u32>());
        let mut turns = vec![0; members.len()];
        for turn in from..from + all {
            turns[place_of_turn(turn, &members).unwrap()] += 1;
        }
        prop_assert_eq!(turns, members);
    }

    #[test]
    fn a_rotation_passes_over_those_that_are_behind(behind in prop::collection::vec(0_usize..4, 1..9), steps in 1_usize..40) {
        let mut rotation = Rotation::default();
        let free: Vec<usize> = (0..behind.len()).filter(|at| behind[*at] == 0).collect();
        let least = (0..behind.len()).min_by_key(|at| behind[*at]).unwrap();
        for step in 0..steps {
            let next = rotation.next(behind.len(), |at| behind[at]).unwrap();
            match free.get(step % free.len().max(1)) {
                Some(member) => prop_assert_eq!(next, Next { member: *member, is_free: true }),
                None => prop_assert_eq!(next, Next { member: least, is_free: false }),
            }
        }
    }
}

#[test]
fn a_rotation_of_nobody_has_no_next() {
    assert_eq!(Rotation::default().next(0, |_| 0), None);
    let mut rotation = Rotation::default();
    let turns = [(); 5].map(|()| rotation.next(2, |_| 0).unwrap().member);
    assert_eq!(turns, [0, 1, 0, 1, 0]);
    let next = rotation.next(1, |_| 0);
    assert_eq!(next, Some(Next { member: 0, is_free: true }), "members may go between two turns");
}

/// A member: its outbox, what it was given, and what its client has read.
#[derive(Default)]
struct Member {
    outbox: Outbox<Rc<Vec<u8>>>,
    work: Work<u8>,
    read: Vec<u8>,
}

impl Member {
    fn give(&mut self, group: u8, number: u32) {
        let frame = frame(&format!("{group}:{number}"));
        let len = frame.len();
        self.outbox.push(&Rc::new(frame), 0, len as u32);
        self.work.give(group, len, self.outbox.bytes());
    }

    fn flush(&mut self, bytes: usize) {
        let mut left = bytes.min(self.outbox.bytes());
        let sent = left;
        for piece in self.outbox.pieces() {
            let some = piece.len().min(left);
            self.read.extend_from_slice(&piece[..some]);
            left -= some;
        }
        self.outbox.advance(sent);
        // Nothing comes before the end says so, as if the network were slow.
        let on_its_way = self.read.len() as u64;
        self.work.advance(sent, || on_its_way);
    }

    /// The client is gone, and the last bytes did not come to it: how many frames may be lost.
    fn die(&mut self, bytes: usize) -> u64 {
        let come = self.read.len().saturating_sub(bytes);
        self.read.truncate(come);
        self.work.unacknowledged(bytes as u64)
    }

    /// The whole messages that its client has read.
    fn messages(&self) -> Vec<String> {
        let mut bytes = &self.read[..];
        let mut out = Vec::new();
        while bytes.len() >= 2 && bytes.len() >= server_frame_len(bytes) {
            let (frame, rest) = bytes.split_at(server_frame_len(bytes));
            out.push(String::from_utf8(frame[2..].to_vec()).unwrap());
            bytes = rest;
        }
        out
    }
}

fn frame(text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    write_frame(&mut frame, Opcode::Text, text.as_bytes());
    frame
}

#[derive(Clone, Debug)]
enum Op {
    Publish(u8),
    Say(usize),
    Flush(usize, usize),
    Die(usize, usize),
    Slow(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0_u8..2).prop_map(Op::Publish),
        2 => (0_usize..5).prop_map(Op::Say),
        5 => (0_usize..5, 0_usize..30).prop_map(|(member, bytes)| Op::Flush(member, bytes)),
        1 => (0_usize..5, 0_usize..60).prop_map(|(member, bytes)| Op::Die(member, bytes)),
        1 => (0_usize..5).prop_map(Op::Slow),
    ]
}

proptest! {
    #[test]
    fn each_message_is_read_once_or_had_begun_to_leave_and_is_counted(ops in prop::collection::vec(op(), 0..120)) {
        let mut members: BTreeMap<usize, Member> = (0..5).map(|at| (at, Member::default())).collect();
        let mut rotations = [Rotation::default(); 2];
        let (mut published, mut said) = (BTreeSet::new(), 0);
        let (mut read, mut lost, mut may_be_lost) = (Vec::new(), 0, 0);
        let share = |members: &mut BTreeMap<usize, Member>, rotation: &mut Rotation, group: u8, number: u32| {
            let alive: Vec<usize> = members.keys().copied().collect();
            let behind = |at: usize| members[&alive[at]].outbox.bytes() / 40;
            let next = rotation.next(alive.len(), behind).unwrap();
            members.get_mut(&alive[next.member]).unwrap().give(group, number);
        };
        let number_of = |run: &Rc<Vec<u8>>, start: u32, end: u32| {
            let text = std::str::from_utf8(&run.bytes()[start as usize + 2..end as usize]).unwrap();
            text.split_once(':').unwrap().1.parse::<u32>().unwrap()
        };
        for (number, op) in (0..).zip(ops) {
            match op {
                Op::Publish(group) => {
                    published.insert(format!("{group}:{number}"));
                    share(&mut members, &mut rotations[usize::from(group)], group, number);
                }
                Op::Say(at) => {
                    if let Some(member) = members.get_mut(&at) {
                        let frame = frame(&format!("own {said}"));
                        let len = frame.len() as u32;
                        member.outbox.push(&Rc::new(frame), 0, len);
                        said += 1;
                    }
                }
                Op::Flush(at, bytes) => {
                    if let Some(member) = members.get_mut(&at) {
                        member.flush(bytes);
                    }
                }
                Op::Die(at, bytes) => {
                    if members.len() > 1
                        && let Some(mut member) = members.remove(&at)
                    {
                        lost += member.work.begun();
                        may_be_lost += member.die(bytes);
                        let pulled = member.work.pull(&mut member.outbox);
                        prop_assert_eq!(member.work.begun(), member.work.groups().count());
                        read.extend(member.messages());
                        for (group, run, start, end) in pulled {
                            let number = number_of(&run, start, end);
                            share(&mut members, &mut rotations[usize::from(group)], group, number);
                        }
                    }
                }
                Op::Slow(at) => {
                    if let Some(member) = members.get_mut(&at) {
                        let pulled = member.work.pull(&mut member.outbox);
                        for (group, run, start, end) in pulled {
                            let number = number_of(&run, start, end);
                            share(&mut members, &mut rotations[usize::from(group)], group, number);
                        }
                    }
                }
            }
        }
        for member in members.values_mut() {
            member.flush(usize::MAX);
            prop_assert!(member.work.is_all_sent());
            let own: Vec<String> =
                member.messages().into_iter().filter(|text| text.starts_with("own")).collect();
            prop_assert!(own.is_sorted_by_key(|text| text[4..].parse::<u32>().unwrap()), "{own:?}");
            read.extend(member.messages());
        }
        let work: Vec<&String> = read.iter().filter(|text| !text.starts_with("own")).collect();
        let distinct: BTreeSet<&String> = work.iter().copied().collect();
        prop_assert_eq!(work.len(), distinct.len(), "nothing is read twice");
        prop_assert_eq!(work.len() + lost + may_be_lost as usize, published.len());
    }
}
