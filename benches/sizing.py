"""Measure what the table of the deployment guide promises: memory and CPU for so many connections.

python3 benches/sizing.py                  everything, about four minutes; fills the table and the slopes
python3 benches/sizing.py --short --out .  the same with tiny counts: whether it works, not how much it takes

1,000 and 10,000 connections are there in one process, 50,000 in several, each with a recovery budget that is
full and a message of 1 KB a second from and to each connection. 100,000 and 500,000 are computed from slopes.
The command fails if a row needs more than the guide allows, or if messages or connections were lost.
"""

from __future__ import annotations

import argparse
import datetime
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from sizes import report
from sizes.points import FULL, SHORT, Bench, slopes
from sizes.rows import Row, rows
from wse_server import __version__
from wse_server.cli.bench import machine
from wse_server.cli.plan.model import Slopes
from wsebench import proc
from wsebench.process import DiedError

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benches" / "results"
DOCUMENT = ROOT / "docs" / "reference" / "sizing.md"
PLAN_DATA = ROOT / "python" / "wse_server" / "cli" / "plan_data.json"
LIMIT_S = 600


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", default=sys.executable, help="interpreter with the build to be measured")
    parser.add_argument("--clients-python", help="interpreter of the clients, if another")
    parser.add_argument("--build", default="release", help="what the result calls that build")
    parser.add_argument("--short", action="store_true", help="tiny counts; writes nothing but to --out")
    parser.add_argument("--out", type=Path, help="directory of the result instead of benches/results")
    parser.add_argument("--render", type=Path, metavar="JSON", help="fill document and slopes from a result")
    arguments = parser.parse_args()
    if arguments.render:
        publish(json.loads(arguments.render.read_text(encoding="utf-8")))
        return 0
    # Nothing here waits for longer than a minute or two; this is for what nobody has thought of.
    signal.signal(signal.SIGALRM, _out_of_time)
    signal.alarm(LIMIT_S)
    result, found = measure(arguments)
    out = arguments.out or RESULTS
    name = f"{result['date'][:10]}-sizing"
    (out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (out / f"{name}.md").write_text(report.page(result), encoding="utf-8")
    if not arguments.short and not arguments.out:
        publish(result)
    print(report.page(result))
    # What a short run computes means nothing.
    misses = [
        f"{row.guide.connections:,}: {miss}"
        for row in found
        for miss in row.problems + ([] if arguments.short else row.misses)
    ]
    for miss in misses:
        print(f"sizing: {miss}", file=sys.stderr)
    return 1 if misses else 0


def _out_of_time(*_: object) -> None:
    raise DiedError(f"not done within {LIMIT_S} s")


def measure(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[Row]]:
    """Everything, in the order in which it is needed."""
    scale = SHORT if arguments.short else FULL
    load, busy = machine.load_average(), proc.busy_cores()
    bench = Bench(arguments.python, arguments.clients_python or arguments.python, scale)
    print("slopes ...", file=sys.stderr)
    found = slopes(bench)
    # What sockets take while they are busy, and a connect, is known once connections are there.
    found |= dict.fromkeys(("kernel_bytes_per_busy_connection", "cpu_us_per_connect"), 0.0)
    print("connections ...", file=sys.stderr)
    table = rows(bench, found, scale)
    result = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "version": __version__,
        "build": arguments.build,
        "short": scale is not FULL,
        "machine": {
            "cpus": machine.about()["cpus"],
            **{k: v for k, v in proc.machine().items() if k != "cpus"},
        },
        "load_average": load,
        "busy_cores": round(busy, 2),
        "slopes": found,
        "rows": [row.as_json() for row in table],
    }
    return result, table


def publish(result: dict[str, Any]) -> None:
    """Fills the document and the slopes of `wse plan`."""
    Slopes(**result["slopes"])
    report.fill_document(DOCUMENT, result)
    report.write_slopes(PLAN_DATA, result)


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DiedError as error:
        sys.exit(f"sizing: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
