"""Publishing to a topic while thousands come to another one and go again, each told to all who are there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from wsebench.bench import Bench, describe, wait_for_count
from wsebench.model import Measure, Sample
from wsebench.process import DiedError, Load, Server, pairs
from wsebench.sides import Side

CONNECT_LIMIT_S = 60.0
# Ten thousand sockets with the usual megabytes each use up what the kernel has for TCP (tcp_mem), after which
# it drops packets of everybody. With little of it what the crowd has not read waits in the server.
RECEIVE_BUFFER = 16 * 1024
FOREVER_S = 600.0  # the crowd is stopped when the measurement is over


def storm(subscribers: int, rate: float, *, members: int) -> Measure:
    """The p99 of a steady stream while so many come and go elsewhere, and while they only sit there."""

    def measure(bench: Bench, side: Side) -> Sample:
        with (
            bench.serve(side, "paced", clients=subscribers, rate=rate, more=["--presence"]) as server,
            _crowd(bench, server, members) as crowd,
        ):
            wait_for_count(server, "connects", members)
            quiet = _latency(bench, server, subscribers, crowd)
        with (
            bench.serve(side, "paced", clients=subscribers, rate=rate, more=["--presence"]) as server,
            _crowd(bench, server, members) as crowd,
        ):
            wait_for_count(server, "connects", members)
            before = server.ask(do="sends")
            server.ask(do="storm")
            result = _latency(bench, server, subscribers, crowd)
            joins = server.ask(do="stats")["joins"]
            after = server.ask(do="sends")
            peak_mb = server.peak_mb()
        sample = Sample(
            {
                "p99_ms": result["p99_ms"],
                "quiet_p99_ms": quiet["p99_ms"],
                "ratio": result["p99_ms"] / quiet["p99_ms"],
                "joins": joins,
                "gathered": (after["messages"] - before["messages"]) / (after["writes"] - before["writes"]),
                "peak_mb": peak_mb,
            }
        )
        wanted = subscribers * rate
        if result["frames_per_s"] < 0.98 * wanted:
            sample.problems.append(f"only {result['frames_per_s'] / wanted:.0%} of the stream was delivered")
        return describe(result, sample)

    return measure


@contextmanager
def _crowd(bench: Bench, server: Server, members: int) -> Iterator[Load]:
    """The members, connected, in a process that gives way to whoever measures."""
    command = [
        str(bench.wsload), "idle", "127.0.0.1", str(server.port), "/wse", str(members), f"{FOREVER_S:g}",
        "Cookie: member=1", "",
    ]  # fmt: skip
    environment = {
        "WSLOAD_CONNECT_LIMIT": f"{CONNECT_LIMIT_S:g}",
        "WSLOAD_WINDOW": "64",
        "WSLOAD_RCVBUF": str(RECEIVE_BUFFER),
    }
    with Load(command, environment) as crowd:
        connected = pairs(crowd.line(CONNECT_LIMIT_S + 30))["connected"]
        if connected < members:
            raise DiedError(f"only {connected:.0f} of {members} members could connect")
        os.sched_setscheduler(crowd.pid, os.SCHED_IDLE, os.sched_param(0))
        yield crowd


def _latency(bench: Bench, server: Server, subscribers: int, crowd: Load) -> dict[str, float]:
    # The crowd fills the clients' core, most of it in the kernel, which no priority changes: what the
    # subscribers wait for that core is not the server's doing.
    result = bench.run(server, "latency", subscribers, check_seq=True, arrival=True, beside=crowd.pid)
    if "p99_ms" not in result:
        raise DiedError("it delivered nothing")
    return result
