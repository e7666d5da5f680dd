"""Topics with history in a cluster: slow clients, and more than can be stored at once."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from typing import Any

from nodes import mesh
from support import Peer, Running, wait_until
from wse_server import Position

Factory = Callable[..., Running]

TOPIC = "prices"
PAD = "x" * 300


def message(number: int) -> str:
    return json.dumps({"t": "tick", "p": {"n": number, "pad": PAD}})


def read_to_end(peer: Peer, last: Position) -> tuple[list[int], list[tuple[int, int]]]:
    """The offsets that came, and the ranges that the client was told it misses, up to a position."""
    got: list[int] = []
    gaps: list[tuple[int, int]] = []
    at = 0
    while at < last.offset:
        one = peer.receive_json()
        if one.get("t") == "gap":
            assert one["p"]["from"] == at + 1, one
            if one["p"]["missed"]:
                gaps.append((one["p"]["from"], one["p"]["to"]))
                at = one["p"]["to"]
            continue
        assert one["o"] == at + 1, "offset n+1 comes after n, or a gap says what is missing"
        at = one["o"]
        got.append(at)
    return got, gaps


def test_a_client_that_stood_still_gets_all_or_is_told_exactly_what_is_missing(
    server_factory: Factory,
) -> None:
    options: dict[str, Any] = {
        "recovery_enabled": True,
        "recovery_buffer_size": 256,
        "max_outbound_queue_bytes": 200_000,
    }
    nodes = mesh(server_factory, 2, **options)
    slow = nodes[1].dial(max_queue=1)
    nodes[1].server.subscribe_connection(slow.conn_id, [TOPIC])
    count = 30_000
    for number in range(count - 1):
        nodes[0].server.broadcast(TOPIC, message(number))
    last = nodes[0].server.broadcast(TOPIC, message(count), wait="stored", timeout=60.0)
    assert isinstance(last, Position)
    assert last.offset == count
    wait_until(lambda: nodes[1].server.health_snapshot()["slow_clients"] > 0, "one is behind")
    got, gaps = read_to_end(slow, last)
    assert gaps, "it was too far behind for the history"
    assert len(got) + sum(end + 1 - first for first, end in gaps) == count


def test_a_flood_of_several_publishers_is_stored_whole(server_factory: Factory) -> None:
    nodes = mesh(server_factory, 3, recovery_enabled=True)
    peers = [node.subscriber(TOPIC) for node in nodes]
    batch = [message(number) for number in range(500)]

    def flood(node: Running) -> None:
        for _ in range(10):
            node.server.broadcast_many(TOPIC, batch)
        assert node.server.broadcast_many(TOPIC, batch, wait="stored", timeout=60.0) is not None

    threads = [threading.Thread(target=flood, args=(node,)) for node in nodes]
    for thread in threads:
        thread.start()
    end = Position("00000000", 3 * 11 * len(batch))
    for peer in peers:
        got, gaps = read_to_end(peer, end)
        assert not gaps
        assert len(got) == end.offset
    for thread in threads:
        thread.join()


def forgotten(nodes: list[Running]) -> int:
    """How many histories their homes have forgotten, of all nodes."""
    counts = (
        re.search(
            r"^wse_cluster_forgotten_histories_total (\d+)$", node.server.prometheus_metrics(), re.MULTILINE
        )
        for node in nodes
    )
    return sum(int(count[1]) for count in counts if count)


def test_topics_that_nobody_needs_are_forgotten(server_factory: Factory) -> None:
    # Forgotten after ten times dead_after.
    short = {"heartbeat_interval": 0.2, "dead_after": 0.6}
    nodes = mesh(server_factory, 3, cluster=short, recovery_enabled=True, recovery_ttl=0.5)
    topics = [f"room.{number}" for number in range(300)]
    for node, some in zip(nodes, (topics[:100], topics[100:200], topics[200:]), strict=True):
        peer = node.dial()
        node.server.subscribe_connection(peer.conn_id, some)
        peer.close()
    old = nodes[0].server.broadcast("said", message(1), wait="stored")
    assert isinstance(old, Position)
    listener = nodes[1].subscriber("heard")
    nodes[0].server.broadcast("heard", message(1), wait="stored")

    wait_until(lambda: forgotten(nodes) == len(topics) + 1, "all but one are forgotten", timeout=30.0)
    # At its home, at its replica and where somebody listens: the one that is left.
    kept = [node.server.health_snapshot()["recovery_topic_count"] for node in nodes]
    assert all(count <= 1 for count in kept), kept
    peer = nodes[2].dial()
    answer = nodes[2].server.subscribe_with_recovery(peer.conn_id, ["said"], positions={"said": old})
    assert not answer["topics"]["said"]["recovered"]
    after = nodes[0].server.broadcast("said", message(2), wait="stored")
    assert isinstance(after, Position)
    assert after.epoch != old.epoch
    # Who went on listening has heard nothing of all that.
    nodes[0].server.broadcast("heard", message(2), wait="stored")
    assert [listener.receive_json()["o"] for _ in range(2)] == [1, 2]
