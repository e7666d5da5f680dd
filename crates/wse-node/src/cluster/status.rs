//! What is told of the other nodes.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use hashbrown::HashMap;
use wse_link::Link;
use wse_mesh::ids::{NodeId, Session};
use wse_mesh::log::Counters;
use wse_mesh::members::Members;
use wse_mesh::view::Standing;

use super::Cluster;

/// Another node, or an address behind which none was found yet.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Where it listens, as far as that is known.
    pub address: Option<String>,
    /// Its name; `None` of one that was not reached yet.
    pub id: Option<NodeId>,
    /// What it counts as; `None` of one that was not reached yet.
    pub standing: Option<Standing>,
    /// It is leaving.
    pub leaving: bool,
    /// For how long it has counted as that, in milliseconds.
    pub since_ms: u64,
    /// How long an answer takes.
    pub round_trip_ms: Option<u64>,
    /// Bytes received on the link that stands.
    pub bytes_in: u64,
    /// Bytes sent on it.
    pub bytes_out: u64,
    /// Bytes that wait to be sent on it.
    pub queued: usize,
    link: Option<Link>,
}

impl PeerStatus {
    /// Whether it is reachable: its link stands, and it was heard lately.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.standing == Some(Standing::Alive) && self.link.is_some()
    }
}

/// What a node says about its cluster; zeros without one.
#[derive(Clone, Debug, Default)]
pub struct ClusterHealth {
    /// Other nodes that are reachable.
    pub peers: usize,
    /// Messages given to links.
    pub sent: u64,
    /// Messages of other nodes that were delivered here.
    pub delivered: u64,
    /// Messages that a peer was not given, and shares of queue groups that found no member.
    pub dropped: u64,
    /// Bytes sent to other nodes.
    pub bytes_out: u64,
    /// Bytes received from them.
    pub bytes_in: u64,
    /// Links that came again after a loss.
    pub reconnects: u64,
    /// Frames of a kind that this version does not know, and those about presence at a node without.
    pub unknown: u64,
    /// Messages kept for `get_cluster_dlq_entries`.
    pub letters: usize,
    /// Until when the node's certificate is valid, in seconds of Unix time; 0 without one.
    pub certificate_expires: i64,
    /// What happened to topics with history.
    pub logs: Counters,
    /// Topics of which this node keeps a log, as home, replica or for its clients.
    pub log_topics: usize,
    /// Bytes of the messages in them, and of publications that are not stored.
    pub log_bytes: usize,
}

impl Cluster {
    pub(crate) fn health(&self) -> ClusterHealth {
        let (bytes_in, bytes_out) = self.bytes();
        let (counts, status) = (&self.counts, *self.desk.status.lock());
        ClusterHealth {
            logs: status.counters,
            log_topics: status.topics,
            log_bytes: status.bytes,
            peers: self.peer_count(),
            sent: counts.sent.load(Relaxed),
            delivered: counts.delivered.load(Relaxed),
            dropped: counts.dropped.load(Relaxed) + self.desk.refused(),
            bytes_out,
            bytes_in,
            reconnects: counts.reconnects.load(Relaxed),
            unknown: counts.unknown.load(Relaxed),
            letters: self.letters.len(),
            certificate_expires: self.tls.as_ref().map_or(0, |tls| tls.expires()),
        }
    }

    /// Keeps what the machine knows of the others, for all threads.
    pub(super) fn keep_status(&self, members: &Members, links: &HashMap<Session, Link>, now_ms: u64) {
        let known = members.peers().map(|peer| PeerStatus {
            address: peer.address.map(|address| address.to_string()),
            id: Some(peer.id),
            standing: Some(peer.standing),
            leaving: peer.leaving,
            // A point in time: `peers` makes a duration of it.
            since_ms: peer.since_ms,
            round_trip_ms: peer.round_trip_ms,
            bytes_in: 0,
            bytes_out: 0,
            queued: 0,
            link: peer.session.and_then(|session| links.get(&session).cloned()),
        });
        let unreached = members.unreached().map(|address| PeerStatus {
            address: Some(address.to_string()),
            id: None,
            standing: None,
            leaving: false,
            since_ms: now_ms,
            round_trip_ms: None,
            bytes_in: 0,
            bytes_out: 0,
            queued: 0,
            link: None,
        });
        let all: Vec<PeerStatus> = known.chain(unreached).collect();
        *self.status.lock() = Arc::new(all);
    }

    /// The other nodes, and addresses behind which none was found yet. Dead ones are there while they are remembered.
    pub(crate) fn peers(&self, now_ms: u64) -> Vec<PeerStatus> {
        let all = self.status.lock().clone();
        let mut all = all.to_vec();
        for peer in &mut all {
            peer.since_ms = now_ms.saturating_sub(peer.since_ms);
            if let Some(link) = &peer.link {
                peer.bytes_in = link.counters().bytes_in.load(Relaxed);
                peer.bytes_out = link.counters().bytes_out.load(Relaxed);
                peer.queued = link.waiting();
            }
        }
        all
    }

    /// How many other nodes are reachable.
    pub(crate) fn peer_count(&self) -> usize {
        self.status.lock().iter().filter(|peer| peer.is_connected()).count()
    }

    /// Bytes received and sent since the cluster was connected.
    fn bytes(&self) -> (u64, u64) {
        let links = self.links.read();
        let standing = links.iter().flatten().map(|(_, link)| link.counters());
        let (mut bytes_in, mut bytes_out) =
            (self.counts.bytes_in.load(Relaxed), self.counts.bytes_out.load(Relaxed));
        for counters in standing {
            bytes_in += counters.bytes_in.load(Relaxed);
            bytes_out += counters.bytes_out.load(Relaxed);
        }
        (bytes_in, bytes_out)
    }
}
