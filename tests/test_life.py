"""A server is started and stopped as often as one likes, and nothing of a life is left after it."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from server_process import Host, ServerProcess, health
from sockets import TEXT, Churn, Client
from support import HOST, PATIENCE, Running, accepts, free_port, wait_until
from wse_server import CloseCode, RustWSEServer

LIVES = 50
COMING = 100
"""Clients that come and go at a time, and connections that each life waits for."""


@pytest.fixture
def stopped() -> Iterator[RustWSEServer]:
    """A server in drain mode on a port of its own that has not been started."""
    server = RustWSEServer(HOST, free_port())
    server.enable_drain_mode()
    yield server
    server.stop()


def engine_threads() -> list[str]:
    """The names of the I/O threads of this process."""
    names = []
    for task in Path("/proc/self/task").iterdir():
        try:
            names.append((task / "comm").read_text().strip())
        except OSError:  # It ended while we looked.
            continue
    return sorted(name for name in names if name.startswith("wse-io"))


@dataclass
class Lives:
    """What was seen of the lives of one server."""

    ids: list[set[str]] = field(default_factory=list)
    """The connections of each life."""
    threads: list[list[str]] = field(default_factory=list)
    """I/O threads while it ran."""
    threads_left: list[list[str]] = field(default_factory=list)
    """I/O threads after each stop."""
    descriptors_left: list[int] = field(default_factory=list)
    """Open files after each stop."""
    dropped: int = 0


def live_often(host: Host) -> Lives:
    """Stops and starts the server while a thread drains it."""
    server, lives = host.server, Lives()
    known = 0
    for life in range(LIVES):
        if life:
            known = len(host.events)
            server.start()
        host.wait("connect", sum(map(len, lives.ids)) + COMING, PATIENCE)
        lives.threads.append(engine_threads())
        server.stop()
        assert not server.is_running()

        def all_told(known: int = known) -> bool:
            kinds = Counter(kind for kind, _, _ in host.events[known:])
            return server.inbound_queue_depth() == 0 and kinds["connect"] == kinds["disconnect"]

        wait_until(all_told, f"life {life} did not tell of all ends")
        check_lives_of_connections(host.events[known:])
        lives.ids.append({conn_id for kind, conn_id, _ in host.events[known:] if kind == "connect"})
        lives.threads_left.append(engine_threads())
        lives.descriptors_left.append(len(list(Path("/proc/self/fd").iterdir())))
    lives.dropped = server.inbound_dropped_count()
    return lives


def check_lives_of_connections(events: list[tuple[str, str, object]]) -> None:
    """Each connection connects, says two things, or none if it went before, and disconnects."""
    heard: dict[str, list[str]] = {}
    for kind, conn_id, _ in events:
        heard.setdefault(conn_id, []).append(kind)
    allowed = [["connect", *["raw"] * said, "disconnect"] for said in range(3)]
    for conn_id, kinds in heard.items():
        assert kinds in allowed, f"{conn_id}: {kinds}"


@pytest.mark.slow
def test_fifty_lives_while_a_thread_drains_and_a_hundred_clients_come_and_go() -> None:
    port = free_port()
    with ServerProcess(port=port) as node, Churn(port, COMING, says=[b"one", b"two"], stays=COMING // 2):
        lives = node.begin(live_often).result(80)
    assert [len(ids) >= COMING for ids in lives.ids] == [True] * LIVES
    assert sum(map(len, lives.ids)) == len(set().union(*lives.ids)), "an id came twice"
    assert lives.threads_left == [[]] * LIVES
    assert lives.threads == [lives.threads[0]] * LIVES
    assert lives.descriptors_left == [lives.descriptors_left[0]] * LIVES
    assert lives.dropped == 0


def start_and_stop_under_drains(host: Host, times: int) -> None:
    """Starts and stops while threads ask without waiting, so that a call lies in every moment of both."""
    over = threading.Event()

    def ask(what: Callable[[], object]) -> int:
        calls = 0
        while not over.is_set():
            what()
            calls += 1
        return calls

    server = host.server
    questions: list[Callable[[], object]] = [
        lambda: server.drain_inbound(256, 0),
        lambda: server.drain_inbound(256, 1),
        lambda: (server.port, server.is_running(), repr(server)),
        lambda: (server.inbound_queue_depth(), server.inbound_dropped_count(), server.health_snapshot()),
    ]
    with ThreadPoolExecutor(len(questions)) as pool:
        asking = [pool.submit(ask, question) for question in questions]
        try:
            for _ in range(times):
                server.stop()
                server.start()
        finally:
            over.set()
        assert all(future.result() > times for future in asking)


def test_nothing_hangs_when_threads_ask_while_the_server_starts_and_stops() -> None:
    with ServerProcess() as node:
        node.begin(start_and_stop_under_drains, 100).result(30)


def test_stop_wakes_a_thread_that_drains(stopped: RustWSEServer) -> None:
    stopped.start()
    inside = threading.Event()

    def drain() -> list[object]:
        inside.set()
        return list(stopped.drain_inbound(256, 60_000))

    with ThreadPoolExecutor(1) as pool:
        draining = pool.submit(drain)
        assert inside.wait(PATIENCE)
        stopped.stop()
        assert draining.result(PATIENCE) == []


def test_after_stop_the_disconnects_can_be_drained(stopped: RustWSEServer) -> None:
    stopped.start()
    clients = [Client(stopped.port) for _ in range(5)]
    with ThreadPoolExecutor(5) as pool:
        ended = [pool.submit(client.frames_to_the_end) for client in clients]
        wait_until(lambda: stopped.get_connection_count() == 5, "not all connected")
        stopped.stop()
        for client, end in zip(clients, ended, strict=True):
            end.result(PATIENCE)
            assert client.ended == CloseCode.SERVICE_RESTART
            client.close()
    events = []
    while batch := stopped.drain_inbound(3, 0):
        assert len(batch) <= 3
        events += batch
    assert [kind for kind, _, _ in events] == ["connect"] * 5 + ["disconnect"] * 5
    assert {conn_id for _, conn_id, _ in events[:5]} == {conn_id for _, conn_id, _ in events[5:]}
    assert stopped.inbound_dropped_count() == 0


def test_what_nobody_drained_is_counted_at_the_next_start(stopped: RustWSEServer) -> None:
    stopped.start()
    with Client(stopped.port) as client:
        client.send("one")
        wait_until(lambda: stopped.inbound_queue_depth() == 2, "the message did not come")
    stopped.stop()
    assert stopped.inbound_queue_depth() == 3
    stopped.start()
    assert (stopped.inbound_queue_depth(), stopped.inbound_dropped_count()) == (0, 3)


def test_a_thread_that_drains_a_stopped_server_hears_of_the_next_life(stopped: RustWSEServer) -> None:
    stopped.start()
    stopped.stop()
    inside, over = threading.Event(), threading.Event()

    def drain() -> list[object]:
        inside.set()
        events: list[object] = []
        while not events and not over.is_set():
            events += stopped.drain_inbound(256, 1.5 * PATIENCE * 1000)
        return events

    with ThreadPoolExecutor(1) as pool:
        draining = pool.submit(drain)
        assert inside.wait(PATIENCE)
        # Inside, and most likely waiting already: nothing tells from outside.
        wait_until(lambda: not stopped.is_running(), "it runs")
        time.sleep(0.05)
        stopped.start()
        with Client(stopped.port):
            try:
                assert len(draining.result(PATIENCE)) == 1
            finally:
                over.set()
                stopped.stop()


def test_stop_does_not_wait_long_for_a_client_that_does_not_answer(stopped: RustWSEServer) -> None:
    stopped.start()
    with Client(stopped.port):
        wait_until(lambda: stopped.get_connection_count() == 1, "not connected")
        started = time.monotonic()
        stopped.stop()
        assert time.monotonic() - started < 3
    assert not accepts(stopped.port)


def test_starting_twice_is_refused_and_harms_nothing(running: Running) -> None:
    with pytest.raises(RuntimeError, match="already running"):
        running.server.start()
    assert running.server.is_running()
    peer = running.subscriber("t")
    running.server.broadcast("t", "still here")
    assert peer.receive() == "still here"


def test_a_second_stop_does_nothing(stopped: RustWSEServer) -> None:
    stopped.stop()
    stopped.start()
    stopped.stop()
    stopped.stop()
    assert not stopped.is_running()


def start_and_stop_together(host: Host) -> list[bool]:
    """Has eight threads start the server at once, then stop it; returns which start succeeded."""
    server = host.server
    server.stop()
    together = threading.Barrier(8)

    def start() -> bool:
        together.wait(PATIENCE)
        try:
            server.start()
        except RuntimeError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        starts = [pool.submit(start) for _ in range(8)]
        outcomes = sorted(future.result(PATIENCE) for future in starts)
        assert server.is_running()
        for future in [pool.submit(server.stop) for _ in range(8)]:
            future.result(PATIENCE)
    assert not server.is_running()
    return outcomes


def test_one_of_many_starts_succeeds() -> None:
    with ServerProcess() as node:
        assert node.do(start_and_stop_together) == [False] * 7 + [True]
        assert not accepts(node.port)


def test_a_port_in_use_is_told_by_start(running: Running) -> None:
    second = RustWSEServer(HOST, running.port)
    second.enable_drain_mode()
    with pytest.raises(OSError, match=str(running.port)) as raised:
        second.start()
    assert raised.value.errno == errno.EADDRINUSE
    assert not second.is_running()
    second.stop()
    running.server.stop()
    # As soon as the port is free it can be had.
    second.start()
    assert accepts(running.port)
    second.stop()


def test_an_address_of_another_machine_is_told_by_start() -> None:
    server = RustWSEServer("192.0.2.1", 0)
    with pytest.raises(OSError, match=r"192\.0\.2\.1") as raised:
        server.start()
    assert raised.value.errno == errno.EADDRNOTAVAIL


def test_a_start_after_a_stop_is_fresh(running: Running) -> None:
    server = running.server
    old = running.subscriber("t")
    old.send("counted")
    running.events.wait("raw")
    server.stop()
    assert (server.get_connection_count(), server.get_connections()) == (0, [])
    assert server.get_connection_info(old.conn_id) is None
    assert server.get_topic_subscriber_count("t") == 0
    server.start()
    snapshot = server.health_snapshot()
    assert (snapshot["connections"], snapshot["connections_accepted"], snapshot["topics"]) == (0, 0, 0)
    assert (snapshot["messages_received"], snapshot["messages_sent"]) == (0, 0)
    new = running.subscriber("t")
    assert new.conn_id != old.conn_id
    # An id of the earlier life means nobody, also where slot and generation are the same.
    assert old.conn_id not in server.get_connections()
    server.send(old.conn_id, "nobody")
    server.disconnect(old.conn_id)
    assert server.subscribe_connection(old.conn_id, ["u"])["subscribed"] == []
    server.unsubscribe_connection(old.conn_id)
    server.broadcast("t", "somebody")
    assert new.receive() == "somebody"


def test_calls_on_a_server_that_does_not_run_do_nothing(stopped: RustWSEServer) -> None:
    for _ in range(2):
        stopped.send("nobody", "x")
        stopped.send_bytes("nobody", b"x")
        stopped.broadcast("t", "x")
        stopped.broadcast_local("t", "x")
        stopped.broadcast_all("x")
        stopped.broadcast_all_bytes(b"x")
        stopped.broadcast_many("t", ["x"])
        stopped.disconnect("nobody")
        stopped.unsubscribe_connection("nobody")
        assert stopped.subscribe_connection("nobody", ["t"])["subscribed"] == []
        assert stopped.get_connection_info("nobody") is None
        assert stopped.get_connections() == []
        assert stopped.drain_inbound(1, 0) == []
        stopped.start()
        stopped.stop()


def drop_without_stop(host: Host) -> list[str]:
    """Lets go of servers that run, with a client each, and returns the threads left of them."""
    host.server.stop()
    for _ in range(3):
        server = RustWSEServer(HOST, 0)
        server.enable_drain_mode()
        server.start()
        with Client(server.port):
            wait_until(lambda held=server: held.get_connection_count() == 1, "not connected")  # type: ignore[misc]
            port = server.port
            del server
            assert not accepts(port)
    return engine_threads()


def test_a_server_that_nobody_holds_is_gone() -> None:
    with ServerProcess() as node:
        assert node.begin(drop_without_stop).result(PATIENCE) == []


PROGRAM = """
import logging, signal, sys, threading
from wse_server import RustWSEServer
logging.basicConfig(level=logging.DEBUG)
server = RustWSEServer("127.0.0.1", 0)
connected = threading.Event()
"""

DRAIN_TO_THE_END = """
server.enable_drain_mode()
server.start()
print(server.port, flush=True)
while not server.drain_inbound(1, 1000):
    pass
