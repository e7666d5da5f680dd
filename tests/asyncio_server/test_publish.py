"""Publishing by the program."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest

from asyncio_server.talk import dial, one_client, play, until
from support import PATIENCE, free_port
from wire import Wire
from wse_server import Position, Server


class Price(NamedTuple):
    name: str
    value: float


def new(**options: Any) -> Server:
    return Server("127.0.0.1", 0, client_subscriptions=True, **options)


def test_a_publication_is_a_whole_message_or_a_payload() -> None:
    server = new()

    async def story() -> None:
        async with one_client(server) as client:
            await client.subscribe("t")
            assert await server.publish("t", {"t": "whole", "p": 1, "cid": "c"}) is None
            await server.publish("t", {"t": 1})
            await server.publish("t", [1, 2], event="list")
            await server.publish("t", {"t": "x"}, event="inner")
            await server.publish("t", datetime(2026, 1, 2, tzinfo=UTC))
            heard = [await client.hear() for _ in range(5)]
            assert [(it["t"], it["p"]) for it in heard] == [
                ("whole", 1),
                ("message", {"t": 1}),
                ("list", [1, 2]),
                ("inner", {"t": "x"}),
                ("message", "2026-01-02T00:00:00+00:00"),
            ]

    play(story())


@pytest.mark.parametrize(
    ("topic", "message", "error", "words"),
    [
        ("a*", {}, ValueError, "topic"),
        ("", {}, ValueError, "topic"),
        ("t", {"x": object()}, TypeError, "object"),
        ("t", {"x": float("nan")}, ValueError, r'\["p"\]\["x"\] is NaN'),
        ("t", {"t": "x", "o": 1}, ValueError, 'field "o"'),
        ("t", "x" * 5_000, ValueError, "max_outbound_queue_bytes"),
    ],
)
def test_what_cannot_be_published_is_told(
    topic: str, message: object, error: type[Exception], words: str
) -> None:
    server = new(recovery_enabled=True, max_outbound_queue_bytes=4_096)

    async def story() -> None:
        async with server:
            with pytest.raises(error, match=words):
                await server.publish(topic, message)
            with pytest.raises(error, match=words):
                await server.publish_many(topic, [message])

    play(story())


def test_many_are_in_order_and_nothing_is_sent_if_one_is_wrong() -> None:
    server = new(recovery_enabled=True, recovery_buffer_size=1024)

    async def story() -> None:
        async with one_client(server) as client:
            await client.subscribe("t")
            with pytest.raises(TypeError):
                await server.publish_many("t", [1, 2, object()])
            position = await server.publish_many("t", range(1000), event="n")
            assert position is not None
            assert position.offset == 1000
            assert [(await client.hear())["p"] for _ in range(1000)] == list(range(1000))
            assert await server.publish_many("t", []) is None
            position = await server.publish("t", 1, wait="stored")
            assert position is not None
            assert position.offset == 1001
            position = await server.publish_many("t", [1, 2], wait="stored")
            assert position is not None
            assert position.offset == 1003

    play(story())


def test_a_publisher_waits_for_subscribers_and_the_loop_does_not() -> None:
    server = new()

    async def story() -> None:
        async with server:
            # One that reads nothing.
            with Wire(server.port):
                await until(lambda: bool(server.connections), "it has come")
                (connection,) = server.connections
                await connection.subscribe("t")
                published = 0

                async def publish() -> None:
                    nonlocal published
                    while True:
                        await server.publish("t", "x" * 50_000)
                        published += 1

                publisher = asyncio.create_task(publish())
                slowest = 0.0
                async with asyncio.timeout(PATIENCE):
                    while server.engine.has_room("t") or published < 20:
                        began = time.monotonic()
                        await asyncio.sleep(0.001)
                        slowest = max(slowest, time.monotonic() - began)
                publisher.cancel()
                await asyncio.gather(publisher, return_exceptions=True)
                assert publisher.cancelled()
                assert slowest < 1

    play(story())


@pytest.fixture
def pair() -> tuple[Server, Server]:
    """Two servers that are to be one cluster."""
    ports = (free_port(), free_port())
    peers = [f"127.0.0.1:{port}" for port in ports]
    one, two = (
        new(
            recovery_enabled=True, cluster={"peers": peers, "cluster_port": port, "cluster_secret": b"s" * 32}
        )
        for port in ports
    )
    return one, two


@pytest.mark.slow
def test_in_a_cluster_stored_is_stored_twice(pair: tuple[Server, Server]) -> None:
    one, two = pair

    async def story() -> None:
        async with one, two:
            await until(
                lambda: one.engine.cluster_connected() and two.engine.cluster_connected(), "they are linked"
            )
            async with await dial(two) as client:
                await until(lambda: bool(two.connections), "it has come")
                await client.subscribe("t")
                (connection,) = two.connections
                assert (await connection.subscribe("plain"))["confirmed"]
                positions = await asyncio.gather(*(one.publish("t", n, wait="stored") for n in range(50)))
                assert all(isinstance(it, Position) and it.copies == 2 for it in positions)
                assert sorted(it.offset for it in positions if it is not None) == list(range(1, 51))
                assert [(await client.hear("message"))["o"] for _ in range(50)] == list(range(1, 51))
                assert await one.publish("t", 1) is None
                answer = await connection.recover({"t": positions[0]})  # type: ignore[dict-item]
                assert answer["recovered"]

    play(story())
