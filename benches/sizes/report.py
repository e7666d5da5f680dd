"""What a run leaves: its JSON, its page, the table in the documents, the slopes of `wse plan`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

MIB = 1 << 20
MARK = "<!-- sizing-table: begin. Filled from benches/results/, and from nothing else. -->\n"
END = "<!-- sizing-table: end -->"


def table(result: dict[str, Any]) -> str:
    """The table, and in words what is measured in it and where."""
    lines = [
        "| connections | guide: RAM | needed | process | kernel | guide: cores | used | all connected in |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        guide, how = row["guide"], row["how"]
        ram = "measured" if {how["user_bytes"], how["kernel_bytes"]} == {"measured"} else "computed"
        storm = f"{row['storm_s']:,.1f} s"
        cells = [
            f"{guide['connections']:,}",
            _size(guide["ram_bytes"]),
            _shown(_size(row["ram_bytes"]), ram),
            _shown(_size(row["user_bytes"]), how["user_bytes"]),
            _shown(_size(row["kernel_bytes"]), how["kernel_bytes"]),
            f"{guide['cores']}+" if row is result["rows"][-1] else f"{guide['cores']}",
            _shown(f"{row['cores']:.2f}", how["cores"]),
            _shown(storm, how["storm_s"]),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n\n" + words(result)


def words(result: dict[str, Any]) -> str:
    """Where and when it was measured, and how."""
    measured = [row for row in result["rows"] if row["point"]]
    servers = ", ".join(
        f"{row['point']['connections']:,} in {_counted(row['point']['servers'], 'process', 'processes')}"
        for row in measured
    )
    machine = result["machine"]
    busy = result["load_average"]
    quiet = "quiet" if busy < 1 else "not quiet, and CPU and times are higher than they need be"
    lines = [
        f"Measured: {servers}. Figures in *italics* are computed from slopes, among them every figure beyond",
        f"that. Commit {result['commit']}, {result['date'][:10]}, {result['build']} build,",
        f"{machine['cpus']} CPUs of {machine['cpu']}, Linux {machine['kernel']}.",
        f"The load average was {busy:.1f} when it began, so the machine was {quiet}.",
    ]
    if result["short"]:
        lines.append("The run was a short one, which tells whether the command works and nothing else.")
    return "\n".join(lines) + "\n"


def _shown(text: str, how: str) -> str:
    return text if how == "measured" else f"*{text}*"


def _size(count: int) -> str:
    mib = count / MIB
    return f"{mib:,.0f} MB" if mib < 1024 else f"{mib / 1024:,.3g} GB"


def _counted(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"


def page(result: dict[str, Any]) -> str:
    """The result as a page beside its JSON."""
    parts = ["# Sizing\n", table(result)]
    problems = [
        f"- {row['guide']['connections']:,}: {problem}"
        for row in result["rows"]
        for problem in row["problems"]
    ]
    if problems:
        parts.append("What went wrong meanwhile:\n\n" + "\n".join(problems) + "\n")
    lines = [f"| {name} | {value:,.2f} |" for name, value in result["slopes"].items()]
    parts.append("## Slopes\n\n| what one more costs | |\n|---|---|\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def fill_document(path: Path, result: dict[str, Any]) -> None:
    """Puts the table into its place in a document."""
    text = path.read_text(encoding="utf-8")
    filled, count = re.subn(
        re.escape(MARK) + r"(?s:.*?)" + re.escape(END), lambda _: MARK + table(result) + END, text
    )
    if count != 1:
        raise SystemExit(f"{path} has no place for the table")
    path.write_text(filled, encoding="utf-8")


def write_slopes(path: Path, result: dict[str, Any]) -> None:
    """Gives `wse plan` what it computes with."""
    told = {name: result[name] for name in ("commit", "date", "version", "build", "machine", "load_average")}
    path.write_text(json.dumps(told | {"measured": result["slopes"]}, indent=2) + "\n", encoding="utf-8")
