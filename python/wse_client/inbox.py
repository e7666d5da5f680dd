"""A queue of what one reader has still to read, with a limit in bytes and a rule for when it is reached."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal

from .errors import FellBehindError
from .messages import Gap, GapCause, Message, Presence

__all__ = ["Inbox", "Item", "Overflow"]

Item = Message | Gap | Presence

Overflow = Literal["wait", "drop_oldest", "error"]
"""What happens when the reader of a subscription is behind by its limit.

- `"wait"`: the client reads nothing more from the connection until there is room. Nothing is lost here; the
  server sees a slow client and acts as its option `slow_client` says. All subscriptions of the client wait
  with it.
- `"drop_oldest"`: the oldest messages make room, and a gap tells which.
- `"error"`: the subscription ends; its reader gets what waits, and then `FellBehindError`.
"""

OVERHEAD = 256
"""Bytes that an item counts for beside its own: a short one costs about as much."""


class Inbox:
    """What waits for one reader, oldest first.

    Args:
        limit: Bytes that may wait. One item more than that may stand in it with `"wait"`.
        overflow: What happens at the limit.
        full: A set that the inbox puts itself into while the connection should not be read because of it.
    """

    def __init__(self, limit: int, overflow: Overflow, full: set[Inbox]) -> None:
        self.limit = limit
        self.overflow = overflow
        self.bytes = 0
        self.dropped = 0
        """Messages that made room for others, from the start."""
        self.wake: Callable[[], None] | None = None
        """Called when there is something to take, or the end has come."""
        self.has_ended = False
        self.error: Exception | None = None
        """Why it has ended; None where its reader wanted it so."""
        self._items: deque[tuple[Item, int]] = deque()
        self._lost: dict[tuple[str | None, str | None], Gap] = {}
        self._full = full

    def __len__(self) -> int:
        return len(self._items) + len(self._lost)

    def push(self, item: Item, size: int) -> None:
        """Puts something behind all else. After the end it is ignored."""
        if self.has_ended:
            return
        size += OVERHEAD
        if self.bytes + size > self.limit and not self._has_room_made(size):
            return
        self._items.append((item, size))
        self.bytes += size
        if self.overflow == "wait" and self.bytes >= self.limit:
            self._full.add(self)
        if self.wake is not None:
            self.wake()

    def _has_room_made(self, size: int) -> bool:
        """Does what the rule says. False if the item has no place any more."""
        if self.overflow == "error":
            self.end(FellBehindError(f"{self.bytes} bytes wait to be read, and {self.limit} may"))
            return False
        if self.overflow == "drop_oldest":
            while self._items and self.bytes + size > self.limit:
                item, freed = self._items.popleft()
                self.bytes -= freed
                self._lose(item)
        return True

    def _lose(self, item: Item) -> None:
        """Keeps in mind what was dropped, merged with what was dropped before."""
        if isinstance(item, Message):
            self.dropped += 1
        gap = item if isinstance(item, Gap) else gap_of(item)
        key = (gap.topic, gap.epoch)
        known = self._lost.pop(key, None)
        self._lost[key] = gap if known is None else merged(known, gap)

    def take(self) -> Item | None:
        """Returns the oldest item, None if there is none at the moment."""
        if self._lost:
            return self._lost.pop(next(iter(self._lost)))
        if not self._items:
            return None
        item, size = self._items.popleft()
        self.bytes -= size
        # Half of it has to be free before the connection is read again: else each message would start and
        # stop it.
        if self._full and self.bytes <= self.limit // 2:
            self._full.discard(self)
        return item

    def end(self, error: Exception | None = None, *, clear: bool = False) -> None:
        """Ends it: the reader gets what waits, and then `error`.

        Args:
            error: Why; None where the reader wants it so.
            clear: Drop what waits.
        """
        if clear:
            self._items.clear()
            self._lost.clear()
            self.bytes = 0
        if not self.has_ended:
            self.has_ended = True
            self.error = error
        self._full.discard(self)
        if self.wake is not None:
            self.wake()


def gap_of(item: Message | Presence) -> Gap:
    """The gap that is left where an item was dropped."""
    if isinstance(item, Presence):
        # Nobody counted it: who wants to know who is there has to ask.
        return Gap(item.topic, GapCause.OVERFLOW)
    if item.position is None:
        return Gap(item.topic, GapCause.OVERFLOW, missed=1)
    epoch, offset = item.position
    return Gap(item.topic, GapCause.OVERFLOW, 1, epoch, offset, offset, item.position)


def merged(older: Gap, newer: Gap) -> Gap:
    """Two gaps of one topic and epoch with nothing between them, as one."""
    missed = None if older.missed is None or newer.missed is None else older.missed + newer.missed
    first = newer.first if older.first is None else older.first
    last = newer.last if newer.first is not None or newer.missed is None else older.last
    return Gap(newer.topic, newer.cause, missed, newer.epoch, first, last, newer.next or older.next)
