"""The client wire: what server and client say to each other, and what RFC 6455 asks of the frames."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from support import HOST, PATIENCE, Running, wait_until
from wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    Wire,
    client_frame,
    close_payload,
    request,
)

SECRET = "a secret that has more than thirty-two bytes"
Factory = Callable[..., Running]


def token(running: Running, subject: str = "user-1") -> str:
    return running.server.mint_token({"sub": subject, "exp": int(time.time()) + 60})


def connect(running: Running) -> tuple[Wire, str]:
    """Opens a connection on a plain socket and returns it with its id."""
    known = len(running.events.of("connect"))
    wire = Wire(running.port)
    return wire, running.events.wait("connect", count=known + 1)[known][1]


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
        assert running.events.wait("msg", "raw", count=2) == [
            ("msg", conn_id, {"t": "chat", "p": {"x": 1}}),
            ("raw", conn_id, prefix + "no object"),
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


# ---- Closing ----


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 1012, 3000, 4000, 4999])
def test_the_clients_close_code_comes_back(running: Running, code: int) -> None:
    wire, conn_id = connect(running)
    with wire:
        wire.send(CLOSE, close_payload(code, b"bye"))
        assert wire.close_frame()[0] == code
        wire.expect_end()
    assert running.events.wait("disconnect") == [("disconnect", conn_id, None)]
    assert running.server.get_connection_count() == 0


def test_a_close_without_a_code_is_answered_by_one_without(running: Running) -> None:
    wire, _ = connect(running)
    with wire:
        wire.send(CLOSE)
        assert wire.close_frame() == (None, "")
        wire.expect_end()


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\x03", 1002),
        *[(close_payload(bad), 1002) for bad in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)],
        (close_payload(1000, b"\xff"), 1007),
        (close_payload(1000, b"\xed\xa0\x80"), 1007),
    ],
    ids=lambda value: value.hex() if isinstance(value, bytes) else str(value),
)
def test_a_close_that_must_not_be_sent_is_refused(running: Running, payload: bytes, code: int) -> None:
    wire, _ = connect(running)
    with wire:
        wire.send(CLOSE, payload)
        assert wire.close_frame()[0] == code
        wire.expect_end()
    running.events.wait("disconnect")


def test_nothing_is_heard_after_the_clients_close(running: Running) -> None:
    wire, conn_id = connect(running)
    with wire:
        frames = [client_frame(TEXT, b'{"t":"before"}'), client_frame(CLOSE, close_payload(1000))]
        wire.send_raw(b"".join([*frames, client_frame(TEXT, b'{"t":"after"}')]))
        assert wire.close_frame()[0] == 1000
        wire.expect_end()
    running.events.wait("disconnect")
    assert [event[0::2] for event in running.events.seen[1:]] == [
        ("msg", {"t": "before"}),
        ("disconnect", None),
    ]
    assert running.events.seen[0][1] == conn_id


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1003, "no binary"), (3999, "é" * 61), (4001, "ok")]
)
def test_a_close_by_the_application_arrives_with_code_and_reason(
    running: Running, code: int, reason: str
) -> None:
    wire, conn_id = connect(running)
    with wire:
        running.server.disconnect(conn_id, code, reason)
        assert wire.close_frame() == (code, reason)
        # What is still on its way from the client is of no interest to anybody any more.
        say(wire, {"t": "late"})
        wire.send(CLOSE, close_payload(code))
        wire.expect_end()
    running.events.wait("disconnect")
    assert running.events.of("msg") == []


def test_what_was_sent_before_a_close_arrives_before_it(running: Running) -> None:
    wire, conn_id = connect(running)
    with wire:
        for n in range(100):
            running.server.send(conn_id, str(n))
        running.server.disconnect(conn_id, 4000)
        running.server.send(conn_id, "too late")
        assert [wire.frame().payload for _ in range(100)] == [str(n).encode() for n in range(100)]
        assert wire.frame().close == (4000, "")


def test_a_slow_client_gets_all_that_was_sent_before_its_close(running: Running) -> None:
    # It takes longer than a client may take to answer a close frame, but it has not even seen that yet.
    wire, conn_id = connect(running)
    with wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        data = bytes(15 << 20)
        running.server.send_bytes(conn_id, data)
        running.server.disconnect(conn_id, 4000, "bye")
        read = bytearray()
        started = time.monotonic()
        pause = threading.Event()
        while len(read) < len(data) + 10 + 7:
            portion = wire.socket.recv(1 << 17)
            assert portion, f"the end after {len(read)} bytes and {time.monotonic() - started:.1f} s"
            read += portion
            if time.monotonic() < started + 6:
                pause.wait(0.05)
        assert read[10:-7] == data
        assert read[-7:] == b"\x88\x05" + close_payload(4000, b"bye")


def test_a_stopping_server_tells_its_clients_to_come_back(running: Running) -> None:
    wire, _ = connect(running)
    with wire:
        running.server.stop()
        assert wire.close_frame()[0] == 1012


# ---- Frames ----


def test_a_message_in_pieces_with_a_ping_between_them(running: Running) -> None:
    wire, conn_id = connect(running)
    text = "Grüße, 世界 😀"
    data = text.encode()
    with wire:
        # The cuts lie inside characters.
        wire.send(TEXT, data[:3], fin=False)
        wire.send(PING, b"between")
        assert wire.frame() == Frame(PONG, b"between")
        wire.send(CONTINUATION, data[3:10], fin=False)
        wire.send(CONTINUATION, b"", fin=False)
        wire.send(PONG, b"unasked")
        wire.send(CONTINUATION, data[10:])
        wire.send(BINARY, b"\x00", fin=False)
        wire.send(CONTINUATION, b"\xff")
        assert running.events.wait("raw", "bin", count=2) == [
            ("raw", conn_id, text),
            ("bin", conn_id, b"\x00\xff"),
        ]


def test_a_frame_that_comes_byte_by_byte(running: Running) -> None:
    wire, conn_id = connect(running)
    with wire:
        for byte in client_frame(TEXT, b"drop by drop") + client_frame(PING, b"end"):
            wire.send_raw(bytes([byte]))
        assert wire.frame() == Frame(PONG, b"end")
    assert running.events.wait("raw") == [("raw", conn_id, "drop by drop")]


def test_many_frames_in_one_piece_are_answered_in_order(running: Running) -> None:
    wire, _ = connect(running)
    with wire:
        wire.send_raw(b"".join(client_frame(PING, b"%d" % n) for n in range(1000)))
        assert [wire.frame() for _ in range(1000)] == [Frame(PONG, b"%d" % n) for n in range(1000)]


def test_frames_right_behind_the_upgrade_are_heard(running: Running) -> None:
    with socket.create_connection((HOST, running.port), timeout=PATIENCE) as sock:
        sock.sendall(request() + client_frame(TEXT, b"early") + client_frame(CLOSE, close_payload(1000)))
        received = b""
        while data := sock.recv(4096):
            received += data
    assert received.startswith(b"HTTP/1.1 101 ")
    assert received.endswith(b"\x88\x02\x03\xe8")
    assert [data for _, _, data in running.events.wait("raw")] == ["early"]


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536, 1_048_576])
def test_every_length_there_and_back(running: Running, length: int) -> None:
    wire, conn_id = connect(running)
    data = (b"0123456789abcdef" * (length // 16 + 1))[:length]
    with wire:
        wire.send(BINARY, data)
        wire.send(TEXT, data)
        assert running.events.wait("raw", "bin", count=2) == [
            ("bin", conn_id, data),
            ("raw", conn_id, data.decode()),
        ]
        running.server.send_bytes(conn_id, data)
        running.server.send(conn_id, data.decode())
        assert wire.frame() == Frame(BINARY, data)
        assert wire.frame() == Frame(TEXT, data)


def with_length(announced: int) -> bytes:
    """A masked binary frame's header with a length of eight bytes."""
    return struct.pack(">BBQ", 0x82, 0xFF, announced) + bytes(4)


