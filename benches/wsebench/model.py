"""What is measured: workloads, their figures, and the samples of one run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsebench.bench import Bench
    from wsebench.sides import Side


class Unit(Enum):
    """How a figure is written."""

    PER_SECOND = "/s"
    MILLISECONDS = "ms"
    MICROSECONDS = "us"
    MEGABYTES = "MB"
    BYTES = "bytes"
    PERCENT = "%"
    COUNT = ""


@dataclass(frozen=True)
class Target:
    """A limit for a figure, or for its ratio to the earlier release."""

    limit: float
    at_least: bool
    ratio: bool

    def met_by(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    @property
    def sign(self) -> str:
        return "≥" if self.at_least else "≤"

    @property
    def text(self) -> str:
        return f"{self.sign} {self.limit:g}{' x' if self.ratio else ''}"


def times_at_least(limit: float) -> Target:
    return Target(limit, at_least=True, ratio=True)


def times_at_most(limit: float) -> Target:
    return Target(limit, at_least=False, ratio=True)


def at_least(limit: float) -> Target:
    return Target(limit, at_least=True, ratio=False)


def at_most(limit: float) -> Target:
    return Target(limit, at_least=False, ratio=False)


@dataclass(frozen=True)
class Figure:
    """One number of a workload. Without a target it is there for orientation."""

    key: str
    label: str
    unit: Unit
    target: Target | None = None


@dataclass
class Sample:
    """What one side did once. Dead servers have a sample too, with whatever was known when they died."""

    figures: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    disturbed: str = ""
    died: str = ""


Measure = Callable[["Bench", "Side"], Sample]


@dataclass(frozen=True)
class Workload:
    """A row of the table: a name for commands, a title for people, how to measure, what comes out."""

    name: str
    title: str
    measure: Measure
    figures: tuple[Figure, ...]
    floor: bool = False
    ours_only: bool = False
    """A ratio within this build, to which others have nothing to compare."""
