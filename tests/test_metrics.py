"""What Prometheus is told, read as Prometheus reads it: by the parser of its own Python client."""

from __future__ import annotations

import os
import resource
import struct
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from server_process import Host, ServerProcess
from sockets import Client
from support import HOST, Running, wait_until
from wire import Wire, ask, plain
from wse_server import RustWSEServer, codes

Factory = Callable[..., Running]

GAUGES = {
    "wse_connections",
    "wse_inbound_queue_depth",
    "wse_uptime_seconds",
    "wse_topics",
    "wse_cluster_peers",
    "wse_recovery_topics",
    "wse_recovery_bytes",
    "wse_presence_topics",
    "wse_presence_users",
    "wse_ready",
    "wse_inbound_queue_bytes",
    "wse_cluster_certificate_expiry_timestamp_seconds",
    "wse_process_resident_memory_bytes",
    "wse_process_max_fds",
    "wse_process_cpus",
}
LIMITS = {
    "wse_max_connections": "max_connections",
    "wse_max_inbound_queue_size": "max_inbound_queue_size",
    "wse_max_inbound_queue_bytes": "max_inbound_queue_bytes",
    "wse_max_outbound_total_bytes": "max_outbound_total_bytes",
    "wse_recovery_memory_budget_bytes": "recovery_memory_budget",
}
"""Gauges that say what the options allow, with the name of the option."""
COUNTERS = {
    "wse_messages_received_total",
    "wse_messages_sent_total",
    "wse_bytes_received_total",
    "wse_bytes_sent_total",
    "wse_connections_accepted_total",
    "wse_connections_rejected_total",
    "wse_auth_failures_total",
    "wse_rate_limited_total",
    "wse_inbound_dropped_total",
    "wse_slow_consumer_drops_total",
    "wse_cluster_messages_sent_total",
    "wse_process_cpu_seconds_total",
}
HISTOGRAMS = {"wse_broadcast_duration_seconds", "wse_send_size_bytes", "wse_handshake_duration_seconds"}
"""What the documents promise to operators, and what dashboards are built on."""

CLOSE = 0x8


class Scrape:
    """One page, parsed."""

    def __init__(self, text: str) -> None:
        self.families: dict[str, Metric] = {}
        for family in text_string_to_metric_families(text):
            assert family.name not in self.families, f"{family.name} is told twice"
            self.families[family.name] = family

    def __call__(self, name: str, **labels: str) -> float:
        """The value of one sample; 0 where there is none."""
        found = [
            sample.value
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name and sample.labels == labels
        ]
        assert len(found) <= 1, f"{name} {labels} is told twice"
        return found[0] if found else 0.0

    def labelled(self, name: str, label: str) -> dict[str, float]:
        """All samples of a metric with one label."""
        return {
            sample.labels[label]: sample.value
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name
        }


def scrape(server: RustWSEServer) -> Scrape:
    return Scrape(server.prometheus_metrics())


def test_everything_promised_is_there_with_its_type_and_a_help(running: Running) -> None:
    running.subscriber("t")
    page = scrape(running.server)
    names = {name: family.type for name, family in page.families.items()}
    # The parser leaves `_total` out of the name of a counter.
    wanted = (
        dict.fromkeys([*GAUGES, *LIMITS], "gauge")
        | {name.removesuffix("_total"): "counter" for name in COUNTERS}
        | dict.fromkeys(HISTOGRAMS, "histogram")
        | {"wse_topic_messages": "counter", "wse_closes": "counter"}
    )
    assert {name: names.get(name) for name in wanted} == wanted
    assert all(family.documentation for family in page.families.values())


def test_a_server_that_does_not_run_tells_zeros() -> None:
    page = scrape(RustWSEServer(HOST, 0))
    assert {name.removesuffix("_total") for name in GAUGES | COUNTERS | set(LIMITS)} | HISTOGRAMS <= set(
        page.families
    )
    assert {sample.value for family in page.families.values() for sample in family.samples} == {0.0}


def test_the_page_is_what_the_method_returns(running: Running) -> None:
    running.dial()
    answer = ask(running.port, plain("GET", "/metrics"))
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    told = Scrape(answer.body.decode())
    assert set(told.families) == set(scrape(running.server).families)
    assert told("wse_connections") == 1


def test_a_scrape_asks_for_no_token_and_no_origin(server_factory: Factory) -> None:
    running = server_factory(jwt_secret="x" * 32, allowed_origins=["https://app.example.com"], path="/ws")
    assert ask(running.port, plain("GET", "/metrics", "Origin: https://evil.example")).status == 200


def test_limits_are_told_beside_what_they_limit(server_factory: Factory) -> None:
    asked = {option: 5_000_000 + number for number, option in enumerate(LIMITS.values())}
    page = scrape(
        server_factory(
            **asked, max_outbound_queue_bytes=4096, max_message_size=4096, recovery_enabled=True
        ).server
    )
    assert {option: page(metric) for metric, option in LIMITS.items()} == asked


