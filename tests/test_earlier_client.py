"""Clients of the earlier release, `wse-client==2.5.1`, work against this server as they are."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

import earlier
from earlier import EarlierClient
from support import Running, wait_until
from tap import Tap
from wse_server import rust_jwt_encode

# The first of them installs the client.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(earlier.INSTALLING + 120)]

Factory = Callable[..., Running]
Start = Callable[..., EarlierClient]

SECRET = b"a secret that has more than thirty-two bytes"
SOON = {"base_delay": 0.05, "max_delay": 0.2, "jitter": False}
"""How the earlier client comes back in these tests: at once."""


@pytest.fixture(scope="session")
def environment() -> None:
    """Skips, loudly, where the earlier client can't be had."""
    try:
        earlier.interpreter()
    except earlier.MissingError as missing:
        pytest.skip(f"THE EARLIER CLIENT IS NOT TESTED: {missing}")


@pytest.fixture(params=["async", "sync"])
def start(request: pytest.FixtureRequest, environment: None) -> Iterator[Start]:  # noqa: ARG001
    """Starts clients of one of the two kinds and ends them when the test is over."""
    with ExitStack() as stack:

        def start(url: str, **options: Any) -> EarlierClient:
            options.setdefault("reconnect", SOON)
            return stack.enter_context(EarlierClient(request.param, url, **options))

        yield start


def token(user: str = "user-7", **claims: Any) -> str:
    return rust_jwt_encode({"sub": user, "exp": int(time.time()) + 3600} | claims, SECRET)


@pytest.fixture
def serving(server_factory: Factory) -> Factory:
    """Starts a server that asks for tokens and lets clients subscribe."""
    return lambda **options: server_factory(
        **{"jwt_secret": SECRET, "client_subscriptions": True, "recovery_enabled": True} | options
    )


def subscribed(running: Running, topic: str, count: int = 1) -> None:
    wait_until(
        lambda: running.server.get_topic_subscriber_count(topic) == count, f"{count} subscribed to {topic}"
    )
    # Answered only when the commands that are being obeyed are through: the one that was counted is in force.
    for conn_id in running.server.get_connections():
        running.server.get_connection_info(conn_id)


def publish(running: Running, topic: str, *numbers: int) -> None:
    for n in numbers:
        running.server.broadcast(topic, json.dumps({"t": "news", "p": {"n": n}}))


def numbers(events: list[dict[str, Any]]) -> list[int]:
    return [event["payload"]["n"] for event in events]


def in_the_meantime(running: Running) -> None:
    """Another client comes and goes, which takes so long that the first could have come back ten times."""
    known = len(running.events.of("auth_connect"))
    with EarlierClient("async", running.url, token=token("other")) as other:
        other.do("connect")
        running.events.wait("auth_connect", count=known + 1)


# ---- Connecting ----


def test_it_connects_with_its_token_and_is_ready(server_factory: Factory, start: Start) -> None:
    running = server_factory(jwt_secret=SECRET)
    client = start(running.url, token=token("user-7"))
    client.do("connect")
    ((_, conn_id, user),) = running.events.wait("auth_connect")
    assert user == "user-7"
    client.wait_for("is_fully_ready", True)
    assert client.do("is_ready") is True
    assert client.do("state") == "connected"
    assert client.do("get_stats")["connection_id"] == conn_id
    assert client.do("recovery_enabled") is False


def test_a_token_that_is_refused_is_told_and_it_stays_away(server_factory: Factory, start: Start) -> None:
    running = server_factory(jwt_secret=SECRET)
    client = start(running.url, token="no.token.really")
    # It waits ten seconds for a greeting that does not come, though it knows better.
    client.order("connect")
    client.wait_for_log("Auth failed: invalid token")
    client.wait_for_log("Auth/policy failure (code 4401)")
    in_the_meantime(running)
    assert running.server.health_snapshot()["auth_failures"] == 1
    client.kill()


def test_what_it_sends_reaches_the_application(server_factory: Factory, start: Start) -> None:
    running = server_factory(jwt_secret=SECRET)
    client = start(running.url, token=token())
    client.do("connect")
    assert client.do("send", "chat", {"text": "é€😀"}) is True
    assert client.do("send", "long", {"text": "x" * 20_000}, priority=10) is True
    assert client.do("send_batch", [["one", {"n": 1}], ["two", {"n": 2}]]) is True
    chat, long, batch = (data for _, _, data in running.events.wait("msg", count=3))
    assert (chat["t"], chat["p"], chat["c"]) == ("chat", {"text": "é€😀"}, "U")
    assert (long["p"]["text"], long["pri"]) == ("x" * 20_000, 10)
    assert [(one["t"], one["p"]) for one in batch["p"]["messages"]] == [("one", {"n": 1}), ("two", {"n": 2})]


