"""`wse health`: how a server is, for people, scripts and probes."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

import click

from wse_server.cli.address import Address, local_address, parse_address
from wse_server.cli.errors import CliError, ExitCode
from wse_server.cli.output import say_error, write_json, write_line
from wse_server.cli.probe import Answer, fetch

__all__ = ["Report", "health", "look"]


class Report(NamedTuple):
    """What one server said.

    Attributes:
        url: Its address.
        state: `ready`, `draining`, `joining`, `not ready`, `unhealthy` or `unreachable`.
        healthy: Whether it answered `/health` as a server of WSE.
        ready: Whether it takes new clients.
        figures: What `/health` answered.
        trouble: What is wrong, if it is neither draining nor joining.
    """

    url: str
    state: str
    healthy: bool
    ready: bool
    figures: dict[str, Any]
    trouble: CliError | None

    def code(self, *, by_ready: bool) -> ExitCode:
        """What a probe exits with."""
        if self.trouble is not None and self.trouble.code is ExitCode.UNREACHABLE:
            return ExitCode.UNREACHABLE
        return ExitCode.OK if self.healthy and (self.ready or not by_ready) else ExitCode.FAILED

    def as_json(self) -> dict[str, Any]:
        """The report as `--json` writes it."""
        error = None if self.trouble is None else str(self.trouble)
        told = {"url": self.url, "status": self.state, "healthy": self.healthy, "ready": self.ready}
        return {**told, "error": error, "health": self.figures or None}


def look(address: Address, *, timeout: float, ca: str | None = None) -> Report:
    """Asks a server for `/health` and `/ready`.

    Args:
        address: The server.
        timeout: Seconds for each of the two answers.
        ca: PEM file with the authorities to trust; those of the system if None.

    Raises:
        CliError: That file is none, with exit code 2. All else is told in the report.
    """
    url = address.http
    try:
        told = fetch(address, "/health", timeout=timeout, ca=ca)
        figures = _figures(told)
        if figures is None:
            trouble = _not_a_server(url, told)
            return Report(url, "unhealthy", False, False, {}, trouble)
        answer = fetch(address, "/ready", timeout=timeout, ca=ca)
    except CliError as error:
        if error.code is ExitCode.USAGE:
            raise
        return Report(url, "unreachable", False, False, {}, error)
    if answer.status == 200:
        return Report(url, "ready", True, True, figures, None)
    return Report(url, _state(answer), True, False, figures, None)


def _state(answer: Answer) -> str:
    """What a server is that takes no clients."""
    try:
        told = json.loads(answer.body)
    except ValueError:
        told = None
    reason = told.get("reason") if isinstance(told, dict) else None
    return reason if reason in {"draining", "joining"} else "not ready"


def _figures(answer: Answer) -> dict[str, Any] | None:
    """What `/health` says, or None if this is not what a server of WSE says there."""
    if answer.status != 200:
        return None
    try:
        told = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    # Whatever answers on this port may say what it likes; what is no number is no figure.
    figures = {
        name: value for name, value in told.items() if isinstance(value, int | float) and math.isfinite(value)
    }
    return figures if {"connections", "uptime_secs"} <= figures.keys() else None


def _not_a_server(url: str, answer: Answer) -> CliError:
    if answer.status == 0:
        return CliError(f"{url}: what answers does not speak HTTP", hint="is this the port of the server?")
    if answer.status == 200:
        return CliError(f"{url}: not a WSE server: /health is something else", hint="is this the right port?")
    return CliError(
        f"{url}: /health answered {answer.status}",
        hint="not a WSE server, or a proxy in front that has no server or keeps /health to itself",
    )


@click.command()
@click.argument("urls", metavar="[URL]...", nargs=-1)
@click.option("--ready", "by_ready", is_flag=True, help="Exit by /ready: 1 while joining or draining.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=3.0,
    show_default=True,
    metavar="SECONDS",
    help="How long each answer may take.",
)
@click.option("--json", "as_json", is_flag=True, help="One line of JSON for each server.")
@click.option("--ca", type=click.Path(), metavar="FILE", help="PEM file with the authorities to trust.")
def health(urls: tuple[str, ...], by_ready: bool, timeout: float, as_json: bool, ca: str | None) -> int:
    """Ask servers how they are.

    URL is http://, https://, ws://, wss://, HOST:PORT or HOST. Without one it is the server of this machine,
    on WSE_PORT or 5007.

    Exits with 0 if all are healthy (with --ready: and take clients), 1 if one is not, and 3 if one can't be
    reached.
    """
    addresses = [parse_address(url) for url in urls] or [local_address()]
    reports = _look_at_all(addresses, timeout, ca)
    for report in reports:
        if as_json:
            write_json(report.as_json())
        elif report.trouble is None:
            write_line(_sentence(report))
        if not as_json and report.trouble is not None:
            say_error(report.trouble)
    return max(report.code(by_ready=by_ready) for report in reports)


def _look_at_all(addresses: list[Address], timeout: float, ca: str | None) -> list[Report]:
    if len(addresses) == 1:
        return [look(addresses[0], timeout=timeout, ca=ca)]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(len(addresses), 32)) as threads:
        return list(threads.map(lambda address: look(address, timeout=timeout, ca=ca), addresses))


def _sentence(report: Report) -> str:
    """A server in one line."""
    figures = report.figures
    parts = [f"{report.url}: {report.state}", _counted(figures.get("connections", 0), "connection")]
    if figures.get("draining"):
        parts.append(f"{figures.get('draining_clients', 0)} still to leave")
    if figures.get("cluster_connected") or figures.get("cluster_peer_count"):
        parts.append(_counted(figures.get("cluster_peer_count", 0), "peer"))
    if figures.get("recovery_enabled"):
        parts.append(f"{figures.get('recovery_total_bytes', 0):,} bytes to recover from")
    parts.append(f"up {_duration(float(figures['uptime_secs']))}")
    return ", ".join(parts)


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
