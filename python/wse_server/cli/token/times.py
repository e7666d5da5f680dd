"""Lengths of time, as people write and read them."""

from __future__ import annotations

import datetime as dt
import math
import re

__all__ = ["LAST_DATE", "moment", "parse_duration", "words"]

LAST_DATE = 253_402_300_799
"""The end of the year 9999, after which a server takes an `exp` for a slip."""

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


def parse_duration(text: str) -> float:
    """Reads `90`, `90s`, `15m`, `1h30m`, `7d` or `2w`, in seconds.

    Raises:
        ValueError: It is no length of time, or none at all.
    """
    try:
        seconds = float(text)
    except ValueError:
        if not re.fullmatch(f"(?:{_PART.pattern})+", text.strip()):
            raise ValueError(f"{text!r} is no length of time such as 90s, 15m, 1h30m or 7d") from None
        seconds = sum(float(count) * _UNITS[unit] for count, unit in _PART.findall(text))
    if not math.isfinite(seconds) or seconds <= 0:
        raise ValueError(f"{text!r} is no length of time: it must be more than nothing")
    return seconds


def words(seconds: float) -> str:
    """A length of time in the largest unit of which it has two: `90 s`, `59 min`, `2 h`, `3 days`."""
    seconds = abs(seconds)
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def moment(seconds: float) -> str:
    """A date of a token, for people."""
    return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