def test_what_the_application_sends_reaches_it(server_factory: Factory, start: Start) -> None:
    running = server_factory(jwt_secret=SECRET)
    client = start(running.url, token=token())
    client.do("connect")
    ((_, conn_id, _),) = running.events.wait("auth_connect")
    running.server.send(conn_id, json.dumps({"c": "U", "t": "hello", "p": {"x": [1, "é"]}, "cid": "7"}))
    running.server.broadcast_all(json.dumps({"t": "book_snapshot", "p": {"n": 1}}))
    hello, snapshot = client.wait("hello", "book_snapshot", count=2)
    assert (hello["payload"], hello["correlation_id"]) == ({"x": [1, "é"]}, "7")
    assert snapshot["category"] == "S"


def test_it_answers_pings_and_is_kept(server_factory: Factory, start: Start) -> None:
    running = server_factory(jwt_secret=SECRET, ping_interval=0.1, idle_timeout=1)
    client = start(running.url, token=token())
    client.do("connect")
    ((_, conn_id, _),) = running.events.wait("auth_connect")
    received = running.server.health_snapshot()["messages_received"]
    wait_until(lambda: running.server.health_snapshot()["messages_received"] >= received + 30, "30 pongs", 20)
    assert running.server.get_connections() == [conn_id]
    assert client.do("is_connected") is True


# ---- Topics ----


def test_it_subscribes_and_hears(serving: Factory, start: Start) -> None:
    running = serving()
    client = start(running.url, token=token(), topics=["at-once"])
    client.do("connect")
    subscribed(running, "at-once")
    client.do("subscribe", ["later", "room:*"])
    subscribed(running, "later")
    subscribed(running, "room:*")
    for topic, n in (("at-once", 1), ("later", 2), ("room:1", 3), ("else", 4), ("later", 5)):
        publish(running, topic, n)
    heard = client.wait("news", count=4)
    assert numbers(heard) == [1, 2, 3, 5]
    assert [event["topic"] for event in heard] == ["at-once", "later", "room:1", "later"]
    client.do("unsubscribe", ["later"])
    subscribed(running, "later", 0)
    publish(running, "later", 6)
    publish(running, "at-once", 7)
    assert numbers(client.wait("news", count=5)) == [1, 2, 3, 5, 7]
    assert client.do("subscribed_topics") == ["at-once", "room:*"]
    state = client.do("recovery_state")
    assert {topic: offset for topic, (_, offset) in state.items()} == {"at-once": 2, "room:1": 1}


def test_what_its_access_list_refuses_it_does_not_hear(serving: Factory, start: Start) -> None:
    running = serving()
    client = start(running.url, token=token(wse_topics={"allow": ["open"]}), topics=["open", "secret"])
    client.do("connect")
    subscribed(running, "open")
    assert running.server.get_topic_subscriber_count("secret") == 0
    publish(running, "secret", 1)
    publish(running, "open", 2)
    assert numbers(client.wait("news")) == [2]
    client.wait_for_log("Subscription failed for: ['secret']")


def test_without_history_it_hears_too(serving: Factory, start: Start) -> None:
    running = serving(recovery_enabled=False)
    client = start(running.url, token=token(), topics=["a"])
    client.do("connect")
    subscribed(running, "a")
    publish(running, "a", 1, 2)
    assert numbers(client.wait("news", count=2)) == [1, 2]
    assert client.do("recovery_state") == {}


# ---- Coming back ----


@pytest.mark.parametrize("code", [1011, 1012, 4300, 4408, 4410])
def test_it_comes_back_and_recovers_what_it_missed_in_order(
    serving: Factory, start: Start, code: int
) -> None:
    running = serving()
    client = start(running.url, token=token(), topics=["a", "b", "p*"])
    client.do("connect")
    ((_, conn_id, _),) = running.events.wait("auth_connect")
    subscribed(running, "p*")
    publish(running, "a", 1, 2)
    publish(running, "b", 3)
    client.wait("news", count=3)
    # What is published after the close frame was queued is missed for certain.
    running.server.disconnect(conn_id, code)
    publish(running, "a", 4, 5)
    publish(running, "b", 6)
    assert len(running.events.wait("auth_connect", count=2)) == 2
    subscribed(running, "p*")
    client.wait("news", count=6)
    publish(running, "a", 7)
    publish(running, "b", 8)
    publish(running, "px", 9)
    heard = client.wait("news", count=9)

    def of(*topics: str) -> list[int]:
        return numbers([event for event in heard if event["topic"] in topics])

    assert (of("a"), of("b"), of("px")) == ([1, 2, 4, 5, 7], [3, 6, 8], [9])


