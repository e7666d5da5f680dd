"""A node is ready when it has joined those that are there, and not a moment before."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from mesh_peer import (
    HIGHEST,
    INTEREST_DIGEST,
    LOWEST,
    PEER_LIST,
    Hello,
    MeshPeer,
    entry,
    fixed,
    listening,
    number,
    peer_list,
)
from nodes import CALM, join, linked, mesh
from support import HOST, PATIENCE, Running, free_port, wait_until
from wire import ask, plain
from wse_server import RustWSEServer, Server

Factory = Callable[..., Running]

JOINING = (503, {"ready": False, "reason": "joining"})
READY = (200, {"ready": True})

NOTHING = number(0) + number(0) + fixed(0)
"""The digest of a node that has receivers of nothing."""


def ready(port: int) -> tuple[int, dict[str, Any]]:
    """What `/ready` answers."""
    answer = ask(port, plain("GET", "/ready"))
    return answer.status, json.loads(answer.body)


@pytest.fixture
def server() -> Iterator[RustWSEServer]:
    """A server on a port of its own that has not been started."""
    server = RustWSEServer(HOST, free_port())
    yield server
    server.stop()


@contextmanager
def watched(port: int) -> Iterator[list[tuple[float, tuple[int, dict[str, Any]]]]]:
    """All that `/ready` answers until the end of the block, and when, from the port's first moment on."""
    answers: list[tuple[float, tuple[int, dict[str, Any]]]] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            with suppress(ConnectionError):
                answers.append((time.monotonic(), ready(port)))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield answers
    finally:
        over.set()
        thread.join(PATIENCE)


# ---- Before connect_cluster ----


def test_a_server_that_is_to_be_a_node_is_not_ready_before_it_is_one(server: RustWSEServer) -> None:
    server.start(joining=True)
    assert ready(server.port) == JOINING
    health = server.health_snapshot()
    assert (health["ready"], health["joining"]) == (False, True)
    # A node alone has nobody to wait for.
    join(server)
    assert ready(server.port) == READY
    server.stop()
    # It holds for one life.
    server.start()
    assert ready(server.port) == READY


def test_a_cluster_that_can_not_be_connected_changes_nothing(server: RustWSEServer, running: Running) -> None:
    taken = int(join(running.server).rpartition(":")[2])
    for joining, expected in ((False, READY), (True, JOINING)):
        server.start(joining=joining)
        with pytest.raises(OSError, match=str(taken)):
            join(server, port=taken)
        assert ready(server.port) == expected
        server.stop()


# ---- Joining ----


def test_a_newcomer_is_ready_as_soon_as_it_knows_who_hears_what(server_factory: Factory) -> None:
    nodes = mesh(server_factory, 3)
    seed = nodes[0].server.cluster_identity()
    assert seed is not None
    peers = [node.subscriber("news") for node in nodes]
    for turn in range(5):
        newcomer = RustWSEServer(HOST, free_port())
        newcomer.start(joining=True)
        began = time.monotonic()
        join(newcomer, seeds=[seed["address"]])
        wait_until(lambda: ready(newcomer.port) == READY, "it is ready")  # noqa: B023 - within the turn
        assert time.monotonic() - began < 5, "it has not waited for its time to be up"
        # It counts everybody, and what it says reaches those who want it and nobody else.
        assert newcomer.cluster_peers_count() == 3
        newcomer.broadcast("nobody's", "x")
        newcomer.broadcast("news", str(turn))
        assert [peer.receive() for peer in peers] == [str(turn)] * 3
        assert newcomer.health_snapshot()["cluster_messages_sent"] == 3
        newcomer.stop()
        wait_until(lambda: all(len(linked(node.server)) == 2 for node in nodes), "it is gone")


@pytest.mark.parametrize("node_id", [LOWEST, HIGHEST])
def test_a_link_is_not_enough(server: RustWSEServer, node_id: int) -> None:
    def meet(peer: MeshPeer) -> None:
        hello = Hello(node_id)
        peer.meet(hello)
        peer.say(PEER_LIST, peer_list(entry(node_id, "")))

    with listening(meet) as elder:
        server.start(joining=True)
        join(server, elder.address)
        wait_until(lambda: linked(server), "they are linked")
        until = time.monotonic() + 0.7
        wait_until(lambda: ready(server.port) != JOINING or time.monotonic() >= until, "a while")
        assert ready(server.port) == JOINING, "it does not know what the other has receivers of"
        assert server.health_snapshot()["joining"]
        began = time.monotonic()
        elder.links[0].say(INTEREST_DIGEST, NOTHING)
        wait_until(lambda: ready(server.port) == READY, "it is ready")
        assert time.monotonic() - began < 3, "by what it was told, not because its time is up"
        # Links come and go, and it stays ready.
        elder.links[0].close()
        wait_until(lambda: not linked(server), "the link is lost")
        assert ready(server.port) == READY


def test_a_member_that_is_told_of_is_waited_for(server: RustWSEServer) -> None:
    def meet(peer: MeshPeer) -> None:
        peer.meet(Hello(LOWEST))
        peer.say(INTEREST_DIGEST, NOTHING)
        peer.say(PEER_LIST, peer_list(entry(LOWEST, ""), entry(LOWEST + 1, third.address)))

    held = threading.Event()

    def meet_late(peer: MeshPeer) -> None:
        assert held.wait(PATIENCE)
        peer.meet(Hello(LOWEST + 1, address=third.address))
        peer.say(INTEREST_DIGEST, NOTHING)

    with listening(meet_late) as third, listening(meet) as elder:
        server.start(joining=True)
        join(server, elder.address)
        wait_until(lambda: third.links, "the third is dialled")
        assert linked(server) == {f"{LOWEST:016x}"}
        assert ready(server.port) == JOINING
        held.set()
        wait_until(lambda: ready(server.port) == READY, "it is ready")
        assert len(linked(server)) == 2


# ---- Nobody answers ----


def test_after_six_seconds_in_which_nobody_answers_it_is_ready_and_never_before() -> None:
    port, nobody = free_port(), free_port()
    cluster: Any = {
        "peers": [],
        "seeds": [f"{HOST}:{nobody}"],
        "cluster_port": 0,
        "cluster_secret": b"s" * 32,
    }
    server = Server(HOST, port, cluster=CALM | cluster)

    async def story() -> None:
        async with server:
            while not server.health()["ready"]:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)
            assert not server.health()["joining"]

    with watched(port) as answers:
        asyncio.run(asyncio.wait_for(story(), 3 * PATIENCE))
    assert answers[0][1] == JOINING, "from the first moment on"
    first_ready = next(at for at, answer in answers if answer == READY)
    assert 5.5 < first_ready - answers[0][0] < 15
    assert {answer[0] for at, answer in answers if at < first_ready} == {503}
