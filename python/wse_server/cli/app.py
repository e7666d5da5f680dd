"""The root of the command line: which commands there are, and what becomes of their errors."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import NoReturn, cast

import click

from wse_server import __version__
from wse_server._typing import override
from wse_server.cli.errors import CliError, ExitCode
from wse_server.cli.output import say_error

__all__ = ["run", "wse"]

# Command -> where it is, and the line of `wse --help`. A module is imported when its command is used:
# `wse health` is a probe that runs every few seconds, and should not load what `wse bench` needs.
_COMMANDS: dict[str, tuple[str, str]] = {
    "serve": ("wse_server.cli.serve.command:serve", "run a server, alone or as a node of a cluster"),
    "check": ("wse_server.cli.check.command:check", "say what is wrong with a configuration before it runs"),
    "health": ("wse_server.cli.health:health", "how servers are; a probe"),
    "top": ("wse_server.cli.top.command:top", "what nodes do, as it changes"),
    "pub": ("wse_server.cli.pub:pub", "publish a message, or each line of a pipe"),
    "sub": ("wse_server.cli.sub:sub", "show what is published to topics, as it comes"),
    "certs": ("wse_server.cli.certs:certs", "certificates of nodes: make, renew, look at"),
    "token": ("wse_server.cli.token:token", "tokens (JWT): mint, look at; a secret to sign with"),
    "bench": ("wse_server.cli.bench.command:bench", "measure a server: connects, memory, latency, fan-out"),
    "plan": ("wse_server.cli.plan.command:plan", "what so many connections need: memory, cores, options"),
    "rebalance": ("wse_server.cli.rebalance:rebalance", "move clients until all nodes have their share"),
    "rolling-restart": (
        "wse_server.cli.rolling_restart:rolling_restart",
        "restart the nodes of a cluster one after the other",
    ),
    "completion": ("wse_server.cli.completion:completion", "print what a shell needs to complete wse"),
}


class _ReaderGoneError(Exception):
    """Whoever read our output has gone, as `head` does."""


class _Commands(click.Group):
    """Commands that are imported when they are used."""

    @override
    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # click would exit with 1, as if something had failed.
            raise _ReaderGoneError from None

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        return cast(click.Command, getattr(importlib.import_module(module), attribute))

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, summary) for name, (_, summary) in _COMMANDS.items()]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="wse")
def wse() -> None:
    """A WebSocket server, and what goes with one."""


def run() -> NoReturn:
    """Runs the command line and exits; errors become a line and an exit code, never a traceback."""
    sys.exit(_run())


def _run() -> int:
    try:
        result = wse.main(prog_name="wse", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return ExitCode.USAGE
    except (CliError, click.ClickException) as error:
        shown = error if isinstance(error, CliError) else _of_click(error)
        say_error(shown)
        return shown.code
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except (BrokenPipeError, _ReaderGoneError):
        # Nothing is left to say, at the end neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return result if isinstance(result, int) else ExitCode.OK


def _of_click(error: click.ClickException) -> CliError:
    if not isinstance(error, click.UsageError):
        return CliError(error.format_message())
    place = error.ctx.command_path if error.ctx is not None else "wse"
    return CliError(error.format_message(), hint=f"see {place} --help", code=ExitCode.USAGE)
