"""From the engine's events to a program's handlers: in order for each connection, bounded in all."""

from __future__ import annotations

import asyncio
import logging
import sys
import uuid
import weakref
from collections import deque
from collections.abc import Coroutine, Iterable
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, cast

from wse_server._native import RustWSEServer
from wse_server.codes import ErrorCode
from wse_server.connection import Connection, answer, refuse
from wse_server.feed import EventFeed, EventKind, ServerEvent
from wse_server.handlers import Function, Handler
from wse_server.payloads import InvalidPayloadError
from wse_server.refusal import Refusal
from wse_server.rules import Action, Rule
from wse_server.waiting import Waiting
from wse_server.watch import LoopWatch

__all__ = ["Dispatcher", "Limits", "Registry"]

_LOGGER = logging.getLogger("wse_server")

# Events taken at a time: between two portions the other tasks of the loop have their turn.
_PORTION = 256
# Messages that wait for handlers, of all connections together; beyond it none is taken from the engine.
_MAX_WAITING = 65_536
# Seconds that handlers have to tidy up when they are cancelled.
_CANCELLED_SECONDS = 5.0

_FEED_KINDS: dict[str, EventKind] = {"msg": "message", "raw": "text", "bin": "binary"}


@dataclass(slots=True)
class Registry:
    """What a program has registered."""

    connect: list[Handler] = field(default_factory=list)
    disconnect: list[Handler] = field(default_factory=list)
    events: dict[str, Handler] = field(default_factory=dict)
    text: Handler | None = None
    binary: Handler | None = None
    rules: list[Rule] = field(default_factory=list)
    background: list[Function] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server takes on at a time."""

    running_handlers: int
    waiting_messages: int
    slow_step: float


@dataclass(slots=True)
class _Job:
    """One call that is due."""

    handler: Handler
    argument: Any = None
    event: str | None = None
    cid: Any = None


class Dispatcher:
    """Takes events when the engine has some, and calls handlers for them.

    A connection's jobs run one after the other. Each `async` one is a task of its own, so that contexts are
    not shared. When a connection has more than `waiting_messages` to be handled, its socket is not read until
    half of them are.
    """

    def __init__(self, engine: RustWSEServer, registry: Registry, limits: Limits, waiting: Waiting) -> None:
        self._engine = engine
        self._registry = registry
        self._limits = limits
        self._waiting_calls = waiting
        self.connections: dict[str, Connection] = {}
        self._feeds: list[weakref.ref[EventFeed]] = []
        self._running = 0
        self._waiting = 0
        # Connections whose next job waits until fewer run.
        self._line: deque[Connection] = deque()
        self._unordered: set[asyncio.Task[None]] = set()
        # An eager task is being started.
        self._starts = False
        self._idle: asyncio.Event = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        # What handlers see of the context of whoever started the server; each has a copy of its own.
        self._context = copy_context()
        self._fd = engine.event_fd()
        self._reads = False
        self._watch = LoopWatch(self._loop, limits.slow_step) if limits.slow_step else None
        self._connect = Handler(_Steps(registry.connect), "on_connect", True, False, None)
        self._disconnect = Handler(self._leave, "on_disconnect", True, False, None)
        self._leave_steps = _Steps(registry.disconnect)
        self._authorize = Handler(self._decide, "authorize", True, True, None)
        self._unknown = Handler(_refuse_unknown, "unknown", False, True, None)

    # ---- The engine's side ----

    def begin(self) -> None:
        """From here on events are taken."""
        self._set_reading(True)

    def _set_reading(self, reads: bool) -> None:
        if reads and not self._reads:
            self._loop.add_reader(self._fd, self._take)
        elif self._reads and not reads:
            self._loop.remove_reader(self._fd)
        self._reads = reads

    def _take(self) -> None:
        """Takes a portion of what has happened."""
        if self._watch is not None:
            self._watch.work()
        events = self._engine.drain_inbound(_PORTION, 0)
        handlers = self._registry.events
        connections = self.connections
        feeds = self._listening() if self._feeds else []
        for kind, conn_id, data in events:
            connection = connections.get(conn_id)
            if kind == "msg" and connection is not None:
                event = data.get("t")
                handler = handlers.get(event) if isinstance(event, str) else None
                if handler is not None:
                    self._offer(connection, _Job(handler, data.get("p", {}), event, data.get("cid")))
                elif not feeds:
                    self._offer(connection, _Job(self._unknown, data))
            elif kind in ("connect", "auth_connect"):
                connection = self._enter(kind, conn_id, data)
            elif connection is not None:
                self._take_other(kind, connection, data, is_heard=bool(feeds))
            if feeds:
                self._feed(feeds, kind, connection, data)
        if (
            (not events and not self._engine.is_running())
            or self._waiting >= _MAX_WAITING
            or any(feed.is_full for feed in feeds)
        ):
            self._set_reading(False)

    def _enter(self, kind: str, conn_id: str, data: Any) -> Connection:
        claims, cookies = ({}, data) if kind == "connect" else (data, "")
        connection = Connection(self._engine, self._waiting_calls, conn_id, claims, cookies)
        self.connections[conn_id] = connection
        if self._registry.connect:
            self._offer(connection, _Job(self._connect))
        return connection

    def _take_other(self, kind: str, connection: Connection, data: Any, *, is_heard: bool) -> None:
        registry = self._registry
        if kind == "disconnect":
            connection._is_open = False
            if registry.disconnect or connection._busy or connection._jobs:
                self._offer(connection, _Job(self._disconnect))
            else:
                self._forget(connection)
        elif kind == "authorize":
            self._offer(connection, _Job(self._authorize, data))
        elif kind == "auth_refresh":
            connection._claims = data
        elif kind in ("raw", "bin"):
            handler = registry.text if kind == "raw" else registry.binary
            if handler is not None:
                self._offer(connection, _Job(handler, data))
            elif not is_heard:
                self._offer(connection, _Job(self._unknown, data))

    def _feed(self, feeds: list[EventFeed], kind: str, connection: Connection | None, data: Any) -> None:
        if kind in ("authorize", "auth_refresh"):
            return
        if kind in ("connect", "auth_connect", "disconnect"):
            name, data = cast(EventKind, kind.removeprefix("auth_")), None
        else:
            name = _FEED_KINDS.get(kind, cast(EventKind, kind))
        event = ServerEvent(name, connection, data)
        for feed in feeds:
            feed.put(event)

    def feed(self) -> EventFeed:
        """A new iterator over what happens from now on."""
        feed = EventFeed(self._resume)
        self._feeds.append(weakref.ref(feed, self._drop))
        return feed

    def _drop(self, gone: weakref.ref[EventFeed]) -> None:
        self._feeds.remove(gone)
        # One that is dropped while it is full must not hold the others back for ever. Whatever thread
        # collects garbage may have come upon it.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._resume)

    def _listening(self) -> list[EventFeed]:
        feeds = (feed() for feed in self._feeds)
        return [feed for feed in feeds if feed is not None]

    def _resume(self) -> None:
        if self._reads or self._loop.is_closed() or not self._engine.is_running():
            return
        if self._waiting < _MAX_WAITING // 2 and not any(feed.is_full for feed in self._listening()):
            self._set_reading(True)

    # ---- The handlers' side ----

    def _offer(self, connection: Connection, job: _Job) -> None:
        if connection._busy or connection._jobs:
            self._wait_in_line(connection, job)
        elif self._running >= self._limits.running_handlers:
            self._wait_in_line(connection, job)
            self._line_up(connection)
        else:
            self._start(connection, job)

    def _wait_in_line(self, connection: Connection, job: _Job) -> None:
        connection._jobs.append(job)
        self._waiting += 1
        if len(connection._jobs) >= self._limits.waiting_messages and not connection._held:
            connection._held = True
            self._engine.pause_reading(connection._id)

    def _line_up(self, connection: Connection) -> None:
        if not connection._lined_up:
            connection._lined_up = True
            self._line.append(connection)

    def _start(self, connection: Connection, job: _Job) -> None:
        """Calls a handler: a plain one at once, an `async` one in a task."""
        handler = job.handler
        argument = job.argument
        if handler.validate is not None:
            try:
                argument = handler.validate(argument)
            except InvalidPayloadError as error:
                refuse(connection, ErrorCode.INVALID_ACTION, str(error), path=error.path, cid=job.cid)
                return
            except Exception as error:  # noqa: BLE001 - a validator of the program's own may raise anything
                self._report(connection, job, error)
                return
        if not handler.is_async:
            self._call(connection, job, argument)
            return
        self._running += 1
        connection._busy = handler.ordered
        self._starts = True
        task = _task(self._run(connection, job, argument), self._loop, self._context.copy())
        self._starts = False
        if task.done():
            return
        if handler.ordered:
            connection._task = task
        else:
            self._unordered.add(task)
            task.add_done_callback(self._unordered.discard)

    def _call(self, connection: Connection, job: _Job, argument: Any) -> None:
        handler = job.handler
        try:
            run = self._context.copy().run
            if handler.takes_payload:
                value = run(handler.function, connection, argument)
            else:
                value = run(handler.function, connection)
            if value is not None and job.event is not None:
                answer(connection, job.event, value, job.cid)
        except Exception as error:  # noqa: BLE001 - the loop goes on whatever a handler raises
            self._report(connection, job, error)

    async def _run(self, connection: Connection, job: _Job, argument: Any) -> None:
        handler = job.handler
        try:
            if handler.takes_payload:
                value = await handler.function(connection, argument)
            else:
                value = await handler.function(connection)
            if value is not None and job.event is not None:
                answer(connection, job.event, value, job.cid)
        except Exception as error:  # noqa: BLE001 - the loop goes on whatever a handler raises
            self._report(connection, job, error)
        finally:
            self._ended(connection, handler)

    def _ended(self, connection: Connection, handler: Handler) -> None:
        self._running -= 1
        if handler.ordered:
            connection._busy = False
            connection._task = None
        if self._starts:
            # It ended before it waited for anything: whoever started it goes on with the next.
            return
        if connection._jobs:
            self._advance(connection)
        while self._line and self._running < self._limits.running_handlers:
            following = self._line.popleft()
            following._lined_up = False
            self._advance(following)
        if not self._running:
            self._idle.set()
        if not self._reads:
            self._resume()

    def _advance(self, connection: Connection) -> None:
        """Goes on with the jobs of a connection, as far as they need no waiting."""
        jobs = connection._jobs
        while jobs and not connection._busy:
            if self._running >= self._limits.running_handlers:
                self._line_up(connection)
                return
            self._waiting -= 1
            self._start(connection, jobs.popleft())
        if connection._held and len(jobs) <= self._limits.waiting_messages // 2:
            connection._held = False
            self._engine.resume_reading(connection._id)

    def _report(self, connection: Connection, job: _Job, error: Exception) -> None:
        """Tells the client what became of its message, and the log of what was no refusal."""
        if isinstance(error, Refusal):
            refuse(connection, error.code, error.message, cid=job.cid)
            return
        error_id = uuid.uuid4().hex[:12]
        _LOGGER.error("%s failed for %r, id %s", job.handler.label, connection, error_id, exc_info=error)
        message = f"{job.event or 'the message'} could not be handled"
        refuse(connection, ErrorCode.HANDLER_ERROR, message, id=error_id, cid=job.cid)

    async def _leave(self, connection: Connection) -> None:
        try:
            await self._leave_steps(connection)
        finally:
            self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        self.connections.pop(connection._id, None)

    # ---- What clients may have ----

    async def _decide(self, connection: Connection, question: dict[str, Any]) -> None:
        """Asks the rules about topics that a client wants."""
        action: Action = question["action"]
        decisions: dict[str, bool | str] = {}
        try:
            for topic in question["topics"]:
                decisions[topic] = await self._decision(connection, topic, action)
        finally:
            # Also when it was cancelled: a client without an answer would wait for ever.
            for topic in question["topics"]:
                decisions.setdefault(topic, False)
            self._engine.authorize_connection(connection._id, action, decisions)

    async def _decision(self, connection: Connection, topic: str, action: Action) -> bool | str:
        if "*" in topic or "?" in topic:
            return "patterns are not allowed here; name each topic"
        reason: bool | str = False
        for rule in self._registry.rules:
            arguments = rule.arguments(topic, action)
            if arguments is None:
                continue
            try:
                allows = rule.function(connection, **arguments)
                if rule.is_async:
                    allows = await allows
            except Refusal as refusal:
                reason = refusal.message
                continue
            except Exception as error:
                error_id = uuid.uuid4().hex[:12]
                _LOGGER.error("%s failed for %r, id %s", rule.label, connection, error_id, exc_info=error)
                reason = f"it could not be decided, id {error_id}"
                continue
            if allows is True:
                return True
        return reason

    # ---- The end ----

    async def finish(self, patience: float) -> None:
        """After the engine has stopped: takes what is left, waits for handlers, then cancels them."""
        while self._engine.inbound_queue_depth():
            self._take()
            await asyncio.sleep(0)
        self._set_reading(False)
        for feed in self._listening():
            feed.end()
        try:
            async with asyncio.timeout(patience):
                await self._until_idle()
        except TimeoutError:
            await self._cancel_all()
        if self._watch is not None:
            self._watch.end()
        self.connections.clear()

    async def _until_idle(self) -> None:
        while self._running:
            self._idle.clear()
            await self._idle.wait()

    async def _cancel_all(self) -> None:
        for connection in self.connections.values():
            connection._jobs.clear()
        self._line.clear()
        # A task that is cancelled before its first step would not tell its end.
        await asyncio.sleep(0)
        tasks = list(self._tasks())
        _LOGGER.warning("the server has stopped and %d handlers still run: they are cancelled", len(tasks))
        for task in tasks:
            task.cancel()
        try:
            async with asyncio.timeout(_CANCELLED_SECONDS):
                await self._until_idle()
        except TimeoutError:
            _LOGGER.error("%d handlers do not let themselves be cancelled: they go on", self._running)

    def _tasks(self) -> Iterable[asyncio.Task[None]]:
        ordered = (connection._task for connection in self.connections.values())
        return [task for task in (*ordered, *self._unordered) if task is not None]


if sys.version_info >= (3, 12):

    def _task(
        coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, context: Context
    ) -> asyncio.Task[None]:
        """A task that has begun already, and is perhaps done."""
        return asyncio.Task(coroutine, loop=loop, context=context, eager_start=True)

else:

    def _task(
        coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, context: Context
    ) -> asyncio.Task[None]:
        """A task that begins in the next turn of the loop."""
        return loop.create_task(coroutine, context=context)


def _refuse_unknown(connection: Connection, data: dict[str, Any] | str | bytes) -> None:
    """Answers what nobody handles, when it is its turn."""
    cid = None
    if isinstance(data, str):
        message = "this server takes no text that is no JSON object"
    elif isinstance(data, bytes):
        message = "this server takes no binary messages"
    else:
        event, cid = data.get("t"), data.get("cid")
        if isinstance(event, str):
            message = f"there is no event {event[:80]!r}"
        else:
            message = "a message has a type, a text, in 't'"
    refuse(connection, ErrorCode.INVALID_ACTION, message, cid=cid)


class _Steps:
    """Handlers that are called one after the other as if they were one."""

    def __init__(self, handlers: list[Handler]) -> None:
        self._handlers = handlers

    async def __call__(self, connection: Connection) -> None:
        for handler in self._handlers:
            outcome = handler.function(connection)
            if handler.is_async:
                await cast(Coroutine[Any, Any, None], outcome)
