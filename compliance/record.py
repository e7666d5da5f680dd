"""What is kept of a full run: a JSON file a run, and one page for people that is made from all of them."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from judgement import Result, order
from suite import Catalogue

HERE = Path(__file__).resolve().parent
REPORT = HERE / "report"
PAGE = REPORT / "README.md"

PREFACE = """\
# The Autobahn report

Every case of the [Autobahn test suite](../README.md) and how WSE's echo server behaved, as `make autobahn`
found it. The page is made from the JSON files beside it, which name each case.
"""

NOTES = {
    "NON-STRICT": (
        "a good message with a violation right behind it; the server closed before the echo had come back "
        "from Python, which RFC 6455, section 7.1.7, allows"
    ),
    "INFORMATIONAL": "the RFC leaves it open, so the suite only tells what it saw",
}


@dataclass(frozen=True)
class Record:
    """One run, as it is kept.

    Attributes:
        name: Of the run, and of its file.
        compression: The server's option.
        suite: Version of the suite.
        date: When it ended, UTC.
        commit: What was tested.
        machine: What it ran on.
        python: The version that ran the echo server.
        seconds: How long it took.
        categories: Titles of the suite's chapters, by number.
        cases: Behaviour by case.
        close_codes: The server's close code by case.
    """

    name: str
    compression: str
    suite: str
    date: str
    commit: str
    machine: str
    python: str
    seconds: int
    categories: dict[str, str]
    cases: dict[str, str]
    close_codes: dict[str, int | None]


def record(
    name: str,
    compression: str,
    *,
    commit: str,
    catalogue: Catalogue,
    results: Mapping[str, Result],
    seconds: float,
) -> Record:
    """Makes the record of a run that has just ended here."""
    chapters = {case.split(".")[0] for case in results}
    return Record(
        name=name,
        compression=compression,
        suite=catalogue.version,
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        commit=commit,
        machine=_machine(),
        python=platform.python_version(),
        seconds=round(seconds),
        categories={chapter: catalogue.categories[chapter] for chapter in sorted(chapters, key=int)},
        cases={case: results[case].behavior for case in sorted(results, key=order)},
        close_codes={case: results[case].close_code for case in sorted(results, key=order)},
    )


def keep(made: Record, directory: Path = REPORT) -> None:
    """Writes the record into the report, in place of the last one with its name, and the page again."""
    directory.mkdir(exist_ok=True)
    (directory / f"{made.name}.json").write_text(json.dumps(asdict(made), indent=1) + "\n")
    (directory / PAGE.name).write_text(page(read(directory)))


def read(directory: Path = REPORT) -> list[Record]:
    """Reads the records of the report."""
    return [Record(**json.loads(path.read_text())) for path in sorted(directory.glob("*.json"))]


def page(records: Sequence[Record]) -> str:
    """Returns the page for people."""
    return "\n".join([PREFACE, *(_section(kept) for kept in records)])


def _section(kept: Record) -> str:
    behaviors = [word for word in ("OK", "NON-STRICT", "INFORMATIONAL") if word in kept.cases.values()]
    behaviors += sorted(set(kept.cases.values()) - set(behaviors))
    lines = [
        f'## compression="{kept.compression}": {len(kept.cases)} cases',
        "",
        f"{kept.date} UTC, commit {kept.commit}, {kept.machine}, Python {kept.python},",
        f"Autobahn suite {kept.suite}; it took {kept.seconds // 60} min {kept.seconds % 60} s.",
        "",
        f"| chapter | cases | {' | '.join(behaviors)} |",
        f"|---|---|{'---|' * len(behaviors)}",
    ]
    for chapter, title in kept.categories.items():
        inside = {case: kept.cases[case] for case in kept.cases if case.split(".")[0] == chapter}
        lines.append(_row(f"{chapter}. {title}", inside, behaviors))
    lines.append(_row("all", kept.cases, behaviors))
    for behavior in behaviors:
        if behavior != "OK":
            cases = ", ".join(case for case in kept.cases if kept.cases[case] == behavior)
            note = f" ({NOTES[behavior]})" if behavior in NOTES else ""
            lines += ["", f"{behavior}{note}: {cases}."]
    return "\n".join([*lines, ""])


def _row(title: str, cases: Mapping[str, str], behaviors: Sequence[str]) -> str:
    counts = Counter(cases.values())
    cells = [str(counts[behavior] or "") for behavior in behaviors]
    return f"| {title} | {len(cases)} | {' | '.join(cells)} |"


def checked_out() -> str:
    """Names the commit that is checked out."""

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        return subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()

    try:
        commit = git("rev-parse", "--short=10", "HEAD")
        # What the report itself changes is no change of what is tested.
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "..", ":!report")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit} with uncommitted changes" if changed else commit


def _machine() -> str:
    model = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line
        ]
        model = names[0] if names else model
    return f"{os.cpu_count()} cores of {model}, {platform.system()} {platform.release()}"