def test_a_server_is_ready_until_it_is_emptied(running: Running) -> None:
    assert (scrape(running.server)("wse_ready"), scrape(running.server)("wse_draining")) == (1, 0)
    running.server.drain()
    assert ask(running.port, plain("GET", "/ready")).status == 503
    told = Scrape(ask(running.port, plain("GET", "/metrics")).body.decode())
    assert (told("wse_ready"), told("wse_draining")) == (0, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="it is read from /proc")
def test_the_process_is_told_as_the_kernel_tells_it(running: Running) -> None:
    before = scrape(running.server)
    with Path("/proc/self/statm").open() as statm:
        resident = int(statm.read().split()[1]) * resource.getpagesize()
    assert before("wse_process_resident_memory_bytes") == pytest.approx(resident, rel=0.2)
    assert before("wse_process_max_fds") == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert 1 <= before("wse_process_cpus") <= len(os.sched_getaffinity(0))
    wanted = before("wse_process_cpu_seconds_total") + 0.05
    assert wanted == pytest.approx(time.process_time(), abs=0.2)
    while time.process_time() < wanted + 0.05:
        pass
    assert scrape(running.server)("wse_process_cpu_seconds_total") >= wanted


def test_counters_say_what_happened(running: Running) -> None:
    peers = [running.subscriber("room") for _ in range(3)]
    for number in range(5):
        running.server.broadcast("room", f'{{"t":"n","p":{number}}}')
    for peer in peers:
        assert [peer.receive_json()["p"] for _ in range(5)] == [0, 1, 2, 3, 4]
        peer.send("hello")
    running.events.wait("raw", count=3)
    page = scrape(running.server)
    health = running.server.health_snapshot()
    assert page("wse_messages_sent_total") == 15
    assert page("wse_messages_received_total") == 3
    assert page("wse_connections_accepted_total") == page("wse_connections") == 3
    assert page("wse_topic_messages_total", topic="room") == 5, "messages, not deliveries"
    assert page("wse_bytes_sent_total") == health["bytes_sent"] > 15 * 15
    assert 0 < page("wse_uptime_seconds") <= health["uptime_secs"]


def test_batches_count_each_message(running: Running) -> None:
    peer = running.subscriber("batch")
    running.server.broadcast_many("batch", ["x" * 1000] * 1000)
    for _ in range(1000):
        peer.receive()
    assert scrape(running.server)("wse_topic_messages_total", topic="batch") == 1000


def test_closes_are_counted_by_code(running: Running) -> None:
    told, went, cut, strange, wordless = (running.dial() for _ in range(5))
    running.server.disconnect(told.conn_id, 4403)
    assert told.close_code() == 4403
    went.socket.close(1001)
    strange.socket.close(4999)
    with Client(running.port) as rude:
        rude.send_raw(bytes((0x81, 1, 0)))
        rude.frames_to_the_end()
        assert rude.ended == codes.CloseCode.PROTOCOL_ERROR
    with Wire(running.port) as silent:
        silent.send(CLOSE)
        assert silent.close_frame() == (None, "")
    with Client(running.port) as gone:
        gone.reset()
    running.server.disconnect(cut.conn_id, 3999)
    assert cut.close_code() == 3999
    wordless.socket.close(1000)
    running.events.wait("disconnect", count=8)
    closes = {
        code: count
        for code, count in scrape(running.server).labelled("wse_closes_total", "code").items()
        if count
    }
    assert closes == {"4403": 1, "1001": 1, "other": 2, "1002": 1, "1005": 1, "1006": 1, "1000": 1}


def test_a_refused_token_is_an_authentication_failure_and_a_close(server_factory: Factory) -> None:
    running = server_factory(jwt_secret="x" * 32)
    with Client(running.port) as client:
        frames = client.frames_to_the_end()
    assert struct.unpack(">H", frames[-1].payload[:2]) == (4401,)
    page = scrape(running.server)
    assert page("wse_auth_failures_total") == page("wse_connections_rejected_total") == 1
    assert page("wse_closes_total", code="4401") == 1


def test_histograms_add_up(running: Running) -> None:
    peers = [running.subscriber("h") for _ in range(2)]
    sent = 129
    for _ in range(sent):
        running.server.broadcast("h", "x" * 300)
    for peer in peers:
        for _ in range(sent):
            peer.receive()
    page = scrape(running.server)
    for name in HISTOGRAMS:
        buckets = page.labelled(f"{name}_bucket", "le")
        bounds = [float(bound) for bound in buckets]
        counts = list(buckets.values())
        assert bounds == sorted(bounds)
        assert bounds[-1] == float("inf")
        assert counts == sorted(counts)
        assert counts[-1] == page(f"{name}_count") > 0
        assert page(f"{name}_sum") > 0
    assert page("wse_broadcast_duration_seconds_count") == 3, "the 1st, the 65th and the 129th"
    assert page("wse_handshake_duration_seconds_count") == 2
    assert page("wse_send_size_bytes_sum") == page("wse_bytes_sent_total")
    # Whatever was written together: not a single write of a message is below its size.
    assert page("wse_send_size_bytes_bucket", le="256") == 2, "the two answers to the upgrades"


