"""What RFC 6455 asks of frames, of closing, and of a server that meets somebody who does not keep to it."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable

import pytest

from support import HOST, PATIENCE, Running
from wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    client_frame,
    close_payload,
    connect,
    request,
)

Factory = Callable[..., Running]


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
        wire.send(TEXT, b'{"t":"late"}')
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
