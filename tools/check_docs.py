"""Checks what can rot in the documents: links, anchors, `make` targets, and Python that no longer parses.

python tools/check_docs.py            every Markdown file that git knows or would add
python tools/check_docs.py FILE...    only these
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

FENCE = re.compile(r"(?ms)^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```$")
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ +(?P<title>.+?)\s*$", re.MULTILINE)
MAKE = re.compile(r"`make (?P<target>[a-z][a-z-]*)[^`]*`")
TARGET = re.compile(r"^(?P<target>[a-z][a-z-]*):", re.MULTILINE)


def main() -> int:
    """Prints each finding as `file:line: what is wrong`. Returns 1 if there was one."""
    files = [Path(name).resolve() for name in sys.argv[1:]] or documents()
    findings = [finding for file in files for finding in check(file)]
    for finding in findings:
        print(finding)
    print(f"{len(files)} documents, {len(findings)} findings")
    return 1 if findings else 0


def documents() -> list[Path]:
    """Lists the Markdown files of the project."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [ROOT / name for name in names if (ROOT / name).exists()]


def check(file: Path) -> Iterator[str]:
    """Yields what is wrong in one file."""
    text = file.read_text()
    # Blanked rather than cut out, so that the line numbers stay.
    prose = FENCE.sub(lambda fence: re.sub(r"[^\n]", " ", fence[0]), text)

    def at(position: int, problem: str) -> str:
        shown = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file
        return f"{shown}:{text.count(chr(10), 0, position) + 1}: {problem}"

    for link in LINK.finditer(prose):
        problem = check_link(file, link["target"])
        if problem:
            yield at(link.start(), problem)
    for command in MAKE.finditer(prose):
        if command["target"] not in make_targets():
            yield at(command.start(), f"there is no 'make {command['target']}'")
    for fence in FENCE.finditer(text):
        if fence["language"] == "python":
            try:
                ast.parse(textwrap.dedent(fence["code"]))
            except SyntaxError as error:
                yield at(fence.start(), f"the example does not parse: {error}")


def check_link(file: Path, target: str) -> str | None:
    """Says what is wrong with a link, or None. Addresses on the network are not asked for."""
    if re.match(r"[a-z]+:", target):
        return None
    name, _, anchor = target.partition("#")
    destination = (file.parent / name).resolve() if name else file
    if not destination.exists():
        return f"'{name}' leads nowhere"
    if anchor and destination.suffix == ".md" and anchor not in anchors(destination):
        return f"'{target}': there is no such heading"
    return None


def anchors(file: Path) -> set[str]:
    """Lists the anchors of a file's headings, made as code forges make them."""
    titles = (heading["title"].lower() for heading in HEADING.finditer(FENCE.sub("", file.read_text())))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def make_targets() -> set[str]:
    """Lists the targets of the Makefile."""
    return {target["target"] for target in TARGET.finditer((ROOT / "Makefile").read_text())}


if __name__ == "__main__":
    sys.exit(main())
