"""Runs a server as a service: its log, its signals, and one line when it can be connected to."""

from __future__ import annotations

import asyncio
import errno
import importlib
import importlib.util
import logging
import signal
from collections.abc import Callable, Mapping
from typing import Any

from wse_server import Server, __version__
from wse_server._typing import override
from wse_server.cli.errors import CliError, ExitCode
from wse_server.cli.output import write_json, write_line
from wse_server.cli.serve.application import make_server
from wse_server.cli.serve.logs import configure
from wse_server.cli.serve.reload import Reloader
from wse_server.cli.settings import Deployment, Level
from wse_server.running import Watcher, serve

__all__ = ["run"]

_LOGGER = logging.getLogger("wse_server.serve")


def run(deployment: Deployment, flags: Mapping[str, object]) -> None:
    """Runs until SIGTERM or SIGINT.

    Args:
        deployment: What to run, without problems.
        flags: What was typed, for SIGHUP.

    Raises:
        CliError: It can't be started.
    """
    configure(deployment.log_level, deployment.log_format)
    for found in deployment.findings:
        _LOGGER.log(logging.WARNING if found.level is Level.WARNING else logging.INFO, "%s", found.line)
    server = make_server(deployment)
    _tell_who_may_come(deployment)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            runner.run(_run(server, deployment, flags))
        except OSError as error:
            raise _not_started(error) from None
        except ValueError as error:
            # What only the engine knows when it starts, such as a certificate that can't be used.
            raise CliError(str(error), code=ExitCode.USAGE) from None


async def _run(server: Server, deployment: Deployment, flags: Mapping[str, object]) -> None:
    reloader = Reloader(server, deployment, flags)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, reloader.request)
    try:
        await serve(server, deployment.drain_timeout, _Service(server, deployment, reloader))
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        await reloader.end()


class _Service(Watcher):
    """Tells the world around the process how it is."""

    def __init__(self, server: Server, deployment: Deployment, reloader: Reloader) -> None:
        self._server = server
        self._deployment = deployment
        self._reloader = reloader

    @override
    def started(self) -> None:
        _tell_ready(self._server, self._deployment.log_format)
        self._reloader.begin()

    @override
    def draining(self, seconds: float) -> None:
        _LOGGER.info("clients are sent away over %g s; a second signal hurries", seconds)


def _tell_ready(server: Server, form: str) -> None:
    """The one line on stdout: in the form of the log, since both often end up in one place."""
    identity = server.engine.cluster_identity()
    if form == "json":
        line: dict[str, Any] = {"ready": True, "host": server.host, "port": server.port}
        if identity is not None:
            line |= {"cluster": identity["address"], "instance_id": identity["instance_id"]}
        write_json(line | {"version": __version__})
        return
    cluster = "" if identity is None else f", as a node of a cluster on {identity['address']}"
    host = f"[{server.host}]" if ":" in server.host else server.host
    write_line(f"wse {__version__} is ready on {host}:{server.port}{cluster}")


def _tell_who_may_come(deployment: Deployment) -> None:
    if deployment.app is not None:
        return
    options = deployment.options
    if options.get("jwt_secret") is None and options.get("jwks") is None:
        may = (
            "subscribe to every topic and publish"
            if options.get("client_publish")
            else "subscribe to every topic"
        )
        _LOGGER.warning(
            "OPEN TO EVERYBODY: without jwt_secret or jwks anybody who reaches the port may %s", may
        )


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Uvloop where it is installed."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    return factory


def _not_started(error: OSError) -> CliError:
    message = (error.strerror or str(error)).removesuffix(f" (os error {error.errno})")
    hint = {
        errno.EADDRINUSE: "another process has the port: ss -ltnp tells which; or choose another one",
        errno.EACCES: "ports below 1024 need CAP_NET_BIND_SERVICE; behind a proxy 5007 is fine",
        errno.EADDRNOTAVAIL: "no interface of this machine has the address; 0.0.0.0 is all of them",
    }.get(error.errno or 0)
    return CliError(message, hint=hint)
