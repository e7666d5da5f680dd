"""What brings the world to a session: an event loop with its clock, and one connection after the other."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from websockets.exceptions import ConnectionClosed

from .actions import Action, Dial, FetchToken, HangUp
from .connection import DialError, Socket, closing, dial, hang_up
from .errors import ClosedError
from .events import Connected, Disconnected, Event
from .feeds import Feed
from .session import Session

__all__ = ["Driver"]

logger = logging.getLogger("wse_client")

UNTOLD_EVENTS = 1000
"""Events that may wait for callbacks that take their time; older ones are forgotten."""


class Driver:
    """Drives a session in the running event loop, to which all its methods but `end_soon` belong.

    Args:
        session: The session, which was not opened yet.
        tell: Tells the application of an event; what it returns is awaited if that is possible.
    """

    def __init__(self, session: Session, tell: Callable[[Event], Any]) -> None:
        self.session = session
        self.opened = asyncio.Event()
        """Set when there was a connection, or there will be none."""
        self.finished = asyncio.Event()
        """Set when the session has come to its end."""
        self.last_failure = "no attempt has ended yet"
        self.connected: Connected | None = None
        self._loop = asyncio.get_running_loop()
        self._options = session.options
        self._tell = tell
        self._untold: deque[Event] = deque(maxlen=UNTOLD_EVENTS)
        self._told = asyncio.Event()
        self._writable = asyncio.Event()
        self._readable = asyncio.Event()
        self._is_paused = False
        self._socket: Socket | None = None
        self._line: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    # ---- What its owner asks ----

    def now(self) -> float:
        """The time on the clock of the session."""
        return self._loop.time()

    def start(self) -> None:
        """Begins to connect."""
        self._spawn(self._tell_events())
        self.session.open(self.now())
        self.pump()

    async def end(self) -> None:
        """Waits until the session has come to its end, and for the tasks that are left."""
        await self.finished.wait()
        self._told.set()
        left = [task for task in self._tasks if task is not asyncio.current_task()]
        if left:
            await asyncio.wait(left, timeout=self._options.close_timeout + 1.0)
        for task in left:
            task.cancel()

    def pump(self) -> None:
        """Does all that the session wants done. Called after everything that is said to it."""
        session = self.session
        while (action := session.poll_action()) is not None:
            self._do(action)
        while (event := session.poll_event()) is not None:
            self._heed(event)
        self._writable.set()
        self._arm()

    def pump_soon(self) -> None:
        """As `pump`, a moment later: for callbacks of the session."""
        self._loop.call_soon(self.pump)

    def room(self) -> None:
        """Somebody has read: perhaps the connection can be read again."""
        if self._is_paused and not self.session.is_full:
            self._readable.set()

    def unsubscribe(self, feed: Feed) -> None:
        """Ends a subscription."""
        self.session.unsubscribe(feed)
        self.room()
        self.pump()

    def unsubscribe_soon(self, feed: Feed) -> None:
        """Ends a subscription, from any thread, also where the loop is gone."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.unsubscribe, feed)

    # ---- What the session wants ----

    def _do(self, action: Action) -> None:
        if isinstance(action, Dial):
            self._line = self._spawn(self._serve(action))
        elif isinstance(action, FetchToken):
            self._spawn(self._fetch_token())
        elif isinstance(action, HangUp):
            self._hang_up(action)
        else:
            self.opened.set()
            self.finished.set()

    def _hang_up(self, action: HangUp) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            self._spawn(hang_up(socket, action.code, action.reason, self._options.close_timeout))
            self._readable.set()
        elif self._line is not None:
            self._line.cancel()

    def _heed(self, event: Event) -> None:
        if isinstance(event, Connected):
            self.connected = event
            self.opened.set()
        elif isinstance(event, Disconnected):
            self.last_failure = f"{event.url}: {event.reason}"
        self._untold.append(event)
        self._told.set()

    def _arm(self) -> None:
        due = self.session.poll_timeout()
        if self._timer is not None:
            if due is not None and self._timer.when() <= due:
                return
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer = self._loop.call_at(due, self._time_is_up, due)

    def _time_is_up(self, due: float) -> None:
        self._timer = None
        # The loop's clock is coarse, and may call a little early.
        self.session.handle_timeout(max(due, self.now()))
        self.pump()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._is_done)
        return task

    def _is_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("the client has failed", exc_info=error)
            self.session.finish(ClosedError(f"the client has failed: {error!r}"))
            self.pump()

    # ---- One connection ----

    async def _serve(self, action: Dial) -> None:
        """Connects and reads until the connection has ended, from whichever side."""
        session = self.session
        try:
            socket = await dial(action, self._options)
        except DialError as error:
            session.handle_dial_error(self.now(), str(error), error.status, error.retry_after)
            self.pump()
            return
        self._socket = socket
        socket.on_data = lambda: session.handle_life(self.now()) if self._socket is socket else None
        session.handle_dialled(self.now())
        self.pump()
        writer = self._spawn(self._write(socket))
        try:
            await self._read(socket)
        except ConnectionClosed as closed:
            if self._socket is socket:
                self._socket = None
                session.handle_lost(self.now(), *closing(closed))
                self.pump()
        finally:
            writer.cancel()

    async def _read(self, socket: Socket) -> None:
        session, clock = self.session, self._loop.time
        while self._socket is socket:
            frame = await socket.recv()
            if self._socket is not socket:
                return
            if session.handle_frame(clock(), frame):
                self.pump()
            while session.is_full and self._socket is socket:
                self._is_paused = True
                self._readable.clear()
                await self._readable.wait()
                self._is_paused = False
                session.handle_life(clock())

    async def _write(self, socket: Socket) -> None:
        session, clock = self.session, self._loop.time
        with suppress(ConnectionClosed):
            while self._socket is socket:
                frame = session.poll_transmit(clock())
                if frame is not None:
                    await socket.send(frame)
                    continue
                self._writable.clear()
                self._arm()
                await self._writable.wait()

    async def _fetch_token(self) -> None:
        try:
            token = await self._provided_token()
        except Exception as error:  # noqa: BLE001 - whatever the application's code raises
            self.session.handle_token_error(self.now(), f"{type(error).__name__}: {error}")
        else:
            self.session.handle_token(self.now(), time.time(), token)
        self.pump()

    async def _provided_token(self) -> str:
        provider = self._options.token
        if not callable(provider):
            raise TypeError("there is no token provider")
        # One that is no coroutine function may wait for the network, which would stop the loop.
        is_coroutine = inspect.iscoroutinefunction(provider)
        token = provider() if is_coroutine else await asyncio.to_thread(provider)
        if inspect.isawaitable(token):
            token = await token
        if not isinstance(token, str):
            raise TypeError(f"the token provider must return a str, and returned {type(token).__name__}")
        return token

    async def _tell_events(self) -> None:
        """Tells the application, one event after the other; what it raises harms nobody."""
        while not (self.finished.is_set() and not self._untold):
            if not self._untold:
                self._told.clear()
                await self._told.wait()
                continue
            event = self._untold.popleft()
            try:
                told = self._tell(event)
                if inspect.isawaitable(told):
                    await told
            except Exception:
                logger.exception("a callback has failed, for %s", event)
