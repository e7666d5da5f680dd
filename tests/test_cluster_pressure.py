"""Subscribers that do not read, on a node that others publish to: the mesh stays, and memory is bounded."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack

from loglines import LogLines
from nodes import FAST, NodeProcess, linked, state_of
from nodes import address as address_of
from server_process import health, publish
from sockets import Client
from support import Running, wait_until

Factory = Callable[..., Running]

MIB = 1024 * 1024


BODIES = [secrets.token_hex(4000) for _ in range(500)]
"""Four megabytes, and two on a link that compresses them."""


def flood(limit: int, check: Callable[[NodeProcess, NodeProcess, int], None]) -> tuple[int, int]:
    """Floods a node, three clients of which read nothing of that topic, while a fourth reads another.

    Args:
        limit: What each client may be behind.
        check: What must hold after it, of publisher, node, and the most that waited for the node.

    Returns:
        By how many bytes the publisher's process grew, and the node's.
    """
    with ExitStack() as stack:
        publisher = stack.enter_context(NodeProcess({}, max_outbound_queue_bytes=4 * MIB))
        node = stack.enter_context(
            NodeProcess({"seeds": [publisher.address]}, max_outbound_queue_bytes=limit, shards=1)
        )
        wait_until(lambda: publisher.peers_count() == node.peers_count() == 1, "two nodes")
        stuck = [f"stuck{number}" for number in range(3)]
        for name in stuck:
            stack.enter_context(Client(node.port, name, receive_buffer=4096))
        quiet = stack.enter_context(Client(node.port, "quiet"))
        node.subscribe({name: ["flood"] for name in stuck} | {"quiet": ["quiet"]})
        before = publisher.resident(), node.resident()
        flooding = publisher.begin(publish, "flood", BODIES, times=15)
        waited = 0
        while not flooding.done():
            (peer,) = publisher.call("cluster_info")
            waited = max(waited, peer["queued_bytes"])
            assert publisher.peers_count() == 1, "heartbeats go on"
            assert node.peers_count() == 1, "in both directions"
        publisher.call("broadcast", "quiet", "after the flood")
        (frame,) = quiet.take(30)
        assert frame.payload == b"after the flood"
        assert publisher.do(health)["cluster_reconnect_count"] == 0
        assert node.do(health)["cluster_reconnect_count"] == 0
        assert waited < 8.1 * MIB, "as much as may wait for a node, and heartbeats"
        check(publisher, node, waited)
        return publisher.peak() - before[0], node.peak() - before[1]


def test_a_flood_is_held_to_what_the_clients_of_another_node_are_allowed() -> None:
    """The node takes no more than its clients are allowed in a while, and so its publisher waits."""

    def check(publisher: NodeProcess, node: NodeProcess, waited: int) -> None:
        assert waited > 4 * MIB, "nobody was held"
        sent = publisher.do(health)
        assert (sent["cluster_messages_dropped"], sent["cluster_dlq_size"]) == (0, 0)
        assert sent["cluster_messages_sent"] == node.do(health)["cluster_messages_delivered"] == 7501

    here, there = flood(64 * MIB, check)
    assert here < 40 * MIB, "what may wait for a node, and a little"
    assert there < 100 * MIB, "what may wait for its clients, and a little"


def test_clients_that_may_be_behind_by_little_lose_their_backlog_and_the_mesh_stays() -> None:
    def check(publisher: NodeProcess, node: NodeProcess, _: int) -> None:
        sent, delivered = publisher.do(health), node.do(health)
        assert sent["cluster_messages_sent"] + sent["cluster_messages_dropped"] == 7501, (
            "all are accounted for"
        )
        assert delivered["cluster_messages_delivered"] == sent["cluster_messages_sent"]
        assert delivered["slow_client_backlogs"] == 3

    here, there = flood(4 * MIB, check)
    assert here < 40 * MIB
    assert there < 40 * MIB


def test_a_node_that_stands_still_does_not_stop_what_goes_to_others(server_factory: Factory) -> None:
    """Publishing to all goes on for those who are well, from the moment at which the still one is dead."""
    first = server_factory()
    first.server.connect_cluster([], cluster_port=0, **FAST)
    seeds = FAST | {"seeds": [address_of(first.server)]}
    with NodeProcess(seeds) as still, NodeProcess(seeds) as well, Client(well.port, "reader") as reader:
        wait_until(lambda: linked(first.server) == {still.name, well.name}, "three nodes")
        wait_until(lambda: still.peers_count() == well.peers_count() == 2, "three nodes")
        with Client(still.port, "far"):
            still.subscribe({"far": ["t"]})
            well.subscribe({"reader": ["t"]})
            body = secrets.token_hex(50_000)
            with still.stopped():
                wait_until(lambda: state_of(first.server, still.name) == "dead", "it is dead")
                began = time.monotonic()
                for _ in range(300):
                    first.server.broadcast("t", body)
                assert time.monotonic() - began < 20
                got = 0
                while got < 300:
                    got += len(reader.take(10))
            assert first.server.health_snapshot()["cluster_messages_dropped"] == 0
            wait_until(lambda: linked(first.server) == {still.name, well.name}, "three nodes again")


def test_messages_that_are_too_long_for_a_node_are_counted_and_kept(server_factory: Factory) -> None:
    """What a node takes at most follows from its own limits, and it says so when they meet."""
    small = {"max_message_size": 64 * 1024, "max_outbound_queue_bytes": 64 * 1024}
    first, second = server_factory(), server_factory(**small)
    first.server.connect_cluster([], cluster_port=0)
    second.server.connect_cluster([], seeds=[address_of(first.server)], cluster_port=0)
    wait_until(lambda: first.server.cluster_peers_count() == second.server.cluster_peers_count() == 1, "two")
    peer = second.subscriber("t")
    long = secrets.token_hex(100_000)
    first.server.broadcast("t", long)
    first.server.broadcast("t", "short")
    assert peer.receive() == "short"
    (letter,) = first.server.get_cluster_dlq_entries()
    assert letter["reason"] == "longer than the peer takes"
    assert (letter["bytes"], letter["message"]) == (len(long), long[:1024].encode())
    assert first.server.health_snapshot()["cluster_messages_dropped"] == 1
    assert first.server.cluster_peers_count() == 1
    with LogLines() as log:

        def is_told() -> bool:
            first.server.broadcast("t", long)
            return "WARNING messages for a peer were given up: get_cluster_dlq_entries()" in log.text

        wait_until(is_told, "the log tells of it now and then")
