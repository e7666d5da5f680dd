"""What is said of one option.

Generated from spec/options.toml by `python3 tools/generate.py`; edit that file and run it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Option"]


@dataclass(frozen=True, slots=True)
class Option:
    """One option of the server, for whatever offers or explains it: a command line, a configuration file."""

    name: str
    """The keyword argument."""
    kind: Literal[
        "boolean", "bytes", "choice", "integer", "networks", "number", "origins", "seconds", "secret", "text"
    ]
    """What its value is: `bytes` and `integer` are an `int`, `seconds` and `number` a `float`, a `choice` is
    one of `choices`, `text` a `str`, a `secret` is `bytes` or `str` and shown to nobody, `origins` and
    `networks` are lists of `str`."""
    default: bool | int | float | str | tuple[str, ...] | None
    """What holds when it is not given."""
    unit: str
    """What one of it is."""
    allowed: str
    """The values allowed, in the words of the error about all others."""
    minimum: int | float | None
    """The least number allowed; None for what is no number."""
    maximum: int | float | None
    """The greatest number allowed; None for what is no number."""
    choices: tuple[str, ...]
    """The values of a choice; empty for all others."""
    nullable: bool
    """Whether it may be None."""
    for_now: str | None
    """What is not built yet, in a sentence; None if all of it is."""
    group: str
    """The heading under which the reference lists it."""
    summary: str
    """What it is, in a sentence."""
    advice: str
    """How to choose it, and what must hold."""
