"""What a subscription yields or tells: messages, gaps, and who comes and goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from ._typing import override

__all__ = ["Gap", "GapCause", "Message", "Position", "Presence"]


class Position(NamedTuple):
    """Where a message stands in a topic with history: a name for it that never stands for another.

    Attributes:
        epoch: Eight hexadecimal digits that name who numbered.
        offset: Grows by one with each message of the topic, from 1. Offset 0 stands before the first.
    """

    epoch: str
    offset: int

    @override
    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"


class Message:
    """A message as it came.

    Attributes:
        content: A `dict` for a JSON object, which is the rule. `str` for other text, `bytes` for binary
            messages of the application.
        topic: The topic it was published to; None where the server does not say it, which is so without
            history.
        position: Where it stands in the topic; None without history.
        is_recovered: Whether it comes from the history: it was published before the server answered the
            subscription, or the return of the client.
    """

    __slots__ = ("content", "is_recovered", "position", "topic")

    def __init__(
        self,
        content: dict[str, Any] | str | bytes,
        topic: str | None = None,
        position: Position | None = None,
    ) -> None:
        self.content = content
        self.topic = topic
        self.position = position
        self.is_recovered = False

    @property
    def type(self) -> str:
        """The type, field `t`; an empty text where the message has none."""
        found = self._field("t", "type")
        return found if isinstance(found, str) else ""

    @property
    def payload(self) -> Any:  # noqa: ANN401 - whatever was published
        """The payload, field `p`; None where the message has none."""
        return self._field("p", "payload")

    @property
    def id(self) -> str | None:
        """The id that the publisher gave it, field `id`."""
        found = self._field("id")
        return found if isinstance(found, str) else None

    @property
    def timestamp(self) -> str | None:
        """When it was made, field `ts`: ISO 8601 in UTC."""
        found = self._field("ts")
        return found if isinstance(found, str) else None

    @property
    def is_snapshot(self) -> bool:
        """Whether it is a state rather than a change of one, which is field `c`."""
        return bool(self._field("c") == "S")

    def _field(self, *names: str) -> Any:  # noqa: ANN401
        if isinstance(self.content, dict):
            for name in names:
                if name in self.content:
                    return self.content[name]
        return None

    @override
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return (self.content, self.topic, self.position) == (other.content, other.topic, other.position)

    __hash__ = None  # type: ignore[assignment] # what it holds may change

    @override
    def __repr__(self) -> str:
        where = "" if self.topic is None else f" {self.topic!r}"
        at = "" if self.position is None else f" {self.position}"
        what = (
            f" {self.type!r} {_short(self.payload)}"
            if isinstance(self.content, dict)
            else f" {_short(self.content)}"
        )
        return f"<Message{where}{at}{what}>"


class GapCause(StrEnum):
    """Why messages are missing."""

    SERVER = "server"
    """The server said so: this client was slow, or the topic's history was lost with a server."""
    NOT_RECOVERED = "not_recovered"
    """The client was away, and the server no longer keeps what it missed."""
    NO_HISTORY = "no_history"
    """The client was away, and the server keeps no history of what it was subscribed to."""
    HOLE = "hole"
    """An offset was left out without a word. It belongs to a publication that is no JSON object."""
    OVERFLOW = "overflow"
    """The messages came, and made room for newer ones before they were read: `overflow="drop_oldest"`."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages of a topic that do not come. It is told before the next message of the topic."""

    topic: str | None
    """The topic, or the pattern where nothing more exact is known. None for messages of no topic."""
    cause: GapCause
    """Why."""
    missed: int | None = None
    """How many are missing; None where that can't be known."""
    epoch: str | None = None
    """The epoch of `first` and `last`."""
    first: int | None = None
    """The offset of the first one missing; None where messages have no offsets."""
    last: int | None = None
    """The offset of the last one missing; None where that can't be known."""
    next: Position | None = None
    """The position after which the topic goes on; None where messages have no positions."""


@dataclass(frozen=True, slots=True)
class Presence:
    """A user who came to a topic, left it, or shows something else."""

    kind: Literal["join", "leave", "update"]
    """What happened."""
    topic: str
    """Where."""
    user_id: str
    """Who: the subject of the token, or the connection's id where the server asks for no tokens."""
    data: Mapping[str, Any]
    """What the user shows."""


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
