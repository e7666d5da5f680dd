"""`wse check`: what is wrong with a configuration, all of it, before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from wse_server.cli.check import look
from wse_server.cli.errors import CliError, ExitCode
from wse_server.cli.output import out, write_json, write_line
from wse_server.cli.serve.command import deployment_of
from wse_server.cli.settings import BY_NAME, Deployment, Finding, Level
from wse_server.cli.settings.flags import SettingsCommand, with_settings
from wse_server.cli.settings.problems import problem

__all__ = ["check"]

_COLOURS = {Level.PROBLEM: "bold red", Level.WARNING: "yellow", Level.NOTE: "dim"}


@click.command(cls=SettingsCommand)
@click.option("--json", "as_json", is_flag=True, help="One object of JSON instead of the table.")
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings too.")
@click.option("--show", is_flag=True, help="Show what every setting is and who said so, without secrets.")
@with_settings
def check(as_json: bool, strict: bool, show: bool, **arguments: Any) -> int:
    """Say what is wrong with a configuration before it runs: all problems at once, each with its source.

    It takes what `wse serve` takes, from the same places, and starts nothing. With --app it imports the
    program.

    Exits with 1 if there are problems, with which `wse serve` would not start.
    """
    deployment = deployment_of(arguments)
    findings = look(deployment)
    findings += _of_app(deployment, findings)
    by_level = {level: [found for found in findings if found.level is level] for level in Level}
    is_bad = bool(by_level[Level.PROBLEM] or (strict and by_level[Level.WARNING]))
    if as_json:
        told = {f"{level}s": [found.as_dict() for found in of_level] for level, of_level in by_level.items()}
        settings = {"settings": _settings(deployment)} if show else {}
        write_json({"ok": not is_bad, **told, **settings})
    else:
        if show:
            _write_settings(deployment)
        _write_findings([found for level in Level for found in by_level[level]])
        counts = [_counted(len(by_level[level]), level) for level in (Level.PROBLEM, Level.WARNING)]
        write_line(" and ".join(counts))
    return ExitCode.FAILED if is_bad else ExitCode.OK


def _of_app(deployment: Deployment, findings: list[Finding]) -> list[Finding]:
    """Whether the program can be imported and takes the settings."""
    if deployment.app is None or any(found.level is Level.PROBLEM for found in findings):
        return []
    from wse_server.cli.serve.application import make_server

    try:
        make_server(deployment)
    except CliError as error:
        return [problem("app", deployment.resolution.source("app"), str(error), error.hint)]
    return []


def _counted(number: int, level: Level) -> str:
    return f"{number or 'no'} {level}{'' if number == 1 else 's'}"


def _settings(deployment: Deployment) -> dict[str, dict[str, Any]]:
    """What holds, and who said so; secrets as whether there is one."""
    shown: dict[str, dict[str, Any]] = {}
    for name, value in deployment.resolution.values.items():
        what = deployment.options.get(name, value.value)
        if BY_NAME[name].kind == "secret":
            what = None if what is None else "***"
        source = value.source if value.is_given or what == value.value else "wse serve"
        shown[name] = {"value": what, "source": source}
    return shown


def _write_settings(deployment: Deployment) -> None:
    rows = [
        (name, _shown(told["value"]), told["source"])
        for name, told in _settings(deployment).items()
        if told["source"] != "default" or told["value"] not in {None, ()}
    ]
    _write_table(("setting", "value", "source"), rows, {})


def _shown(value: object) -> str:
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def _write_findings(findings: list[Finding]) -> None:
    between = "\n" if out().is_terminal else "; "
    rows = [
        (found.level.value, found.source, between.join(filter(None, (found.message, found.hint))))
        for found in findings
    ]
    _write_table(("", "source", "what"), rows, {level.value: colour for level, colour in _COLOURS.items()})


def _write_table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]], styles: dict[str, str]) -> None:
    if not rows:
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(Text(row[0], styles.get(row[0], "")), *map(Text, row[1:]))
    # In a file or a pipe each row is a line, however long.
    (out() if out().is_terminal else Console(highlight=False, width=4000)).print(table)
