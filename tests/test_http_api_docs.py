"""The page on the HTTP API: its workers run as they stand; it and the description list what there is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from documents import block
from http_api import KEY, Worker
from support import Running

Factory = Callable[..., Running]


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "docs" / "how-to" / "http-api.md").read_text()


@pytest.fixture
def description(repository: Path) -> dict[str, Any]:
    document = json.loads((repository / "spec" / "openapi.json").read_text())
    assert isinstance(document, dict)
    return document


@pytest.fixture
def api(server_factory: Factory) -> Running:
    return server_factory(api_key=KEY)


def run(api: Running, *command: str) -> str:
    environment = os.environ | {"WSE_URL": api.http, "WSE_API_KEY": KEY, "NO_PROXY": "*", "no_proxy": "*"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def texts(api: Running, worker: Callable[[], Any], count: int) -> list[str]:
    """What a subscriber gets while a worker works."""
    peer = api.subscriber("news")
    worker()
    return [peer.receive_json()["p"]["text"] for _ in range(count)]


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_a_console_is_answered_what_the_page_says(api: Running) -> None:
    *command, answer = block("docs/how-to/http-api.md", "curl -s ", "console").splitlines()
    assert json.loads(typed(api, "\n".join(command))) == json.loads(answer)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_who_comes_from_centrifugo_publishes_as_they_did(api: Running) -> None:
    command = block("docs/topics/coming-from.md", "Authorization: Bearer", "console")
    assert json.loads(typed(api, command))["topic"] == "room:1"


def typed(api: Running, command: str) -> str:
    """What a command prints that is typed after `$ `."""
    return run(api, "sh", "-c", command.removeprefix("$ ").replace("http://127.0.0.1:5007", api.http))


def test_the_shell_publishes(api: Running) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    code = block("docs/how-to/http-api.md", "curl", "sh")
    assert texts(api, lambda: run(api, "sh", "-c", code), 1) == ["from a shell"]


def test_python_publishes_over_one_connection(api: Running) -> None:
    code = block("docs/how-to/http-api.md", "http.client")
    assert texts(api, lambda: run(api, sys.executable, "-c", code), 100) == ["from Python"] * 100


def test_node_publishes(api: Running, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node")
    program = tmp_path / "publish.mjs"
    program.write_text(block("docs/how-to/http-api.md", "fetch(", "js"))
    assert texts(api, lambda: run(api, node, str(program)), 100) == ["from Node"] * 100


def test_the_first_example_is_a_server_with_a_key() -> None:
    code = block("docs/how-to/http-api.md", "api_key=")
    names: dict[str, Any] = {}
    exec(code.replace("server.start()", "").replace("5007", "0"), names)  # noqa: S102 -- our own page
    assert "openssl" in code
    assert names["server"].is_running() is False


def test_the_description_is_valid(description: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(description).validate()
    assert description["openapi"].startswith("3.1.")


def test_the_page_and_the_description_have_the_same_paths(page: str, description: dict[str, Any]) -> None:
    asked = {
        (method.upper(), path) for path, operations in description["paths"].items() for method in operations
    }
    # The table at the top of the page.
    assert set(re.findall(r"(?m)^\| \[?`(GET|POST) (/api/[a-z_.]+)`", page)) == asked


def test_the_page_and_the_description_have_the_same_errors(page: str, description: dict[str, Any]) -> None:
    told = set(re.findall(r"(?m)^\| (?:\d{3}) \| `([A-Z_]+)`", page))
    error = description["components"]["schemas"]["Error"]["properties"]["error"]
    assert told == set(error["properties"]["code"]["enum"])


def test_every_path_that_is_described_is_there_and_no_other(
    api: Running, description: dict[str, Any]
) -> None:
    with Worker(api.port) as worker:
        for path, operations in description["paths"].items():
            (method,) = operations
            wrong = "DELETE"
            answer = worker.ask(wrong, path, b"")
            assert answer.status == 405, path
            assert method.upper() in answer.headers["allow"]
        assert worker.ask("GET", "/api/other").status == 404


def test_what_is_described_as_required_is_missed(api: Running, description: dict[str, Any]) -> None:
    schemas = description["components"]["schemas"]
    with Worker(api.port) as worker:
        for path, operations in description["paths"].items():
            if "post" not in operations:
                continue
            content = operations["post"]["requestBody"]["content"]["application/json"]
            example = content["example"]
            name = content["schema"]["$ref"].rsplit("/", 1)[1]
            assert worker.ask("POST", path, example).status == 200, path
            for field in schemas[name].get("required", []):
                less = {key: value for key, value in example.items() if key != field}
                assert worker.refusal("POST", path, less)[2].startswith(f"{field} is missing")
            refusal = worker.refusal("POST", path, example | {"other": 1})
            assert refusal[2].startswith('"other" is no field')
