"""All rows of the table, with what they must reach."""

from __future__ import annotations

from wsebench import (
    attacked,
    compressing,
    connecting,
    crowd,
    encoding,
    fanout,
    inbound,
    matching,
    remembering,
    resting,
)
from wsebench.model import Figure, Unit, Workload, at_least, at_most, times_at_least, times_at_most

DELIVERIES = "deliveries"
CPU_PER_DELIVERY = "CPU per delivery"

WORKLOADS = (
    Workload(
        "flood-10",
        "flood, 10 subscribers",
        fanout.flood(10),
        (
            Figure("rate", DELIVERIES, Unit.PER_SECOND, times_at_least(1.3)),
            Figure("peak_mb", "peak memory", Unit.MEGABYTES),
        ),
        floor=True,
    ),
    Workload(
        "many-10",
        "ready strings by `broadcast_many`, 10 subscribers",
        fanout.flood_many(10),
        (
            Figure("rate", DELIVERIES, Unit.PER_SECOND, times_at_least(4)),
            Figure("peak_mb", "peak memory", Unit.MEGABYTES),
        ),
        floor=True,
    ),
    Workload(
        "flood-100",
        "flood, 100 subscribers",
        fanout.flood(100),
        (
            Figure("rate", DELIVERIES, Unit.PER_SECOND, times_at_least(4)),
            Figure("peak_mb", "peak memory", Unit.MEGABYTES, at_most(40)),
        ),
        floor=True,
    ),
    Workload(
        "flood-1000",
        "flood, 1,000 subscribers",
        fanout.flood(1000),
        (
            Figure("rate", DELIVERIES, Unit.PER_SECOND, times_at_least(10)),
            Figure("growth_mb", "memory growth", Unit.MEGABYTES, at_most(64)),
        ),
        floor=True,
    ),
    Workload(
        "deflate-1000",
        "compressed flood, 1,000 subscribers, to a plain one of as many bytes",
        compressing.flood,
        (
            Figure("ratio", "ratio", Unit.COUNT, at_least(0.7)),
            Figure("rate", DELIVERIES, Unit.PER_SECOND),
            Figure("size", "frame", Unit.BYTES),
            Figure("plain_size", "plain frame", Unit.BYTES),
        ),
        ours_only=True,
    ),
    Workload(
        "msgpack-1000",
        "flood in msgpack, 1,000 subscribers, to a plain one of as many bytes",
        encoding.msgpack_flood,
        (
            Figure("ratio", "ratio", Unit.COUNT, at_least(0.8)),
            Figure("rate", DELIVERIES, Unit.PER_SECOND),
            Figure("plain", "plain deliveries", Unit.PER_SECOND),
            Figure("size", "frame", Unit.BYTES),
            Figure("plain_size", "plain frame", Unit.BYTES),
        ),
        ours_only=True,
    ),
    Workload(
        "events",
        "`send_event` of a dict with ten fields, one thread, 100 clients",
        encoding.events,
        (Figure("rate", "events", Unit.PER_SECOND, times_at_least(3)),),
    ),
    Workload(
        "history-100",
        "flood with history, 100 subscribers",
        remembering.flood(100),
        (Figure("rate", DELIVERIES, Unit.PER_SECOND, times_at_least(3)),),
    ),
    Workload(
        "history-cost",
        "flood with history, 100 subscribers, to one without of as many bytes",
        remembering.flood_against_plain(100),
        (
            Figure("ratio", "ratio", Unit.COUNT, at_least(0.9)),
            Figure("rate", DELIVERIES, Unit.PER_SECOND),
            Figure("plain", "deliveries without", Unit.PER_SECOND),
            Figure("size", "frame", Unit.BYTES),
            Figure("plain_size", "plain frame", Unit.BYTES),
        ),
        ours_only=True,
    ),
    Workload(
        "come-back",
        "1,000 clients come back at once, each 100 messages behind, beside 100 subscribers x 100/s",
        remembering.come_back,
        (
            Figure("recovered_ms", "until all have recovered", Unit.MILLISECONDS, at_most(1000)),
            Figure("ratio", "p99 of the others to the quiet one", Unit.COUNT, at_most(2)),
            Figure("p99_ms", "p99 of the others", Unit.MILLISECONDS),
            Figure("quiet_p99_ms", "quiet p99", Unit.MILLISECONDS),
        ),
        ours_only=True,
    ),
    Workload(
        "history-memory",
        "100,000 topics under a history budget of 64 MiB",
        remembering.memory,
        (
            Figure("ratio", "growth to the budget", Unit.COUNT, at_most(1.3)),
            Figure("growth_mb", "memory growth", Unit.MEGABYTES),
            Figure("topics", "topics that are kept", Unit.COUNT),
        ),
        ours_only=True,
    ),
    Workload(
        "acl-1000",
        "flood by pattern, 1,000 subscribers with access lists, to one without",
        matching.flood_with_lists,
        (
            Figure("ratio", "ratio, equal lists", Unit.COUNT, at_least(0.97)),
            Figure("each_ratio", "ratio, a list for each", Unit.COUNT),
            Figure("rate", DELIVERIES, Unit.PER_SECOND),
            Figure("off", "deliveries without lists", Unit.PER_SECOND),
        ),
        ours_only=True,
    ),
    Workload(
        "patterns",
        "publish heard through one of 10,000 patterns, to one heard without any",
        matching.publish_among_patterns,
        (
            Figure("ratio", "ratio", Unit.COUNT, at_most(1.5)),
            Figure("new_ratio", "ratio, new topics, to a single pattern", Unit.COUNT),
            Figure("none_us", "without patterns", Unit.MICROSECONDS),
            Figure("many_us", "among 10,000", Unit.MICROSECONDS),
            Figure("one_new_us", "new topics, a single pattern", Unit.MICROSECONDS),
            Figure("many_new_us", "new topics, among 10,000", Unit.MICROSECONDS),
        ),
        ours_only=True,
    ),
    Workload(
        "paced-100",
        "paced, 100 subscribers x 1,000/s",
        fanout.paced(100, 1000),
        (
            Figure("p50_ms", "p50", Unit.MILLISECONDS, times_at_most(0.95)),
            Figure("p99_ms", "p99", Unit.MILLISECONDS, times_at_most(1.0)),
            Figure("cpu_us", CPU_PER_DELIVERY, Unit.MICROSECONDS, times_at_most(0.9)),
        ),
        floor=True,
    ),
    Workload(
        "paced-1000",
        "paced, 1,000 subscribers x 100/s",
        fanout.paced(1000, 100),
        (
            Figure("p50_ms", "p50", Unit.MILLISECONDS, times_at_most(0.85)),
            Figure("p99_ms", "p99", Unit.MILLISECONDS),
            Figure("cpu_us", CPU_PER_DELIVERY, Unit.MICROSECONDS, times_at_most(0.85)),
        ),
        floor=True,
    ),
    Workload(
        "hostile-p99",
        "100 subscribers x 100/s beside 1,000 hostile clients",
        attacked.paced(100, 100, attackers=1000),
        (
            Figure("p99_ms", "p99", Unit.MILLISECONDS),
            Figure("quiet_p99_ms", "p99 without them", Unit.MILLISECONDS),
            Figure("ratio", "p99 to the quiet one", Unit.COUNT, at_most(2)),
            Figure("hostile_cpu", "client core used by them", Unit.PERCENT),
        ),
        ours_only=True,
    ),
    Workload(
        "presence-storm",
        "100 subscribers x 100/s while 10,000 join another topic at once and leave it, again and again",
        crowd.storm(100, 100, members=10_000),
        (
            Figure("p99_ms", "p99", Unit.MILLISECONDS),
            Figure("quiet_p99_ms", "p99 while they sit still", Unit.MILLISECONDS),
            Figure("ratio", "p99 to the quiet one", Unit.COUNT, at_most(2)),
            Figure("joins", "joins meanwhile", Unit.COUNT),
            Figure("gathered", "messages in a write", Unit.COUNT),
            Figure("peak_mb", "peak memory", Unit.MEGABYTES),
        ),
        ours_only=True,
    ),
    Workload(
        "inbound-json",
        "inbound JSON to dicts",
        inbound.flood("dicts"),
        (Figure("rate", "messages", Unit.PER_SECOND, times_at_least(3)),),
    ),
    Workload(
        "inbound-text",
        "inbound text",
        inbound.flood("texts"),
        (Figure("rate", "messages", Unit.PER_SECOND, times_at_least(2.5)),),
    ),
    Workload(
        "echo-100",
        "echo through Python, 100 clients",
        inbound.echo(100),
        (
            Figure("rate", "echoes", Unit.PER_SECOND, times_at_least(2.5)),
            Figure("p99_us", "p99", Unit.MICROSECONDS),
        ),
        floor=True,
    ),
    Workload(
        "echo-1",
        "echo through Python, one client",
        inbound.echo(1),
        (
            Figure("p50_us", "round trip p50", Unit.MICROSECONDS, times_at_most(0.9)),
            Figure("cpu_us", "CPU per round trip", Unit.MICROSECONDS),
        ),
        floor=True,
    ),
    Workload(
        "connect",
        "2,000 connects without JWT, 256 at once",
        connecting.connect(at_once=256),
        (
            Figure("rate", "connects", Unit.PER_SECOND, times_at_least(8)),
            Figure("cpu_us", "CPU per connect", Unit.MICROSECONDS),
        ),
        floor=True,
    ),
    Workload(
        "connect-64",
        "the same, 64 at once",
        connecting.connect(at_once=64),
        (
            Figure("rate", "connects", Unit.PER_SECOND),
            Figure("cpu_us", "CPU per connect", Unit.MICROSECONDS),
        ),
        floor=True,
    ),
    Workload(
        "connect-jwt",
        "2,000 connects with HS256, 256 at once",
        connecting.connect(at_once=256, jwt=True),
        (
            Figure("rate", "connects", Unit.PER_SECOND, at_least(15_000)),
            Figure("cpu_us", "CPU per connect", Unit.MICROSECONDS),
        ),
    ),
    Workload(
        "idle-memory",
        "idle authenticated client, one subscription",
        resting.idle_memory,
        (Figure("per_client", "memory per client", Unit.BYTES, at_most(1024)),),
    ),
    Workload(
        "idle-deflate",
        "the same with permessage-deflate agreed on",
        resting.idle_memory_with_deflate,
        (
            Figure("more", "more per client", Unit.BYTES, at_most(64)),
            Figure("per_client", "memory per client", Unit.BYTES),
        ),
        ours_only=True,
    ),
    Workload(
        "burst-publish",
        "after 200 MB to 1,000 clients by topic",
        resting.burst("publish", 2000),
        (
            Figure("held_mb", "held meanwhile", Unit.MEGABYTES),
            Figure("left_mb", "above idle after 10 s", Unit.MEGABYTES, at_most(20)),
        ),
    ),
    Workload(
        "burst-send",
        "after 200 MB to 1,000 clients one by one",
        resting.burst("send", 20),
        (
            Figure("held_mb", "held meanwhile", Unit.MEGABYTES),
            Figure("left_mb", "above idle after 10 s", Unit.MEGABYTES, at_most(20)),
        ),
    ),
    Workload(
        "idle-cpu",
        "10,000 idle clients, default pings",
        resting.idle_cpu,
        (
            Figure("cpu_percent", "of a core", Unit.PERCENT, at_most(2)),
            Figure("pings", "pings per client", Unit.COUNT),
        ),
    ),
)
