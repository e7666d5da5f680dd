"""`wse top`: what nodes do, as it changes."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from typing import Any

import click

from wse_server.cli.address import Address
from wse_server.cli.connecting import api_key_options, ca_option, secret, server_address, tls_context
from wse_server.cli.errors import CliError, ExitCode
from wse_server.cli.output import out, write_json

__all__ = ["top"]

# How often the size of the screen is looked at.
_LOOK = 0.1
_WIDE = 200


@click.command()
@click.argument("urls", metavar="[URL]...", nargs=-1)
@api_key_options
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1, max=3600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How often nodes are asked.",
)
@click.option("--once", is_flag=True, help="Ask twice, show what happened in between, and end.")
@click.option("--json", "is_json", is_flag=True, help="The same as one line of JSON.")
@click.option(
    "--sort",
    type=click.Choice(["rate", "messages", "subscribers", "name"]),
    default="rate",
    show_default=True,
    help="The order of topics.",
)
@ca_option
@click.pass_context
def top(
    context: click.Context,
    /,
    urls: tuple[str, ...],
    interval: float,
    once: bool,
    is_json: bool,
    sort: str,
    ca: str | None,
    **_secrets: str | None,
) -> int:
    """Show what nodes do: clients, messages, closes, topics, memory.

    Give the URL of each node, not that of a balancer. Without one it is the server of this machine. With the
    key of the HTTP API the subscribers of topics are shown as well.

    Keys: q quits, s sorts the topics by something else, p pauses.
    """
    addresses = [server_address(url) for url in urls] or [server_address(None)]
    key = secret(context, "api_key").text
    if any(address.secure for address in addresses):
        # Here, for the threads that ask can tell nobody.
        tls_context(ca)
    if once or is_json:
        return _once(addresses, interval, sort, is_json=is_json, ca=ca, key=key)
    return _live(addresses, interval, sort, ca=ca, key=key)


# ---- Once ----


def _once(
    addresses: Sequence[Address],
    interval: float,
    sort: str,
    *,
    is_json: bool,
    ca: str | None,
    key: str | None,
) -> int:
    from wse_server.cli.top.sampling import Watch, topics_of
    from wse_server.cli.top.view import picture

    watch = Watch(addresses, interval=interval, ca=ca, key=key)
    watch.ask_twice()
    nodes, _ = watch.nodes()
    topics = topics_of(nodes)
    if is_json:
        write_json(_as_json(nodes, topics))
    else:
        from rich.console import Console

        console = out()
        if not console.is_terminal and "COLUMNS" not in os.environ:
            # A file or a pipe is as wide as it takes.
            console = Console(width=_WIDE, highlight=False)
        console.print(picture(nodes, topics, width=console.width, height=None, sort=sort))
    there = any(node.sample is not None and node.sample.report.healthy for node in nodes)
    return ExitCode.OK if there else ExitCode.UNREACHABLE


def _as_json(nodes: Sequence[Any], topics: Sequence[Any]) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    told = []
    for node in nodes:
        sample, rates = node.sample, node.rates
        told.append(
            {
                **sample.report.as_json(),
                "error": sample.report.as_json()["error"] or sample.trouble,
                "memory_bytes": sample.memory,
                "seconds": None if rates is None else rates.seconds,
                "per_second": None if rates is None else rates.counters,
                "closes_per_second": None if rates is None else rates.closes,
            }
        )
    return {
        "time": now,
        "nodes": told,
        "topics": [
            {
                "topic": topic.name,
                "per_second": topic.rate,
                "messages": topic.messages,
                "subscribers": topic.subscribers,
            }
            for topic in topics
        ],
    }


# ---- Live ----


def _live(
    addresses: Sequence[Address], interval: float, sort: str, *, ca: str | None, key: str | None
) -> int:
    from rich.live import Live

    from wse_server.cli.top.keys import keys
    from wse_server.cli.top.sampling import Watch, topics_of
    from wse_server.cli.top.view import SORTS, picture

    console = out()
    watch = Watch(addresses, interval=interval, ca=ca, key=key)
    if not console.is_terminal:
        raise CliError(
            "standard output is no terminal", hint="--once or --json writes it once", code=ExitCode.USAGE
        )
    with keys() as typed, Live(console=console, screen=True, auto_refresh=False) as live:
        watch.start()
        nodes, seen = watch.nodes()
        shown: tuple[Any, ...] | None = None
        paused = False
        while True:
            latest, news = watch.nodes()
            if not paused:
                nodes, seen = latest, news
            # `console.size` asks the terminal each time, so that a new size is seen here.
            state = (seen, sort, paused, console.size)
            if state != shown:
                width, height = console.size
                note = "paused" if paused else ""
                topics = topics_of(nodes)
                live.update(
                    picture(
                        nodes, topics, width=width, height=height, sort=sort, note=note, keys=typed.are_there
                    ),
                    refresh=True,
                )
                shown = state
            key_typed = typed.wait(_LOOK)
            if key_typed in {"q", "Q"}:
                watch.stop()
                return ExitCode.OK
            if key_typed in {"s", "S"}:
                sort = SORTS[(SORTS.index(sort) + 1) % len(SORTS)]
            elif key_typed in {"p", "P", " "}:
                paused = not paused