VIOLATIONS: dict[str, bytes] = {
    "not masked": client_frame(TEXT, b"hello", masked=False),
    "a control frame that is not masked": client_frame(PING, b"", masked=False),
    **{f"reserved bit {bit}": client_frame(TEXT, b"hello", reserved=bit) for bit in (1, 2, 4)},
    **{f"opcode {code}": client_frame(code, b"") for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "a fragmented ping": client_frame(PING, b"", fin=False),
    "a fragmented close": client_frame(CLOSE, b"", fin=False),
    "a ping of 126 bytes": client_frame(PING, bytes(126)),
    "a close of 126 bytes": client_frame(CLOSE, close_payload(1000, b"x" * 124)),
    "a continuation of nothing": client_frame(CONTINUATION, b"x"),
    "text inside a text": client_frame(TEXT, b"a", fin=False) + client_frame(TEXT, b"b"),
    "binary inside a text": client_frame(TEXT, b"a", fin=False) + client_frame(BINARY, b"b"),
    "a length with the highest bit": with_length(1 << 63),
}


@pytest.mark.parametrize("violation", VIOLATIONS.values(), ids=VIOLATIONS)
def test_a_violation_of_the_protocol_is_closed_with_1002(running: Running, violation: bytes) -> None:
    wire, conn_id = connect(running)
    with wire:
        wire.send(TEXT, b"fine")
        wire.send_raw(violation)
        # More than the server will ever look at: its close frame must not be lost to a reset.
        wire.send_raw(bytes(1 << 18))
        code, reason = wire.close_frame()
        assert code == 1002
        assert reason
        wire.expect_end()
    assert running.events.wait("disconnect") == [("disconnect", conn_id, None)]
    assert [event[0] for event in running.events.seen] == ["connect", "raw", "disconnect"]


NOT_UTF8: dict[str, bytes] = {
    "a lone continuation byte": b"a\x80",
    "a byte that never occurs": b"abc\xff",
    "overlong": b"\xc0\xaf",
    "a surrogate": b"\xed\xa0\x80",
    "beyond U+10FFFF": b"\xf4\x90\x80\x80",
    "cut at the end of the message": "é".encode()[:1],
}


@pytest.mark.parametrize("payload", NOT_UTF8.values(), ids=NOT_UTF8)
@pytest.mark.parametrize("pieces", [1, 2])
def test_text_that_is_not_utf8_is_closed_with_1007(running: Running, payload: bytes, pieces: int) -> None:
    wire, _ = connect(running)
    with wire:
        if pieces == 1:
            wire.send(TEXT, payload)
        else:
            wire.send(TEXT, payload[:1], fin=False)
            wire.send(CONTINUATION, payload[1:])
        assert wire.close_frame()[0] == 1007
        wire.expect_end()
    running.events.wait("disconnect")
    assert running.events.of("raw", "msg") == []


def test_bad_utf8_is_noticed_before_the_frame_is_whole(running: Running) -> None:
    wire, _ = connect(running)
    frame = client_frame(TEXT, b"abc\xff" + b"x" * 996)
    with wire:
        # The header (8 bytes), then the first four of a thousand.
        wire.send_raw(frame[:12])
        assert wire.close_frame()[0] == 1007


def test_bad_utf8_is_noticed_in_a_fragment_before_the_last(running: Running) -> None:
    wire, _ = connect(running)
    with wire:
        wire.send(TEXT, b"\xc3", fin=False)
        wire.send(CONTINUATION, b"(", fin=False)
        assert wire.close_frame()[0] == 1007


def test_a_message_over_the_limit_is_closed_with_1009(server_factory: Factory) -> None:
    running = server_factory(max_message_size=1000)
    too_large = {
        "whole": client_frame(BINARY, bytes(1001)),
        "text": client_frame(TEXT, b"x" * 1001),
        "announced only": with_length(1001),
        "announced beyond all memory": with_length((1 << 63) - 1),
        "in pieces": client_frame(TEXT, b"x" * 600, fin=False)
        + client_frame(CONTINUATION, b"x" * 401, fin=False),
    }
    for name, data in too_large.items():
        wire, _ = connect(running)
        with wire:
            wire.send(TEXT, b"x" * 1000)
            wire.send_raw(data)
            assert wire.close_frame()[0] == 1009, name
            wire.expect_end()
    running.events.wait("disconnect", count=len(too_large))
    assert [data for _, _, data in running.events.of("raw", "bin", "msg")] == ["x" * 1000] * len(too_large)


def test_a_close_frame_reaches_a_client_that_is_still_sending(server_factory: Factory) -> None:
    running = server_factory(max_message_size=1000)
    wire, _ = connect(running)
    with wire:
        wire.send_raw(with_length(8 << 20))
        for _ in range(64):
            wire.send_raw(bytes(1 << 17))
        assert wire.close_frame()[0] == 1009


def test_a_client_that_is_gone_without_a_word_is_told_to_the_application(running: Running) -> None:
    wire, conn_id = connect(running)
    wire.close()
    assert running.events.wait("disconnect") == [("disconnect", conn_id, None)]
