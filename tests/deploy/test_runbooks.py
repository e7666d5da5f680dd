"""docs/runbooks: a page for each alert, whose commands run and whose metrics are there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import documents
from certificates import Authority
from deploy.monitoring import (
    ROOT,
    RUNBOOKS,
    Live,
    alerts,
    check_expressions,
    cluster,
    needs_prometheus,
    scrape,
)
from support import HOST, Running

PAGES = sorted(path.name for path in RUNBOOKS.glob("*.md") if path.name != "index.md")
HEADINGS = ["See for yourself", "Likely causes", "Do now", "Do later"]
SEVERITY = {
    "page": "A page: somebody should look now.",
    "ticket": "A ticket: the morning is soon enough.",
}


def text_of(page: str) -> str:
    return (RUNBOOKS / page).read_text(encoding="utf-8")


def blocks(language: str) -> dict[str, str]:
    """The lines of all pages' blocks in a language, each with the page that has it first."""
    found: dict[str, str] = {}
    for page in PAGES:
        for block in documents.read(f"docs/runbooks/{page}"):
            assert block.language in {"console", "promql"}, f"nobody runs {block}"
            if block.language == language:
                for line in block.code.splitlines():
                    found.setdefault(line, page)
    return found


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runbooks")


@pytest.fixture(scope="module")
def nodes(directory: Path) -> Iterator[list[Running]]:
    with cluster(directory / "authority") as nodes:
        yield nodes


@pytest.fixture(scope="module")
def live(nodes: list[Running]) -> Live:
    return scrape(nodes)


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    assert sorted(f"{rule['alert']}.md" for rule in alerts()) == PAGES


def test_the_list_of_pages_is_whole_and_in_the_order_of_the_rules() -> None:
    pages, tickets = (ROOT / "docs/runbooks/index.md").read_text(encoding="utf-8").split("## Tickets")
    for part, severity in ((pages, "page"), (tickets, "ticket")):
        listed = re.findall(r"^\| \[(\w+)\]\(\1\.md\) \|", part, re.MULTILINE)
        assert listed == [rule["alert"] for rule in alerts() if rule["labels"]["severity"] == severity]


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: str(rule["alert"]))
def test_a_page_says_what_there_is_to_say(rule: dict[str, dict[str, str]], live: Live) -> None:
    text = text_of(f"{rule['alert']}.md")
    assert text.startswith(f"# {rule['alert']}\n\n{SEVERITY[rule['labels']['severity']]}\n")
    assert "\n**Clients see:** " in text
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS
    assert live.unknown(text) == set()


@needs_prometheus
def test_every_query_of_the_pages_can_be_asked(live: Live, directory: Path) -> None:
    queries = blocks("promql")
    assert {query: live.mistakes(query) for query in queries} == {query: [] for query in queries}
    check_expressions({page: query for query, page in queries.items()}, directory)


def test_every_command_of_the_pages_does_what_it_should(nodes: list[Running], directory: Path) -> None:
    made = directory / "etc"
    made.mkdir()
    files = Authority(directory / "other").node("a")
    (made / "node.pem").write_bytes(files.cert.read_bytes())
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for line, page in blocks("console").items():
        assert line.startswith("$ "), f"{page}: {line}"
        command = line[2:].replace("10.0.0.1:5007", f"{HOST}:{nodes[0].port}").replace("/etc/wse", str(made))
        done = subprocess.run(
            ["sh", "-c", command],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=os.environ | {"PATH": path},
        )
        assert done.returncode == 0, f"{page}: {line}\n{done.stdout}{done.stderr}"
        assert done.stdout.strip(), f"{page}: {line} prints nothing"
