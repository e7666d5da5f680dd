"""The code in the documents, for the tests that run it.

`test_documents.py` reads the calls of these functions in all tests, to find what nobody runs. So the
arguments are written out where they are called: a page, a word that one block of it has and no other, a
language.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"(?ms)^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```$")


@dataclass(frozen=True)
class Block:
    """A block of code, where it is and in which language."""

    page: str
    line: int
    language: str
    code: str


def block(page: str, word: str, language: str = "python") -> str:
    """The code of the one block of a page that has this word in it."""
    found = [block.code for block in read(page) if block.language == language and word in block.code]
    assert len(found) == 1, f"{page} has {len(found)} blocks of {language} with {word!r}"
    return found[0]


def every_block(page: str, language: str = "python") -> list[str]:
    """The code of all blocks of a page in this language, in order."""
    return [block.code for block in read(page) if block.language == language]


def read(page: str) -> list[Block]:
    """All blocks of a page, a path from the top of the repository."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, language(found), textwrap.dedent(found["code"]))
        for found in FENCE.finditer(text)
    ]


def language(fence: re.Match[str]) -> str:
    """The first word after the ticks; what follows is for others."""
    return (fence["language"].split() or [""])[0]
