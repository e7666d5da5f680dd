"""The programs of the page about asyncio, and of deciding about topics, as they stand but for the port."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from documents import block
from support import PATIENCE, Peer, Program, dial
from support import free_port as another_port

Start = Callable[..., Program]

APPLICATION = """
import uvicorn
uvicorn.run(app, host="127.0.0.1", port={port})
"""


@pytest.fixture
def start(tmp_path: Path, free_port: int) -> Iterator[Start]:
    """Runs a program and waits until it listens."""
    with ExitStack() as running:

        def start(code: str, more: str = "") -> Program:
            path = tmp_path / "program.py"
            path.write_text(code.replace("5007", str(free_port)) + more)
            program = running.enter_context(Program(path))
            program.wait_for_port(free_port)
            return program

        yield start


def client(port: int) -> Peer:
    return Peer(dial(f"ws://127.0.0.1:{port}/wse"), "")


def test_the_chat_of_the_page_does_what_the_page_says(start: Start, free_port: int) -> None:
    program = start(block("docs/how-to/asyncio.md", "server.run()"))
    peer = client(free_port)
    assert peer.receive_json()["t"] == "welcome"
    peer.send({"t": "subscription_update", "p": {"action": "subscribe", "topics": ["room:7", "room:101"]}})
    answer = peer.receive_json()["p"]
    assert (answer["success_topics"], answer["failed_topics"]) == (["room:7"], ["room:101"])
    peer.send({"t": "chat.send", "p": {"room": 7, "text": "hi"}, "cid": "1"})
    line, count = peer.receive_json(), peer.receive_json()
    assert (line["t"], line["tp"], line["p"]) == ("chat.line", "room:7", {"room": 7, "text": "hi"})
    assert (count["t"], count["p"], count["cid"]) == ("chat.send", 1, "1")
    for payload, code, message in (
        ({"room": 7, "text": " "}, "INVALID_ACTION", "say something"),
        ({"room": 7}, "INVALID_ACTION", "`text`"),
    ):
        peer.send({"t": "chat.send", "p": payload})
        error = peer.receive_json()["p"]
        assert error["code"] == code
        assert message in error["message"]
    peer.close()
    assert program.stop(signal.SIGTERM) == 0


def test_the_application_publishes(start: Start, free_port: int) -> None:
    # The application's port is the next one that is free.
    port = another_port()
    program = start(block("docs/how-to/asyncio.md", "FastAPI("), APPLICATION.format(port=port))
    program.wait_for_port(port)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/announce?text=hi", b"", PATIENCE) as answer:
        assert json.load(answer) == {"published": True}


def test_everything_that_happens_is_printed(start: Start, free_port: int) -> None:
    program = start(block("docs/how-to/asyncio.md", "server.events()"))
    peer = client(free_port)
    peer.send({"t": "hello"})
    program.wait_for_line("{'t': 'hello'}")
    peer.close()
    program.wait_for_line("disconnect")
    kinds = [line.split()[0] for line in program.lines if "<Connection" in line]
    assert kinds == ["connect", "message", "disconnect"]


def test_the_time_is_told_in_the_background(start: Start, free_port: int) -> None:
    start(block("docs/how-to/asyncio.md", "@server.background"))
    peer = client(free_port)
    peer.send({"t": "subscription_update", "p": {"action": "subscribe", "topics": ["time"]}})
    assert peer.receive_json()["p"]["success_topics"] == ["time"]
    tick = peer.receive_json()
    assert tick["t"] == "tick"
    assert isinstance(tick["p"], float)
    peer.close()


def test_a_program_of_the_engine_decides_about_topics(start: Start, free_port: int) -> None:
    start(block("docs/how-to/events.md", "authorize=True"))
    peer = client(free_port)
    peer.send({"t": "subscription_update", "p": {"action": "subscribe", "topics": ["public:a", "b"]}})
    answer = peer.receive_json()["p"]
    assert answer["success_topics"] == ["public:a"]
    assert answer["errors"]["b"]["message"] == "it is not public"
    peer.close()


def test_a_room_that_came_from_socket_io(start: Start, free_port: int) -> None:
    start(block("docs/topics/coming-from.md", "await connection.subscribe([room])"))
    speaker, listener = client(free_port), client(free_port)
    for peer in (speaker, listener):
        peer.send({"t": "join", "p": "lobby"})
        peer.send({"t": "say", "p": {"room": "lobby", "text": "I am here"}, "cid": "1"})
        answer = hear(peer, "say")
        assert (answer["p"], answer["cid"]) == ("ok", "1")
    speaker.send({"t": "say", "p": {"room": "lobby", "text": "hi"}})
    for peer in (speaker, listener):
        while hear(peer, "said")["p"] != {"room": "lobby", "text": "hi"}:
            pass
        peer.close()


def hear(peer: Peer, word: str) -> dict[str, Any]:
    """The next message of this type."""
    return next(message for message in iter(peer.receive_json, None) if message["t"] == word)


def test_a_room_that_came_from_channels(start: Start, free_port: int) -> None:
    django: dict[str, Any] = {}
    exec(block("docs/topics/coming-from.md", "def token_of("), django)  # noqa: S102 - the page's own example
    start(block("docs/topics/coming-from.md", "connection.user_id, "))
    cookie = {"Cookie": f"access_token={django['token_of'](7)}"}
    peer = Peer(dial(f"ws://127.0.0.1:{free_port}/wse", additional_headers=cookie), "")
    assert peer.receive_json()["p"]["details"]["user_id"] == "7"
    peer.send({"t": "subscription_update", "p": {"action": "subscribe", "topics": ["room:1", "room:x"]}})
    answer = peer.receive_json()["p"]
    assert (answer["success_topics"], answer["failed_topics"]) == (["room:1"], ["room:x"])
    peer.send({"t": "say", "p": {"room": 1, "text": "hi"}})
    heard = peer.receive_json()
    assert (heard["t"], heard["p"]) == ("said", {"user": "7", "text": "hi"})
    peer.close()
