"""A server as a whole program: signals, draining, the end."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wse_server.server import Server

__all__ = ["Watcher", "run", "serve"]

_LOGGER = logging.getLogger("wse_server")

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Watcher:
    """Is told where a server is in its life; whoever wants to know overrides something."""

    def started(self) -> None:
        """The port is open."""

    def draining(self, seconds: float) -> None:
        """Clients are sent away over this time, unless a second signal hurries."""

    def stopping(self) -> None:
        """The rest of them is closed now."""


async def serve(server: Server, drain_timeout: float, watcher: Watcher | None = None) -> None:
    """Runs a server until the first signal, and lets its clients go until the second."""
    told = watcher if watcher is not None else Watcher()
    loop = asyncio.get_running_loop()
    first, second = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (second if first.is_set() else first).set()

    # Before the start: a signal that comes in the middle of it is not lost.
    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal)
    try:
        async with server:
            told.started()
            await first.wait()
            if drain_timeout > 0:
                told.draining(drain_timeout)
                await _drain(server, drain_timeout, second)
            told.stopping()
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def _drain(server: Server, seconds: float, hurry: asyncio.Event) -> None:
    draining = asyncio.ensure_future(server.drain(timeout=seconds))
    hurrying = asyncio.ensure_future(hurry.wait())
    await asyncio.wait((draining, hurrying), return_when=asyncio.FIRST_COMPLETED)
    if not draining.done():
        _LOGGER.warning("a second signal: the server stops at once")
        # Stopping ends the drain.
        await server.stop()
    hurrying.cancel()
    result = await draining
    _LOGGER.info("drained=%d cut=%d", result["drained"], result["cut"])


def run(
    server: Server, drain_timeout: float, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None
) -> None:
    """Runs a server in a loop of its own."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(serve(server, drain_timeout))
