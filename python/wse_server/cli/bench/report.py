"""A result, for people."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from wse_server.cli.bench.result import Result

__all__ = ["table", "title"]

_COSTS = ("server_c", "generator_c")
_LABELS = {
    "connected": "connected",
    "took_s": "took",
    "connects_per_s": "connects",
    "server_rss_bytes": "server, resident",
    "user_bytes_per_client": "user memory per client",
    "kernel_bytes_per_client": "kernel memory per client",
    "round_trips": "round trips in all",
    "round_trips_per_s": "round trips",
    "published_per_s": "published",
    "deliveries": "deliveries in all",
    "deliveries_per_s": "deliveries",
    "delivered_mb_per_s": "delivered",
    "server_cores": "server, CPU",
    "generator_cores": "load generator, CPU",
}


def title(result: Result) -> str:
    """What was measured, in a line."""
    settings = result.settings
    where = "a server of its own" if result.target.own else result.target.address.websocket
    parts = [f"{settings.mode}: {settings.clients:,} clients, {where}"]
    if settings.mode != "connect":
        parts.append(f"{settings.seconds:g} s")
    if settings.mode in {"echo", "fanout", "latency"}:
        parts.append(f"{settings.size:,} bytes")
    if settings.rate:
        parts.append(f"{settings.rate:g} messages/s")
    return ", ".join(parts)


def table(result: Result) -> Table:
    """The figures, one a line."""
    rows = Table(box=None, show_header=False, title=title(result), title_justify="left", pad_edge=False)
    rows.add_column(no_wrap=True)
    rows.add_column(justify="right", no_wrap=True)
    # What it took comes last, whenever it was noted.
    for name, value in sorted(result.figures.items(), key=lambda figure: figure[0].startswith(_COSTS)):
        label, shown = _shown(name, value)
        rows.add_row(Text(label), Text(shown))
    return rows


def _shown(name: str, value: float) -> tuple[str, str]:
    for unit, show in _UNITS:
        if name.endswith(unit):
            bare = name.removesuffix(unit)
            return _LABELS.get(name, bare.replace("_", " ")), show(value)
    return _LABELS.get(name, name.replace("_", " ")), f"{value:,.0f}"


def _bytes(value: float) -> str:
    return f"{value / 1e6:,.1f} MB" if abs(value) >= 1e6 else f"{value:,.0f} bytes"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.3g}"


_UNITS = (
    ("_mb_per_s", lambda value: f"{_short(value)} MB/s"),
    ("_per_s", lambda value: f"{_short(value)} /s"),
    ("_bytes_per_client", _bytes),
    ("_bytes", _bytes),
    ("_ms", lambda value: f"{value:,.3f} ms"),
    ("_us", lambda value: f"{_short(value)} us"),
    ("_cores", lambda value: f"{value:.2f} cores"),
    ("_s", lambda value: f"{value:,.3f} s"),
)
