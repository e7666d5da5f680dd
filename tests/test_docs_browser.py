"""What the pages show of JavaScript, in a real browser."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver

import browser as browsers
from browser import Tab
from documents import block
from support import Running
from wse_server import rust_jwt_encode

Factory = Callable[..., Running]
Visit = Callable[[Running, str], Tab]

SECRET = "a secret that has more than thirty-two bytes"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (browsers.CHROMIUM and browsers.DRIVER), reason=browsers.MISSING),
]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """One browser for all of them."""
    driver = browsers.start(tmp_path_factory.mktemp("chromium"))
    yield driver
    driver.quit()


@pytest.fixture
def visit(chromium: webdriver.Chrome, repository: Path) -> Iterator[Visit]:
    """Serves a script as a page of the server itself, and opens it."""
    with ExitStack() as tabs:

        def visit(running: Running, script: str) -> Tab:
            page = f"<!doctype html><title>A page</title><body></body>{script}"
            running.server.add_static("/", "text/html; charset=utf-8", page)
            pictures = repository / "build" / "screenshots"
            return tabs.enter_context(closing(Tab(chromium, f"{running.http}/", pictures)))

        yield visit


def test_a_page_that_came_from_centrifugo_hears_its_room(
    running: Running, visit: Visit, repository: Path, free_port: int
) -> None:
    # The program is run as it stands, and the page comes from another server.
    program: dict[str, Any] = {}
    code = block("docs/topics/coming-from.md", "def announce(")
    exec(code.replace("5007", str(free_port)), program)  # noqa: S102 - the page's own example
    server = program["server"]
    try:
        wse = (repository / "python/wse_server/static/wse.js").read_text()
        running.server.add_static("/static/wse.js", "text/javascript; charset=utf-8", wse)
        script = block("docs/topics/coming-from.md", "WseClient", "javascript")
        script = script.replace("wss://ws.example.com/wse", f"ws://127.0.0.1:{free_port}/wse")
        known = rust_jwt_encode({"sub": "ann", "exp": time.time() + 600}, program["SECRET"])
        tab = visit(
            running,
            f"""<script>
            const token = "{known}", heard = [];
            console.log = (message) => heard.push(message);
            </script><script type="module">{script}</script>""",
        )
        tab.wait(lambda _: server.get_topic_subscriber_count("room:1") == 1, "it is subscribed")
        program["announce"]('"hi"')
        tab.wait(lambda tab: tab.run("return heard.length") == 1, "the announcement")
        assert tab.run("return heard[0]") == {"text": '"hi"'}
    finally:
        server.stop()


def token(name: str, lasts: float = 600) -> str:
    """A token of that user."""
    return rust_jwt_encode({"sub": name, "exp": time.time() + lasts}, SECRET)


def test_a_page_says_hello_to_the_first_program(running: Running, visit: Visit) -> None:
    code = block("docs/tutorial/getting-started.md", "new WebSocket(", "html")
    heard = "<script>const heard = []; console.log = (message) => heard.push(message);</script>"
    tab = visit(running, heard + code.replace("ws://localhost:5007/wse", running.url))
    ((_, conn_id, said),) = running.events.wait("msg")
    assert said == {"t": "say", "p": "hello from the browser"}
    running.server.send(conn_id, json.dumps({"t": "said", "p": said["p"]}))
    tab.wait(lambda tab: tab.run("return heard.length") == 1, "an answer")
    assert tab.run("return heard[0].p") == "hello from the browser"


def test_a_page_shows_its_token_and_renews_it_when_it_is_told(server_factory: Factory, visit: Visit) -> None:
    running = server_factory(jwt_secret=SECRET)
    running.server.add_static("/token", "text/plain", token("ann", 3600))
    opening = block("docs/how-to/authentication.md", "new WebSocket(", "javascript")
    opening = opening.replace("wss://ws.example.com/wse", running.url).strip()
    renewing = block("docs/how-to/authentication.md", '"token_expiring"', "javascript")
    # A token that is past its time, within the leeway: the warning comes at once.
    tab = visit(
        running,
        f"""<script>
        const token = "{token("ann", -1)}", heard = [];
        const socket = {opening}
        {renewing}
        socket.addEventListener("message", ({{ data }}) => heard.push(JSON.parse(data)));
        </script>""",
    )
    tab.wait(lambda tab: "auth_refresh" in tab.run("return heard.map(({ t }) => t)"), "a new token is taken")
    answer = tab.run("return heard.find(({ t }) => t === 'auth_refresh').p")
    assert 3500 < answer["expires_in"] <= 3600
    assert running.events.wait("auth_connect")[0][2] == "ann"


def test_a_dozen_lines_subscribe_and_go_on_where_they_were(server_factory: Factory, visit: Visit) -> None:
    running = server_factory(jwt_secret=SECRET, client_subscriptions=True, recovery_enabled=True)
    code = block("docs/how-to/clients.md", "subscription_update", "javascript")
    code = code.replace("wss://ws.example.com/wse", running.url)
    tab = visit(
        running,
        f"""<script>
        const token = "{token("ann")}", heard = [];
        console.log = (message) => heard.push(message);
        {code}
        </script>""",
    )
    count = running.server.get_topic_subscriber_count
    tab.wait(lambda _: count("room:1") == count("news") == 1, "both topics are subscribed")
    running.server.broadcast("room:1", '{"t":"chat","p":"one"}')
    tab.wait(lambda tab: tab.run("return heard.length") == 1, "a message")
    running.server.disconnect(running.server.get_connections()[0], 1012, "back soon")
    tab.wait(lambda _: count("room:1") == 0, "it is gone")
    running.server.broadcast("room:1", '{"t":"chat","p":"missed"}')
    tab.wait(lambda tab: tab.run("return heard.length") == 2, "what was missed is replayed")
    running.server.broadcast("news", '{"t":"headline","p":"new"}')
    tab.wait(lambda tab: tab.run("return heard.length") == 3, "what is new comes")
    assert tab.run("return heard.map(({ topic, p }) => [topic, p])") == [
        ["room:1", "one"],
        ["room:1", "missed"],
        ["news", "new"],
    ]
