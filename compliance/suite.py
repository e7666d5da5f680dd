"""Runs cases of the Autobahn suite against an echo server of its own, each in a process of its own."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = ROOT / "build" / "autobahn"

NO_PYTHON27 = 3
"""The exit status of setup.sh where there is no Python 2.7."""

START_S = 30.0
"""Seconds that the echo server may take until it prints its port, or to end when it is told to."""

# Under Python 2.7. What a pattern means is the suite's own business, so it is asked.
CATALOGUE = """
import json, sys
from autobahntestsuite.case import Cases, CaseCategories, CaseSubCategories, CaseSetname, CaseBasename
from autobahntestsuite.caseset import CaseSet
from autobahntestsuite import version
cases = CaseSet(CaseSetname, CaseBasename, Cases, CaseCategories, CaseSubCategories)
known = set(cases.CasesIndices)
chosen = cases.parseSpecCases({"cases": sys.argv[1:]})
print(json.dumps({"version": version, "categories": CaseCategories, "cases": chosen,
                  "unknown": [case for case in chosen if case not in known]}))
"""

RUNNING = re.compile(r"Running test case ID (?P<case>[0-9.]+) ")


class SuiteError(Exception):
    """The suite could not be run, or the server did not survive it. The text says why."""


class NoPython27Error(SuiteError):
    """This machine has no Python 2.7. setup.sh has said what to do about it."""


@dataclass(frozen=True)
class Catalogue:
    """What the suite has.

    Attributes:
        version: Its version.
        categories: The titles of its chapters, by number.
        cases: The cases that the patterns mean, in their order.
    """

    version: str
    categories: dict[str, str]
    cases: list[str]


def environment() -> Path:
    """Returns the suite's environment, which the first call makes.

    Raises:
        NoPython27Error: There is no Python 2.7.
        SuiteError: It could not be made. What went wrong is on the standard error already.
    """
    done = subprocess.run(["sh", HERE / "setup.sh"], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode == NO_PYTHON27:
        raise NoPython27Error("no Python 2.7")
    if done.returncode:
        raise SuiteError(f"the environment of the suite could not be made (exit {done.returncode})")
    return Path(done.stdout.strip())


def catalogue(suite: Path, patterns: Sequence[str]) -> Catalogue:
    """Asks the suite which cases these patterns mean: "1.*", "9.1.1".

    Raises:
        SuiteError: A pattern names a case that there is not, or none at all.
    """
    command = [str(suite / "bin" / "python"), "-W", "ignore", "-c", CATALOGUE, *patterns]
    answer = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    if answer["unknown"] or not answer["cases"]:
        raise SuiteError(f"the suite has no such case: {', '.join(answer['unknown'] or patterns)}")
    return Catalogue(answer["version"], answer["categories"], answer["cases"])


@contextmanager
def echo_server(compression: str) -> Iterator[int]:
    """Runs the echo server and gives its port.

    Raises:
        SuiteError: It did not start, or did not end as it should.
    """
    command = [sys.executable, str(HERE / "echo_server.py"), "--compression", compression]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            with _watchdog(server, START_S):
                assert server.stdout is not None  # because it is a pipe
                line = server.stdout.readline().strip()
            if not line.isdecimal():
                raise SuiteError(f"the echo server did not start (exit {server.wait(START_S)})")
            yield int(line)
            status = server.poll()
            if status is not None:
                raise SuiteError(f"the echo server ended in the middle of the suite (exit {status})")
            server.terminate()
            status = server.wait(START_S)
            if status:
                raise SuiteError(f"the echo server ended with {status}")
        finally:
            with suppress(ProcessLookupError):
                server.kill()


def fuzz(suite: Path, cases: Sequence[str], port: int, directory: Path, timeout_s: float) -> Path:
    """Runs the cases one after the other and returns the suite's index.json.

    The directory is emptied first; the suite's own report is in it afterwards, with a page for each case.

    Raises:
        SuiteError: It took longer than `timeout_s`, failed, or wrote no report.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    report = directory / "report"
    spec = {
        "outdir": str(report),
        "servers": [{"agent": "WSE", "url": f"ws://127.0.0.1:{port}/wse"}],
        "cases": list(cases),
    }
    (directory / "spec.json").write_text(json.dumps(spec))
    command = [str(suite / "bin" / "python"), "-u", "-W", "ignore", str(suite / "bin" / "wstest")]
    command += ["--mode", "fuzzingclient", "--spec", str(directory / "spec.json")]
    with (
        (directory / "log.txt").open("w", buffering=1) as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as client,
        _watchdog(client, timeout_s) as expired,
    ):
        assert client.stdout is not None  # because it is a pipe
        _follow(client.stdout, log, len(cases))
        status = client.wait()
    if expired.is_set():
        raise SuiteError(f"not finished after {timeout_s:.0f} s; how far it came is in {log.name}")
    index = report / "index.json"
    if status or not index.exists():
        raise SuiteError(f"wstest ended with {status}; what it said is in {log.name}")
    return index


def _follow(lines: Iterator[str], log: TextIO, count: int) -> None:
    """Copies the suite's output into the log, and says where it is at the beginning of each chapter."""
    chapter, number = "", 0
    for line in lines:
        log.write(line)
        running = RUNNING.match(line)
        if running:
            number += 1
            if running["case"].split(".")[0] != chapter:
                chapter = running["case"].split(".")[0]
                log.flush()
                print(f"  {chapter}.* from case {number} of {count}", flush=True)


@contextmanager
def _watchdog(process: subprocess.Popen[str], timeout_s: float) -> Iterator[threading.Event]:
    """Kills the process if the block takes too long, so that reading its output ends, and sets the event."""
    expired = threading.Event()

    def bite() -> None:
        expired.set()
        process.kill()

    timer = threading.Timer(timeout_s, bite)
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()
