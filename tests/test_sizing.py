"""The measurement behind the table of sizes: it works, and the documents say what it found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benches"))

from sizes import report
from sizes.rows import GUIDE, Guide, Row
from wse_server.cli.bench import machine

ROOT = Path(__file__).parent.parent


def newest() -> dict[str, Any]:
    results = sorted((ROOT / "benches/results").glob("*-sizing.json"))
    found: dict[str, Any] = json.loads(results[-1].read_text(encoding="utf-8"))
    return found


def test_the_table_in_the_documents_is_that_of_the_last_result() -> None:
    text = (ROOT / "docs/reference/sizing.md").read_text(encoding="utf-8")
    assert text.split(report.MARK)[1].split(report.END)[0] == report.table(newest())


def test_the_plan_computes_with_the_slopes_of_the_last_result() -> None:
    data = json.loads((ROOT / "python/wse_server/cli/plan_data.json").read_text(encoding="utf-8"))
    result = newest()
    assert not result["short"]
    assert data["measured"] == result["slopes"]
    assert data["commit"] == result["commit"]


def test_every_row_of_the_last_result_needs_less_than_the_guide_allows() -> None:
    rows = newest()["rows"]
    assert [row["guide"]["connections"] for row in rows] == [guide.connections for guide in GUIDE]
    for row in rows:
        assert row["ram_bytes"] < row["guide"]["ram_bytes"], row
        assert row["cores"] < row["guide"]["cores"], row
        assert row["problems"] == []
    # Connections up to 50,000 were there, whatever else was computed.
    assert [row["point"] and row["point"]["connections"] for row in rows] == [
        1000,
        10_000,
        50_000,
        None,
        None,
    ]


def test_a_row_that_needs_more_says_what() -> None:
    row = Row(Guide(1000, 100 << 20, 1, 0), 1, 90 << 20, 20 << 20, 1.0, 1.5, {})
    assert row.misses == ["110 MiB of memory, allowed are 100", "1.50 cores, allowed are 1"]
    assert Row(Guide(1000, 100 << 20, 1, 0), 1, 50 << 20, 20 << 20, 1.0, 0.5, {}).misses == []


@pytest.mark.skipif(
    machine.kernel_socket_bytes(1) is None, reason="it takes root, /proc/slabinfo, and ss from iproute2"
)
def test_a_short_run_measures_every_row_and_writes_nothing_else(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "benches/sizing.py", "--short", "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    written = sorted(path.name.partition("-sizing")[2] for path in tmp_path.iterdir())
    assert written == [".json", ".md"]
    result = json.loads(next(tmp_path.glob("*.json")).read_text(encoding="utf-8"))
    assert result["short"]
    assert "a short one" in done.stdout
    assert [row["servers"] for row in result["rows"]] == [1, 1, 3, 1, 1]
    for row in result["rows"][:3]:
        assert row["user_bytes"] > 5e6
        assert row["point"]["messages_per_s"] > 0
