"""I/O threads never need Python, Python never waits for them with the GIL, any thread may call any method."""

from __future__ import annotations

import ctypes
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from server_process import Host, ServerProcess, health
from sockets import CLOSE, PING, PONG, Churn, Client, Frame, read_together, server_frame
from support import PATIENCE, wait_until
from wse_server import CloseCode

pytestmark = pytest.mark.alone

IDLE_TIMEOUT = 1.0
KEEPALIVE: dict[str, Any] = {"ping_interval": IDLE_TIMEOUT / 3, "idle_timeout": IDLE_TIMEOUT}
BLOCKED = 5 * IDLE_TIMEOUT


class Pulse:
    """A thread that only looks at the clock: the longest that it waited is how long it lacked the GIL."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)

    def _beat(self) -> None:
        last = time.monotonic()
        while not self._over.wait(0.001):
            now = time.monotonic()
            self.longest = max(self.longest, now - last)
            last = now

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(PATIENCE)


def hold_the_gil(_: Host, seconds: float) -> tuple[float, float, float]:
    """Stops all Python of the process; returns from when till when, and how long another thread waited."""
    usleep = ctypes.PyDLL(None).usleep
    with Pulse() as pulse:
        wait_until(lambda: pulse.longest > 0, "no pulse")
        started = time.monotonic()
        usleep(int(seconds * 1_000_000))
        ended = time.monotonic()
        wait_until(lambda: pulse.longest >= seconds, "the GIL was not held")
    return started, ended, pulse.longest


def test_a_blocked_program_loses_no_client_that_answers_pings() -> None:
    with ServerProcess(**KEEPALIVE) as node, ExitStack() as together:
        clients = [together.enter_context(Client(node.port, f"c{n}")) for n in range(20)]
        silent = together.enter_context(Client(node.port, "silent", answers_pings=False))
        node.wait("connect", 21)
        holding = node.begin(hold_the_gil, BLOCKED)
        silent_until = 0.0
        while not holding.done():
            for client in clients:
                # Its messages are for a program that does not listen; what it asks of the server is answered.
                client.send("?", PING)
                frames = client.frames(1)
                assert frames == [Frame(PONG, b"?")], f"{client.name}: {frames}"
            if silent.ended is None and not silent_until:
                silent_until = end_if_it_came(silent)
        started, ended, _ = holding.result(PATIENCE)
        # The timers went on without Python: who answers nothing was found out meanwhile.
        assert silent.ended == CloseCode.IDLE
        assert started < silent_until < ended
        assert min(client.pings for client in clients) >= 5
        assert node.wait("disconnect") == [("disconnect", node.conn_id("silent"), None)]
        assert node.call("get_connection_count") == 20
        for client in clients:
            client.send("still here")
        assert len(node.wait("raw", 20)) == 20


def end_if_it_came(client: Client) -> float:
    """Returns the time if the server has closed the connection, else 0."""
    try:
        client.take(0.001)
    except TimeoutError:
        return 0.0
    return time.monotonic() if client.ended is not None else 0.0


def publish_and_block(host: Host, count: int, size: int, seconds: float) -> tuple[float, float, float]:
    """Publishes, and holds the GIL from the moment at which all has been accepted."""
    host.server.broadcast_many("t", [f"{n:06}".ljust(size, ".") for n in range(count)])
    return hold_the_gil(host, seconds)


def test_what_was_published_arrives_while_the_program_is_blocked() -> None:
    count, size = 8_000, 1000
    whole = len(server_frame(b"." * size))
    with ServerProcess(ping_interval=3600, idle_timeout=7200) as node, ExitStack() as together:
        clients = [
            together.enter_context(Client(node.port, f"c{n}", receive_buffer=64 * 1024)) for n in range(4)
        ]
        node.subscribe({client.name: ["t"] for client in clients})
        received = {client: bytearray() for client in clients}
        times: dict[Client, float] = {}
        blocking = node.begin(publish_and_block, count, size, BLOCKED)

        def take(client: Client, data: bytes) -> bool:
            assert data, f"{client.name} was closed"
            received[client] += data
            times[client] = time.monotonic()
            return len(received[client]) == count * whole

        # At a rate that takes longer than the publishing and less than the blockade.
        read_together(clients, take, timeout=30, rate=count * whole / (0.6 * BLOCKED), rate_for=BLOCKED)
        started, ended, _ = blocking.result(PATIENCE)
        for client in clients:
            assert started < times[client] < ended, (
                f"{client.name}: {times[client] - started} of {ended - started}"
            )
            assert [bytes(received[client][at + 4 : at + 10]) for at in range(0, count * whole, whole)] == [
                b"%06d" % n for n in range(count)
            ]


# ---- What waits lets others run ----


def others_run(host: Host, waiting: Callable[[], object], at_least: float) -> float:
    """Runs something that waits, and questions beside it; returns how long other Python stood still."""
    server = host.server
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.01):
            _ = (server.port, repr(server), server.is_running(), server.get_connection_count())
            _ = (server.inbound_queue_depth(), server.inbound_dropped_count(), server.health_snapshot())
            server.drain_inbound(1, 1)

    asking = threading.Thread(target=ask, name="ask", daemon=True)
    with Pulse() as pulse:
        asking.start()
        started = time.monotonic()
        waiting()
        waited = time.monotonic() - started
        over.set()
        asking.join(PATIENCE)
    assert waited >= at_least, f"it waited only {waited} s: nothing is shown"
    return pulse.longest


def wait_in_drain(host: Host) -> float:
    return others_run(host, lambda: host.server.drain_inbound(1, 2500), 2.4)


def wait_in_stop(host: Host) -> float:
    return others_run(host, host.server.stop, 0.9)


def wait_in_publish(host: Host, texts: list[str]) -> float:
    def publish() -> None:
        for text in texts:
            host.server.broadcast("t", text)

    return others_run(host, publish, 1.5)


def wait_in_publish_many(host: Host, texts: list[str]) -> float:
    return others_run(host, lambda: host.server.broadcast_many("t", texts), 1.5)


LONGEST = 0.8
"""Seconds that a Python thread may stand still on two busy cores; what it stands beside takes longer."""


def test_drain_waits_without_the_gil() -> None:
    with ServerProcess(drain=False) as node:
        assert node.do(wait_in_drain) < LONGEST


def test_stop_waits_without_the_gil_and_no_question_waits_for_it() -> None:
    # The client does not answer the close, so that stop waits for it.
    with ServerProcess(drain=False) as node, Client(node.port):
        wait_until(lambda: node.call("get_connection_count") == 1, "not connected")
        assert node.do(wait_in_stop) < LONGEST


@pytest.mark.parametrize("job", [wait_in_publish, wait_in_publish_many])
def test_a_publisher_that_is_held_back_waits_without_the_gil(
    job: Callable[[Host, list[str]], float],
) -> None:
    texts = [f"{n:06}".ljust(2000, ".") for n in range(20_000)]
    expected = b"".join(server_frame(text.encode()) for text in texts)
    with (
        ServerProcess(ping_interval=3600, idle_timeout=7200) as node,
        Client(node.port, "slow", receive_buffer=64 * 1024) as slow,
    ):
        node.subscribe({"slow": ["t"]})
        publishing = node.begin(job, texts)
        received = bytearray()

        def take(_: Client, data: bytes) -> bool:
            assert data, "it was closed"
            received.extend(data)
            return len(received) == len(expected)

        # Half of it in the time in which the publisher is to be held, in sips.
        read_together([slow], take, timeout=30, rate=len(expected) / 6, rate_for=3)
        assert publishing.result(PATIENCE) < LONGEST
        assert received == expected


# ---- Everything at once ----

STRESS_SECONDS = 6.0
TOPICS = ["a", "b", "a.b", "*", "a*", "?"]


class Stress:
    """Threads that call what they like, in any order, while clients come and go."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.calls = 0
        self._until = time.monotonic() + STRESS_SECONDS

    def run(self, threads: int) -> int:
        """Runs so many threads to their end and returns how many calls they made."""
        with ThreadPoolExecutor(threads) as pool:
            return sum(future.result(30) for future in [pool.submit(self._call, n) for n in range(threads)])

    def _call(self, seed: int) -> int:
        choice = random.Random(seed)  # noqa: S311 - no secret
        calls = 0
        ids: list[str] = []
        while time.monotonic() < self._until:
            if calls % 50 == 0:
                ids = [*self.host.server.get_connections(), "nobody", f"{0:026x}"]
            self._one(choice, choice.choice(ids), choice.choice(TOPICS))
            calls += 1
        return calls

    def _one(self, choice: random.Random, conn_id: str, topic: str) -> None:
        server = self.host.server
        exact = "a" if "*" in topic or "?" in topic else topic
        calls: list[Callable[[], object]] = [
            lambda: server.subscribe_connection(conn_id, [topic, exact]),
            lambda: server.subscribe_connection(conn_id, [topic]),
            lambda: server.unsubscribe_connection(conn_id, [topic]),
            lambda: server.unsubscribe_connection(conn_id),
            lambda: server.send(conn_id, "text"),
            lambda: server.send_bytes(conn_id, b"bytes"),
            lambda: server.broadcast(exact, '{"t":"x"}'),
            lambda: server.broadcast_local(exact, "local"),
            lambda: server.broadcast_many(exact, ["one", "two"]),
            lambda: server.broadcast_all("all"),
            lambda: server.broadcast_all_bytes(b"all"),
            lambda: server.disconnect(conn_id if choice.random() < 0.1 else "nobody", 4002, "bad luck"),
            lambda: server.get_connection_info(conn_id),
            lambda: server.get_topic_subscriber_count(topic),
            lambda: (server.get_connection_count(), server.port, repr(server)),
            lambda: server.drain_inbound(8, 0),
            lambda: (server.inbound_queue_depth(), server.inbound_dropped_count(), server.health_snapshot()),
            lambda: server.add_static(f"/{exact}.txt", "text/plain", conn_id),
        ]
        choice.choice(calls)()


