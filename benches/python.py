#!/usr/bin/env python3
"""Measure what Python programs see: a chat on `Server`, FastAPI and picows, publishing, waking, the client.

python3 benches/python.py                             everything, about twenty minutes; `make bench-python`
python3 benches/python.py --only chat --rounds 1      rows by their beginning: chat publish wake client idle

It runs in .venv-bench, which `make bench-python` makes: WSE and what it is compared with, one interpreter for
all. The results of a full run go to benches/results/, those of a partial one to build/bench/.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from pybench import report
from pybench.sides import sides, title
from pybench.table import ROWS, Row
from wsebench import rounds
from wsebench.bench import Bench
from wsebench.model import Sample, Workload
from wsebench.report import circumstances, number
from wsebench.rounds import Run
from wsebench.sides import BUILD, HERE, MissingError, Side, build_programs

FULL_ROUNDS = 5
IDLE_SECONDS = 5.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rounds", type=int, help=f"how often each row is measured ({FULL_ROUNDS}; quick: 1)"
    )
    parser.add_argument("--seconds", type=float, help="how long each load lasts (4; quick: 1.5)")
    parser.add_argument(
        "--only", default="", metavar="NAME,...", help="rows, by the beginnings of their names"
    )
    parser.add_argument(
        "--sides", default="", metavar="NAME,...", help="of wse, wse-uvloop, fastapi, sansio, picows"
    )
    parser.add_argument("--quick", action="store_true", help="one short round: does it run, roughly how fast")
    parser.add_argument(
        "--patience", type=float, help="seconds to wait for a quiet machine (20; few rounds: 0)"
    )
    parser.add_argument("--save", action="store_true", help="write to benches/results/ even if not all ran")
    parser.add_argument("--strict", action="store_true", help="exit with 1 unless all targets are reached")
    given = parser.parse_args()
    given.rounds = given.rounds or (1 if given.quick else FULL_ROUNDS)
    given.seconds = given.seconds or (1.5 if given.quick else 4.0)
    if given.patience is None:
        given.patience = 20.0 if given.rounds >= 3 else 0.0
    return given


def chosen(only: str) -> list[Row]:
    """The rows whose names begin so, all of them for an empty text.

    Raises:
        MissingError: there is none.
    """
    found = [row for row in ROWS if any(row.name.startswith(name) for name in only.split(","))]
    if not found:
        raise MissingError(f"no row {only!r}; there are {', '.join(row.name for row in ROWS)}")
    return found


def measure(bench: Bench, rows: list[Row], taking_part: dict[str, Side], count: int) -> tuple[Run, int]:
    """All rounds, and how many of them are complete: an interrupt ends it with what is there."""
    run = Run()
    for number_ in range(count):

        def tell(_: int, workload: Workload, side: Side, sample: Sample, at: int = number_) -> None:
            print(progress(at, workload, side, sample), file=sys.stderr, flush=True)

        for row in rows:
            compared = [taking_part[name] for name in row.sides if name in taking_part]
            part = rounds.carry_out(bench, [row.workload], compared, 1, tell)
            for name, samples in part.results.get(row.name, {}).items():
                run.results.setdefault(row.name, {}).setdefault(name, []).extend(samples)
            if not part.complete_rounds:
                return run, number_
    return run, count


def progress(number_: int, workload: Workload, side: Side, sample: Sample) -> str:
    """One line for each sample, so that a long run shows that it lives."""
    told = [
        f"{figure.label} {number(sample.figures[figure.key], figure.unit)}"
        for figure in workload.figures
        if figure.key in sample.figures and not sample.died
    ]
    told += [f"DIED ({sample.died})"] if sample.died else []
    told += sample.problems
    told += [f"[{sample.disturbed}]"] if sample.disturbed else []
    return f"round {number_ + 1}  {workload.name:<14} {side.name:<10} {', '.join(told)}"


def write(given: argparse.Namespace, run: Run, text: str, about: dict[str, object]) -> None:
    """The page and every sample: to the results if everything was measured."""
    is_full = not (given.only or given.sides or given.quick) and about["rounds"] == FULL_ROUNDS
    where = HERE / "results" if is_full or given.save else BUILD
    name = f"{time.strftime('%Y-%m-%d', time.gmtime())}-python" if where != BUILD else "python"
    samples = {
        row: {side: [asdict(sample) for sample in taken] for side, taken in by_side.items()}
        for row, by_side in run.results.items()
    }
    where.mkdir(parents=True, exist_ok=True)
    (where / f"{name}.md").write_text(text)
    (where / f"{name}.json").write_text(json.dumps({**about, "samples": samples}, indent=1) + "\n")
    print(f"written to {where / name}.md and .json", file=sys.stderr)


def main() -> int:
    given = arguments()
    if sys.platform != "linux":
        print("The benchmark reads /proc and pins processes to cores: it needs Linux.", file=sys.stderr)
        return 2
    try:
        rows = chosen(given.only)
        wsload, _ = build_programs()
    except MissingError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    # The programs are modules beside this file; `-P` keeps everything else that lies here from being found.
    os.environ["PYTHONPATH"] = str(HERE)
    everybody = sides()
    names = [name for name in given.sides.split(",") if name] or list(everybody)
    taking_part = {name: everybody[name] for name in names}
    bench = Bench(wsload, given.seconds, IDLE_SECONDS, given.patience)
    run, complete = measure(bench, rows, taking_part, given.rounds)
    about = circumstances([], max(complete, 1), given.seconds, IDLE_SECONDS)
    about["versions"] = {key: value for side in everybody.values() for key, value in side.versions.items()}
    about["titles"] = {name: title(name) for name in taking_part}
    text = report.text(run, rows, about, report.notes(run, rows))
    print(text)
    write(given, run, text, about)
    missed = [it for row in rows for it in report.verdicts(run, row) if not it.reached]
    return 1 if given.strict and missed else 0


if __name__ == "__main__":
    sys.exit(main())
