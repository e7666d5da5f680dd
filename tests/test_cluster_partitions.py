"""Nodes on hosts of a real network whose wires are cut, lose, stall and are reset.

`make partitions MINUTES=10` lets the troubles that repeat last so long, and not the few seconds of each run
of the tests.
"""

from __future__ import annotations

import itertools
import operator
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import jwt
import pytest

from hosts import HEALED, HOSTS, LIMITS, Start, is_whole, wait_until_whole
from netns import NetNode, Network, why_not
from server_process import Host
from support import wait_until

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "it is possible")

TROUBLE = float(os.environ.get("WSE_PARTITIONS_SECONDS", "10"))
"""For how long what repeats goes on."""

SECRET = "a secret that has more than thirty-two bytes"


def wait_for_state(node: NetNode, other: NetNode, *states: str, timeout: float = 10.0) -> None:
    wait_until(
        lambda: node.states().get(other.name) in states, f"{other.host} is {states} at {node.host}", timeout
    )


def reconnects(node: NetNode) -> int:
    """How many links of a node have come again after a loss."""
    count = node.call("health_snapshot")["cluster_reconnect_count"]
    assert isinstance(count, int)
    return count


def have_come_again(nodes: Sequence[NetNode], wanted: Sequence[int]) -> None:
    """Waits until as many links of each node have come again."""
    wait_until(lambda: all(map(operator.ge, map(reconnects, nodes), wanted)), "links come again")


def fences(nodes: Sequence[NetNode], number: int) -> None:
    """Each node publishes a message of this number, and the listener of each hears all of them."""
    for node in nodes:
        node.publish("t", f"fence-{node.host} {number}")
    wanted = {f"fence-{node.host} {number}" for node in nodes}
    for node in nodes:
        wait_until(lambda node=node: wanted <= set(node.heard("ear")), "all fences are heard")  # type: ignore[misc]


def check_order(nodes: Sequence[NetNode]) -> None:
    """What any listener has heard of a publisher came once and in order."""
    for node in nodes:
        got: dict[str, list[int]] = {}
        for message in node.heard("ear"):
            publisher, _, number = message.partition(" ")
            got.setdefault(publisher, []).append(int(number))
        for publisher, heard in got.items():
            assert all(a < b for a, b in itertools.pairwise(heard)), f"{publisher} at {node.host}: {heard}"


def streams(nodes: Sequence[NetNode]) -> None:
    """A listener at each node, and a stream from each."""
    for node in nodes:
        node.listen("ear", "t")
    for node in nodes:
        node.begin_stream("t", f"stream-{node.host}", 0.005)


def end_streams(nodes: Sequence[NetNode]) -> None:
    for node in nodes:
        assert node.end_stream("t", f"stream-{node.host}") > 0
    check_order(nodes)


# ---- Who counts as there ----


def test_a_black_hole_is_not_counted_after_dead_after_and_is_whole_within_seconds_of_its_healing(
    network: Network, start: Start
) -> None:
    first, second, third = nodes = start()
    first.listen("ear", "t")
    network.isolate("c")
    began = time.monotonic()
    for node in (first, second):
        wait_until(lambda node=node: third.name not in node.linked(), "it is doubted", 3)  # type: ignore[misc]
        wait_for_state(node, third, "dead", timeout=4)
    wait_until(lambda: not third.linked(), "it counts nobody", 4)
    # Heard within a heartbeat before the cut.
    assert time.monotonic() - began >= LIMITS["dead_after"] - 1.5 * LIMITS["heartbeat_interval"]
    second.publish("t", "meanwhile")
    wait_until(lambda: first.heard("ear") == ["meanwhile"], "the others go on")
    assert first.linked() == {second.name}
    network.heal()
    wait_until_whole(nodes, HEALED)
    third.publish("t", "back")
    wait_until(lambda: first.heard("ear") == ["meanwhile", "back"], "it is back")


