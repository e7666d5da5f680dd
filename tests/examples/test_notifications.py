"""Notifications: a login, a cookie that scripts can't read, and nobody else's topics."""

from __future__ import annotations

import json
import urllib.request
from http.client import HTTPResponse
from urllib.error import HTTPError

import pytest

import support
from browser import Tab
from examples.conftest import Begin, Visit
from wse_client import AuthenticationError, SubscriptionError, SyncClient

Ports = tuple[int, int]


@pytest.fixture
def ports(begin: Begin) -> Ports:
    """Of the pages and of WSE, which listen."""
    page, wse = support.free_port(), support.free_port()
    begin("notifications/main.py", "--port", page, "--wse-port", wse).wait_for_port(page)
    return page, wse


def post(port: int, path: str, cookie: str = "", **body: str) -> HTTPResponse:
    headers = {"Content-Type": "application/json", "Cookie": cookie}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), headers)
    answer = urllib.request.urlopen(request, timeout=5)
    assert isinstance(answer, HTTPResponse)
    return answer


def log_in(port: int, name: str, password: str) -> str:
    """Returns the cookie."""
    given = post(port, "/login", name=name, password=password).headers["Set-Cookie"]
    assert "HttpOnly" in given
    assert "SameSite=strict" in given
    return str(given).split(";")[0]


def test_a_user_hears_her_own_topic_and_nobody_elses(ports: Ports) -> None:
    page, wse = ports
    ann, bob = log_in(page, "ann", "tulip"), log_in(page, "bob", "tractor")
    with SyncClient(f"ws://127.0.0.1:{wse}/wse", headers={"Cookie": ann}, proxy=None) as client:
        with pytest.raises(SubscriptionError, match="NOT_ALLOWED"), client.subscribe("user:bob:notices"):
            pass
        with client.subscribe("user:ann:notices") as notices:
            post(page, "/notices", bob, to="bob", text="not for ann")
            post(page, "/notices", bob, to="ann", text="tea?")
            message = next(notices)
    assert (message.type, message.payload["from"], message.payload["text"]) == ("notice", "bob", "tea?")


def test_who_is_not_logged_in_is_refused_everywhere(ports: Ports) -> None:
    page, wse = ports
    for name, password in (("ann", "tractor"), ("ann", ""), ("eve", ""), ("eve", "tulip")):
        with pytest.raises(HTTPError, match="401"):
            log_in(page, name, password)
    for path in ("/notices", "/renew", "/logout"):
        with pytest.raises(HTTPError, match="401"):
            post(page, path, "access_token=no.such.token", to="ann", text="x")
    with pytest.raises(AuthenticationError), SyncClient(f"ws://127.0.0.1:{wse}/wse", proxy=None):
        pass


def enter(tab: Tab, name: str, password: str) -> None:
    tab.write("#login [name=name]", name)
    tab.write("#login [name=password]", password, enter=True)


@pytest.mark.browser
def test_a_page_shows_notices_and_ends_with_the_logout_of_another(visit: Visit, ports: Ports) -> None:
    page, _ = ports
    bob = log_in(page, "bob", "tractor")
    first = visit(f"http://127.0.0.1:{page}/")
    first.picture("notifications-login")
    enter(first, "ann", "tulip")
    first.wait(lambda tab: tab.text("#state") == "connected", "connected")
    assert first.run("return document.cookie") == ""
    # The second tab needs no password: the cookie is the browser's.
    second = visit(f"http://127.0.0.1:{page}/")
    second.wait(lambda tab: tab.text("#state") == "connected", "connected")
    post(page, "/notices", bob, to="ann", text="The parcel is at the door.")
    for tab in (first, second):
        tab.wait(lambda each: each.text("#count") == "1", "a notice")
    first.write("#notify [name=text]", "Bring it in, <please>.")
    first.run("document.querySelector('#notify select').value = 'ann'")
    first.click("#notify button")
    first.wait(lambda tab: tab.text("#count") == "2", "a notice to herself")
    assert "Bring it in, <please>." in first.text("#notices")
    first.pictures("notifications")

    second.click("#logout")
    for tab in (first, second):
        tab.wait(lambda each: each.find("#login").is_displayed(), "logged out")


@pytest.mark.browser
@pytest.mark.slow
def test_a_page_outlives_its_token_and_misses_nothing(begin: Begin, visit: Visit) -> None:
    page, wse = support.free_port(), support.free_port()
    begin("notifications/main.py", "--port", page, "--wse-port", wse, "--life", 4).wait_for_port(page)
    tab = visit(f"http://127.0.0.1:{page}/")
    enter(tab, "bob", "tractor")
    tab.wait(lambda each: each.text("#state") == "connected", "connected")
    tab.run(
        "new MutationObserver(() => { document.title += '.' }).observe(document.querySelector('#state'), "
        "{ attributes: true })"
    )
    # Half a minute after its end the token of the connection is not taken any more, and the cookie's is.
    tab.wait(lambda each: each.run("return document.title").endswith(".."), "closed and connected again", 60)
    tab.wait(lambda each: each.text("#state") == "connected", "connected")
    post(page, "/notices", log_in(page, "ann", "tulip"), to="bob", text="still here?")
    tab.wait(lambda each: each.text("#count") == "1", "a notice")
