"""SIGHUP: what can be changed while the server runs is read anew."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from typing import Any

from wse_server import RustWSEServer, Server
from wse_server.cli.check import look
from wse_server.cli.serve.logs import configure
from wse_server.cli.settings import BY_NAME, Deployment, Level, deploy, resolve
from wse_server.cli.settings.elsewhere import variables
from wse_server.cli.systemd import Notifier

__all__ = ["Reloader"]

_LOGGER = logging.getLogger("wse_server.serve")

_KEYS = ("jwt_secret", "jwt_previous_secret", "jwt_private_key")
_LOG = ("log_level", "log_format")
# Named by their paths, so what is in them may be other though these are the same.
_FILES = ("tls_ca", "tls_cert", "tls_key")
_RELOADABLE = frozenset({*_KEYS, *_LOG, "api_key", "allowed_origins"})


class Reloader:
    """Reads the configuration of a running server anew, once at a time.

    Args:
        server: The server.
        deployment: What it was started with.
        flags: What was typed: it holds for as long as the process does, and so does the environment.
        notifier: Is told while it happens.
    """

    def __init__(
        self, server: Server, deployment: Deployment, flags: Mapping[str, object], notifier: Notifier
    ) -> None:
        self._server = server
        self._held = deployment
        self._flags = flags
        self._notifier = notifier
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
            self._notifier.reloading()
            done = await asyncio.to_thread(self.reload)
            self._notifier.ready("reloaded" if done else "not reloaded: the log says why; all is as it was")

    def reload(self) -> bool:
        """Reads all of it, and takes over what can be; with a mistake in it nothing is taken.

        Returns:
            Whether it was taken.
        """
        wanted = deploy(resolve(self._flags, os.environ, variables), os.environ)
        wrong = [found.line for found in look(wanted) if found.level is Level.PROBLEM]
        if not wrong:
            try:
                taken = self._take(wanted)
            except (TypeError, ValueError, RuntimeError) as error:
                wrong = [str(error)]
        if wrong:
            for line in wrong:
                _LOGGER.error("not reloaded: %s", line)
            _LOGGER.error("the configuration has mistakes: the server goes on with what it had")
            return False
        left = self._left(wanted)
        for name in left:
            _LOGGER.warning("%s has changed: that takes a restart", name)
        for name in _RELOADABLE - set(left):
            self._held.resolution.values[name] = wanted.resolution.values[name]
        _LOGGER.info("reloaded: %s", ", ".join(taken) if taken else "nothing that can be changed has changed")
        return True

    def _take(self, wanted: Deployment) -> list[str]:
        """Takes over what can be changed, and says what that was. What can fail comes first."""
        options = self._options(wanted)
        # The whole of it is looked at before any of it is taken.
        RustWSEServer(self._server.host, self._server.port, **options)
        taken = self._take_certificates(wanted)
        engine = self._server.engine
        changed = set(self._changed(wanted))
        if changed & set(_KEYS) and self._may_change("jwt_secret", options):
            engine.set_jwt_keys(
                options["jwt_secret"], options.get("jwt_previous_secret"), options.get("jwt_private_key")
            )
            taken.append("the keys of tokens")
        if "api_key" in changed and self._may_change("api_key", options):
            engine.set_api_key(options["api_key"])
            taken.append("the key of the HTTP API")
        if "allowed_origins" in changed:
            engine.set_allowed_origins(options.get("allowed_origins"))
            taken.append("the origins")
        if changed & set(_LOG):
            configure(wanted.log_level, wanted.log_format)
            taken.append("the log")
        return taken

    def _options(self, wanted: Deployment) -> dict[str, Any]:
        """What the engine would be made with, with what a program says itself."""
        return {**(self._server.options if wanted.app is not None else {}), **wanted.options}

    def _may_change(self, name: str, options: Mapping[str, Any]) -> bool:
        """A key may be another one; to switch it on or off takes a restart."""
        return options.get(name) is not None and self._server.options.get(name) is not None

    def _take_certificates(self, wanted: Deployment) -> list[str]:
        held, cluster = self._held.cluster, wanted.cluster
        if held is None or held.get("tls_cert") is None or cluster is None:
            return []
        cert, key, ca = cluster.get("tls_cert"), cluster.get("tls_key"), cluster.get("tls_ca")
        if cert is None or key is None or ca is None:
            return []
        self._server.engine.reload_cluster_tls(cert, key, ca)
        return ["the certificates of the cluster"]

    def _changed(self, wanted: Deployment) -> list[str]:
        """The settings that are other than those the server runs with."""
        before, after = self._held.resolution, wanted.resolution
        return [name for name in BY_NAME if name not in _FILES and before[name] != after[name]]

    def _left(self, wanted: Deployment) -> list[str]:
        """Those of them that can't be changed now."""
        options = self._options(wanted)
        return [
            name
            for name in self._changed(wanted)
            if name not in _RELOADABLE
            or (name in _KEYS and not self._may_change("jwt_secret", options))
            or (name == "api_key" and not self._may_change("api_key", options))
        ]
