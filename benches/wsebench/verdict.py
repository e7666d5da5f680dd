"""What the samples say: medians with their spread, ratios, and whether a target is reached."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from wsebench.model import Figure, Sample, Target, Workload
from wsebench.rounds import Run


@dataclass(frozen=True)
class Spread:
    """A median and the least and greatest value it stands for."""

    middle: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Line:
    """One figure of one workload, on all sides."""

    workload: Workload
    figure: Figure
    values: dict[str, Spread]
    to_earlier: Spread | None
    to_baseline: Spread | None
    reached: bool | None
    why_not: str = ""


def spread(samples: list[Sample], key: str) -> Spread | None:
    """Over the samples that have the figure; dead servers don't."""
    values = [sample.figures[key] for sample in samples if not sample.died and key in sample.figures]
    return Spread(median(values), min(values), max(values), len(values)) if values else None


def ratio(ours: list[Sample], other: list[Sample], key: str) -> Spread | None:
    """The ratio of the medians; low and high are those of the rounds, each with its own neighbour."""
    a, b = spread(ours, key), spread(other, key)
    if not a or not b or b.middle == 0:
        return None
    pairs = [
        mine.figures[key] / theirs.figures[key]
        for mine, theirs in zip(ours, other, strict=False)
        if not mine.died and not theirs.died and mine.figures.get(key) is not None and theirs.figures.get(key)
    ]
    return Spread(a.middle / b.middle, min(pairs, default=0), max(pairs, default=0), len(pairs))


def lines(run: Run, workloads: list[Workload]) -> list[Line]:
    return [_line(run, workload, figure) for workload in workloads for figure in workload.figures]


def _line(run: Run, workload: Workload, figure: Figure) -> Line:
    by_side = run.results.get(workload.name, {})
    values = {side: found for side, samples in by_side.items() if (found := spread(samples, figure.key))}
    ours = by_side.get("ours", [])
    # Differences such as "memory left over" may be zero or negative: a ratio would say nothing.
    comparable = figure.key not in {"growth_mb", "left_mb", "held_mb", "pings"}
    to_earlier = ratio(ours, by_side.get("earlier", []), figure.key) if comparable else None
    to_baseline = ratio(ours, by_side.get("baseline", []), figure.key) if comparable else None
    reached, why_not = _judge(figure.target, ours, values.get("ours"), to_earlier)
    return Line(workload, figure, values, to_earlier, to_baseline, reached, why_not)


def _judge(
    target: Target | None, ours: list[Sample], own: Spread | None, to_earlier: Spread | None
) -> tuple[bool | None, str]:
    """Reached, missed, or None where that can't be said. A median that was reached wrongly is not reached."""
    if target is None or not ours:
        return None, ""
    if any(sample.died for sample in ours):
        return False, "died"
    if any(sample.problems for sample in ours):
        return False, next(sample.problems[0] for sample in ours if sample.problems)
    value = to_earlier if target.ratio else own
    if value is None:
        return None, "nothing to compare with"
    return target.met_by(value.middle), ""