def stress(host: Host, threads: int) -> int:
    return Stress(host).run(threads)


def counts(host: Host) -> tuple[int, dict[str, int], dict[str, int], int]:
    """What the server says of itself, and what its connections say one by one."""
    server = host.server
    told = {topic: server.get_topic_subscriber_count(topic) for topic in TOPICS}
    real = dict.fromkeys(TOPICS, 0)
    ids = server.get_connections()
    for conn_id in ids:
        info = server.get_connection_info(conn_id)
        assert info is not None
        for topic in info["topics"]:
            real[topic] += 1
    assert len(ids) == server.get_connection_count() == server.health_snapshot()["connections"]
    return len(ids), told, real, server.health_snapshot()["topics"]


@contextmanager
def standing(port: int, count: int) -> Iterator[list[Client]]:
    """Clients that stay and read in a thread of their own until they are sent away."""
    with ExitStack() as together:
        clients = [together.enter_context(Client(port, f"standing{n}")) for n in range(count)]
        over = threading.Event()

        def read() -> None:
            pause = threading.Event()
            while not over.is_set():
                for client in clients:
                    try:
                        client.take(0.001)
                    except TimeoutError:
                        continue
                pause.wait(0.001)

        reading = threading.Thread(target=read, name="read", daemon=True)
        reading.start()
        try:
            yield clients
        finally:
            over.set()
            reading.join(PATIENCE)
            assert not reading.is_alive()


