"""What people read: progress on the terminal, the table in Markdown, everything else in JSON."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import asdict
from pathlib import Path

from wsebench import proc
from wsebench.model import Figure, Sample, Unit, Workload
from wsebench.rounds import Run
from wsebench.sides import ROOT, Side
from wsebench.verdict import Line, Spread

COLUMNS = {"ours": "this build", "earlier": "earlier", "baseline": "baseline", "floor": "floor"}


def number(value: float, unit: Unit) -> str:
    """A figure in a few characters, with its unit."""
    if unit is Unit.PER_SECOND:
        for factor, letter in ((1e6, " M"), (1e3, " k")):
            if value >= factor:
                return f"{_digits(value / factor)}{letter}/s"
        return f"{value:.0f}/s"
    if unit is Unit.BYTES and value >= 10_000:
        return f"{_digits(value / 1024)} KB"
    if unit is Unit.BYTES:
        return f"{value:.0f} bytes"
    return f"{_digits(value)} {unit.value}".strip()


def _digits(value: float) -> str:
    """Three digits that count."""
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 1 else f"{value:.3f}"


def _spread(value: Spread | None, unit: Unit) -> str:
    if value is None:
        return "-"
    middle = number(value.middle, unit)
    if value.count < 2:
        return middle
    low, high = (number(end, unit).split(" ")[0].split("/")[0] for end in (value.low, value.high))
    if number(value.low, unit).lstrip("-0123456789.,") == number(value.high, unit).lstrip("-0123456789.,"):
        return f"{middle} ({low}..{high})"
    return f"{middle} ({number(value.low, unit)}..{number(value.high, unit)})"


def _ratio(value: Spread | None) -> str:
    if value is None:
        return ""
    middle = f"{_digits(value.middle)} x"
    return f"{middle} ({_digits(value.low)}..{_digits(value.high)})" if value.count > 1 else middle


def progress(number_: int, workload: Workload, side: Side, sample: Sample) -> str:
    """One line per sample, so that a long run shows that it lives."""
    told = [
        f"{figure.label} {number(sample.figures[figure.key], figure.unit)}"
        for figure in workload.figures
        if figure.key in sample.figures and not sample.died
    ]
    told += [f"DIED ({sample.died})"] if sample.died else []
    told += sample.problems
    told += [f"[{sample.disturbed}]"] if sample.disturbed else []
    return f"round {number_ + 1}  {workload.name:<14} {side.name:<8} {', '.join(told)}"


def table(found: list[Line], sides: list[Side]) -> str:
    """The Markdown table: a line per figure, medians with the least and greatest of all rounds."""
    names = [side.name for side in sides]
    compared = "ours" in names and "earlier" in names
    based = "ours" in names and "baseline" in names
    heads = ["work", "figure", *(COLUMNS[name] for name in names)]
    heads += (["to earlier"] if compared else []) + (["to baseline"] if based else []) + ["target", "reached"]
    rows = []
    previous = ""
    for line in found:
        title = line.workload.title if line.workload.title != previous else ""
        previous = line.workload.title
        cells = [title, line.figure.label]
        cells += [_spread(line.values.get(name), line.figure.unit) for name in names]
        cells += ([_ratio(line.to_earlier)] if compared else []) + (
            [_ratio(line.to_baseline)] if based else []
        )
        cells += [_target(line.figure), _reached(line)]
        rows.append(cells)
    return _markdown(heads, rows)


def _target(figure: Figure) -> str:
    if figure.target is None:
        return ""
    if figure.target.ratio:
        return figure.target.text
    return f"{figure.target.sign} {number(figure.target.limit, figure.unit)}"


def _reached(line: Line) -> str:
    if line.reached is None:
        return line.why_not
    return "yes" if line.reached else f"**no** ({line.why_not})" if line.why_not else "**no**"


def _markdown(heads: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    lines = [
        " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in [heads, *rows]
    ]
    rule = "|".join("-" * (width + 2) for width in widths)
    return "\n".join([f"| {lines[0]} |", f"|{rule}|", *(f"| {line} |" for line in lines[1:])])


def remarks(run: Run, workloads: list[Workload], sides: list[Side]) -> list[str]:
    """What a number alone would hide: deaths, losses, disturbance."""
    told = []
    for workload in workloads:
        for side in sides:
            samples = run.samples(workload.name, side.name)
            said: dict[str, int] = {}
            for sample in samples:
                peak = sample.figures.get("peak_mb", 0)
                words = (
                    [f"died: {sample.died}" + (f" (at {peak:,.0f} MB)" if peak else "")]
                    if sample.died
                    else []
                )
                words += sample.problems
                words += ["disturbed by other processes"] if sample.disturbed else []
                for word in words:
                    said[word] = said.get(word, 0) + 1
            told += [
                f"{workload.title}, {COLUMNS[side.name]}: {word} ({times} of {len(samples)} rounds)"
                for word, times in said.items()
            ]
    return told


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def circumstances(sides: list[Side], rounds: int, seconds: float, idle_seconds: float) -> dict[str, object]:
    """Everything needed to repeat the run or to doubt it."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "commit": _git("rev-parse", "--short=12", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "machine": proc.machine(),
        "versions": {side.name: side.versions for side in sides},
        "rounds": rounds,
        "seconds": seconds,
        "idle_seconds": idle_seconds,
    }


def markdown(about: dict[str, object], grid: str, notes: list[str]) -> str:
    machine, versions = about["machine"], about["versions"]
    assert isinstance(machine, dict)
    assert isinstance(versions, dict)
    dirty = ", with changes that are not committed" if about["dirty"] else ""
    who = "; ".join(
        f"{COLUMNS[name]}: {', '.join(f'{key} {value}' for key, value in said.items())}"
        for name, said in versions.items()
    )
    where = f"{machine['cpus']} cores of {machine['cpu']}, {machine['memory']}, Linux {machine['kernel']}"
    about_rounds = f"{about['rounds']} interleaved rounds of {about['seconds']:g} s"
    how = (
        f"Measured {about['date']} at commit {about['commit']}{dirty}, on {where}: the server on one core, "
        f"the clients on the other. Medians of {about_rounds}, in parentheses the least and the greatest; "
        f"a ratio's range is that of the rounds. {who}."
    )
    text = [how, "", grid]
    if notes:
        text += ["", *(f"- {note}" for note in notes)]
    return "\n".join(text) + "\n"


def write(directory: Path, about: dict[str, object], run: Run, text: str) -> list[Path]:
    """Write the table, and every sample of every round beside it. Returns the paths."""
    directory.mkdir(parents=True, exist_ok=True)
    samples = {
        name: {side: [asdict(sample) for sample in taken] for side, taken in sides.items()}
        for name, sides in run.results.items()
    }
    paths = [directory / "latest.md", directory / "latest.json"]
    paths[0].write_text(text)
    paths[1].write_text(json.dumps({**about, "samples": samples}, indent=1) + "\n")
    return paths
