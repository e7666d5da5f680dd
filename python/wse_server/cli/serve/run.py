"""Runs a server as a service: its log, its signals, and one line when it can be connected to."""

from __future__ import annotations

import asyncio
import errno
import importlib
import importlib.util
import logging
import os
import resource
import signal
from collections.abc import Callable, Mapping

from wse_server import Server
from wse_server.cli.check.machine import descriptors
from wse_server.cli.errors import CliError, ExitCode
from wse_server.cli.serve.application import make_server
from wse_server.cli.serve.company import Company
from wse_server.cli.serve.logs import configure
from wse_server.cli.serve.reload import Reloader
from wse_server.cli.settings import Deployment, Level
from wse_server.cli.systemd import Notifier, watchdog_interval
from wse_server.running import serve

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
    _raise_limits(deployment)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            runner.run(_run(server, deployment, flags))
        except OSError as error:
            raise _not_started(error) from None
        except ValueError as error:
            # What only the engine knows when it starts, such as a certificate that can't be used.
            raise CliError(str(error), code=ExitCode.USAGE) from None


async def _run(server: Server, deployment: Deployment, flags: Mapping[str, object]) -> None:
    notifier = Notifier.of(os.environ)
    reloader = Reloader(server, deployment, flags, notifier)
    watchdog = watchdog_interval(os.environ)
    company = Company(server, deployment.log_format, reloader, notifier, watchdog)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, reloader.request)
    try:
        await serve(server, deployment.drain_timeout, company)
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        # What is left takes a moment. A signal more shall not make a bad exit of a good one.
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        await company.end()
        await reloader.end()
        notifier.close()


def _raise_limits(deployment: Deployment) -> None:
    """Lets the process have as many file descriptors as its clients need, as far as it may."""
    needed = descriptors(deployment)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))


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
