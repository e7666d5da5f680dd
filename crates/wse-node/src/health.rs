//! What a server says about itself.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde_json::Value;

use crate::cluster::ClusterHealth;
use crate::histories::Histories;
use crate::shared::{Shared, random_u64};
use crate::stats::Totals;

/// A snapshot of one server, under the names of `health_snapshot`.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Open connections.
    pub connections: usize,
    /// Events that wait for the application.
    pub inbound_queue_depth: usize,
    /// Events lost at shutdown.
    pub inbound_dropped: u64,
    /// Seconds since the server started.
    pub uptime_secs: f64,
    /// Whether new clients are welcome.
    pub ready: bool,
    /// Whether this node is to be one of a cluster and does not know yet who is there and who hears what.
    pub joining: bool,
    /// Whether new clients are sent elsewhere.
    pub draining: bool,
    /// Clients that are still to go.
    pub draining_clients: usize,
    /// Whether topics have history.
    pub recovery_enabled: bool,
    /// Topics with a history.
    pub recovery_topics: usize,
    /// Bytes of all histories.
    pub recovery_bytes: usize,
    /// Clients that miss something at this moment because they read too slowly.
    pub slow_clients: u64,
    /// Times that a client's backlog was dropped.
    pub slow_client_backlogs: u64,
    /// Messages that such clients did not get when it was their turn.
    pub slow_client_dropped: u64,
    /// Of those, the ones that were sent again from a history.
    pub slow_client_replayed: u64,
    /// Notices of a gap.
    pub slow_client_gaps: u64,
    /// Whether presence is tracked.
    pub presence_enabled: bool,
    /// Topics with somebody present, in the whole cluster.
    pub presence_topics: usize,
    /// Users present, summed over topics, in the whole cluster.
    pub presence_total_users: usize,
    /// What is said about the cluster.
    pub cluster: ClusterHealth,
    /// Whether there is an HTTP API.
    pub api_enabled: bool,
    /// Connections of the API that stay between requests.
    pub api_connections: usize,
    /// Requests that the API's thread works on.
    pub api_requests_waiting: usize,
    /// Requests of the API without the key.
    pub api_auth_failures: u64,
    /// Topics that somebody is subscribed to.
    pub topics: usize,
    /// Bytes that wait for clients, shared ones counted once.
    pub outbound_bytes: usize,
    /// Messages compressed for all who get them, once for each window.
    pub compressions: u64,
    /// Sums since the server started.
    pub totals: Totals,
}

impl Health {
    pub(crate) fn of(shared: &Shared) -> Self {
        let laggards = &shared.laggards;
        let (presence_topics, presence_total_users) =
            shared.attendance.as_ref().map_or((0, 0), |all| all.counts());
        let cluster = shared.cluster.get().map(|cluster| cluster.health()).unwrap_or_default();
        Self {
            recovery_topics: shared.histories.as_ref().map_or(0, Histories::count).max(cluster.log_topics),
            recovery_bytes: shared.histories.as_ref().map_or(0, Histories::bytes) + cluster.log_bytes,
            cluster,
            slow_clients: laggards.now.load(Relaxed),
            slow_client_backlogs: laggards.fell_behind.load(Relaxed),
            slow_client_dropped: laggards.dropped.load(Relaxed),
            slow_client_replayed: laggards.replayed.load(Relaxed),
            slow_client_gaps: laggards.gaps.load(Relaxed),
            connections: shared.connections.load(Relaxed),
            inbound_queue_depth: shared.events.depth(),
            inbound_dropped: shared.events.dropped(),
            uptime_secs: shared.clock.uptime().as_secs_f64(),
            ready: shared.why_not_ready().is_none(),
            joining: shared.is_joining(),
            draining: shared.drains.have_begun(),
            draining_clients: shared.drains.left(),
            recovery_enabled: shared.options.recovery_enabled,
            presence_enabled: shared.options.presence_enabled,
            presence_topics,
            presence_total_users,
            api_enabled: shared.api.is_some(),
            api_connections: shared.api.as_ref().map_or(0, |api| api.kept()),
            api_requests_waiting: shared.api.as_ref().map_or(0, |api| api.unanswered()),
            api_auth_failures: shared.api.as_ref().map_or(0, |api| api.auth_failures.load(Relaxed)),
            topics: shared.topics.topic_count(),
            outbound_bytes: shared.outbound.load(Relaxed),
            compressions: shared.compressions.load(Relaxed),
            totals: shared.totals(),
        }
    }

