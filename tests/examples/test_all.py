"""No example without a test, and without a line on the page of examples."""

from __future__ import annotations

import re
from pathlib import Path


def test_every_example_is_tested_and_listed(repository: Path) -> None:
    folders = {path.name for path in (repository / "examples").iterdir() if path.is_dir()} - {"__pycache__"}
    page = (repository / "docs/tutorial/examples.md").read_text()
    linked = set(re.findall(r"\(\.\./\.\./examples/(\w+)/", page))
    tested = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    assert folders
    assert linked == folders
    assert folders <= tested


def test_every_example_says_at_its_top_how_it_is_started(repository: Path) -> None:
    for name in re.findall(
        r"\]\(\.\./\.\./(examples/\w+/\w+\.py)\)", (repository / "docs/tutorial/examples.md").read_text()
    ):
        program = repository / name
        shown = program.parent if program.stem == "__main__" else program
        head = program.read_text().split('"""')[1]
        started = f"python {shown.relative_to(repository)}" in head
        assert started or "tells the rest" in head, name


def test_the_pages_ask_nobody_else_for_anything(repository: Path) -> None:
    for page in (repository / "examples").rglob("*.html"):
        text = page.read_text()
        assert re.findall(r"(?:src|href)=\"(?:https?:)?//", text) == [], page
        assert 'lang="en"' in text, page
        assert 'name="viewport"' in text, page
        assert "color-scheme: light dark" in text, page
        assert "prefers" in text or "light-dark(" in text, page
