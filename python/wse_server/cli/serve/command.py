"""The command line of `wse serve`."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any, NoReturn

import click

from wse_server.cli.errors import CliError, ExitCode
from wse_server.cli.output import say_error
from wse_server.cli.settings import Deployment, Level, deploy, resolve
from wse_server.cli.settings.flags import SettingsCommand, told, with_settings

__all__ = ["deployment_of", "serve"]

EPILOG = (
    "Each option can be given as its variable in the environment or as a key of the TOML file of --config; "
    "a flag goes before a variable, and a variable before the file. SIGTERM lets clients go and ends the "
    "server, SIGHUP reads keys, certificates and origins anew."
)


@click.command(cls=SettingsCommand, epilog=EPILOG)
@with_settings
def serve(**arguments: Any) -> int:
    """Run a server: that of --app, or one whose clients subscribe and to which the HTTP API publishes."""
    # A container's first process is not ended by a signal that it does not take, so it takes it from here on.
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from wse_server.cli.check import look

    deployment = deployment_of(arguments)
    deployment.findings = look(deployment)
    problems = [found for found in deployment.findings if found.level is Level.PROBLEM]
    for found in problems:
        say_error(CliError(f"{found.source}: {found.message}", hint=found.hint))
    if problems:
        return ExitCode.USAGE
    from wse_server.cli.serve.run import run

    run(deployment, told(arguments))
    return ExitCode.OK


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """Before there is a server there is nothing to drain."""
    del number, frame
    raise SystemExit(ExitCode.OK)


def deployment_of(arguments: dict[str, Any]) -> Deployment:
    """What the command line, the environment and the file make together."""
    from wse_server.cli.settings.elsewhere import variables

    return deploy(resolve(told(arguments), os.environ, variables), os.environ)
