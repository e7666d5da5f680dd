"""How each row is measured."""

from __future__ import annotations

import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path

from pybench.sides import last_argument, serve
from wsebench import proc
from wsebench.bench import Bench, describe
from wsebench.model import Measure, Sample
from wsebench.process import CLIENT_CPU, SERVER_CPU, Child, DiedError, Load, pairs
from wsebench.sides import BUILD, Side

ROOMS, MEMBERS = 10, 10
WARM_UP_S = 1.0
WAKES = 3000
PING_PONG_BYTES = 60
HANG_S = 30.0


def chat(window: int) -> Measure:
    """Rooms of clients that each have so many messages in flight."""

    def measure(bench: Bench, side: Side) -> Sample:
        with serve(side, "chat") as server:
            shape = [str(number) for number in (ROOMS, MEMBERS, window, WARM_UP_S, bench.seconds)]
            command = [str(BUILD / "chat"), str(server.port), "/wse", *shape]
            with Load(command, {"WSLOAD_SRVPID": str(server.pid)}) as load:
                load.line(HANG_S)
                result = pairs(load.line(bench.seconds + HANG_S))
            server.check()
        if not result["messages"]:
            raise DiedError("nobody was answered")
        sample = Sample(
            {
                "per_core": result["messages"] / result["srv_cpu_s"],
                "rate": result["messages_per_s"],
                "deliveries": result["deliveries_per_s"],
                "p50_ms": result["p50_ms"],
                "p99_ms": result["p99_ms"],
                "memory_mb": result["rss1_kb"] / 1024,
            }
        )
        for key, what in (("missing", "were not delivered"), ("others", "were none of the room's")):
            if result[key]:
                sample.problems.append(f"{result[key]:.0f} messages {what}")
        return describe(result, sample)

    return measure


def publish(work: str, subscribers: int) -> Measure:
    """One task that publishes without pause. A subscriber sees that nothing is missing."""

    def measure(bench: Bench, side: Side) -> Sample:
        with serve(side, work, str(subscribers), str(bench.seconds)) as server:
            listening = (
                bench.clients(server, "fanout", 1, bench.seconds + 1, settings={"seq": 1, "settle": 0.2})
                if subscribers
                else nullcontext()
            )
            heard: dict[str, float] = {}
            with listening as client:
                result = json.loads(server.line(bench.seconds + HANG_S))
                if client is not None:
                    heard = pairs(client[0].line(bench.seconds + HANG_S))
        sample = Sample({"rate": result["rate"], "cpu_us": result["cpu_us"]})
        if subscribers and not heard["frames"]:
            sample.problems.append("nothing was heard")
        return describe(heard, sample) if heard else sample

    return measure


def wake(bench: Bench, side: Side) -> Sample:
    """From a message in the socket, and from its client's wish to send it, to the start of its handler."""
    if side.name == "tcp":
        return _ping_pong(bench)
    with serve(side, "wake") as server, _python("pybench.waker", server.port, WAKES, cpu=CLIENT_CPU):
        result = json.loads(server.line(WAKES * 0.002 + HANG_S))
    sample = Sample({name: result[name] for name in ("socket_p50_us", "p50_us", "p99_us")})
    if result["count"] < WAKES * 0.9:
        sample.problems.append(f"only {result['count']} of {WAKES} messages were handled")
    return sample


def _ping_pong(_: Bench) -> Sample:
    """What the kernel takes for a message of the same size between two sleeping processes in C."""
    command = [str(BUILD / "pingpong"), str(PING_PONG_BYTES), str(WAKES), "1000"]
    with Child(command, SERVER_CPU) as child:
        result = pairs(child.line(WAKES * 0.002 + HANG_S))
    return Sample({"p50_us": result["p50_us"], "p99_us": result["p99_us"]})


def client(bench: Bench, side: Side) -> Sample:
    """One Python process that reads a topic with history as fast as it can."""
    port = proc.free_port()
    with (
        _python("pybench.feed", port, cpu=SERVER_CPU) as feed,
        _python(
            "pybench.reader", port, last_argument(side), bench.seconds, cpu=CLIENT_CPU, after=feed
        ) as reader,
    ):
        result = json.loads(reader.line(bench.seconds + HANG_S))
    return Sample({"per_core": result["per_cpu_s"], "rate": result["rate"]})


def _python(module: str, *arguments: object, cpu: int, after: Child | None = None) -> Child:
    """A program of this package on one core, once another one has said that it is ready."""
    if after is not None:
        after.line(HANG_S)
    return Child([sys.executable, "-P", "-m", module, *map(str, arguments)], cpu)


def idle(bench: Bench, side: Side) -> Sample:
    """How often an idle server wakes, all its threads, and what it holds."""
    with serve(side, "idle") as server:
        time.sleep(2.5)
        before, cpu = _switches(server.pid), proc.cpu_seconds(server.pid)
        time.sleep(bench.idle_seconds)
        after = _switches(server.pid)
        used = proc.cpu_seconds(server.pid) - cpu
        memory = server.resident_mb()
    wakes = [after.get(thread, count) - count for thread, count in before.items()]
    return Sample(
        {
            "loop_wakes": wakes[0] / bench.idle_seconds,
            "wakes": sum(wakes) / bench.idle_seconds,
            "cpu_percent": used / bench.idle_seconds * 100,
            "memory_mb": memory,
        }
    )


def _switches(pid: int) -> dict[str, int]:
    """How often each thread has gone to sleep; the first one, which is the loop's, comes first."""
    threads = sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda path: int(path.name))
    found = {}
    for thread in threads:
        for line in (thread / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                found[thread.name] = int(line.split()[1])
    return found
