"""What a Dockerfile says, and what `docker build` sends of the repository."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from documents import ROOT


@dataclass(frozen=True)
class Instruction:
    """One instruction: its name, flags and arguments, and whether these were written as a list of JSON."""

    name: str
    flags: tuple[str, ...]
    value: tuple[str, ...]
    is_list: bool


@dataclass
class Stage:
    """What follows a FROM."""

    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, name: str) -> list[Instruction]:
        """Its instructions of this name."""
        return [one for one in self.instructions if one.name == name]

    def the(self, name: str) -> Instruction:
        """Its one instruction of this name."""
        (found,) = self.all(name)
        return found

    @property
    def variables(self) -> dict[str, str]:
        """What ENV says."""
        return {
            name: value
            for one in self.all("ENV")
            for name, value in zip(one.value[::2], one.value[1::2], strict=True)
        }


def stages(file: Path) -> list[Stage]:
    """The stages of a Dockerfile, as Docker's own parser reads it."""
    dockerfile = pytest.importorskip(
        "dockerfile", reason="the parser of Dockerfiles has no package for this machine"
    )
    found: list[Stage] = []
    for command in dockerfile.parse_file(str(file)):
        if command.cmd.upper() == "FROM":
            base, *rest = command.value
            found.append(Stage(base, rest[1] if rest else ""))
        else:
            one = Instruction(command.cmd.upper(), command.flags, command.value, command.json)
            found[-1].instructions.append(one)
    return found


@dataclass(frozen=True)
class Image:
    """What a container of an image begins with."""

    command: list[str]
    healthcheck: list[str]
    environment: dict[str, str]
    user: str
    directory: str


def image() -> Image:
    """The image of the repository's Dockerfile, but for PATH: the tests have their own packages."""
    last = stages(ROOT / "Dockerfile")[-1]
    (sub,) = [one for one in last.instructions if one.name == "HEALTHCHECK"]
    return Image(
        command=[*last.the("ENTRYPOINT").value, *last.the("CMD").value],
        healthcheck=list(sub.value),
        environment={name: value for name, value in last.variables.items() if name != "PATH"},
        user=last.the("USER").value[0],
        directory=last.the("WORKDIR").value[0],
    )


# ---- What is sent ----


def _pattern(line: str) -> re.Pattern[str]:
    """A line of .dockerignore: it means what it matches, and all that lies below."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", line.strip("/"))
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(known.get(part, re.escape(part)) for part in parts) + "(?:/.*)?")


def rules() -> list[tuple[bool, re.Pattern[str]]]:
    """The lines of .dockerignore: whether what they match is sent after all, and the pattern."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    told = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return [(line.startswith("!"), _pattern(line.removeprefix("!"))) for line in told]


def is_sent(path: str) -> bool:
    """Whether a file of the repository is sent: the last line that matches it decides."""
    matching = [is_back for is_back, pattern in rules() if pattern.fullmatch(path)]
    return not matching or matching[-1]


def sent(source: str) -> Iterator[str]:
    """The files that a source of COPY has, of those on this disk."""
    place = ROOT / source
    files = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
    for file in files:
        path = file.relative_to(ROOT).as_posix()
        if is_sent(path):
            yield path
