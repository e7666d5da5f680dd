"""What connections cost while nothing happens: memory, memory after a burst, and CPU."""

from __future__ import annotations

import time
from contextlib import ExitStack

from wsebench.bench import Bench, describe, wait_for_count
from wsebench.compressing import DEFLATE_OFFER
from wsebench.model import Measure, Sample
from wsebench.proc import MIB
from wsebench.process import DiedError, Load, Server, pairs
from wsebench.sides import Side

FEW, MANY = 1000, 9000
SETTLE_S = 2.0

BURST_CLIENTS = 1000
BURST_BYTES = 200_000  # per client, 200 MB to all
RETURN_S = 10.0
DELIVERY_LIMIT_S = 30.0
# Small receive buffers keep the burst on the server's side of the connection.
CLIENT_BUFFER = 4096

IDLE_CLIENTS = 10_000


def idle_memory(bench: Bench, side: Side) -> Sample:
    """The slope of resident memory from 1,000 to 9,000 users, each with an own token and one subscription."""
    return _idle_memory(bench, side, "")


def idle_memory_with_deflate(bench: Bench, side: Side) -> Sample:
    """The same slope for clients that agreed on permessage-deflate, and how much more it is than without."""
    plain = _idle_memory(bench, side, "")
    sample = _idle_memory(bench, side, DEFLATE_OFFER)
    sample.figures["more"] = sample.figures["per_client"] - plain.figures["per_client"]
    return sample


def _idle_memory(bench: Bench, side: Side, header: str) -> Sample:
    forever, settings = 600.0, {"ready": 1.0}
    with bench.serve(side, "idle", jwt=True, subscribe=True) as server, ExitStack() as loads:
        loads.enter_context(
            bench.clients(server, "idle", FEW, forever, header=header, first_user=0, settings=settings)
        )
        few = _resident_with(server, FEW)
        loads.enter_context(
            bench.clients(
                server, "idle", MANY - FEW, forever, header=header, first_user=FEW, settings=settings
            )
        )
        many = _resident_with(server, MANY)
    return Sample({"per_client": (many - few) * MIB / (MANY - FEW), "few_mb": few, "many_mb": many})


def _resident_with(server: Server, subscribers: int) -> float:
    wait_for_count(server, "subscribers", subscribers)
    time.sleep(SETTLE_S)
    connected = server.ask(do="stats")["connections"]
    if connected != subscribers:
        raise DiedError(f"{connected} connections where {subscribers} should be")
    return server.resident_mb()


def burst(kind: str, messages: int) -> Measure:
    """200 MB for 1,000 clients that do not read at first; how much is still there ten seconds after they did.

    `publish` sends all of them the same through a topic, `send` each one messages of its own.
    """

    def measure(bench: Bench, side: Side) -> Sample:
        settings = {"rcvbuf": CLIENT_BUFFER, "expect": messages}
        with (
            bench.serve(side, "idle", subscribe=True) as server,
            bench.clients(server, "burst", BURST_CLIENTS, DELIVERY_LIMIT_S, settings=settings) as (load, _),
        ):
            return _burst(server, load, kind, messages)

    return measure


def _burst(server: Server, load: Load, kind: str, messages: int) -> Sample:
    wait_for_count(server, "subscribers", BURST_CLIENTS)
    _expect(load.line(30), "stalled")
    idle = server.resident_mb()
    server.ask(60, do="burst", kind=kind, messages=messages, size=BURST_BYTES // messages)
    time.sleep(0.5)
    sample = Sample({"held_mb": server.resident_mb() - idle})
    load.begin_to_read()
    said = load.line(DELIVERY_LIMIT_S + 30)
    if not said.startswith("delivered"):
        least = pairs(said).get("min_frames", 0)
        sample.problems.append(f"a client got only {least:.0f} of {messages} messages")
        return describe(pairs(said), sample)
    time.sleep(RETURN_S)
    server.check()
    sample.figures["left_mb"] = server.resident_mb() - idle
    sample.figures["peak_mb"] = server.peak_mb() - idle
    return sample


def _expect(line: str, word: str) -> None:
    if line != word:
        raise DiedError(f"wsload said {line!r} instead of {word!r}")


def idle_cpu(bench: Bench, side: Side) -> Sample:
    """The CPU that 10,000 silent clients with default pings cost, over three ping intervals."""
    with bench.serve(side, "idle") as server:
        seconds, settings = bench.idle_seconds, {"settle": 5.0}
        with bench.clients(server, "idle", IDLE_CLIENTS, seconds, settings=settings) as (load, first):
            result = first | pairs(load.line(bench.idle_seconds + 60))
        server.check()
    # A ping is a control frame, or, from the earlier release, a message.
    figures = {
        "cpu_percent": result["srv_cpu"] * 100,
        "pings": (result["ctrl"] + result["frames"]) / IDLE_CLIENTS,
    }
    sample = describe(result, Sample(figures))
    if bench.idle_seconds > 2 * 25 and not figures["pings"]:
        sample.problems.append("no client was ever pinged")
    return sample
