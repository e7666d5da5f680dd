"""Calls of the engine that wait, kept off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

__all__ = ["Waiting"]

P = ParamSpec("P")
T = TypeVar("T")

# Threads that wait cost next to nothing, and none is made before it is needed.
_THREADS = 64


class Waiting:
    """Runs calls in the loop, and in threads where they would wait: in a cluster."""

    def __init__(self) -> None:
        self.in_cluster = False
        self._threads: ThreadPoolExecutor | None = None

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls what waits for other nodes, if there are any."""
        if not self.in_cluster:
            return function(*args, **kwargs)
        return await self.in_thread(function, *args, **kwargs)

    async def in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls what waits in any case."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="wse-waiting")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: function(*args, **kwargs))

    def close(self) -> None:
        """Lets the threads end; what still runs in them is not waited for."""
        if self._threads is not None:
            self._threads.shutdown(wait=False)
            self._threads = None
