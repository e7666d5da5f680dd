"""Servers that are nodes of a cluster: how tests connect them, and what they ask of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from typing_extensions import override

from server_process import ServerProcess
from support import HOST, Peer, Running, wait_until
from wse_server import RustWSEServer
from wse_server.types import ClusterPeer

Factory = Callable[..., Running]

FAST: dict[str, Any] = {"heartbeat_interval": 0.2, "dead_after": 1.0}
"""Limits for tests that wait for a death. The defaults are 2 and 8 seconds."""

CALM: dict[str, Any] = {"heartbeat_interval": 0.2, "dead_after": 20.0}
"""Limits for all others: a machine that is busy for a second kills nobody."""


def join(server: RustWSEServer, *peers: str, port: int = 0, **options: Any) -> str:
    """Makes a server a node, with these static peers, and returns the address that it listens on."""
    server.connect_cluster(list(peers), cluster_port=port, **(CALM | options))
    return address(server)


def address(server: RustWSEServer) -> str:
    """Where a node listens for others."""
    identity = server.cluster_identity()
    assert identity is not None, "it is in no cluster"
    return identity["address"]


def instance(server: RustWSEServer) -> str:
    """What a node is called by the others."""
    identity = server.cluster_identity()
    assert identity is not None, "it is in no cluster"
    return identity["instance_id"]


def mesh(
    factory: Factory, count: int, *, cluster: dict[str, Any] | None = None, **options: Any
) -> list[Running]:
    """Starts nodes that know the first one, and waits until each is linked with all others.

    Args:
        factory: The fixture `server_factory`.
        count: How many.
        cluster: Arguments of `connect_cluster` for all of them.
        options: Options of the servers.
    """
    nodes = [factory(**options) for _ in range(count)]
    seed = join(nodes[0].server, **(cluster or {}))
    for node in nodes[1:]:
        join(node.server, seeds=[seed], **(cluster or {}))
    wait_until_whole([node.server for node in nodes])
    return nodes


def wait_until_whole(servers: Sequence[RustWSEServer], timeout: float = 10.0) -> None:
    """Waits until each of these nodes is linked with all the others, and with nobody else."""
    names = {instance(server) for server in servers}

    def is_whole() -> bool:
        return all(linked(server) == names - {instance(server)} for server in servers)

    wait_until(is_whole, f"{len(servers)} nodes are linked", timeout)


def linked(server: RustWSEServer) -> set[str]:
    """The names of the nodes that a node counts as connected."""
    return {peer["instance_id"] or "?" for peer in server.cluster_info() if peer["connected"]}


def peer_of(server: RustWSEServer, name: str) -> ClusterPeer:
    """What a node tells of another."""
    (found,) = [peer for peer in server.cluster_info() if peer["instance_id"] == name]
    return found


def state_of(server: RustWSEServer, name: str) -> str | None:
    """What another node counts as at this one; None if it is not known, or not any more."""
    return next((peer["state"] for peer in server.cluster_info() if peer["instance_id"] == name), None)


def numbers(count: int) -> list[str]:
    """Messages that can be told apart."""
    return [str(number) for number in range(count)]


def until(client: Peer, last: str) -> list[str | bytes]:
    """What a client receives before this message.

    Published last by the same node it shows that nothing comes twice: order is kept.
    """
    return list(iter(client.receive, last))


class NodeProcess(ServerProcess):
    """A node in a process of its own, which can be killed, or stopped for a while.

    Args:
        cluster: Arguments of `connect_cluster`.
        options: Options of the server.
    """

    def __init__(self, cluster: dict[str, Any], *, port: int = 0, **options: Any) -> None:
        super().__init__(port=port, **options)
        self._is_killed = False
        self.url = f"ws://{HOST}:{self.port}/wse"
        self.call("connect_cluster", **({"peers": [], "cluster_port": 0} | CALM | cluster))
        identity = self.call("cluster_identity")
        self.address: str = identity["address"]
        self.name: str = identity["instance_id"]

    def peers_count(self) -> int:
        """How many others it counts."""
        count = self.call("cluster_peers_count")
        assert isinstance(count, int)
        return count

    def kill(self) -> None:
        """Ends the process as nothing announces it."""
        self._is_killed = True
        os.kill(self.pid, signal.SIGKILL)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stops the process: its sockets stay and nobody answers. It goes on at the end of the block."""
        os.kill(self.pid, signal.SIGSTOP)
        wait_until(self._is_stopped, "all of its threads are stopped")
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def _is_stopped(self) -> bool:
        tasks = Path(f"/proc/{self.pid}/task").glob("*/stat")
        return all(task.read_text().rpartition(")")[2].split()[0] == "T" for task in tasks)

    @override
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_killed:
            self.close()
        else:
            super().__exit__(kind, error, trace)
