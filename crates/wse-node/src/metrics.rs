//! What a server says about itself to Prometheus: its text format, version 0.0.4.
//!
//! All of it is sums over a handful of shards and at most fifty topics, so a scrape costs the same however many connections and topics
//! there are, and takes no lock that a shard holds for long.

use std::fmt::{Display, Write};

use wse_core::options::Options;

use crate::health::Health;
use crate::histories::Outcomes;
use crate::process::Process;
use crate::shared::Shared;
use crate::stats::{Closes, Distribution, SIZES, TIMES};

/// Figures of one moment.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) health: Health,
    closes: Vec<(Option<u16>, u64)>,
    broadcasts: Distribution,
    writes: Distribution,
    handshakes: Distribution,
    busiest: Vec<(String, u64)>,
    recoveries: [(&'static str, u64); 5],
    /// Plain requests by path and status.
    requests: Vec<(&'static str, &'static str, u64)>,
    inbound_bytes: usize,
    limits: Limits,
    ready: bool,
    process: Process,
}

/// What the options allow, told beside what there is: an alert that compares the two fits every server.
#[derive(Debug, Default)]
struct Limits {
    connections: usize,
    inbound_events: usize,
    inbound_bytes: usize,
    outbound_bytes: usize,
    recovery_bytes: usize,
}

impl Limits {
    fn of(options: &Options) -> Self {
        Self {
            connections: options.max_connections,
            inbound_events: options.max_inbound_queue_size,
            inbound_bytes: options.max_inbound_queue_bytes,
            outbound_bytes: options.max_outbound_total_bytes,
            recovery_bytes: options.recovery_memory_budget,
        }
    }
}

impl Metrics {
    /// Of a server that does not run.
    pub(crate) fn at_rest() -> Self {
        Self {
            health: Health::default(),
            closes: Closes::sums([].into_iter()),
            broadcasts: Distribution::default(),
            writes: Distribution::default(),
            handshakes: Distribution::default(),
            busiest: Vec::new(),
            recoveries: Outcomes::counts(None),
            requests: Vec::new(),
            inbound_bytes: 0,
            limits: Limits::default(),
            ready: false,
            process: Process::default(),
        }
    }

    pub(crate) fn of(shared: &Shared) -> Self {
        let stats = || shared.shards.iter().map(|shard| &shard.stats);
        Self {
            health: Health::of(shared),
            closes: Closes::sums(stats().map(|stats| &stats.closes)),
            broadcasts: Distribution::of([&shared.broadcasts].into_iter()),
            writes: Distribution::of(stats().map(|stats| &stats.writes)),
            handshakes: Distribution::of(stats().map(|stats| &stats.handshakes)),
            busiest: shared.topics.busiest(),
            recoveries: Outcomes::counts(shared.histories.as_ref().map(|histories| &histories.outcomes)),
            requests: shared.requests.list(),
            inbound_bytes: shared.events.held_bytes(),
            limits: Limits::of(&shared.options),
            ready: shared.why_not_ready().is_none(),
            process: Process::now(),
        }
    }

    /// The page for Prometheus.
    pub(crate) fn to_text(&self) -> String {
        let mut page = Page(String::with_capacity(12 * 1024));
        self.gauges(&mut page);
        self.limits(&mut page);
        self.counters(&mut page);
        self.cluster(&mut page);
        page.head(
            "wse_closes_total",
            "counter",
            "Connections that ended, by close code (RFC 6455, section 7.4).",
        );
        for (code, count) in &self.closes {
            match code {
                Some(code) => page.labelled("wse_closes_total", "code", code, count),
                None => page.labelled("wse_closes_total", "code", "other", count),
            }
        }
        page.head(
            "wse_recoveries_total",
            "counter",
            "Recoveries that clients asked for, by what became of them.",
        );
        for (outcome, count) in &self.recoveries {
            page.labelled("wse_recoveries_total", "outcome", outcome, count);
        }
        page.head(
            "wse_topic_messages_total",
            "counter",
            "Messages published to the busiest topics that have subscribers, at most 50 of them.",
        );
        for (topic, count) in &self.busiest {
            page.labelled("wse_topic_messages_total", "topic", escaped(topic), count);
        }
        page.head(
            "wse_http_requests_total",
            "counter",
            "Plain HTTP requests, upgrades aside, by path and status.",
        );
        for (path, code, count) in &self.requests {
            let _ = writeln!(page.0, "wse_http_requests_total{{path=\"{path}\",code=\"{code}\"}} {count}");
        }
        self.histograms(&mut page);
        page.0
    }

    fn gauges(&self, page: &mut Page) {
        let health = &self.health;
        page.gauge("wse_connections", "Clients that are admitted now.", health.connections);
        page.gauge("wse_topics", "Topics that somebody is subscribed to by name.", health.topics);
        page.gauge(
            "wse_api_connections",
            "Connections of the HTTP API that stay between requests.",
            health.api_connections,
        );
        page.gauge(
            "wse_api_requests_waiting",
            "Requests of the HTTP API that are worked on, or wait for something.",
            health.api_requests_waiting,
        );
        page.gauge(
            "wse_inbound_queue_depth",
            "Events that wait for the Python program.",
            health.inbound_queue_depth,
        );
        page.gauge(
            "wse_inbound_queue_bytes",
            "Bytes of events that wait for the Python program.",
            self.inbound_bytes,
        );
        page.gauge(
            "wse_outbound_queued_bytes",
            "Bytes that wait for clients, shared ones counted once.",
            health.outbound_bytes,
        );
        page.gauge(
            "wse_ready",
            "1 while new clients are welcome, as GET /ready says, else 0.",
            u8::from(self.ready),
        );
        page.gauge(
            "wse_draining",
            "1 while new clients are sent elsewhere, else 0.",
            u8::from(health.draining),
        );
        page.gauge(
            "wse_draining_clients",
            "Clients that a drain has still to send away.",
            health.draining_clients,
        );
        page.gauge("wse_uptime_seconds", "Seconds since the server started.", health.uptime_secs);
        page.gauge(
            "wse_slow_clients",
            "Clients that miss something now because they read too slowly.",
            health.slow_clients,
        );
        page.gauge("wse_recovery_topics", "Topics with a history.", health.recovery_topics);
        page.gauge("wse_recovery_bytes", "Bytes of all histories.", health.recovery_bytes);
        page.gauge(
            "wse_presence_topics",
            "Topics with somebody present, in the whole cluster.",
            health.presence_topics,
        );
        page.gauge(
            "wse_presence_users",
            "Users present, summed over topics, in the whole cluster.",
            health.presence_total_users,
        );
    }

    /// Under the names of the options. Those of the process are not called `process_...`, as a program may add this page to one of its
    /// own, where a client library has told these already.
    fn limits(&self, page: &mut Page) {
        let (limits, process) = (&self.limits, &self.process);
        page.gauge("wse_max_connections", "Option max_connections.", limits.connections);
        page.gauge(
            "wse_max_inbound_queue_size",
            "Option max_inbound_queue_size, in events.",
            limits.inbound_events,
        );
        page.gauge("wse_max_inbound_queue_bytes", "Option max_inbound_queue_bytes.", limits.inbound_bytes);
        page.gauge("wse_max_outbound_total_bytes", "Option max_outbound_total_bytes.", limits.outbound_bytes);
        page.gauge(
            "wse_recovery_memory_budget_bytes",
            "Option recovery_memory_budget.",
            limits.recovery_bytes,
        );
        page.gauge(
            "wse_process_max_fds",
            "File descriptors that the process may have open. On Linux, like all of the process; 0 elsewhere.",
            process.max_fds,
        );
        page.gauge(
            "wse_process_resident_memory_bytes",
            "Memory of the process that is in use, Python's included.",
            process.resident_bytes,
        );
        page.gauge(
            "wse_process_cpus",
            "Processors that the process may use, as its affinity and control group say.",
            process.cpus,
        );
        page.counter(
            "wse_process_cpu_seconds_total",
            "Seconds of processor time of the process, Python's included.",
            process.cpu_seconds,
        );
    }

    fn counters(&self, page: &mut Page) {
        let (health, totals) = (&self.health, &self.health.totals);
        let counters = [
            (
                "wse_messages_received_total",
                "Text and binary messages from clients.",
                totals.messages_received,
            ),
            (
                "wse_messages_sent_total",
                "Messages put on their way to a client, each client counted.",
                totals.messages_sent,
            ),
            ("wse_bytes_received_total", "Bytes read from sockets.", totals.bytes_received),
            ("wse_bytes_sent_total", "Bytes written to sockets.", totals.bytes_sent),
            (
                "wse_messages_compressed_total",
                "Messages compressed, once for each window size that somebody asked for.",
                health.compressions,
            ),
            ("wse_connections_accepted_total", "Upgrades that were admitted.", totals.accepted),
            (
                "wse_connections_rejected_total",
                "Requests that were refused, for whatever reason.",
                totals.rejected,
            ),
            ("wse_auth_failures_total", "Clients without a valid token.", totals.auth_failures),
            ("wse_rate_limited_total", "Messages refused by the rate limit.", totals.rate_limited),
            (
                "wse_api_auth_failures_total",
                "Requests of the HTTP API without its key.",
                health.api_auth_failures,
            ),
            (
                "wse_inbound_dropped_total",
                "Events that nobody had taken when the server stopped or started anew.",
                health.inbound_dropped,
            ),
            (
                "wse_slow_consumer_drops_total",
                "Clients closed because they read too slowly.",
                totals.slow_consumer_drops,
            ),
            (
                "wse_slow_consumer_cuts_total",
                "Connections cut because not even a close frame could be written.",
                totals.cut,
            ),
            (
                "wse_slow_client_backlogs_total",
                "Times that a client's backlog was dropped because it read too slowly.",
                health.slow_client_backlogs,
            ),
            (
                "wse_slow_client_messages_dropped_total",
                "Messages that such clients did not get when it was their turn.",
                health.slow_client_dropped,
            ),
            (
                "wse_slow_client_messages_replayed_total",
                "Of those, the ones that were sent again from a history.",
                health.slow_client_replayed,
            ),
            (
                "wse_slow_client_gaps_total",
                "Notices that told such clients what they miss.",
                health.slow_client_gaps,
            ),
            (
                "wse_queue_group_lost_total",
                "Messages of queue groups lost with the member that had begun to get them, or for want of one.",
                totals.queue_group_lost,
            ),
            (
                "wse_queue_group_maybe_lost_total",
                "Messages of queue groups that were written to a member's socket and not acknowledged by its system when the connection ended.",
                totals.queue_group_maybe_lost,
            ),
            (
                "wse_accept_pauses_total",
                "Times that accepting paused for want of file descriptors.",
                totals.accept_pauses,
            ),
        ];
        counters.iter().for_each(|(name, help, value)| page.counter(name, help, *value));
    }

    fn cluster(&self, page: &mut Page) {
        let cluster = &self.health.cluster;
        page.gauge("wse_cluster_peers", "Other nodes that are reachable.", cluster.peers);
        page.gauge(
            "wse_cluster_certificate_expiry_timestamp_seconds",
            "Until when this node's certificate is valid, in Unix time; 0 without one.",
            cluster.certificate_expires,
        );
        let counters = [
            ("wse_cluster_messages_sent_total", "Messages sent to other nodes.", cluster.sent),
            (
                "wse_cluster_messages_delivered_total",
                "Messages of other nodes that were delivered here.",
                cluster.delivered,
            ),
            (
                "wse_cluster_messages_dropped_total",
                "Messages for other nodes that were given up.",
                cluster.dropped,
            ),
            ("wse_cluster_bytes_sent_total", "Bytes sent to other nodes.", cluster.bytes_out),
            ("wse_cluster_bytes_received_total", "Bytes received from other nodes.", cluster.bytes_in),
            ("wse_cluster_reconnects_total", "Links to other nodes that came again.", cluster.reconnects),
            (
                "wse_cluster_unknown_frames_total",
                "Frames of other nodes of a kind that this version does not know.",
                cluster.unknown,
            ),
            (
                "wse_cluster_publications_resent_total",
                "Publications that were sent again to a topic's home.",
                cluster.logs.resent,
            ),
            ("wse_cluster_takeovers_total", "Topics that this node became home of.", cluster.logs.taken),
            (
                "wse_cluster_handovers_total",
                "Topics that this node was home of and is no more.",
                cluster.logs.stepped_down,
            ),
            (
                "wse_cluster_fetches_total",
                "Questions for messages of a topic that this node did not have.",
                cluster.logs.fetches,
            ),
            (
                "wse_cluster_gaps_total",
                "Gaps that all subscribers of a topic at this node were told of.",
                cluster.logs.gaps,
            ),
            (
                "wse_cluster_unconfirmed_subscriptions_total",
                "Subscriptions that were answered without the topic's home.",
                cluster.logs.unconfirmed,
            ),
            (
                "wse_cluster_branch_messages_total",
                "Messages of this side of a partition without which a topic went on.",
                cluster.logs.dropped,
            ),
            (
                "wse_cluster_evicted_histories_total",
                "Histories whose messages were given up for those of other topics.",
                cluster.logs.evicted,
            ),
            (
                "wse_cluster_forgotten_histories_total",
                "Histories of this node's that nobody needed any more, forgotten with their positions.",
                cluster.logs.discarded,
            ),
        ];
        counters.iter().for_each(|(name, help, value)| page.counter(name, help, *value));
    }

    fn histograms(&self, page: &mut Page) {
        page.histogram(
            "wse_broadcast_duration_seconds",
            "Time until a broadcast is with the I/O threads, waiting included; of each topic the first in 64 messages is measured.",
            &self.broadcasts,
            TIMES.map(|nanos| nanos as f64 / 1e9),
            1e9,
        );
        page.histogram(
            "wse_send_size_bytes",
            "Bytes that one write to a socket took: one message, or several that waited.",
            &self.writes,
            SIZES.map(|bytes| bytes as f64),
            1.0,
        );
        page.histogram(
            "wse_handshake_duration_seconds",
            "Time from an accepted socket to an admitted connection.",
            &self.handshakes,
            TIMES.map(|nanos| nanos as f64 / 1e9),
            1e9,
        );
    }
}

/// A page that is being written. Writing to a `String` can't fail.
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn value(&mut self, name: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn labelled(&mut self, name: &str, label: &str, of: impl Display, value: impl Display) {
        let _ = writeln!(self.0, "{name}{{{label}=\"{of}\"}} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "gauge", help);
        self.value(name, value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "counter", help);
        self.value(name, value);
    }

    /// `unit` is how many of what was added up make one of the unit in the name.
    fn histogram(&mut self, name: &str, help: &str, found: &Distribution, bounds: [f64; 10], unit: f64) {
        self.head(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        let mut count = 0;
        for (bound, within) in bounds.iter().zip(&found.buckets) {
            count += within;
            self.labelled(&bucket, "le", bound, count);
        }
        count += found.buckets[bounds.len()];
        self.labelled(&bucket, "le", "+Inf", count);
        self.value(&format!("{name}_sum"), found.sum as f64 / unit);
        self.value(&format!("{name}_count"), count);
    }
}

/// A label's value as the format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_count_what_is_below_them_too() {
        let mut page = Page(String::new());
        let mut found = Distribution { sum: 3_500, ..Distribution::default() };
        found.buckets[0] = 2;
        found.buckets[2] = 1;
        found.buckets[10] = 4;
        page.histogram("x", "h", &found, TIMES.map(|nanos| nanos as f64 / 1e9), 1e9);
        for line in [
            "x_bucket{le=\"0.00001\"} 2",
            "x_bucket{le=\"0.0005\"} 3",
            "x_bucket{le=\"10\"} 3",
            "x_bucket{le=\"+Inf\"} 7",
            "x_sum 0.0000035",
            "x_count 7",
        ] {
            assert!(page.0.lines().any(|written| written == line), "no {line} in\n{}", page.0);
        }
    }

    #[test]
    fn a_label_can_hold_anything() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
