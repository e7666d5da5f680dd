"""Presence: who is in a topic, as the program sees it and as the topic's subscribers hear it."""

from __future__ import annotations

import json
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import jwt
import pytest

from forms import MSGPACK, Sealed, unpack
from loglines import LogLines
from sockets import Client, client_frame
from support import HOST, Peer, Running, free_port, wait_until
from wire import request
from wse_server import RustWSEServer

Factory = Callable[..., Running]
SECRET = "a secret that has more than thirty-two bytes"
News = tuple[str, str, Any]
"""What a subscriber hears of presence: the word, the user, the data."""


@pytest.fixture
def running(server_factory: Factory) -> Running:
    """A server with presence and without tokens: a user is a connection."""
    return server_factory(presence_enabled=True)


@pytest.fixture
def users(server_factory: Factory) -> Running:
    """A server with presence whose clients have tokens."""
    return server_factory(presence_enabled=True, jwt_secret=SECRET)


def user(running: Running, name: str) -> Peer:
    """A client with a token of that user."""
    token = jwt.encode({"sub": name, "exp": int(time.time()) + 600}, SECRET, algorithm="HS256")
    # What is not read keeps no test waiting for the end of its client.
    peer = running.dial(token=token, close_timeout=0.1)
    assert peer.receive_json()["t"] == "server_ready"
    return peer


def show(running: Running, peer: Peer, data: dict[str, Any], *topics: str) -> None:
    """Subscribes a client with presence data."""
    answer = running.server.subscribe_connection(peer.conn_id, list(topics), presence_data=data)
    assert answer["subscribed"] == list(topics)


def told(running: Running, peer: Peer, topic: str | None = None) -> list[Any]:
    """What a client has heard up to now, presence as `News` (of one topic, or of all with their topics)."""
    running.server.send(peer.conn_id, '{"t":"end"}')
    heard: list[Any] = []
    while (message := peer.receive_json())["t"] != "end":
        if message["t"].startswith("presence_"):
            assert message["c"] == "WSE"
            assert set(message["p"]) == {"topic", "user_id", "data"}
            p = message["p"]
            news = (message["t"].removeprefix("presence_"), p["user_id"], p["data"])
            heard.append((p["topic"], *news) if topic is None else news)
            assert topic in (None, p["topic"])
        else:
            heard.append(message["t"])
    return heard


def by_topic(heard: list[Any]) -> dict[str, list[Any]]:
    """What happened in each topic, to somebody: between topics there is no order."""
    topics: dict[str, list[Any]] = {}
    for topic, word, _, data in heard:
        topics.setdefault(topic, []).append((word, data))
    return topics


def events(running: Running) -> list[tuple[str, str, str, Any]]:
    """What the program was told of presence so far: the word, the topic, the user, the data."""
    kinds = ("presence_join", "presence_leave")
    return [
        (kind.removeprefix("presence_"), data["topic"], data["user_id"], data["data"])
        for kind, _, data in running.events.of(*kinds)
    ]


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


# ---- Order ----


def test_a_join_comes_before_what_is_published_after_it(running: Running) -> None:
    looker, other = running.subscriber("room"), running.subscriber("else")
    peer = running.dial(close_timeout=0.1)
    for number in range(200):
        show(running, peer, {"n": number}, "room")
        running.server.broadcast("room", f'{{"t":"{number}"}}')
        running.server.unsubscribe_connection(peer.conn_id)
        running.server.broadcast("else", '{"t":"else"}')
        running.server.send(looker.conn_id, f'{{"t":"{number} gone"}}')
    expected: list[Any] = []
    for number in range(200):
        data = {"n": number}
        expected += [
            ("join", peer.conn_id, data),
            str(number),
            ("leave", peer.conn_id, data),
            f"{number} gone",
        ]
    assert told(running, looker, "room") == expected
    assert told(running, other) == ["else"] * 200


