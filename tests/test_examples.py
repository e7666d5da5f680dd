"""Each program under examples/ runs and does what it says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import support
from documents import block

UNSHARE = shutil.which("unshare")


@pytest.fixture
def start(repository: Path, tmp_path: Path, free_port: int) -> Iterator[Callable[[str], support.Program]]:
    """Starts an example on a free port of 127.0.0.1 and nothing else about it changed."""
    started: list[support.Program] = []

    def start(name: str) -> support.Program:
        program = support.Program(on_port(repository / "examples" / name, tmp_path, free_port))
        started.append(program)
        program.wait_for_port(free_port)
        return program

    yield start
    for program in started:
        status = program.stop()
        assert status == 0, f"exit status {status}:\n{program.output}"


def on_port(example: Path, directory: Path, port: int) -> Path:
    """Copies an example with its address and port replaced."""
    code, replaced = re.subn(
        r'"(?:127\.0\.0\.1|0\.0\.0\.0)", 5007\b', f'"127.0.0.1", {port}', example.read_text()
    )
    assert replaced == 1, f"{example} names no address and port, or several"
    copy = directory / example.name
    copy.write_text(code)
    return copy


def connect(port: int) -> support.Peer:
    return support.Peer(support.dial(f"ws://127.0.0.1:{port}/wse"), "")


def test_every_example_is_tested(repository: Path) -> None:
    names = {path.name for path in (repository / "examples").glob("*.py")}
    text = Path(__file__).read_text()
    assert names
    assert [name for name in names if f'"{name}"' not in text] == []


def test_in_the_chat_everybody_hears_what_is_said(
    start: Callable[[str], support.Program], free_port: int
) -> None:
    start("chat.py")
    alice = connect(free_port)
    alice.send({"t": "say", "p": "anybody here?"})
    assert alice.receive_json() == {"c": "U", "t": "said", "p": "anybody here?"}
    bob = connect(free_port)
    bob.send({"type": "say", "payload": "hello"})
    for peer in (alice, bob):
        assert peer.receive_json()["p"] == "hello"
        peer.close()


def test_the_echo_returns_objects_text_and_bytes(
    start: Callable[[str], support.Program], free_port: int
) -> None:
    program = start("echo.py")
    peer = connect(free_port)
    peer.send({"t": "ping-me", "p": [1, 2]})
    assert peer.receive_json() == {"t": "ping-me", "p": [1, 2]}
    peer.send("no json")
    assert peer.receive() == "no json"
    peer.send(b"\x00\xff")
    assert peer.receive() == b"\x00\xff"
    peer.close()
    came, went = program.wait_for_line("is here"), program.wait_for_line("has gone")
    assert came.split()[0] == went.split()[0]


def test_a_client_of_the_ticker_hears_what_it_chose(
    start: Callable[[str], support.Program], free_port: int
) -> None:
    start("ticker.py")
    even, every = connect(free_port), connect(free_port)
    even.send({"t": "watch", "p": {"topics": ["ticks.even"]}})
    every.send({"t": "watch", "p": {"topics": ["ticks.*"]}})
    for peer in (even, every):
        assert peer.receive_json()["t"] == "watching"
    numbers = [even.receive_json()["p"]["n"] for _ in range(3)]
    assert numbers == list(range(numbers[0], numbers[0] + 6, 2))
    numbers = [every.receive_json()["p"]["n"] for _ in range(6)]
    assert numbers == list(range(numbers[0], numbers[0] + 6))

    every.send({"t": "watch", "p": {"topics": ["no\ncontrol characters"]}})
    refused = next(message for message in iter(every.receive_json, None) if message["t"] == "refused")
    assert "control" in refused["p"]["why"]
    for peer in (even, every):
        peer.close()


def visit(program: Path, port: int, *before: str) -> subprocess.CompletedProcess[str]:
    """Runs `visit_single_instance.py`, with a command in front of it if one is given."""
    visitor = Path(__file__).with_name("visit_single_instance.py")
    return subprocess.run(
        [*before, sys.executable, str(visitor), str(program), str(port)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_single_instance_of_the_guide_works(repository: Path, tmp_path: Path, free_port: int) -> None:
    program = on_port(repository / "examples" / "single_instance.py", tmp_path, free_port)
    result = visit(program, free_port)
    assert result.returncode == 0, result.stdout + result.stderr


def own_network() -> list[str]:
    """The command that runs another one on a network of its own; empty where that is not allowed."""
    command = [str(UNSHARE), "--user", "--map-root-user", "--net"]
    if (
        UNSHARE is None
        or subprocess.run([*command, "true"], capture_output=True, check=False).returncode != 0
    ):
        return []
    return command


def test_the_single_instance_of_the_guide_works_word_for_word(repository: Path) -> None:
    command = own_network()
    if not command:
        pytest.skip("no network namespaces here (they take Linux, util-linux and the right to make them)")
    result = visit(repository / "examples" / "single_instance.py", 5007, *command)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_guide_shows_the_program_that_is_tested(repository: Path) -> None:
    program = (repository / "examples" / "single_instance.py").read_text()
    assert program == block("docs/how-to/deployment.md", "jwt_secret=")


def test_a_message_that_is_no_object_harms_no_example(
    start: Callable[[str], support.Program], free_port: int
) -> None:
    start("ticker.py")
    peer = connect(free_port)
    for message in ("", "null", "[]", json.dumps({"t": "watch", "p": {"topics": [1]}}), "{}"):
        peer.send(message)
    assert peer.receive_json()["t"] == "refused"
    peer.close()
