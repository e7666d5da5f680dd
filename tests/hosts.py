"""Three hosts with a node each, on a network of their own: what the tests of partitions begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from netns import NetNode, Network
from support import wait_until

HOSTS = ("a", "b", "c")
LIMITS: dict[str, Any] = {"heartbeat_interval": 0.25, "dead_after": 2.0}
HEALED = 8.0
"""Seconds from the healing of a network to links between all: a dial under way fails after three seconds, and
the next begins two seconds later at the latest; a busy machine has the rest."""

Start = Callable[..., list[NetNode]]


@pytest.fixture
def network() -> Iterator[Network]:
    with Network(*HOSTS) as network:
        yield network


@pytest.fixture
def start(network: Network) -> Iterator[Start]:
    """Starts a node on each host, of which the first is the seed of the others."""
    with ExitStack() as running:

        def begin(cluster: dict[str, Any] | None = None, **options: Any) -> list[NetNode]:
            seeds = [(), (network.address("a"),), (network.address("a"),)]
            nodes = [
                running.enter_context(
                    NetNode(network, host, *seed, cluster=LIMITS | (cluster or {}), **options)
                )
                for host, seed in zip(HOSTS, seeds, strict=True)
            ]
            wait_until_whole(nodes)
            return nodes

        yield begin


def is_whole(nodes: Sequence[NetNode]) -> bool:
    """Whether each of these is linked with all the others, and with nobody else."""
    names = {node.name for node in nodes}
    return all(node.linked() == names - {node.name} for node in nodes)


def wait_until_whole(nodes: Sequence[NetNode], timeout: float = 10.0) -> None:
    wait_until(lambda: is_whole(nodes), f"{len(nodes)} nodes are linked", timeout)
