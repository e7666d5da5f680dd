"""What arguments of the asyncio server must be."""

from __future__ import annotations

__all__ = ["check_count", "check_seconds"]


def check_count(name: str, value: object) -> None:
    """Refuses what is no whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be int, got {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")


def check_seconds(name: str, value: object) -> None:
    """Refuses what is no number of seconds."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be float, got {type(value).__name__}")
    if not 0 <= value < 1e6:
        raise ValueError(f"{name} must be at least 0 and below 1000000, got {value}")
