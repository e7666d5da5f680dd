"""A result as a picture: how durations are distributed, and what happened over time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wse_server import __version__
from wse_server.cli.bench.report import title
from wse_server.cli.bench.result import Histogram, Result
from wse_server.cli.errors import CliError, ExitCode

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["check", "draw"]

_FORMATS = (".png", ".svg")
_MARKS = ((0.5, "p50"), (0.99, "p99"), (0.999, "p99.9"))
_COLOURS = ("#1f5fa8", "#c8641e", "#3a7d44")


def check(path: Path) -> None:
    """Finds out whether a picture could be drawn, before anything is measured.

    Raises:
        CliError: It has another kind, matplotlib is not installed, or there is no such directory.
    """
    if path.suffix.lower() not in _FORMATS:
        raise CliError(f"--plot {path}: the name must end with .png or .svg", code=ExitCode.USAGE)
    if not path.absolute().parent.is_dir():
        raise CliError(f"--plot {path}: there is no directory {path.parent}", code=ExitCode.USAGE)
    try:
        import matplotlib as mpl
    except ImportError:
        raise CliError(
            "--plot needs matplotlib, which is not installed",
            hint="pip install 'wse-server[plot]'",
            code=ExitCode.USAGE,
        ) from None
    mpl.use("agg")


def draw(result: Result, path: Path) -> None:
    """Draws it.

    Raises:
        CliError: The file can't be written.
    """
    from matplotlib import pyplot as plt

    panels = bool(result.durations) + bool(result.series)
    if not panels:
        raise CliError("there is nothing to draw: nothing was measured")
    figure, axes = plt.subplots(1, panels, figsize=(6.2 * panels, 4.2), squeeze=False, layout="constrained")
    places = iter(axes[0])
    if result.durations:
        _distribution(next(places), result.durations)
    if result.series:
        _over_time(next(places), result)
    figure.suptitle(title(result), fontsize=11)
    about = f"wse-server {__version__}, {result.date[:10]}"
    figure.supxlabel(about, fontsize=7, color="#666666", x=0.995, ha="right")
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise CliError(f"--plot {path}: {error.strerror}") from None
    finally:
        plt.close(figure)


def _distribution(axes: Axes, durations: dict[str, Histogram]) -> None:
    """Which share took how long at most. The upper end is stretched: it is what is looked for."""
    for (name, histogram), colour in zip(durations.items(), _COLOURS, strict=False):
        total = sum(count for _, count in histogram)
        seen, xs, ys = 0, [], []
        for top, count in histogram:
            seen += count
            xs.append(top / 1e6)
            ys.append(1 - seen / total)
        # The last of all has no share above it; a logarithmic scale has no zero either.
        ys[-1] = 1 / total
        axes.step(xs, ys, where="post", color=colour, label=name.replace("_", " "))
    axes.set_xscale("log")
    axes.set_yscale("log")
    most = max(sum(count for _, count in histogram) for histogram in durations.values())
    axes.set_ylim(0.8 / most, 1.25)
    for share, label in _MARKS:
        if most * (1 - share) >= 1:
            axes.axhline(1 - share, color="#bbbbbb", linewidth=0.7)
            place = ("axes fraction", "data")
            axes.annotate(label, (1.01, 1 - share), xycoords=place, va="center", fontsize=8)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value * 100:.10g} %")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(lambda _value, _place: "")
    axes.set_xlabel("milliseconds")
    axes.set_ylabel("share that took longer")
    axes.grid(visible=True, which="major", axis="x", color="#eeeeee")
    axes.legend(frameon=False, fontsize=9, loc="lower left")


def _over_time(axes: Axes, result: Result) -> None:
    axes.plot(
        [at for at, _ in result.series],
        [value for _, value in result.series],
        color=_COLOURS[0],
        marker=".",
        markersize=4,
    )
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds")
    axes.set_ylabel(result.series_of)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.grid(visible=True, color="#eeeeee")
