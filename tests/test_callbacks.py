"""Callbacks: off the I/O threads, in order per connection, and whatever they do harms nobody."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from server_process import Host, ServerProcess
from sockets import PING, PONG, TEXT, Client, Frame, client_frame
from support import HOST, PATIENCE, free_port, wait_until
from wse_server import CloseCode, RustWSEServer

Heard = tuple[str, Any]


class Application:
    """A program with callbacks, which keeps what they were called with."""

    def __init__(self, **options: Any) -> None:
        self.server = RustWSEServer(HOST, free_port(), **options)
        self.heard: dict[str, list[Heard]] = defaultdict(list)
        self.threads: set[int] = set()
        self.on_connect: Callable[[str], object] = lambda _: None
        self.on_message: Callable[[str, Any], object] = lambda _conn_id, _data: None
        self.on_disconnect: Callable[[str], object] = lambda _: None
        self.server.set_callbacks(self._connected, self._said, self._gone)

    def _connected(self, conn_id: str, who: str) -> None:
        self.threads.add(threading.get_ident())
        self.heard[conn_id].append(("connect", who))
        self.on_connect(conn_id)

    def _said(self, conn_id: str, data: Any) -> None:  # noqa: ANN401 - dict, str or bytes
        self.heard[conn_id].append(("message", data))
        self.on_message(conn_id, data)

    def _gone(self, conn_id: str) -> None:
        self.heard[conn_id].append(("disconnect", None))
        self.on_disconnect(conn_id)

    def of(self, name: str) -> list[Heard]:
        """What was heard of the client with this name."""
        return next(
            (heard for heard in self.heard.copy().values() if heard[0] == ("connect", f"name={name}")), []
        )

    def id_of(self, name: str) -> str:
        """The connection id of the client with this name."""
        return wait_until(
            lambda: next(
                (key for key, h in self.heard.copy().items() if h[0] == ("connect", f"name={name}")), ""
            ),
            f"{name} has not connected",
        )


@pytest.fixture
def application() -> Iterator[Callable[..., Application]]:
    with ExitStack() as running:

        def start(**options: Any) -> Application:
            program = Application(**options)
            running.callback(program.server.stop)
            return program

        yield start


Start = Callable[..., Application]


def test_callbacks_hear_what_each_connection_says_in_order(application: Start) -> None:
    program = application()
    program.server.start()
    count = 2000
    with ExitStack() as together:
        names = [f"c{n}" for n in range(8)]
        clients = [together.enter_context(Client(program.server.port, name)) for name in names]
        floods = [b"".join(client_frame(b'{"n":%d}' % n) for n in range(count)) for _ in clients]
        with ThreadPoolExecutor(len(clients)) as pool:
            for sent in [pool.submit(c.send_raw, flood) for c, flood in zip(clients, floods, strict=True)]:
                sent.result(PATIENCE)
        for client in clients:
            client.send("text")
            client.send(b"bytes", 2)
    wait_until(
        lambda: all(program.of(name)[-1:] == [("disconnect", None)] for name in names), "not all disconnects"
    )
    for name in names:
        messages: list[Heard] = [("message", {"n": n}) for n in range(count)]
        assert program.of(name) == [
            ("connect", f"name={name}"),
            *messages,
            ("message", "text"),
            ("message", b"bytes"),
            ("disconnect", None),
        ]
    assert threading.get_ident() not in program.threads


def test_an_exception_is_logged_and_harms_nobody(
    application: Start, caplog: pytest.LogCaptureFixture
) -> None:
    program = application()

    def fail(*_: object) -> None:
        raise LookupError("a mistake of the application")

    program.on_connect = program.on_message = program.on_disconnect = fail
    program.server.start()
    with caplog.at_level(logging.ERROR, "wse_server"):
        with Client(program.server.port, "first") as first, Client(program.server.port, "second") as second:
            for client in (first, second):
                client.send("one")
                client.send("two")
        wait_until(
            lambda: program.of("first")[-1:] == program.of("second")[-1:] == [("disconnect", None)],
            "not heard",
        )
        for name in ("first", "second"):
            assert program.of(name)[1:] == [("message", "one"), ("message", "two"), ("disconnect", None)]
        program.server.stop()
    records = [r for r in caplog.records if r.exc_info is not None and r.exc_info[0] is LookupError]
    assert len(records) == 8
    assert {record.name for record in records} == {"wse_server"}


def test_stop_delivers_all_disconnects_before_it_returns(application: Start) -> None:
    program = application()
    pause = threading.Event()
    program.on_disconnect = lambda _: pause.wait(0.01)  # As a program that writes something down.
    program.server.start()
    with ExitStack() as together:
        for n in range(30):
            together.enter_context(Client(program.server.port, f"c{n}")).send("last words")
        wait_until(lambda: sum(len(heard) for heard in program.heard.copy().values()) == 60, "not all heard")
        program.server.stop()
        assert [heard[-1] for heard in program.heard.values()] == [("disconnect", None)] * 30
        assert program.server.get_connection_count() == 0


def test_a_callback_may_call_any_method(application: Start) -> None:
    program = application()
    server = program.server
    answers: dict[str, Any] = {}

    def greet(conn_id: str) -> None:
        answers["subscribe"] = server.subscribe_connection(conn_id, ["t", "p*"])
        server.send(conn_id, "send")
        server.send_bytes(conn_id, b"send_bytes")
        server.broadcast("t", "broadcast")
        server.broadcast_local("pattern", "broadcast_local")
        server.broadcast_many("t", ["broadcast_many"])
        server.broadcast_all("broadcast_all")
        server.broadcast_all_bytes(b"broadcast_all_bytes")
        answers["info"] = server.get_connection_info(conn_id)
        answers["connections"] = server.get_connections()
        answers["counts"] = (server.get_connection_count(), server.get_topic_subscriber_count("t"))
        answers["state"] = (server.is_running(), server.inbound_dropped_count(), server.health_snapshot())
        server.add_static("/page", "text/plain", "page")
        server.unsubscribe_connection(conn_id, ["t"])
        answers["refused"] = [refusal(server.start), refusal(server.enable_drain_mode), refusal(again)]

    def again() -> None:
        server.set_callbacks(print, print, print)

    program.on_connect = greet
    program.on_message = lambda conn_id, data: server.disconnect(conn_id, 4000, data)
    server.start()
    with Client(server.port, "client") as client:
        frames = client.frames(7)
        assert [frame.payload.decode() for frame in frames] == [
            *("send", "send_bytes", "broadcast", "broadcast_local", "broadcast_many"),
            *("broadcast_all", "broadcast_all_bytes"),
        ]
        client.send("so long")
        client.frames_to_the_end()
        assert client.ended == 4000
    assert answers["subscribe"]["subscribed"] == ["t", "p*"]
    assert answers["info"]["topics"] == ["p*", "t"]
    assert answers["connections"] == [program.id_of("client")]
    assert answers["counts"] == (1, 1)
    assert answers["refused"] == ["RuntimeError"] * 3


def refusal(call: Callable[[], object]) -> str:
    """The name of the exception that a call raises."""
    try:
        call()
    except RuntimeError as error:
        return type(error).__name__
    return "none"


def test_a_callback_may_stop_the_server_and_a_later_start_is_fresh(application: Start) -> None:
    program = application()
    stopped = threading.Event()

    def stop(_conn_id: str, _data: object) -> None:
        program.server.stop()
        stopped.set()

    program.on_message = stop
    program.server.start()
    with Client(program.server.port, "first") as first, Client(program.server.port, "second") as second:
        program.id_of("second")
        first.send("stop")
        assert stopped.wait(PATIENCE)
        assert not program.server.is_running()
        for client in (first, second):
            client.frames_to_the_end()
            assert client.ended == CloseCode.SERVICE_RESTART
        wait_until(
            lambda: program.of("first")[-1:] == program.of("second")[-1:] == [("disconnect", None)],
            "not told",
        )
    program.on_message = lambda conn_id, _: program.server.send(conn_id, "hello")
    program.server.start()
    with Client(program.server.port, "third") as third:
        third.send("hello")
        assert third.frames(1) == [Frame(TEXT, b"hello")]


def test_stop_from_a_callback_and_from_another_thread_at_once(application: Start) -> None:
    for _ in range(10):
        program = application()
        stopping, both = threading.Event(), threading.Barrier(2)

        def stop(
            _conn_id: str,
            _data: object,
            program: Application = program,
            both: threading.Barrier = both,
            stopping: threading.Event = stopping,
        ) -> None:
            both.wait(PATIENCE)
            program.server.stop()
            stopping.set()

        program.on_message = stop
        program.server.start()
        with Client(program.server.port, "client") as client, ThreadPoolExecutor(1) as pool:
            client.send("stop")
            both.wait(PATIENCE)
            closing = pool.submit(client.frames_to_the_end)
            program.server.stop()
            assert stopping.wait(PATIENCE)
            closing.result(PATIENCE)
        wait_until(lambda p=program: p.of("client")[-1] == ("disconnect", None), "not told")  # type: ignore[misc]


IDLE_TIMEOUT = 1.5


def test_a_callback_that_blocks_for_several_idle_timeouts_drops_no_client(application: Start) -> None:
    program = application(ping_interval=IDLE_TIMEOUT / 4, idle_timeout=IDLE_TIMEOUT)
    release = threading.Event()
    program.on_message = lambda _conn_id, _data: release.wait(30)
    program.server.start()
    with ExitStack() as together:
        together.callback(release.set)
        clients = [together.enter_context(Client(program.server.port, f"c{n}")) for n in range(10)]
        for client in clients:
            program.server.subscribe_connection(program.id_of(client.name), ["t"])
        clients[0].send("block")
        wait_until(lambda: len(program.of("c0")) == 2, "not blocked")
        blocked_until = time.monotonic() + 3 * IDLE_TIMEOUT
        round_ = 0
        while time.monotonic() < blocked_until:
            round_ += 1
            # From another thread of the program the server works as ever.
            program.server.broadcast("t", f"round {round_}")
            for client in clients:
                client.send("?", PING)
                frames = client.frames(2)
                assert sorted(frames) == [(TEXT, f"round {round_}".encode()), (PONG, b"?")]
        assert program.server.get_connection_count() == 10
        assert min(client.pings for client in clients) > 0
        for client in clients:
            client.send("later")
        release.set()
        for client in clients:
            wait_until(lambda name=client.name: program.of(name)[-1:] == [("message", "later")], "not heard")  # type: ignore[misc]


def test_what_waits_for_a_blocked_callback_is_bounded_and_nothing_is_lost(application: Start) -> None:
    program = application(max_inbound_queue_size=500, rate_limit_capacity=1e9, rate_limit_refill=1e9)
    release = threading.Event()
    program.on_message = lambda _conn_id, _data: release.wait(30)
    program.server.start()
    count = 20_000
    with Client(program.server.port, "flooder") as flooder, ExitStack() as last:
        last.callback(release.set)
        flood = b"".join(client_frame(b"%06d" % n + b"." * 500) for n in range(count))
        sending = threading.Thread(target=flooder.send_raw, args=(flood, 30), daemon=True)
        sending.start()
        wait_until(lambda: program.server.inbound_queue_depth() > 100, "nothing waits")
        pause = threading.Event()
        for _ in range(20):
            assert program.server.inbound_queue_depth() <= 500
            pause.wait(0.01)
        assert sending.is_alive(), "the flooder was not held back"
        release.set()
        wait_until(lambda: len(program.of("flooder")) == count + 1, "not all heard", timeout=30)
        sending.join(PATIENCE)
    heard = [data[:6] for kind, data in program.of("flooder") if kind == "message"]
    assert heard == [f"{n:06}" for n in range(count)]
    assert program.server.inbound_dropped_count() == 0


def test_callbacks_and_drain_mode_exclude_each_other() -> None:
    server = RustWSEServer(HOST, 0)
    server.set_callbacks(print, print, print)
    with pytest.raises(RuntimeError, match="callbacks are set"):
        server.enable_drain_mode()
    with pytest.raises(RuntimeError, match="enable_drain_mode"):
        server.drain_inbound(1, 0)
    other = RustWSEServer(HOST, 0)
    other.enable_drain_mode()
    with pytest.raises(RuntimeError, match="drain mode is on"):
        other.set_callbacks(print, print, print)


def test_a_callback_that_cannot_be_called_is_refused_by_name() -> None:
    server = RustWSEServer(HOST, 0)
    with pytest.raises(TypeError, match="on_message must be callable, not int"):
        server.set_callbacks(print, 3, print)  # type: ignore[arg-type]


def test_events_are_not_kept_when_nobody_is_to_hear_them() -> None:
    with ServerProcess() as node:
        port = node.begin(start_deaf).result(PATIENCE)
        with Client(port) as client:
            client.send_raw(client_frame(b"x" * 1000) * 1000)
            client.send("done?", PING)
            assert client.frames(1) == [Frame(PONG, b"done?")]
            assert node.do(depth_of_deaf) == (0, 0, 1)


DEAF: list[RustWSEServer] = []
"""Of the process with the server: one without drain mode and callbacks."""


def start_deaf(_: Host) -> int:
    DEAF.append(RustWSEServer(HOST, 0))
    DEAF[0].start()
    return DEAF[0].port


def depth_of_deaf(_: Host) -> tuple[int, int, int]:
    server = DEAF[0]
    return server.inbound_queue_depth(), server.inbound_dropped_count(), server.get_connection_count()
