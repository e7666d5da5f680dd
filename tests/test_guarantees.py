"""Each promise of docs/topics/guarantees.md and of docs/topics/security.md names tests, and they exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


@pytest.mark.parametrize(("page", "least"), [("guarantees", 10), ("security", 30)])
def test_every_promise_is_held_by_tests_that_exist(repository: Path, page: str, least: int) -> None:
    rows = [
        line
        for line in (repository / f"docs/topics/{page}.md").read_text().splitlines()
        if line.startswith("| **")
    ]
    assert len(rows) >= least
    for row in rows:
        named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", row)
        assert named, f"nothing holds: {row}"
        for file, name in named:
            assert f"\ndef {name}(" in (repository / "tests" / file).read_text(), f"{file}::{name}"
