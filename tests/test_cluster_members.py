"""Nodes find each other however they are told of each other, and know who is gone."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest

from loglines import LogLines
from nodes import (
    FAST,
    NodeProcess,
    address,
    instance,
    join,
    linked,
    mesh,
    peer_of,
    state_of,
    wait_until_whole,
)
from support import HOST, Running, free_port, wait_until
from wse_server import RustWSEServer

Factory = Callable[..., Running]

DEFAULTS: dict[str, Any] = {"heartbeat_interval": 2.0, "dead_after": 8.0}
"""The limits unless told otherwise, for tests in which nothing may depend on short ones."""


def addresses(count: int) -> list[str]:
    """Addresses that are known before anybody listens there."""
    return [f"{HOST}:{free_port()}" for _ in range(count)]


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def servers(factory: Factory, count: int) -> list[RustWSEServer]:
    return [factory().server for _ in range(count)]


# ---- Finding each other ----


def test_nodes_that_all_name_all_and_themselves_are_linked(server_factory: Factory) -> None:
    nodes = servers(server_factory, 3)
    known = addresses(3)
    for node, own in zip(nodes, known, strict=True):
        join(node, *known, port=port_of(own))
    wait_until_whole(nodes)
    for node, own in zip(nodes, known, strict=True):
        assert {peer["address"] for peer in node.cluster_info()} == set(known) - {own}, "oneself is no peer"


def test_nodes_that_listen_on_one_address_each_are_found_there(server_factory: Factory) -> None:
    # The same port on each: an address that is taken from the near end of a link would be that of the seed.
    nodes, port = servers(server_factory, 3), free_port()
    hosts = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
    for node, host in zip(nodes, hosts, strict=True):
        node.connect_cluster([], seeds=[f"{hosts[0]}:{port}"], cluster_port=port, cluster_host=host)
    wait_until_whole(nodes)
    assert {peer["address"] for peer in nodes[0].cluster_info()} == {f"{host}:{port}" for host in hosts[1:]}


def test_one_seed_makes_all_known_to_all(server_factory: Factory) -> None:
    nodes = servers(server_factory, 5)
    seed = join(nodes[0])
    others = [join(node, seeds=[seed]) for node in nodes[1:]]
    wait_until_whole(nodes)
    assert {peer["address"] for peer in nodes[4].cluster_info()} == {seed, *others[:3]}


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_same_seeds_on_every_node_do_in_any_order_of_starting(
    server_factory: Factory, order: tuple[int, ...]
) -> None:
    nodes = servers(server_factory, 3)
    known = addresses(3)
    for number in order:
        join(nodes[number], seeds=known[:1], port=port_of(known[number]))
    wait_until_whole(nodes)


def test_a_seed_that_starts_last_is_found(server_factory: Factory) -> None:
    (seed,) = addresses(1)
    early = servers(server_factory, 2)
    for node in early:
        join(node, seeds=[seed])
    for node in early:
        wait_until(lambda node=node: node.cluster_info(), "the seed is told of")  # type: ignore[misc]
        (told,) = node.cluster_info()
        assert (told["address"], told["instance_id"], told["state"]) == (seed, None, "unreached")
        assert not told["connected"]
        assert not node.cluster_connected()
    late = server_factory().server
    join(late, seeds=[seed], port=port_of(seed))
    wait_until_whole([*early, late])
    assert all(node.cluster_connected() and node.cluster_peers_count() == 2 for node in early)


def test_a_name_is_as_good_as_an_address(server_factory: Factory) -> None:
    first, second = servers(server_factory, 2)
    seed = join(first)
    join(second, seeds=[f"localhost:{port_of(seed)}"])
    wait_until_whole([first, second])


def test_the_address_that_is_advertised_is_the_one_that_is_told(server_factory: Factory) -> None:
    nodes = servers(server_factory, 3)
    seed = join(nodes[0])
    port = free_port()
    join(nodes[1], seeds=[seed], port=port, cluster_addr=f"localhost:{port}")
    join(nodes[2], seeds=[seed])
    wait_until_whole(nodes)
    assert peer_of(nodes[2], instance(nodes[1]))["address"] == f"localhost:{port}"


# ---- Restarts ----


def test_a_node_that_restarts_under_its_address_is_another_node_there(server_factory: Factory) -> None:
    first, second, third = servers(server_factory, 3)
    port = free_port()
    seed = join(first)
    join(second, seeds=[seed])
    join(third, seeds=[seed], port=port)
    wait_until_whole([first, second, third])
    before = instance(third)
    third.stop()
    third.start()
    join(third, seeds=[seed], port=port)
    assert instance(third) != before
    wait_until_whole([first, second, third])
    assert state_of(first, before) in {None, "dead"}


def test_a_node_that_comes_back_elsewhere_is_found(server_factory: Factory) -> None:
    first, second, third = (node.server for node in mesh(server_factory, 3))
    before, elsewhere = address(third), free_port()
    third.stop()
    third.start()
    join(third, seeds=[address(second)], port=elsewhere)
    assert address(third) != before
    wait_until_whole([first, second, third])


def test_the_seed_itself_may_restart_as_it_has_itself_for_seed(server_factory: Factory) -> None:
    seed = f"{HOST}:{free_port()}"
    nodes = servers(server_factory, 3)
    for node in nodes:
        join(node, seeds=[seed], port=port_of(seed) if node is nodes[0] else 0)
    wait_until_whole(nodes)
    nodes[0].stop()
    nodes[0].start()
    join(nodes[0], seeds=[seed], port=port_of(seed))
    wait_until_whole(nodes)


# ---- Leaving ----


def test_a_killed_node_is_counted_out_as_its_host_refuses_and_comes_back(server_factory: Factory) -> None:
    first, second = (node.server for node in mesh(server_factory, 2, cluster=DEFAULTS))
    limits = DEFAULTS | {"seeds": [address(first)], "cluster_port": free_port()}
    with NodeProcess(limits) as killed:
        wait_until(lambda: first.cluster_peers_count() == second.cluster_peers_count() == 2, "three")
        killed.kill()
        for node in (first, second):
            wait_until(lambda node=node: state_of(node, killed.name) == "dead", "it is dead", 4)  # type: ignore[misc]
            assert node.cluster_peers_count() == 1
    with NodeProcess(limits) as back:
        wait_until(lambda: linked(first) == {instance(second), back.name}, "it is back")
        wait_until(lambda: linked(second) == {instance(first), back.name}, "it is back")


def test_a_node_that_stands_still_is_not_counted_and_is_whole_again_when_it_goes_on(
    server_factory: Factory,
) -> None:
    first, second = (node.server for node in mesh(server_factory, 2, cluster=FAST))
    with NodeProcess(FAST | {"seeds": [address(first)]}) as still:
        wait_until(lambda: first.cluster_peers_count() == second.cluster_peers_count() == 2, "three")
        with still.stopped():
            for node in (first, second):
                wait_until(lambda node=node: still.name not in linked(node), "it is doubted")  # type: ignore[misc]
                wait_until(lambda node=node: state_of(node, still.name) == "dead", "it is dead")  # type: ignore[misc]
                assert node.cluster_peers_count() == 1
        wait_until(lambda: first.cluster_peers_count() == second.cluster_peers_count() == 2, "three again")
        wait_until(lambda: still.peers_count() == 2, "it counts both")
        assert peer_of(first, still.name)["state"] == "alive"
        assert first.health_snapshot()["cluster_reconnect_count"] == 0, "death is no lost link"


def test_a_stop_is_heard_at_once_however_long_the_limits_are(server_factory: Factory) -> None:
    limits = {"heartbeat_interval": 30.0, "dead_after": 600.0}
    first, second, third = (node.server for node in mesh(server_factory, 3, cluster=limits))
    gone, place = instance(third), address(third)
    began = time.monotonic()
    with LogLines() as log:
        third.stop()
        assert time.monotonic() - began < 5, "nobody waits for long"
        for node in (first, second):
            wait_until(lambda node=node: node.cluster_peers_count() == 1, "it is gone", 3)  # type: ignore[misc]
            assert state_of(node, gone) == "dead"
        log.wait(f"node {gone} at {place} is dead: it has shut down")
    assert third.cluster_info() == []
    assert third.cluster_identity() is None
    assert not third.cluster_connected()


def test_a_node_that_drains_is_marked_as_leaving_and_still_there(server_factory: Factory) -> None:
    first, second = mesh(server_factory, 2)
    leaving = instance(second.server)
    assert not peer_of(first.server, leaving)["leaving"]
    client = first.subscriber("t")
    assert second.server.drain(timeout=0) == {"drained": 0, "cut": 0}
    wait_until(lambda: peer_of(first.server, leaving)["leaving"], "it says that it goes")
    assert peer_of(first.server, leaving)["connected"]
    second.server.broadcast("t", "still here")
    assert client.receive() == "still here"


def test_a_lone_node_is_a_cluster_of_one(server_factory: Factory) -> None:
    running = server_factory()
    own = join(running.server)
    assert own.startswith(f"{HOST}:")
    assert (running.server.cluster_connected(), running.server.cluster_peers_count()) == (False, 0)
    assert running.server.cluster_info() == []
    client = running.dial()
    assert running.server.subscribe_connection(client.conn_id, ["t"])["confirmed"]
    running.server.broadcast("t", "alone")
    assert client.receive() == "alone"


def test_limits_of_one_node_need_not_be_those_of_another(server_factory: Factory) -> None:
    first, second = servers(server_factory, 2)
    seed = join(first, **DEFAULTS)
    join(second, seeds=[seed], **FAST)
    wait_until_whole([first, second])
    quiet = time.monotonic() + 1.5
    wait_until(lambda: time.monotonic() >= quiet or second.cluster_peers_count() == 0, "a while")
    assert second.cluster_peers_count() == 1, "who is asked answers, however seldom it asks"
