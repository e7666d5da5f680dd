"""Topics with history on a network that falls apart: what goes on, what is told, and what is lost."""

from __future__ import annotations

import itertools
import json
import os
import re
import threading
import time
from typing import Any

import pytest

from hosts import HEALED, Start, wait_until_whole
from netns import NetNode, Network, why_not
from support import wait_until
from wse_server import Position

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "it is possible")

TROUBLE = float(os.environ.get("WSE_PARTITIONS_SECONDS", "10"))
"""For how long what repeats goes on."""

TOPIC = "prices"


def message(number: int | str, pad: int = 0) -> str:
    return json.dumps({"t": "tick", "p": {"n": number, "pad": "x" * pad}})


def store(node: NetNode, *numbers: int | str) -> Position:
    """Publishes messages, and waits for each until it is stored."""
    for number in numbers:
        position = node.call("broadcast", TOPIC, message(number), wait="stored", timeout=30.0)
    assert isinstance(position, Position)
    return position


def heard(node: NetNode, name: str = "ear") -> list[dict[str, Any]]:
    return [json.loads(text) for text in node.heard(name)]


def numbers(messages: list[dict[str, Any]]) -> list[int | str]:
    return [one["p"]["n"] for one in messages if one["t"] == "tick"]


def wait_to_hear(nodes: list[NetNode], number: int | str) -> None:
    for node in nodes:
        wait_until(lambda node=node: number in numbers(heard(node)), f"{number} is heard at {node.host}", 30)  # type: ignore[misc]


def check_told(messages: list[dict[str, Any]]) -> bool:
    """What a subscriber got has no hole that it was not told of. Answers whether its branch was cut off."""
    at: tuple[str, int] | None = None
    cut = False
    for one in messages:
        if one["t"] == "gap":
            gap = one["p"]
            assert at is not None
            assert (gap["epoch"], gap["from"]) == (at[0], at[1] + 1), gap
            cut |= gap["missed"] is None
            at = (gap.get("next_epoch", gap["epoch"]), gap.get("next_offset", gap.get("to")))
        elif "o" in one:
            assert at is None or (one["e"], one["o"]) == (at[0], at[1] + 1), (at, one)
            at = (one["e"], one["o"])
    return cut


def buried(node: NetNode) -> set[str]:
    """The numbers of messages in the list of dead letters, those of this side of a partition."""
    letters = [letter for letter in node.call("get_cluster_dlq_entries") if letter["topic"] == TOPIC]
    found = [re.search(rb'"n": "([^"]+)"', letter["message"]) for letter in letters]
    return {number[1].decode() for number in found if number}


def heal(network: Network, nodes: list[NetNode]) -> None:
    """Ends a partition, and publishes what all hear when one log goes on."""
    network.heal()
    wait_until_whole(nodes, HEALED)
    # Until then what is stored on one side may go with it.
    wait_until(lambda: any(buried(node) for node in nodes), "one side is given up", 30)
    store(nodes[1], "after")
    wait_to_hear(nodes, "after")


def test_both_sides_of_a_partition_go_on_and_one_log_does_afterwards(network: Network, start: Start) -> None:
    nodes = start(recovery_enabled=True)
    for node in nodes:
        node.listen("ear", TOPIC)
    store(nodes[0], "before")
    wait_to_hear(nodes, "before")

    network.isolate("c")
    sides = {
        "many": [f"many-{number}" for number in range(3)],
        "one": [f"one-{number}" for number in range(4)],
    }
    store(nodes[0], *sides["many"])
    store(nodes[2], *sides["one"])
    wait_to_hear(nodes[:2], "many-2")
    wait_to_hear(nodes[2:], "one-3")

    heal(network, nodes)
    cut = {node.host: check_told(heard(node)) for node in nodes}
    assert cut in ({"a": True, "b": True, "c": False}, {"a": False, "b": False, "c": True}), cut

    # The log that all have now has one side's messages; those of the other are listed where they were.
    lost = sides["one"] if cut["c"] else sides["many"]
    losers = [node for node in nodes if cut[node.host]]
    listed = [node for node in losers if buried(node)]
    assert listed
    assert all(buried(node) == set(lost) for node in listed)
    kept = sides["many"] if cut["c"] else sides["one"]
    winner = nodes[0] if cut["c"] else nodes[2]
    assert numbers(heard(winner)) == ["before", *kept, "after"]


def test_links_that_are_reset_each_second_lose_and_double_nothing(network: Network, start: Start) -> None:
    nodes = start({"dead_after": 20.0}, recovery_enabled=True)
    for node in nodes:
        node.listen("ear", TOPIC)
    over, counts = threading.Event(), dict.fromkeys(nodes, 0)

    def publish(node: NetNode) -> None:
        while not over.wait(0.005):
            node.call("broadcast", TOPIC, message(f"{node.host} {counts[node]}"))
            counts[node] += 1

    publishers = [threading.Thread(target=publish, args=(node,)) for node in nodes]
    for publisher in publishers:
        publisher.start()
    until, pause = time.monotonic() + TROUBLE, threading.Event()
    while time.monotonic() < until:
        pause.wait(1.0)
        network.reset_all()
    over.set()
    for publisher in publishers:
        publisher.join()
    wait_until_whole(nodes, HEALED)
    store(nodes[0], "last")
    wait_to_hear(nodes, "last")

    streams = {node.host: numbers(heard(node)) for node in nodes}
    assert streams["a"] == streams["b"] == streams["c"], "one order for all"
    for node in nodes:
        assert not check_told(heard(node))
        of_it = [number for number in streams["a"] if str(number).startswith(f"{node.host} ")]
        assert of_it == [f"{node.host} {number}" for number in range(counts[node])], "each once and in order"


def test_a_client_that_was_behind_when_its_branch_was_cut_off_is_closed(
    network: Network, start: Start
) -> None:
    nodes = start(recovery_enabled=True, max_outbound_queue_bytes=1 << 20)
    for node in nodes:
        node.listen("ear", TOPIC)
        node.listen("slow", TOPIC, reads=False)
    store(nodes[0], "before")
    network.isolate("c")
    for side in (nodes[:2], nodes[2:]):
        for number in itertools.count():
            text = message(f"{side[0].host} {number}", 60_000)
            side[0].call("broadcast", TOPIC, text, wait="stored", timeout=30.0)
            if all(node.call("health_snapshot")["slow_clients"] for node in side):
                break
        wait_to_hear(side, f"{side[0].host} {number}")
    heal(network, nodes)

    cut = {node.host: check_told(heard(node)) for node in nodes}
    assert len(set(cut.values())) == 2
    for node in nodes:
        node.read("slow")
        if cut[node.host]:
            wait_until(lambda node=node: node.code("slow") == 4408, "it is closed", 30)  # type: ignore[misc]
        else:
            wait_until(lambda node=node: "after" in numbers(heard(node, "slow")), "it is healed", 30)  # type: ignore[misc]
            check_told(heard(node, "slow"))
        node.hang_up("slow")
