"""The client for asyncio: a session, driven by an event loop and a connection of `websockets`."""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Any, Self, Unpack

from ._typing import override
from .actions import State
from .codes import CloseCode
from .driver import Driver
from .errors import ConnectError, RefusedError
from .events import Connected, Disconnected, Event, Trouble
from .inbox import Item, Overflow
from .messages import Gap, Message, Position, Presence
from .options import ClientOptions, checked
from .outbox import Publication
from .session import Session
from .subscription import Reader, Subscription
from .wire import Content

__all__ = ["Client"]

logger = logging.getLogger("wse_client")


class Client:
    """A connection to a WSE server that comes back by itself.

    ::

        async with Client("wss://ws.example.com/wse") as client:
            async for message in client.subscribe("prices"):
                print(message.topic, message.payload)

    While it is away, subscriptions go on waiting and publications are kept. When it comes back it asks for
    what it missed: each message of a topic with history is read once and in order, or `on_gap` is told which
    ones are not.

    All methods belong to the event loop in which it was opened.

    Args:
        urls: Where servers are (`ws://` or `wss://`), best first. The others are tried when one does not
            answer.
        options: See `ClientOptions`.

    Raises:
        TypeError, ValueError: An option or URL is wrong; the message says what is allowed.
        ImportError: An option needs a package that is not installed.
    """

    def __init__(self, *urls: str, **options: Unpack[ClientOptions]) -> None:
        self.options = checked(urls, options)
        exchange = None
        if self.options.encryption:
            from .encryption import KeyExchange  # noqa: PLC0415 - asked for only by who has cryptography

            exchange = KeyExchange
        self._session = Session(self.options, random.Random(), exchange)  # noqa: S311 - delays are no secret
        self._driver: Driver | None = None

    # ---- Life ----

    async def open(self) -> Self:
        """Connects, and returns when the server has greeted. `async with` calls it.

        Raises:
            ConnectError: No server could be reached within `open_timeout`, or none is one that this client
                can use.
            AuthenticationError: The token is missing or refused.
            ClosedError: The server has sent the client away.
            RuntimeError: It was opened before.
        """
        if self._driver is not None:
            raise RuntimeError("a client is opened once; make another one")
        driver = self._driver = Driver(self._session, self._tell)
        self._direct = Reader(driver, self._session.direct)
        driver.start()
        try:
            async with asyncio.timeout(self.options.open_timeout):
                await driver.opened.wait()
        except TimeoutError:
            last, limit = driver.last_failure, self.options.open_timeout
            await self.close()
            raise ConnectError(f"no connection within open_timeout, {limit} s; last: {last}") from None
        except BaseException:
            await self.close()
            raise
        if self._session.error is not None:
            await self.close()
            raise self._session.error
        return self

    async def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Closes the connection, after what waits to be published was sent, and ends all subscriptions.

        What could not be sent within `close_timeout` fails with `ClosedError`. A second call does nothing but
        wait.

        Args:
            code: What the server is told, 1000 or 3000 to 4999.
            reason: Why, up to 123 bytes.
        """
        if self._driver is None:
            self._session.close(0.0)
            return
        self._session.close(self._driver.now(), code, reason)
        self._driver.pump()
        await self._driver.end()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def is_connected(self) -> bool:
        """Whether a connection stands at this moment."""
        return self._session.state in {State.OPEN, State.CLOSING}

    @property
    def is_closed(self) -> bool:
        """Whether it has ended and does not come back."""
        return self._session.state is State.CLOSED

    @property
    def connection(self) -> Connected | None:
        """What is known of the connection, or of the last one; None before the first."""
        return None if self._driver is None else self._driver.connected

    @property
    def waiting_to_send(self) -> int:
        """Bytes of publications that were not sent or not answered yet."""
        return self._session.outbox.bytes

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
    ) -> Subscription:
        """Subscribes to topics, and patterns in which `*` stands for any characters and `?` for one.

        It returns at once; wait for the server's answer with `ready`, or by `async with`. The server must
        have `client_subscriptions`, and `recovery_enabled` for what was missed to be recovered. Without that
        its messages do not say their topic: then a client has one subscription, to as many topics as it
        likes, and it gets all messages.

        Args:
            topics: At least one, each 1 to 255 bytes. A client subscribes to each once.
            positions: Go on after these messages, by topic: what `Subscription.positions` was in an earlier
                life.
            queue_group: Share the messages with the other members of this group: each goes to one.
            presence: What others see of this client in these topics, where the server tracks presence. None:
                nothing.
            on_gap: Told of messages that do not come, before the next one that does. Default: the client's.
            on_presence: Told who comes, goes and changes. May be a coroutine function, as `on_gap` may.
            receive_buffer_bytes: Bytes that may wait to be read. Default: the client's.
            overflow: What happens at that limit. Default: the client's.

        Raises:
            ValueError, TypeError: A topic or argument is wrong; the message says what is allowed.
            ClosedError: The client has ended.
        """
        driver = self._check_open()
        feed = self._session.subscribe(
            topics,
            queue_group=queue_group,
            presence=presence,
            hears_presence=on_presence is not None,
            positions=positions,
            limit=receive_buffer_bytes,
            overflow=overflow,
        )
        subscription = Subscription(driver, feed, on_gap or self.tell_gap, on_presence)
        driver.pump()
        return subscription

    def messages(self) -> AsyncIterator[Message]:
        """Messages that belong to no subscription: what the application says to this client, or to everyone.

        Those that nobody reads are kept up to `receive_buffer_bytes`; then the oldest are dropped, which
        `on_gap` is told.
        """
        self._check_open()
        return self._messages()

    async def _messages(self) -> AsyncIterator[Message]:
        while True:
            try:
                item = await self._direct.next()
            except StopAsyncIteration:
                return
            if isinstance(item, Message):
                yield item
            elif isinstance(item, Gap):
                told = self.tell_gap(item)
                if inspect.isawaitable(told):
                    await told

    def __aiter__(self) -> AsyncIterator[Message]:
        return self.messages()

    # ---- Saying ----

    async def publish(
        self,
        topic: str,
        message: Mapping[str, Any],
        *,
        wait: bool = True,
        resend: bool = False,
        timeout: float | None = 10.0,
    ) -> Position | None:
        """Publishes a message to a topic. The server must have `client_publish`.

        While there is no connection it is kept, within `publish_queue_bytes`.

        Args:
            topic: The topic, no pattern.
            message: As subscribers get it: `{"t": "chat", "p": {...}}`.
            wait: Wait for the server's answer. Without it what goes wrong is told to `on_trouble`.
            resend: Send it again if the connection was lost before the answer. It is published twice then if
                the answer alone was lost; an `id` in the message lets readers see that.
            timeout: Seconds to wait; None waits as long as it takes.

        Returns:
            Its position, where the topic has history and `wait` is set; else None.

        Raises:
            RefusedError: The server did not publish it, and says why.
            OutcomeUnknownError: The connection was lost before the answer, without `resend`.
            TimeoutError: There was no answer in time. If it says that nothing was sent, nothing will be.
            QueueFullError, DroppedError: There is no room for it, by `publish_overflow`.
            TypeError, ValueError: JSON can't say it.
            ClosedError: The client has ended.
        """
        self._check_open()
        publication = self._session.publish(topic, message, resend=resend)
        return await self._sent(publication, f"publish to {topic!r}", wait=wait, timeout=timeout)

    async def send(self, content: Content, *, timeout: float | None = 10.0) -> None:
        """Says something to the server's application: an object, which it gets as `msg`, or text, or bytes.

        It is sent at most once, and returns when it was given to the connection. The errors are those of
        `publish`.
        """
        self._check_open()
        publication = self._session.send(content)
        await self._sent(publication, "send", wait=True, timeout=timeout)

    async def update_presence(self, data: Mapping[str, Any], *, timeout: float | None = 10.0) -> None:
        """Changes what others see of this client, in all its subscriptions that have `presence`.

        The errors are those of `publish`.
        """
        self._check_open()
        publication = self._session.update_presence(data)
        await self._sent(publication, "update_presence", wait=True, timeout=timeout)

    async def flush(self, timeout: float | None = 10.0) -> None:
        """Waits until everything that was published is sent and answered.

        Raises:
            TimeoutError: It was not in time.
        """
        self._check_open()
        outbox = self._session.outbox
        emptied = asyncio.Event()
        outbox.wake_empty = emptied.set
        async with asyncio.timeout(timeout):
            while outbox:
                emptied.clear()
                await emptied.wait()

    async def _sent(
        self, publication: Publication, what: str, *, wait: bool, timeout: float | None
    ) -> Position | None:
        driver = self._check_open()
        if not wait:
            publication.wake = lambda: self._note_failure(driver, publication, what)
            driver.pump()
            return None
        done = asyncio.Event()
        publication.wake = done.set
        driver.pump()
        try:
            async with asyncio.timeout(timeout):
                await done.wait()
        except TimeoutError:
            if self._session.outbox.withdraw(publication):
                raise TimeoutError(
                    f"{what}: nothing was sent within {timeout} s, and nothing will be"
                ) from None
            raise TimeoutError(f"{what}: sent, and not answered within {timeout} s") from None
        except asyncio.CancelledError:
            self._session.outbox.withdraw(publication)
            raise
        if publication.error is not None:
            raise publication.error
        return publication.position

    def _note_failure(self, driver: Driver, publication: Publication, what: str) -> None:
        error = publication.error
        if error is not None:
            code = error.code if isinstance(error, RefusedError) else type(error).__name__
            self._session.events.append(Trouble(code, f"{what}: {error}"))
            driver.pump_soon()

    def _check_open(self) -> Driver:
        if self._driver is None:
            raise RuntimeError("the client is not open: use `async with Client(...)`, or await open()")
        return self._driver

    async def take(self, limit: int) -> list[Item]:
        """Waits for items that belong to no subscription, and returns up to `limit` of them, untold."""
        self._check_open()
        return await self._direct.take(limit)

    def tell_gap(self, gap: Gap) -> Any:  # noqa: ANN401 - what the callback returns
        """Tells the application of a gap, as the options say."""
        if self.options.on_gap is not None:
            return self.options.on_gap(gap)
        logger.warning("messages are missing: %s", gap)
        return None

    def _tell(self, event: Event) -> Any:  # noqa: ANN401 - what the callback returns
        options = self.options
        if isinstance(event, Connected):
            return None if options.on_connect is None else options.on_connect(event)
        if isinstance(event, Disconnected):
            return None if options.on_disconnect is None else options.on_disconnect(event)
        if options.on_trouble is not None:
            return options.on_trouble(event)
        logger.warning("%s: %s", event.code, event.message)
        return None

    @override
    def __repr__(self) -> str:
        url = self._session.retry.url
        count = len(self._session.feeds)
        plural = "" if count == 1 else "s"
        return f"<Client {url} {self._session.state.name.lower()}, {count} subscription{plural}>"
