"""A program of the plain engine that decides about topics, sees claims, and holds clients back."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support import HOST, PATIENCE, wait_until
from wire import CLOSE, TEXT, Wire, close_payload
from wse_server import RustWSEServer

Servers = Callable[..., RustWSEServer]
SECRET = "a secret that has more than thirty-two bytes"


def start(claims: bool = False, authorize: bool = True, **options: Any) -> RustWSEServer:
    server = RustWSEServer(HOST, 0, client_subscriptions=True, client_publish=True, **options)
    server.enable_drain_mode(claims=claims, authorize=authorize)
    server.start()
    return server


@pytest.fixture
def servers() -> Iterator[Servers]:
    """Starts servers and stops them."""
    running: list[RustWSEServer] = []

    def one(**options: Any) -> RustWSEServer:
        running.append(start(**options))
        return running[-1]

    yield one
    for server in running:
        server.stop()


def next_event(server: RustWSEServer, kind: str) -> tuple[str, Any]:
    """The next event, which is of this kind: its connection and its data."""
    ((found, conn_id, data),) = server.drain_inbound(1, PATIENCE * 1000)
    assert found == kind
    return conn_id, data


def say(wire: Wire, event: str, payload: object, **more: object) -> None:
    wire.send(TEXT, json.dumps({"t": event, "p": payload, **more}).encode())


def subscribe(wire: Wire, *topics: str) -> None:
    say(wire, "subscription_update", {"action": "subscribe", "topics": topics})


def hear(wire: Wire) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(wire.frame().payload)
    return message


def test_a_client_waits_for_the_answer_and_goes_on_with_it(servers: Servers) -> None:
    server = servers()
    with Wire(server.port) as wire:
        conn_id, _ = next_event(server, "connect")
        subscribe(wire, "a", "b", "c*")
        say(wire, "message", 1)
        assert next_event(server, "authorize") == (
            conn_id,
            {"action": "subscribe", "topics": ["a", "b", "c*"]},
        )
        assert server.drain_inbound(1, 50) == []
        # Part of an answer: the rest is asked for again.
        server.authorize_connection(conn_id, "subscribe", {"a": True})
        assert next_event(server, "authorize") == (conn_id, {"action": "subscribe", "topics": ["b", "c*"]})
        server.authorize_connection(conn_id, "subscribe", {"b": "b is not for you", "c*": False})
        answer = hear(wire)["p"]
        assert answer["success_topics"] == ["a"]
        assert answer["errors"]["b"] == {"code": "NOT_ALLOWED", "message": "b is not for you"}
        assert answer["errors"]["c*"]["message"] == "the server does not allow it"
        assert next_event(server, "msg")[1]["p"] == 1


def test_answers_that_nobody_waits_for_do_nothing(servers: Servers) -> None:
    server = servers()
    with Wire(server.port) as wire:
        conn_id, _ = next_event(server, "connect")
        server.authorize_connection(conn_id, "publish", {"t": True})
        server.authorize_connection("unknown", "publish", {"t": True})
        # It was decided before it was asked for.
        say(wire, "publish", {"topic": "t", "data": {}}, cid="1")
        assert hear(wire)["t"] == "publish"
        server.forget_authorizations(conn_id)
        say(wire, "publish", {"topic": "t", "data": {}}, cid="2")
        assert next_event(server, "authorize") == (conn_id, {"action": "publish", "topics": ["t"]})
    server.authorize_connection(conn_id, "publish", {"t": True})
    assert next_event(server, "disconnect")[0] == conn_id
    server.authorize_connection(conn_id, "publish", {"t": True})


def test_questions_of_many_clients_are_answered_in_any_order(servers: Servers) -> None:
    server = servers()
    wires = [Wire(server.port) for _ in range(50)]
    try:
        for wire in wires:
            subscribe(wire, "t")
        asked: list[str] = []
        while len(asked) < len(wires):
            asked += [
                conn for kind, conn, _ in server.drain_inbound(256, PATIENCE * 1000) if kind == "authorize"
            ]
        for conn_id in reversed(asked):
            server.authorize_connection(conn_id, "subscribe", {"t": True})
        for wire in wires:
            assert hear(wire)["p"]["success_topics"] == ["t"]
        assert server.get_topic_subscriber_count("t") == len(wires)
    finally:
        for wire in wires:
            wire.close()


@pytest.mark.parametrize("decisions", [{1: True}, {"t": None}, {"t": 1}, {"t": ["reason"]}])
def test_decisions_have_a_form(servers: Servers, decisions: dict[str, bool | str]) -> None:
    with pytest.raises(TypeError, match="decisions must map a topic to True, False or a reason"):
        servers().authorize_connection("x", "publish", decisions)
    with pytest.raises(ValueError, match="action must be 'subscribe' or 'publish'"):
        servers().authorize_connection("x", "write", {})  # type: ignore[arg-type]


def test_claims_are_told_whole(servers: Servers) -> None:
    server = servers(claims=True, authorize=False, jwt_secret=SECRET)
    claims = {"sub": "ann", "exp": int(time.time()) + 3600, "role": "x", "big": 2**80, "list": [1.5, None]}
    bearer: dict[str, str | None] = {"Authorization": f"Bearer {server.mint_token(claims)}"}
    with Wire(server.port, headers=bearer) as wire:
        conn_id, told = next_event(server, "auth_connect")
        assert told == claims
        assert hear(wire)["t"] == "server_ready"
        say(wire, "auth_refresh", {"token": server.mint_token({**claims, "role": "y"})})
        assert next_event(server, "auth_refresh") == (conn_id, {**claims, "role": "y"})


def test_a_client_that_is_not_read_is_read_again(servers: Servers) -> None:
    server = servers(authorize=False, idle_timeout=1, ping_interval=0.5)
    with Wire(server.port) as wire, Wire(server.port) as other:
        conn_id, _ = next_event(server, "connect")
        next_event(server, "connect")
        server.pause_reading(conn_id)
        server.pause_reading("unknown")
        wait_until(lambda: server.get_connection_info(conn_id), "the shard has heard of it")
        say(wire, "message", 1)
        say(other, "message", 2)
        # Longer than an idle client would have.
        assert next_event(server, "msg")[1]["p"] == 2
        deadline = time.monotonic() + 1.6
        while time.monotonic() < deadline:
            say(other, "message", 2)
            assert next_event(server, "msg")[1]["p"] == 2
            time.sleep(0.1)
        server.resume_reading(conn_id)
        server.resume_reading(conn_id)
        assert next_event(server, "msg") == (conn_id, {"t": "message", "p": 1})


def test_a_client_that_is_not_read_may_be_closed(servers: Servers) -> None:
    server = servers(authorize=False)
    with Wire(server.port) as wire:
        conn_id, _ = next_event(server, "connect")
        server.pause_reading(conn_id)
        server.disconnect(conn_id, 4403)
        assert next_event(server, "disconnect")[0] == conn_id
        wire.close_frame()


def reset(wire: Wire) -> None:
    """Closes the socket so that the other end is reset."""
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.close()


def held(server: RustWSEServer) -> tuple[Wire, str]:
    """A client that is not read."""
    wire = Wire(server.port)
    conn_id, _ = next_event(server, "connect")
    server.pause_reading(conn_id)
    assert server.get_connection_info(conn_id), "the shard has heard of it"
    return wire, conn_id


def test_a_client_that_is_not_read_and_closes_is_answered_and_gone(servers: Servers) -> None:
    server = servers(authorize=False)
    wire, conn_id = held(server)
    with wire:
        wire.send(CLOSE, close_payload(1000))
        assert next_event(server, "disconnect")[0] == conn_id
        assert wire.close_frame()[0] == 1000
    assert server.get_connection_count() == 0
    server.resume_reading(conn_id)


@pytest.mark.parametrize("says", [0, 3])
def test_a_client_that_is_not_read_and_is_reset_is_gone(servers: Servers, says: int) -> None:
    server = servers(authorize=False)
    wire, conn_id = held(server)
    for number in range(says):
        say(wire, "message", number)
    reset(wire)
    # What it said and nobody has read went with it.
    assert next_event(server, "disconnect")[0] == conn_id
    assert server.drain_inbound(1, 50) == []


def test_a_client_that_is_not_read_and_hangs_up_without_a_word_is_gone(servers: Servers) -> None:
    server = servers(authorize=False)
    wire, conn_id = held(server)
    wire.close()
    assert next_event(server, "disconnect")[0] == conn_id


@pytest.mark.parametrize("says_goodbye", [True, False])
def test_what_a_client_said_before_it_closed_is_heard_when_it_is_read_again(
    servers: Servers, says_goodbye: bool
) -> None:
    server = servers(authorize=False)
    wire, conn_id = held(server)
    for number in range(3):
        say(wire, "message", number)
    if says_goodbye:
        wire.send(CLOSE, close_payload(1000))
    wire.socket.shutdown(socket.SHUT_WR)
    assert server.drain_inbound(1, 200) == [], "it had something to say before"
    server.resume_reading(conn_id)
    assert [next_event(server, "msg")[1]["p"] for _ in range(3)] == [0, 1, 2]
    assert next_event(server, "disconnect")[0] == conn_id
    wire.close()


def test_a_client_that_is_asked_about_and_reset_is_gone_before_the_answer(servers: Servers) -> None:
    server = servers()
    wire = Wire(server.port)
    conn_id, _ = next_event(server, "connect")
    subscribe(wire, "a")
    next_event(server, "authorize")
    say(wire, "message", "not read")
    reset(wire)
    assert next_event(server, "disconnect")[0] == conn_id
    server.authorize_connection(conn_id, "subscribe", {"a": True})
    assert server.drain_inbound(1, 50) == []
    assert server.get_topic_subscriber_count("a") == 0


def test_what_a_client_asked_for_before_it_closed_is_done(servers: Servers) -> None:
    server = servers()
    with Wire(server.port) as other:
        heard, _ = next_event(server, "connect")
        server.subscribe_connection(heard, ["t"])
        wire = Wire(server.port)
        conn_id, _ = next_event(server, "connect")
        say(wire, "publish", {"topic": "t", "data": {"t": "last words"}})
        wire.send(CLOSE, close_payload(1000))
        next_event(server, "authorize")
        server.authorize_connection(conn_id, "publish", {"t": True})
        assert hear(other)["t"] == "last words"
        assert next_event(server, "disconnect")[0] == conn_id
        assert wire.close_frame()[0] == 1000
        wire.close()


def test_without_asking_nothing_changes(servers: Servers) -> None:
    server = servers(authorize=False)
    with Wire(server.port) as wire:
        subscribe(wire, "a")
        assert hear(wire)["p"]["success_topics"] == ["a"]