def test_every_method_from_many_threads_at_once() -> None:
    with ServerProcess() as node:
        with standing(node.port, 30), Churn(node.port, 20, says=[b"hello", b'{"t":"x"}']):
            calls = node.begin(stress, 8).result(STRESS_SECONDS + 30)
            assert calls > 2000
        # Those who come and go are gone; nobody calls any more; now everything has to add up.
        wait_until(lambda: node.call("get_connection_count") <= 30, "the clients that went are still counted")
        wait_until(lambda: settled(node), "the counts do not agree")
        assert_all_gone(node)


def settled(node: ServerProcess) -> bool:
    """Whether the counts of topics are those of the connections."""
    try:
        _, told, real, _ = node.do(counts)
    except AssertionError:
        return False
    return told == real


def assert_all_gone(node: ServerProcess) -> None:
    wait_until(lambda: node.do(counts)[0] == 0, "connections are left")
    connections, told, real, topics = node.do(counts)
    assert (connections, topics) == (0, 0)
    assert told == real == dict.fromkeys(TOPICS, 0)
    # It is as good as new.
    with Client(node.port, "new") as client:
        node.subscribe({"new": ["a"]})
        node.call("broadcast", "a", "hello")
        assert client.frames(1) == [Frame(1, b"hello")]
        client.send((1000).to_bytes(2), CLOSE)
        wait_until(lambda: node.do(health)["connections"] == 0, "it is still counted")
