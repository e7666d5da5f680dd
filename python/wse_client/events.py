"""What a client tells of itself, beside messages."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Connected", "Disconnected", "Event", "Trouble"]


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection stands, and the server has greeted."""

    url: str
    """Where to."""
    connection_id: str
    """What the server calls the connection."""
    user_id: str | None
    """Who the client is: the subject of its token. None where the server asks for no tokens."""
    server_version: str
    """The release of the server."""
    is_return: bool
    """Whether there was a connection before."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """A connection has ended, or could not be made."""

    url: str
    """Where to."""
    code: int | None
    """The close code, 1006 if the connection broke; None if there was none."""
    reason: str
    """Why, in words."""
    retry_in: float | None
    """Seconds until the next attempt; None if the client stays away."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something went wrong, and the connection goes on."""

    code: str
    """One of `ErrorCode`, as the server said it, or `TOKEN_UNAVAILABLE`: the token provider failed."""
    message: str
    """What, in words."""
    retry_after: float | None = None
    """Seconds after which it may be tried again, where that is known."""


Event = Connected | Disconnected | Trouble
