"""The chat on FastAPI: two people, a reload, a cut connection, a restart."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

import support
from browser import Tab
from examples.conftest import Begin, Visit
from wse_client import SubscriptionError, SyncClient

Start = Callable[[], support.Program]


@pytest.fixture
def ports() -> tuple[int, int]:
    """Of the page and of WSE."""
    return support.free_port(), support.free_port()


@pytest.fixture
def chat(begin: Begin, ports: tuple[int, int], tmp_path: Path) -> Start:
    """Starts it, with what was said before."""

    def start() -> support.Program:
        page, wse = ports
        database = tmp_path / "chat.db"
        program = begin("chat_fastapi/main.py", "--port", page, "--wse-port", wse, "--database", database)
        program.wait_for_port(page)
        return program

    return start


def get(url: str) -> list[dict[str, object]]:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return list(json.load(answer))


def test_what_is_said_is_heard_kept_and_checked(chat: Start, ports: tuple[int, int]) -> None:
    chat()
    page, wse = ports
    with SyncClient(f"ws://127.0.0.1:{wse}/wse", proxy=None) as client:
        with client.subscribe("room:lobby", presence={"name": "Ann"}) as lobby:
            client.send(
                {"t": "chat.say", "p": {"room": "lobby", "name": " Ann ", "text": "hello"}, "cid": "1"}
            )
            message = next(iter(lobby))
            assert (message.type, message.payload["name"], message.payload["text"]) == (
                "chat.said",
                "Ann",
                "hello",
            )
            kept = get(f"http://127.0.0.1:{page}/rooms/lobby/messages")
            assert kept == [message.payload]
            assert get(f"http://127.0.0.1:{page}/rooms/kitchen/messages") == []
        for wrong in ({"room": "Lobby!"}, {"text": " "}, {"name": "x" * 31}):
            good = {"room": "lobby", "name": "Ann", "text": "hello"}
            client.send({"t": "chat.say", "p": good | wrong})
        for topic in ("room:NO", "other", "room:*"):
            with pytest.raises(SubscriptionError, match="NOT_ALLOWED"), client.subscribe(topic):
                pass
        assert len(get(f"http://127.0.0.1:{page}/rooms/lobby/messages")) == 1
    with pytest.raises(urllib.error.HTTPError, match="422"):
        get(f"http://127.0.0.1:{page}/rooms/NO/messages")


def enter(visit: Visit, ports: tuple[int, int], name: str) -> Tab:
    """Opens the page; asked for a name, if nobody was in this browser before."""
    tab = visit(f"http://127.0.0.1:{ports[0]}/")
    tab.run("localStorage.clear()")
    tab.reload()
    tab.wait(lambda page: page.find("#enter").is_displayed(), "the question for a name")
    tab.write("#name", name, enter=True)
    tab.wait(lambda page: page.text("#state") == "connected", "connected")
    return tab


def lines(tab: Tab) -> list[str]:
    """What was said, without the times."""
    return [text.split("\n")[-1] for text in tab.texts("#said p:not(.note)")]


@pytest.mark.browser
def test_two_people_talk_and_see_each_other(chat: Start, visit: Visit, ports: tuple[int, int]) -> None:
    chat()
    ann = enter(visit, ports, "Ann")
    bob = enter(visit, ports, "Bob")
    for tab in (ann, bob):
        tab.wait(lambda page: page.texts("#people li") == ["Ann", "Bob"], "both are here")
    ann.write("#say input", "anybody here?", enter=True)
    bob.wait(lambda page: lines(page) == ["anybody here?"], "heard")
    bob.write("#say input", "yes, and it is raining in the garden", enter=True)
    ann.wait(lambda page: len(lines(page)) == 2, "answered")
    bob.write("#say input", "come in, there is tea", enter=True)
    ann.wait(lambda page: len(lines(page)) == 3, "once more")
    ann.pictures("chat")
    ann.picture("docs-chat", size=(860, 440))  # as in docs/images

    # Text is text.
    ann.write("#say input", "<b>tea</b> & biscuits", enter=True)
    bob.wait(lambda page: lines(page)[-1] == "<b>tea</b> & biscuits", "heard")

    # A reload shows what was said, and the old tab is not there twice.
    bob.reload()
    bob.wait(lambda page: len(lines(page)) == 4, "said before")
    for tab in (ann, bob):
        tab.wait(lambda page: page.texts("#people li") == ["Ann", "Bob"], "both are here")

    # Another room is another place.
    bob.click("nav a:nth-child(2)")
    ann.wait(lambda page: page.texts("#people li") == ["Ann"], "Bob has left")
    bob.wait(lambda page: page.text("#state") == "connected" and page.text("h1") == "#kitchen", "there")
    assert lines(bob) == []


@pytest.mark.browser
def test_after_a_restart_the_page_goes_on_by_itself(
    chat: Start, visit: Visit, ports: tuple[int, int]
) -> None:
    first = chat()
    ann = enter(visit, ports, "Ann")
    ann.write("#say input", "before", enter=True)
    ann.wait(lambda page: lines(page) == ["before"], "said")
    assert first.stop() == 0
    ann.wait(lambda page: page.text("#state").startswith("back in"), "away")
    # What is written meanwhile waits.
    ann.write("#say input", "meanwhile", enter=True)
    ann.wait(lambda page: page.texts("#said .note") == ["not sent yet: meanwhile"], "it waits")
    ann.picture("chat-away")
    chat()
    ann.wait(lambda page: lines(page) == ["before", "meanwhile"], "all of it is there", 30)
    ann.wait(lambda page: page.texts("#people li") == ["Ann"], "and who is here")