def test_where_one_direction_is_cut_both_ends_notice_and_the_third_stays_with_both(
    network: Network, start: Start
) -> None:
    first, second, third = nodes = start()
    for node in nodes:
        node.listen("ear", "t")
    network.cut_one_way("b", "c")
    for node, other in ((second, third), (third, second)):
        wait_until(lambda node=node, other=other: other.name not in node.linked(), "it is not counted", 5)  # type: ignore[misc]
    assert first.linked() == {second.name, third.name}
    first.publish("t", "to both")
    for node in nodes:
        wait_until(lambda node=node: "to both" in node.heard("ear"), "who is linked hears")  # type: ignore[misc]
    # For longer than a dial takes nobody takes half a link for a whole one.
    until = time.monotonic() + 4
    wait_until(lambda: time.monotonic() >= until or is_whole(nodes), "a while", 10)
    assert third.name not in second.linked()
    assert second.name not in third.linked()
    network.heal()
    wait_until_whole(nodes, HEALED)


def test_a_cut_between_two_halves_heals(network: Network, start: Start) -> None:
    first, second, third = nodes = start()
    network.cut("a", "b")
    network.cut("a", "c")
    for node, names in ((first, set()), (second, {third.name}), (third, {second.name})):
        wait_until(lambda node=node, names=names: node.linked() == names, "each side is alone", 5)  # type: ignore[misc]
    wait_for_state(first, second, "dead")
    wait_for_state(second, first, "dead")
    network.heal()
    wait_until_whole(nodes, HEALED)


# ---- Messages ----


def test_messages_that_are_published_while_links_stand_arrive_once_and_in_order_between_resets(
    network: Network, start: Start
) -> None:
    nodes = start({"dead_after": 20.0})
    streams(nodes)
    until = time.monotonic() + TROUBLE
    pause = threading.Event()
    for number in itertools.count():
        fences(nodes, number)
        if time.monotonic() >= until:
            break
        pause.wait(0.8)
        wanted = [reconnects(node) + 2 for node in nodes]
        network.reset_all()
        # Each node has noticed that both of its links were lost, and has others.
        have_come_again(nodes, wanted)
        wait_until_whole(nodes)
    end_streams(nodes)


def test_a_link_that_flaps_brings_nothing_twice_and_is_whole_afterwards(
    network: Network, start: Start
) -> None:
    nodes = start()
    streams(nodes)
    chance, pause = random.Random(4711), threading.Event()  # noqa: S311 - it is no secret
    until = time.monotonic() + TROUBLE
    while time.monotonic() < until:
        chance.choice([network.cut, network.cut_one_way])(*chance.sample(HOSTS, 2))
        pause.wait(chance.uniform(0.1, 1.0))
        network.heal()
        pause.wait(chance.uniform(0.1, 1.0))
    wait_until_whole(nodes, HEALED)
    fences(nodes, 0)
    end_streams(nodes)


def test_a_network_that_is_slow_and_loses_a_fifth_loses_no_message_and_kills_nobody(
    network: Network, start: Start
) -> None:
    nodes = start({"dead_after": 20.0})
    for node in nodes:
        node.listen("ear", "t")
    for host in HOSTS:
        network.slow(host, 2000)
    for a, b in itertools.combinations(HOSTS, 2):
        network.lose(a, b)
    for number in range(200):
        for node in nodes:
            node.publish("t", f"{node.host} {number}")
    for node in nodes:
        wait_until(lambda node=node: len(node.heard("ear")) >= 600, "all have come", 60)  # type: ignore[misc]
        for publisher in HOSTS:
            got = [message for message in node.heard("ear") if message.startswith(publisher)]
            assert got == [f"{publisher} {number}" for number in range(200)]
        assert reconnects(node) == 0, "no link was lost"


# ---- Presence ----


def show(node: NetNode, user: str) -> None:
    """Connects a user who is present in "room"."""
    claims = {"sub": user, "exp": int(time.time()) + 600}
    node.listen(user, "t", token=jwt.encode(claims, SECRET, algorithm="HS256"))
    node.do(_show, user)


