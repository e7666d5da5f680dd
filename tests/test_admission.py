"""Who gets in: the limit of connections, paths, origins, and a process that has no file descriptors left."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from support import HOST, PATIENCE, Running, wait_until
from wire import CLOSE, PING, PONG, Frame, Wire, ask, close_payload, request
from wse_server import RustWSEServer

Factory = Callable[..., Running]
Headers = dict[str, str | None]


def status(running: Running, headers: Headers | None = None, *more: str, path: str = "/wse") -> int:
    """The status that an upgrade is answered with; one that is accepted is closed again."""
    with socket.create_connection((HOST, running.port), timeout=PATIENCE) as sock:
        sock.sendall(request("GET", path, headers, *more))
        line = sock.makefile("rb").readline()
        return int(line.split()[1])


# ---- The limit of connections ----


def test_beyond_max_connections_the_upgrade_is_answered_with_503(server_factory: Factory) -> None:
    running = server_factory(max_connections=3)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(Wire(running.port))
        answer = ask(running.port, request())
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.body
        running.events.wait("connect", count=3)
        assert running.server.get_connection_count() == 3
        # Whoever looks after the server still gets through.
        assert (
            ask(running.port, request("GET", "/health", {"Upgrade": None, "Sec-WebSocket-Key": None})).status
            == 200
        )
    assert len(running.events.of("connect")) == 3
    assert running.server.health_snapshot()["connections_rejected"] == 1


@pytest.mark.parametrize("how", ["client closes", "client is gone", "server closes"])
def test_a_place_becomes_free_again(server_factory: Factory, how: str) -> None:
    running = server_factory(max_connections=1)
    for turn in range(1, 6):
        with Wire(running.port) as wire:
            conn_id = running.events.wait("connect", count=turn)[-1][1]
            assert ask(running.port, request()).status == 503
            match how:
                case "client closes":
                    wire.send(CLOSE, close_payload(1000))
                    assert wire.close_frame()[0] == 1000
                case "server closes":
                    running.server.disconnect(conn_id)
                    # The client need not have answered for its place to be free.
                    assert wire.close_frame()[0] == 1000
                    assert status(running) == 101
                    running.events.wait("connect", count=turn + 1)
                    return
        running.events.wait("disconnect", count=turn)
    assert running.server.get_connection_count() == 0


def test_those_inside_notice_nothing_of_those_outside(server_factory: Factory) -> None:
    running = server_factory(max_connections=2)
    inside = [running.subscriber("room") for _ in range(2)]
    for _ in range(200):
        assert ask(running.port, request()).status == 503
    running.server.broadcast("room", "still here")
    assert [peer.receive() for peer in inside] == ["still here"] * 2


def test_an_upgrade_that_was_refused_takes_no_place(server_factory: Factory) -> None:
    running = server_factory(max_connections=1, path="/wse", allowed_origins=["https://a.example"])
    for _ in range(5):
        assert status(running, path="/other") == 404
        assert status(running, {"Origin": "https://b.example"}) == 403
        assert status(running, {"Sec-WebSocket-Key": "x"}) == 400
        assert status(running, {"Sec-WebSocket-Version": "8"}) == 426
    with Wire(running.port):
        assert status(running) == 503


def test_places_come_and_go_under_a_crowd(server_factory: Factory) -> None:
    running = server_factory(max_connections=10)
    for _ in range(10):
        wires = [Wire(running.port) for _ in range(10)]
        assert status(running) == 503
        for wire in wires:
            wire.close()
        wait_until(lambda: running.server.get_connection_count() == 0, "an empty server")
    assert len(running.events.of("connect")) == 100


# ---- Paths ----


def test_without_a_path_every_path_upgrades(running: Running) -> None:
    for path in ("/wse", "/", "/deep/er?x=1", "/health-not"):
        assert status(running, path=path) == 101


def test_with_a_path_only_this_one_upgrades(server_factory: Factory) -> None:
    running = server_factory(path="/live")
    assert status(running, path="/live") == 101
    assert status(running, path="/live?format=json") == 101
    for path in ("/wse", "/", "/live/", "/live/x", "/Live", "/%6cive"):
        assert status(running, path=path) == 404


# ---- Origins ----

LISTED = ["https://App.Example.com/", "http://localhost:3000", "https://other.example:8443"]

WELCOME = [
    "https://app.example.com",
    "https://app.example.com:443",
    "HTTPS://APP.EXAMPLE.COM",
    "http://localhost:3000",
    "https://other.example:8443",
]
NOT_WELCOME = [
    "https://evil.example",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://app.example.com.evil.example",
    "https://evil.example/https://app.example.com",
    "https://sub.app.example.com",
    "http://localhost",
    "http://localhost:30000",
    "https://other.example",
    "null",
    "",
]


def assert_lists(running: Running) -> None:
    for origin in WELCOME:
        assert status(running, {"Origin": origin}) == 101, origin
    for origin in NOT_WELCOME:
        assert status(running, {"Origin": origin}) == 403, origin
    assert status(running) == 101, "who sends no origin is no browser"
    assert status(running, {"Origin": WELCOME[0]}, f"Origin: {WELCOME[0]}") == 403, "two of them"
    running.events.wait("connect", count=len(WELCOME) + 1)
    assert len(running.events.of("connect")) == len(WELCOME) + 1


def test_the_option_lists_origins(server_factory: Factory) -> None:
    assert_lists(server_factory(allowed_origins=LISTED))


def test_the_variable_lists_origins(server_factory: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOWED_ORIGINS", " , ".join(LISTED) + ",")
    assert_lists(server_factory())


def test_the_option_wins_over_the_variable(server_factory: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOWED_ORIGINS", "https://variable.example")
    running = server_factory(allowed_origins=["https://option.example"])
    assert status(running, {"Origin": "https://option.example"}) == 101
    assert status(running, {"Origin": "https://variable.example"}) == 403
    # An empty list says "all", and says it louder than the variable.
    everybody = server_factory(allowed_origins=[])
    assert status(everybody, {"Origin": "https://variable.example"}) == 101
    assert status(everybody, {"Origin": "https://anybody.example"}) == 101


@pytest.mark.parametrize("variable", [None, "", " ", ",", "*"])
def test_without_a_list_every_page_may_connect(
    server_factory: Factory, monkeypatch: pytest.MonkeyPatch, variable: str | None
) -> None:
    if variable is None:
        monkeypatch.delenv("ALLOWED_ORIGINS", raising=False)
    else:
        monkeypatch.setenv("ALLOWED_ORIGINS", variable)
    running = server_factory()
    assert status(running, {"Origin": "https://anybody.example"}) == 101
    assert status(running, {"Origin": "null"}) == 101
    assert status(running, {"Origin": "https://a.example"}, "Origin: https://b.example") == 403


def test_null_passes_only_if_listed(server_factory: Factory) -> None:
    running = server_factory(allowed_origins=["null"])
    assert status(running, {"Origin": "null"}) == 101
    assert status(running, {"Origin": "https://a.example"}) == 403


def test_the_variable_is_read_at_every_start(
    server_factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = server_factory()
    assert status(running, {"Origin": "https://b.example"}) == 101
    running.server.stop()
    monkeypatch.setenv("ALLOWED_ORIGINS", "https://a.example")
    running.server.start()
    assert status(running, {"Origin": "https://a.example"}) == 101
    assert status(running, {"Origin": "https://b.example"}) == 403


@pytest.mark.parametrize(
    "variable", ["app.example.com", "https://a.example/path", "https://*.example.com", "https://"]
)
def test_a_malformed_variable_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv("ALLOWED_ORIGINS", variable)
    server = RustWSEServer(HOST, 0)
    with pytest.raises(ValueError, match="ALLOWED_ORIGINS") as caught:
        server.start()
    assert variable in str(caught.value)
    assert not server.is_running()
    monkeypatch.delenv("ALLOWED_ORIGINS")
    server.start()
    server.stop()


# ---- Without file descriptors ----


class Starved:
    """A server in a process that may open so many files."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.port = port
        self._process = process

    def health(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        snapshot: dict[str, Any] = json.loads(self._process.stdout.readline())
        return snapshot


@contextmanager
def starved(descriptors: int) -> Iterator[Starved]:
    program = Path(__file__).with_name("starved.py")
    with subprocess.Popen(
        [sys.executable, "-u", program, str(descriptors)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield Starved(process, int(process.stdout.readline()))
            _, errors = process.communicate(timeout=PATIENCE)
            assert (process.returncode, errors.count("Traceback")) == (0, 0), errors
        finally:
            process.kill()


def test_a_server_without_descriptors_recovers_by_itself() -> None:
    with starved(64) as server:
        inside = Wire(server.port)
        crowd = [socket.create_connection((HOST, server.port), timeout=PATIENCE) for _ in range(100)]
        for sock in crowd:
            sock.sendall(request())
        wait_until(lambda: server.health()["accept_pauses"] > 0, "a pause")
        # Those who are in notice nothing.
        inside.send(PING, b"?")
        assert inside.frame() == Frame(PONG, b"?")
        served = server.health()["connections"]
        assert 20 < served < 64
        # Whoever still waits is let in as soon as others have gone, without anybody knocking again.
        for sock in crowd[: len(crowd) // 2]:
            sock.close()
        for sock in crowd[len(crowd) // 2 :]:
            assert sock.recv(12) == b"HTTP/1.1 101"
        for sock in crowd:
            sock.close()
        inside.close()
        wait_until(lambda: server.health()["connections"] == 0, "everybody gone")
        with Wire(server.port) as late:
            late.send(PING, b"!")
            assert late.frame() == Frame(PONG, b"!")


def test_a_server_without_descriptors_does_not_spin() -> None:
    with starved(64) as server:
        crowd = [socket.create_connection((HOST, server.port), timeout=PATIENCE) for _ in range(100)]
        wait_until(lambda: server.health()["accept_pauses"] > 0, "a pause")
        before = server.health()
        wait_until(
            lambda: server.health()["accept_pauses"] >= before["accept_pauses"] + 3, "three more tries"
        )
        after = server.health()
        # It tries again now and then, not as often as it can.
        tries = after["accept_pauses"] - before["accept_pauses"]
        assert tries / (after["uptime_secs"] - before["uptime_secs"]) < 50
        for sock in crowd:
            sock.close()
