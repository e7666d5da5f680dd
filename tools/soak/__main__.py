"""The command line of the soak."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from soak.drive import Outcome, Run
from soak.plan import Plan
from soak.plot import draw
from wse_server import __version__

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "tools" / "soak" / "results"


def main() -> int:
    """Runs it, writes what was seen, and says what holds; 1 if something does not, 2 if it broke off."""
    options = _options()
    plan = Plan(options.minutes * 60, options.seed, options.clients, options.cpu, options.compression)
    options.out.mkdir(parents=True, exist_ok=True)
    log_file = options.out / "server.log"
    # Before the run: who works on while it goes on must not change what it was of.
    about = _about(plan, time.gmtime())
    try:
        outcome = Run(plan, log_file).run()
    except RuntimeError as error:
        print(f"broken off: {error}; the engine's log is {log_file}", file=sys.stderr)
        return 2
    name = f"{about['began'][:10]}-{about['commit']}"
    for directory in [options.out, *([RESULTS] if options.keep else [])]:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{name}.svg").write_text(draw(outcome, _title(about)))
        (directory / f"{name}.json").write_text(json.dumps(_report(outcome, about), indent=1) + "\n")
    for check in outcome.checks:
        print(f"{'ok  ' if check.holds else 'FAIL'}  {check.name}: {check.seen}")
    failed = [check.name for check in outcome.checks if not check.holds]
    print(f"{options.out / name}.svg, .json; {'failed: ' + '; '.join(failed) if failed else 'all holds'}")
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="soak", description="Clients of every kind, and what is left of them."
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="how long they come and go (10)")
    parser.add_argument("--seed", type=int, default=1, help="what is drawn by lot (1)")
    parser.add_argument("--clients", type=int, default=240, help="how many at a time (240)")
    parser.add_argument("--cpu", type=float, default=0.6, help="the part of the machine to be used (0.6)")
    parser.add_argument("--compression", default="shared", help="the server's option (shared)")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "build" / "soak", help="a directory for what is written"
    )
    parser.add_argument("--keep", action="store_true", help=f"write the results to {RESULTS} as well")
    options = parser.parse_args()
    if options.minutes < 0.25:
        parser.error(f"--minutes is {options.minutes}; there is not enough time for an ebb below 0.25")
    if options.clients < 20:
        parser.error(f"--clients is {options.clients}; below 20 not every kind comes")
    if not 0.05 <= options.cpu <= 1:
        parser.error(f"--cpu is {options.cpu}; from 0.05 to 1 is possible")
    return options


def _about(plan: Plan, began: time.struct_time) -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    processor = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    return {
        "began": time.strftime("%Y-%m-%d %H:%M:%S UTC", began),
        "commit": commit or "unknown",
        "version": __version__,
        "machine": f"{os.cpu_count()} x {processor}, {platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "plan": asdict(plan),
        "options": {name: value for name, value in plan.options().items() if name != "jwt_secret"},
    }


def _title(about: dict[str, Any]) -> str:
    return f"Soak of {about['began']}, commit {about['commit']}, {about['machine']}"


def _report(outcome: Outcome, about: dict[str, Any]) -> dict[str, Any]:
    """Returns what is kept. Of the samples only those of the ebbs: the others are in the picture."""
    last = outcome.samples[-1]
    return about | {
        "checks": [asdict(check) for check in outcome.checks],
        "start": outcome.start,
        "end": outcome.end,
        "most": {
            name: max(sample[name] or 0 for sample in outcome.samples)
            for name in (
                "resident",
                "engine",
                "connections",
                "descriptors",
                "outbound_queued_bytes",
                "round_trip_ms",
            )
        },
        "sums": {name: value for name, value in last.items() if name.startswith(("messages_", "bytes_"))},
        "trends": outcome.trends,
        "tides": [
            {name: ebb[name] for name in ("at", "least_resident", "least_engine", "descriptors")}
            for ebb in outcome.ebbs
        ],
        "clients": outcome.tally,
        "log_lines": outcome.log_lines,
    }


if __name__ == "__main__":
    sys.exit(main())
