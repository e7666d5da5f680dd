"""`wse health`: what it says of a server, and what a probe exits with."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from support import HOST, PATIENCE, Running, wait_until
from wse_command import called, wse


def health(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Calls the command."""
    return called("health", *arguments, **variables)


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A port where every connection gets these bytes and is closed; none is answered if there are none."""
    with socket.create_server((HOST, 0)) as listener:
        stopped = threading.Event()
        kept: list[socket.socket] = []

        def serve() -> None:
            while True:
                connection, _ = listener.accept()
                if stopped.is_set():
                    connection.close()
                    return
                kept.append(connection)
                if answer:
                    connection.recv(65536)
                    connection.sendall(answer)
                    connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            stopped.set()
            socket.create_connection(listener.getsockname()).close()
            thread.join(PATIENCE)
            for connection in kept:
                connection.close()


def test_a_server_that_is_well_is_told_of_in_one_line(server_factory: Callable[..., Running]) -> None:
    running = server_factory(recovery_enabled=True)
    done = wse("health", f"{HOST}:{running.port}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(
        f"http://{HOST}:{running.port}: ready, 0 connections, 0 bytes to recover from, up "
    )
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("form", ["http://{}", "ws://{}/wse", "{}", "http://{}/health"])
def test_an_address_may_be_written_as_it_is_known(running: Running, form: str) -> None:
    assert health(form.format(f"{HOST}:{running.port}")).returncode == 0


def test_without_an_address_it_is_the_server_of_this_machine(running: Running) -> None:
    done = health("--json", WSE_PORT=str(running.port))
    assert done.returncode == 0
    assert json.loads(done.stdout)["url"] == f"http://{HOST}:{running.port}"


def test_json_has_the_figures_of_each_server(server_factory: Callable[..., Running]) -> None:
    ports = [server_factory().port, server_factory().port]
    done = health("--json", *(f"{HOST}:{port}" for port in ports))
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [report["url"] for report in told] == [f"http://{HOST}:{port}" for port in ports]
    for report in told:
        assert (report["status"], report["healthy"], report["ready"]) == ("ready", True, True)
        assert report["error"] is None
        assert report["health"]["connections"] == 0


def test_a_server_that_is_emptied_is_healthy_and_not_ready(running: Running) -> None:
    url = f"{HOST}:{running.port}"
    running.dial()
    wait_until(lambda: running.server.health_snapshot()["connections"] == 1, "a client is there")
    connected = health(url)
    running.server.drain()
    alive, ready = health(url), health("--ready", url)
    assert (alive.returncode, ready.returncode) == (0, 1)
    assert ": ready, 1 connection, up " in connected.stdout
    for done in alive, ready:
        assert ": draining, 0 connections, 0 still to leave, up " in done.stdout


def test_where_nothing_listens_it_is_unreachable(free_port: int) -> None:
    done = health(f"{HOST}:{free_port}")
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.splitlines()[0] == f"wse: error: http://{HOST}:{free_port}: connection refused"
    assert done.stderr.splitlines()[1].startswith("  hint: ")


def test_a_server_that_is_silent_is_given_up_in_time() -> None:
    with answering(b"") as port:
        done = health("--timeout", "0.2", f"{HOST}:{port}")
    assert done.returncode == 3
    assert f"http://{HOST}:{port}: no answer within 0.2 s" in done.stderr


def test_a_name_that_nobody_has_is_unreachable() -> None:
    done = health("http://nowhere.invalid:5007")
    assert done.returncode == 3
    assert "no such host: nowhere.invalid" in done.stderr


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "not a WSE server"),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", "not a WSE server"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000, "not a WSE server"),
        (b'HTTP/1.1 200 OK\r\n\r\n{"connections": "1", "uptime_secs": NaN}', "not a WSE server"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "/health answered 502"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP"),
    ],
)
def test_what_is_no_server_of_ours_is_unhealthy(answer: bytes, said: str) -> None:
    with answering(answer) as port:
        done = health(f"{HOST}:{port}")
    assert done.returncode == 1
    assert said in done.stderr


def test_the_worst_of_several_servers_decides(running: Running, free_port: int) -> None:
    done = health("--json", f"{HOST}:{running.port}", f"{HOST}:{free_port}")
    assert done.returncode == 3
    assert [json.loads(line)["status"] for line in done.stdout.splitlines()] == ["ready", "unreachable"]


def test_an_address_that_is_none_is_a_mistake_of_the_command_line() -> None:
    done = health("ftp://127.0.0.1")
    assert done.returncode == 2
    assert "ftp:// is not known" in done.stderr


def test_a_probe_imports_nothing_that_it_does_not_use(running: Running) -> None:
    program = (
        "import sys; from wse_server.cli.app import wse;"
        f"wse(['health', '{HOST}:{running.port}'], standalone_mode=False);"
        "unused = {'rich', 'wse_client', 'http.client', 'cryptography'};"
        "print(unused & sys.modules.keys(), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "set()\n")
