"""The first thing a reader tries: the README's example, and the commands beside it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import support
from documents import block


@pytest.fixture
def example() -> str:
    return block("README.md", "server.run(")


def test_the_example_runs_and_does_what_it_says(example: str, tmp_path: Path, free_port: int) -> None:
    program = tmp_path / "readme.py"
    program.write_text(example.replace("5007", str(free_port)))
    with support.Program(program) as chat:
        chat.wait_for_port(free_port)
        peer = support.Peer(support.dial(f"ws://127.0.0.1:{free_port}/wse"), "")
        peer.send({"t": "say", "p": "hello"})
        assert peer.receive() == '{"c":"U","t":"said","p":"hello"}'
        assert chat.stop() == 0, chat.output
        assert peer.close_code() == 1012
    assert "Traceback" not in chat.output


def test_the_example_is_twenty_lines_and_the_same_everywhere(example: str, repository: Path) -> None:
    assert len(example.splitlines()) <= 20
    assert example == (repository / "examples" / "chat.py").read_text()
    assert example == block("docs/tutorial/getting-started.md", "server.run(")


def test_both_commands_are_on_the_first_screen(repository: Path) -> None:
    first_screen = (repository / "README.md").read_text().splitlines()[:40]
    assert [line.split()[2] for line in first_screen if line.startswith("$ make ")] == ["run", "test"]


def test_no_figure_stands_in_the_place_of_the_benchmarks_that_no_result_backs(repository: Path) -> None:
    marked = re.compile(r"(?s)<!-- benchmark-table: begin\..*?-->\n(.*?)<!-- benchmark-table: end -->")
    results = list((repository / "benches" / "results").glob("*"))
    for document in ("README.md", "docs/how-to/benchmarks.md"):
        (table,) = marked.findall((repository / document).read_text())
        assert results or not re.search(r"\d", table), f"{document} has figures, benches/results/ has none"
