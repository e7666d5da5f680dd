"""The HTTP API against its own description: requests made from it by schemathesis, answers checked with it.

`make http-contract` makes many more of them than a run of the suite does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from http_api import KEY
from support import Running

Factory = Callable[..., Running]

EXAMPLES = int(os.environ.get("WSE_CONTRACT_EXAMPLES", "15"))
"""Requests of each kind that are drawn for each path; those that try out limits come beside them."""

SEED = (
    ["--generation-database", "none"]
    if "WSE_CONTRACT_EXAMPLES" in os.environ
    else ["--generation-deterministic"]
)
"""A long run draws others each time."""

LENIENT = ["--exclude-checks", "positive_data_acceptance"]

RUNS = {
    "ascii": ["--generation-codec", "ascii", "--exclude-path", "/api/history"],
    # That two parameters go together can't be described.
    "history": ["--generation-codec", "ascii", "--include-path", "/api/history", *LENIENT],
    # A topic has a limit in bytes, which can be described only where each character has one.
    "utf-8": ["--generation-codec", "utf-8", *LENIENT],
}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("run", RUNS)
def test_whatever_is_described_is_so(
    server_factory: Factory, repository: Path, tmp_path: Path, run: str
) -> None:
    running = server_factory(
        api_key=KEY, recovery_enabled=True, presence_enabled=True, max_message_size=65536
    )
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", str(repository / "spec" / "openapi.json")),
        *("--url", running.http, "--header", f"Authorization: Bearer {KEY}", "--no-color"),
        *("--phases", "examples,coverage,fuzzing", "--checks", "all", *RUNS[run]),
        *("--max-examples", str(EXAMPLES), "--continue-on-failure", *SEED),
    ]
    environment = os.environ | {"NO_PROXY": "*", "no_proxy": "*"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    tested = {"ascii": 8, "history": 1, "utf-8": 9}[run]
    assert f"Tested: {tested}\n" in done.stdout, done.stdout
    snapshot = running.server.health_snapshot()
    assert snapshot["api_requests_waiting"] == 0
    assert running.server.is_running()
