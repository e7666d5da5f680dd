"""The progress of jobs: told over HTTP by Python and by bash, heard by clients and seen in a page."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import support
from browser import Tab
from examples.conftest import Begin, Visit, address
from support import Program
from wse_client import SyncClient

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def server(begin: Begin, free_port: int, monkeypatch: pytest.MonkeyPatch) -> Program:
    """The server, where workers look for it."""
    monkeypatch.setenv("WSE_API_KEY", KEY)
    monkeypatch.setenv("WSE_URL", f"http://127.0.0.1:{free_port}")
    server = begin("jobs/server.py", "--port", free_port)
    server.wait_for_line("http://")
    return server


def run(repository: Path, worker: str, *arguments: str) -> str:
    """Runs a worker to its end and returns what it prints."""
    shell = shutil.which("bash") if worker.endswith(".sh") else sys.executable
    command = [str(shell), str(repository / "examples/jobs" / worker), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("worker", "arguments"),
    [
        ("worker.py", ["--steps", "3", "--seconds", "0.01"]),
        pytest.param(
            "worker.sh",
            ["3", "0.01"],
            marks=pytest.mark.skipif(not (shutil.which("bash") and shutil.which("curl")), reason="no curl"),
        ),
    ],
)
@pytest.mark.usefixtures("server")
def test_a_worker_tells_how_far_it_is(
    repository: Path, free_port: int, worker: str, arguments: list[str]
) -> None:
    name = 'Copy "it" all \\o/'
    with (
        SyncClient(f"ws://127.0.0.1:{free_port}/wse", proxy=None) as client,
        client.subscribe("jobs") as jobs,
    ):
        assert run(repository, worker, name, *arguments) == ""
        reports: list[dict[str, Any]] = [next(jobs).payload for _ in range(4)]
    assert [(report["done"], report["of"]) for report in reports] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert [report["state"] for report in reports] == ["running", "running", "running", "done"]
    assert {report["name"] for report in reports} == {name}
    assert len({report["job"] for report in reports}) == 1


@pytest.mark.usefixtures("server")
def test_a_wrong_key_is_told_and_the_work_is_done(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSE_API_KEY", "x" * 32)
    told = run(repository, "worker.py", "--steps", "1", "--seconds", "0")
    assert told.count("not told: 401") == 2
    monkeypatch.setenv("WSE_URL", f"http://127.0.0.1:{support.free_port()}")
    assert "Connection refused" in run(repository, "worker.py", "--steps", "1", "--seconds", "0")


@pytest.mark.browser
def test_the_page_shows_jobs_as_they_go(
    begin: Begin, visit: Visit, server: Program, repository: Path
) -> None:
    tab = visit(address(server.wait_for_line("http://")))
    tab.wait(lambda page: page.text("#state") == "live", "connected")
    tab.picture("jobs-none")
    run(repository, "worker.py", "Write the letters", "--steps", "4", "--seconds", "0.01")
    run(repository, "worker.py", "Feed the printer", "--steps", "8", "--seconds", "0.01", "--fail")
    begin("jobs/worker.py", "Resize the photos", "--steps", 60, "--seconds", 0.2)
    tab.wait(lambda page: of(page, "Resize the photos").endswith("left"), "a job that runs", 30)
    assert "done" in of(tab, "Write the letters")
    assert "failed" in of(tab, "Feed the printer")
    tab.pictures("jobs")


def of(tab: Tab, name: str) -> str:
    """What the card of a job shows."""
    return next((text for text in tab.texts("#jobs li") if text.startswith(name)), "")


def test_without_a_key_the_server_makes_one(
    begin: Begin, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WSE_API_KEY", raising=False)
    assert "WSE_API_KEY" not in os.environ
    server = begin("jobs/server.py", "--port", free_port)
    assert len(server.wait_for_line("export WSE_API_KEY=").partition("=")[2]) == 64
