"""The descriptor by which an event loop hears of events."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable

import pytest

from support import Running, dial_async, wait_until
from wse_server import RustWSEServer

Factory = Callable[..., Running]


def can_be_read(fd: int, timeout: float = 0.0) -> bool:
    return bool(select.select([fd], [], [], timeout)[0])


@pytest.fixture
def server() -> RustWSEServer:
    """A server that nobody drains."""
    server = RustWSEServer("127.0.0.1", 0)
    server.enable_drain_mode()
    return server


def url(server: RustWSEServer) -> str:
    return f"ws://127.0.0.1:{server.port}/wse"


def test_without_drain_mode_there_is_none() -> None:
    server = RustWSEServer("127.0.0.1", 0)
    with pytest.raises(RuntimeError, match="enable_drain_mode"):
        server.event_fd()


def test_it_can_be_read_exactly_while_there_are_events(server: RustWSEServer) -> None:
    async def client() -> None:
        async with await dial_async(url(server)) as one:
            for number in range(3):
                await one.send(f"text {number}")
            await one.send("ping")

    fd = server.event_fd()
    assert not can_be_read(fd)
    server.start()
    assert not can_be_read(fd)
    asyncio.run(client())
    wait_until(lambda: server.inbound_queue_depth() == 6, "all has come")
    assert can_be_read(fd)
    kinds = []
    while can_be_read(fd):
        (event,) = server.drain_inbound(1, 0)
        kinds.append(event[0])
    assert kinds == ["connect", "raw", "raw", "raw", "raw", "disconnect"]
    assert server.drain_inbound(1, 0) == []
    assert server.event_fd() == fd
    server.stop()


def test_who_asks_late_finds_it_readable(server: RustWSEServer) -> None:
    async def client() -> None:
        async with await dial_async(url(server)):
            pass

    server.start()
    asyncio.run(client())
    wait_until(lambda: server.inbound_queue_depth() == 2, "all has come")
    assert can_be_read(server.event_fd())
    server.drain_inbound(2, 0)
    assert not can_be_read(server.event_fd())
    server.stop()


def test_a_stop_is_heard_and_a_start_begins_anew(server: RustWSEServer) -> None:
    server.start()
    fd = server.event_fd()
    server.stop()
    assert can_be_read(fd)
    server.drain_inbound(1, 0)
    assert can_be_read(fd), "a loop that waits for it must see the end"
    server.start()
    assert not can_be_read(fd)
    assert server.event_fd() == fd
    server.stop()


def test_it_ends_with_the_server() -> None:
    server = RustWSEServer("127.0.0.1", 0)
    server.enable_drain_mode()
    fd = server.event_fd()
    os.fstat(fd)
    del server
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_loop_serves_by_it_and_sleeps_meanwhile(server: RustWSEServer) -> None:
    wakes = 0

    def take() -> None:
        nonlocal wakes
        wakes += 1
        for kind, conn_id, data in server.drain_inbound(256, 0):
            if kind == "raw":
                server.send(conn_id, f"echo {data}")

    async def serve() -> None:
        nonlocal wakes
        loop = asyncio.get_running_loop()
        loop.add_reader(server.event_fd(), take)
        async with await dial_async(url(server)) as one:
            for number in range(200):
                await one.send(f"{number}")
                assert await one.recv() == f"echo {number}"
            before = wakes
            await asyncio.sleep(0.5)
            assert wakes == before, "nothing came"
        loop.remove_reader(server.event_fd())

    server.start()
    asyncio.run(serve())
    server.stop()
    assert 200 <= wakes <= 205
