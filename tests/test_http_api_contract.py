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

CODECS = {
    # A topic has a limit in bytes, which a description can give only where each character has one.
    "ascii": [],
    "utf-8": ["--exclude-checks", "positive_data_acceptance"],
}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("codec", CODECS)
def test_whatever_is_described_is_so(
    server_factory: Factory, repository: Path, tmp_path: Path, codec: str
) -> None:
    running = server_factory(
        api_key=KEY, recovery_enabled=True, presence_enabled=True, max_message_size=65536
    )
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", str(repository / "spec" / "openapi.json")),
        *("--url", running.http, "--header", f"Authorization: Bearer {KEY}", "--no-color"),
        *("--phases", "examples,coverage,fuzzing", "--checks", "all", *CODECS[codec]),
        *("--max-examples", str(EXAMPLES), "--generation-codec", codec, "--continue-on-failure", *SEED),
    ]
    environment = os.environ | {"NO_PROXY": "*", "no_proxy": "*"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "9 passed" in done.stdout or "Tested: 9" in done.stdout, done.stdout
    snapshot = running.server.health_snapshot()
    assert snapshot["api_requests_waiting"] == 0
    assert running.server.is_running()
