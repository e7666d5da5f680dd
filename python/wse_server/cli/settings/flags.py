"""The settings as options of a command, and how `--help` shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from wse_server._typing import override
from wse_server.cli.settings.declaration import LISTS, OTHER_VARIABLES, SETTINGS, Setting

__all__ = ["SettingOption", "SettingsCommand", "told", "with_settings"]

F = TypeVar("F", bound=Callable[..., Any])

_METAVARS = {
    "addresses": "HOST:PORT,...",
    "app": "MODULE:NAME",
    "bytes": "SIZE",
    "choice": "WORD",
    "file": "PATH",
    "integer": "N",
    "networks": "NETWORK,...",
    "number": "NUMBER",
    "origins": "ORIGIN,...",
    "seconds": "SECONDS",
    "secret": "KEY",
    "text": "TEXT",
}

_UNITLESS = {
    "bytes",
    "seconds",
    "switch",
    "key",
    "secret",
    "path",
    "module:name",
    "address",
    "host:port",
    "port",
}


class SettingOption(click.Option):
    """An option that is a setting: it takes text, and `settings.resolve` makes a value of it.

    So what is wrong on the command line is told together with what is wrong elsewhere.
    """

    def __init__(self, setting: Setting, *, is_file: bool = False) -> None:
        self.setting = setting
        self.variable = f"{setting.variable}_FILE" if is_file else setting.variable
        name = f"{setting.name}_file" if is_file else setting.name
        flag = f"{setting.flag}-file" if is_file else setting.flag
        summary = f"A file with {setting.name}." if is_file else setting.summary
        attributes: dict[str, Any] = {
            "help": f"{summary} [{'; '.join(_facts(setting, self.variable, is_file))}]"
        }
        if setting.kind == "boolean":
            flag = f"{flag}/--no-{flag.removeprefix('--')}"
            attributes["default"] = None
        elif is_file or setting.kind == "file":
            attributes |= {"type": click.Path(), "metavar": "PATH"}
        else:
            attributes |= {"type": str, "metavar": _metavar(setting), "multiple": setting.kind in LISTS}
        super().__init__([flag, name], **attributes)

    @override
    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The words of a choice, or files."""
        if self.setting.choices:
            return [CompletionItem(word) for word in self.setting.choices if word.startswith(incomplete)]
        return super().shell_complete(ctx, incomplete)


def _metavar(setting: Setting) -> str:
    return "|".join(setting.choices) if setting.choices else _METAVARS[setting.kind]


def _facts(setting: Setting, variable: str, is_file: bool) -> list[str]:
    """What stands in brackets: the variables, the unit and the default."""
    facts = [variable]
    if is_file:
        return facts
    if setting.name in OTHER_VARIABLES:
        facts[0] += f" or {OTHER_VARIABLES[setting.name]}"
    default = shown_default(setting)
    unit = "" if setting.unit in _UNITLESS or setting.default == 1 else f" {setting.unit}"
    if default is not None:
        facts.append(f"default: {default}{unit if setting.minimum is not None else ''}")
    return facts


def shown_default(setting: Setting) -> str | None:
    """The default as one would type it; None where there is none."""
    default = setting.default
    if default is None or default == ():
        return None
    if isinstance(default, bool):
        return "yes" if default else "no"
    if setting.kind == "bytes" and isinstance(default, int):
        for factor, unit in ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB")):
            if default >= factor and default % factor == 0:
                return f"{default // factor}{unit}"
        return f"{default}B"
    if setting.kind == "seconds" and isinstance(default, int | float):
        return f"{default:g}s"
    return f"{default:.15g}" if isinstance(default, float) else str(default)


def with_settings(function: F) -> F:
    """Gives a command all settings as options. What was typed is what `told` makes of its arguments."""
    parameters: list[click.Parameter] = []
    for setting in SETTINGS:
        parameters.append(SettingOption(setting))
        if setting.kind == "secret":
            parameters.append(SettingOption(setting, is_file=True))
    kept = getattr(function, "__click_params__", [])
    function.__click_params__ = [*kept, *reversed(parameters)]  # type: ignore[attr-defined] # as click's own
    return function


def told(arguments: Mapping[str, Any]) -> dict[str, object]:
    """The settings that were typed, as `resolve` takes them."""
    return {
        name: ",".join(value) if isinstance(value, tuple) else value
        for name, value in arguments.items()
        if value is not None and value != ()
    }


class SettingsCommand(click.Command):
    """A command with settings: its help lists them under their headings."""

    @override
    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Those that are no settings first."""
        others = [option for option in self.get_params(ctx) if not isinstance(option, SettingOption)]
        settings = [option for option in self.get_params(ctx) if isinstance(option, SettingOption)]
        records = [record for option in others if (record := option.get_help_record(ctx)) is not None]
        if records:
            with formatter.section("Options"):
                formatter.write_dl(records)
        for group, members in groupby(settings, key=lambda option: option.setting.group):
            with formatter.section(group):
                formatter.write_dl(
                    [record for option in members if (record := option.get_help_record(ctx)) is not None]
                )
