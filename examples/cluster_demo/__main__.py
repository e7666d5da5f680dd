"""Three nodes, a page that shows which of them serves you, and a button that kills it: nothing is lost.

    make cluster-demo                       builds what it needs, and starts it
    python examples/cluster_demo            where wse_server is installed; --help tells more

This process is the supervisor: it starts the nodes, each a process of its own, and starts one again some
seconds after it was killed. It also numbers the messages, and lets a node publish each until one says that it
is stored. The page counts what does not come.
"""

import argparse
import asyncio
import itertools
import json
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

NODES = 3
PATIENCE = 8.0
"""Seconds that a node may take to say what became of a message."""


class Node:
    """A process that is started again after each death.

    Args:
        number: 1, 2 or 3.
        port: Where the page and its WebSocket are.
        cluster_port: Where the other nodes find it.
    """

    def __init__(self, number: int, port: int, cluster_port: int) -> None:
        self.number = number
        self.port = port
        self.cluster_port = cluster_port
        self.state = "starting"
        """`starting`, `up` or `down`."""
        self.answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._process: asyncio.subprocess.Process | None = None
        self._words: asyncio.StreamWriter | None = None

    async def run(
        self, settings: dict[str, Any], environment: dict[str, str], away: float, demo: "Demo"
    ) -> None:
        """Starts the process and hears what it says, life after life."""
        command = [
            str(Path(__file__).with_name("node.py")),
            str(self.port),
            str(self.cluster_port),
            json.dumps(settings),
        ]
        while not demo.is_over:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the supervisor, which ends the nodes in order
            )
            lines, self._words = self._process.stdout, self._process.stdin
            while lines is not None and (line := await lines.readline()):
                self._hear(json.loads(line), demo)
            status = await self._process.wait()
            self.state = "down"
            self.answers.put_nowait({"what": "dead"})
            if not demo.is_over:
                print(f"node {self.number} is gone ({status}), back in {away:g} s", flush=True)
                await asyncio.sleep(away)
                self.state = "starting"

    def _hear(self, said: dict[str, Any], demo: "Demo") -> None:
        if said["what"] == "listening":
            self.state = "up"
            print(f"node {self.number} is up: http://localhost:{self.port}/", flush=True)
        elif said["what"] == "kill":
            demo.kill(said["node"])
        else:
            self.answers.put_nowait(said)

    async def publish(self, message: dict[str, Any]) -> dict[str, Any]:
        """Lets it publish, and returns what it says of that: `stored`, `unknown` or `dead`."""
        while not self.answers.empty():
            self.answers.get_nowait()  # of an earlier message, or an earlier life
        if self._words is not None:
            self._words.write(json.dumps(message).encode() + b"\n")
        try:
            return await asyncio.wait_for(self.answers.get(), PATIENCE)
        except TimeoutError:
            return {"what": "unknown"}

    def kill(self) -> None:
        """Kills it, as `kill -9` does: it has no time for a last word."""
        if self._process is not None:
            self._process.kill()

    def end(self) -> None:
        """Ends it in order."""
        if self._words is not None:
            self._words.close()


class Demo:
    """The nodes, and what is published through them.

    Args:
        port: The first of the ports for pages; 0 for any that are free.
        rate: Messages a second.
        away: Seconds until a node that was killed is started again.
    """

    def __init__(self, port: int, rate: float, away: float) -> None:
        ports = list(range(port, port + NODES)) if port else free_ports(NODES)
        self.nodes = [
            Node(number, *both) for number, both in enumerate(zip(ports, free_ports(NODES), strict=True), 1)
        ]
        self.is_over = False
        self._rate = rate
        self._away = away
        self._last: dict[str, Any] = {}
        """What was said of the last message that was stored."""

    async def run(self) -> None:
        """Runs until it is over."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signum, self._end)
        environment = os.environ | {"WSE_CLUSTER_SECRET": secrets.token_hex(16)}
        settings = {
            "ports": [node.port for node in self.nodes],
            "seeds": [f"127.0.0.1:{node.cluster_port}" for node in self.nodes],
        }
        works: list[Coroutine[Any, Any, None]] = [
            node.run(settings, environment, self._away, self) for node in self.nodes
        ]
        lives = [asyncio.ensure_future(work) for work in works]
        numbers = asyncio.ensure_future(self._publish())
        await asyncio.wait([*lives, numbers], return_when=asyncio.FIRST_COMPLETED)
        for task in (*lives, numbers):
            if not self.is_over and task.done():
                task.result()
        numbers.cancel()
        await asyncio.wait(lives, timeout=PATIENCE)

    async def _publish(self) -> None:
        """Numbers messages, and goes on to the next when one is stored: so none is left out, whoever dies."""
        turns = itertools.cycle(self.nodes)
        for number in itertools.count(1):
            said = {"what": ""}
            while said["what"] != "stored":
                node = next((node for node in itertools.islice(turns, NODES) if node.state == "up"), None)
                if node is None:
                    await asyncio.sleep(0.05)
                    continue
                said = await node.publish({"t": "number", "p": self._tick(number, node)})
            self._last = said
            if number == 1:
                print(
                    "  Open any of the pages, and kill the node that serves it. Ctrl-C stops all.", flush=True
                )
            await asyncio.sleep(1 / self._rate)

    def _tick(self, number: int, by: Node) -> dict[str, Any]:
        nodes = [{"node": node.number, "port": node.port, "state": node.state} for node in self.nodes]
        return {
            "n": number,
            "by": by.number,
            "nodes": nodes,
            "may_kill": self.may_kill,
            "sent_ms": time.time() * 1000,
        }

    @property
    def may_kill(self) -> bool:
        """Whether one more may die: all are there, linked, and two of them keep what is published."""
        is_kept = self._last.get("copies", 0) >= 2 and self._last.get("peers", 0) == NODES - 1
        return is_kept and all(node.state == "up" for node in self.nodes)

    def kill(self, number: int) -> None:
        """Does what a page has asked for."""
        if self.may_kill and 1 <= number <= NODES:
            print(f"node {number} is killed", flush=True)
            self._last = {}
            self.nodes[number - 1].kill()

    def _end(self) -> None:
        self.is_over = True
        for node in self.nodes:
            node.end()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on just now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def main() -> None:
    """Reads the command line and runs the demo."""
    parser = argparse.ArgumentParser(
        prog="cluster_demo", description="Three nodes, and a page that survives each."
    )
    parser.add_argument("--port", type=int, default=0, help="first of three ports for pages (default: any)")
    parser.add_argument("--rate", type=float, default=20.0, help="messages a second (default: %(default)g)")
    parser.add_argument(
        "--away", type=float, default=8.0, help="seconds until a dead node is back (default: 8)"
    )
    options = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(Demo(options.port, options.rate, options.away).run())


if __name__ == "__main__":
    main()
