"""What belongs to one connection and ends with it: form, pulse, allowance, and the answers that it owes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._version import __version__
from .feeds import Ask, Leave
from .outbox import Publication
from .wire import Wire

if TYPE_CHECKING:
    from .encryption import KeyExchange

__all__ = ["Allowance", "Link", "Pulse"]

PROTOCOL_VERSION = 1
SEALED_OVERHEAD = 30
"""Bytes that a sealed message has more: two for its mark, the initialization vector, the tag."""

Command = Ask | Leave | Publication


class Pulse:
    """Whether the other side is alive.

    Args:
        now: The time at which the connection was made.
        interval: Seconds of silence after which it is asked.
        timeout: Seconds that it may stay silent then.
    """

    def __init__(self, now: float, interval: float, timeout: float) -> None:
        self.must_ping = False
        self.must_pong = False
        self._interval = interval
        self._timeout = timeout
        self._heard_at = now
        self._pinged_at: float | None = None

    def heard(self, now: float) -> None:
        """Some bytes came."""
        self._heard_at = now
        self._pinged_at = None

    @property
    def due(self) -> float:
        """When `is_dead` has to be asked next."""
        if self._pinged_at is None:
            return self._heard_at + self._interval
        return self._pinged_at + self._timeout

    def is_dead(self, now: float, *, is_read: bool) -> bool:
        """Whether the connection counts as broken. Asks for a sign of life when it is time.

        Args:
            now: The time.
            is_read: Whether the connection is read. Where it is not, its silence is of our own making.
        """
        if now < self.due:
            return False
        if not is_read:
            self.heard(now)
            self.must_ping = True
            return False
        if self._pinged_at is not None:
            return True
        self._pinged_at = now
        self.must_ping = True
        return False


class Allowance:
    """How many messages may go out, so that the server's rate limit is never reached.

    Args:
        now: The time.
        capacity: The server's `rate_limit_capacity`. It warns at a fifth of it, so the client keeps to the
            rest.
        refill: Messages a second.
    """

    def __init__(self, now: float, capacity: float, refill: float) -> None:
        self._capacity = max(1.0, capacity * 0.8)
        self._refill = max(refill, 0.001)
        self._left = self._capacity
        self._at = now
        self.is_exhausted = False
        """Whether something waits for `due`."""

    def take(self, now: float) -> bool:
        """Takes one if there is one."""
        self._left = min(self._capacity, self._left + max(0.0, now - self._at) * self._refill)
        self._at = now
        self.is_exhausted = self._left < 1.0
        if self.is_exhausted:
            return False
        self._left -= 1.0
        return True

    @property
    def due(self) -> float:
        """When the next one is there."""
        return self._at + max(0.0, 1.0 - self._left) / self._refill


class Link:
    """A connection.

    Args:
        now: The time at which it was made.
        wire: Reads and writes its frames.
        pulse: Watches it.
        exchange: A key pair for it, where everything is to be sealed.
        wants_zlib: Whether the greeting asks for `C:` frames.
    """

    def __init__(
        self, now: float, wire: Wire, pulse: Pulse, exchange: KeyExchange | None, *, wants_zlib: bool
    ) -> None:
        self.wire = wire
        self.pulse = pulse
        self.must_greet = True
        self.allowance = Allowance(now, 1.0, 1.0)
        self.max_message_size = 0
        self.user_id: str | None = None
        self.error: str | None = None
        """What the server said was wrong, last."""
        self.must_refresh = False
        """Whether a fresh token has to be sent."""
        self.is_refreshing = False
        """Whether one was sent and is not answered."""
        self.pending: dict[str, Command] = {}
        """What was sent and is not answered, oldest first."""
        self.fence: str | None = None
        """The command whose answer tells what the server has not heard of `suspects`."""
        self.fence_at: float | None = None
        self.must_fence = False
        self.suspects: set[str] = set()
        self._exchange = exchange
        self._wants_zlib = wants_zlib

    def hello(self) -> dict[str, Any]:
        """The first thing that is said."""
        p: dict[str, Any] = {
            "client_version": __version__,
            "protocol_version": PROTOCOL_VERSION,
            "features": {"compression": self._wants_zlib},
            "capabilities": [],
        }
        if self._exchange is not None:
            p["encryption_public_key"] = self._exchange.public
        return {"t": "client_hello", "p": p}

    def greeted(self, now: float, p: dict[str, Any]) -> str | None:
        """Takes the server's greeting. Returns why it is none that this client can use, or None."""
        features, limits = p["features"], p["limits"]
        self.max_message_size = int(limits["max_message_size"])
        self.allowance = Allowance(
            now, float(limits["rate_limit_capacity"]), float(limits["rate_limit_refill"])
        )
        self.wire.may_compress = self._wants_zlib and features.get("compression") is True
        if self._exchange is None:
            return None
        theirs = p.get("encryption_public_key")
        if not isinstance(theirs, str):
            return f"the server does not encrypt{'' if self.error is None else f' ({self.error})'}"
        try:
            self.wire.cipher = self._exchange.finish(theirs)
        except ValueError as error:
            return str(error)
        return None

    def fits(self, publication: Publication) -> bool:
        """Whether the server takes a message of this size."""
        extra = 0 if self.wire.cipher is None else SEALED_OVERHEAD
        return publication.bytes_on_wire + extra <= self.max_message_size

    def limited(self, now: float, retry_after: float) -> None:
        """The server has refused some message for its rate, and does not say which."""
        self.suspects |= self.pending.keys()
        if self.suspects:
            self.fence_at = now + retry_after

    def not_heard(self) -> list[tuple[str, Command]]:
        """What the server has not heard, newest first.

        The fence was answered, and these, which were sent before it, were not.
        """
        self.fence = None
        found = [(cid, self.pending.pop(cid)) for cid in reversed(list(self.pending)) if cid in self.suspects]
        self.suspects.clear()
        return found
