"""What a proxy in front of three nodes must do, whichever it is.

`test_nginx.py` and `test_haproxy.py` have the classes that are run.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

import pytest

from deploy.crowd import Crowd, Publisher
from deploy.nodes import Node, alone, cluster, wait_until_whole
from deploy.one_node import Site, greeting, token
from deploy.proxies import CLIENT, Proxy
from deploy.substitute import Replacement, replaced
from http_api import KEY
from support import PATIENCE, run, wait_until

RESTART = """\
import socket, sys

with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as restarter:
    restarter.sendall(f"{sys.argv[2]}\\n".encode())
    sys.exit(restarter.recv(1) != b"0")
"""
"""What stands for `ssh {host} systemctl restart wse`: it tells this process, and waits until it is done."""


class Restarter:
    """Restarts nodes when a command says so, as a service manager does. Ends with the `with` block."""

    def __init__(self, nodes: list[Node], directory: Path) -> None:
        self._program = directory / "restart.py"
        self._program.write_text(RESTART)
        self._nodes = {str(node.port): node for node in nodes}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.order: list[str] = []
        self._thread = threading.Thread(target=self._work, name="restarter")

    @property
    def command(self) -> str:
        """The command."""
        return f"{sys.executable} {self._program} {self._listener.getsockname()[1]} {{port}}"

    def _work(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            with sock:
                port = sock.makefile().readline().strip()
                if not port:
                    return
                self.order.append(port)
                self._nodes[port].restart()
                sock.sendall(b"0")

    def __enter__(self) -> Restarter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        socket.create_connection(self._listener.getsockname()).close()
        self._thread.join()
        self._listener.close()


class ThreeNodes:
    """A proxy in front of three nodes, for all cases of a class: each leaves them as they were."""

    PROXY: ClassVar[type[Proxy]]
    NODES: ClassVar[dict[str, str]] = {}
    """More of the environment of the nodes."""
    LINKED: ClassVar[bool] = True
    """Whether they are a cluster."""

    @pytest.fixture(scope="class")
    @classmethod
    def running(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
        directory = tmp_path_factory.mktemp("site")
        started = cluster if cls.LINKED else alone
        with (
            started(directory, **{"WSE_DRAIN_TIMEOUT": "2"} | cls.NODES) as nodes,
            cls.PROXY(directory, nodes) as proxy,
        ):
            yield Site(proxy, nodes)

    @pytest.fixture
    def site(self, running: Site) -> Site:
        """Nobody is there any more of the case before."""
        wait_until(lambda: not any(node.clients() for node in running.nodes), "all clients have gone")
        return running


class BehindThreeNodes(ThreeNodes):
    """The case that every way of choosing a node has. A class for each proxy says which."""

    KILLED = 30
    """Clients when a node is killed."""

    def test_a_node_is_killed_and_nobody_misses_anything(self, site: Site) -> None:
        run(self.killed(site))

    async def killed(self, site: Site) -> None:
        """Kills the node that has the most clients, and lets it come back."""
        publisher = Publisher([])
        async with Crowd(site.proxy, self.KILLED) as crowd:
            shares = [node.clients() for node in site.nodes]
            victim = site.nodes[shares.index(max(shares))]
            others = [node for node in site.nodes if node is not victim]
            publisher = Publisher(others)
            with publisher.running():
                await asyncio.to_thread(self.wait_for_messages, publisher, 20)
                victim.kill()
                await asyncio.to_thread(
                    wait_until,
                    lambda: sum(node.clients() for node in others) == self.KILLED,
                    "all clients are at the other nodes",
                    3 * PATIENCE,
                )
                assert crowd.losses >= max(shares)
                await asyncio.to_thread(self.sees_that_it_is_out, site, victim)
                await asyncio.to_thread(self.wait_for_messages, publisher, 20)
                victim.start()
                await asyncio.to_thread(victim.wait_until_ready)
                await asyncio.to_thread(wait_until_whole, site.nodes)
                await asyncio.to_thread(self.sees_that_it_is_back, site, victim)
            assert await crowd.judge(publisher.published) > 40
            print(f"a publication took {publisher.slowest:.1f} s at most")

    @staticmethod
    def wait_for_messages(publisher: Publisher, more: int) -> None:
        """Waits until so many more messages were published."""

        def count() -> int:
            return sum(map(len, publisher.published.values()))

        enough = count() + more
        wait_until(lambda: count() >= enough, "publishing goes on", 6 * PATIENCE)

    def sees_that_it_is_out(self, site: Site, victim: Node) -> None:
        """New clients come to the others at once, whatever the proxy knows."""
        for _ in range(6):
            with site.proxy.dial(cookie=token("late")) as client:
                greeting(client)
        assert victim not in [node for node in site.nodes if self.is_there(node)]

    def sees_that_it_is_back(self, site: Site, victim: Node) -> None:
        """New clients come to it again."""

        def is_used() -> bool:
            with site.proxy.dial(source="127.0.0.7", cookie=token("later")) as client:
                greeting(client)
                return victim.clients() > 0

        wait_until(is_used, "the node that came back gets clients", 3 * PATIENCE)

    @staticmethod
    def is_there(node: Node) -> bool:
        try:
            node.health()
        except OSError:
            return False
        return True


class ByLeastConnections(BehindThreeNodes):
    """The cases of the files that give each client to the node with the fewest."""

    COMMANDS: ClassVar[str]
    """What the page says for a rolling restart."""
    REBALANCE: ClassVar[str]
    """What it says for giving each node its share at another time."""
    ROLLED = 200
    """Clients during the rolling restart."""

    def test_clients_are_shared_evenly(self, site: Site) -> None:
        with ExitStack() as stack:
            for _ in range(12):
                greeting(stack.enter_context(site.proxy.dial(cookie=token())))
            assert [node.clients() for node in site.nodes] == [4, 4, 4]

    def test_a_rolling_restart_loses_and_doubles_nothing_and_shares_are_even_again(self, site: Site) -> None:
        with Restarter(site.nodes, site.proxy.directory) as restarter:
            run(self.rolled(site, restarter), 100)

    @staticmethod
    def typed(commands: str, site: Site, *more: Replacement) -> subprocess.CompletedProcess[str]:
        """Runs commands of the page, with these nodes and their key."""
        key = site.proxy.directory / "api.key"
        key.write_text(f"{KEY}\n")
        nodes = [
            Replacement(f"http://10.0.0.{number}:5007", node.url) for number, node in enumerate(site.nodes, 1)
        ]
        wse = Replacement("$ wse", f"{sys.executable} -m wse_server")
        shell = ["/bin/sh", "-e", "-c", replaced(commands, [wse, *nodes, *more])]
        environment = os.environ | {"WSE_API_KEY_FILE": str(key)}
        return subprocess.run(shell, capture_output=True, text=True, check=False, env=environment)

    async def rolled(self, site: Site, restarter: Restarter) -> None:
        replacements = [
            Replacement("$ export WSE_API_KEY_FILE=/etc/wse/api.key\n", ""),
            Replacement("'ssh {host} sudo systemctl restart wse'", f"'{restarter.command}'"),
        ]
        publisher = Publisher(site.nodes)
        async with Crowd(site.proxy, self.ROLLED) as crowd:
            with publisher.running():
                done = await asyncio.to_thread(self.typed, self.COMMANDS, site, *replacements)
                assert done.returncode == 0, done.stderr
                again = await asyncio.to_thread(self.typed, self.REBALANCE, site)
                assert again.returncode == 0, again.stderr
                assert again.stdout.endswith("\n0 clients were moved\n"), "they were even already"
                shares = [node.clients() for node in site.nodes]
            count = await crowd.judge(publisher.published)
        print(done.stderr, done.stdout)
        print(f"{count} messages read, {crowd.reasons}")
        print(f"{publisher.moves} moves, {publisher.slowest:.1f} s at most, {publisher.refusals}")
        assert restarter.order == [str(node.port) for node in site.nodes]
        assert crowd.losses >= self.ROLLED, "everybody was sent away at least once"
        assert publisher.moves >= 1
        # 5 % of the even share, which is what the command asks for: the balancer may choose between equals.
        fair = self.ROLLED / 3
        assert sum(shares) == self.ROLLED
        assert all(abs(share - fair) <= 0.05 * fair for share in shares), shares


class Sticking(BehindThreeNodes):
    """The cases of the files that give a client the node that it had before."""

    @staticmethod
    def stays(site: Site, cookie: str, source: str = CLIENT) -> str:
        """Connects somebody three times, sees that it is the same node each time, and says which."""
        found = set()
        for _ in range(3):
            with site.proxy.dial(cookie=cookie, source=source) as client:
                greeting(client)
                (node,) = [node for node in site.nodes if node.clients()]
                found.add(node.address)
            wait_until(lambda: not any(node.clients() for node in site.nodes), "the client has gone")
        assert len(found) == 1, found
        return found.pop()