def test_a_history_that_has_ended_is_told_and_it_goes_on(serving: Factory, start: Start) -> None:
    running = serving(recovery_buffer_size=2)
    client = start(running.url, token=token(), topics=["a"])
    client.do("connect")
    ((_, conn_id, _),) = running.events.wait("auth_connect")
    subscribed(running, "a")
    publish(running, "a", 1)
    client.wait("news")
    running.server.disconnect(conn_id, 1012)
    publish(running, "a", *range(2, 12))
    running.events.wait("auth_connect", count=2)
    subscribed(running, "a")
    client.wait_for_log("offset=11 recovered=False")
    publish(running, "a", 12, 13)
    assert numbers(client.wait("news", count=3)) == [1, 12, 13]


def test_it_comes_back_to_a_server_that_was_restarted(serving: Factory, start: Start) -> None:
    running = serving()
    client = start(running.url, token=token(), topics=["a"])
    client.do("connect")
    subscribed(running, "a")
    publish(running, "a", 1, 2, 3)
    client.wait("news", count=3)
    running.server.stop()
    running.server.start()
    subscribed(running, "a")
    publish(running, "a", 4)
    assert numbers(client.wait("news", count=4)) == [1, 2, 3, 4]
    assert client.do("recovery_state")["a"][1] == 1


def test_it_asks_again_for_what_it_missed_on_a_live_connection(serving: Factory, start: Start) -> None:
    # A pattern begins in the middle of a topic; what the client then misses it recovers as the topic itself.
    running = serving()
    client = start(running.url, token=token(), topics=["p*"])
    client.do("connect")
    ((_, conn_id, _),) = running.events.wait("auth_connect")
    subscribed(running, "p*")
    publish(running, "px", 1)
    client.wait("news")
    running.server.unsubscribe_connection(conn_id, ["p*"])
    publish(running, "px", 2, 3)
    running.server.subscribe_connection(conn_id, ["p*"])
    publish(running, "px", 4)
    assert numbers(client.wait("news", count=4)) == [1, 2, 3, 4]
    publish(running, "px", 5)
    assert numbers(client.wait("news", count=5)) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("code", [1000, 4403])
def test_it_stays_away_when_it_is_told_to(serving: Factory, start: Start, code: int) -> None:
    running = serving()
    client = start(running.url, token=token())
    client.do("connect")
    ((_, conn_id, _),) = running.events.wait("auth_connect")
    running.server.disconnect(conn_id, code)
    running.events.wait("disconnect")
    in_the_meantime(running)
    users = [user for _, _, user in running.events.of("auth_connect")]
    assert users == ["user-7", "other"]


def test_a_drain_sends_it_elsewhere(serving: Factory, start: Start) -> None:
    running = serving()
    client = start(running.url, token=token())
    client.do("connect")
    running.events.wait("auth_connect")
    assert running.server.drain(timeout=5) == {"drained": 1, "cut": 0}
    (told,) = client.wait("reconnect")
    assert told["payload"]["retry_in_ms"] >= 0
    assert client.do("state") != "disconnected"


# ---- Where the application subscribes, as it did before ----


def test_an_application_may_subscribe_it_as_before(server_factory: Factory, start: Start) -> None:
    running = server_factory(jwt_secret=SECRET, recovery_enabled=True)
    client = start(running.url, token=token(), topics=["a"])
    client.do("connect")
    ((_, conn_id, wish),) = running.events.wait("msg")
    assert (wish["t"], wish["p"]) == ("subscription_update", {"action": "subscribe", "topics": ["a"]})
    answer = running.server.subscribe_with_recovery(conn_id, ["a"])
    place = answer["topics"]["a"]
    said = {"success_topics": ["a"], "failed_topics": [], "recovery": {"a": place}}
    running.server.send(conn_id, json.dumps({"c": "WSE", "t": "subscription_update", "p": said}))
    publish(running, "a", 1)
    assert numbers(client.wait("news")) == [1]
    assert client.do("recovery_state") == {"a": [place["epoch"], 1]}


# ---- Compressed, packed, sealed ----


@dataclass(frozen=True)
class Form:
    """How a client asks to be spoken to, what its messages begin with then, and what is not seen any more."""

    query: str
    options: dict[str, Any]
    mark: bytes
    unseen: bytes


