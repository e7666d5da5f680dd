//! Where the messages of one topic go.

use super::mask::{Mask, PeerIndex};
use super::orders::{Orders, Unknown};
use crate::ids::NodeId;

/// The peers with receivers of a topic; true as long as the table's generation is the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Those with a link that are subscribed, by topic or pattern, or may be.
    pub peers: Mask,
    /// Those of them whose interest is not known: they may be subscribed, and may be in any queue group.
    pub unknown: Mask,
    /// The queue groups of the topic with members at peers with a link, by name.
    pub groups: Vec<GroupRoute>,
}

/// The peers with members of one queue group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRoute {
    /// The group's name.
    pub name: Box<str>,
    /// Those with a link and a known interest.
    pub peers: Mask,
}

/// Who gets a message of a queue group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A member of this node.
    Local,
    /// One of this peer's.
    Peer(PeerIndex),
    /// There is no member that this node knows of.
    Nobody,
}

/// What is to be done with one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share<'a> {
    /// Which peers get it with which orders, by their index.
    pub peers: Vec<(PeerIndex, Orders<'a>)>,
}

impl GroupRoute {
    /// Whose turn it is: a local member if there is one, else the peers one after the other as `turn` counts up.
    #[must_use]
    pub fn choose(&self, has_local: bool, turn: u64) -> Choice {
        if has_local {
            return Choice::Local;
        }
        let nth = turn.checked_rem(self.peers.len());
        let peer = nth.and_then(|nth| self.peers.iter().nth(nth as usize));
        peer.map_or(Choice::Nobody, Choice::Peer)
    }
}

impl Route {
    /// Whether each of [`peers`](Self::peers) gets a message with [plain orders](Orders::plain) and nobody else gets it: the usual case.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.unknown.is_empty() && self.groups.is_empty()
    }

    /// Nobody but this node may have receivers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty() && self.groups.is_empty()
    }

    /// What each peer is told with a message. `local` are the topic's queue groups with members of this node, which serves them itself;
    /// `turn` counts the messages of the topic; `id_of` says who has an index.
    #[must_use]
    pub fn share<'a>(
        &'a self,
        local: &[&'a str],
        binary: bool,
        turn: u64,
        id_of: impl Fn(PeerIndex) -> NodeId,
    ) -> Share<'a> {
        let mut chosen = Vec::new();
        let mut to = self.peers;
        for group in &self.groups {
            if let Choice::Peer(peer) = group.choose(local.contains(&&*group.name), turn) {
                to = to | Mask::of(peer);
                chosen.push((peer, &*group.name));
            }
        }
        let unknown = |peer| self.unknown.contains(peer).then(|| self.unknown_orders(peer, local, &id_of));
        let orders = |peer| Orders {
            binary,
            plain: self.peers.contains(peer),
            groups: chosen.iter().filter(|(of, _)| *of == peer).map(|(_, name)| *name).collect(),
            unknown: unknown(peer),
            handed_on: false,
        };
        Share { peers: to.iter().map(|peer| (peer, orders(peer))).collect() }
    }

    fn unknown_orders<'a>(
        &'a self,
        peer: PeerIndex,
        local: &[&'a str],
        id_of: impl Fn(PeerIndex) -> NodeId,
    ) -> Unknown<'a> {
        // Every group in the route has a peer, so each that is here is served by it or by this node.
        let mut seen_to: Vec<&str> = local.to_vec();
        seen_to.extend(self.groups.iter().map(|group| &*group.name).filter(|name| !local.contains(name)));
        let others = self.unknown.without(Mask::of(peer)).iter().map(id_of).collect();
        Unknown { seen_to, others }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(list: &[usize]) -> Mask {
        list.iter().fold(Mask::NONE, |mask, at| mask | Mask::of(PeerIndex::new(*at)))
    }

    fn id_of(peer: PeerIndex) -> NodeId {
        NodeId(100 + peer.get() as u64)
    }

    #[test]
    fn a_group_goes_round_the_peers_unless_it_has_a_member_here() {
        let group = GroupRoute { name: "g".into(), peers: peers(&[2, 5, 63]) };
        let turns: Vec<Choice> = (0..4).map(|turn| group.choose(false, turn)).collect();
        let of = |at| Choice::Peer(PeerIndex::new(at));
        assert_eq!(turns, [of(2), of(5), of(63), of(2)]);
        assert_eq!(group.choose(true, 1), Choice::Local);
        assert_eq!(GroupRoute { name: "g".into(), peers: Mask::NONE }.choose(false, 1), Choice::Nobody);
    }

    #[test]
    fn each_group_is_served_by_one_and_subscribers_get_their_own_copy() {
        let group = |name: &str, list: &[usize]| GroupRoute { name: name.into(), peers: peers(list) };
        let route = Route {
            peers: peers(&[1]),
            unknown: Mask::NONE,
            groups: vec![group("a", &[1, 2]), group("b", &[2])],
        };
        let told = |turn| {
            let share = route.share(&["b"], true, turn, id_of);
            let told = |(peer, orders): &(PeerIndex, Orders<'_>)| {
                (peer.get(), orders.plain, orders.groups.join(","))
            };
            share.peers.iter().map(told).collect::<Vec<_>>()
        };
        assert_eq!(told(0), [(1, true, "a".into())]);
        assert_eq!(told(1), [(1, true, String::new()), (2, false, "a".into())]);
        assert!(!route.is_plain() && !route.is_empty());
    }

    #[test]
    fn peers_of_unknown_interest_hear_what_is_seen_to_and_of_each_other() {
        let groups = vec![GroupRoute { name: "a".into(), peers: peers(&[3]) }];
        let route = Route { peers: peers(&[1, 2]), unknown: peers(&[1, 2]), groups };
        let share = route.share(&["here"], false, 0, id_of);
        let unknown = Unknown { seen_to: vec!["here", "a"], others: vec![NodeId(102)] };
        assert_eq!(share.peers[0].1, Orders { unknown: Some(unknown), ..Orders::plain(false) });
        assert_eq!(share.peers[2].1, Orders { groups: vec!["a"], ..Orders::default() });
    }
}
