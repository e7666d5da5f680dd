"""The run: every row on every side in turn, round after round, so that a drift hits all alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from wsebench.bench import QUIET_CORES, Bench
from wsebench.model import Sample, Workload
from wsebench.process import DiedError
from wsebench.sides import Side

ATTEMPTS = 3

Results = dict[str, dict[str, list[Sample]]]
Listener = Callable[[int, Workload, Side, Sample], None]


@dataclass
class Run:
    """All samples so far: by workload, by side, one per round."""

    results: Results = field(default_factory=dict)
    complete_rounds: int = 0

    def samples(self, workload: str, side: str) -> list[Sample]:
        return self.results.get(workload, {}).get(side, [])


def carry_out(
    bench: Bench, workloads: list[Workload], sides: list[Side], rounds: int, listener: Listener
) -> Run:
    """Measure everything. An interrupt from the keyboard ends it early with what is there."""
    run = Run()
    try:
        for number in range(rounds):
            for workload in workloads:
                for side in sides:
                    if (side.is_floor and not workload.floor) or (workload.ours_only and side.name != "ours"):
                        continue
                    sample = _measure(bench, workload, side)
                    run.results.setdefault(workload.name, {}).setdefault(side.name, []).append(sample)
                    listener(number, workload, side, sample)
            run.complete_rounds += 1
    except KeyboardInterrupt:
        pass
    return run


def _measure(bench: Bench, workload: Workload, side: Side) -> Sample:
    """One sample. A disturbed one is taken again, unless the run has no patience.

    The disturbance is what the kernel says of other processes: the choice does not depend on the figures.
    """
    for attempt in range(ATTEMPTS):
        busy = bench.wait_for_quiet()
        try:
            sample = workload.measure(bench, side)
        except DiedError as error:
            return Sample(figures={"peak_mb": error.peak_mb}, died=str(error))
        if busy > QUIET_CORES and not sample.disturbed:
            sample.disturbed = f"others used {busy:.2f} of a core before it"
        if not sample.disturbed or not bench.patience or attempt == ATTEMPTS - 1:
            break
    return sample
