"""The picture of a run: panels above each other with one axis of time, as SVG, without any library."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from soak.drive import Outcome
from soak.watch import Sample

WIDTH, PANEL, GAP, LEFT, TOP, RIGHT = 1000, 120, 34, 70, 60, 20
COLOURS = ("#0b5fa5", "#c2570c", "#2f7d32")
MAX_POINTS = 900
"""More are not to be told apart on so many pixels."""

Value = Callable[[Sample], float | None]


@dataclass(frozen=True)
class Panel:
    """One panel: its title, what is drawn by name, and a level that is marked."""

    title: str
    lines: dict[str, Value]
    level: float | None = None
    dots: tuple[tuple[float, float], ...] = ()


def panels(outcome: Outcome) -> list[Panel]:
    """Says what is drawn."""
    rates = _rates(outcome.samples)
    return [
        Panel(
            "resident memory of the server, MB; dots: the least of each tide; dashed: at the start",
            {
                "process": lambda sample: sample["resident"] / 1e6,
                "its engine": lambda sample: sample["engine"] / 1e6,
            },
            outcome.start["resident"] / 1e6,
            tuple(
                (ebb["at"], ebb[f"least_{name}"] / 1e6)
                for ebb in outcome.ebbs
                for name in ("resident", "engine")
            ),
        ),
        Panel(
            "clients and open descriptors of the server; dashed: descriptors at the start",
            {
                "connections": lambda sample: sample["connections"],
                "descriptors": lambda sample: sample["descriptors"],
            },
            outcome.start["descriptors"],
        ),
        Panel(
            "bytes waiting for clients, MB",
            {"outbound": lambda sample: sample["outbound_queued_bytes"] / 1e6},
        ),
        Panel("events waiting for the program", {"inbound": lambda sample: sample["inbound_queue_depth"]}),
        Panel("messages to clients, thousands a second", {"sent": lambda sample: rates.get(sample["at"])}),
        Panel(
            "slowest round trip of a healthy reader, ms",
            {"round trip": lambda sample: sample["round_trip_ms"]},
        ),
        Panel("CPU of server and clients, % of the machine", {"cpu": lambda sample: sample["cpu"] * 100}),
    ]


def _rates(samples: list[Sample]) -> dict[float, float]:
    # Over at least half a second: samples are closer together where something is waited for.
    rates = {}
    last = samples[0]
    for sample in samples[1:]:
        seconds = sample["at"] - last["at"]
        if seconds >= 0.5:
            rates[sample["at"]] = (sample["messages_sent"] - last["messages_sent"]) / seconds / 1e3
            last = sample
    return rates


def draw(outcome: Outcome, title: str) -> str:
    """Returns the picture."""
    every = max(1, len(outcome.samples) // MAX_POINTS)
    samples = [sample for at, sample in enumerate(outcome.samples) if at % every == 0]
    until = outcome.samples[-1]["at"]
    drawn = panels(outcome)
    height = TOP + len(drawn) * (PANEL + GAP) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-size="12">',
        f"<title>{escape(title)}</title>",
        "<style>text { font-family: sans-serif }</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{LEFT}" y="24" font-size="14">{escape(title)}</text>',
    ]
    for number, panel in enumerate(drawn):
        parts += _panel(panel, samples, until, TOP + number * (PANEL + GAP))
    parts += _times(until, TOP + len(drawn) * (PANEL + GAP) - GAP)
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, samples: list[Sample], until: float, top: float) -> list[str]:
    lines = {
        name: [(sample["at"], value) for sample in samples if (value := read(sample)) is not None]
        for name, read in panel.lines.items()
    }
    values = [value for points in lines.values() for _, value in points] + [panel.level or 0.0]
    step, most = _scale(max(values))

    def spot(at: float, value: float) -> tuple[float, float]:
        return LEFT + at / until * (WIDTH - LEFT - RIGHT), top + PANEL * (1 - value / most)

    parts = [f'<text x="{LEFT}" y="{top - 6}" fill="#333">{escape(panel.title)}</text>']
    for number in range(round(most / step) + 1):
        _, y = spot(0, number * step)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#555">{number * step:g}</text>'
        )
    for points, colour in zip(lines.values(), COLOURS, strict=False):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (spot(*point) for point in points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}"/>')
    if len(lines) > 1:
        for number, (name, colour) in enumerate(zip(lines, COLOURS, strict=False)):
            x = WIDTH - RIGHT - 90 * (len(lines) - number)
            parts.append(f'<text x="{x}" y="{top - 6}" fill="{colour}">{escape(name)}</text>')
    if panel.level is not None:
        _, y = spot(0, panel.level)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#333" stroke-dasharray="5 4"/>')
    for dot in panel.dots:
        across, y = spot(*dot)
        parts.append(f'<circle cx="{across:.1f}" cy="{y:.1f}" r="3" fill="{COLOURS[1]}"/>')
    return parts


def _times(until: float, y: float) -> list[str]:
    step, most = _scale(until / 60)
    marks = [number * step for number in range(round(most / step) + 1) if number * step * 60 <= until]
    parts = []
    for minutes in marks:
        x = LEFT + minutes * 60 / until * (WIDTH - LEFT - RIGHT)
        parts.append(
            f'<text x="{x:.1f}" y="{y + 18}" text-anchor="middle" fill="#555">{minutes:g} min</text>'
        )
    return parts


def _scale(most: float) -> tuple[float, float]:
    """Returns a round step and the first multiple of it that is not below `most`."""
    rough = max(most, 1e-9) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return step, step * math.ceil(most / step - 1e-9) or step
