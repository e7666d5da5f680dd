"""Files of deployments as they stand, but for what a test must have otherwise: ports, addresses, places.

Each replacement says how often it is found. A test that replaces what the file has no more fails, so the two
can't drift apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Replacement:
    """What stands in for a piece of a file."""

    old: str
    new: str
    times: int = 1
    """How often the file has it."""


def substituted(path: str, replacements: Iterable[Replacement]) -> str:
    """The text of a file, a path from the top of the repository, with these replacements, in their order."""
    return replaced((ROOT / path).read_text(), replacements, path)


def replaced(text: str, replacements: Iterable[Replacement], what: str = "the text") -> str:
    """A text with these replacements, in their order."""
    for each in replacements:
        found = text.count(each.old)
        assert found == each.times, f"{what} has {each.old!r} {found} times, not {each.times}"
        text = text.replace(each.old, each.new)
    return text
