"""Presence by clients themselves: they show themselves, and hear of others in their own form."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from forms import MSGPACK, Sealed, unpack
from presence import show, told
from sockets import TEXT, Client, Frame, client_frame, parse_frames, read_together
from support import HOST, Peer, Running
from wire import request

Factory = Callable[..., Running]


@pytest.fixture
def running(server_factory: Factory) -> Running:
    """A server with presence and without tokens: a user is a connection."""
    return server_factory(presence_enabled=True)


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
        restless = stack.enter_context(Client(running.port, receive_buffer=65536))
        for _, conn_id, _ in running.events.wait("connect", count=5):
            running.server.subscribe_connection(conn_id, ["room"])
        p = {"action": "subscribe", "topics": ["room"], "presence": {"n": -1}}
        restless.send(json.dumps({"t": "subscription_update", "p": p}))
        running.events.wait("presence_join")
        count = 30_000
        said = [{"t": "presence_update", "p": {"data": {"n": n, "pad": "x" * 200}}} for n in range(count)]
        sender = stack.enter_context(restless.socket.dup())
        sender.settimeout(120)
        sending = threading.Thread(target=sender.sendall, args=(b"".join(map(frame_of, said)),), daemon=True)
        sending.start()
        heard: dict[Client, list[int]] = {client: [] for client in (*readers, restless)}
        unread = {client: bytearray() for client in heard}

        def all_is_there(client: Client, data: bytes) -> bool:
            numbers = heard[client]
            assert data, f"cut after {len(numbers)}"
            unread[client] += data
            frames, used = parse_frames(unread[client])
            del unread[client][:used]
            numbers += shown(frames)
            return numbers[-1:] == [count - 1]

        # In one thread, in turns: nobody reads faster than another, also where the processor is busy. Who is
        # slower than most others is cut, as it should be.
        read_together(heard, all_is_there, timeout=60)
        sending.join()
    assert set(map(tuple, heard.values())) == {tuple(range(count))}, "and everybody has heard of everything"


def frame_of(message: dict[str, Any]) -> bytes:
    return client_frame(json.dumps(message).encode())


def shown(frames: list[Frame]) -> list[int]:
    """The numbers that users show in these messages."""
    messages = [json.loads(frame.payload) for frame in frames if frame.opcode == TEXT]
    return [message["p"]["data"]["n"] for message in messages if message["t"] == "presence_update"]
