"""The variables that the other commands read, for they are no mistake in the environment of a server."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import click

__all__ = ["variables"]


def variables() -> set[str]:
    """Their names. It imports all commands, so it is asked only about a name that is not known."""
    root = importlib.import_module("wse_server.cli.app").wse
    return set(_of(root, click.Context(root)))


def _of(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.params:
        names = parameter.envvar
        yield from [names] if isinstance(names, str) else names or ()
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from _of(inner, context)
