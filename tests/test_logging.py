"""What the engine says to Python's logging and how often; loggers that misbehave; the end of a program."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise

import pytest
from typing_extensions import override

from loglines import LOGGER, LogLines
from support import HOST, Running, wait_until
from wire import TEXT, Wire, ask, client_frame
from wse_server import RustWSEServer, rust_jwt_decode

Factory = Callable[..., Running]
SECRET = "a secret that has more than thirty-two bytes"


def fields(line: str) -> dict[str, str]:
    """The `name=value` pairs of a line."""
    return dict(re.findall(r"(\w+)=(\S+)", line))


def test_the_start_tells_the_limits_and_their_sum(server_factory: Factory) -> None:
    with LogLines() as log:
        running = server_factory(
            jwt_secret=SECRET,
            shards=2,
            max_connections=77,
            max_outbound_queue_bytes=1_000_000,
            max_outbound_total_bytes=20_000_000,
            max_inbound_queue_bytes=3_000_000,
        )
        (record,) = log.wait("listening")
    assert record.levelno == logging.INFO
    told = fields(record.getMessage())
    assert told == {
        "address": f"{HOST}:{running.port}",
        "shards": "2",
        "max_connections": "77",
        "max_outbound_queue_bytes": "1000000",
        "max_outbound_total_bytes": "20000000",
        "max_inbound_queue_bytes": "3000000",
        "recovery_memory_budget": "0",
        "queues_hold_at_most_bytes": "23000000",
    }


def test_a_server_that_admits_everybody_says_so(server_factory: Factory) -> None:
    with LogLines() as log:
        server_factory()
        (warning,) = log.wait("every client is admitted")
        assert warning.levelno == logging.WARNING
        server_factory(jwt_secret=SECRET)
        log.wait("listening", count=2)
        assert len(log.wait("every client is admitted")) == 1


def test_the_stop_is_told_once(server_factory: Factory) -> None:
    with LogLines() as log:
        running = server_factory(jwt_secret=SECRET)
        address = f"{HOST}:{running.port}"
        running.server.stop()
        running.server.stop()
        running.server.start()
        log.wait("listening", count=2)
        # Those of another test's server may come as late as this.
        own = f"stopped address={address}"
        assert [record.levelname for record in log.wait(own)] == ["INFO"]


def test_levels_are_those_of_python(server_factory: Factory) -> None:
    with LogLines() as log:
        LOGGER.setLevel(logging.WARNING)
        server_factory(jwt_secret=SECRET).server.stop()
        server_factory()
        log.wait("every client is admitted")
        assert [record.levelname for record in log.records] == ["WARNING"]


def test_lines_have_no_line_breaks_whatever_clients_send(running: Running) -> None:
    with LogLines() as log:
        for data in (b"GET /\n\nERROR forged line HTTP/1.1\r\n\r\n", b"\nERROR forged\r\n\r\n"):
            ask(running.port, data)
        with Wire(running.port, headers={"Cookie": "x=\tERROR forged"}) as wire:
            wire.send_raw(client_frame(TEXT, b"\xff\nERROR forged"))
            wire.close_frame()
        running.server.stop()
        log.wait("stopped")
        assert "forged" not in log.text
        assert not any("\n" in line for line in log.lines)


# ---- What clients can provoke ----


def test_what_a_client_can_provoke_comes_once_in_five_seconds_and_the_rest_is_counted(
    server_factory: Factory,
) -> None:
    running = server_factory(jwt_secret=SECRET)
    refusal = "a token was refused"
    provoked = 0
    with LogLines() as log:

        def provoke() -> bool:
            nonlocal provoked
            with Wire(running.port, headers={"Authorization": "Bearer junk"}) as wire:
                assert wire.close_frame()[0] == 4401
            provoked += 1
            return sum(refusal in line for line in log.lines) >= 2

        wait_until(provoke, "two lines")
        running.server.stop()
        log.wait("stopped")
        lines = log.wait(refusal)
    assert provoked > 20
    times = [record.created for record in lines]
    assert all(later - earlier > 4.9 for earlier, later in pairwise(times))
    left_out = sum(int(fields(record.getMessage()).get("left_out", "0")) for record in lines[1:])
    # Whatever came between the first line and the last was counted, and nothing twice.
    assert 0 < left_out <= provoked - len(lines)


def test_a_storm_of_bad_clients_is_a_handful_of_lines(running: Running) -> None:
    started = time.monotonic()
    with LogLines() as log:
        for _ in range(150):
            ask(running.port, b"nonsense\r\n\r\n")
            with Wire(running.port) as wire:
                wire.send_raw(client_frame(TEXT, b"x", masked=False))
                wire.close_frame()
            with Wire(running.port) as wire:
                wire.send_raw(client_frame(TEXT, b"\xff"))
        running.server.stop()
        log.wait("stopped")
        kinds = 5
        assert len(log.lines) <= kinds * (time.monotonic() - started + 2)


# ---- Loggers that misbehave ----


class Blocking(logging.Handler):
    """Holds whoever logs until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.let_go = threading.Event()

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self.entered.set()
        self.let_go.wait(60)