def test_topics_with_odd_names_come_through(running: Running) -> None:
    names = ['a"b', "a\\b", "a\\nb", "{}", "ü ß", "\N{SNOWMAN}", "a,b=c", "#"]
    peer = running.dial()
    running.server.subscribe_connection(peer.conn_id, names)
    for name in names:
        running.server.broadcast(name, "x")
    assert set(scrape(running.server).labelled("wse_topic_messages_total", "topic")) == set(names)


def test_only_the_fifty_busiest_topics_are_told(running: Running) -> None:
    peer = running.dial()
    names = [f"topic-{number}" for number in range(200)]
    running.server.subscribe_connection(peer.conn_id, [*names, "topic-1*"])
    for number, name in enumerate(names):
        running.server.broadcast_many(name, ["x"] * (1 + (number * 37) % 200))
    busiest = sorted((1 + (number * 37) % 200 for number in range(200)), reverse=True)[:50]
    told = scrape(running.server).labelled("wse_topic_messages_total", "topic")
    assert sorted(told.values(), reverse=True) == busiest
    assert all(count == 1 + (int(name[6:]) * 37) % 200 for name, count in told.items())


def test_a_topic_without_subscribers_is_forgotten(running: Running) -> None:
    peer = running.subscriber("short")
    running.server.broadcast("short", "x")
    assert scrape(running.server)("wse_topic_messages_total", topic="short") == 1
    running.server.unsubscribe_connection(peer.conn_id)
    running.server.broadcast("short", "x")
    assert scrape(running.server).labelled("wse_topic_messages_total", "topic") == {}


def test_a_new_start_begins_anew(running: Running) -> None:
    running.dial()
    running.server.stop()
    running.server.start()
    page = scrape(running.server)
    assert page("wse_connections_accepted_total") == page("wse_closes_total", code="1012") == 0


def fill(host: Host, topics: int) -> None:
    """Gives each connection its share of topics, with a message each."""
    conns = host.server.get_connections()
    for at, conn_id in enumerate(conns):
        host.server.subscribe_connection(
            conn_id, [f"topic-{number}" for number in range(at, topics, len(conns))]
        )
    for number in range(topics):
        host.server.broadcast(f"topic-{number}", "x")


def fastest_scrape(host: Host) -> float:
    """The seconds of the fastest of some scrapes: what it costs when nobody else wants the processor."""

    def once() -> float:
        started = time.perf_counter()
        host.server.prometheus_metrics()
        return time.perf_counter() - started

    return min(once() for _ in range(50))


def size(host: Host) -> int:
    return len(host.server.prometheus_metrics())


def test_ten_thousand_topics_cost_a_scrape_nothing() -> None:
    with ServerProcess() as server, ExitStack() as open_clients:
        clients = [open_clients.enter_context(Client(server.port, f"c{number}")) for number in range(200)]
        server.wait("connect", len(clients))
        server.do(fill, 100)
        few, few_bytes = server.do(fastest_scrape), server.do(size)
        server.begin(fill, 10_000).result(60)
        many, many_bytes = server.do(fastest_scrape), server.do(size)
    print(f"a scrape took {few * 1e6:.0f} us with 100 topics, {many * 1e6:.0f} us with 10,000")
    assert many < 5e-3
    assert many < few * 10 + 1e-3
    assert many_bytes < few_bytes * 1.5, "a page that grows with the number of topics"


def test_scraping_without_end_delays_no_message(running: Running) -> None:
    peer = running.subscriber("t")
    for number in range(200):
        assert ask(running.port, plain("GET", "/metrics")).status == 200
        running.server.broadcast("t", str(number))
        assert peer.receive() == str(number)


def test_nobody_can_take_the_page(running: Running) -> None:
    for path in ("/health", "/ready", "/metrics"):
        with pytest.raises(ValueError, match=path):
            running.server.add_static(path, "text/plain", "x")


def test_inbound_depth_is_told_while_nobody_drains() -> None:
    server = RustWSEServer(HOST, 0)
    server.enable_drain_mode()
    server.start()
    try:
        with Client(server.port) as client:
            client.send("one")
            client.send("two")
            wait_until(lambda: scrape(server)("wse_inbound_queue_depth") == 3, "a connect and two messages")
            held = scrape(server)("wse_inbound_queue_bytes")
            assert held >= len("one") + len("two")
            server.drain_inbound(10, 0)
            assert scrape(server)("wse_inbound_queue_bytes") <= held - len("one") - len("two")
    finally:
        server.stop()
