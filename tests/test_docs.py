"""The programs in the how-to pages, run as they stand but for the port."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import support
from wse_server import rust_jwt_encode

# What keeps a program alive that would end once its server has started. The import comes before the server:
# an interrupt in the middle of one can get lost.
FIRST, LAST = "import signal\n\n", "\nsignal.pause()\n"


@pytest.fixture
def start(
    repository: Path, tmp_path: Path, free_port: int
) -> Iterator[Callable[[str, str], support.Program]]:
    """Runs the one example of a page with a certain word in it."""
    with ExitStack() as running:

        def start(page: str, word: str) -> support.Program:
            blocks = re.findall(r"(?ms)^```python\n(.*?)^```$", (repository / "docs" / page).read_text())
            (code,) = (block for block in blocks if word in block)
            copy = tmp_path / "program.py"
            copy.write_text(FIRST + code.replace("5007", str(free_port)) + LAST)
            program = running.enter_context(support.Program(copy))
            program.wait_for_port(free_port)
            return program

        yield start


def come_and_go(port: int) -> None:
    peer = support.Peer(support.dial(f"ws://127.0.0.1:{port}/wse"), "")
    peer.send({"t": "hello", "p": 1})
    peer.close()


def test_the_loop_prints_what_it_drains(start: Callable[[str, str], support.Program], free_port: int) -> None:
    program = start("how-to/events.md", "while server.is_running()")
    come_and_go(free_port)
    program.wait_for_line("disconnect")
    printed = [line for line in program.lines if not line.startswith("jwt_secret is not set")]
    assert [line.split()[0] for line in printed] == ["connect", "msg", "disconnect"]
    assert printed[1].endswith("{'t': 'hello', 'p': 1}")


def test_the_event_loop_answers(start: Callable[[str, str], support.Program], free_port: int) -> None:
    start("how-to/events.md", "add_reader(")
    with support.dial(f"ws://127.0.0.1:{free_port}/wse") as client:
        for text in ("one", "two"):
            client.send(text)
            assert client.recv(support.PATIENCE) == f"you said {text}"


def test_the_callbacks_are_called_in_order(
    start: Callable[[str, str], support.Program], free_port: int
) -> None:
    program = start("how-to/events.md", "set_callbacks(")
    come_and_go(free_port)
    program.wait_for_line("left")
    printed = [line for line in program.lines if not line.startswith("jwt_secret is not set")]
    assert [line.split()[0] for line in printed] == ["came", "sent", "left"]
    assert printed[1].endswith("{'t': 'hello', 'p': 1}")


def test_the_page_of_ones_own_is_served(start: Callable[[str, str], support.Program], free_port: int) -> None:
    start("how-to/http.md", "add_static(")
    with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/", timeout=5) as answer:
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.read() == b"<!doctype html><title>Hello</title><p>Hello"


def test_the_address_is_the_one_that_a_trusted_proxy_tells(
    start: Callable[[str, str], support.Program], free_port: int
) -> None:
    program = start("how-to/reverse-proxies.md", "trusted_proxies=")
    forwarded = {"X-Forwarded-For": "198.51.100.66, 203.0.113.9, 10.20.0.7"}
    with support.dial(f"ws://127.0.0.1:{free_port}/wse", additional_headers=forwarded):
        assert program.wait_for_line("came") == "203.0.113.9 came"


def test_an_access_list_refuses_and_lets_through_what_the_page_says(
    start: Callable[[str, str], support.Program], free_port: int
) -> None:
    program = start("how-to/access.md", "set_topic_acl(")
    peer = support.Peer(support.dial(f"ws://127.0.0.1:{free_port}/wse"), "")
    assert program.wait_for_line("refused") == "refused ['room:*']"
    for _ in range(2):
        peer.send({"t": "sign_in"})
        # The second comes right after the first: what the secret room was told is not between them.
        assert peer.receive_json()["t"] == "joined"
    peer.close()


def test_clients_choose_their_topics_within_their_access_lists(
    start: Callable[[str, str], support.Program], free_port: int
) -> None:
    start("how-to/clients.md", "client_subscriptions=True")
    # The token that the page's login gives.
    ann = rust_jwt_encode(
        {
            "sub": "ann",
            "exp": int(time.time()) + 3600,
            "wse_topics": {"allow": ["room:*"], "deny": ["room:staff"]},
        },
        b"replace-with-a-strong-secret-key!",
    )
    peer = support.Peer(support.dial(f"ws://127.0.0.1:{free_port}/wse", token=ann), "")
    assert peer.receive_json()["t"] == "server_ready"
    peer.send({"t": "subscription_update", "p": {"action": "subscribe", "topics": ["room:1", "room:staff"]}})
    answer = peer.receive_json()["p"]
    assert (answer["success_topics"], answer["failed_topics"]) == (["room:1"], ["room:staff"])
    said = {"t": "chat", "p": {"text": "hi"}}
    peer.send({"t": "publish", "p": {"topic": "room:1", "data": said}, "cid": "17"})
    message, told = peer.receive_json(), peer.receive_json()
    assert (message["tp"], message["o"], message["p"]) == ("room:1", 1, {"text": "hi"})
    assert (told["cid"], told["p"]["offset"]) == ("17", 1)
    peer.close()
