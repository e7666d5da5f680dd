"""What the tests share: a free port, a wait with a deadline, a running server with its events, a client.

Nothing here sleeps to let something happen. A test states what it waits for, and how long at most.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import websockets.asyncio.client
import websockets.sync.client
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from wse_server import RustWSEServer

HOST = "127.0.0.1"
PATIENCE = 10.0
"""Seconds that a wait may take before the test has failed, on a machine with two busy cores."""

Event = tuple[str, str, Any]
"""What `drain_inbound` yields: kind, connection id, data."""

T = TypeVar("T")


_reserved: list[socket.socket] = []


def free_port() -> int:
    """Returns a TCP port that nobody listens on, and that nobody else is given before the test is over.

    A socket stays bound to it and never listens, so the kernel neither gives the port to another socket nor
    lets a client go out from it. Linux lets a server listen there all the same if it sets `SO_REUSEADDR`, as
    servers do. Other systems refuse that, so there the port is let go at once.
    """
    probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # On all addresses: a program may listen on all of them, and tests have hosts at 127.0.0.2 and beyond.
    probe.bind(("", 0))
    port: int = probe.getsockname()[1]
    if sys.platform == "linux":
        # Not before: it would let the kernel choose a port that another test has reserved.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _reserved.append(probe)
    else:
        probe.close()
    return port


def release_ports() -> None:
    """Lets go of the ports that `free_port` gave out so far."""
    while _reserved:
        _reserved.pop().close()


def accepts(port: int) -> bool:
    """Tells whether somebody listens on the port."""
    try:
        socket.create_connection((HOST, port), timeout=1.0).close()
    except OSError:
        return False
    return True


def wait_until(probe: Callable[[], T], what: str, timeout: float = PATIENCE) -> T:
    """Calls `probe` until its answer is true and returns it; fails with `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what}: not within {timeout} s (last answer: {answer!r})")
        pause.wait(0.005)


@contextmanager
def in_thread(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Runs `work` in a thread for as long as the block lasts, then sets its event; raises what it raised."""
    stop, raised = threading.Event(), list[BaseException]()

    def guarded() -> None:
        try:
            work(stop)
        except BaseException as error:  # noqa: BLE001 - raised below, where the test sees it
            raised.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if raised:
        raise raised[0]


def run(scenario: Coroutine[Any, Any, T], timeout: float = 60.0) -> T:
    """Runs an asyncio scenario to its end, or fails with `TimeoutError` after `timeout` seconds."""

    async def bounded() -> T:
        async with asyncio.timeout(timeout):
            return await scenario

    return asyncio.run(bounded())


class Events:
    """Drains a server in a thread of its own and lets the test wait for the events it expects.

    Events stay in `seen`, in the order in which they were drained.
    """

    def __init__(self, server: RustWSEServer) -> None:
        self.seen: list[Event] = []
        self._server = server
        self._arrived = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._drain, name="drain", daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        while not self._stopping.is_set():
            batch = self._server.drain_inbound(256, 50)
            if batch:
                with self._arrived:
                    self.seen.extend(batch)
                    self._arrived.notify_all()

    def of(self, *kinds: str) -> list[Event]:
        """Returns what has arrived so far of these kinds."""
        with self._arrived:
            return [event for event in self.seen if event[0] in kinds]

    def wait(self, *kinds: str, count: int = 1, timeout: float = PATIENCE) -> list[Event]:
        """Waits for `count` events of these kinds in all, counted from the start, and returns them."""
        with self._arrived:
            matching: list[Event] = []

            def enough() -> bool:
                matching[:] = [event for event in self.seen if event[0] in kinds]
                return len(matching) >= count

            if not self._arrived.wait_for(enough, timeout):
                raise AssertionError(
                    f"{len(matching)} of {count} {kinds} after {timeout} s; seen: {self.seen[-20:]}"
                )
            return matching

    def close(self) -> None:
        """Ends the thread. What the server still holds stays there."""
        self._stopping.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "drain_inbound did not come back"


@dataclass
class Peer:
    """A client with a blocking socket and the connection id that the server knows it by."""

    socket: websockets.sync.client.ClientConnection
    conn_id: str

    def send(self, message: str | bytes | dict[str, Any]) -> None:
        """Sends text, bytes, or an object as JSON text."""
        self.socket.send(json.dumps(message) if isinstance(message, dict) else message)

    def receive(self, timeout: float = PATIENCE) -> str | bytes:
        """Waits for the next message."""
        return self.socket.recv(timeout)

    def receive_json(self, timeout: float = PATIENCE) -> dict[str, Any]:
        """Waits for the next message, which must be a JSON object."""
        message = json.loads(self.receive(timeout))
        assert isinstance(message, dict), f"no object: {message!r}"
        return message

    def close_code(self, timeout: float = PATIENCE) -> int:
        """Reads until the server closes and returns the code of its close frame, 1006 if there was none."""
        deadline = time.monotonic() + timeout
        try:
            while True:
                self.socket.recv(max(0.0, deadline - time.monotonic()))
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006

    def close(self) -> None:
        """Says goodbye with 1000."""
        self.socket.close()

    def hang_up(self) -> None:
        """Ends without a goodbye: with messages that nobody reads that would take ten seconds."""
        self.socket.close_timeout = 0
        self.socket.close()


class Running:
    """A started server on a port of its own, its events (in drain mode), and its dialled clients."""

    def __init__(self, server: RustWSEServer, port: int, events: Events | None) -> None:
        self.server = server
        self.port = port
        self.url = f"ws://{HOST}:{port}/wse"
        self.http = f"http://{HOST}:{port}"
        self._events = events
        self._peers: list[Peer] = []

    @property
    def events(self) -> Events:
        """The events of a server that was started with `drain=True`."""
        assert self._events is not None, "the server was started without drain mode"
        return self._events

    def dial(self, *, query: str = "", **options: Any) -> Peer:
        """Connects one client and waits until the server has told of it. Not for use from several threads."""
        known = len(self.events.of("connect", "auth_connect"))
        client = dial(self.url + query, **options)
        _, conn_id, _ = self.events.wait("connect", "auth_connect", count=known + 1)[known]
        peer = Peer(client, conn_id)
        self._peers.append(peer)
        return peer

    def subscriber(self, topic: str, **options: Any) -> Peer:
        """Connects one client that is subscribed to `topic`."""
        peer = self.dial(**options)
        self.server.subscribe_connection(peer.conn_id, [topic])
        return peer

    def close(self) -> None:
        """Stops the server, its drain thread and the clients that `dial` made."""
        self.server.stop()
        if self._events is not None:
            self._events.close()
        for peer in self._peers:
            peer.hang_up()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def start_server(*, drain: bool = True, port: int | None = None, **options: Any) -> Running:
    """Starts a server with these options of the constructor, in drain mode unless told otherwise."""
    port = free_port() if port is None else port
    server = RustWSEServer(HOST, port, **options)
    if drain:
        server.enable_drain_mode()
    server.start()
    return Running(server, port, Events(server) if drain else None)


# What every client of the tests asks for: no proxy from the environment, no compression, no limit on what it
# takes, and no pings of its own, which would keep a connection alive that the server is meant to find idle.
QUIET: dict[str, Any] = {"proxy": None, "compression": None, "max_size": None, "ping_interval": None}


def dial(
    url: str,
    *,
    token: str | None = None,
    subprotocols: list[str] | None = None,
    **options: Any,
) -> websockets.sync.client.ClientConnection:
    """Connects a blocking client, with `token` as a bearer header if one is given."""
    return websockets.sync.client.connect(url, legacy=True, **_arguments(token, subprotocols, options))


async def dial_async(
    url: str,
    *,
    token: str | None = None,
    subprotocols: list[str] | None = None,
    **options: Any,
) -> websockets.asyncio.client.ClientConnection:
    """Connects an asyncio client, with `token` as a bearer header if one is given."""
    return await websockets.asyncio.client.connect(url, **_arguments(token, subprotocols, options))


def _arguments(token: str | None, subprotocols: list[str] | None, options: dict[str, Any]) -> dict[str, Any]:
    arguments = QUIET | options
    if token is not None:
        arguments["additional_headers"] = {"Authorization": f"Bearer {token}"} | dict(
            arguments.get("additional_headers", {})
        )
    if subprotocols is not None:
        arguments["subprotocols"] = [Subprotocol(name) for name in subprotocols]
    return arguments


class Program:
    """A Python program that runs as a process of its own until it is interrupted. What it prints is kept.

    Args:
        command: What follows `python`, for example `["-m", "wse_server.demo"]`.
        python: The interpreter.
    """

    def __init__(self, *command: str | Path, python: str = sys.executable) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [python, "-u", *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, name="program-output", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            self.lines.extend(line.rstrip("\n") for line in output)

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    @property
    def output(self) -> str:
        """What it has printed so far, errors included."""
        return "\n".join(self.lines)

    def wait_for_port(self, port: int) -> None:
        """Waits until the program listens; fails with its output if it ends before."""

        def listening() -> bool:
            assert self._process.poll() is None, f"ended with {self._process.poll()}:\n{self.output}"
            return accepts(port)

        wait_until(listening, f"nobody listens on {port}")

    def wait_for_line(self, word: str) -> str:
        """Waits for a line with `word` in it and returns the line."""
        return wait_until(
            lambda: next((line for line in self.lines if word in line), ""), f"no line with {word!r}"
        )

    def wait(self) -> int:
        """Waits until it ends by itself and returns the exit status."""
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"did not end:\n{self.output}") from None
        finally:
            self._reader.join(PATIENCE)

    def stop(self, signum: signal.Signals = signal.SIGINT) -> int:
        """Sends a signal, as Ctrl-C does unless told otherwise, and returns the exit status."""
        self.send_signal(signum)
        return self.wait()

    def send_signal(self, signum: signal.Signals) -> None:
        """Sends a signal, if it still runs."""
        if self._process.poll() is None:
            self._process.send_signal(signum)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
