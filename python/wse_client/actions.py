"""Where a client is, and what its driver has to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

__all__ = ["Action", "Dial", "FetchToken", "Finish", "HangUp", "State"]


class State(Enum):
    """Where a client is."""

    NEW = auto()
    WAITING = auto()
    """For the time of the next attempt."""
    FETCHING = auto()
    """A token, to connect with."""
    DIALLING = auto()
    GREETING = auto()
    """The connection stands, and the server has not greeted yet."""
    OPEN = auto()
    CLOSING = auto()
    """What waits is sent, and nothing new is taken."""
    CLOSED = auto()


@dataclass(frozen=True, slots=True)
class FetchToken:
    """Ask the token provider; answered by `handle_token` or `handle_token_error`."""


@dataclass(frozen=True, slots=True)
class Dial:
    """Connect; answered by `handle_dialled` or `handle_dial_error`.

    There is one connection, or attempt, at a time.
    """

    url: str
    token: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the connection, or the attempt. Nothing of it is handed to the machine any more."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Finish:
    """It is over."""


Action = FetchToken | Dial | HangUp | Finish
