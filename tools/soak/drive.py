"""The run: starts the processes, leads them through warm-up, tides and the end, and looks on."""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from soak import crowd, healthy, program, verdict
from soak.pipe import Child
from soak.plan import CROWDS, HEALTHY, Plan
from soak.verdict import Check
from soak.watch import Brake, Outside, Sample

PATIENCE = 60.0
"""Seconds that the server may take to be rid of clients who have left."""

COUNTERS = (
    "connections",
    "topics",
    "inbound_queue_depth",
    "outbound_queued_bytes",
    "messages_received",
    "messages_sent",
    "messages_compressed",
    "bytes_received",
    "bytes_sent",
    "connections_accepted",
    "connections_rejected",
    "auth_failures",
    "rate_limited",
    "slow_consumer_drops",
    "slow_consumer_cuts",
    "accept_pauses",
)


@dataclass
class Outcome:
    """What a run has shown."""

    samples: list[Sample] = field(default_factory=list)
    ebbs: list[Sample] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    start: Sample = field(default_factory=dict)
    end: Sample = field(default_factory=dict)
    tally: dict[str, int] = field(default_factory=dict)
    log_lines: dict[str, int] = field(default_factory=dict)
    trends: dict[str, dict[str, float]] = field(default_factory=dict)


class Run:
    """One run.

    Args:
        plan: What it is made of.
        log_file: Where the engine's lines go.
    """

    def __init__(self, plan: Plan, log_file: Path) -> None:
        self._plan = plan
        self._log_file = log_file
        self._outcome = Outcome()
        self._tick = 0.5 if plan.is_short else 1.0
        self._phase = "warm-up"
        self._children: list[Child] = []
        self._faults: list[str] = []

    def run(self) -> Outcome:
        """Does it all and returns what was seen; ends every process that it started."""
        try:
            self._start()
            self._warm_up()
            self._tides()
            self._end()
        finally:
            statuses = {child.name: child.end() for child in reversed(self._children)}
        self._check(verdict.equal("every process ended by itself", statuses, dict.fromkeys(statuses, 0)))
        return self._outcome

    def _child(self, *args: Any) -> Child:
        child = Child(*args)
        self._children.append(child)
        return child

    def _start(self) -> None:
        plan = self._plan
        self._program = self._child("server", program.main, plan, str(self._log_file))
        port = self._program.ask("start")
        self._healthy = self._child("healthy", healthy.main, plan, port)
        self._crowds = [
            self._child(f"crowd-{number}", crowd.main, plan, number, plan.clients // CROWDS, port)
            for number in range(CROWDS)
        ]
        self._brake = Brake([child.pid for child in self._children], plan.cpu)
        self._began = time.monotonic()

    def _warm_up(self) -> None:
        """Lets everything happen once, so that what is only made once is made, and measures the start."""
        self._arrive()
        self._look_on_until(self._plan.warm_up)
        self._ebb()
        self._leave()
        self._outcome.start = self._settle()
        self._say(f"start: {_describe(self._outcome.start)}")

    def _tides(self) -> None:
        self._arrive()
        while True:
            now = self._now()
            self._phase = "tide"
            self._look_on_until(min(now + self._plan.tide, self._plan.seconds))
            self._phase = "ebb"
            took = self._ebb()
            # Long enough for the allocator to give back what it means to give back.
            self._look_on_until(self._now() + self._plan.tide / 10)
            ebb = self._sample()
            ebb["seconds_to_leave"] = round(took, 2)
            tide = [sample for sample in self._outcome.samples if sample["at"] > now]
            for name in ("resident", "engine"):
                ebb[f"least_{name}"] = min(sample[name] for sample in tide)
            self._outcome.ebbs.append(ebb)
            self._say(f"ebb {len(self._outcome.ebbs)}: {_describe(ebb)}")
            if self._now() >= self._plan.seconds or self._faults:
                return
            self._flow()

    def _arrive(self) -> None:
        self._healthy.ask("arrive")
        self._program.ask("publish")
        self._flow()

    def _flow(self) -> None:
        self._program.ask("resume")
        for child in self._crowds:
            child.ask("flow")

    def _ebb(self) -> float:
        """Sends the crowd away; returns the seconds until the server was rid of it."""
        self._program.ask("rest")
        for child in self._crowds:
            child.ask("ebb")
        return self._wait(lambda sample: sample["connections"] == HEALTHY and sample["people"] == HEALTHY)

    def _leave(self) -> None:
        """Ends publishing, waits until the healthy readers have everything, and sends them home."""
        wanted = self._program.ask("hush")
        # Who has fault to find has ended and gets nothing more.
        deadline = time.monotonic() + (1 if self._faults else PATIENCE)
        while (state := self._healthy.ask("state"))["least"] != wanted and time.monotonic() < deadline:
            time.sleep(0.05)
        self._check(verdict.equal(f"{HEALTHY} healthy readers got all", state["least"], wanted))
        self._check(verdict.empty("healthy readers' faults", state["faults"]))
        self._healthy.ask("leave")

    def _settle(self) -> Sample:
        """Waits until nobody is left, then until descriptors stay as they are, and measures."""
        self._phase = "quiet"
        self._wait(lambda sample: not sample["connections"] and not sample["outbound_queued_bytes"])
        seen: list[Sample] = []
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            time.sleep(self._tick)
            seen.append(self._sample())
            if len({sample["descriptors"] for sample in seen[-5:]}) == 1 and len(seen) >= 5:
                break
        return seen[-1] | {"resident": int(median(sample["resident"] for sample in seen[-5:]))}

    def _end(self) -> None:
        self._leave()
        outcome = self._outcome
        start, end = outcome.start, self._settle()
        outcome.end = end
        self._say(f"end: {_describe(end)}")
        for name in ("connections", "people", "topics", "inbound_queue_depth", "outbound_queued_bytes"):
            self._check(verdict.equal(f"{name.replace('_', ' ')} at the end", end[name], 0))
        for name in ("descriptors", "threads"):
            self._check(verdict.equal(f"{name} as at the start", end[name], start[name]))
        self._check(verdict.memory(start["resident"], end["resident"], self._plan.margin))
        times = [ebb["at"] for ebb in outcome.ebbs]
        for what, name in (("the process", "least_resident"), ("the engine", "least_engine")):
            least = [ebb[name] for ebb in outcome.ebbs]
            growth, trend = verdict.no_growth(what, times, least, self._plan.seconds)
            self._check(growth)
            if trend:
                outcome.trends[name] = asdict(trend)
        self._collect()

    def _collect(self) -> None:
        """Asks everybody what they have to complain of."""
        state = self._program.ask("state", self._brake.pace)
        self._check(verdict.empty("ERROR lines in the log", state["log_errors"]))
        lines = sum(state["log"].values())
        self._check(
            Check("at most a log line a second", lines <= self._now() + 5, f"{lines} in {self._now():.0f} s")
        )
        self._check(verdict.empty("the program's faults", state["faults"]))
        crowds = [child.ask("state", 1.0) for child in self._crowds]
        complaints = [complaint for state in crowds for complaint in state["complaints"]]
        self._check(verdict.empty("the crowd's complaints", complaints))
        tally = sum((Counter(state["tally"]) for state in crowds), Counter[str]())
        # A soak that some kind of client does not reach to the end of shows nothing about it.
        done = (
            "upgraded",
            "deflate",
            "echoes",
            "flood messages",
            "pages",
            "rules broken",
            "strangers sent away",
        )
        wanted = [name for name in done if name != "deflate" or self._plan.compression != "off"]
        self._check(verdict.empty("what nobody came to do", [name for name in wanted if not tally[name]]))
        self._outcome.tally = dict(sorted(tally.items()))
        self._outcome.log_lines = state["log"]

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _look_on_until(self, end: float) -> None:
        while (left := end - self._now()) > 0 and not self._faults:
            time.sleep(min(left, self._tick))
            self._sample()

    def _wait(self, enough: Any) -> float:  # noqa: ANN401 - a function of a sample
        began = time.monotonic()
        while not enough(self._sample()) and not self._faults:
            if time.monotonic() - began > PATIENCE:
                seen = f"after {PATIENCE} s: {_describe(self._sample())}"
                self._check(Check("clients who leave are gone", False, seen))
                break
            time.sleep(self._tick / 5)
        return time.monotonic() - began

    def _sample(self) -> Sample:
        self._brake.step()
        state = self._program.ask("state", self._brake.pace)
        for child in self._crowds:
            child.ask("state", self._brake.pace)
        readers = self._healthy.ask("state")
        self._hear(readers["faults"])
        health = state["health"]
        sample: Sample = {
            "at": round(self._now(), 2),
            "phase": self._phase,
            **asdict(Outside.of(self._program.pid)),
            **{name: health[name] for name in COUNTERS},
            "people": state["people"],
            "cpu": round(self._brake.used, 3),
            "pace": round(self._brake.pace, 2),
            "round_trip_ms": readers["round_trip"],
        }
        self._outcome.samples.append(sample)
        return sample

    def _hear(self, faults: list[str]) -> None:
        """Says at once what a healthy reader complains of: when it was may tell why."""
        for fault in faults:
            if fault not in self._faults:
                self._say(f"a healthy reader's fault: {fault}")
                self._faults.append(fault)

    def _check(self, check: Check) -> None:
        self._outcome.checks.append(check)

    def _say(self, text: str) -> None:
        print(f"{self._now():7.1f} s  {text}", file=sys.stderr, flush=True)


def _describe(sample: Sample) -> str:
    return (
        f"{sample['resident'] / 1e6:.1f} MB, {sample['engine'] / 1e6:.1f} of them the engine's, "
        f"{sample['descriptors']} descriptors, "
        f"{sample['threads']} threads, {sample['connections']} connections, "
        f"{sample['outbound_queued_bytes']} bytes queued, {sample['cpu']:.0%} CPU, pace {sample['pace']}"
    )
