"""The reference page of the command line, from the commands themselves.

They need the built package and click. Where those are not, as on a fresh clone, the page is left as it is.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from .header import notice
from .options_markdown import cell, paragraph

PATH = "docs/reference/cli.md"
SOURCE = "python/wse_server/cli"
ERRORS = "python/wse_server/cli/errors.py"

INTRODUCTION = """
`pip install 'wse-server[cli]'` brings the command `wse`; `python -m wse_server` is the same. Results go to
stdout, everything about them to stderr. An error is one line, often with a hint, and an exit code. With
`NO_COLOR` in the environment nothing is coloured.

[Run a server](../how-to/serve.md) shows the first of them at work.
"""

SETTINGS = """
What `wse serve` can be told, and `wse check` looks at. A flag goes before the variable, the variable before
the key of the TOML file that `--config` or `WSE_CONFIG` names, and that before the default.

- Lists are separated by commas; in TOML they may be lists. Booleans are `1`, `yes`, `true`, `on` or `0`,
  `no`, `false`, `off`; a flag is `--name` or `--no-name`.
- Sizes may have a unit (`64MiB` is 1024 times 1024, `64MB` 1000 times 1000), and so may times (`500ms`,
  `30s`, `5m`, `1h30m`).
- A secret may stand in a file: `--jwt-secret-file`, `WSE_JWT_SECRET_FILE`, `jwt_secret_file`; so for each.
- Paths in the TOML file begin where the file lies.
- The [options of the engine](options.md) are told there at length.
"""


def page(root: Path) -> str | None:
    """The whole page; None if the commands can't be loaded here."""
    try:
        app = importlib.import_module("wse_server.cli.app")
        click = importlib.import_module("click")
        context = click.Context(app.wse, info_name="wse", **app.wse.context_settings)
        commands = {name: app.wse.get_command(context, name) for name in app.wse.list_commands(context)}
    except ImportError as error:
        print(f"{PATH}: not looked at, for want of {error.name}", file=sys.stderr)
        return None
    lines = ["# The command line", "", f"<!-- {notice(SOURCE)} -->", *INTRODUCTION.splitlines(), ""]
    lines += ["| command | what it does |", "|---|---|"]
    for name, (_, summary) in app._COMMANDS.items():
        lines.append(f"| [`wse {name}`](#wse-{name}) | {cell(summary)} |")
    lines += ["", "## Exit codes", "", "| code | means |", "|---|---|", *exit_codes(root)]
    for name, one in commands.items():
        lines += command(one, context, name, 2)
    lines += settings()
    return "\n".join([*lines, ""])


def exit_codes(root: Path) -> Iterator[str]:
    """A row for each, from the strings below the members."""
    tree = ast.parse((root / ERRORS).read_text(encoding="utf-8"))
    (enum,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "ExitCode"]
    for member, text in zip(enum.body, enum.body[1:], strict=False):
        if isinstance(member, ast.Assign) and isinstance(text, ast.Expr):
            yield f"| {ast.literal_eval(member.value)} | {cell(ast.literal_eval(text.value))} |"


def command(it: Any, above: Any, name: str, depth: int) -> list[str]:  # noqa: ANN401 - of click
    """What there is to say about one command, and about those below it."""
    click = importlib.import_module("click")
    context = click.Context(it, info_name=name, parent=above)
    usage = f"{context.command_path} {' '.join(it.collect_usage_pieces(context))}"
    lines = ["", f"{'#' * depth} {context.command_path}", "", "```text", usage, "```", *told(it.help or "")]
    options = [option for option in it.get_params(context) if option.param_type_name == "option"]
    of_settings = [option for option in options if hasattr(option, "setting")]
    records = [option.get_help_record(context) for option in options if option not in of_settings]
    rows = [f"| `{cell(record[0])}` | {cell(shown(record[1]))} |" for record in records if record]
    lines += ["", "| option | what it is |", "|---|---|", *rows]
    if of_settings:
        lines += [
            "",
            f"And each of the [settings](#settings): {len({o.setting.name for o in of_settings})} of them.",
        ]
    for inner in it.list_commands(context) if hasattr(it, "list_commands") else ():
        lines += command(it.get_command(context, inner), context, inner, depth + 1)
    return lines


def told(text: str) -> list[str]:
    """The paragraphs of a help text. One that begins with a backspace keeps its lines."""
    lines = []
    for part in inspect.cleandoc(text).split("\f", maxsplit=1)[0].split("\n\n"):
        if part.startswith("\b"):
            lines += ["", "```text", *part.removeprefix("\b").strip("\n").splitlines(), "```"]
        else:
            lines += ["", *paragraph(" ".join(part.split()))]
    return lines


def shown(text: str) -> str:
    """A help text in a cell of a table."""
    return " ".join(text.split()).replace("<", "&lt;").replace("*", "\\*")


def settings() -> list[str]:
    """All settings with their flags, variables and keys."""
    declaration = importlib.import_module("wse_server.cli.settings.declaration")
    flags = importlib.import_module("wse_server.cli.settings.flags")
    lines = ["", "## Settings", *SETTINGS.splitlines()]
    for group, members in groupby(declaration.SETTINGS, key=lambda setting: setting.group):
        lines += ["", f"### {group}", ""]
        lines += ["| flag | variable | TOML | default | what it is |", "|---|---|---|---|---|"]
        for setting in members:
            default = flags.shown_default(setting)
            cells = [
                f"`{setting.flag}`",
                f"`{setting.variable}`",
                f"`{setting.key}`" if setting.path else "",
                f"`{default}`" if default is not None else "",
                cell(setting.summary),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return lines
