"""Topics with history in a cluster: slow clients, and more than can be stored at once."""

from __future__ import annotations

import json
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
