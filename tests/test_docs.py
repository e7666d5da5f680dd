"""The programs in the pages, run as they stand but for the port."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import support
from documents import block
from wse_server import rust_jwt_encode

# What keeps a program alive that would end once its server has started. The import comes before the server:
# an interrupt in the middle of one can get lost.
FIRST, LAST = "import signal\n\n", "\nsignal.pause()\n"

SERVER = """
from wse_server import RustWSEServer, rust_jwt_decode

server = RustWSEServer("127.0.0.1", 5007)
server.enable_drain_mode()
server.start()
rust_jwt_decode("nonsense", "a key of thirty-two bytes or more")
"""

Start = Callable[[str], support.Program]


@pytest.fixture
def start(tmp_path: Path, free_port: int) -> Iterator[Start]:
    """Runs a program and waits until it listens."""
    with ExitStack() as running:

        def start(code: str) -> support.Program:
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


def test_the_loop_prints_what_it_drains(start: Start, free_port: int) -> None:
    program = start(block("docs/how-to/events.md", "print(kind, conn_id, data)"))
    come_and_go(free_port)
    program.wait_for_line("disconnect")
    printed = [line for line in program.lines if not line.startswith("jwt_secret is not set")]
    assert [line.split()[0] for line in printed] == ["connect", "msg", "disconnect"]
    assert printed[1].endswith("{'t': 'hello', 'p': 1}")


def test_the_event_loop_answers(start: Start, free_port: int) -> None:
    start(block("docs/how-to/events.md", "add_reader("))
    with support.dial(f"ws://127.0.0.1:{free_port}/wse") as client:
        for text in ("one", "two"):
            client.send(text)
            assert client.recv(support.PATIENCE) == f"you said {text}"


def test_the_callbacks_are_called_in_order(start: Start, free_port: int) -> None:
    program = start(block("docs/how-to/events.md", "set_callbacks("))
    come_and_go(free_port)
    program.wait_for_line("left")
    printed = [line for line in program.lines if not line.startswith("jwt_secret is not set")]
    assert [line.split()[0] for line in printed] == ["came", "sent", "left"]
    assert printed[1].endswith("{'t': 'hello', 'p': 1}")


def test_the_page_of_ones_own_is_served(start: Start, free_port: int) -> None:
    start(block("docs/how-to/http.md", "add_static("))
    with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/", timeout=5) as answer:
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.read() == b"<!doctype html><title>Hello</title><p>Hello"


def test_the_address_is_the_one_that_a_trusted_proxy_tells(start: Start, free_port: int) -> None:
    program = start(block("docs/how-to/reverse-proxies.md", "trusted_proxies="))
    forwarded = {"X-Forwarded-For": "198.51.100.66, 203.0.113.9, 10.20.0.7"}
    with support.dial(f"ws://127.0.0.1:{free_port}/wse", additional_headers=forwarded):
        assert program.wait_for_line("came") == "203.0.113.9 came"


def test_an_access_list_refuses_and_lets_through_what_the_page_says(start: Start, free_port: int) -> None:
    program = start(block("docs/how-to/access.md", "set_topic_acl("))
    peer = support.Peer(support.dial(f"ws://127.0.0.1:{free_port}/wse"), "")
    assert program.wait_for_line("refused") == "refused ['room:*']"
    for _ in range(2):
        peer.send({"t": "sign_in"})
        # The second comes right after the first: what the secret room was told is not between them.
        assert peer.receive_json()["t"] == "joined"
    peer.close()


def test_clients_choose_their_topics_within_their_access_lists(start: Start, free_port: int) -> None:
    start(block("docs/how-to/clients.md", "client_subscriptions=True"))
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


def come(port: int, user: str | None = None, secret: str = "") -> support.Peer:
    """A client, with a token if it is to be somebody."""
    token = None if user is None else rust_jwt_encode({"sub": user, "exp": int(time.time()) + 600}, secret)
    peer = support.Peer(support.dial(f"ws://127.0.0.1:{port}/wse", token=token), "")
    if user is not None:
        assert peer.receive_json()["t"] == "server_ready"
    return peer


def hear(peer: support.Peer, word: str) -> dict[str, Any]:
    """The next message of this type."""
    return next(message for message in iter(peer.receive_json, None) if message["t"] == word)


def test_members_of_a_room_see_each_other(start: Start, free_port: int) -> None:
    program = start(block("docs/how-to/presence.md", 'presence_data={"name": data'))
    ann = come(free_port, "ann", "change me: at least 32 bytes long")
    assert hear(ann, "people")["p"] == {"ann": {"name": "ann", "status": "here"}}
    bob = come(free_port, "bob", "change me: at least 32 bytes long")
    assert set(hear(bob, "people")["p"]) == {"ann", "bob"}
    assert hear(ann, "presence_join")["p"]["user_id"] == "bob"
    bob.send({"t": "away"})
    assert hear(ann, "presence_update")["p"]["data"] == {"status": "away"}
    bob.close()
    assert hear(ann, "presence_leave")["p"]["user_id"] == "bob"
    assert program.wait_for_line("left") == "bob left room:1"
    ann.close()


def test_jobs_go_to_one_worker_each_and_a_monitor_sees_all(start: Start, free_port: int) -> None:
    program = start(block("docs/how-to/queue-groups.md", 'queue_group="workers"'))
    workers, monitor, boss = [come(free_port), come(free_port)], come(free_port), come(free_port)
    for worker in workers:
        worker.send({"t": "work"})
    monitor.send({"t": "watch"})
    # What one connection says is in order; that all four have been heard is told by the first job.
    support.wait_until(lambda: ordered(boss, monitor), "a job that the monitor sees")
    for _ in range(8):
        boss.send({"t": "order"})
    seen = [monitor.receive_json()["p"] for _ in range(8)]
    assert seen == list(range(seen[0], seen[0] + 8))
    first = {worker.receive_json()["t"] for worker in workers}
    assert first == {"job"}
    workers[0].close()
    program.wait_for_line("workers: 1")
    for peer in (workers[1], monitor, boss):
        peer.close()


def ordered(boss: support.Peer, monitor: support.Peer) -> bool:
    """Orders a job, and says whether the monitor saw it."""
    boss.send({"t": "order"})
    try:
        return bool(monitor.receive_json(0.2)["t"] == "job")
    except TimeoutError:
        return False


def test_a_client_that_comes_back_goes_on_or_loads_afresh(start: Start, free_port: int) -> None:
    start(block("docs/how-to/recovery.md", "recovery_enabled=True"))
    first = come(free_port)
    had = first.receive_json()
    assert (had["tp"], had["o"], had["p"]) == ("prices", 1, {"ES": 5234.75})
    first.close()
    second = come(free_port)
    assert second.receive_json()["o"] == 2
    second.send({"t": "back", "p": {"epoch": had["e"], "offset": had["o"]}})
    assert second.receive_json()["o"] == 2, "what came after the position is replayed"
    second.send({"t": "back", "p": {"epoch": "00000000", "offset": 7}})
    assert second.receive_json()["t"] == "prices_snapshot"
    second.close()


def test_the_log_has_the_form_and_the_level_of_the_page(start: Start) -> None:
    program = start(block("docs/how-to/logging.md", "logging.basicConfig(") + SERVER)
    line = program.wait_for_line("rust_jwt_decode")
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} DEBUG wse_server: ", line)
