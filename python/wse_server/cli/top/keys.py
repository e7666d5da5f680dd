"""Keys of a terminal, one by one and without their echo; the terminal is as it was when it is over."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

__all__ = ["Keys", "keys"]


class Keys:
    """What is typed.

    Args:
        descriptor: The terminal; None where there is none, and nothing is ever typed.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    @property
    def are_there(self) -> bool:
        """Whether anything can be typed."""
        return self._descriptor is not None

    def wait(self, seconds: float) -> str:
        """Waits for a key, and returns it; an empty text if none came in time."""
        if self._descriptor is None:
            select.select([], [], [], seconds)
            return ""
        if not select.select([self._descriptor], [], [], seconds)[0]:
            return ""
        try:
            typed = os.read(self._descriptor, 64)
        except OSError:
            typed = b""
        if not typed:
            # The terminal is gone, and with it whoever looked.
            return "q"
        # An arrow is several bytes, of which only the first is no letter; it means nothing here.
        return typed.decode("ascii", "replace")[:1]


@contextmanager
def keys() -> Iterator[Keys]:
    """Keys of standard input, if that and standard output are a terminal."""
    if not (os.isatty(0) and sys.stdout.isatty()):
        yield Keys(None)
        return
    before = termios.tcgetattr(0)
    # Ends by the way that restores the terminal, and not on the spot.
    was = signal.signal(signal.SIGTERM, _leave)
    try:
        tty.setcbreak(0)
        # A command that is stopped by Ctrl-Z would leave its screen to the shell.
        now = termios.tcgetattr(0)
        now[6][termios.VSUSP] = b"\0"
        termios.tcsetattr(0, termios.TCSADRAIN, now)
        yield Keys(0)
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
        signal.signal(signal.SIGTERM, was)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
