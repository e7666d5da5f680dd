"""Presence when much happens at once: every listener hears all of it, in one order."""

from __future__ import annotations

import json
import random
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from presence import SECRET, events, show, told, user
from sockets import Client
from support import HOST, Peer, Running, free_port, wait_until
from wse_server import RustWSEServer

Factory = Callable[..., Running]


@pytest.fixture
def running(server_factory: Factory) -> Running:
    """A server with presence and without tokens: a user is a connection."""
    return server_factory(presence_enabled=True)


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


# ---- A crowd ----


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
