"""`wse top` as a picture: tables that fit the screen, the most important columns and rows first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from wse_server.cli.top.sampling import Node, Rates, Sample, Topic

__all__ = ["SORTS", "bytes_of", "number_of", "picture"]

SORTS = ("rate", "messages", "subscribers", "name")
"""The orders of topics."""

_STATES = {
    "ready": "green",
    "joining": "yellow",
    "draining": "yellow",
    "not ready": "yellow",
    "unhealthy": "red",
    "unreachable": "red",
}
_NOTHING = Text("-", style="dim")


class _Column(NamedTuple):
    """A column of the nodes, and what a node shows in it. The lower its rank, the longer it stays."""

    title: str
    width: int
    rank: int
    cell: Callable[[Sample, Rates | None], str | None]


def number_of(value: float | None) -> str | None:
    """A number in at most five letters, as 950, 1.2k or 34M. Below 10 with one digit after the point."""
    if value is None:
        return None
    if abs(value) < 9.95 and value != int(value):
        return f"{value:.1f}"
    for unit in ("", "k", "M", "G", "T"):
        if abs(value) < 999.5 or unit == "T":
            return f"{value:.1f}{unit}" if unit and abs(value) < 9.95 else f"{value:.0f}{unit}"
        value /= 1000
    return None


def bytes_of(value: float | None) -> str | None:
    """Bytes in at most seven letters: 950 B, 1.2 KiB, 34 MiB."""
    if value is None:
        return None
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1023.5 or unit == "TiB":
            return f"{value:.1f} {unit}" if unit != "B" and abs(value) < 9.95 else f"{value:.0f} {unit}"
        value /= 1024
    return None


def _figure(name: str) -> Callable[[Sample, Rates | None], str | None]:
    return lambda sample, _: number_of(sample.report.figures.get(name))


def _bytes_figure(name: str) -> Callable[[Sample, Rates | None], str | None]:
    return lambda sample, _: bytes_of(sample.report.figures.get(name))


def _rate(name: str) -> Callable[[Sample, Rates | None], str | None]:
    return lambda _, rates: None if rates is None else number_of(rates.counters.get(name))


def _bytes_rate(name: str) -> Callable[[Sample, Rates | None], str | None]:
    return lambda _, rates: None if rates is None else bytes_of(rates.counters.get(name))


def _up(sample: Sample, _rates: Rates | None) -> str:
    seconds = int(sample.report.figures.get("uptime_secs", 0))
    for length, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def _closed(_sample: Sample, rates: Rates | None) -> str | None:
    return None if rates is None or not rates.closes else number_of(sum(rates.closes.values()))


def _cpu(_sample: Sample, rates: Rates | None) -> str | None:
    used = None if rates is None else rates.counters.get("cpu")
    return None if used is None else f"{used * 100:.0f}%"


_COLUMNS = (
    _Column("UP", 4, 3, _up),
    _Column("CLIENTS", 7, 0, _figure("connections")),
    _Column("PEERS", 5, 4, _figure("cluster_peer_count")),
    _Column("TOPICS", 6, 8, _figure("topics")),
    _Column("IN/S", 5, 1, _rate("messages_in")),
    _Column("OUT/S", 5, 0, _rate("messages_out")),
    _Column("B IN/S", 8, 7, _bytes_rate("bytes_in")),
    _Column("B OUT/S", 8, 2, _bytes_rate("bytes_out")),
    _Column("NEW/S", 5, 5, _rate("connects")),
    _Column("GONE/S", 6, 6, _closed),
    _Column("SLOW", 5, 3, _figure("slow_clients")),
    _Column("QUEUED", 8, 9, _bytes_figure("outbound_queued_bytes")),
    _Column("HISTORY", 8, 10, _bytes_figure("recovery_total_bytes")),
    _Column("MEMORY", 8, 3, lambda sample, _: bytes_of(sample.memory)),
    _Column("CPU", 5, 6, _cpu),
    _Column("REFUSED/S", 9, 11, _rate("rejected")),
    _Column("SLOW LOST/S", 11, 12, _rate("slow_dropped")),
)


def picture(
    nodes: Sequence[Node],
    topics: Sequence[Topic],
    *,
    width: int,
    height: int | None,
    sort: str = "rate",
    note: str = "",
    keys: bool = False,
) -> RenderableType:
    """Everything, for a screen of this size.

    Args:
        nodes: The nodes.
        topics: Their topics.
        width: Columns of the screen.
        height: Its rows; None shows all there is.
        sort: One of `SORTS`.
        note: What stands in the first line beside the sums, as that it is paused.
        keys: Whether the keys are told in the last line.
    """
    head = [_sums(nodes, note, width)]
    troubles = _troubles(nodes, width)
    closes = _closes(nodes, width)
    foot = [Text("q quit   s sort   p pause", style="dim", no_wrap=True, overflow="crop")] if keys else []
    # The title of each table is a row, and a line is left free before the topics.
    rest = None if height is None else height - len(head) - len(closes) - len(foot) - 3
    room_for_nodes = len(nodes) if rest is None else max(1, min(len(nodes), rest // 2 - len(troubles)))
    if rest is not None:
        troubles = troubles[: max(0, rest - room_for_nodes - 1)]
    room_for_topics = len(topics) if rest is None else max(0, rest - room_for_nodes - len(troubles))
    parts: list[RenderableType] = [*head, _nodes(nodes[:room_for_nodes], width), *troubles, *closes, Text("")]
    parts.append(_topics(topics, room_for_topics, sort, width))
    return Group(*parts, *foot)


def _sums(nodes: Sequence[Node], note: str, width: int) -> Text:
    there = [node for node in nodes if node.sample is not None and node.sample.report.healthy]
    figures = [node.sample.report.figures for node in there if node.sample is not None]
    clients = sum(figure.get("connections", 0) for figure in figures)
    out = [node.rates.counters.get("messages_out", 0.0) for node in there if node.rates is not None]
    text = f"wse top   {len(there)} of {len(nodes)} nodes   {clients:,} clients"
    if out:
        text += f"   {number_of(sum(out))} messages out/s"
    known = max((figure.get("cluster_peer_count", 0) + 1 for figure in figures), default=0)
    if known > len(nodes):
        text += f"   the cluster has {known} nodes"
    line = Text(text, style="bold", no_wrap=True, overflow="ellipsis")
    if note:
        line.append(f"   {note}", style="bold yellow")
    line.truncate(width, overflow="ellipsis")
    return line


def _nodes(nodes: Sequence[Node], width: int) -> Table:
    names = [node.address.authority for node in nodes]
    name_width = min(max(8, *(len(name) for name in names)), max(12, width // 3))
    left = width - name_width - 1 - 12
    chosen: list[_Column] = []
    for column in sorted(_COLUMNS, key=lambda column: column.rank):
        if column.width + 1 <= left:
            chosen.append(column)
            left -= column.width + 1
    columns = [column for column in _COLUMNS if column in chosen]
    table = _table()
    table.add_column("NODE", no_wrap=True, overflow="ellipsis", width=name_width)
    table.add_column("STATE", no_wrap=True, width=11)
    for column in columns:
        table.add_column(column.title, justify="right", no_wrap=True, width=column.width)
    for node, name in zip(nodes, names, strict=True):
        table.add_row(Text(name), *_cells(node, columns))
    return table


def _cells(node: Node, columns: Sequence[_Column]) -> list[Text]:
    sample = node.sample
    if sample is None:
        return [Text("...", style="dim")]
    state = Text(sample.report.state, style=_STATES.get(sample.report.state, ""))
    if not sample.report.healthy:
        return [state]
    cells = (column.cell(sample, node.rates) for column in columns)
    return [state, *(_NOTHING if cell is None else Text(cell) for cell in cells)]


def _troubles(nodes: Sequence[Node], width: int) -> list[Text]:
    """What is wrong, a line for each node that has something."""
    lines = []
    for node in nodes:
        if node.sample is None:
            continue
        failed = node.sample.report.trouble
        said = str(failed) if failed is not None else node.sample.trouble
        if said:
            line = Text(" ".join(said.split()), style="red" if failed is not None else "yellow", no_wrap=True)
            line.truncate(width, overflow="ellipsis")
            lines.append(line)
    return lines


def _closes(nodes: Sequence[Node], width: int) -> list[Text]:
    """Connections that ended since the last time, by close code, the most first."""
    sums: dict[str, float] = {}
    for node in nodes:
        if node.rates is not None:
            for code, rate in node.rates.closes.items():
                sums[code] = sums.get(code, 0.0) + rate
    told = sorted(((rate, code) for code, rate in sums.items() if rate > 0), reverse=True)
    if not told:
        return []
    line = Text("closes/s  ", style="dim", no_wrap=True)
    line.append("   ".join(f"{code}: {number_of(rate)}" for rate, code in told), style="default")
    line.truncate(width, overflow="ellipsis")
    return [line]


def _topics(topics: Sequence[Topic], room: int, sort: str, width: int) -> Table:
    orders: dict[str, Callable[[Topic], tuple[float | str, ...]]] = {
        "rate": lambda topic: (-(topic.rate or 0.0), -topic.messages, topic.name),
        "messages": lambda topic: (-topic.messages, topic.name),
        "subscribers": lambda topic: (-(topic.subscribers or 0), topic.name),
        "name": lambda topic: (topic.name,),
    }
    table = _table()
    titles = {"rate": "MSG/S", "messages": "MESSAGES", "subscribers": "SUBSCRIBERS", "name": "TOPIC"}
    titles[sort] += " v" if sort != "name" else " ^"
    table.add_column(titles["name"], no_wrap=True, overflow="ellipsis", width=max(12, min(width - 41, 80)))
    for name, column in (("rate", 9), ("messages", 12), ("subscribers", 14)):
        table.add_column(titles[name], justify="right", no_wrap=True, width=column)
    for topic in sorted(topics, key=orders[sort])[:room]:
        cells = (
            number_of(topic.rate),
            f"{topic.messages:,.0f}",
            None if topic.subscribers is None else f"{topic.subscribers:,}",
        )
        table.add_row(Text(_safe(topic.name)), *(_NOTHING if cell is None else Text(cell) for cell in cells))
    return table


def _safe(text: str) -> str:
    """A name without what a terminal might obey."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)


def _table() -> Table:
    return Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim", show_edge=False)
