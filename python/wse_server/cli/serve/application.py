"""The server that `wse serve` runs: one of its own, or that of a program."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import traceback
from pathlib import Path

from wse_server import Server
from wse_server.cli.errors import CliError, ExitCode
from wse_server.cli.settings import Deployment

__all__ = ["make_server"]

_LOGGER = logging.getLogger("wse_server.serve")


def make_server(deployment: Deployment) -> Server:
    """Makes the server, ready to be started.

    Raises:
        CliError: The program can't be imported, or has no such server, or refuses the settings.
    """
    if deployment.app is None:
        return Server(deployment.host, deployment.port, cluster=deployment.cluster, **deployment.options)
    server = _load(deployment.app, deployment.resolution.source("app"))
    resolution = deployment.resolution
    # What is told nowhere is as the program has it.
    host = deployment.host if resolution.is_given("host") else None
    port = deployment.port if resolution.is_given("port") else None
    if host is None and port is None and deployment.cluster is None and not deployment.options:
        return server
    try:
        server.configure(host, port, cluster=deployment.cluster, **deployment.options)
    except RuntimeError:
        raise CliError(
            f"{deployment.app} uses server.engine before it runs, so settings can't reach it",
            hint="take server.engine in a handler or in background(), or leave all but --app out",
            code=ExitCode.USAGE,
        ) from None
    except (TypeError, ValueError) as error:
        raise CliError(
            f"{deployment.app} and the settings do not go together: {error}", code=ExitCode.USAGE
        ) from None
    return server


def _load(app: str, source: str) -> Server:
    module_name, _, attributes = app.partition(":")
    # As `python -m` does: a program beside which one stands is found.
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: object = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise _failed(module_name, error) from None
        raise CliError(
            f"{source}: there is no module {error.name!r}",
            hint=f"looked in {here} first",
            code=ExitCode.USAGE,
        ) from None
    except Exception as error:  # noqa: BLE001 - whatever a program does when it is imported
        raise _failed(module_name, error) from None
    for name in attributes.split("."):
        if not hasattr(found, name):
            raise CliError(f"{source}: {module_name} has no {attributes}", code=ExitCode.USAGE)
        found = getattr(found, name)
    if not isinstance(found, Server):
        raise CliError(
            f"{source}: {app} is of type {type(found).__name__}, no wse_server.Server", code=ExitCode.USAGE
        )
    return found


def _failed(module: str, error: Exception) -> CliError:
    """One line about what went wrong in somebody's program; all of it is in the log at level debug."""
    _LOGGER.debug("%s can't be imported", module, exc_info=error)
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "importlib" not in frame.filename and frame.filename != __file__]
    place = f" ({ours[-1].filename}:{ours[-1].lineno})" if ours else ""
    return CliError(
        f"{module} can't be imported: {type(error).__name__}: {error}{place}",
        hint="--log-level debug has the traceback",
    )
