"""Events as something to iterate over."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias

from wse_server.connection import Connection

__all__ = ["EventFeed", "EventKind", "ServerEvent"]

EventKind: TypeAlias = Literal[
    "connect", "message", "text", "binary", "disconnect", "presence_join", "presence_leave"
]
"""What happened; see ServerEvent."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """Something that happened at the server."""

    kind: EventKind
    """`message` is a JSON object, `text` any other text, `binary` bytes; presence is of a topic."""
    connection: Connection | None
    """Whose doing it was; None of presence by a connection to another node of the cluster."""
    data: Any
    """The message as a dict, str or bytes; of presence a dict of topic, user_id and data; else None."""


class EventFeed:
    """An asynchronous iterator over what happens from its making on, until the server stops.

    It is forgotten when nobody holds it any more, as after a `break`. One that is not read holds back the
    clients, as a slow handler would: nothing is lost.
    """

    LIMIT = 1024

    def __init__(self, resume: Callable[[], None]) -> None:
        self._events: deque[ServerEvent] = deque()
        self._resume = resume
        self._reader: asyncio.Future[None] | None = None
        self._ended = False

    @property
    def is_full(self) -> bool:
        """Whether the server has to wait."""
        return len(self._events) >= self.LIMIT

    def put(self, event: ServerEvent) -> None:
        """Adds an event."""
        self._events.append(event)
        self._wake()

    def end(self) -> None:
        """Says that there are no more."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ServerEvent:
        while not self._events:
            if self._ended:
                raise StopAsyncIteration
            if self._reader is not None:
                raise RuntimeError("these events are read by another task already; call events() for each")
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        event = self._events.popleft()
        if len(self._events) == self.LIMIT // 2:
            self._resume()
        return event
