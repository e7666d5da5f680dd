"""What must hold when all have left."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from statistics import median

LEAST_POINTS = 8
"""Tides that the test of the slope needs in the second half of the run."""
SIGNIFICANCE = 0.01
"""How probable a rise as clear as the one seen may at most be without a cause, before it counts as growth."""


@dataclass(frozen=True)
class Check:
    """One thing that must hold, whether it does, and what was seen."""

    name: str
    holds: bool
    seen: str


def equal(name: str, seen: object, wanted: object) -> Check:
    """Checks that something is as it must be."""
    return Check(name, seen == wanted, f"{seen}" if seen == wanted else f"{seen}, not {wanted}")


def empty(name: str, faults: list[str]) -> Check:
    """Checks that nobody found fault."""
    return Check(name, not faults, "; ".join(faults[:5]) or "none")


def memory(start: int, end: int, margin: int) -> Check:
    """Checks that resident memory came back to within a margin of bytes of its level after the warm-up."""
    text = f"{end / 1e6:.1f} MB, {(end - start) / 1e6:+.1f} MB to the level after the warm-up"
    return Check(f"resident memory within {margin / 1e6:.1f} MB of the start", end - start <= margin, text)


@dataclass(frozen=True)
class Trend:
    """Whether values rise.

    The test is that of Mann and Kendall, one-sided: it counts how many pairs rise and how many fall, and asks
    how probable such a surplus of rising ones is if the order is one of chance. It needs no normal
    distribution and one odd value does not turn it. The slope is the median of those of all pairs (Theil
    and Sen).
    """

    points: int
    slope: float
    """Per unit of time."""
    probability: float
    """That chance alone gives as clear a rise."""

    @classmethod
    def of(cls, times: list[float], values: list[float]) -> Trend:
        """Looks at values and when they were seen."""
        pairs = list(combinations(zip(times, values, strict=True), 2))
        surplus = sum((later[1] > earlier[1]) - (later[1] < earlier[1]) for earlier, later in pairs)
        count = len(values)
        variance = count * (count - 1) * (2 * count + 5) / 18
        for value in set(values):
            ties = values.count(value)
            variance -= ties * (ties - 1) * (2 * ties + 5) / 18
        if not pairs or variance <= 0:
            return cls(count, 0.0, 1.0)
        deviations = (surplus - (surplus > 0) + (surplus < 0)) / math.sqrt(variance)
        slope = median((later[1] - earlier[1]) / (later[0] - earlier[0]) for earlier, later in pairs)
        return cls(count, slope, 0.5 * math.erfc(deviations / math.sqrt(2)))


def no_growth(what: str, times: list[float], values: list[float], whole: float) -> tuple[Check, Trend | None]:
    """Checks that the least memory of each tide in the second half does not rise.

    The least, because whatever is kept for good raises it, and what is only kept for a while does not.

    Args:
        what: Whose memory.
        times: When the tides ended, in seconds.
        values: The least resident bytes of each.
        whole: Seconds of the whole run.
    """
    name = f"no growth of {what} over the second half of the run"
    half = [(at, value) for at, value in zip(times, values, strict=True) if at >= whole / 2]
    if len(half) < LEAST_POINTS:
        return Check(name, True, f"not tested: {len(half)} tides, {LEAST_POINTS} needed"), None
    trend = Trend.of([at for at, _ in half], [value for _, value in half])
    text = f"{trend.slope * 60 / 1e3:+.1f} kB a minute, p = {trend.probability:.3f} over {trend.points} tides"
    return Check(name, trend.probability >= SIGNIFICANCE, text), trend