@pytest.mark.parametrize("shards", [1, 2])
def test_what_a_listener_hears_adds_up_to_who_is_there(server_factory: Factory, shards: int) -> None:
    running = server_factory(presence_enabled=True, jwt_secret=SECRET, shards=shards)
    lookers = [user(running, "looker") for _ in range(3)]
    for looker, filters in zip(lookers, (["a", "b"], ["*"], ["a", "*"]), strict=True):
        running.server.subscribe_connection(looker.conn_id, filters)
    peers = [user(running, f"user-{number % 4}") for number in range(8)]

    def come_and_go(seed: int) -> None:
        """One thread has two connections, each of a user who has another connection in another thread."""
        luck = random.Random(seed)  # noqa: S311
        for number in range(150):
            peer = peers[seed + 4 * luck.randrange(2)]
            topics = luck.choice([["a"], ["b"], ["a", "b"]])
            match luck.randrange(4):
                case 0:
                    running.server.unsubscribe_connection(peer.conn_id, topics)
                case 1:
                    running.server.update_presence(peer.conn_id, {"n": number, "by": seed})
                case _:
                    running.server.subscribe_connection(peer.conn_id, topics, presence_data={"n": number})

    threads = [threading.Thread(target=come_and_go, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    truth = {topic: running.server.presence(topic) for topic in ("a", "b")}
    stories = [told(running, looker) for looker in lookers]
    for story in stories:
        seen: dict[str, dict[str, Any]] = {"a": {}, "b": {}}
        for topic, word, who, data in story:
            assert (who in seen[topic]) == (word != "join"), f"{word} of {who} in {topic}: {story[-20:]}"
            if word == "leave":
                assert seen[topic].pop(who) == data
            else:
                seen[topic][who] = data
        shown = {topic: {who: it["data"] for who, it in people.items()} for topic, people in truth.items()}
        assert seen == shown
    count = sum(news[1] != "update" for news in stories[1])
    running.events.wait("presence_join", "presence_leave", count=count)
    for topic in ("a", "b"):
        of_topic = [[news for news in story if news[0] == topic] for story in stories]
        assert of_topic[0] == of_topic[1] == of_topic[2], "all hear the same, in one order"
        heard = [news[1:] for news in of_topic[0] if news[1] != "update"]
        assert [(word, who, data) for word, where, who, data in events(running) if where == topic] == heard


def test_one_user_whose_connections_race_joins_and_leaves_in_turn(users: Running) -> None:
    looker = user(users, "looker")
    users.server.subscribe_connection(looker.conn_id, ["room"])
    peers = [user(users, "ann") for _ in range(3)]

    def flap(peer: Peer) -> None:
        for _ in range(200):
            users.server.subscribe_connection(peer.conn_id, ["room"], presence_data={})
            users.server.unsubscribe_connection(peer.conn_id, ["room"])

    threads = [threading.Thread(target=flap, args=(peer,)) for peer in peers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    words = [news[0] for news in told(users, looker, "room")]
    assert words == ["join", "leave"] * (len(words) // 2)
    assert words
    users.events.wait("presence_leave", count=len(words) // 2)
    assert [event[0] for event in events(users)] == words
    assert users.server.presence("room") == {}


# ---- The program that does not listen ----


def test_joins_wait_for_room_in_a_full_queue_and_no_leave_is_lost() -> None:
    server = RustWSEServer(HOST, port := free_port(), presence_enabled=True, max_inbound_queue_size=8)
    server.enable_drain_mode()
    server.start()
    try:
        clients = [Client(port) for _ in range(4)]
        wait_until(lambda: server.inbound_queue_depth() == 4, "four have come")
        first, second, third, fourth = [conn for _, conn, _ in server.drain_inbound(8, 1000)]
        server.subscribe_connection(first, ["room"], presence_data={})
        for _ in range(100):
            for conn in (second, third):
                server.subscribe_connection(conn, ["room"], presence_data={"n": 1})
                server.unsubscribe_connection(conn, ["room"])
        server.subscribe_connection(third, ["room"], presence_data={"n": 2})
        server.update_presence(third, {"n": 3})
        server.subscribe_connection(fourth, ["room"], presence_data={})
        server.unsubscribe_connection(fourth)
        server.unsubscribe_connection(first)
        assert server.inbound_queue_depth() <= 2 * 8, "what comes and goes unheard is not kept"
        seen: dict[str, Any] = {}
        told_of: list[tuple[str, str]] = []

        def drain() -> bool:
            for kind, conn, data in server.drain_inbound(3, 0):
                assert conn == data["user_id"]
                assert (conn in seen) == (kind == "presence_leave"), told_of
                told_of.append((kind, conn))
                if kind == "presence_join":
                    seen[conn] = data["data"]
                else:
                    del seen[conn]
            return list(seen) == [third] and seen[third] == {"n": 3}

        wait_until(drain, "what was owed is told")
        assert server.inbound_queue_depth() == 0
        assert ("presence_leave", first) in told_of
        assert (kind_of := [kind for kind, conn in told_of if conn == fourth]) == [], kind_of
        for client in clients:
            client.close()
        wait_until(lambda: server.inbound_queue_depth() == 5, "one leave and four ends")
        kinds = [kind for kind, _, _ in server.drain_inbound(8, 1000)]
        assert sorted(kinds) == ["disconnect"] * 4 + ["presence_leave"]
    finally:
        server.stop()


def test_with_callbacks_presence_is_kept_but_not_called_back() -> None:
    server = RustWSEServer(HOST, port := free_port(), presence_enabled=True)
    called: list[tuple[str, Any]] = []
    server.set_callbacks(
        lambda conn_id, _: called.append(("connect", conn_id)),
        lambda _, data: called.append(("message", data)),
        lambda conn_id: called.append(("disconnect", conn_id)),
    )
    server.start()
    try:
        with Client(port) as client:
            wait_until(lambda: called, "connected")
            conn_id = called[0][1]
            server.subscribe_connection(conn_id, ["room"], presence_data={"a": 1})
            assert server.presence("room") == {conn_id: {"data": {"a": 1}, "connections": 1}}
            (frame,) = client.frames(1)
            assert json.loads(frame.payload)["t"] == "presence_join"
        wait_until(lambda: len(called) == 2, "gone")
        assert called == [("connect", conn_id), ("disconnect", conn_id)]
        assert server.presence("room") == {}
        assert server.inbound_queue_depth() == 0
    finally:
        server.stop()


# ---- Figures, and a crowd ----


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


@pytest.mark.parametrize("shards", [1, 2])
def test_in_a_storm_everybody_hears_of_everybody_who_comes_after(
    server_factory: Factory, shards: int
) -> None:
    count = 300
    running = server_factory(presence_enabled=True, shards=shards)
    clients = [Client(running.port) for _ in range(count)]
    ids = [conn for _, conn, _ in running.events.wait("connect", count=count, timeout=60)]
    by_port = {}
    for conn_id in ids:
        info = running.server.get_connection_info(conn_id)
        assert info is not None
        by_port[info["port"]] = conn_id
    for number, conn_id in enumerate(ids):
        running.server.subscribe_connection(conn_id, ["room"], presence_data={"n": number})
    running.server.broadcast("room", "[end]")
    heard: dict[str, list[str]] = defaultdict(list)
    for client in clients:
        me = by_port[client.socket.getsockname()[1]]
        for frame in client.frames_until(b"[end]", timeout=60):
            if frame.payload != b"[end]":
                heard[me].append(json.loads(frame.payload)["p"]["user_id"])
    for number, conn_id in enumerate(ids):
        mine = heard[conn_id]
        assert mine == ids[number:], "itself and all who came after it, in their order"
    assert running.server.presence_stats("room") == {"num_users": count, "num_connections": count}
    for client in clients:
        client.close()
    running.events.wait("presence_leave", count=count, timeout=60)
    assert running.server.presence("room") == {}


# ---- By clients themselves ----


def command(peer: Peer, kind: str, **p: object) -> dict[str, Any]:
    """Sends a command and returns what comes next."""
    peer.send({"t": kind, "cid": "1", "p": p})
    return peer.receive_json()


def test_clients_show_themselves_where_they_may_subscribe(server_factory: Factory) -> None:
    running = server_factory(presence_enabled=True, client_subscriptions=True)
    looker, peer = running.subscriber("room"), running.dial()
    answer = command(
        peer, "subscription_update", action="subscribe", topics=["room", "r*"], presence={"name": "Ann"}
    )
    assert answer["p"]["success_topics"] == ["room", "r*"]
    assert running.server.presence("room") == {peer.conn_id: {"data": {"name": "Ann"}, "connections": 1}}
    peer.send({"t": "presence_update", "p": {"data": {"name": "Ann", "away": True}}})
    peer.send({"t": "subscription_update", "p": {"action": "unsubscribe", "topics": ["room"]}})
    running.events.wait("presence_leave")
    assert [news[::2] for news in told(running, looker, "room")] == [
        ("join", {"name": "Ann"}),
        ("update", {"name": "Ann", "away": True}),
        ("leave", {"name": "Ann", "away": True}),
    ]
    heard = told(running, peer)
    assert [news[1] for news in heard if isinstance(news, tuple)] == ["join", "update", "leave"], heard


def test_a_client_comes_before_it_joins_however_fast_it_is(server_factory: Factory) -> None:
    running = server_factory(presence_enabled=True, client_subscriptions=True)
    p = {"action": "subscribe", "topics": ["room"], "presence": {}}
    said = [{"t": "hello"}, {"t": "subscription_update", "p": p}, {"t": "goodbye"}]
    with socket.create_connection((HOST, running.port)) as raw:
        # All in one piece, so that it is read in one.
        raw.sendall(request() + b"".join(client_frame(json.dumps(message).encode()) for message in said))
        running.events.wait("msg", count=2)
    running.events.wait("disconnect")
    kinds = [kind for kind, _, _ in running.events.seen]
    assert kinds == ["connect", "msg", "presence_join", "msg", "presence_leave", "disconnect"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ('{"a":"\\ud800"}', "the message is no JSON"),
        ('{"a":1e999}', "the message is no JSON"),
        (
            '{"a":"' + "x" * 100 + '"}',
            "p.data: presence data of 108 bytes as JSON: presence_max_data_size is 64",
        ),
    ],
)
def test_what_a_client_can_not_show_is_answered_with_an_error(
    server_factory: Factory, data: str, words: str
) -> None:
    running = server_factory(presence_enabled=True, client_subscriptions=True, presence_max_data_size=64)
    peer = running.dial()
    show(running, peer, {"a": 1}, "room")
    assert peer.receive_json()["t"] == "presence_join"
    peer.send(f'{{"t":"presence_update","p":{{"data":{data}}}}}')
    error = peer.receive_json()
    assert (error["t"], error["p"]["code"]) == ("error", "INVALID_ACTION")
    assert words in error["p"]["message"]
    topics = '"action":"subscribe","topics":["other"]'
    peer.send(f'{{"t":"subscription_update","p":{{{topics},"presence":{data}}}}}')
    assert words.replace("p.data:", "p.presence:") in peer.receive_json()["p"]["message"]
    assert running.server.presence("room") == {peer.conn_id: {"data": {"a": 1}, "connections": 1}}
    assert running.server.get_topic_subscriber_count("other") == 0


def test_where_nobody_is_present_a_client_is_told_so(server_factory: Factory) -> None:
    running = server_factory(client_subscriptions=True)
    peer = running.dial()
    for kind, p in (
        ("presence_update", {"data": {}}),
        ("subscription_update", {"action": "subscribe", "topics": ["room"], "presence": {}}),
    ):
        error = command(peer, kind, **p)
        assert error["p"]["code"] == "NOT_ALLOWED"
        assert "this server tracks no presence" in error["p"]["message"]


def test_news_come_in_the_form_that_each_client_wants(running: Running) -> None:
    plain, packed, sealed = running.dial(), running.dial(query=MSGPACK), Sealed(running)
    receive: list[Callable[[], dict[str, Any]]] = [
        plain.receive_json,
        lambda: unpack(packed.receive()),
        sealed.receive_json,
    ]
    for conn_id in (plain.conn_id, packed.conn_id, sealed.conn_id):
        running.server.subscribe_connection(conn_id, ["room"])
    guest = running.dial()
    show(running, guest, {"name": "Zoë"}, "room")
    running.server.unsubscribe_connection(guest.conn_id)
    for one in receive:
        for word in ("presence_join", "presence_leave"):
            p = {"topic": "room", "user_id": guest.conn_id, "data": {"name": "Zoë"}}
            assert one() == {"c": "WSE", "t": word, "p": p, "v": 1}


def test_a_client_that_changes_all_the_time_waits_for_those_who_hear_of_it(server_factory: Factory) -> None:
    """Nobody who reads is cut for it, though nobody can read as fast as one can change."""
    running = server_factory(
        presence_enabled=True,
        client_subscriptions=True,
        rate_limit_capacity=1e9,
        rate_limit_refill=1e9,
        max_outbound_queue_bytes=3_000_000,
    )
    with ExitStack() as stack:
        readers = [stack.enter_context(Client(running.port, receive_buffer=65536)) for _ in range(4)]
        restless = stack.enter_context(Client(running.port))
        for _, conn_id, _ in running.events.wait("connect", count=5):
            running.server.subscribe_connection(conn_id, ["room"])
        p = {"action": "subscribe", "topics": ["room"], "presence": {"n": -1}}
        restless.send(json.dumps({"t": "subscription_update", "p": p}))
        running.events.wait("presence_join")
        count = 30_000
        said = [{"t": "presence_update", "p": {"data": {"n": n, "pad": "x" * 200}}} for n in range(count)]
        sending = threading.Thread(
            target=restless.send_raw, args=(b"".join(map(frame_of, said)), 120), daemon=True
        )
        sending.start()
        with ThreadPoolExecutor(5) as pool:
            reading = [pool.submit(read_until, client, count - 1) for client in (*readers, restless)]
            heard = [one.result() for one in reading]
        sending.join()
    assert heard == [list(range(count))] * 5, "and everybody has heard of everything"


def frame_of(message: dict[str, Any]) -> bytes:
    return client_frame(json.dumps(message).encode())


def read_until(client: Client, last: int) -> list[int]:
    """The numbers that a client was shown, up to the last one."""
    numbers: list[int] = []
    while not numbers or numbers[-1] != last:
        frames = client.take(60)
        assert client.ended is None, f"cut with {client.ended} after {len(numbers)}"
        messages = [json.loads(frame.payload) for frame in frames if frame.opcode == 1]
        numbers += [message["p"]["data"]["n"] for message in messages if message["t"] == "presence_update"]
    return numbers
