"""Through a network that cuts, stalls, trickles and resets: every message once and in order, or told exactly.

`make client-storm MINUTES=5` makes it last; `WSE_STORM_SEED` repeats what a failure printed.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import threading
import time
from contextlib import AbstractContextManager
from typing import Any

import pytest

from client.conftest import Factory
from client.oracle import Oracle
from client.proxy import Proxy
from nodes import FAST, mesh
from support import Running, in_thread, run, start_server
from wse_client import (
    Client,
    Connected,
    Disconnected,
    Gap,
    Message,
    Position,
    Subscription,
    SyncClient,
    SyncSubscription,
)

MINUTES = float(os.environ.get("WSE_STORM_MINUTES", "0"))
SECONDS = MINUTES * 60 / 3 or 4.0
"""How long each of the three storms lasts."""
SEED = int(os.environ.get("WSE_STORM_SEED", "0")) or secrets.randbits(32)
PATIENT = SECONDS + 60

TOPICS = ["prices", "orders", "quiet", "silent"]
"""`Publisher.some` leaves the last one silent: readers go on in it though it has had no message yet."""
NERVOUS: dict[str, Any] = {"ping_interval": 0.5, "pong_timeout": 0.7, "attempt_timeout": 2.0, "proxy": None}
"""Options of clients that notice soon what is wrong."""
END = "end"

pytestmark = [pytest.mark.usefixtures("soon"), pytest.mark.timeout(PATIENT + 60)]

Items = list[Message | Gap]


class Publisher:
    """Publishes numbers, and keeps in mind where they stand."""

    def __init__(self) -> None:
        self.published: dict[str, list[Position]] = {topic: [] for topic in TOPICS}
        self._count = 0

    def publish(self, running: Running, topic: str, kind: str = "n") -> None:
        self._count += 1
        message = json.dumps({"t": kind, "p": {"n": self._count, "x": "x" * 300}})
        # In a cluster it may be another node that numbers the topic, and only who waits is told how.
        at = running.server.broadcast(topic, message, wait="stored")
        assert at is not None
        self.published[topic].append(Position(at.epoch, at.offset))

    def some(self, running: Running) -> None:
        """A handful; one topic is quiet most of the time."""
        for topic in ("prices", "prices", "orders"):
            self.publish(running, topic)
        if self._count % 50 < 3:
            self.publish(running, "quiet")

    def running(self, running: Running) -> AbstractContextManager[None]:
        """Publishes in a thread for as long as the block lasts."""

        def work(stop: threading.Event) -> None:
            while not stop.wait(0.004):
                self.some(running)

        return in_thread(work)

    async def end(self, running: Running, reading: list[asyncio.Task[None]]) -> None:
        """Publishes last messages until all have read one: the first may be among those that a gap tells."""
        async with asyncio.timeout(30):
            left = set(reading)
            while left:
                for topic in TOPICS:
                    await asyncio.to_thread(self.publish, running, topic, END)
                _, left = await asyncio.wait(left, timeout=0.2)
        for task in reading:
            task.result()

    def judge(self, heard: dict[str, Items]) -> tuple[int, int]:
        """Judges what was read of each topic up to its end; returns how many were read and gaps told.

        Readers had subscribed before anything was published, so they are due all of it.
        """
        read = told = 0
        for topic in TOPICS:
            oracle = Oracle(topic)
            last = heard[topic][-1]
            assert isinstance(last, Message)
            assert last.type == END
            for position in self.published[topic]:
                oracle.publishes(position)
                if position == last.position:
                    break
            for item in heard[topic]:
                oracle.hears(item)
            oracle.is_done()
            read, told = read + oracle.read, told + oracle.told
        return read, told


async def read(subscription: Subscription, items: Items) -> None:
    """Reads up to the last message."""
    async for message in subscription:
        items.append(message)
        if message.type == END:
            return


async def begin(client: Client, heard: dict[str, Items]) -> list[asyncio.Task[None]]:
    """Subscribes, and reads in tasks of their own."""
    subscriptions = [client.subscribe(topic, on_gap=heard[topic].append) for topic in TOPICS]
    for subscription in subscriptions:
        await subscription.ready()
    return [
        asyncio.create_task(read(each, heard[topic]))
        for topic, each in zip(TOPICS, subscriptions, strict=True)
    ]


@pytest.mark.parametrize("kept", [4096, 8], ids=["a long history", "a short history"])
def test_a_reader_behind_a_bad_network_misses_nothing_unknown(serving: Factory, kept: int) -> None:
    server = serving(recovery_buffer_size=kept, recovery_max_messages=100_000)
    publisher, heard = Publisher(), {topic: Items() for topic in TOPICS}

    async def scenario() -> None:
        losses: asyncio.Queue[Disconnected] = asyncio.Queue()
        async with Proxy(server.port, SEED) as proxy:
            proxy.is_calm = True
            async with Client(proxy.url, on_disconnect=losses.put_nowait, **NERVOUS) as client:
                reading = await begin(client, heard)
                proxy.is_calm = False
                with publisher.running(server):
                    await asyncio.wait(reading, timeout=SECONDS)
                    await asyncio.wait_for(losses.get(), 30)
                proxy.is_calm = True
                await publisher.end(server, reading)
            count, told = publisher.judge(heard)
            print(f"seed {SEED}: {count} read, {told} gaps, {losses.qsize() + 1} losses, {proxy.done}")
            assert count > SECONDS * 20
            assert kept == 8 or told == 0, heard

    run(scenario(), PATIENT)


def test_a_blocking_reader_misses_nothing_either(serving: Factory) -> None:
    server = serving(recovery_buffer_size=4096, recovery_max_messages=100_000)
    publisher, heard = Publisher(), {topic: Items() for topic in TOPICS}

    def follow(subscription: SyncSubscription, items: Items) -> None:
        for message in subscription:
            items.append(message)
            if message.type == END:
                return

    def work(url: str, calm: threading.Event) -> None:
        with SyncClient(url, **NERVOUS) as client:
            subscriptions = [client.subscribe(topic, on_gap=heard[topic].append) for topic in TOPICS]
            for each in subscriptions:
                each.ready()
            readers = [
                threading.Thread(target=follow, args=(each, heard[topic]))
                for topic, each in zip(TOPICS, subscriptions, strict=True)
            ]
            for reader in readers:
                reader.start()
            with publisher.running(server):
                readers[0].join(SECONDS)
            calm.set()
            for topic in TOPICS:
                publisher.publish(server, topic, END)
            for reader in readers:
                reader.join(30)
                assert not reader.is_alive(), f"{client} has stopped, seed {SEED}"

    async def scenario() -> None:
        calm = threading.Event()
        async with Proxy(server.port, SEED) as proxy:
            working = asyncio.create_task(asyncio.to_thread(work, proxy.url, calm))
            working.add_done_callback(lambda _: calm.set())
            await asyncio.wait(
                [working, asyncio.create_task(asyncio.to_thread(calm.wait))],
                return_when=asyncio.FIRST_COMPLETED,
            )
            proxy.is_calm = True
            await working
            count, told = publisher.judge(heard)
            print(f"seed {SEED}: {count} read, {told} gaps, {proxy.done}")
            assert told == 0
            assert count > SECONDS * 20

    run(scenario(), PATIENT)


def test_across_restarts_of_the_server_the_loss_is_told() -> None:
    allowed: dict[str, Any] = {"client_subscriptions": True, "recovery_enabled": True}
    publisher, heard = Publisher(), {topic: Items() for topic in TOPICS}

    async def scenario() -> None:
        server = start_server(**allowed)
        port = server.port
        try:
            connected: asyncio.Queue[Connected] = asyncio.Queue()
            async with Client(server.url, on_connect=connected.put_nowait, **NERVOUS) as client:
                await connected.get()
                reading = await begin(client, heard)
                end = time.monotonic() + SECONDS / 2
                while time.monotonic() < end:
                    for _ in range(20):
                        publisher.some(server)
                    publisher.publish(server, "quiet")
                    await asyncio.to_thread(server.close)
                    server = await asyncio.to_thread(lambda: start_server(port=port, **allowed))
                    for topic in TOPICS:
                        publisher.publish(server, topic)
                    await asyncio.wait_for(connected.get(), 30)
                await publisher.end(server, reading)
            count, told = publisher.judge(heard)
            print(f"{count} read, {told} gaps")
            assert told
            gaps = [item for items in heard.values() for item in items if isinstance(item, Gap)]
            assert all(gap.missed is None and gap.next is not None for gap in gaps)
        finally:
            server.close()

    run(scenario(), PATIENT)


@pytest.mark.parametrize("how", ["drain", "death"])
def test_at_another_node_of_a_cluster_a_reader_goes_on(serving: Factory, how: str) -> None:
    server, other = mesh(serving, 2, cluster=FAST, recovery_buffer_size=4096)
    publisher, heard = Publisher(), {topic: Items() for topic in TOPICS}

    async def scenario() -> None:
        connected: asyncio.Queue[Connected] = asyncio.Queue()
        async with Client(server.url, other.url, on_connect=connected.put_nowait, **NERVOUS) as client:
            assert (await connected.get()).url == server.url
            reading = await begin(client, heard)
            with publisher.running(other):
                await asyncio.wait(reading, timeout=0.5)
                leave = server.server.drain if how == "drain" else server.server.stop
                await asyncio.to_thread(leave)
                assert (await asyncio.wait_for(connected.get(), 30)).url == other.url
                await asyncio.wait(reading, timeout=0.5)
            await publisher.end(other, reading)
        # Every topic is recovered at the other node, whoever is its home then.
        count, told = publisher.judge(heard)
        print(f"{count} read, {told} gaps")
        assert told == 0
        assert count > 50

    run(scenario(), PATIENT)
