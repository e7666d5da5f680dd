"""What people read: a table for each row, the servers beside each other, and whether targets are reached."""

from __future__ import annotations

from dataclasses import dataclass

from pybench.sides import OURS, title
from pybench.table import Row
from wsebench.model import Figure, Unit
from wsebench.report import number
from wsebench.rounds import Run
from wsebench.verdict import Spread, ratio, spread


@dataclass(frozen=True)
class Verdict:
    """A target and what became of it."""

    row: Row
    what: str
    target: str
    measured: str
    reached: bool


def section(run: Run, row: Row) -> str:
    """The table of a row: a line for each figure, a column for each side, and the ratios below."""
    names = [name for name in row.sides if run.samples(row.name, name)]
    lines = [
        [
            figure.label,
            *(_spread(spread(run.samples(row.name, name), figure.key), figure.unit) for name in names),
        ]
        for figure in row.workload.figures
    ]
    first = row.workload.figures[0]
    if row.times:
        lines += [
            [f"{title(ours)}, times theirs", *(_times(run, row, first, ours, name) for name in names)]
            for ours in OURS
        ]
    return f"### {row.workload.title}\n\n" + _markdown(["figure", *map(title, names)], lines)


def _times(run: Run, row: Row, figure: Figure, ours: str, other: str) -> str:
    if other in OURS:
        return ""
    found = ratio(run.samples(row.name, ours), run.samples(row.name, other), figure.key)
    return "" if found is None else _ratio(found)


def _ratio(value: Spread) -> str:
    middle = f"{value.middle:.2f} x"
    return f"{middle} ({value.low:.2f}..{value.high:.2f})" if value.count > 1 else middle


def _spread(value: Spread | None, unit: Unit) -> str:
    if value is None:
        return ""
    middle = number(value.middle, unit)
    if value.count < 2:
        return middle
    return f"{middle} ({number(value.low, unit)}..{number(value.high, unit)})"


def _markdown(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def verdicts(run: Run, row: Row) -> list[Verdict]:
    """The targets of a row, for WSE as it comes. What was not measured has none."""
    ours = run.samples(row.name, row.sides[0])
    spoilt = next(
        (sample.died or sample.problems[0] for sample in ours if sample.died or sample.problems), ""
    )
    found = []
    for figure in row.workload.figures:
        value = spread(ours, figure.key)
        if figure.target is None or not ours:
            continue
        limit = f"{figure.target.sign} {number(figure.target.limit, figure.unit)}"
        measured = spoilt or _spread(value, figure.unit)
        reached = not spoilt and value is not None and figure.target.met_by(value.middle)
        found.append(Verdict(row, figure.label, limit, measured, reached))
    first = row.workload.figures[0]
    for other, times in row.times.items():
        value = ratio(ours, run.samples(row.name, other), first.key)
        if value is None and not spoilt:
            continue
        measured = spoilt or (_ratio(value) if value else "")
        reached = not spoilt and value is not None and value.middle >= times
        found.append(Verdict(row, f"{first.label}, to {title(other)}", f"≥ {times:g} x", measured, reached))
    return found


def summary(found: list[Verdict]) -> str:
    """All targets in one table."""
    rows = [
        [it.row.workload.title, it.what, it.target, it.measured, "yes" if it.reached else "**no**"]
        for it in found
    ]
    return _markdown(["work", "figure", "target", "WSE", "reached"], rows)


def text(run: Run, rows: list[Row], about: dict[str, object], notes: list[str]) -> str:
    """The whole page."""
    machine, versions = about["machine"], about["versions"]
    assert isinstance(machine, dict)
    assert isinstance(versions, dict)
    dirty = ", with changes that are not committed" if about["dirty"] else ""
    used = ", ".join(f"{name} {version}" for name, version in versions.items())
    where = f"{machine['cpus']} cores of {machine['cpu']}, {machine['memory']}, Linux {machine['kernel']}"
    rounds = f"{about['rounds']} interleaved rounds of {about['seconds']:g} s"
    how = (
        f"Measured {about['date']} at commit {about['commit']}{dirty}, on {where}: the server on one core, "
        f"the clients on the other. Medians of {rounds}, in parentheses the least and the greatest; a "
        f"ratio's range is that of the rounds. CPU is that of all threads of the process. With {used}."
    )
    parts = ["# What Python programs see", how, summary([it for row in rows for it in verdicts(run, row)])]
    parts += [section(run, row) for row in rows if run.results.get(row.name)]
    if notes:
        parts.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(parts) + "\n"


def notes(run: Run, rows: list[Row]) -> list[str]:
    """Deaths, losses and disturbance, which a number alone would hide."""
    told = []
    everything = [sample for row in rows for name in row.sides for sample in run.samples(row.name, name)]
    if disturbed := sum(bool(sample.disturbed) for sample in everything):
        told.append(f"other processes disturbed {disturbed} of {len(everything)} samples")
    for row in rows:
        for name in row.sides:
            samples = run.samples(row.name, name)
            said: dict[str, int] = {}
            for sample in samples:
                words = [f"died: {sample.died}"] if sample.died else []
                words += sample.problems
                for word in words:
                    said[word] = said.get(word, 0) + 1
            told += [
                f"{row.workload.title}, {title(name)}: {word} ({times} of {len(samples)} rounds)"
                for word, times in said.items()
            ]
    return told
