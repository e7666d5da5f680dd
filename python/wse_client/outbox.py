"""What the application has said and the server has not heard yet, or not answered: bounded, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Literal

from ._typing import override
from .errors import DroppedError, QueueFullError
from .messages import Position

__all__ = ["Outbox", "Publication", "PublishOverflow", "Stage"]

PublishOverflow = Literal["error", "drop_oldest"]
"""What happens when `publish_queue_bytes` wait.

- `"error"`: the new one is refused with `QueueFullError`.
- `"drop_oldest"`: the oldest that were not sent yet make room, and fail with `DroppedError`.
"""

OVERHEAD = 256
"""Bytes that an entry counts for beside its own."""


class Stage(Enum):
    """How far something has come."""

    QUEUED = auto()
    """It waits for a connection, or for its turn."""
    SENT = auto()
    """It was given to the connection."""
    DONE = auto()
    """It has come to its end, good or bad."""


class Publication:
    """Something to be sent, and what came of it.

    Attributes:
        cid: What its answer is known by; None where no answer is expected.
        frame: What is sent, before it is sealed.
        resend: Whether it is sent again if its connection was lost before it was answered.
        position: Where it stands in its topic, once it is done; None if it failed or the topic has no
            history.
        error: Why it failed.
        wake: Called once it is done.
    """

    __slots__ = ("cid", "error", "frame", "position", "resend", "size", "stage", "wake")

    def __init__(self, frame: str | bytes, *, cid: str | None, resend: bool = False) -> None:
        self.cid = cid
        self.frame = frame
        self.resend = resend
        self.size = OVERHEAD + (len(frame.encode()) if isinstance(frame, str) else len(frame))
        self.stage = Stage.QUEUED
        self.position: Position | None = None
        self.error: Exception | None = None
        self.wake: Callable[[], None] | None = None

    @property
    def bytes_on_wire(self) -> int:
        """Bytes of the frame."""
        return self.size - OVERHEAD

    def finish(self, *, position: Position | None = None, error: Exception | None = None) -> None:
        """Comes to its end."""
        self.stage = Stage.DONE
        self.position = position
        self.error = error
        if self.wake is not None:
            self.wake()

    @override
    def __repr__(self) -> str:
        return f"<Publication {self.cid or '-'} {self.stage.name.lower()}, {self.bytes_on_wire} bytes>"


class Outbox:
    """The queue.

    Args:
        limit: Bytes that may be in it, what was sent and is not answered included.
        overflow: What happens at the limit.
    """

    def __init__(self, limit: int, overflow: PublishOverflow) -> None:
        self.bytes = 0
        self.wake_empty: Callable[[], None] | None = None
        """Called when it has become empty."""
        self._limit = limit
        self._overflow = overflow
        self._queued: deque[Publication] = deque()
        self._sent: dict[str, Publication] = {}

    def __len__(self) -> int:
        return len(self._queued) + len(self._sent)

    @property
    def has_queued(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._queued)

    def push(self, publication: Publication) -> None:
        """Puts something behind all else.

        Raises:
            QueueFullError: There is no room, and none can be made.
        """
        size = publication.size
        if self._overflow == "drop_oldest":
            while self._queued and self.bytes + size > self._limit:
                self._end(
                    self._queued.popleft(),
                    DroppedError("newer publications took its place before it was sent"),
                )
        if self.bytes + size > self._limit:
            raise QueueFullError(
                f"{self.bytes} bytes wait to be sent or answered, and {size} more would be over "
                f"publish_queue_bytes, {self._limit}"
            )
        self._queued.append(publication)
        self.bytes += size

    def poll(self) -> Publication | None:
        """Returns the next one to send. One that is not answered is done with that."""
        if not self._queued:
            return None
        publication = self._queued.popleft()
        if publication.cid is None:
            self._end(publication)
        else:
            publication.stage = Stage.SENT
            self._sent[publication.cid] = publication
        return publication

    def answered(self, cid: str, *, position: Position | None = None, error: Exception | None = None) -> bool:
        """Takes the answer. False if nothing of that name waits for one."""
        publication = self._sent.pop(cid, None)
        if publication is None:
            return False
        self._end(publication, error, position)
        return True

    def withdraw(self, publication: Publication) -> bool:
        """Takes back what was not sent yet. False if it was."""
        if publication.stage is not Stage.QUEUED:
            return False
        self._queued.remove(publication)
        self._end(publication)
        return True

    def lost(self, error: Exception) -> None:
        """The connection has ended: what was sent is sent again if it wants that, and fails if not."""
        sent = list(self._sent.values())
        self._sent.clear()
        for publication in sent:
            if not publication.resend:
                self._end(publication, error)
        self._queue_again([publication for publication in sent if publication.resend])

    def not_heard(self, cid: str, error: Exception) -> None:
        """The server did not hear one that was sent: as `lost`, for this one.

        Of several the newest is named first, so that they keep their order.
        """
        publication = self._sent.pop(cid, None)
        if publication is not None and publication.resend:
            self._queue_again([publication])
        elif publication is not None:
            self._end(publication, error)

    def _queue_again(self, publications: list[Publication]) -> None:
        for publication in reversed(publications):
            publication.stage = Stage.QUEUED
            self._queued.appendleft(publication)

    def close(self, error: Exception) -> None:
        """Ends all that is left with an error."""
        left = [*self._sent.values(), *self._queued]
        self._sent.clear()
        self._queued.clear()
        for publication in left:
            self._end(publication, error)

    def _end(
        self, publication: Publication, error: Exception | None = None, position: Position | None = None
    ) -> None:
        self.bytes -= publication.size
        publication.finish(position=position, error=error)
        if not self and self.wake_empty is not None:
            self.wake_empty()
