"""The client for programs without asyncio: the same one, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from ._typing import override
from .client import Client
from .codes import CloseCode
from .errors import ClosedError
from .events import Connected
from .inbox import Item, Overflow
from .messages import Gap, Message, Position, Presence
from .options import ClientOptions
from .subscription import Subscription
from .wire import Content

__all__ = ["SyncClient", "SyncSubscription"]

T = TypeVar("T")

BATCH = 256
"""Items that are handed from one thread to the other at once."""
EVENT_CALLBACKS = ("on_connect", "on_disconnect", "on_trouble")


class SyncClient:
    """A connection to a WSE server that comes back by itself.

    ::

        with SyncClient("wss://ws.example.com/wse") as client:
            for message in client.subscribe("prices"):
                print(message.topic, message.payload)

    It is `Client` for programs without asyncio, with the same options, methods and errors. Any thread may
    call any method. `on_gap` and `on_presence` are called by the thread that reads the subscription, the
    other callbacks by a thread of the client, one at a time.

    Args:
        urls: Where servers are (`ws://` or `wss://`), best first. The others are tried when one does not
            answer.
        options: See `ClientOptions`. Callbacks are plain functions here; a token provider may be a coroutine
            function.

    Raises:
        TypeError, ValueError: An option or URL is wrong; the message says what is allowed.
        ImportError: An option needs a package that is not installed.
    """

    def __init__(self, *urls: str, **options: Unpack[ClientOptions]) -> None:
        for name in EVENT_CALLBACKS:
            callback = options.get(name)
            if callable(callback):
                options[name] = _in_thread(callback)  # type: ignore[literal-required] # one of three names
        self._client = Client(*urls, **options)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    # ---- Life ----

    def open(self) -> Self:
        """Connects, and returns when the server has greeted. `with` calls it.

        The errors are those of `Client.open`.
        """
        if self._loop is not None:
            raise RuntimeError("a client is opened once; make another one")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=[self._loop], name="wse-client", daemon=True)
        self._thread.start()
        try:
            self._call(self._client.open())
        except BaseException:
            self.close()
            raise
        return self

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Closes the connection, after what waits to be published was sent, and ends all subscriptions.

        What could not be sent within `close_timeout` fails with `ClosedError`. A second call does nothing.

        Args:
            code: What the server is told, 1000 or 3000 to 4999.
            reason: Why, up to 123 bytes.
        """
        loop, thread = self._loop, self._thread
        if loop is None or thread is None or not thread.is_alive():
            return
        self._call(self._client.close(code, reason))
        loop.call_soon_threadsafe(loop.stop)
        thread.join()

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.get_loop().run_forever()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine in the client's thread and waits for it; an interrupt gives it up."""
        if self._loop is None or self._loop.is_closed():
            work.close()
            raise RuntimeError("the client is not open: use `with SyncClient(...)`, or call open()")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_connected(self) -> bool:
        """Whether a connection stands at this moment."""
        return self._client.is_connected

    @property
    def is_closed(self) -> bool:
        """Whether it has ended and does not come back."""
        return self._client.is_closed

    @property
    def connection(self) -> Connected | None:
        """What is known of the connection, or of the last one; None before the first."""
        return self._client.connection

    @property
    def waiting_to_send(self) -> int:
        """Bytes of publications that were not sent or not answered yet."""
        return self._client.waiting_to_send

    # ---- Hearing ----

    def subscribe(
        self,
        *topics: str,
        positions: Mapping[str, Position] | None = None,
        queue_group: str | None = None,
        presence: Mapping[str, Any] | None = None,
        on_gap: Callable[[Gap], Any] | None = None,
        on_presence: Callable[[Presence], Any] | None = None,
        receive_buffer_bytes: int | None = None,
        overflow: Overflow | None = None,
    ) -> SyncSubscription:
        """Subscribes to topics and patterns. The arguments and errors are those of `Client.subscribe`."""

        async def subscribe() -> Subscription:
            return self._client.subscribe(
                *topics,
                positions=positions,
                queue_group=queue_group,
                presence=presence,
                on_gap=on_gap,
                on_presence=on_presence,
                receive_buffer_bytes=receive_buffer_bytes,
                overflow=overflow,
            )

        return SyncSubscription(self, self._call(subscribe()))

    def messages(self) -> Iterator[Message]:
        """Messages that belong to no subscription: what the application says to this client, or to everyone.

        Those that nobody reads are kept up to `receive_buffer_bytes`; then the oldest are dropped, which
        `on_gap` is told.
        """
        while True:
            try:
                items = self._call(self._client.take(BATCH))
            except StopAsyncIteration:
                return
            for item in items:
                if isinstance(item, Message):
                    yield item
                elif isinstance(item, Gap):
                    self._client.tell_gap(item)

    def __iter__(self) -> Iterator[Message]:
        return self.messages()

    # ---- Saying ----

    def publish(
        self,
        topic: str,
        message: Mapping[str, Any],
        *,
        wait: bool = True,
        resend: bool = False,
        timeout: float | None = 10.0,
    ) -> Position | None:
        """Publishes a message to a topic. The arguments and errors are those of `Client.publish`."""
        return self._call(self._client.publish(topic, message, wait=wait, resend=resend, timeout=timeout))

    def send(self, content: Content, *, timeout: float | None = 10.0) -> None:
        """Says something to the server's application. The errors are those of `Client.send`."""
        self._call(self._client.send(content, timeout=timeout))

    def update_presence(self, data: Mapping[str, Any], *, timeout: float | None = 10.0) -> None:
        """Changes what others see of this client. The errors are those of `Client.update_presence`."""
        self._call(self._client.update_presence(data, timeout=timeout))

    def flush(self, timeout: float | None = 10.0) -> None:
        """Waits until everything that was published is sent and answered, or raises `TimeoutError`."""
        self._call(self._client.flush(timeout))

    @override
    def __repr__(self) -> str:
        return repr(self._client).replace("<Client", "<SyncClient", 1)


