"""SIGHUP: what can be changed while the server runs is read anew."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping

from wse_server import Server
from wse_server.cli.settings import BY_NAME, Deployment, Level, deploy, resolve
from wse_server.cli.settings.elsewhere import variables

__all__ = ["Reloader"]

_LOGGER = logging.getLogger("wse_server.serve")

_TLS = ("tls_cert", "tls_key", "tls_ca")


class Reloader:
    """Reads the configuration of a running server anew, once at a time.

    Args:
        server: The server.
        deployment: What it was started with.
        flags: What was typed: it holds for as long as the process does.
    """

    def __init__(self, server: Server, deployment: Deployment, flags: Mapping[str, object]) -> None:
        self._server = server
        self._held = deployment
        self._flags = flags
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def request(self) -> None:
        """Asks for it, as the signal does. Several at once are one."""
        self._wanted.set()

    def begin(self) -> None:
        """Answers from now on, also what was asked for meanwhile."""
        self._task = asyncio.ensure_future(self._answer())

    async def end(self) -> None:
        """Answers no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _answer(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await asyncio.to_thread(self.reload)

    def reload(self) -> bool:
        """Reads all of it, and takes over what can be; with a mistake in it nothing is taken.

        Returns:
            Whether it was taken.
        """
        wanted = deploy(resolve(self._flags, os.environ, variables), os.environ)
        wrong = [found.line for found in wanted.findings if found.level is Level.PROBLEM]
        if not wrong:
            try:
                told = self._take(wanted)
            except ValueError as error:
                wrong = [str(error)]
        if wrong:
            for line in wrong:
                _LOGGER.error("not reloaded: %s", line)
            _LOGGER.error("the configuration has mistakes: the server goes on with what it had")
            return False
        _LOGGER.info("reloaded: %s", ", ".join(told) if told else "nothing that can be changed has changed")
        return True

    def _take(self, wanted: Deployment) -> list[str]:
        """Takes over what can be changed, and says what that was."""
        told = []
        cluster = wanted.cluster
        if cluster is not None and self._server.engine.cluster_identity() is not None:
            cert, key, ca = cluster.get("tls_cert"), cluster.get("tls_key"), cluster.get("tls_ca")
            if cert is not None and key is not None and ca is not None and self._has_tls():
                self._server.engine.reload_cluster_tls(cert, key, ca)
                told.append("the certificates of the cluster")
        for name in self._changed(wanted):
            _LOGGER.warning("%s has changed: that takes a restart", name)
        return told

    def _has_tls(self) -> bool:
        return self._held.cluster is not None and self._held.cluster.get("tls_cert") is not None

    def _changed(self, wanted: Deployment) -> list[str]:
        """The settings that are other than those the server runs with."""
        before, after = self._held.resolution, wanted.resolution
        return [name for name in BY_NAME if name not in _TLS and before[name] != after[name]]
