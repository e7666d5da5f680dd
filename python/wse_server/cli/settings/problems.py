"""What is found about a configuration."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Finding", "Level"]


class Level(enum.StrEnum):
    """How much a finding matters."""

    PROBLEM = "problem"
    """The server does not start with it."""
    WARNING = "warning"
    """It starts, and somebody should know."""
    NOTE = "note"
    """Nothing is wrong; it says what was passed over."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or worth knowing, about a configuration."""

    level: Level
    """How much it matters."""
    setting: str | None
    """The setting that it is about, as `declaration` names it; None where it is about none."""
    source: str
    """Where it was told: "--port", "WSE_PORT", "wse.toml: port", "default", or what was looked at."""
    message: str
    """What is wrong, with the value that is (never a secret) and what is allowed."""
    hint: str | None = None
    """What to do about it."""

    @property
    def line(self) -> str:
        """All of it in one line."""
        text = f"{self.source}: {self.message}"
        return f"{text} ({self.hint})" if self.hint else text

    def as_dict(self) -> dict[str, str | None]:
        """For JSON."""
        return {
            "level": self.level.value,
            "setting": self.setting,
            "source": self.source,
            "message": self.message,
            "hint": self.hint,
        }


def problem(setting: str | None, source: str, message: str, hint: str | None = None) -> Finding:
    """Something with which the server does not start."""
    return Finding(Level.PROBLEM, setting, source, message, hint)


def warning(setting: str | None, source: str, message: str, hint: str | None = None) -> Finding:
    """Something that somebody should know."""
    return Finding(Level.WARNING, setting, source, message, hint)


def note(setting: str | None, source: str, message: str, hint: str | None = None) -> Finding:
    """Something that was passed over."""
    return Finding(Level.NOTE, setting, source, message, hint)
