//! Which node a topic belongs to: rendezvous hashing, which moves only the topics of the nodes that come or go.

use crate::ids::NodeId;

/// The most replicas of a topic beside its home.
pub const MAX_REPLICAS: usize = 4;

/// The number of a topic's name, the same on every node: FNV-1a of 64 bits.
#[must_use]
pub fn topic_hash(topic: &str) -> u64 {
    topic
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The finalizer of SplitMix64: each bit of the input changes each bit of the output half of the time.
pub(crate) fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// How much a node is worth to a topic; the highest is its home, the next its replicas.
#[must_use]
pub fn score(topic: u64, node: NodeId) -> u64 {
    mix(topic ^ mix(node.0.wrapping_add(0x9e37_79b9_7f4a_7c15)))
}

/// A few nodes in order, without memory of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Few {
    ids: [NodeId; MAX_REPLICAS],
    len: u8,
}

impl Few {
    pub(crate) const NONE: Few = Few { ids: [NodeId(0); MAX_REPLICAS], len: 0 };

    pub(crate) fn as_slice(&self) -> &[NodeId] {
        &self.ids[..usize::from(self.len)]
    }

    pub(crate) fn contains(&self, id: NodeId) -> bool {
        self.as_slice().contains(&id)
    }
}

/// The home of a topic, and the nodes that are to keep copies if `me` is it: the best of `nodes` and the best after that but `me`.
pub(crate) fn rank(topic: u64, nodes: &[NodeId], me: NodeId, replicas: usize) -> (NodeId, Few) {
    let mut best = (0, NodeId(0));
    let mut scored = [(0_u64, NodeId(0)); MAX_REPLICAS];
    let wanted = replicas.min(MAX_REPLICAS);
    let mut found = 0;
    for &node in nodes {
        let this = (score(topic, node), node);
        best = best.max(this);
        if node == me || wanted == 0 {
            continue;
        }
        let at = scored[..found].partition_point(|other| *other > this);
        if at < wanted {
            found = (found + 1).min(wanted);
            scored.copy_within(at..found - 1, at + 1);
            scored[at] = this;
        }
    }
    let mut few = Few { len: found as u8, ..Few::NONE };
    for (id, (_, node)) in few.ids.iter_mut().zip(&scored[..found]) {
        *id = *node;
    }
    (best.1, few)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_rank_is_that_of_a_sort(topic: u64, mut nodes in prop::collection::btree_set(1_u64..99, 1..9), replicas in 0_usize..4) {
            let me = *nodes.first().unwrap();
            nodes.insert(me);
            let nodes: Vec<NodeId> = nodes.into_iter().map(NodeId).collect();
            let (home, targets) = rank(topic, &nodes, NodeId(me), replicas);
            let mut sorted = nodes;
            sorted.sort_by_key(|node| std::cmp::Reverse((score(topic, *node), *node)));
            prop_assert_eq!(home, sorted[0]);
            sorted.retain(|node| *node != NodeId(me));
            sorted.truncate(replicas);
            prop_assert_eq!(targets.as_slice(), &sorted[..]);
        }
    }

    #[test]
    fn a_node_that_goes_moves_only_its_own_topics() {
        let nodes: Vec<NodeId> = (1..=5).map(NodeId).collect();
        let mut of_the_last = 0;
        for number in 0..1000 {
            let topic = topic_hash(&format!("room-{number}"));
            let (all, _) = rank(topic, &nodes, NodeId(1), 1);
            let (without, _) = rank(topic, &nodes[..4], NodeId(1), 1);
            assert!(all == without || all == NodeId(5));
            of_the_last += u32::from(all == NodeId(5));
        }
        assert!((150..250).contains(&of_the_last), "a fifth of them: {of_the_last}");
    }
}