FORMS = {
    "msgpack": Form("?format=msgpack", {}, b"M:", b'"p"'),
    "encrypted": Form("", {"encryption": True}, b"E:", b"news"),
    "both": Form("?format=msgpack", {"encryption": True}, b"E:", b"news"),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_it_hears_is_heard_and_recovers_in_the_form_that_it_asked_for(
    serving: Factory, start: Start, form: Form
) -> None:
    running = serving(compression="off")
    with Tap(running.port) as tap:
        client = start(tap.url + form.query, token=token(), topics=["a"], **form.options)
        client.do("connect")
        ((_, conn_id, _),) = running.events.wait("auth_connect")
        subscribed(running, "a")
        client.wait_for("is_fully_ready", True)
        client.wait_for_log("Server hello")
        greeted = len(tap.from_server)
        publish(running, "a", 1)
        running.server.send_event(conn_id, {"t": "alone", "p": {"text": "é" * 3000}})
        client.do("send", "chat", {"text": "é€😀" * 1000})
        assert running.events.wait("msg")[0][2]["p"] == {"text": "é€😀" * 1000}
        client.wait("alone")
        running.server.disconnect(conn_id, 1012)
        publish(running, "a", 2, 3)
        running.events.wait("auth_connect", count=2)
        client.wait("news", count=3)
        publish(running, "a", 4)
        heard = client.wait("news", "alone", count=5)
        assert numbers([event for event in heard if event["type"] == "news"]) == [1, 2, 3, 4]
        assert [event["payload"]["text"] for event in heard if event["type"] == "alone"] == ["é" * 3000]
        said = bytes(tap.from_server[greeted:])
    assert said.count(form.mark) >= 5
    assert form.unseen not in said


def test_the_tap_shows_what_is_said_in_clear(serving: Factory, start: Start) -> None:
    # So that what the other tests do not find there means something.
    running = serving(compression="off")
    with Tap(running.port) as tap:
        client = start(tap.url, token=token(), topics=["a"])
        client.do("connect")
        subscribed(running, "a")
        publish(running, "a", 1)
        client.wait("news")
        assert b"news" in tap.from_server
        assert b'"p"' in tap.from_server


def test_long_messages_come_to_it_compressed(serving: Factory, start: Start) -> None:
    running = serving()
    with Tap(running.port) as tap:
        client = start(tap.url, token=token())
        client.do("connect")
        ((_, conn_id, _),) = running.events.wait("auth_connect")
        client.wait_for_log("Server hello")
        greeted = len(tap.from_server)
        queued = running.server.send_event(conn_id, {"t": "long", "p": {"text": "é" * 3000}})
        (long,) = client.wait("long")
        assert long["payload"] == {"text": "é" * 3000}
        assert 0 < queued < 1000
        length = bytes([queued]) if queued < 126 else b"\x7e" + queued.to_bytes(2)
        assert tap.from_server[greeted:].startswith(b"\x82" + length + b"C:")


@pytest.mark.parametrize("compression", ["shared", "full"])
def test_permessage_deflate_works_with_it(serving: Factory, start: Start, compression: str) -> None:
    running = serving(compression=compression)
    client = start(running.url, token=token(), topics=["a"])
    client.do("connect")
    subscribed(running, "a")
    ((_, conn_id, _),) = running.events.wait("auth_connect")
    info = running.server.get_connection_info(conn_id)
    assert info is not None
    assert info["compressed"] is True
    for n in range(20):
        running.server.broadcast("a", json.dumps({"t": "news", "p": {"n": n, "text": "x" * 2000}}))
    assert numbers(client.wait("news", count=20)) == list(range(20))
    client.do("send", "chat", {"text": "x" * 50_000})
    assert running.events.wait("msg")[0][2]["p"] == {"text": "x" * 50_000}


# ---- Forms of a message ----


@pytest.mark.parametrize("query", ["", "?format=msgpack"])
@pytest.mark.parametrize("encryption", [False, True], ids=["clear", "sealed"])
def test_every_form_of_a_message_is_understood_both_ways(
    start: Start, serving: Factory, query: str, encryption: bool
) -> None:
    """It asks for zlib and permessage-deflate by itself, so that whatever is not sealed comes compressed."""
    running = serving()
    client = start(running.url + query, token=token(), encryption=encryption)
    client.do("connect")
    conn_id = running.events.wait("auth_connect")[0][1]
    wait_until(lambda: any("Server hello" in line for line in client.log), "the greeting is over")
    long = running.server.send_event(conn_id, {"t": "event", "p": {"n": 1, "long": "x" * 3000}})
    assert (long < 500) == (not encryption), "what is sealed is not compressed"
    running.server.subscribe_connection(conn_id, ["news"])
    publish(running, "news", 2, 3)
    running.server.send(conn_id, json.dumps({"c": "U", "t": "news", "p": {"n": 4}}))
    assert numbers(client.wait("event", "news", count=4)) == [1, 2, 3, 4]
    client.do("send", "order", {"n": 5})
    assert running.events.wait("msg")[0][2]["p"] == {"n": 5}
    assert encryption == any("encryption enabled" in line for line in client.log)