def test_a_logger_that_blocks_does_not_block_the_server(server_factory: Factory) -> None:
    handler = Blocking()
    with LogLines() as log:
        LOGGER.addHandler(handler)
        try:
            running = server_factory(jwt_secret=SECRET, ping_interval=0.1, idle_timeout=30)
            assert handler.entered.wait(10)
            token = running.server.mint_token({"sub": "user-1", "exp": int(time.time()) + 60})
            peer = running.dial(token=token)
            assert peer.receive_json()["t"] == "server_ready"
            # More lines than may wait for Python, all of them while nobody takes any.
            for _ in range(5000):
                assert rust_jwt_decode("a.b.c", SECRET) is None
            peer.send("are you there?")
            running.events.wait("raw")
            running.server.send(peer.conn_id, "I am")
            assert peer.receive() == "I am"
            running.server.stop()
            assert not running.server.is_running()
            running.server.start()
            running.server.stop()
        finally:
            handler.let_go.set()
            LOGGER.removeHandler(handler)
        lost = log.wait("log lines were lost")
        assert lost[0].levelno == logging.WARNING
        count = int(lost[0].getMessage().split()[0])
        waited = sum("rust_jwt_decode" in line for line in log.lines)
        assert 0 < count <= 5000
        assert count + waited <= 5000 + 10


def test_a_logger_that_raises_is_reported_and_the_next_line_still_comes(
    server_factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Raising(logging.Handler):
        @override
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("the disk is full")

    complaints: list[BaseException | None] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: complaints.append(told.exc_value))
    handler = Raising()
    LOGGER.addHandler(handler)
    try:
        running = server_factory()
        wait_until(lambda: complaints, "the complaint")
    finally:
        LOGGER.removeHandler(handler)
    assert all(isinstance(complaint, OSError) for complaint in complaints)
    with LogLines() as log:
        running.server.stop()
        log.wait("stopped")


# ---- The end of a program ----

PREAMBLE = """
import json, logging, socket, sys, threading, time
from wse_server import RustWSEServer, rust_jwt_decode
server = RustWSEServer("127.0.0.1", 0)
def connect():
    sock = socket.create_connection(("127.0.0.1", server.port))
    sock.sendall(b"GET /wse HTTP/1.1\\r\\nHost: x\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
                 b"Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n")
    assert sock.recv(12) == b"HTTP/1.1 101"
    return sock
def background(work):
    threading.Thread(target=work, daemon=True).start()
"""

