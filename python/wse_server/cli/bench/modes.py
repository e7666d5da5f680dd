"""What is measured, a function for each mode."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from wse_server.cli.bench import machine
from wse_server.cli.bench.result import Result
from wse_server.cli.bench.session import SAMPLE_S, Load, Progressing, all_ended, reasons, subscribe
from wse_server.cli.bench.settings import Mode, Settings
from wse_server.cli.bench.target import Target
from wse_server.cli.errors import CliError, ExitCode

__all__ = ["measure"]

WARM_UP_S = 0.5
SUBSCRIBED = '"failed_topics":[]'
"""In the answer to a subscription that is whole."""


def measure(settings: Settings, target: Target, bar: Progressing) -> Result:
    """Does what was asked for.

    Raises:
        CliError: It can't be measured.
    """
    return _MODES[settings.mode](Result(settings, target), bar)


class _Clock:
    """CPU time of the server and of this process, from its making on."""

    def __init__(self, pid: int | None) -> None:
        self._pid = pid
        self._server = None if pid is None else machine.cpu_seconds(pid)
        self._own = time.process_time()
        self._at = time.monotonic()

    def note(self, result: Result, per: str | None = None, count: float = 0.0) -> None:
        """Puts into the result how many cores were used, and what one of many things took of the server's."""
        took = time.monotonic() - self._at
        now = None if self._pid is None else machine.cpu_seconds(self._pid)
        if now is not None and self._server is not None:
            result.figures["server_cores"] = round((now - self._server) / took, 3)
            if per and count:
                result.figures[f"server_cpu_per_{per}_us"] = round((now - self._server) / count * 1e6, 3)
        own = (time.process_time() - self._own) / took
        result.figures["generator_cores"] = round(own, 3)
        threads = result.settings.threads
        if own > 0.9 * threads:
            result.notes.append(
                "the load generator was at its limit, the server may do more: --threads gives it more cores"
            )


def _hello(settings: Settings) -> dict[str, Any]:
    if not settings.topics:
        return {}
    return {"hello": subscribe(), "ready": SUBSCRIBED, "topics": settings.topics}


def _note_failures(result: Result, tally: dict[str, Any]) -> None:
    failed, ended = tally["failed"], tally["ended"]
    if failed:
        count = sum(failed.values())
        result.problems.append(f"{count:,} of {tally['begun']:,} connections failed: {reasons(failed)}")
    if ended:
        result.problems.append(f"{sum(ended.values()):,} connections ended meanwhile: {reasons(ended)}")


def _connect(result: Result, bar: Progressing) -> Result:
    """A storm: so many connects as fast as the server answers, so many at a time."""
    settings, target = result.settings, result.target
    with Load(settings, target, bar) as load:
        load.add("hold", settings.clients, threads=settings.threads, **_hello(settings))
        clock = _Clock(target.pid)
        tally = load.connect()
        result.figures["connected"] = tally["ready"]
        result.figures["took_s"] = round(tally["connect_s"], 4)
        result.figures["connects_per_s"] = round(tally["ready"] / max(tally["connect_s"], 1e-9), 1)
        result.add_durations("handshake", tally["connecting"])
        clock.note(result, "connect", tally["ready"])
        if settings.seconds:
            load.watch("holding", settings.seconds, "messages/s", "received")
        _note_failures(result, load.tally())
    return result