"""

CALL_BACK_TO_THE_END = """
server.set_callbacks(lambda conn_id, cookies: connected.set(), print, print)
server.start()
print(server.port, flush=True)
assert connected.wait(10)
"""

DRAIN_UNTIL_INTERRUPTED = """
server.enable_drain_mode()
server.start()
try:
    print(server.port, flush=True)
    while True:
        server.drain_inbound(256, 60_000)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("ending", [DRAIN_TO_THE_END, CALL_BACK_TO_THE_END], ids=["drain", "callbacks"])
def test_a_program_may_end_without_stop(ending: str) -> None:
    with program(PROGRAM + ending) as running:
        assert running.stdout is not None
        with Client(int(running.stdout.readline())) as client:
            client.send("not waited for")
            output, _ = running.communicate(timeout=PATIENCE)
        assert running.returncode == 0, output


def test_an_interrupt_reaches_a_program_that_drains() -> None:
    with program(PROGRAM + DRAIN_UNTIL_INTERRUPTED) as running:
        assert running.stdout is not None
        with Client(int(running.stdout.readline())) as client:
            client.send("so that it drains", TEXT)
            running.send_signal(signal.SIGINT)
            output, _ = running.communicate(timeout=PATIENCE)
        assert (running.returncode, output) == (0, "interrupted\n")


def program(text: str) -> subprocess.Popen[str]:
    """Runs a program; what it logs goes to the test's own output."""
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(text)], stdout=subprocess.PIPE, text=True)


def test_health_of_a_stopped_server_is_zero() -> None:
    with ServerProcess() as node:
        with Client(node.port):
            node.wait("connect")
            assert node.do(health)["connections"] == 1
            node.call("stop")
        assert node.do(health)["connections"] == 0
