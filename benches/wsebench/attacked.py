"""Publishing to well-behaved clients while others do what they can to disturb."""

from __future__ import annotations

import os
import time

from wsebench import proc
from wsebench.bench import Bench, describe
from wsebench.model import Measure, Sample
from wsebench.process import DiedError, Load, Server, pairs
from wsebench.sides import BUILD, Side

KINDS = 5  # of attackers, as many of each; one kind subscribes
CONNECT_LIMIT_S = 30.0
FOREVER_S = 600.0  # the attackers are stopped when the measurement is over


def paced(subscribers: int, rate: float, *, attackers: int) -> Measure:
    """The p99 of a steady stream beside attackers, and of the same without them."""

    def measure(bench: Bench, side: Side) -> Sample:
        with bench.serve(side, "paced", clients=subscribers, rate=rate) as server:
            quiet = _latency(bench, server, subscribers)
        expected = subscribers + attackers // KINDS
        with (
            bench.serve(side, "paced", clients=expected, rate=rate) as server,
            _attack(server, attackers) as crowd,
        ):
            _wait_for_the_crowd(crowd, attackers)
            cpu, started = proc.cpu_seconds(crowd.pid), time.monotonic()
            result = _latency(bench, server, subscribers, beside=crowd.pid)
            spent = (proc.cpu_seconds(crowd.pid) - cpu) / (time.monotonic() - started)
        sample = Sample(
            {
                "p99_ms": result["p99_ms"],
                "quiet_p99_ms": quiet["p99_ms"],
                "ratio": result["p99_ms"] / quiet["p99_ms"],
                "hostile_cpu": spent * 100,
            }
        )
        wanted = subscribers * rate
        if result["frames_per_s"] < 0.98 * wanted:
            sample.problems.append(f"only {result['frames_per_s'] / wanted:.0%} of the stream was delivered")
        return describe(result, sample)

    return measure


def _attack(server: Server, attackers: int) -> Load:
    command = [
        str(BUILD / "hostile"),
        "127.0.0.1",
        str(server.port),
        "/wse",
        str(attackers),
        f"{FOREVER_S:g}",
    ]
    return Load(command, {})


def _wait_for_the_crowd(crowd: Load, attackers: int) -> None:
    connected = pairs(crowd.line(CONNECT_LIMIT_S))["connected"]
    if connected < attackers:
        raise DiedError(f"only {connected:.0f} of {attackers} attackers could connect")
    # On the core that they share, whoever measures goes first.
    os.sched_setscheduler(crowd.pid, os.SCHED_IDLE, os.sched_param(0))


def _latency(bench: Bench, server: Server, subscribers: int, beside: int | None = None) -> dict[str, float]:
    result = bench.run(server, "latency", subscribers, check_seq=True, beside=beside)
    if "p99_ms" not in result:
        raise DiedError("it delivered nothing")
    return result