ENDINGS = {
    "never started": "",
    "started": "server.start()",
    "stopped": "server.start(); server.stop()",
    "with clients": "server.start(); clients = [connect() for _ in range(20)]",
    "while a thread drains": """
server.enable_drain_mode()
server.start()
inside = threading.Event()
def drain():
    while True:
        inside.set()
        server.drain_inbound(256, 10_000)
background(drain)
inside.wait()
clients = [connect() for _ in range(20)]
""",
    "while a thread publishes": """
server.enable_drain_mode()
server.start()
client = connect()
(_, conn_id, _), = server.drain_inbound(1, 10_000)
server.subscribe_connection(conn_id, ["t"])
moving = threading.Event()
def publish():
    while True:
        server.broadcast("t", "x" * 1000)
        moving.set()
background(publish)
moving.wait()
""",
    "with callbacks": """
heard = threading.Event()
server.set_callbacks(lambda conn_id, data: heard.set(), print, lambda conn_id: time.sleep(0.01))
server.start()
clients = [connect() for _ in range(20)]
heard.wait()
""",
    "while a callback runs": """
heard = threading.Event()
def on_connect(conn_id, data):
    heard.set()
    threading.Event().wait(60)
server.set_callbacks(on_connect, print, print)
server.start()
client = connect()
heard.wait()
""",
    "while it logs": """
logging.basicConfig(level=logging.DEBUG, filename="/dev/null")
server.start()
def log():
    while True:
        rust_jwt_decode("a.b.c", "x" * 32)
background(log)
for _ in range(100):
    rust_jwt_decode("a.b.c", "x" * 32)
""",
    "by sys.exit in a thread's presence": """
server.enable_drain_mode()
server.start()
background(lambda: server.drain_inbound(1, 60_000))
sys.exit(0)
""",
    "with several servers": """
servers = [RustWSEServer("127.0.0.1", 0) for _ in range(5)]
for each in servers:
    each.start()
""",
    "with a server that nothing refers to": """
server.start()
client = connect()
del server
""",
}


def python(program: str, timeout: float = 20) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PREAMBLE + program],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.mark.parametrize("program", ENDINGS.values(), ids=ENDINGS)
def test_a_program_may_end_while_its_server_runs(program: str) -> None:
    for _ in range(2):
        done = python(program)
        assert done.returncode == 0, done.stderr
        assert not re.search(r"Traceback|Fatal|panick|Exception ignored", done.stderr), done.stderr


def test_a_program_keeps_its_own_exit_status() -> None:
    assert python("server.start(); sys.exit(3)").returncode == 3
    failed = python("server.start(); raise ValueError('mine')")
    assert failed.returncode == 1
    # A line of the log may come in between: another thread writes it.
    assert "ValueError: " in failed.stderr
    assert "mine" in failed.stderr


def test_a_program_ends_though_its_logger_hangs() -> None:
    # A filter and not a handler: that one would hold its own lock, for which `logging.shutdown` waits.
    done = python(
        """
entered = threading.Event()
def hang(record):
    entered.set()
    threading.Event().wait(60)
logging.getLogger("wse_server").addFilter(hang)
server.start()
entered.wait()
"""
    )
    assert done.returncode == 0, done.stderr


def test_the_last_lines_of_a_program_are_not_lost() -> None:
    done = python(
        """
logging.basicConfig(level=logging.DEBUG, format="%(name)s %(levelname)s %(message)s", stream=sys.stdout)
server.start()
for _ in range(200):
    rust_jwt_decode("a.b.c", "x" * 32)
server.stop()
"""
    )
    lines = done.stdout.splitlines()
    assert sum("rust_jwt_decode" in line for line in lines) == 200
    assert lines[-1].startswith("wse_server INFO stopped address=127.0.0.1:")


def test_a_process_without_descriptors_still_logs() -> None:
    # Nothing has to be opened, and so nothing imported, when the first line comes.
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            """
import os, resource
from wse_server import RustWSEServer, rust_jwt_decode
server = RustWSEServer("127.0.0.1", 0)
resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))
try:
    while True:
        os.dup(0)
except OSError:
    pass
rust_jwt_decode("a.b.c", "x" * 32)
""",
        ],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_server_that_nothing_refers_to_closes_its_port() -> None:
    server = RustWSEServer(HOST, 0)
    server.start()
    port = server.port
    with Wire(port) as wire:
        del server
        assert wire.close_frame()[0] == 1012
    with pytest.raises(ConnectionRefusedError):
        Wire(port)
