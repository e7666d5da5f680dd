"""What the page on `wse serve` shows, as it stands there."""

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
from support import HOST, PATIENCE, Peer, dial, free_port
from wse_server.cli.settings import SETTINGS
from wse_server.cli.settings.declaration import POD_VARIABLES

PAGE = Path("docs/how-to/serve.md")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with the file of the page and a `wse` in `bin`."""
    (tmp_path / "wse.toml").write_text(block("docs/how-to/serve.md", "# wse.toml", "toml"))
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/wse"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m wse_server "$@"\n')
    program.chmod(0o755)
    return tmp_path


def shell(command: str, place: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    path = f"{place / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        ["/bin/sh", "-ec", command],
        cwd=place,
        env=environment({"PATH": path, "HOME": str(place), "WSE_TLS_DIR": "/nowhere", **variables}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def steps(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a block, each with what it prints."""
    for part in re.split(r"(?m)^\$ ", text)[1:]:
        command, _, printed = part.partition("\n")
        yield command, printed


def started(command: str, place: Path) -> Service:
    """Starts the `wse serve` of a page, on a port of its own."""
    words = command.split()
    variables = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
    arguments = words[words.index("serve") + 1 :]
    if "--port" in arguments:
        arguments[arguments.index("--port") + 1] = "0"
    return Service(*arguments, cwd=place, environ=variables)


def test_the_first_command_says_that_it_is_ready() -> None:
    ((command, printed),) = steps(block("docs/how-to/serve.md", "$ wse serve --port 5007", "console"))
    with started(command, Path.cwd()) as service:
        assert re.sub(r":\d+$", "", service.ready()) == printed.strip().replace("0.0.0.0:5007", HOST)


def test_the_file_is_good_the_server_takes_it_and_curl_publishes(place: Path) -> None:
    *before, (serve, _) = steps(block("docs/how-to/serve.md", "WSE_LOG_LEVEL=warning", "console"))
    for command, printed in before:
        done = shell(command, place)
        assert (done.returncode, done.stderr) == (0, ""), command
        # Only a machine with fewer descriptors or less memory has warnings.
        assert done.stdout == printed
    with started(serve, place) as service:
        port = service.port
        ((curl, _),) = steps(block("docs/how-to/serve.md", "curl -s", "console"))
        done = shell(curl.replace("5007", str(port)), place)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout).keys() >= {"topic"}, done.stdout


def test_check_tells_what_the_page_shows(place: Path) -> None:
    ((command, printed),) = steps(block("docs/how-to/serve.md", "WSE_PORT=http", "console"))
    done = shell(command, place)
    assert done.returncode == 1
    told = [line.split() for line in done.stdout.splitlines()]
    shown = [line.split() for line in printed.splitlines() if line != "..."]
    assert told[: len(shown)] == shown


def test_the_program_of_the_page_is_run(place: Path) -> None:
    (place / "chat.py").write_text(block("docs/how-to/serve.md", "# chat.py"))
    ((command, _),) = steps(block("docs/how-to/serve.md", "--app chat:server", "console"))
    with started(command, place) as service:
        peer = Peer(dial(f"ws://{HOST}:{service.port}/wse"), "")
        peer.send({"t": "subscription_update", "p": {"action": "subscribe", "topics": ["room:1"]}})
        assert peer.receive_json()["t"] == "subscription_update"
        peer.send({"t": "chat.send", "p": {"text": "hi"}})
        assert peer.receive_json(PATIENCE)["p"] == {"text": "hi"}
        peer.close()


def test_the_environment_of_a_node_makes_a_node(place: Path) -> None:
    lines = block("docs/how-to/serve.md", "WSE_PEERS=", "sh").splitlines()
    told = dict(line.split("=", 1) for line in lines)
    ports = {"WSE_PORT": str(free_port()), "WSE_CLUSTER_PORT": str(free_port())}
    assert ports.keys() < told.keys()
    with Service(cwd=place, environ=told | ports) as service:
        assert f"as a node of a cluster on {HOST}:{ports['WSE_CLUSTER_PORT']}" in service.ready()


def test_the_line_of_the_log_has_the_fields_of_the_page() -> None:
    shown = json.loads(block("docs/how-to/serve.md", '"level": "info"', "json"))
    with Service("--log-format", "json") as service:
        line = json.loads(service.logged('"message": "listening'))
    assert list(line) == list(shown)
    assert {key: line[key] for key in ("level", "logger")} == {key: shown[key] for key in ("level", "logger")}


def test_bash_gets_its_completion(place: Path) -> None:
    ((command, _),) = steps(block("docs/how-to/serve.md", "wse completion bash", "console"))
    (place / ".local/share/bash-completion/completions").mkdir(parents=True)
    done = shell(command, place)
    assert (done.returncode, done.stderr) == (0, "")
    assert "complete" in (place / ".local/share/bash-completion/completions/wse").read_text()


def test_every_variable_that_the_page_names_exists(repository: Path) -> None:
    known = {setting.variable for setting in SETTINGS} | set(POD_VARIABLES)
    known |= {f"{setting.variable}_FILE" for setting in SETTINGS if setting.kind == "secret"}
    text = (repository / PAGE).read_text()
    services = text.partition("### Variables of Services")[2].partition("## Signals")[0]
    named = set(re.findall(r"WSE_\w+", text.replace(services, "")))
    assert named - {"WSE_JWT_SECRT"} <= known
