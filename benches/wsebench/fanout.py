"""Publishing to many: floods, which ask how much, and paced streams, which ask how soon and at what cost."""

from __future__ import annotations

from wsebench.bench import Bench, describe
from wsebench.model import Measure, Sample
from wsebench.proc import MIB
from wsebench.process import DiedError
from wsebench.sides import Side


def flood(subscribers: int) -> Measure:
    """One message a call, as fast as Python can; every client checks that none is missing or doubled."""

    def measure(bench: Bench, side: Side) -> Sample:
        with bench.serve(side, "flood", clients=subscribers) as server:
            before = server.resident_mb()
            result = bench.run(server, "fanout", subscribers, check_seq=True)
        return describe(result, _rate_and_memory(result, before))

    return measure


def flood_many(subscribers: int) -> Measure:
    """Ready strings in batches. They repeat, so that only their number can be checked."""

    def measure(bench: Bench, side: Side) -> Sample:
        with bench.serve(side, "many", clients=subscribers) as server:
            before = server.resident_mb()
            result = bench.run(server, "fanout", subscribers)
        return describe(result, _rate_and_memory(result, before))

    return measure


def _rate_and_memory(result: dict[str, float], before_mb: float) -> Sample:
    peak = result["peak_kb"] * 1024 / MIB
    sample = Sample({"rate": result["frames_per_s"], "peak_mb": peak, "growth_mb": peak - before_mb})
    if not result["min_frames"]:
        sample.problems.append("at least one client received nothing")
    return sample


def paced(subscribers: int, rate: float) -> Measure:
    """A steady stream: how late each message is, and what the server spends on each delivery."""

    def measure(bench: Bench, side: Side) -> Sample:
        with bench.serve(side, "paced", clients=subscribers, rate=rate) as server:
            result = bench.run(server, "latency", subscribers, check_seq=True)
        if "p50_ms" not in result:
            raise DiedError("it delivered nothing")
        sample = Sample(
            {
                "p50_ms": result["p50_ms"],
                "p99_ms": result["p99_ms"],
                "cpu_us": result["srv_cpu_s"] / result["frames"] * 1e6,
            }
        )
        expected = subscribers * rate
        if result["frames_per_s"] < 0.98 * expected:
            sample.problems.append(
                f"only {result['frames_per_s'] / expected:.0%} of the stream was delivered"
            )
        return describe(result, sample)

    return measure
