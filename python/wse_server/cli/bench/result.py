"""What a measurement has found, as figures with names that say their units."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any

from wse_server import __version__
from wse_server.cli.bench import machine
from wse_server.cli.bench.settings import Settings
from wse_server.cli.bench.target import Target

__all__ = ["Histogram", "Result", "quantile"]

Histogram = list[tuple[int, int]]
"""How many durations were at most so many nanoseconds and more than those of the entry before."""

QUANTILES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0))


def quantile(histogram: Histogram, share: float) -> float:
    """What a share of all did not exceed, in milliseconds."""
    wanted = share * sum(count for _, count in histogram)
    seen = 0
    for top, count in histogram:
        seen += count
        if seen >= wanted:
            return top / 1e6
    return float("nan")


@dataclass
class Result:
    """What a measurement has found.

    Attributes:
        settings: What was asked for.
        target: The server.
        figures: Names and values; a name ends with its unit.
        problems: What went wrong meanwhile, a sentence each.
        notes: What a reader should know.
        durations: Histograms by what they are of.
        series: A figure over time: [[second, value], ...].
        series_of: What the series is of.
    """

    settings: Settings
    target: Target
    figures: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    durations: dict[str, Histogram] = field(default_factory=dict)
    series: list[list[float]] = field(default_factory=list)
    series_of: str = ""
    date: str = field(
        default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    )
    load_average: float = field(default_factory=machine.load_average)

    def add_durations(self, name: str, histogram: Histogram) -> None:
        """Adds durations, and what shares of them did not exceed."""
        if histogram:
            self.durations[name] = histogram
            for label, share in QUANTILES:
                self.figures[f"{name}_{label}_ms"] = round(quantile(histogram, share), 4)

    def as_json(self) -> dict[str, Any]:
        """The whole, for `--json`."""
        return {
            "mode": self.settings.mode,
            "url": self.target.address.websocket,
            "own_server": self.target.own,
            "version": __version__,
            "date": self.date,
            "machine": machine.about() | {"load_average": self.load_average},
            "options": self.settings.told(),
            "figures": self.figures,
            "problems": self.problems,
            "notes": self.notes,
            "durations_ns": self.durations,
            "series": {"of": self.series_of, "points": self.series} if self.series else None,
        }
