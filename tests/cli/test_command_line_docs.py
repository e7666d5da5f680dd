"""The page on looking into a running server: its commands do there what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.service import Service, environment
from documents import block
from support import HOST, PATIENCE, wait_until


class Place:
    """A directory with the key of the page, its server, and a shell that finds `wse`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "bin").mkdir()
        program = path / "bin/wse"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m wse_server "$@"\n')
        program.chmod(0o755)
        # A port of its own instead of 5007 is all that differs from the page.
        self.variables = {"PATH": f"{path / 'bin'}:{os.environ['PATH']}", "HOME": str(path)}

    def start(self, commands: str, **variables: str) -> subprocess.Popen[str]:
        """Starts what stands after `$ ` in a block."""
        lines = "\n".join(line[2:] for line in commands.splitlines() if line.startswith("$ "))
        if "\n" not in lines and "|" not in lines:
            # The shell becomes the command, so that whoever ends the one has ended the other.
            lines = f"exec {lines}"
        return subprocess.Popen(
            ["/bin/sh", "-ec", lines],
            cwd=self.path,
            env=environment({**self.variables, **variables}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, commands: str, **variables: str) -> str:
        """Runs it to its end, and returns what it prints."""
        with self.start(commands, **variables) as shell:
            out, err = shell.communicate(timeout=PATIENCE * 3)
        assert shell.returncode == 0, err
        return out


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    secret, serve = block("docs/how-to/command-line.md", "$ wse serve", "console").splitlines()
    place.run(secret)
    arguments = serve.removeprefix("$ wse serve --port 5007 ").split()
    with Service(*arguments, cwd=tmp_path, WSE_TLS_DIR="/nowhere") as service:
        place.variables["WSE_PORT"] = str(service.port)
        yield place
        assert service.stop() == 0


def test_the_commands_of_the_page_do_what_it_says(place: Place) -> None:
    look = block("docs/how-to/command-line.md", "$ wse health\n", "console")
    shown = look.splitlines()[1].replace("5007", place.variables["WSE_PORT"])
    assert re.sub(r"up .*", "", place.run(look)).strip() == re.sub(r"up .*", "", shown).strip()

    probe = place.run(block("docs/how-to/command-line.md", "$ wse health --ready", "console"))
    assert '"status": "ready"' in probe

    listen, some = block("docs/how-to/command-line.md", "'room:*'", "console").splitlines()
    lines = place.path / "heard"
    with (
        place.start(f"{listen} > {lines}") as everything,
        place.start(some.replace("--count 10", "--count 3")) as counted,
    ):
        try:
            for shell in (everything, counted):
                assert shell.stderr is not None
                assert shell.stderr.readline().startswith("subscribed to news")
            at = place.run(block("docs/how-to/command-line.md", "seq 1 1000", "console")).splitlines()
            heard = [json.loads(line) for line in counted.communicate(timeout=PATIENCE)[0].splitlines()]
            assert counted.returncode == 0
            assert [(message["type"], message["payload"]) for message in heard] == [
                ("message", {"text": "Hello"}),
                ("headline", {"text": "Hello"}),
                ("headline", {"text": "Hello"}),
            ]
            assert [f"{message['epoch']}:{message['offset']}" for message in heard] == at[:3]
            assert at[3].endswith(":1000")
            keys = json.loads(block("docs/how-to/command-line.md", '"recovered"', "json")).keys()
            assert heard[0].keys() == keys
            wait_until(lambda: lines.read_text().count("\n") == 3, "three lines for a person")
            assert lines.read_text().splitlines()[2].endswith(f' news {at[2]} headline {{"text":"Hello"}}')
        finally:
            everything.kill()


def test_it_begins_where_the_page_says(place: Place) -> None:
    commands = block("docs/how-to/command-line.md", "$ at=$(", "console")
    out = place.run(commands.replace("--timeout 5", "--timeout 0.3"), WSE_API_KEY_FILE="api-key")
    _, followed, *_ = out.splitlines()
    assert "recovered message" in followed
    assert "the first that I miss" in followed
    assert set(json.loads((place.path / "positions.json").read_text())) == {"news", "numbers"}


def test_nodes_are_watched_by_their_addresses(place: Place) -> None:
    watch = block("docs/how-to/command-line.md", "$ wse top 10.0.0.4", "console").strip()
    here = f"{HOST}:{place.variables['WSE_PORT']}"
    watch = (
        watch.replace("10.0.0.4:5007", here)
        .replace("10.0.0.5:5007", here)
        .replace("10.0.0.6:5007", f"{HOST}:1")
    )
    out = place.run(f"{watch} --once --interval 0.2", COLUMNS="80")
    assert out.startswith("wse top   2 of 3 nodes   0 clients")
    shown = [line for line in block("docs/how-to/command-line.md", "of 3 nodes", "text").splitlines() if line]
    titles = [line for line in shown if line.startswith(("NODE", "TOPIC"))]
    assert [line.split() for line in out.splitlines() if line.startswith(("NODE", "TOPIC"))] == [
        line.split() for line in titles
    ]
    assert f"http://{HOST}:1: connection refused" in out

    tables = block("docs/how-to/command-line.md", "$ wse top --once", "console").replace(
        "interval 1", "interval 0.2"
    )
    *_, told = place.run(tables).splitlines()
    assert json.loads(told)["nodes"][0]["status"] == "ready"