class SyncSubscription(Iterator[Message]):
    """Messages of one or more topics, in order. Made by `SyncClient.subscribe`; read by one thread.

    It is `Subscription` for programs without asyncio, and ends as that does.
    """

    def __init__(self, client: SyncClient, subscription: Subscription) -> None:
        self._client = client
        self._subscription = subscription
        self._items: deque[Item] = deque()

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics and patterns."""
        return self._subscription.topics

    @property
    def is_ready(self) -> bool:
        """Whether the server has answered: what is published since then comes."""
        return self._subscription.is_ready

    @property
    def waiting(self) -> int:
        """Messages and other news that wait to be read."""
        return self._subscription.waiting + len(self._items)

    @property
    def positions(self) -> dict[str, Position]:
        """By topic, the position of the last message that was read: see `Subscription.positions`."""
        return self._subscription.positions

    def ready(self, timeout: float | None = 30.0) -> None:
        """Waits until the server has answered. The errors are those of `Subscription.ready`."""
        self._client._call(self._subscription.ready(timeout))

    def receive(self, timeout: float | None = None) -> Message:
        """Waits for the next message.

        Args:
            timeout: Seconds; None waits as long as it takes.

        Raises:
            TimeoutError: None came in time.
            ClosedError: The subscription is over.
        """
        try:
            return self._next(timeout)
        except StopAsyncIteration:
            raise ClosedError("the subscription is over") from None

    def close(self) -> None:
        """Ends the subscription. What waits to be read is dropped. A second call does nothing."""
        self._items.clear()

        async def close() -> None:
            self._subscription.close()

        self._client._call(close())

    def _next(self, timeout: float | None) -> Message:
        while True:
            if not self._items:
                self._items.extend(self._client._call(self._take(timeout)))
            item = self._items.popleft()
            if isinstance(item, Message):
                self._subscription.note(item)
                return item
            self._subscription.tell(item)

    async def _take(self, timeout: float | None) -> list[Item]:
        async with asyncio.timeout(timeout):
            return await self._subscription.take(BATCH)

    @override
    def __iter__(self) -> Self:
        return self

    @override
    def __next__(self) -> Message:
        try:
            return self._next(None)
        except StopAsyncIteration:
            raise StopIteration from None

    def __enter__(self) -> Self:
        try:
            self.ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @override
    def __repr__(self) -> str:
        return repr(self._subscription).replace("<Subscription", "<SyncSubscription", 1)


def _in_thread(callback: Callable[[Any], Any]) -> Callable[[Any], Coroutine[Any, Any, Any]]:
    """Lets a callback wait for what it likes, also the client's own methods, without stopping the client."""

    async def call(event: object) -> None:
        await asyncio.to_thread(callback, event)

    return call
