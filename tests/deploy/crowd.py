"""Recovering clients behind a proxy and a publisher that goes on, and the account of what each has heard."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, AsyncExitStack, suppress
from types import TracebackType
from typing import Self

from deploy.nodes import Node
from deploy.one_node import token
from deploy.proxies import Proxy
from http_api import Worker
from support import in_thread
from wire import Answer
from wse_client import Client, Disconnected, Gap, Subscription

TOPICS = [f"topic-{number}" for number in range(6)]
"""Several, so that each node is the home of some."""
END = "end"
PACE = 0.03
"""Seconds between two publications."""


class Publisher:
    """A program that publishes over the HTTP API, at whichever node takes it.

    It keeps to a node until an answer says that the connection ends, as those of a node that is emptied do,
    or until the node refuses. Where the answer is that a message was published, and not whether it is stored,
    it looks into the history before it publishes again. So nothing is published twice.

    Args:
        nodes: Where it publishes, the first one first.
    """

    def __init__(self, nodes: list[Node]) -> None:
        self.published: dict[str, list[int]] = {topic: [] for topic in TOPICS}
        self.moves = 0
        self.refusals: list[Answer] = []
        """What nodes that end have said to publications."""
        self.slowest = 0.0
        """Seconds that a publication took at most until it was stored, while topics found new homes."""
        self._turn = itertools.cycle(nodes)
        self._numbers = itertools.count()
        self._worker: Worker | None = None

    def running(self) -> AbstractContextManager[None]:
        """Publishes in a thread for as long as the block lasts, then the last message of each topic."""

        def work(stop: threading.Event) -> None:
            try:
                for topic in itertools.cycle(TOPICS):
                    if stop.wait(PACE):
                        break
                    self._publish(topic, "n")
                for topic in TOPICS:
                    self._publish(topic, END)
            finally:
                self._move()

        return in_thread(work)

    def _publish(self, topic: str, kind: str) -> None:
        number = next(self._numbers)
        order = {
            "topic": topic,
            "data": {"t": kind, "p": {"n": number}},
            "wait": "stored",
            "timeout": 30,
        }
        began = time.monotonic()
        for _ in range(300):
            answer = self._ask(order)
            if answer is None:
                continue
            if answer.status == 503:
                self.refusals.append(answer)
                error = json.loads(answer.body)["error"]
                if not error.get("published") or not self._is_in_history(topic, number):
                    continue
            else:
                assert answer.status == 200, answer
            self.published[topic].append(number)
            self.slowest = max(self.slowest, time.monotonic() - began)
            return
        raise AssertionError("no node takes publications")

    def _ask(self, order: dict[str, object]) -> Answer | None:
        """The answer to a publication; None if there was nobody to ask."""
        if self._worker is None:
            self._worker = next(self._turn).worker()
            try:
                self._worker.connection.connect()
            except OSError:
                self._move()
                return None
        answer = self._worker.ask("POST", "/api/publish", order)
        if answer.headers.get("connection", "").lower() == "close":
            self._move()
        return answer

    def _is_in_history(self, topic: str, number: int) -> bool:
        """Whether a message arrived in the history that all nodes share; it has a few seconds to do so."""
        pause = threading.Event()
        for _ in range(100):
            with suppress(OSError), next(self._turn).worker() as worker:
                messages = worker.get(f"/api/history?topic={topic}")["messages"]
                if number in [message["data"]["p"]["n"] for message in messages]:
                    return True
            pause.wait(0.05)
        return False

    def _move(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self.moves += 1
        self._worker = None


class Reader:
    """A client that follows one topic."""

    def __init__(self, client: Client, topic: str) -> None:
        self.topic = topic
        self.heard: list[int] = []
        self.gaps: list[Gap] = []
        self._client = client
        self._subscription: Subscription | None = None
        self._reading: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Subscribes, and reads from now on up to the last message."""
        self._subscription = self._client.subscribe(self.topic, on_gap=self.gaps.append)
        await self._subscription.ready()
        self._reading = asyncio.create_task(self._read(self._subscription))

    async def _read(self, subscription: Subscription) -> None:
        async for message in subscription:
            self.heard.append(message.payload["n"])
            if message.type == END:
                return

    async def end(self) -> None:
        """Waits until it has the last message."""
        assert self._reading is not None
        await self._reading


class Crowd:
    """Clients that come back by themselves, each with a token of its own. They leave with the `with` block.

    Args:
        proxy: Through what they come.
        count: How many.
    """

    def __init__(self, proxy: Proxy, count: int) -> None:
        self.losses = 0
        """Connections that ended, and attempts that failed."""
        self.reasons: Counter[str] = Counter()
        self.readers: list[Reader] = []
        self._proxy = proxy
        self._count = count
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        topics = itertools.cycle(TOPICS)
        names = iter(range(self._count))
        # As many at a time as a person would see come in, not all in one moment.
        await asyncio.gather(*(self._enter(names, topics) for _ in range(20)))
        return self

    async def _enter(self, names: Iterator[int], topics: Iterator[str]) -> None:
        for name in names:
            client = Client(
                self._proxy.url,
                token=token(f"user-{name}"),
                headers={"Cookie": f"access_token={token(f'user-{name}')}"},
                ssl=self._proxy.context,
                proxy=None,
                attempt_timeout=5.0,
                on_disconnect=self._count_loss,
            )
            await self._stack.enter_async_context(client)
            reader = Reader(client, next(topics))
            await reader.begin()
            self.readers.append(reader)

    def _count_loss(self, lost: Disconnected) -> None:
        self.losses += 1
        self.reasons[f"{lost.code} {lost.reason}"[:80]] += 1

    async def judge(self, published: dict[str, list[int]]) -> int:
        """Sees that everybody has heard all of its topic, once and in order; returns how much that was."""
        async with asyncio.timeout(30):
            for reader in self.readers:
                await reader.end()
        for reader in self.readers:
            lost = sorted(set(published[reader.topic]) - set(reader.heard))
            doubled = [number for number, times in Counter(reader.heard).items() if times > 1]
            assert reader.heard == published[reader.topic], f"{lost=} {doubled=} {reader.gaps=}"
            assert reader.gaps == []
        return sum(len(reader.heard) for reader in self.readers)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(http.client.HTTPException):
            await self._stack.aclose()
