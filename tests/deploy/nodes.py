"""Nodes as an operator runs them: `wse serve` in a process of its own, told everything by its environment."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from certificates import Authority, Files
from http_api import KEY, Worker
from support import HOST, PATIENCE, wait_until

SECRET = "the-secret-of-tokens-in-tests-0123456789"
PROXY = HOST
"""Where proxies on this machine come from, and what nodes trust."""
STRANGER = "127.0.0.2"
"""Another address of this machine, which they don't."""

ENVIRONMENT = {
    "WSE_HOST": HOST,
    "WSE_PATH": "/wse",
    "WSE_TRUSTED_PROXIES": PROXY,
    "WSE_API_KEY": KEY,
    "WSE_JWT_SECRET": SECRET,
    "WSE_CLIENT_SUBSCRIPTIONS": "true",
    "WSE_CLIENT_PUBLISH": "true",
    "WSE_RECOVERY_ENABLED": "true",
    "WSE_LOG_LEVEL": "info",
}


class Port:
    """A port that is kept while nobody listens on it, as that of a node is between two lives.

    As `support.free_port`, but for longer than a test: until `close`.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.bind((HOST, 0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        """Lets go of it."""
        self._socket.close()


class Node:
    """A node that can be killed, restarted, and asked from an address that it does not trust.

    Args:
        directory: Where its output goes.
        more: More of its environment.
        files: What it is known by in a cluster; None for a node alone.
    """

    def __init__(self, directory: Path, more: dict[str, str], files: Files | None = None) -> None:
        self._ports = Port(), Port()
        self.port, self.cluster_port = (each.number for each in self._ports)
        self.url = f"http://{HOST}:{self.port}"
        self.output = directory / f"node-{self.port}"
        self._environment = ENVIRONMENT | {"WSE_PORT": str(self.port)} | more
        if files is not None:
            self._environment |= {
                "WSE_TLS_CA": str(files.ca),
                "WSE_TLS_CERT": str(files.cert),
                "WSE_TLS_KEY": str(files.key),
                "WSE_CLUSTER_PORT": str(self.cluster_port),
                "WSE_CLUSTER_ADDR": f"{HOST}:{self.cluster_port}",
            }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where clients and proxies connect to."""
        return f"{HOST}:{self.port}"

    def start(self, peers: str = "") -> None:
        """Starts its process.

        Args:
            peers: Where the other nodes are; for the first start only.
        """
        if peers:
            self._environment["WSE_PEERS"] = peers
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("WSE_")}
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "wse_server", "serve"],
                env=inherited | self._environment,
                stdout=output,
                stderr=output,
            )

    def wait_until_ready(self) -> None:
        """Waits until new clients are welcome there."""
        wait_until(self._is_ready, f"{self.url} is not ready:\n{self.output.read_text()}", 3 * PATIENCE)

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.output.read_text()
        with suppress(OSError), self.worker() as worker:
            return worker.ask("GET", "/ready").status == 200
        return False

    def worker(self) -> Worker:
        """A connection to its HTTP API, from an address of which no PROXY header is expected."""
        worker = Worker(self.port, timeout=4 * PATIENCE)
        # A name that the library has and its stub has not.
        vars(worker.connection)["source_address"] = (STRANGER, 0)
        return worker

    def health(self) -> dict[str, Any]:
        """Its figures."""
        with self.worker() as worker:
            answer = worker.ask("GET", "/health")
        told: dict[str, Any] = json.loads(answer.body)
        return told

    def clients(self) -> int:
        """How many clients it has."""
        count: int = self.health()["connections"]
        return count

    def connections(self) -> list[dict[str, Any]]:
        """What it knows of its clients, of the first hundred."""
        with self.worker() as worker:
            found: list[dict[str, Any]] = worker.get("/api/connections")["connections"]
            return found

    def kill(self) -> None:
        """Ends it as nothing announces it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(PATIENCE)

    def restart(self) -> None:
        """What `systemctl restart` does: SIGTERM, the end, a new process."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(4 * PATIENCE)
        assert code == 0, f"exit code {code}:\n{self.output.read_text()}"
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        for port in self._ports:
            port.close()


@contextmanager
def cluster(directory: Path, **more: str) -> Iterator[list[Node]]:
    """Three nodes with certificates, linked with each other."""
    authority = Authority(directory / "nodes")
    files = [authority.node(name) for name in ("node-a", "node-b", "node-c")]
    timing = {"WSE_HEARTBEAT_INTERVAL": "0.5", "WSE_DEAD_AFTER": "20"}
    first, second, third = nodes = [Node(directory, timing | more, each) for each in files]
    with first, second, third:
        for node in nodes:
            node.start(",".join(f"{HOST}:{other.cluster_port}" for other in nodes if other is not node))
        for node in nodes:
            node.wait_until_ready()
        wait_until_whole(nodes)
        yield nodes


@contextmanager
def alone(directory: Path, **more: str) -> Iterator[list[Node]]:
    """Three nodes that know nothing of each other, which takes seconds less."""
    first, second, third = nodes = [Node(directory, more) for _ in range(3)]
    with first, second, third:
        for node in nodes:
            node.start()
        for node in nodes:
            node.wait_until_ready()
        yield nodes


def wait_until_whole(nodes: list[Node]) -> None:
    """Waits until each node is linked with all the others."""

    def is_whole() -> bool:
        return all(node.health()["cluster_peer_count"] == len(nodes) - 1 for node in nodes)

    wait_until(is_whole, "the nodes are not linked", 3 * PATIENCE)