    /// The same as an object with the documented names.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let (totals, cluster) = (&self.totals, &self.cluster);
        let figures: [(&str, Value); _] = [
            ("connections", self.connections.into()),
            ("inbound_queue_depth", self.inbound_queue_depth.into()),
            ("inbound_dropped", self.inbound_dropped.into()),
            ("uptime_secs", self.uptime_secs.into()),
            ("ready", self.ready.into()),
            ("joining", self.joining.into()),
            ("draining", self.draining.into()),
            ("draining_clients", self.draining_clients.into()),
            ("recovery_enabled", self.recovery_enabled.into()),
            ("recovery_topic_count", self.recovery_topics.into()),
            ("recovery_total_bytes", self.recovery_bytes.into()),
            ("cluster_connected", (cluster.peers > 0).into()),
            ("cluster_peer_count", cluster.peers.into()),
            ("cluster_messages_sent", cluster.sent.into()),
            ("cluster_messages_delivered", cluster.delivered.into()),
            ("cluster_messages_dropped", cluster.dropped.into()),
            ("cluster_bytes_sent", cluster.bytes_out.into()),
            ("cluster_bytes_received", cluster.bytes_in.into()),
            ("cluster_reconnect_count", cluster.reconnects.into()),
            ("cluster_unknown_message_types", cluster.unknown.into()),
            ("cluster_dlq_size", cluster.letters.into()),
            ("presence_enabled", self.presence_enabled.into()),
            ("presence_topics", self.presence_topics.into()),
            ("presence_total_users", self.presence_total_users.into()),
            ("topics", self.topics.into()),
            ("outbound_queued_bytes", self.outbound_bytes.into()),
            ("messages_compressed", self.compressions.into()),
            ("messages_received", totals.messages_received.into()),
            ("messages_sent", totals.messages_sent.into()),
            ("bytes_received", totals.bytes_received.into()),
            ("bytes_sent", totals.bytes_sent.into()),
            ("connections_accepted", totals.accepted.into()),
            ("connections_rejected", totals.rejected.into()),
            ("auth_failures", totals.auth_failures.into()),
            ("rate_limited", totals.rate_limited.into()),
            ("slow_consumer_drops", totals.slow_consumer_drops.into()),
            ("slow_consumer_cuts", totals.cut.into()),
            ("slow_clients", self.slow_clients.into()),
            ("slow_client_backlogs", self.slow_client_backlogs.into()),
            ("slow_client_messages_dropped", self.slow_client_dropped.into()),
            ("slow_client_messages_replayed", self.slow_client_replayed.into()),
            ("slow_client_gaps", self.slow_client_gaps.into()),
            ("queue_group_lost", totals.queue_group_lost.into()),
            ("queue_group_maybe_lost", totals.queue_group_maybe_lost.into()),
            ("accept_pauses", totals.accept_pauses.into()),
            ("api_enabled", self.api_enabled.into()),
            ("api_connections", self.api_connections.into()),
            ("api_requests_waiting", self.api_requests_waiting.into()),
            ("api_auth_failures", self.api_auth_failures.into()),
        ];
        figures.into_iter().collect()
    }

    /// The same as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.to_value().to_string()
    }
}

/// A fresh id for a message: a UUID of version 7 (RFC 9562), so that ids sort by time.
pub(crate) fn message_id(unix_ms: u64) -> String {
    static STATE: AtomicU64 = AtomicU64::new(0);
    if STATE.load(Relaxed) == 0 {
        // Two threads may both seed; either seed is as good.
        STATE.store(random_u64() | 1, Relaxed);
    }
    // An id must not repeat; nobody gains by guessing one, so a mixed counter (SplitMix64) is random enough.
    let mut mixed = STATE.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let (time, low) = (unix_ms & 0xffff_ffff_ffff, mixed & 0x3fff_ffff_ffff_ffff);
    let words = [time << 16 | 0x7000 | mixed >> 52, 1 << 63 | low];
    // Each event has one of these, and `format!` takes ten times as long.
    let mut text = *b"00000000-0000-0000-0000-000000000000";
    for (digit, byte) in text.iter_mut().filter(|byte| **byte != b'-').enumerate() {
        let four_bits = words[digit / 16] >> (60 - 4 * (digit % 16)) & 15;
        *byte = b"0123456789abcdef"[four_bits as usize];
    }
    String::from_utf8(text.to_vec()).expect("digits and dashes are text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_ids_are_uuids_that_do_not_repeat() {
        let ids: std::collections::BTreeSet<String> =
            (0..10_000).map(|_| message_id(1_795_448_941_607)).collect();
        assert_eq!(ids.len(), 10_000);
        for id in &ids {
            let parts: Vec<usize> = id.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12], "{id}");
            assert!(id.as_bytes()[14] == b'7' && b"89ab".contains(&id.as_bytes()[19]), "{id}");
        }
    }
}
