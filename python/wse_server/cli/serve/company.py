"""What keeps a running server company: the line that it is ready, systemd, the watchdog."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

from wse_server import Server, __version__
from wse_server._typing import override
from wse_server.cli.output import write_json, write_line
from wse_server.cli.serve.ask import Asker
from wse_server.cli.serve.reload import Reloader
from wse_server.cli.systemd import Notifier
from wse_server.running import Watcher

__all__ = ["Company"]

_LOGGER = logging.getLogger("wse_server.serve")

# Between two questions whether a node has joined; it takes six seconds at most.
_LOOK_AGAIN = 0.1
# What a stop takes beside the drain: handlers that still run, topics that are handed over.
_TO_STOP = 20.0


class Company(Watcher):
    """Tells the world around a server how it is, from its start to its end.

    Args:
        server: The server.
        form: The form of the log, "text" or "json".
        reloader: Begins when the server has started.
        notifier: Where systemd listens.
        watchdog: Seconds between two signs of life; None if nobody waits for them.
    """

    def __init__(
        self, server: Server, form: str, reloader: Reloader, notifier: Notifier, watchdog: float | None
    ) -> None:
        self._server = server
        self._form = form
        self._reloader = reloader
        self._notifier = notifier
        self._watchdog = watchdog
        self._tasks: list[asyncio.Task[None]] = []

    @override
    def started(self) -> None:
        """Says so, and begins to look."""
        _tell_ready(self._server, self._form)
        self._reloader.begin()
        if self._notifier.is_heard:
            options = self._server.options
            networks = options.get("trusted_proxies", ()) if options.get("proxy_protocol") else ()
            asker = Asker(self._server.host, self._server.port, networks)
            self._begin(self._tell_when_ready(asker))
            if self._watchdog is not None:
                self._begin(self._watch(asker, self._watchdog))

    @override
    def draining(self, seconds: float) -> None:
        """Asks for the time that it takes."""
        _LOGGER.info("clients are sent away over %g s; a second signal hurries", seconds)
        self._notifier.stopping("sending clients away", seconds + _TO_STOP)

    @override
    def stopping(self) -> None:
        """Says so."""
        self._notifier.stopping("stopping", _TO_STOP)

    async def end(self) -> None:
        """Stops looking."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _begin(self, work: Any) -> None:  # noqa: ANN401 - a coroutine
        self._tasks.append(asyncio.ensure_future(work))

    async def _tell_when_ready(self, asker: Asker) -> None:
        """The service has started when it takes clients: units that wait for it want to connect."""
        self._notifier.status("joining the cluster" if self._server.engine.cluster_identity() else "starting")
        with suppress(OSError):
            while await asker.status("/ready", 1.0) != 200:  # noqa: ASYNC110 - nobody tells when it is
                await asyncio.sleep(_LOOK_AGAIN)
        self._notifier.ready(_where(self._server))

    async def _watch(self, asker: Asker, interval: float) -> None:
        """Gives signs of life for as long as the server answers; a loop that hangs gives none either."""
        pauses = 0
        while True:
            try:
                is_alive = await asker.status("/health", interval) == 200
            except OSError:
                is_alive = True
            # Without file descriptors nobody gets in, and this question neither. Everybody who is in is
            # served all the same, and a new start would send them away.
            before, pauses = pauses, self._server.health()["accept_pauses"]
            if is_alive or pauses > before:
                self._notifier.alive()
            else:
                _LOGGER.error("no answer on the own port: the watchdog is not told that the server lives")
            await asyncio.sleep(interval)


def _where(server: Server) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    identity = server.engine.cluster_identity()
    cluster = "" if identity is None else f", as a node of a cluster on {identity['address']}"
    return f"{host}:{server.port}{cluster}"


def _tell_ready(server: Server, form: str) -> None:
    """The one line on stdout: in the form of the log, since both often end up in one place."""
    if form != "json":
        write_line(f"wse {__version__} is ready on {_where(server)}")
        return
    line: dict[str, Any] = {"ready": True, "host": server.host, "port": server.port}
    identity = server.engine.cluster_identity()
    if identity is not None:
        line |= {"cluster": identity["address"], "instance_id": identity["instance_id"]}
    write_json(line | {"version": __version__})
