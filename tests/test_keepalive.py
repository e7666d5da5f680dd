"""Pings, silence and patience: who is kept, who is closed with what, and that nobody else notices."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable
from functools import partial

import pytest
from typing_extensions import override

from support import HOST, PATIENCE, Running, run, wait_until
from wire import (
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    Wire,
    client_frame,
    close_payload,
    read_answer,
    request,
)

Factory = Callable[..., Running]

IDLE = 0.6
INTERVAL = 0.15


@pytest.fixture
def impatient(server_factory: Factory) -> Running:
    """A server that pings every 0.15 s and closes what was silent for 0.6 s."""
    return server_factory(ping_interval=INTERVAL, idle_timeout=IDLE, shards=1)


def until_late(wire: Wire, answer: Callable[[Frame], None], times: float = 4) -> int:
    """Hands the frames of several idle_timeouts to `answer`; the server's own pings are the clock.

    Returns:
        The number of frames.
    """
    started, count = time.monotonic(), 0
    while time.monotonic() < started + times * IDLE:
        frame = wire.frame()
        assert frame.opcode != CLOSE, frame.close
        answer(frame)
        count += 1
    return count


def test_pings_come_at_their_interval(server_factory: Factory) -> None:
    running = server_factory(ping_interval=0.2, idle_timeout=60)
    with Wire(running.port) as wire:
        arrivals = []
        for _ in range(6):
            frame = wire.frame()
            assert (frame.opcode, frame.payload) == (PING, b"")
            arrivals.append(time.monotonic())
    # The first comes somewhere within the interval; a late one may shorten the way to the next.
    assert 0.8 <= arrivals[-1] - arrivals[0] < 0.8 + PATIENCE
    assert (arrivals[-1] - arrivals[0]) / 5 >= 0.18


def test_a_silent_client_is_closed_with_4410_and_not_before_its_time(impatient: Running) -> None:
    started = time.monotonic()
    with Wire(impatient.port) as wire:
        code, reason = wire.close_frame()
        elapsed = time.monotonic() - started
        assert (code, bool(reason)) == (4410, True)
        assert IDLE * 0.9 <= elapsed < IDLE + PATIENCE
        assert impatient.events.wait("disconnect")
        assert impatient.server.get_connection_count() == 0


def test_a_client_that_said_hello_and_then_nothing_is_closed_too(impatient: Running) -> None:
    with Wire(impatient.port) as wire:
        wire.send(TEXT, b'{"t":"client_hello","p":{}}')
        assert wire.close_frame()[0] == 4410


def test_a_client_that_only_answers_pings_stays(impatient: Running) -> None:
    with Wire(impatient.port) as wire:
        assert until_late(wire, lambda frame: wire.send(PONG, frame.payload)) >= 8
        assert [kind for kind, _, _ in impatient.events.seen] == ["connect"]


def test_a_client_that_answers_pings_in_words_stays(impatient: Running) -> None:
    def answer(frame: Frame) -> None:
        if frame.opcode == TEXT and json.loads(frame.payload)["t"] == "ping":
            wire.send(TEXT, b'{"c":"WSE","t":"pong","p":{}}')

    with Wire(impatient.port) as wire:
        wire.send(TEXT, b'{"t":"client_hello","p":{}}')
        assert until_late(wire, answer) >= 8
        assert [kind for kind, _, _ in impatient.events.seen] == ["connect"]


def test_any_byte_is_a_sign_of_life(impatient: Running) -> None:
    # One frame of 40 bytes, a byte for each ping, and none of the pings is answered.
    rest = list(client_frame(TEXT, b"x" * 30, fin=False) + client_frame(CONTINUATION, b"y" * 30))

    def answer(_: Frame) -> None:
        if rest:
            wire.send_raw(bytes([rest.pop(0)]))

    with Wire(impatient.port) as wire:
        assert until_late(wire, answer) >= 8
        wire.send_raw(bytes(rest))
        assert impatient.events.wait("raw")[0][2] == "x" * 30 + "y" * 30


def test_messages_alone_keep_a_client(impatient: Running) -> None:
    with Wire(impatient.port) as wire:
        until_late(wire, lambda _: wire.send(TEXT, b"still here"))
        assert impatient.events.of("disconnect") == []


def test_hearing_much_is_no_sign_of_life(impatient: Running) -> None:
    # A client whose network swallows what it says is gone, however much is sent to it.
    with Wire(impatient.port) as wire:
        ((_, conn_id, _),) = impatient.events.wait("connect")
        impatient.server.subscribe_connection(conn_id, ["news"])

        def closed() -> bool:
            impatient.server.broadcast("news", '{"t":"tick"}')
            return bool(impatient.events.of("disconnect"))

        wait_until(closed, "the silent client's end")
        assert wire.close_frame()[0] == 4410


class Member(asyncio.Protocol):
    """A client that answers pings unless it is the silent one, and keeps what else it is told."""

    def __init__(self, name: str, heard: asyncio.Event) -> None:
        self.name = name
        self.heard = heard
        self.pings = 0
        self.told = b""
        self.lost = False
        self.upgraded = False
        self._transport: asyncio.WriteTransport | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        transport.write(request("GET", "/wse", {"Cookie": self.name}))

    @override
    def data_received(self, data: bytes) -> None:
        if not self.upgraded:
            head, end, data = data.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 "), head
            assert end, "the head came in pieces"
            self.upgraded = True
        while data.startswith(b"\x89\x00"):
            data = data[2:]
            self.pings += 1
            if self.name != "silent" and self._transport is not None:
                self._transport.write(b"\x8a\x80\0\0\0\0")
        self.told += data
        self.heard.set()

    @override
    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True

    def leave(self) -> None:
        if self._transport is not None:
            self._transport.close()


def returned(member: Member) -> Member:
    return member


def test_one_silent_client_among_a_thousand_is_closed_and_nobody_else_notices(
    server_factory: Factory,
) -> None:
    # Seconds that leave room for a busy machine: what is measured is who, not when.
    running = server_factory(ping_interval=1, idle_timeout=3)
    heard = asyncio.Event()
    members = [Member("silent" if n == 500 else f"member-{n}", heard) for n in range(1000)]
    silent, others = members[500], members[:500] + members[501:]

    async def heard_until(condition: Callable[[], bool]) -> None:
        while not condition():
            heard.clear()
            await heard.wait()

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        for member in members:
            await loop.create_connection(partial(returned, member), HOST, running.port)
        await heard_until(lambda: all(member.upgraded for member in members))
        await heard_until(lambda: silent.told != b"")
        # And a whole idle_timeout longer, by the pings that the others get.
        goals = [(member, member.pings + 3) for member in others]
        await heard_until(lambda: all(member.pings >= goal for member, goal in goals))
        assert not any(member.lost for member in others)
        for member in members:
            member.leave()

    run(scenario())
    ids = {cookies: conn_id for _, conn_id, cookies in running.events.wait("connect", count=1000)}
    assert silent.told[:1] == b"\x88"
    assert int.from_bytes(silent.told[2:4]) == 4410
    assert [member.name for member in others if member.told] == []
    # The first to go was the silent one, and the others went when they wanted to.
    assert running.events.wait("disconnect")[0][1] == ids["silent"]


# ---- The handshake ----


def test_a_client_that_asks_nothing_is_answered_with_408(server_factory: Factory) -> None:
    running = server_factory(handshake_timeout=0.3)
    for beginning in (b"", b"G", b"GET /wse HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"):
        started = time.monotonic()
        with socket.create_connection((HOST, running.port), timeout=PATIENCE) as sock:
            sock.sendall(beginning)
            answer = read_answer(sock)
        assert answer.status == 408
        assert answer.body
        assert 0.27 <= time.monotonic() - started < PATIENCE
    assert running.events.seen == []


def test_a_request_that_comes_in_drops_gets_no_more_time(server_factory: Factory) -> None:
    running = server_factory(handshake_timeout=0.5)
    with socket.create_connection((HOST, running.port)) as sock:
        sock.settimeout(0.02)
        started = time.monotonic()
        drops = iter(request("GET", "/wse", {"Cookie": "x" * 8000}))
        while True:
            sock.sendall(bytes([next(drops)]))
            try:
                received = sock.recv(1, socket.MSG_PEEK)
            except TimeoutError:
                assert time.monotonic() < started + PATIENCE, "the drops went on for ever"
                continue
            break
        assert received == b"H"
        sock.settimeout(PATIENCE)
        assert read_answer(sock).status == 408


def test_the_time_for_the_handshake_does_not_count_afterwards(server_factory: Factory) -> None:
    running = server_factory(handshake_timeout=0.1, ping_interval=0.1, idle_timeout=30)
    with Wire(running.port) as wire:
        assert [wire.frame().opcode for _ in range(6)] == [PING] * 6


# ---- The end ----


def test_a_client_that_never_answers_a_close_is_let_go(impatient: Running) -> None:
    with Wire(impatient.port) as wire:
        ((_, conn_id, _),) = impatient.events.wait("connect")
        impatient.server.disconnect(conn_id, 4000, "go")
        assert wire.close_frame() == (4000, "go")
        # For the application it is gone at once, whatever the client does.
        impatient.events.wait("disconnect")
        assert impatient.server.get_connection_count() == 0
        wire.expect_end()


def test_a_client_that_answers_its_idle_close_sees_an_orderly_end(impatient: Running) -> None:
    with Wire(impatient.port) as wire:
        assert wire.close_frame()[0] == 4410
        wire.send(CLOSE, close_payload(4410))
        wire.expect_end()
