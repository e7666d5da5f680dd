"""A subscription as its reader sees it, in asyncio."""

from __future__ import annotations

import asyncio
import inspect
import weakref
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ._typing import override
from .actions import State
from .feeds import Feed
from .inbox import Inbox, Item
from .messages import Gap, Message, Position, Presence

if TYPE_CHECKING:
    from .driver import Driver

__all__ = ["Subscription"]


class Subscription(AsyncIterator[Message]):
    """Messages of one or more topics, in order. Made by `Client.subscribe`.

    Read it with `async for`, as a whole or with breaks, from one task. It ends when it is closed, when nobody
    holds it any more, with its client, or with an error that the loop raises:

    - `SubscriptionError`: the server refuses it.
    - `FellBehindError`: its reader was too slow, with `overflow="error"`.
    - `ClosedError`: the client has ended, and not because the application wanted it.

    As a context manager it waits on entry until the server has answered, and is closed at the end::

        async with client.subscribe("prices") as prices:
            async for message in prices:
                ...
    """

    def __init__(
        self,
        driver: Driver,
        feed: Feed,
        on_gap: Callable[[Gap], Any],
        on_presence: Callable[[Presence], Any] | None,
    ) -> None:
        self._driver = driver
        self._feed = feed
        self._on_gap = on_gap
        self._on_presence = on_presence
        self._reader = Reader(driver, feed.inbox)
        self._readied = asyncio.Event()
        feed.wake_ready = self._readied.set
        self._read: dict[str, Position] = {}
        # Who breaks out of a loop and forgets the subscription wants nothing more of it.
        self._finalizer = weakref.finalize(self, driver.unsubscribe_soon, feed)
        self._finalizer.atexit = False

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics and patterns."""
        return self._feed.topics

    @property
    def is_ready(self) -> bool:
        """Whether the server has answered: what is published since then comes."""
        return self._feed.is_ready and not self._feed.has_ended

    @property
    def waiting(self) -> int:
        """Messages and other news that wait to be read."""
        return len(self._feed.inbox)

    @property
    def positions(self) -> dict[str, Position]:
        """By topic, the position of the last message that was read, or where the subscription began.

        Kept in a safe place they let another process go on: `subscribe(..., positions=positions)`. Topics of
        patterns and queue groups, and all topics of servers without history, have none.
        """
        return {
            topic: position
            for topic, track in self._feed.tracks.items()
            if (position := self._read.get(topic, track.began)) is not None
        }

    async def ready(self, timeout: float | None = 30.0) -> None:
        """Waits until the server has answered for all topics: all that is published from then on comes.

        Args:
            timeout: Seconds; None waits as long as it takes.

        Raises:
            SubscriptionError: The server refuses it.
            ClosedError: The client has ended.
            TimeoutError: There was no answer in time.
        """
        try:
            async with asyncio.timeout(timeout):
                while not self._feed.is_ready and not self._feed.has_ended:
                    self._readied.clear()
                    await self._readied.wait()
        except TimeoutError:
            state = "the server did not answer; is its option client_subscriptions on?"
            if self._driver.session.state is not State.OPEN:
                state = "there is no connection"
            raise TimeoutError(f"no subscription to {self.topics} within {timeout} s: {state}") from None
        if self._feed.inbox.error is not None:
            raise self._feed.inbox.error

    def close(self) -> None:
        """Ends the subscription. What waits to be read is dropped. A second call does nothing."""
        self._finalizer.detach()
        self._driver.unsubscribe(self._feed)

    @override
    def __aiter__(self) -> Self:
        return self

    @override
    async def __anext__(self) -> Message:
        while True:
            item = self._reader.at_hand() or await self._reader.next()
            if isinstance(item, Message):
                self.note(item)
                return item
            told = self.tell(item)
            if inspect.isawaitable(told):
                await told

    def note(self, item: Item) -> None:
        """Keeps in mind what was read."""
        if isinstance(item, Message) and item.topic is not None and item.position is not None:
            topic, position = item.topic, item.position
        elif isinstance(item, Gap) and item.topic is not None and item.next is not None:
            topic, position = item.topic, item.next
        else:
            return
        if topic in self._feed.tracks:
            self._read[topic] = position

    def tell(self, item: Gap | Presence) -> Any:  # noqa: ANN401 - what the callback returns
        """Tells the application what is no message."""
        self.note(item)
        if isinstance(item, Presence):
            return None if self._on_presence is None else self._on_presence(item)
        return self._on_gap(item)

    async def take(self, limit: int) -> list[Item]:
        """Waits for items and returns up to `limit` of them.

        Gaps and news of users are among them, and were not told to any callback.
        """
        return await self._reader.take(limit)

    async def __aenter__(self) -> Self:
        try:
            await self.ready()
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @override
    def __repr__(self) -> str:
        state = "closed" if self._feed.has_ended else "ready" if self._feed.is_ready else "waiting"
        return f"<Subscription {', '.join(map(repr, self.topics))} {state}, {self.waiting} to read>"


class Reader:
    """Takes from an inbox, and waits where it is empty."""

    def __init__(self, driver: Driver, inbox: Inbox) -> None:
        self._driver = driver
        self._inbox = inbox
        self._arrived = asyncio.Event()
        inbox.wake = self._arrived.set

    def at_hand(self) -> Item | None:
        """Takes the next item if it is there: what `next` does without the price of a coroutine."""
        item = self._inbox.take()
        if item is not None:
            self._driver.room()
        return item

    async def next(self) -> Item:
        """Waits for the next item.

        Raises:
            StopAsyncIteration: There will be none.
            Exception: There will be none, for a reason that the application should know.
        """
        while (item := self._inbox.take()) is None:
            if self._inbox.has_ended:
                raise self._inbox.error or StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        self._driver.room()
        return item

    async def take(self, limit: int) -> list[Item]:
        """Waits for items and returns up to `limit` of them. The errors are those of `next`."""
        items = [await self.next()]
        while len(items) < limit and (item := self._inbox.take()) is not None:
            items.append(item)
        self._driver.room()
        return items
