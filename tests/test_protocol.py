"""The words of the protocol: what server and client say to each other in JSON, and how much of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from support import Running, wait_until
from wire import PING, PONG, TEXT, Frame, Wire, client_frame, connect

SECRET = "a secret that has more than thirty-two bytes"
Factory = Callable[..., Running]


def token(running: Running, subject: str = "user-1") -> str:
    return running.server.mint_token({"sub": subject, "exp": int(time.time()) + 60})


def say(wire: Wire, message: dict[str, Any] | str) -> None:
    wire.send(TEXT, (message if isinstance(message, str) else json.dumps(message)).encode())


def hear(wire: Wire) -> dict[str, Any]:
    """The next frame, which must be a text frame with a JSON object."""
    frame = wire.frame()
    assert (frame.opcode, frame.fin, frame.reserved) == (TEXT, True, 0), frame
    message = json.loads(frame.payload)
    assert isinstance(message, dict)
    return message


def is_now(text: str) -> bool:
    """Whether an ISO 8601 time with a zone is the present, give or take a minute."""
    moment = datetime.fromisoformat(text)
    return abs((datetime.now(UTC) - moment).total_seconds()) < 60


# ---- Words of the protocol ----


def test_with_tokens_server_ready_comes_first_of_all(server_factory: Factory) -> None:
    running = server_factory(jwt_secret=SECRET)
    peer = running.dial(token=token(running))
    ready = peer.receive_json()
    assert list(ready)[:2] == ["c", "t"]
    assert list(ready)[-1] == "v"
    assert set(ready) == {"c", "t", "id", "ts", "seq", "p", "v"}
    assert (ready["c"], ready["t"], ready["seq"], ready["v"]) == ("WSE", "server_ready", 1, 1)
    assert is_now(ready["ts"])
    assert set(ready["p"]) == {"message", "details"}
    assert isinstance(ready["p"]["message"], str)
    details = ready["p"]["details"]
    assert set(details) == {"version", "features", "connection_id", "server_time", "user_id"}
    assert details["version"] == 1
    assert details["connection_id"] == peer.conn_id
    assert details["user_id"] == "user-1"
    assert is_now(details["server_time"])
    features = details["features"]
    assert set(features) == {
        "compression",
        "encryption",
        "batching",
        "priority_queue",
        "circuit_breaker",
        "rust_transport",
        "rust_jwt",
        "recovery",
    }
    assert all(isinstance(feature, bool) for feature in features.values())
    assert (features["rust_transport"], features["rust_jwt"], features["recovery"]) == (True, True, False)
    assert running.events.of("auth_connect") == [("auth_connect", peer.conn_id, "user-1")]


def test_server_ready_comes_before_a_broadcast_that_is_on_its_way(server_factory: Factory) -> None:
    running = server_factory(jwt_secret=SECRET)
    bearer = token(running)
    for _ in range(20):
        known = len(running.events.of("auth_connect"))
        wire = Wire(running.port, headers={"Authorization": f"Bearer {bearer}"})
        running.events.wait("auth_connect", count=known + 1)
        running.server.broadcast_all('{"t":"news"}')
        with wire:
            assert [hear(wire)["t"], hear(wire)["t"]] == ["server_ready", "news"]


def test_message_ids_of_the_server_do_not_repeat(server_factory: Factory) -> None:
    running = server_factory(jwt_secret=SECRET)
    ids = {running.dial(token=token(running)).receive_json()["id"] for _ in range(20)}
    assert len(ids) == 20
    assert "" not in ids


def test_without_tokens_the_server_says_nothing_by_itself(running: Running) -> None:
    wire, _ = connect(running)
    with wire:
        wire.send(PING, b"anything before this?")
        assert wire.frame() == Frame(PONG, b"anything before this?")


@pytest.mark.parametrize(("said", "answered"), [(1, 1), (2, 1), (99, 1), (None, 1)])
def test_client_hello_is_answered(server_factory: Factory, said: int | None, answered: int) -> None:
    running = server_factory(
        ping_interval=7.5,
        idle_timeout=20,
        max_message_size=4321,
        rate_limit_capacity=500,
        rate_limit_refill=50,
    )
    wire, conn_id = connect(running)
    hello: dict[str, Any] = {"client_version": "1.0", "features": {}, "capabilities": []}
    if said is not None:
        hello["protocol_version"] = said
    with wire:
        say(wire, {"t": "client_hello", "p": hello})
        answer = hear(wire)
    assert (answer["c"], answer["t"], answer["v"]) == ("WSE", "server_hello", 1)
    p = answer["p"]
    assert isinstance(p["server_version"], str)
    assert p["protocol_version"] == answered
    assert set(p["features"]) == {
        "compression",
        "recovery",
        "cluster",
        "batching",
        "priority_queue",
        "msgpack",
        "encryption",
    }
    assert all(isinstance(feature, bool) for feature in p["features"].values())
    assert p["limits"] == {
        "max_message_size": 4321,
        "rate_limit_capacity": 500,
        "rate_limit_refill": 50,
    }
    assert p["ping_interval"] == 7500
    assert p["connection_id"] == conn_id
    assert is_now(p["server_time"])


def test_a_client_hello_that_is_odd_is_still_answered(running: Running) -> None:
    wire, _ = connect(running)
    odd: list[Any] = [
        {},
        None,
        [],
        "x",
        {"protocol_version": "1"},
        {"protocol_version": -1},
        {"protocol_version": 1e300},
    ]
    with wire:
        for payload in odd:
            say(wire, {"t": "client_hello", "p": payload})
            assert hear(wire)["p"]["protocol_version"] == 1
        say(wire, {"t": "client_hello"})
        assert hear(wire)["t"] == "server_hello"


@pytest.mark.parametrize(
    "timestamp",
    [0, 1795451147427, 1795451147.4275, -3, 2**64 - 1, "2026-01-31T10:00:00Z", 'a"b\\', None, [1, {"x": 2}]],
)
def test_a_ping_is_answered_with_the_timestamp_given_back(running: Running, timestamp: object) -> None:
    wire, _ = connect(running)
    with wire:
        say(wire, {"t": "ping", "p": {"timestamp": timestamp}})
        answer = hear(wire)
    assert (answer["c"], answer["t"], answer["v"]) == ("WSE", "PONG", 1)
    assert set(answer["p"]) == {"client_timestamp", "server_timestamp", "latency"}
    assert answer["p"]["client_timestamp"] == timestamp
    assert abs(answer["p"]["server_timestamp"] / 1000 - time.time()) < 60


def test_the_latency_of_a_pong_is_the_age_of_the_ping(running: Running) -> None:
    wire, _ = connect(running)
    with wire:
        say(wire, {"t": "ping", "p": {"timestamp": int(time.time() * 1000) - 5000}})
        assert 5000 <= hear(wire)["p"]["latency"] < 15_000
        say(wire, {"t": "ping", "p": {"timestamp": int(time.time() * 1000) + 60_000}})
        assert hear(wire)["p"]["latency"] == 0


def test_a_ping_without_a_payload_is_answered_too(running: Running) -> None:
    wire, _ = connect(running)
    with wire:
        for ping in (
            {"t": "ping"},
            {"t": "ping", "p": None},
            {"t": "ping", "p": 5},
            {"c": "WSE", "t": "ping"},
        ):
            say(wire, ping)
            answer = hear(wire)
            assert (answer["t"], answer["p"]["client_timestamp"]) == ("PONG", None)


def test_long_names_are_understood(running: Running) -> None:
    wire, _ = connect(running)
    with wire:
        say(wire, {"type": "ping", "payload": {"timestamp": 12}})
        assert hear(wire)["p"]["client_timestamp"] == 12
        say(wire, {"payload": {"protocol_version": 1}, "type": "client_hello"})
        assert hear(wire)["t"] == "server_hello"


@pytest.mark.parametrize("prefix", ["WSE", "S", "U"])
def test_old_prefixes_are_ignored(running: Running, prefix: str) -> None:
    wire, conn_id = connect(running)
    with wire:
        say(wire, prefix + '{"t":"ping","p":{"timestamp":3}}')
        assert hear(wire)["p"]["client_timestamp"] == 3
        say(wire, prefix + '{"t":"chat","p":{"x":1}}')
        say(wire, prefix + "no object")
        say(wire, prefix + "{no JSON")
        assert running.events.wait("msg", "raw", count=3) == [
            ("msg", conn_id, {"t": "chat", "p": {"x": 1}}),
            ("raw", conn_id, prefix + "no object"),
            ("raw", conn_id, prefix + "{no JSON"),
        ]


def test_the_words_of_the_protocol_do_not_reach_the_application(running: Running) -> None:
    wire, conn_id = connect(running)
    with wire:
        for word in ("ping", "client_hello", "pong", "PONG"):
            say(wire, {"t": word, "p": {}})
        say(wire, {"t": "mine"})
        assert running.events.wait("msg", "raw", "bin") == [("msg", conn_id, {"t": "mine"})]


def test_the_last_of_two_types_counts_for_the_protocol_as_for_the_application(running: Running) -> None:
    # Two readers that disagree about a message are how filters are slipped past.
    wire, conn_id = connect(running)
    with wire:
        say(wire, '{"t":"ping","t":"chat"}')
        say(wire, '{"t":"end"}')
        assert running.events.wait("msg", count=1)[0] == ("msg", conn_id, {"t": "chat"})
        say(wire, '{"t":"chat","t":"ping","p":{"timestamp":9}}')
        assert hear(wire)["p"]["client_timestamp"] == 9


def test_pings_are_messages_to_clients_that_said_hello_and_frames_to_all_others(
    server_factory: Factory,
) -> None:
    running = server_factory(ping_interval=0.05, idle_timeout=30)
    plain, _ = connect(running)
    greeted, _ = connect(running)
    with plain, greeted:
        say(greeted, {"t": "client_hello", "p": {}})
        while hear_or_ping(greeted) != "server_hello":
            pass
        for _ in range(4):
            assert plain.frame().opcode == PING
            ping = hear(greeted)
            assert set(ping) == {"c", "t", "p"}
            assert (ping["c"], ping["t"]) == ("WSE", "ping")
            assert is_now(ping["p"]["server_time"])


def hear_or_ping(wire: Wire) -> str:
    """The type of the next message, or "" for a ping frame."""
    frame = wire.frame()
    return "" if frame.opcode == PING else json.loads(frame.payload)["t"]


# ---- Rate limit ----


def test_a_client_that_says_too_much_is_warned_and_then_refused(server_factory: Factory) -> None:
    running = server_factory(rate_limit_capacity=10, rate_limit_refill=0.01)
    wire, _ = connect(running)
    with wire:
        wire.send_raw(b"".join(client_frame(TEXT, b'{"t":"x","p":%d}' % n) for n in range(25)))
        warning = hear(wire)
        assert (warning["c"], warning["t"]) == ("WSE", "rate_limit_warning")
        error = hear(wire)
        assert (error["c"], error["t"], error["v"]) == ("WSE", "error", 1)
        assert error["p"]["code"] == "RATE_LIMITED"
        assert 0 < error["p"]["retry_after"] <= 100
        assert error["p"]["message"]
        assert is_now(error["p"]["timestamp"])
        heard = running.events.wait("msg", count=10)
        assert [data["p"] for _, _, data in heard] == list(range(10))
        wait_until(lambda: running.server.health_snapshot()["rate_limited"] == 15, "15 refused")
        assert len(running.events.of("msg")) == 10
        # It is told and goes on: a control frame still gets its answer.
        wire.send(PING, b"there?")
        while wire.frame() != Frame(PONG, b"there?"):
            pass


def test_a_warning_comes_before_anything_is_lost(server_factory: Factory) -> None:
    running = server_factory(rate_limit_capacity=10, rate_limit_refill=0.01)
    wire, _ = connect(running)
    with wire:
        for n in range(8):
            say(wire, {"t": "x", "p": n})
        wire.send(PING)
        assert wire.frame().opcode == PONG
        for n in range(8, 10):
            say(wire, {"t": "x", "p": n})
        wire.send(PING)
        assert hear(wire)["t"] == "rate_limit_warning"
        assert wire.frame().opcode == PONG
        running.events.wait("msg", count=10)


def test_a_client_that_waits_may_speak_again(server_factory: Factory) -> None:
    running = server_factory(rate_limit_capacity=2, rate_limit_refill=20)
    peer = running.dial()
    for n in range(3):
        peer.send({"t": "x", "p": n})

    def passes() -> bool:
        peer.send({"t": "again"})
        return any(data["t"] == "again" for _, _, data in running.events.of("msg"))

    wait_until(passes, "a message after the refusal")


def test_one_client_over_its_limit_costs_the_others_nothing(server_factory: Factory) -> None:
    running = server_factory(rate_limit_capacity=10, rate_limit_refill=0.01)
    loud, quiet = running.dial(), running.dial()
    for _ in range(100):
        loud.send("noise")
    for n in range(10):
        quiet.send({"t": "q", "p": n})
    heard = running.events.wait("msg", count=10)
    assert [(conn_id, data["p"]) for _, conn_id, data in heard] == [(quiet.conn_id, n) for n in range(10)]
