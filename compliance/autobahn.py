"""Tests WSE with the Autobahn WebSocket test suite, and fails where a case is not as it must be.

python compliance/autobahn.py full                               every case, kept in compliance/report/
python compliance/autobahn.py short                              what fits into `make test`
python compliance/autobahn.py cases 12.1.* --compression full    some cases while looking for something

The suite's own report, with the octets on the wire for each case, goes to build/autobahn/NAME/report/.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, replace

import record
import suite
from judgement import NotAnIndexError, judge, read_index

SKIPPED = """\
!!!!
!!!! SKIPPED: the Autobahn suite did not run, because there is no Python 2.7 here.
!!!! The protocol is not checked by it on this machine; compliance/README.md says how to get one.
!!!!"""


@dataclass(frozen=True)
class Run:
    """Cases that are run against one server.

    Attributes:
        name: Of the directory under build/autobahn/, and of the record.
        compression: The server's option.
        patterns: The cases, as the suite understands them.
        timeout_s: Far more than they take, so that a suite that hangs ends.
    """

    name: str
    compression: str
    patterns: tuple[str, ...]
    timeout_s: float


FULL = (
    Run("all-shared", "shared", ("*",), 3 * 3600.0),
    Run("deflate-full", "full", ("12.*", "13.*"), 3 * 3600.0),
)

# Chapters 1 to 10 whole, for they are quick. Chapters 12 and 13, on compression, take nearly all the time
# of a full run: of them the smallest messages of each kind of data and each combination of parameters, and
# one case in pieces.
UNCOMPRESSED = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*")
COMPRESSED = (
    *("12.1.1", "12.1.2", "12.1.3", "12.1.11", "12.2.1", "12.3.1", "12.4.1", "12.5.1"),
    *("13.1.1", "13.1.2", "13.2.1", "13.3.1", "13.4.1", "13.5.1", "13.6.1", "13.7.1"),
)
SHORT = (Run("short", "shared", (*UNCOMPRESSED, *COMPRESSED), 600.0),)

CHOSEN = Run("cases", "shared", (), 3 * 3600.0)


def main() -> int:
    """Runs what was asked for. Returns 1 for findings, 2 if the suite could not be run."""
    options = arguments()
    runs = {
        "full": FULL,
        "short": SHORT,
        "cases": (replace(CHOSEN, compression=options.compression, patterns=tuple(options.pattern)),),
    }[options.what]
    # Asked now, for at the end another commit may be checked out than the one that was tested.
    commit = record.checked_out() if options.what == "full" else None
    try:
        findings = [finding for run in runs for finding in perform(run, commit)]
    except suite.NoPython27Error:
        if options.what == "short":
            print(SKIPPED)
            return 0
        return 2
    except (suite.SuiteError, NotAnIndexError) as error:
        print(error, file=sys.stderr)
        return 2
    return 1 if findings else 0


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["full", "short", "cases"])
    parser.add_argument("pattern", nargs="*", help="with cases: 9.1.1, 12.*, ...")
    parser.add_argument(
        "--compression", default="shared", choices=["off", "shared", "full"], help="with cases: of the server"
    )
    options = parser.parse_args()
    if (options.what == "cases") != bool(options.pattern):
        parser.error("'cases' needs the cases, and nothing else takes any")
    return options


def perform(run: Run, commit: str | None) -> list[str]:
    """Runs the cases, prints what came of them and returns the findings.

    Args:
        run: What to run.
        commit: What is tested, if the result goes into the report.

    Raises:
        SuiteError: The suite could not be run.
        NotAnIndexError: It wrote something that is no report.
    """
    environment = suite.environment()
    catalogue = suite.catalogue(environment, run.patterns)
    directory = suite.BUILD / run.name
    print(f'{run.name}: {len(catalogue.cases)} cases, compression="{run.compression}"', flush=True)
    began = time.monotonic()
    with suite.echo_server(run.compression) as port:
        index = suite.fuzz(environment, catalogue.cases, port, directory, run.timeout_s)
    seconds = time.monotonic() - began
    results = read_index(index)
    findings = judge(results, catalogue.cases)
    for finding in findings:
        print(f"  {finding}")
    print(
        f"{run.name}: {len(results)} cases in {seconds:.0f} s, {len(findings)} findings; see {index.parent}"
    )
    if commit:
        made = record.record(
            run.name,
            run.compression,
            commit=commit,
            catalogue=catalogue,
            results=results,
            seconds=seconds,
        )
        record.keep(made)
    return findings


if __name__ == "__main__":
    sys.exit(main())