def _show(host: Host, user: str) -> None:
    host.server.subscribe_connection(host.conn_id(user), ["room"], presence_data={"of": user})


def test_everybody_is_listed_everywhere_after_a_partition_and_nobody_else(
    network: Network, start: Start
) -> None:
    nodes = start(presence_enabled=True, jwt_secret=SECRET)

    def lists(*names: str) -> Callable[[NetNode], bool]:
        return lambda node: sorted(node.call("presence", "room")) == sorted(names)

    def wait_for(nodes: Sequence[NetNode], *names: str) -> None:
        wait_until(lambda: all(map(lists(*names), nodes)), f"{names} are there")

    first, second, third = nodes
    for node, user in zip(nodes, ("ann", "bob", "cis"), strict=True):
        show(node, user)
    wait_for(nodes, "ann", "bob", "cis")
    network.isolate("c")
    # Each side forgets the other's users, and meanwhile some come and some go.
    wait_for([first, second], "ann", "bob")
    wait_for([third], "cis")
    show(third, "dan")
    third.hang_up("cis")
    second.hang_up("bob")
    show(first, "eve")
    wait_for([first, second], "ann", "eve")
    wait_for([third], "dan")
    network.heal()
    wait_until_whole(nodes, HEALED)
    wait_for(nodes, "ann", "dan", "eve")


# ---- Names ----


def test_a_node_that_comes_back_under_its_name_at_another_address_is_found() -> None:
    with Network(*HOSTS, "d") as network, ExitStack() as running:
        network.resolve({"node-a": "a", "node-b": "b", "node-c": "c"})
        first, second = (
            running.enter_context(NetNode(network, host, "node-a", "node-b", "node-c", cluster=LIMITS))
            for host in ("a", "b")
        )
        with NetNode(network, "c", cluster=LIMITS) as third:
            wait_until_whole([first, second, third])
            # Its host is gone with all that was on it, and nobody answers there.
            network.isolate("c")
            third.kill()
        network.resolve({"node-a": "a", "node-b": "b", "node-c": "d"})
        with NetNode(network, "d", cluster=LIMITS) as back:
            # It knows nobody: the others find it by its name alone.
            wait_until_whole([first, second, back], HEALED)
            told = {peer["address"] for peer in first.call("cluster_info") if peer["connected"]}
            assert back.address in told or "node-c:9999" in told
            back.listen("ear", "t")
            first.publish("t", "found")
            wait_until(lambda: back.heard("ear") == ["found"], "it hears")


def test_three_nodes_are_restarted_one_after_the_other_and_lose_nothing_that_is_said_between(
    network: Network,
) -> None:
    names = {f"node-{host}": host for host in HOSTS}
    network.resolve(names)
    with ExitStack() as running:
        each: dict[str, ExitStack] = {host: running.enter_context(ExitStack()) for host in HOSTS}
        nodes: dict[str, NetNode] = {}

        def begin(host: str) -> None:
            nodes[host] = each[host].enter_context(NetNode(network, host, *names, cluster=LIMITS))

        for host in HOSTS:
            begin(host)
        wait_until_whole(list(nodes.values()))
        for number, host in enumerate(HOSTS):
            stay = [node for other, node in nodes.items() if other != host]
            stay[0].listen("ear", "t")
            each[host].close()
            for node in stay:
                wait_until(lambda node=node: len(node.linked()) == 1, "it has said goodbye", 2)  # type: ignore[misc]
            stay[1].publish("t", f"without {number}")
            begin(host)
            wait_until_whole(list(nodes.values()), HEALED)
            nodes[host].publish("t", f"with {number}")
            wanted = [f"without {number}", f"with {number}"]
            wait_until(lambda wanted=wanted, ear=stay[0]: ear.heard("ear") == wanted, "both came")  # type: ignore[misc]
            stay[0].hang_up("ear")
