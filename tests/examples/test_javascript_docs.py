"""The code of the page on the JavaScript client, run as it stands but for addresses."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from browser import Tab
from documents import block
from examples.conftest import Visit
from support import HOST, Running, accepts, wait_until
from wse_server import rust_jwt_encode

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
SECRET = b"a secret that has more than thirty-two bytes"
Factory = Callable[..., Running]
Open = Callable[[Running, str], Tab]


@pytest.fixture
def serving(server_factory: Factory) -> Factory:
    """Starts a server like the one of the page."""
    return lambda **options: server_factory(
        client_subscriptions=True,
        client_publish=True,
        recovery_enabled=True,
        presence_enabled=True,
        **options,
    )


@pytest.fixture
def open_page(visit: Visit) -> Open:
    """Serves a script as a page of a server, and opens it; what it logs is in `heard`."""

    def open_page(running: Running, script: str) -> Tab:
        wse = (ROOT / "python/wse_server/static/wse.js").read_bytes()
        running.server.add_static("/wse.js", "text/javascript", wse)
        page = f"""<!doctype html><title>A page</title><link rel="icon" href="data:,"><body></body>
            <script>const heard = []; console.log = (...all) => heard.push(all);</script>
            <script type="module">{script}</script>"""
        running.server.add_static("/", "text/html; charset=utf-8", page)
        return visit(f"{running.http}/")

    return open_page


def heard(tab: Tab, count: int) -> list[list[Any]]:
    """Waits until the page has logged this many lines, and returns them."""
    tab.wait(lambda page: page.run("return heard.length") >= count, f"{count} lines")
    return list(tab.run("return heard"))


def test_the_server_of_the_page_serves_the_module_and_a_page_that_connects(
    visit: Visit, free_port: int
) -> None:
    program: dict[str, Any] = {}
    code = block("docs/how-to/javascript.md", "add_static(")
    exec(code.replace("5007", str(free_port)), program)  # noqa: S102 - the page's own example
    server = program["server"]
    try:
        assert accepts(free_port)
        with urllib.request.urlopen(f"http://{HOST}:{free_port}/wse.js", timeout=5) as answer:
            assert answer.read() == (ROOT / "python/wse_server/static/wse.js").read_bytes()
        visit(f"http://{HOST}:{free_port}/")
        wait_until(lambda: server.get_connection_count() == 1, "the page is connected")
    finally:
        server.stop()


def test_states_and_messages_are_told(serving: Factory, open_page: Open) -> None:
    running = serving()
    tab = open_page(running, block("docs/how-to/javascript.md", "onState: (state, { url", "javascript"))
    wait_until(lambda: running.server.get_topic_subscriber_count("prices") == 1, "subscribed")
    assert [line[0] for line in heard(tab, 2)] == ["connecting", "open"]
    at = running.server.broadcast("prices", '{"t":"price","p":17}')
    assert at is not None
    assert heard(tab, 3)[2] == ["price", 17, {"epoch": at.epoch, "offset": at.offset}]


def test_a_state_is_loaded_after_the_subscription_and_again_after_a_gap(
    serving: Factory, open_page: Open
) -> None:
    running = serving(recovery_buffer_size=1)
    running.server.add_static("/items.json", "application/json", json.dumps([{"id": 1}, {"id": 2}]))
    code = block("docs/how-to/javascript.md", "items.set", "javascript")
    tab = open_page(running, code + "globalThis.items = items;")
    tab.wait(lambda page: page.run("return globalThis.items?.size") == 2, "loaded")
    running.server.broadcast("list", '{"t":"item","p":{"id":3}}')
    tab.wait(lambda page: page.run("return items.size") == 3, "what is new comes")
    running.server.add_static("/items.json", "application/json", json.dumps([{"id": n} for n in range(9)]))
    running.server.disconnect(running.server.get_connections()[0], 1012, "back soon")
    wait_until(lambda: running.server.get_topic_subscriber_count("list") == 0, "away")
    for number in (4, 5, 6):
        running.server.broadcast("list", json.dumps({"t": "item", "p": {"id": number}}))
    tab.wait(lambda page: page.run("return items.size") == 9, "loaded again")


def test_the_program_is_published_to_asked_and_told(serving: Factory, open_page: Open) -> None:
    running = serving()
    tab = open_page(running, block("docs/how-to/javascript.md", "client.publish(", "javascript"))
    _, conn_id, question = running.events.wait("msg")[0]
    assert (question["t"], question["p"]) == ("add", [1, 2])
    running.server.send(conn_id, json.dumps({"t": "add", "p": 3, "cid": question["cid"]}))
    first, second = heard(tab, 2)
    assert first[0] == "published"
    assert first[1]["offset"] == 1
    assert second == ["answered", 3]
    assert running.events.wait("msg", count=2)[1][2] == {"t": "seen", "p": {"room": 1}}


def test_who_comes_is_told_and_what_is_shown_changes(serving: Factory, open_page: Open) -> None:
    running = serving()
    tab = open_page(running, block("docs/how-to/javascript.md", "onPresence:", "javascript"))
    lines = heard(tab, 2)
    assert [(line[0], line[2]) for line in lines] == [("join", "Ann"), ("update", "Ann")]
    (shown,) = running.server.presence("room:1").values()
    assert shown["data"] == {"name": "Ann", "away": False}


def test_tokens_are_fetched_and_a_refused_one_is_told(serving: Factory, open_page: Open) -> None:
    running = serving(jwt_secret=SECRET)
    token = rust_jwt_encode({"sub": "ann", "exp": int(time.time()) + 600}, SECRET)
    running.server.add_static("/token", "text/plain", token)
    code = block("docs/how-to/javascript.md", "token: async", "javascript")
    code = code.replace("wss://a.example.com/wse", running.url).replace(
        "wss://b.example.com/wse", running.url
    )
    tab = open_page(running, code + "globalThis.client = client;")
    tab.wait(lambda page: page.run("return globalThis.client?.userId") == "ann", "connected as ann")
    running.server.add_static("/token", "text/plain", "no.such.token")
    running.server.disconnect(running.server.get_connections()[0], 1012)
    assert heard(tab, 1) == [["log in again", None, "AUTH_FAILED"]]
