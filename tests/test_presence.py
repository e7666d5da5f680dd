"""Presence: who is in a topic, as the program sees it and as the topic's subscribers hear it."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from loglines import LogLines
from presence import SECRET, by_topic, events, show, told, user
from sockets import Client
from support import Running

Factory = Callable[..., Running]


@pytest.fixture
def running(server_factory: Factory) -> Running:
    """A server with presence and without tokens: a user is a connection."""
    return server_factory(presence_enabled=True)


# ---- Who is there ----


def test_a_user_joins_with_the_first_connection_and_leaves_with_the_last(users: Running) -> None:
    looker = user(users, "looker")
    users.server.subscribe_connection(looker.conn_id, ["room"])
    first, second = user(users, "ann"), user(users, "ann")
    show(users, first, {"name": "Ann"}, "room")
    assert told(users, looker, "room") == [("join", "ann", {"name": "Ann"})]
    show(users, second, {"name": "Ann"}, "room")
    assert users.server.presence("room") == {"ann": {"data": {"name": "Ann"}, "connections": 2}}
    assert users.server.presence_stats("room") == {"num_users": 1, "num_connections": 2}
    users.server.unsubscribe_connection(first.conn_id, ["room"])
    assert users.server.presence("room") == {"ann": {"data": {"name": "Ann"}, "connections": 1}}
    assert told(users, looker, "room") == [], "ann is still there"
    second.close()
    users.events.wait("disconnect")
    assert told(users, looker, "room") == [("leave", "ann", {"name": "Ann"})]
    assert users.server.presence("room") == {}
    assert users.server.presence_stats("room") == {"num_users": 0, "num_connections": 0}
    assert events(users) == [
        ("join", "room", "ann", {"name": "Ann"}),
        ("leave", "room", "ann", {"name": "Ann"}),
    ]


def test_whoever_joins_hears_of_it_and_whoever_leaves_does_not(running: Running) -> None:
    peer = running.dial()
    show(running, peer, {}, "room")
    assert told(running, peer, "room") == [("join", peer.conn_id, {})]
    running.server.unsubscribe_connection(peer.conn_id)
    assert told(running, peer, "room") == []
    assert running.events.wait("presence_leave") == [
        ("presence_leave", peer.conn_id, {"topic": "room", "user_id": peer.conn_id, "data": {}})
    ]


def test_without_presence_data_one_listens_and_is_not_seen(running: Running) -> None:
    looker, peer = running.subscriber("room"), running.dial()
    assert running.server.presence("room") == {}
    show(running, peer, {"a": 1}, "room")
    assert told(running, looker, "room") == [("join", peer.conn_id, {"a": 1})]
    running.server.update_presence(looker.conn_id, {"b": 2})
    running.server.unsubscribe_connection(looker.conn_id)
    running.server.subscribe_connection(looker.conn_id, ["room"])
    assert list(running.server.presence("room")) == [peer.conn_id]
    assert told(running, looker, "room") == []


def test_subscribing_again_with_data_shows_a_silent_listener(running: Running) -> None:
    peer = running.subscriber("room")
    show(running, peer, {"a": 1}, "room")
    show(running, peer, {"a": 1}, "room")
    show(running, peer, {"a": 2}, "room")
    running.server.subscribe_connection(peer.conn_id, ["room"])
    assert told(running, peer, "room") == [
        ("join", peer.conn_id, {"a": 1}),
        ("update", peer.conn_id, {"a": 2}),
    ]
    assert running.server.presence_stats("room") == {"num_users": 1, "num_connections": 1}


def test_a_pattern_is_no_place_but_hears_what_happens_in_its_topics(running: Running) -> None:
    looker, peer = running.dial(), running.dial()
    show(running, looker, {"x": 1}, "room:*")
    show(running, peer, {}, "room:1", "room:2", "other")
    running.server.disconnect(peer.conn_id)
    running.events.wait("disconnect")
    heard = by_topic(told(running, looker))
    assert heard == {topic: [("join", {}), ("leave", {})] for topic in ("room:1", "room:2")}
    with pytest.raises(ValueError, match=r"room:\*.*pattern"):
        running.server.presence("room:*")
    with pytest.raises(ValueError, match="at least 1 byte"):
        running.server.presence_stats("")


# ---- What is shown ----


def test_new_data_go_to_every_topic_in_which_the_connection_is_present(running: Running) -> None:
    looker, peer = running.subscriber("*"), running.dial()
    show(running, peer, {"at": 1}, "a", "b")
    running.server.subscribe_connection(peer.conn_id, ["silent"])
    running.server.update_presence(peer.conn_id, {"at": 2})
    running.server.update_presence(peer.conn_id, {"at": 2})
    heard = by_topic(told(running, looker))
    assert heard == {topic: [("join", {"at": 1}), ("update", {"at": 2})] for topic in ("a", "b")}
    assert running.server.presence("a") == {peer.conn_id: {"data": {"at": 2}, "connections": 1}}
    assert running.server.presence("silent") == {}
    running.events.wait("presence_join", count=2)
    assert len(events(running)) == 2, "the program knows of its own updates"


def test_the_newest_data_of_a_users_connections_are_shown(users: Running) -> None:
    one, two = user(users, "ann"), user(users, "ann")
    show(users, one, {"from": "one"}, "room")
    show(users, two, {"from": "two"}, "room")
    assert users.server.presence("room") == {"ann": {"data": {"from": "two"}, "connections": 2}}
    users.server.update_presence(one.conn_id, {"from": "one again"})
    users.server.disconnect(one.conn_id)
    users.events.wait("disconnect")
    assert users.server.presence("room") == {"ann": {"data": {"from": "one again"}, "connections": 1}}
    assert told(users, two, "room") == [
        ("update", "ann", {"from": "two"}),
        ("update", "ann", {"from": "one again"}),
    ]


def test_data_come_back_as_they_were_given(running: Running) -> None:
    data = {"é\n": [1, -2.5, True, None, {"deep": ["x" * 100]}], "big": 2**70, "": "\U0001f600", "t": "end"}
    peer = running.dial()
    show(running, peer, data, 'room "1"')
    assert running.server.presence('room "1"') == {peer.conn_id: {"data": data, "connections": 1}}
    assert told(running, peer, 'room "1"') == [("join", peer.conn_id, data)]
    assert running.events.wait("presence_join")[0][2]["data"] == data


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        ("text", TypeError, "presence_data is of type str; allowed: dict"),
        (["a"], TypeError, "presence_data is of type list; allowed: dict"),
        ({"a": object()}, TypeError, r'presence_data\["a"\] is of type object'),
        ({1: 2}, TypeError, "presence_data has the key 1; allowed: str"),
        ({"a": [float("nan")]}, ValueError, r'presence_data\["a"\]\[0\] is NaN'),
        ({"a": "\ud800"}, ValueError, "lone surrogate"),
    ],
)
def test_data_that_json_can_not_say_are_an_error_that_names_them(
    running: Running, data: dict[str, Any], error: type[Exception], words: str
) -> None:
    peer = running.dial()
    with pytest.raises(error, match=words):
        running.server.subscribe_connection(peer.conn_id, ["room"], presence_data=data)
    assert running.server.get_topic_subscriber_count("room") == 0
    with pytest.raises(error, match=words.replace("presence_data", "data")):
        running.server.update_presence(peer.conn_id, data)


def test_data_over_the_limit_are_refused_with_a_line_in_the_log(server_factory: Factory) -> None:
    running = server_factory(presence_enabled=True, presence_max_data_size=16)
    exact, over = {"a": "x" * 8}, {"a": "x" * 9}
    peer = running.dial()
    with LogLines() as log:
        running.server.subscribe_connection(peer.conn_id, ["room"], presence_data=over)
        (line,) = log.wait("presence_max_data_size")
        assert line.levelname == "WARNING"
        assert "17 bytes" in line.getMessage()
        assert "is 16" in line.getMessage()
    assert running.server.get_topic_subscriber_count("room") == 1, "subscribed all the same"
    assert running.server.presence("room") == {}
    show(running, peer, exact, "room")
    running.server.update_presence(peer.conn_id, over)
    assert running.server.presence("room")[peer.conn_id]["data"] == exact
    assert told(running, peer, "room") == [("join", peer.conn_id, exact)]


def test_users_beyond_the_limit_are_subscribed_but_not_listed(server_factory: Factory) -> None:
    running = server_factory(presence_enabled=True, presence_max_members=2, jwt_secret=SECRET)
    peers = [user(running, name) for name in ("a", "b", "c", "a")]
    for peer in peers:
        show(running, peer, {}, "room")
    assert {who: it["connections"] for who, it in running.server.presence("room").items()} == {"a": 2, "b": 1}
    running.server.broadcast("room", '{"t":"hello"}')
    assert told(running, peers[2], "room") == ["hello"], "not listed, but a subscriber like others"
    running.server.update_presence(peers[2].conn_id, {"not": "there"})
    running.server.unsubscribe_connection(peers[1].conn_id)
    assert set(running.server.presence("room")) == {"a"}, "nobody moves up by itself"
    show(running, peers[2], {}, "room")
    assert set(running.server.presence("room")) == {"a", "c"}, "asking again gives a free place"
    running.server.unsubscribe_connection(peers[2].conn_id)
    running.events.wait("presence_leave", count=2)
    assert [event[::2] for event in events(running)] == [
        ("join", "a"), ("join", "b"), ("leave", "b"), ("join", "c"), ("leave", "c"),
    ]  # fmt: skip


def test_without_presence_enabled_nobody_is_present(server_factory: Factory) -> None:
    running = server_factory()
    peer = running.dial()
    with pytest.raises(ValueError, match=r"presence_data.*presence_enabled"):
        running.server.subscribe_connection(peer.conn_id, ["room"], presence_data={})
    with pytest.raises(ValueError, match="presence_enabled"):
        running.server.update_presence(peer.conn_id, {})
    running.server.subscribe_connection(peer.conn_id, ["room"])
    assert running.server.presence("room") == {}
    assert told(running, peer, "room") == []


# ---- However it ends ----


Leave = Callable[[Running, str, Client], object]
ENDS: dict[str, Leave] = {
    "disconnect": lambda running, conn_id, _: running.server.disconnect(conn_id),
    "close": lambda *who: who[2].send(struct.pack("!H", 1000), 8),
    "shut": lambda *who: who[2].socket.shutdown(socket.SHUT_RDWR),
    "reset": lambda *who: who[2].reset(),
    "garbage": lambda *who: who[2].send_raw(b"\xff" * 100),
    "access": lambda running, conn_id, _: running.server.set_topic_acl(conn_id, deny=["room"]),
    "unsubscribe": lambda running, conn_id, _: running.server.unsubscribe_connection(conn_id),
    "silence": lambda *_: None,
    "drain": lambda running, *_: running.server.drain(timeout=2),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_user_leaves_however_it_ends(server_factory: Factory, end: str) -> None:
    running = server_factory(presence_enabled=True, ping_interval=0.2, idle_timeout=1.0)
    looker = running.subscriber("room")
    with Client(running.port) as client:
        conn_id = running.events.wait("connect", count=2)[1][1]
        running.server.subscribe_connection(conn_id, ["room"], presence_data={"end": end})
        ENDS[end](running, conn_id, client)
        expect_one_visit(running, conn_id, {"end": end})
        if end != "drain":
            visit = [(word, conn_id, {"end": end}) for word in ("join", "leave")]
            assert told(running, looker, "room") == visit
        if end not in ("access", "unsubscribe"):
            running.events.wait("disconnect")
            kinds = [kind for kind, conn, _ in running.events.seen if conn == conn_id]
            assert kinds == ["connect", "presence_join", "presence_leave", "disconnect"]


def expect_one_visit(running: Running, conn_id: str, data: dict[str, Any]) -> None:
    """Waits until somebody has left, and checks that it is who came, and that nobody is left."""
    running.events.wait("presence_leave")
    assert running.server.presence("room") == {}
    assert events(running) == [(word, "room", conn_id, data) for word in ("join", "leave")]


def test_a_user_leaves_when_its_process_is_killed(running: Running) -> None:
    looker = running.subscriber("room")
    program = f"""
