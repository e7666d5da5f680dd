//! What a node does with a message that a peer has sent it.

use wse_core::topic::Filter;

use super::entry::Interest;
use super::exchange::Exchange;
use super::mask::PeerIndex;
use super::orders::Orders;
use super::route::Choice;

/// For whom a message is that has come from a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Duties<'a> {
    /// All who are subscribed here.
    pub plain: bool,
    /// One member here of each of these queue groups.
    pub groups: Vec<&'a str>,
    /// A peer, for a group whose members here have just gone.
    pub hand_on: Vec<(PeerIndex, Orders<'a>)>,
    /// Groups that nobody is left to serve, to be counted.
    pub lost: Vec<&'a str>,
}

impl Exchange {
    /// What is to be done here with a message of a topic. `local` are the topic's queue groups with members of this node; `turn` counts
    /// the messages that were handed on.
    #[must_use]
    pub fn duties<'a>(
        &self,
        topic: Filter<'_>,
        local: &[&'a str],
        orders: &Orders<'a>,
        turn: u64,
    ) -> Duties<'a> {
        let mut duties = Duties { plain: orders.plain, ..Duties::default() };
        for name in &orders.groups {
            if local.contains(name) {
                duties.groups.push(name);
                continue;
            }
            let route = self.table().route(topic.as_str());
            let group = route.groups.iter().find(|group| *group.name == **name);
            match group.map_or(Choice::Nobody, |group| group.choose(false, turn)) {
                Choice::Peer(peer) if !orders.handed_on => {
                    let groups = vec![*name];
                    let orders =
                        Orders { binary: orders.binary, groups, handed_on: true, ..Orders::default() };
                    duties.hand_on.push((peer, orders));
                }
                Choice::Peer(_) | Choice::Local | Choice::Nobody => duties.lost.push(name),
            }
        }
        if let Some(unknown) = &orders.unknown {
            let serves = |name: &&str| {
                Interest::in_group(topic, name).is_some_and(|group| self.serves(&group, unknown))
            };
            let own = local.iter().filter(|name| !orders.groups.contains(name) && serves(name));
            duties.groups.extend(own);
        }
        duties
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{NodeId, Session};
    use crate::interest::{Limits, Output, Unknown};
    use crate::wire::Kind;

    const ME: NodeId = NodeId(50);

    fn topic() -> Filter<'static> {
        Filter::parse("t").unwrap()
    }

    fn member(name: &str) -> Interest<'_> {
        Interest::in_group(topic(), name).unwrap()
    }

    /// A node with a peer of this id that has members of the group `g`.
    fn node_with_peer(id: NodeId) -> Exchange {
        let (mut me, mut peer) =
            (Exchange::new(ME, Limits::default(), 1), Exchange::new(id, Limits::default(), 1));
        me.handle_up(id, Session(1)).unwrap();
        me.handle_frame(id, Session(1), Kind::InterestDigest, &[0; 10]).unwrap();
        peer.handle_up(ME, Session(1)).unwrap();
        peer.add(&member("g"));
        while let Some(output) = peer.poll_output() {
            if let Output::Send { kind: Kind::Sub, payload, .. } = output {
                me.handle_frame(id, Session(1), Kind::Sub, &payload).unwrap();
            }
        }
        assert!(me.knows(id));
        me
    }

    #[test]
    fn a_group_is_served_here_or_handed_on_once() {
        let me = node_with_peer(NodeId(60));
        let peer = me.index_of(NodeId(60)).unwrap();
        let mut orders = Orders { groups: vec!["g", "h"], ..Orders::plain(true) };
        let duties = me.duties(topic(), &["h", "other"], &orders, 0);
        assert_eq!((duties.plain, &duties.groups[..], &duties.lost[..]), (true, &["h"][..], &[][..]));
        let on = Orders { binary: true, groups: vec!["g"], handed_on: true, ..Orders::default() };
        assert_eq!(duties.hand_on, [(peer, on)]);
        orders.handed_on = true;
        assert_eq!(me.duties(topic(), &["h"], &orders, 0).lost, ["g"]);
        orders.groups = vec!["nobody's"];
        orders.handed_on = false;
        assert_eq!(me.duties(topic(), &[], &orders, 0).lost, ["nobody's"]);
    }

    #[test]
    fn of_two_that_a_publisher_does_not_know_the_one_with_the_lower_id_serves() {
        for (id, serves) in [(NodeId(60), true), (NodeId(40), false)] {
            let mut me = node_with_peer(id);
            let unknown = Unknown { seen_to: vec!["h"], others: vec![id] };
            let orders = Orders { unknown: Some(unknown), ..Orders::plain(false) };
            let groups = me.duties(topic(), &["g", "h", "i"], &orders, 0).groups;
            assert_eq!(groups, if serves { vec!["g", "i"] } else { vec!["i"] });
            me.handle_down(id, Session(1));
            let groups = me.duties(topic(), &["g"], &orders, 0).groups;
            assert_eq!(groups, ["g"], "what is there without a link may be gone");
        }
    }
}
