"""Notices a handler that blocks the event loop."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback

__all__ = ["LoopWatch"]

_LOGGER = logging.getLogger("wse_server")

# For how long the loop is looked at after something has happened. An idle one is left alone.
_AWAKE_SECONDS = 2.0
# Of a loop that is blocked again and again the log tells so often.
_BETWEEN_SECONDS = 5.0


class LoopWatch:
    """A thread that asks the loop for signs of life while there is work, and tells where it hangs.

    Args:
        loop: The loop to look at, from whose thread this is made.
        limit: Seconds without a sign of life that are worth a line in the log.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: float) -> None:
        self._loop = loop
        self._limit = limit
        self._loop_thread = threading.get_ident()
        self._wanted = threading.Event()
        self._beat = threading.Event()
        self._awake = False
        self._until = 0.0
        self._ended = False
        self._told_at = -_BETWEEN_SECONDS
        self._untold = 0
        threading.Thread(target=self._watch, name="wse-watch", daemon=True).start()

    def work(self) -> None:
        """There is something to do for the loop, from whose thread this is called."""
        if not self._awake:
            self._awake = True
            self._until = time.monotonic() + _AWAKE_SECONDS
            self._wanted.set()

    def end(self) -> None:
        """Lets the thread end."""
        self._ended = True
        self._wanted.set()
        self._beat.set()

    def _watch(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            while not self._ended and time.monotonic() < self._until:
                self._look()
                time.sleep(min(self._limit / 4, 0.1))
            if self._ended:
                return
            # What happens from here on wakes it again; `work` may have been called in between, to no effect
            # but this delay.
            self._awake = False

    def _look(self) -> None:
        self._beat.clear()
        began = time.monotonic()
        try:
            self._loop.call_soon_threadsafe(self._beat.set)
        except RuntimeError:
            self._ended = True  # The loop is closed.
            return
        if self._beat.wait(self._limit):
            return
        where, tells = self._where(), began >= self._told_at + _BETWEEN_SECONDS
        if tells:
            more = f" ({self._untold} times more, in between)" if self._untold else ""
            self._told_at, self._untold = time.monotonic(), 0
            _LOGGER.warning(
                "the event loop is blocked, since %.2f s%s: %s", self._told_at - began, more, where
            )
        else:
            self._untold += 1
        self._beat.wait()
        if not self._ended:
            seconds = time.monotonic() - began
            if tells:
                _LOGGER.warning("the event loop was blocked for %.2f s: %s", seconds, where)
            self._until = max(self._until, time.monotonic() + _AWAKE_SECONDS)

    def _where(self) -> str:
        """The innermost lines of the loop's thread, the deepest last."""
        frame = sys._current_frames().get(self._loop_thread)
        lines = traceback.extract_stack(frame)[-3:] if frame is not None else []
        return (
            " > ".join(f"{line.filename}:{line.lineno} in {line.name}" for line in lines)
            or "nobody knows where"
        )
