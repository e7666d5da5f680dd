"""Brings together the pages that Sphinx builds.

The documents of this repository link to each other as files, so that they can be read where they lie. Sphinx
wants them under one directory, which this makes: `docs/` becomes the top, and what the pages link to outside
of it (the protocol, the architecture) keeps its place in the repository. The links are rewritten, and nothing
else.

The order of the pages is that of `docs/index.md`: each of its headings is a part, and the links under it are
its pages.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

INDEX = "docs/index.md"
FENCE = re.compile(r"(?ms)^(?P<indent> *)(?P<ticks>```+)[^\n]*\n.*?^(?P=indent)(?P=ticks)$")
LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
PART = re.compile(r"(?ms)^## (?P<title>[^\n]+)\n(?P<body>.*?)(?=^## |\Z)")


def stage(root: Path, destination: Path) -> list[str]:
    """Writes all pages into an empty `destination` and returns their places there."""
    listed = {page for _, pages in parts(root) for page in pages} | {INDEX}
    written = []
    for path in closure(root):
        copy = destination / place(path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        written.append(place(path))
        if not path.endswith(".md"):
            shutil.copyfile(root / path, copy)
            continue
        text = rewritten(root, path)
        if path == INDEX:
            text += "".join(toctree(title, pages) for title, pages in parts(root))
        elif path not in listed:
            # It is only there because a page links to it.
            text = f"---\norphan: true\n---\n\n{text}"
        copy.write_text(text, encoding="utf-8")
    return written


def closure(root: Path) -> list[str]:
    """Lists the pages under docs/ and what they lead to by links, as paths from the top of the repository."""
    pages = sorted((root / "docs").rglob("*.md"))
    found = dict.fromkeys(path.relative_to(root).as_posix() for path in pages)
    waiting = list(found)
    while waiting:
        path = waiting.pop(0)
        if path.endswith(".md"):
            new = [target for target in targets(root, path) if target not in found]
            found.update(dict.fromkeys(new))
            waiting += new
    return list(found)


def targets(root: Path, path: str) -> Iterator[str]:
    """Yields the files that a page links to."""
    for link in LINK.finditer(prose((root / path).read_text(encoding="utf-8"))):
        target = resolve(root, path, link["target"])
        if target is not None and (root / target).is_file():
            yield target


def parts(root: Path) -> list[tuple[str, list[str]]]:
    """The parts of the front page, each with its pages in order."""
    found = []
    for part in PART.finditer((root / INDEX).read_text(encoding="utf-8")):
        links = (resolve(root, INDEX, link["target"]) for link in LINK.finditer(part["body"]))
        pages = dict.fromkeys(link for link in links if link is not None and link.endswith(".md"))
        if pages:
            found.append((part["title"], list(pages)))
    return found


def toctree(title: str, pages: list[str]) -> str:
    """What makes a part of the menu."""
    names = "\n".join(place(page).removesuffix(".md") for page in pages)
    return f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{names}\n```\n"


def rewritten(root: Path, path: str) -> str:
    """The text of a page with its links as they are in the new place."""

    def link(match: re.Match[str]) -> str:
        target = resolve(root, path, match["target"])
        if target is None:
            return match[0]
        if not (root / target).is_file():
            return match["text"]  # a directory, which is nowhere on the site
        anchor = match["target"].partition("#")[1:]
        here = PurePosixPath(place(path)).parent
        return f"[{match['text']}]({os.path.relpath(place(target), here)}{''.join(anchor)})"

    text = (root / path).read_text(encoding="utf-8")
    return "".join(piece if is_code else LINK.sub(link, piece) for is_code, piece in pieces(text))


def resolve(root: Path, path: str, target: str) -> str | None:
    """The file that a link means, from the top of the repository; None for one elsewhere or in the page."""
    name = target.partition("#")[0]
    if not name or re.match(r"[a-z]+:", target):
        return None
    return (root / path).parent.joinpath(name).resolve().relative_to(root.resolve()).as_posix()


def place(path: str) -> str:
    """Where a file of the repository lies among the pages."""
    return path.removeprefix("docs/")


def prose(text: str) -> str:
    """The text without its blocks of code."""
    return "".join(piece for is_code, piece in pieces(text) if not is_code)


def pieces(text: str) -> Iterator[tuple[bool, str]]:
    """Yields the text in pieces, and of each whether it is a block of code."""
    at = 0
    for fence in FENCE.finditer(text):
        yield False, text[at : fence.start()]
        yield True, fence[0]
        at = fence.end()
    yield False, text[at:]
