"""Docstrings of this project as reStructuredText, which Sphinx reads.

They are written for people who see them in an editor: `name` in single backticks is code, a list may follow
a sentence directly, and [`Client`][wse_client.Client] is a reference. The sections (Args, Returns, Raises)
are Napoleon's work.
"""

from __future__ import annotations

import re

REFERENCE = re.compile(r"\[`(?P<text>[^`\]]+)`\]\[(?P<target>[\w.]+)\]")
CODE = re.compile(r"(?<![`:\w])`(?P<code>[^`]+)`(?!`)")
SPAN = re.compile(r"``[^`]+``|`(?:[^`\n]|\n(?! *\n))+`")
ITEM = re.compile(r"^(?P<indent> *)- ")


def as_rst(lines: list[str]) -> list[str]:
    """The lines of a docstring, made ready."""
    made: list[str] = []
    literal: int | None = None  # the indentation of the paragraph before a block of code
    for line in joined(lines):
        indent = len(line) - len(line.lstrip())
        if literal is not None and line.strip() and indent <= literal:
            literal = None
        if literal is None:
            if begins_list(line, made):
                made.append("")
            if line.rstrip().endswith("::"):
                literal = indent
            made.append(marked(line))
        else:
            made.append(line)
    return made


def marked(line: str) -> str:
    """A line with its references and its code as reStructuredText has them."""
    references: list[str] = []

    def keep(match: re.Match[str]) -> str:
        references.append(f":py:obj:`{match['text']} <{match['target']}>`")
        return f"\0{len(references) - 1}\0"

    line = REFERENCE.sub(keep, line)
    line = CODE.sub(lambda match: f"``{match['code']}``", line)
    return re.sub(r"\0(\d+)\0", lambda match: references[int(match[1])], line)


def begins_list(line: str, before: list[str]) -> bool:
    """Whether a list begins here, right after a sentence."""
    if not ITEM.match(line) or not before or not before[-1].strip():
        return False
    items = (len(earlier) - len(earlier.lstrip()) for earlier in before[::-1] if ITEM.match(earlier))
    indent = len(line) - len(line.lstrip())
    previous = before[-1]
    is_in_list = ITEM.match(previous) or (len(previous) - len(previous.lstrip()) > indent and indent in items)
    return not is_in_list


def joined(lines: list[str]) -> list[str]:
    """The lines, with code that goes on in the next line whole on the first."""
    return SPAN.sub(lambda span: re.sub(r"\n *", " ", span[0]), "\n".join(lines)).split("\n")