def _idle(result: Result, bar: Progressing) -> Result:
    """Connections that do nothing: what each takes, from a tenth of them to all."""
    settings, target = result.settings, result.target
    pid = target.pid
    if pid is None and target.local:
        result.notes.append("the server's process is not known, so nothing is said of its memory: --pid")
    few = max(settings.clients // 10, 1)
    with Load(settings, target, bar) as first, Load(settings, target, bar) as rest:
        first.add("hold", few, threads=settings.threads, **_hello(settings))
        first.connect()
        before = _memory(pid, target)
        rest.add("hold", settings.clients - few, threads=settings.threads, **_hello(settings))
        tally = rest.connect()
        after = _memory(pid, target)
        more = tally["ready"]
        result.figures["connected"] = first.tally()["open"] + more
        if before[0] is not None and after[0] is not None:
            result.figures["server_rss_bytes"] = after[0]
            result.figures["user_bytes_per_client"] = round((after[0] - before[0]) / more, 1)
        if before[1] is not None and after[1] is not None:
            result.figures["kernel_bytes_per_client"] = round((after[1] - before[1]) / more, 1)
        clock = _Clock(pid)
        result.series = _hold(settings.seconds, pid, (first, rest), bar)
        result.series_of = "resident memory of the server, MB"
        clock.note(result)
        for load in (first, rest):
            _note_failures(result, load.tally())
    return result


def _hold(seconds: float, pid: int | None, loads: tuple[Load, Load], bar: Progressing) -> list[list[float]]:
    """Lets them be there for a while, and returns what the server's memory is meanwhile, in MB."""
    bar.begin("holding", seconds)
    series: list[list[float]] = []
    start = time.monotonic()
    while (at := time.monotonic() - start) < seconds:
        rss = None if pid is None else machine.resident_bytes(pid)
        if rss is not None:
            series.append([round(at, 3), rss / 1e6])
        bar.show(at, "" if rss is None else f"{rss / 1e6:,.1f} MB")
        time.sleep(min(SAMPLE_S, seconds - at))
        tallies = [load.tally() for load in loads]
        if not any(tally["open"] for tally in tallies):
            raise all_ended(tallies)
    return series


def _memory(pid: int | None, target: Target) -> tuple[int | None, int | None]:
    """Memory of the server, and of its sockets in the kernel, once the first does not move any more."""
    last = None
    for _ in range(20):
        time.sleep(0.1)
        now = None if pid is None else machine.resident_bytes(pid)
        if now == last:
            break
        last = now
    return now, machine.kernel_socket_bytes(target.address.port) if target.local else None


def _echo(result: Result, bar: Progressing) -> Result:
    """Round trips: each client has one message under way, and sends the next when it came back."""
    settings = result.settings
    with Load(settings, result.target, bar) as load:
        load.add("echo", settings.clients, threads=settings.threads, message=_message(settings.size))
        load.connect()
        load.begin()
        load.watch("warming up", WARM_UP_S, "round trips/s", "received")
        if not load.tally()["received"]:
            raise CliError(
                f"{result.target.address.websocket} gives back nothing of what it is sent",
                hint="echo needs a handler for messages of type 'bench' that returns their payload",
            )
        load.reset()
        clock = _Clock(result.target.pid)
        before, after, result.series = load.watch("measuring", settings.seconds, "round trips/s", "received")
        count = after["received"] - before["received"]
        clock.note(result, "round_trip", count)
        result.series_of = "round trips per second"
        result.figures["round_trips"] = count
        result.figures["round_trips_per_s"] = round(count / (after["now"] - before["now"]), 1)
        result.add_durations("round_trip", after["latency"])
        _note_messages(result, load.rest())
    return result


def _fanout(result: Result, bar: Progressing) -> Result:
    """One publisher, many subscribers: how much the server delivers."""
    return _publish(result, bar, timed=result.settings.rate > 0)


def _latency(result: Result, bar: Progressing) -> Result:
    """Messages at a steady rate, timed from the moment at which each was meant to go."""
    if not result.settings.rate:
        raise CliError("latency is measured at a rate: --rate 100", code=ExitCode.USAGE)
    return _publish(result, bar, timed=True)


def _publish(result: Result, bar: Progressing, *, timed: bool) -> Result:
    settings = result.settings
    with Load(settings, result.target, bar) as load:
        load.add("hold", settings.clients, threads=settings.threads, **_hello(settings))
        _add_publisher(load, settings, result.target)
        load.connect()
        load.begin()
        load.watch("warming up", WARM_UP_S, "deliveries/s", "received")
        warm = load.tally()
        if not warm["received"] and warm["refused"]:
            raise _not_published(warm["refused"])
        load.reset()
        clock = _Clock(result.target.pid)
        before, after, result.series = load.watch("measuring", settings.seconds, "deliveries/s", "received")
        took, count = after["now"] - before["now"], after["received"] - before["received"]
        clock.note(result, "delivery", count)
        result.series_of = "deliveries per second"
        result.figures["published_per_s"] = round((after["sent"] - before["sent"]) / took, 1)
        result.figures["deliveries"] = count
        result.figures["deliveries_per_s"] = round(count / took, 1)
        result.figures["delivered_mb_per_s"] = round(
            (after["received_bytes"] - before["received_bytes"]) / took / 1e6, 3
        )
        if timed:
            result.add_durations("latency", after["latency"])
            result.add_durations("publisher_late", after["late"])
        _note_messages(result, load.rest())
    return result


def _add_publisher(load: Load, settings: Settings, target: Target) -> None:
    data = _message(settings.size)
    if settings.api_key:
        address = target.address
        load.add(
            "post",
            1,
            message=f'{{"topic":"bench/$topic","data":{data}}}',
            rate=settings.rate,
            topics=settings.topics,
            request=f"POST {address.prefix}/api/publish HTTP/1.1\r\nHost: {address.authority}\r\n"
            f"Authorization: Bearer {settings.api_key}\r\nContent-Type: application/json\r\n",
        )
        return
    load.add(
        "send",
        1,
        message=f'{{"t":"publish","p":{{"topic":"bench/$topic","data":{data}}}}}',
        rate=settings.rate,
        topics=settings.topics,
    )


def _message(size: int) -> str:
    """A message of about so many bytes, as subscribers get it."""
    text = '{"t":"bench","p":{"at":$at,"n":$n,"pad":%s}}'
    # Numbers grow: about eleven digits for the time in nanoseconds, five for the count.
    bare = len(text) - len("$at$n%s") + 16 + 2
    return text % json.dumps("x" * max(size - bare, 0))


def _note_messages(result: Result, tally: dict[str, Any]) -> None:
    _note_failures(result, tally)
    for count, what in ((tally["lost"], "never came"), (tally["doubled"], "came twice or out of order")):
        if count:
            result.problems.append(f"{count:,} messages {what}")
    if tally["refused"]:
        result.problems.append(f"refused: {reasons(tally['refused'])}")


def _not_published(refused: dict[str, int]) -> CliError:
    return CliError(
        f"the server takes no publications: {reasons(refused)}",
        hint="--api-key publishes over HTTP; clients publish where client_publish is on",
        code=ExitCode.REFUSED,
    )


_MODES: dict[Mode, Callable[[Result, Progressing], Result]] = {
    "connect": _connect,
    "idle": _idle,
    "echo": _echo,
    "fanout": _fanout,
    "latency": _latency,
}
