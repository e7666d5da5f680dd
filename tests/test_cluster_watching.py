"""What a node tells of its cluster: who is there, figures, metrics, and what was given up."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from prometheus_client.parser import text_string_to_metric_families

from certificates import Authority
from nodes import NodeProcess, address, instance, join, linked, mesh, peer_of, until
from sockets import Client
from support import Running, wait_until
from wire import ask, plain
from wse_server import RustWSEServer
from wse_server.types import ClusterIdentity, ClusterPeer, DeadLetter

Factory = Callable[..., Running]

CLUSTER_METRICS = {
    "wse_cluster_peers": "gauge",
    "wse_cluster_messages_sent": "counter",
    "wse_cluster_messages_delivered": "counter",
    "wse_cluster_messages_dropped": "counter",
    "wse_cluster_bytes_sent": "counter",
    "wse_cluster_bytes_received": "counter",
    "wse_cluster_reconnects": "counter",
    "wse_cluster_unknown_frames": "counter",
}


def metrics(server: RustWSEServer) -> dict[str, float]:
    families = text_string_to_metric_families(server.prometheus_metrics())
    return {
        family.name: family.samples[0].value
        for family in families
        if CLUSTER_METRICS.get(family.name) == family.type
    }


def test_the_others_are_told_with_all_that_is_known(server_factory: Factory) -> None:
    first, second, third = mesh(server_factory, 3)
    for node in (second, third):
        wait_until(
            lambda node=node: peer_of(first.server, instance(node.server))["round_trip_ms"] is not None,  # type: ignore[misc]
            "it has answered",
        )
    told = {peer["instance_id"]: peer for peer in first.server.cluster_info()}
    assert set(told) == {instance(second.server), instance(third.server)}
    for node in (second, third):
        peer = told[instance(node.server)]
        assert set(peer) == set(get_type_hints(ClusterPeer))
        assert peer["address"] == address(node.server)
        assert (peer["state"], peer["connected"], peer["leaving"]) == ("alive", True, False)
        assert 0 <= peer["since"] < 60
        assert peer["round_trip_ms"] is not None
        assert 0 <= peer["round_trip_ms"] < 5000
        assert peer["bytes_received"] > 0
        assert peer["bytes_sent"] > 0
        assert peer["queued_bytes"] >= 0


def test_a_node_has_a_name_of_16_digits_and_an_address(server_factory: Factory) -> None:
    running = server_factory()
    assert running.server.cluster_identity() is None
    join(running.server)
    identity = running.server.cluster_identity()
    assert identity is not None
    assert set(identity) == set(get_type_hints(ClusterIdentity))
    assert re.fullmatch("[0-9a-f]{16}", identity["instance_id"])


def test_time_in_a_state_goes_on(server_factory: Factory) -> None:
    first, second = (node.server for node in mesh(server_factory, 2))
    before = peer_of(first, instance(second))["since"]
    began = time.monotonic()
    wait_until(lambda: peer_of(first, instance(second))["since"] > before + 0.3, "time goes on")
    assert time.monotonic() - began > 0.2


def test_figures_and_metrics_count_what_crosses(server_factory: Factory) -> None:
    first, second = mesh(server_factory, 2)
    peer = second.subscriber("t")
    before = first.server.health_snapshot(), second.server.health_snapshot()
    body = secrets.token_hex(500)
    for _ in range(100):
        first.server.broadcast("t", body)
    first.server.broadcast("t", "end")
    assert until(peer, "end") == [body] * 100
    after = first.server.health_snapshot(), second.server.health_snapshot()
    assert after[0]["cluster_messages_sent"] - before[0]["cluster_messages_sent"] == 101
    assert after[1]["cluster_messages_delivered"] - before[1]["cluster_messages_delivered"] == 101
    assert after[0]["cluster_bytes_sent"] - before[0]["cluster_bytes_sent"] > 50_000
    assert after[1]["cluster_bytes_received"] - before[1]["cluster_bytes_received"] > 50_000
    assert (after[1]["cluster_messages_sent"], after[0]["cluster_messages_delivered"]) == (0, 0)
    for node in (first, second):
        snapshot = node.server.health_snapshot()
        assert (snapshot["cluster_connected"], snapshot["cluster_peer_count"]) == (True, 1)
        assert (snapshot["cluster_messages_dropped"], snapshot["cluster_dlq_size"]) == (0, 0)
        assert (snapshot["cluster_reconnect_count"], snapshot["cluster_unknown_message_types"]) == (0, 0)
        page = metrics(node.server)
        assert set(page) == set(CLUSTER_METRICS)
        assert page["wse_cluster_peers"] == 1
        assert page["wse_cluster_messages_sent"] == snapshot["cluster_messages_sent"]
        assert page["wse_cluster_messages_delivered"] == snapshot["cluster_messages_delivered"]
        assert page["wse_cluster_bytes_sent"] >= snapshot["cluster_bytes_sent"]


def test_until_when_the_certificate_is_valid_is_told(server_factory: Factory, tmp_path: Path) -> None:
    files = Authority(tmp_path).node("a").arguments
    guarded, open_to_all = server_factory(), server_factory()
    join(guarded.server, **files)
    join(open_to_all.server)

    def expiry(node: Running) -> float:
        (family,) = [
            family
            for family in text_string_to_metric_families(node.server.prometheus_metrics())
            if family.name == "wse_cluster_certificate_expiry_timestamp_seconds"
        ]
        return family.samples[0].value

    assert expiry(guarded) - time.time() == pytest.approx(365 * 86_400, abs=3600)
    assert expiry(open_to_all) == 0


def test_messages_of_topics_with_history_are_counted_and_measured(server_factory: Factory) -> None:
    first, _ = mesh(server_factory, 2, recovery_enabled=True)
    peer = first.subscriber("news")
    first.server.broadcast("news", '{"t":"one"}')
    first.server.broadcast("news", '{"t":"two"}', wait="stored")
    first.server.broadcast_many("news", ['{"t":"many"}'] * 100)
    for _ in range(102):
        peer.receive()
    lines = first.server.prometheus_metrics().splitlines()
    assert 'wse_topic_messages_total{topic="news"} 102' in lines
    assert "wse_broadcast_duration_seconds_count 2" in lines, "the first, and the 65th among the hundred"


def test_health_over_http_tells_the_same(server_factory: Factory) -> None:
    first, _ = mesh(server_factory, 2)
    told = json.loads(ask(first.port, plain("GET", "/health")).body)
    assert (told["cluster_connected"], told["cluster_peer_count"]) == (True, 1)


def test_bytes_of_links_that_are_gone_still_count(server_factory: Factory) -> None:
    first, second = mesh(server_factory, 2)
    peer = second.subscriber("t")
    first.server.broadcast("t", secrets.token_hex(50_000))
    peer.receive()
    second.server.stop()
    wait_until(lambda: first.server.cluster_peers_count() == 0, "it is gone")
    snapshot = first.server.health_snapshot()
    assert snapshot["cluster_bytes_sent"] > 40_000
    assert (snapshot["cluster_connected"], snapshot["cluster_peer_count"]) == (False, 0)


# ---- Messages that a peer was not given ----


def test_what_a_node_that_stands_still_is_not_given_is_counted_and_kept(server_factory: Factory) -> None:
    patient: dict[str, Any] = {"heartbeat_interval": 2.0, "dead_after": 60.0}
    (first,) = mesh(server_factory, 1, cluster=patient, max_outbound_queue_bytes=1_000_000)
    with NodeProcess(patient | {"seeds": [address(first.server)]}) as other:
        wait_until(lambda: linked(first.server) == {other.name}, "two nodes")
        with Client(other.port, "far"):
            other.subscribe({"far": ["t"]})
            assert first.server.get_cluster_dlq_entries() == []
            body = secrets.token_hex(100_000)
            before = time.time()
            with other.stopped():
                for _ in range(400):
                    first.server.broadcast("t", body)
                    if first.server.health_snapshot()["cluster_messages_dropped"]:
                        break
                letters = first.server.get_cluster_dlq_entries()
                queued = peer_of(first.server, other.name)["queued_bytes"]
                assert 7_000_000 < queued < 8_500_000, "as much as may wait for a node, and heartbeats"
            (letter,) = letters
            assert set(letter) == set(get_type_hints(DeadLetter))
            assert (letter["topic"], letter["peer"]) == ("t", other.name)
            assert (letter["message"], letter["bytes"]) == (body[:1024].encode(), len(body))
            assert letter["reason"] == "the queue to the peer was full"
            assert before <= letter["timestamp"] <= time.time()
            snapshot = first.server.health_snapshot()
            assert (snapshot["cluster_messages_dropped"], snapshot["cluster_dlq_size"]) == (1, 1)
            assert metrics(first.server)["wse_cluster_messages_dropped"] == 1
            wait_until(lambda: peer_of(first.server, other.name)["queued_bytes"] == 0, "it takes the rest")
            assert snapshot["cluster_reconnect_count"] == 0
