"""What a program does all the time while its server runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from wse_server.handlers import Function, read_parameters

__all__ = ["Background", "check_background"]

_LOGGER = logging.getLogger("wse_server")


def check_background(function: Function) -> None:
    """Looks whether a function can be run in the background.

    Raises:
        TypeError: It is not `async`, or has a parameter without a default; the message names it.
    """
    parameters = read_parameters(function, "background")
    if not parameters.is_async:
        raise parameters.error(None, "is not async: it would keep the event loop to itself")
    parameters.check_no_more(parameters.positional, "()")


class Background:
    """The tasks of one life of a server."""

    def __init__(self, functions: list[Function]) -> None:
        self._tasks = [asyncio.ensure_future(_run(function())) for function in functions]

    async def end(self, patience: float) -> None:
        """Cancels them and waits for their end."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=patience)
            if left:
                _LOGGER.error("%d background tasks do not let themselves be cancelled: they go on", len(left))
        self._tasks.clear()


async def _run(work: Coroutine[Any, Any, object]) -> None:
    # The name is asked for first: a coroutine that has ended has none of its place left.
    name = getattr(work, "__qualname__", repr(work))
    try:
        await work
    except Exception:
        _LOGGER.exception("%s, in the background, failed; the server goes on without it", name)