import time, websockets.sync.client as client
keep = client.connect("{running.url}", proxy=None, legacy=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        conn_id = running.events.wait("connect", count=2)[1][1]
        running.server.subscribe_connection(conn_id, ["room"], presence_data={})
        process.kill()
    expect_one_visit(running, conn_id, {})
    assert told(running, looker, "room") == [("join", conn_id, {}), ("leave", conn_id, {})]


def test_stop_tells_the_program_of_everybodys_leave_before_the_end(running: Running) -> None:
    peers = [running.dial() for _ in range(5)]
    for peer in peers:
        show(running, peer, {}, "a", "b")
    running.server.stop()
    running.events.wait("disconnect", count=5)
    for peer in peers:
        kinds = [kind for kind, conn, _ in running.events.seen if conn == peer.conn_id]
        assert kinds == ["connect", *["presence_join"] * 2, *["presence_leave"] * 2, "disconnect"]
    assert running.server.presence("a") == {}
    running.server.start()
    assert running.server.presence("a") == {}
    assert running.server.health_snapshot()["presence_total_users"] == 0


def test_what_a_client_said_comes_before_its_leave(running: Running) -> None:
    peer = running.dial()
    show(running, peer, {}, "room")
    for number in range(50):
        peer.send({"t": "said", "p": number})
    peer.close()
    running.events.wait("disconnect")
    kinds = [kind for kind, conn, _ in running.events.seen if conn == peer.conn_id]
    assert kinds == ["connect", "presence_join", *["msg"] * 50, "presence_leave", "disconnect"]


# ---- Figures ----


def test_health_and_metrics_count_topics_and_users(users: Running) -> None:
    one, two, three = user(users, "ann"), user(users, "ann"), user(users, "bob")
    show(users, one, {}, "a", "b")
    show(users, two, {}, "a")
    show(users, three, {}, "a", "c")
    health = users.server.health_snapshot()
    assert (health["presence_enabled"], health["presence_topics"], health["presence_total_users"]) == (
        True,
        3,
        4,
    )
    lines = users.server.prometheus_metrics().splitlines()
    assert "wse_presence_topics 3" in lines
    assert "wse_presence_users 4" in lines


def test_calls_for_nobody_do_nothing(running: Running) -> None:
    peer = running.dial()
    peer.close()
    running.events.wait("disconnect")
    for conn_id in (peer.conn_id, "nobody", ""):
        running.server.update_presence(conn_id, {"a": 1})
        answer = running.server.subscribe_connection(conn_id, ["room"], presence_data={})
        assert answer["refused"] == {"room": "the connection is closed"}
    assert running.server.presence("room") == {}
