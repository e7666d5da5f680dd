"""Reads spec/codes.toml and refuses a declaration that contradicts itself."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

SOURCE = "spec/codes.toml"
RECONNECT = {"no": "Never", "yes": "Backoff", "new token": "NewToken"}
SENDERS = {"server", "application", "client"}


@dataclass(frozen=True)
class Error:
    """One error code."""

    name: str
    meaning: str
    advice: str
    close: int | None = None


@dataclass(frozen=True)
class Close:
    """One close code."""

    code: int
    name: str
    sent_by: tuple[str, ...]
    reconnect: str
    meaning: str
    advice: str
    min_ms: int = 0
    max_ms: int = 0


@dataclass(frozen=True)
class Backoff:
    """How attempts grow further apart, and what holds for a code that is not in the table."""

    factor: float
    max_ms: int
    unknown_reconnect: str
    unknown_min_ms: int
    unknown_max_ms: int


@dataclass(frozen=True)
class Codes:
    """The whole file."""

    backoff: Backoff
    errors: tuple[Error, ...]
    closes: tuple[Close, ...]


def load(root: Path) -> Codes:
    """All codes, in the order of the file."""
    with (root / SOURCE).open("rb") as file:
        tables = tomllib.load(file)
    closes = [Close(**{**table, "sent_by": tuple(table["sent_by"])}) for table in tables["close"]]
    codes = Codes(
        backoff=Backoff(**tables["backoff"]),
        errors=tuple(Error(**table) for table in tables["error"]),
        closes=tuple(sorted(closes, key=lambda close: close.code)),
    )
    check(codes)
    return codes


def check(codes: Codes) -> None:
    """Stops at the first contradiction."""
    known = {close.code for close in codes.closes}
    expect(len(known) == len(codes.closes), "a close code is declared twice")
    expect(len({error.name for error in codes.errors}) == len(codes.errors), "an error is declared twice")
    for error in codes.errors:
        expect(error.close is None or error.close in known, f"{error.name} closes with an unknown code")
    for close in codes.closes:
        comes_back = close.reconnect != "no"
        expect(set(close.sent_by) <= SENDERS, f"{close.code} is sent by somebody unknown")
        expect(close.reconnect in RECONNECT, f"{close.code}: reconnect is none of {sorted(RECONNECT)}")
        expect(0 <= close.min_ms <= close.max_ms, f"{close.code}: min_ms is above max_ms")
        expect(comes_back == (close.max_ms > 0), f"{close.code}: times and reconnect contradict each other")
        expect(close.max_ms <= codes.backoff.max_ms, f"{close.code}: max_ms is above that of [backoff]")


def expect(condition: bool, complaint: str) -> None:
    """Ends the program with a complaint about the declaration."""
    if not condition:
        raise SystemExit(f"{SOURCE}: {complaint}")


def sender(close: Close) -> str:
    """Who sends it, in words."""
    if not close.sent_by:
        return "nobody (it stands for the event in an API)"
    return " or ".join(f"the {name}" for name in close.sent_by)
