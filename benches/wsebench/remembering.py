"""What history costs: in a flood, when many come back at once, and in memory under many topics."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from wsebench.bench import Bench, describe, wait_for_count
from wsebench.model import Measure, Sample
from wsebench.proc import MIB
from wsebench.process import DiedError, Server, pairs
from wsebench.sides import Side

STAMP_BYTES = (
    42  # of `"tp":"bench","e":"01234567","o":1234567,` and the like: what plain messages are padded with
)
TICK_BYTES = 100

BACK = 1000
MISSED = 100
LIVE, RATE = 100, 100
BACK_LIMIT_S = 30.0

TOPICS = 100_000
BUDGET = 64 << 20


def flood(subscribers: int) -> Measure:
    """A flood with history on; each client checks that nothing is missing or doubled."""

    def measure(bench: Bench, side: Side) -> Sample:
        with bench.serve(side, "flood", clients=subscribers, more=["--recovery"]) as server:
            result = bench.run(server, "fanout", subscribers, check_seq=True)
        return describe(result, Sample({"rate": result["frames_per_s"]}))

    return measure


def flood_against_plain(subscribers: int) -> Measure:
    """The same, between two without history whose messages are as long as stamped ones; their mean counts."""

    def once(bench: Bench, side: Side, more: list[str]) -> dict[str, float]:
        with bench.serve(side, "flood", clients=subscribers, more=more) as server:
            return bench.run(server, "fanout", subscribers)

    def measure(bench: Bench, side: Side) -> Sample:
        padded = ["--size", str(TICK_BYTES + STAMP_BYTES)]
        stamped = ["--recovery", "--size", str(TICK_BYTES)]
        before, kept, after = (once(bench, side, more) for more in (padded, stamped, padded))
        plain = (before["frames_per_s"] + after["frames_per_s"]) / 2

        def size(result: dict[str, float]) -> float:
            return result["MB_per_s"] * 1e6 / result["frames_per_s"]

        figures = {"ratio": kept["frames_per_s"] / plain, "rate": kept["frames_per_s"], "plain": plain}
        return describe(kept, Sample(figures | {"size": size(kept), "plain_size": size(before)}))

    return measure


def come_back(bench: Bench, side: Side) -> Sample:
    """1,000 clients that missed 100 messages each come at once, beside a steady stream to 100 others."""
    with bench.serve(side, "paced", clients=LIVE, rate=RATE, more=["--recovery"]) as server:
        server.ask(do="remember", messages=MISSED)
        quiet = bench.run(server, "latency", LIVE, check_seq=True)
    with bench.serve(side, "paced", clients=LIVE, rate=RATE, more=["--recovery"]) as server:
        server.ask(do="remember", messages=MISSED)
        with (
            ThreadPoolExecutor(1) as pool,
            bench.clients(server, "latency", LIVE, bench.seconds, settings={"seq": 1.0}) as (load, first),
        ):
            back = pool.submit(_all_come_back, bench, server)
            result = first | pairs(load.line(bench.seconds + 30))
            took_s = back.result()
    if "p99_ms" not in result:
        raise DiedError("it delivered nothing")
    figures = {
        "recovered_ms": took_s * 1000,
        "ratio": result["p99_ms"] / quiet["p99_ms"],
        "p99_ms": result["p99_ms"],
        "quiet_p99_ms": quiet["p99_ms"],
    }
    return describe(result, Sample(figures))


def _all_come_back(bench: Bench, server: Server) -> float:
    """Seconds from the first connect until each client has all that it missed."""
    # In the middle of the stream.
    time.sleep(bench.seconds / 3)
    settings = {"expect": float(MISSED), "window": 256.0}
    clients = bench.clients(
        server, "recover", BACK, BACK_LIMIT_S, header="Cookie: back=again", settings=settings
    )
    with clients as (load, _):
        said = load.line(BACK_LIMIT_S + 10)
    if not said.startswith("delivered"):
        raise DiedError(f"not all came back: {said}")
    return pairs(said)["after_s"]


def memory(bench: Bench, side: Side) -> Sample:
    """Resident memory after more messages in 100,000 topics than the budget of 64 MiB holds."""
    with bench.serve(side, "idle", more=["--recovery", "--budget", str(BUDGET)]) as server:
        wait_for_count(server, "published", 0)
        before = server.resident_mb()
        topics = server.ask(120, do="remember_topics", topics=TOPICS)["topics"]
        time.sleep(1)
        growth = server.resident_mb() - before
    return Sample({"ratio": growth * MIB / BUDGET, "growth_mb": growth, "topics": topics})
