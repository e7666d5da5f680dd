"""Patterns and topics with history: a topic begins at one node while somebody subscribes to it at another."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

from nodes import mesh
from support import Peer, Running

Factory = Callable[..., Running]

ROUNDS = 60
MESSAGES = 8


def message(number: int) -> str:
    return json.dumps({"t": "tick", "p": {"n": number}})


def test_patterns_miss_nothing_untold_while_others_subscribe(server_factory: Factory) -> None:
    nodes = mesh(server_factory, 3, recovery_enabled=True)
    pattern = nodes[1].subscriber("room.*")
    someone = nodes[1].dial()
    for number in range(ROUNDS):
        topic = f"room.{number}"

        def begin(topic: str = topic) -> None:
            for at in range(MESSAGES):
                nodes[0].server.broadcast(topic, message(at))

        publisher = threading.Thread(target=begin)
        publisher.start()
        nodes[1].server.subscribe_connection(someone.conn_id, [topic])
        publisher.join()
        nodes[0].server.broadcast(topic, message(MESSAGES), wait="stored")

    heard, told = take(pattern)
    assert not told
    for topic, numbers in heard.items():
        assert numbers == list(range(MESSAGES + 1)), (topic, numbers)
    # Who subscribes to a topic while it begins gets all from some message on.
    for topic, numbers in take(someone)[0].items():
        assert numbers == list(range(numbers[0], MESSAGES + 1)), (topic, numbers)


def take(peer: Peer) -> tuple[dict[str, list[int]], set[str]]:
    """What a client got of each topic up to its last message, and of which it was told of gaps."""
    got: dict[str, list[int]] = {f"room.{number}": [] for number in range(ROUNDS)}
    told = set()
    while not all(numbers[-1:] == [MESSAGES] for numbers in got.values()):
        one = peer.receive_json()
        if one["t"] == "gap":
            assert one["p"]["missed"] is None
            told.add(one["p"]["topic"])
        else:
            got[one["tp"]].append(one["p"]["n"])
    return got, told
