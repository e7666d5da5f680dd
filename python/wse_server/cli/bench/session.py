"""A load, watched: clients connect, work for a while, and what they saw becomes figures."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Literal, Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn

from wse_server import __version__
from wse_server._native import LoadRun
from wse_server.cli.bench.settings import Settings
from wse_server.cli.bench.target import Target, sources
from wse_server.cli.errors import CliError, ExitCode
from wse_server.cli.output import err

__all__ = ["SAMPLE_S", "Load", "Progressing", "all_ended", "progressing", "reasons", "subscribe"]

SAMPLE_S = 0.25
"""How often the counts are looked at while something is measured."""

_REFUSALS = ("AUTH_", "NOT_ALLOWED", "SUBSCRIPTION_", "HTTP 401", "HTTP 403")
_UNREACHABLE = ("refused", "no connection in time", "reset", "no HTTP", "HTTP 404", "HTTP 426")

Tally = dict[str, Any]


def subscribe(topic: str = "bench/$topic") -> str:
    """The command by which a client subscribes."""
    return f'{{"t":"subscription_update","p":{{"action":"subscribe","topics":["{topic}"]}},"cid":"bench"}}'


class Progressing:
    """A bar on a terminal, and nothing elsewhere."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None

    def begin(self, what: str, total: float) -> None:
        """Another thing is being done."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(what, total=total, told="")

    def show(self, done: float, told: str) -> None:
        """So much of it is done."""
        if self._task is not None:
            self._progress.update(self._task, completed=done, told=told)


@contextlib.contextmanager
def progressing() -> Iterator[Progressing]:
    """Shows how far things are, on stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(30), TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=err(), transient=True, disable=not err().is_terminal) as progress:
        yield Progressing(progress)


class Load:
    """Clients of one server; they end with the context.

    Args:
        settings: What is asked for.
        target: The server.
        bar: Shows how far it is.
    """

    def __init__(self, settings: Settings, target: Target, bar: Progressing) -> None:
        self._settings = settings
        self._target = target
        self._bar = bar
        address = target.address
        self._run = LoadRun(
            target.ip,
            address.port,
            f"GET {address.socket_path} HTTP/1.1\r\nHost: {address.authority}\r\n"
            f"User-Agent: wse-bench/{__version__}\r\n",
            tokens=list(settings.tokens),
            sources=sources(target, settings),
            concurrency=settings.concurrency,
            connect_timeout=settings.connect_timeout,
            # It would end with this process anyway; this is for one that hangs.
            limit=settings.connect_timeout * 10 + settings.seconds * 4 + 3600,
        )
        self._clients = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._run.stop()

    def add(
        self,
        role: Literal["hold", "echo", "send", "post"],
        clients: int,
        *,
        threads: int = 1,
        hello: str = "",
        ready: str = "",
        message: str = "",
        rate: float = 0.0,
        topics: int = 0,
        request: str = "",
    ) -> None:
        """Adds clients that are alike."""
        if not hello and self._settings.tokens and role != "post":
            # A token is looked at after the upgrade; an answer to anything says that it was good.
            hello, ready = '{"t":"ping","p":{"timestamp":0}}', '"t":"PONG"'
        self._run.add(
            role,
            clients,
            threads=threads,
            hello=hello,
            ready=ready,
            message=message,
            rate=rate,
            topics=topics,
            request=request,
        )
        self._clients += clients

    def connect(self) -> Tally:
        """Connects all of them and returns what came of it.

        Raises:
            CliError: Nobody got in.
        """
        self._bar.begin("connecting", self._clients)
        self._run.start()
        while self._run.wait(0.1) == "connecting":
            tally = self._run.tally()
            self._bar.show(
                tally["ready"] + sum(tally["failed"].values()), f"{tally['ready']:,} of {self._clients:,}"
            )
        tally = self._run.tally()
        if not tally["ready"]:
            raise _nobody(tally["failed"], self._target)
        return tally

    def begin(self) -> None:
        """Those that send begin."""
        self._run.begin()

    def reset(self) -> None:
        """What is measured begins to count anew."""
        self._run.reset()

    def rest(self) -> Tally:
        """Those that send stop. Waits until nothing comes any more, and returns what was seen."""
        self._run.rest()
        deadline = time.monotonic() + 2
        before = self._run.tally()
        while time.monotonic() < deadline:
            self._run.wait(0.1)
            after = self._run.tally()
            if after["received"] == before["received"]:
                break
            before = after
        return self._run.tally()

    def tally(self) -> Tally:
        """What was seen until now."""
        return self._run.tally()

    def watch(
        self, what: str, seconds: float, unit: str, count: str
    ) -> tuple[Tally, Tally, list[list[float]]]:
        """Lets it go on for a while.

        Args:
            what: What it does, for the bar.
            seconds: How long.
            unit: What is counted, for the bar.
            count: Which count grows.

        Returns:
            What was seen before and after, and how many there were per second as [[second, rate], ...].

        Raises:
            CliError: All connections have ended.
        """
        self._bar.begin(what, seconds)
        first = last = self._run.tally()
        series: list[list[float]] = []
        while (left := first["now"] + seconds - last["now"]) > 0:
            self._run.wait(min(SAMPLE_S, left))
            now = self._run.tally()
            took = now["now"] - last["now"]
            rate = (now[count] - last[count]) / took if took > 0 else 0.0
            at = now["now"] - first["now"]
            series.append([round(at, 3), round(rate, 1)])
            self._bar.show(at, f"{rate:,.0f} {unit}")
            if not now["open"]:
                raise all_ended([now])
            last = now
        return first, last, series


def all_ended(tallies: list[Tally]) -> CliError:
    """The error of a measurement that has lost its clients."""
    ended: dict[str, int] = {}
    for tally in tallies:
        for reason, count in tally["ended"].items():
            ended[reason] = ended.get(reason, 0) + count
    return CliError(f"all connections have ended: {reasons(ended)}")


def reasons(counted: dict[str, int]) -> str:
    """Counts by reason, the most frequent first."""
    most = sorted(counted.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{reason} ({count:,})" for reason, count in most) or "no reason was given"


def _nobody(failed: dict[str, int], target: Target) -> CliError:
    url = target.address.websocket
    most = max(failed, key=lambda reason: failed[reason], default="")
    if most.startswith(_REFUSALS):
        return CliError(
            f"{url} lets nobody in: {reasons(failed)}",
            hint="a token with --token, or another server; subscribing takes client_subscriptions there",
            code=ExitCode.REFUSED,
        )
    if most.startswith(_UNREACHABLE):
        hint = "is the server started, and is this its port and path?"
        return CliError(f"{url}: {reasons(failed)}", hint=hint, code=ExitCode.UNREACHABLE)
    return CliError(f"{url} lets nobody in: {reasons(failed)}")
