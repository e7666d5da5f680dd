"""A program of the plain engine that decides about topics, sees claims, and holds clients back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support import HOST, PATIENCE, wait_until
from wire import TEXT, Wire
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


def test_without_asking_nothing_changes(servers: Servers) -> None:
    server = servers(authorize=False)
    with Wire(server.port) as wire:
        subscribe(wire, "a")
        assert hear(wire)["p"]["success_topics"] == ["a"]
