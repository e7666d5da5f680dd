#!/usr/bin/env python3
"""Measure this build, the earlier release and the floor side by side, and say what is reached.

python3 benches/run.py                                             everything, about three quarters of an hour
python3 benches/run.py --only flood-100 --rounds 1 --seconds 3 --servers ours     one number while tuning
python3 benches/run.py --only flood-10,echo-1 --baseline ../before/.venv/bin/python     before and after

The results of a full run go to benches/results/, those of a partial one to build/bench/.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from wsebench import report, rounds, sides, verdict
from wsebench.bench import Bench
from wsebench.model import Sample, Workload
from wsebench.sides import BUILD, HERE, MissingError, Side
from wsebench.table import WORKLOADS

SERVERS = ("ours", "earlier", "floor")
FULL_ROUNDS = 5
# Three ping intervals of 25 seconds.
IDLE_SECONDS = 75.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rounds", type=int, help=f"how often each row is measured ({FULL_ROUNDS}; quick: 1)"
    )
    parser.add_argument("--seconds", type=float, help="how long each load lasts (4; quick: 1.5)")
    parser.add_argument(
        "--only", default="", metavar="NAME,...", help="these rows; a name may be a beginning"
    )
    parser.add_argument("--servers", default="", metavar="NAME,...", help="of ours, earlier, floor")
    parser.add_argument("--no-earlier", action="store_true", help="leave the earlier release out")
    parser.add_argument("--quick", action="store_true", help="one short round: does it run, roughly how fast")
    parser.add_argument(
        "--ours", metavar="PYTHON", help="interpreter with this build (.venv-release, else .venv)"
    )
    parser.add_argument(
        "--baseline", metavar="PYTHON", help="interpreter with another build, compared as well"
    )
    parser.add_argument(
        "--earlier-python", metavar="PYTHON", help="makes the environment of the earlier release"
    )
    parser.add_argument(
        "--patience", type=float, help="seconds to wait for a quiet machine (20; few rounds: 0)"
    )
    parser.add_argument(
        "--save", action="store_true", help="write to benches/results/ even if not everything ran"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 unless all targets are reached")
    parser.add_argument("--list", action="store_true", help="print the rows and their targets")
    given = parser.parse_args()
    given.rounds = given.rounds or (1 if given.quick else FULL_ROUNDS)
    given.seconds = given.seconds or (1.5 if given.quick else 4.0)
    if given.patience is None:
        given.patience = 20.0 if given.rounds >= 3 else 0.0
    return given


def chosen_workloads(only: str) -> list[Workload]:
    """The rows whose names are given, exactly or by their beginning.

    Raises:
        MissingError: a name fits no row.
    """
    if not only:
        return list(WORKLOADS)
    found: list[Workload] = []
    for name in only.split(","):
        fitting = [row for row in WORKLOADS if row.name == name]
        fitting = fitting or [row for row in WORKLOADS if row.name.startswith(name)]
        if not fitting:
            raise MissingError(f"no row {name!r}; there are {', '.join(row.name for row in WORKLOADS)}")
        found += [row for row in fitting if row not in found]
    return found


def chosen_sides(given: argparse.Namespace, floor: Path) -> list[Side]:
    """The servers to compare, in the order in which they take turns; one not asked for may be missing.

    Raises:
        MissingError: a name is unknown, or a server asked for is not there.
    """
    names = [name for name in given.servers.split(",") if name] or list(SERVERS)
    if unknown := set(names) - set(SERVERS):
        raise MissingError(f"no server {', '.join(sorted(unknown))}; there are {', '.join(SERVERS)}")
    if given.no_earlier and "earlier" in names:
        names.remove("earlier")
    found: list[Side] = []
    for name in SERVERS:
        if name not in names:
            continue
        try:
            if name == "ours":
                found.append(sides.ours(given.ours))
            elif name == "earlier":
                found.append(sides.earlier(given.earlier_python))
            else:
                found.append(sides.floor(floor))
        except MissingError as error:
            if given.servers:
                raise
            print(f"without {name}: {error}", file=sys.stderr)
    if given.baseline:
        found.insert(1, sides.baseline(given.baseline))
    return found


def print_list() -> None:
    for row in WORKLOADS:
        targets = [f"{figure.label} {figure.target.text}" for figure in row.figures if figure.target]
        print(f"{row.name:<14} {row.title:<52} {', '.join(targets)}")


def main() -> int:
    given = arguments()
    if given.list:
        print_list()
        return 0
    if sys.platform != "linux":
        print("The benchmark reads /proc and pins processes to cores: it needs Linux.", file=sys.stderr)
        return 2
    try:
        workloads = chosen_workloads(given.only)
        wsload, floor = sides.build_programs()
        compared = chosen_sides(given, floor)
    except MissingError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    idle_seconds = 10.0 if given.quick else IDLE_SECONDS
    bench = Bench(wsload, given.seconds, idle_seconds, given.patience)

    def told(number: int, workload: Workload, side: Side, sample: Sample) -> None:
        print(report.progress(number, workload, side, sample), file=sys.stderr, flush=True)

    about = report.circumstances(compared, given.rounds, given.seconds, idle_seconds)
    run = rounds.carry_out(bench, workloads, compared, given.rounds, told)
    about["rounds"] = max(run.complete_rounds, 1)
    found = verdict.lines(run, workloads)
    text = report.markdown(about, report.table(found, compared), report.remarks(run, workloads, compared))
    print("\n" + text)
    full = (
        len(workloads) == len(WORKLOADS)
        and len(compared) >= len(SERVERS)
        and run.complete_rounds >= FULL_ROUNDS
    )
    for path in report.write(HERE / "results" if full or given.save else BUILD, about, run, text):
        print(f"written: {path}", file=sys.stderr)
    return 1 if given.strict and any(line.reached is not True for line in found if line.figure.target) else 0


if __name__ == "__main__":
    sys.exit(main())
