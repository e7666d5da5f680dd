"""When a client comes back, and where: the table of close codes, delays that double, URLs in turn."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from .codes import BACKOFF_FACTOR, BACKOFF_MAX_MS, CloseCode, Reconnect, close_info

__all__ = ["ELSEWHERE", "REFUSALS", "Retry"]

ELSEWHERE = frozenset({CloseCode.DRAIN, CloseCode.SERVICE_RESTART})
"""Closes after which another server is the better choice."""
REFUSALS = frozenset({400, 403, 404, 405, 410, 426, 431})
"""Statuses of an upgrade that the next attempt would get as well."""


class Retry:
    """Chooses the URL and the delay of the next attempt.

    Args:
        urls: Where servers are, best first.
        random: Draws the delays.
    """

    def __init__(self, urls: Sequence[str], random: Random) -> None:
        self.failures = 0
        """Attempts that have failed since the last connection."""
        self.advised: float | None = None
        """Seconds that the server has asked to stay away before it closed."""
        self._urls = urls
        self._random = random
        self._index = 0
        self._code: int = CloseCode.ABNORMAL

    @property
    def url(self) -> str:
        """Where to connect next."""
        return self._urls[self._index]

    @property
    def has_tried_all(self) -> bool:
        """Whether each URL has failed since the last connection."""
        return self.failures >= len(self._urls)

    def connected(self) -> None:
        """A connection stands: what failed before it is forgotten."""
        self.failures = 0
        self.advised = None

    def after_close(self, code: int) -> float | None:
        """Seconds to wait after a connection has ended, None to stay away."""
        info = close_info(code)
        if info.reconnect is Reconnect.NEVER:
            return None
        self._code = code
        advised, self.advised = self.advised, None
        if advised is not None or code in ELSEWHERE:
            self._turn()
        # The server has spread its clients over time already.
        return self._delay() if advised is None else advised

    def after_failure(self, retry_after: float | None = None) -> float:
        """Seconds to wait after an attempt has failed, at least those that the server has named."""
        self.failures += 1
        self._turn()
        return max(self._delay(), retry_after or 0.0)

    def _turn(self) -> None:
        self._index = (self._index + 1) % len(self._urls)

    def _delay(self) -> float:
        """Draws a delay.

        It doubles once all URLs have failed, so that a second server is tried as soon as the first was.
        """
        info = close_info(self._code)
        factor = BACKOFF_FACTOR ** min(self.failures // len(self._urls), 32)
        longest = min(info.max_ms * factor, BACKOFF_MAX_MS)
        shortest = min(info.min_ms * factor, longest / 2)
        return self._random.uniform(shortest, longest) / 1000
