"""The demo as a person meets it in the terminal. What the page shows is tested in `test_demo_browser.py`."""

from __future__ import annotations

import json
import re
import shlex
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection

import support


def start_demo(port: int, *options: str) -> support.Program:
    """Starts the demo and waits until it has said where it is."""
    demo = support.Program("-m", "wse_server.demo", "--port", str(port), *options)
    demo.wait_for_line("Ctrl-C stops it.")
    return demo


def ticks(client: ClientConnection, count: int) -> list[dict[str, Any]]:
    messages = (json.loads(client.recv(support.PATIENCE)) for _ in range(50 * count))
    found: list[dict[str, Any]] = []
    while len(found) < count:
        message = next(messages)
        if message["t"] == "tick":
            found.append(message["p"])
    return found


def test_a_visitor_gets_consecutive_ticks(free_port: int) -> None:
    with start_demo(free_port, "--rate", "200"), support.dial(f"ws://127.0.0.1:{free_port}/wse") as client:
        numbers = [tick["n"] for tick in ticks(client, 50)]
        assert numbers == list(range(numbers[0], numbers[0] + 50))


def test_the_rate_can_be_changed_while_it_runs(free_port: int) -> None:
    with start_demo(free_port, "--rate", "20"), support.dial(f"ws://127.0.0.1:{free_port}/wse") as client:
        assert ticks(client, 1)[0]["rate"] == 20
        client.send(json.dumps({"t": "demo.rate", "p": {"per_second": 10**9}}))
        support.wait_until(lambda: ticks(client, 1)[0]["rate"] == 2000, "the rate is not at its limit")


def test_the_page_is_served(free_port: int) -> None:
    with (
        start_demo(free_port),
        urllib.request.urlopen(f"http://127.0.0.1:{free_port}/", timeout=5) as answer,
    ):
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert b"<title>WSE live demo</title>" in answer.read()


def test_the_line_to_try_next_prints_ticks(free_port: int, repository: Path) -> None:
    with start_demo(free_port, "--auth") as demo:
        command = shlex.split(demo.wait_for_line(" -c ").strip())
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=repository) as viewer:
            assert viewer.stdout is not None
            lines = [viewer.stdout.readline() for _ in range(3)]
            viewer.kill()
        assert "server_ready" in lines[0]
        assert '"tick"' in lines[1]
        assert '"tick"' in lines[2]


def test_with_auth_nobody_enters_without_the_token(free_port: int) -> None:
    with start_demo(free_port, "--auth") as demo:
        token = demo.wait_for_line("  token").split()[-1]
        assert demo.wait_for_line("  page").endswith(f"#token={token}")
        with support.dial(f"ws://127.0.0.1:{free_port}/wse", token=token) as client:
            assert ticks(client, 1)
        with support.dial(f"ws://127.0.0.1:{free_port}/wse") as stranger:
            assert support.Peer(stranger, "").close_code() == 4401


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly(free_port: int, signum: signal.Signals) -> None:
    demo = start_demo(free_port)
    with support.dial(f"ws://127.0.0.1:{free_port}/wse") as client:
        assert ticks(client, 1)
        assert demo.stop(signum) == 0, demo.output
        assert support.Peer(client, "").close_code() == 1012
    assert "Stopping." in demo.output
    assert "Traceback" not in demo.output


def test_a_port_in_use_is_said_plainly() -> None:
    with socket.create_server((support.HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with support.Program("-m", "wse_server.demo", "--port", str(port)) as demo:
            demo.wait_for_line(f"--port {port + 1}")
            assert demo.wait() == 1
            assert "Traceback" not in demo.output


@pytest.mark.parametrize("rate", ["0", "2001", "many"])
def test_a_wrong_rate_is_refused_with_what_is_allowed(
    rate: str, capsys: pytest.CaptureFixture[str], parse: Callable[[list[str]], int]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["--rate", rate])
    assert ended.value.code == 2
    assert re.search(rf"--rate: .*{rate}", capsys.readouterr().err)


@pytest.fixture
def parse() -> Callable[[list[str]], int]:
    from wse_server.demo.__main__ import main  # noqa: PLC0415 (only this test needs it in the process)

    return main
