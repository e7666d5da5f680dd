"""The reference page of the options."""

from __future__ import annotations

import textwrap
from itertools import groupby

from . import python_text
from .header import notice
from .options import SOURCE, Option
from .options_python import for_now, python_type

PATH = "docs/reference/options.md"
WIDTH = 110

INTRODUCTION = """
The keyword arguments of `RustWSEServer(host, port, **options)`. `wse_server.options.OPTIONS` holds the same
as data.

A wrong option is refused when the server is made, before anything is opened, with a message that names the
option, its value (never a secret) and what is allowed: `TypeError` for an unknown option or a wrong type,
`ValueError` for a value that is not allowed or two that do not go together, and `NotImplementedError` for a
value that asks for something that is not built yet. A default never does.

One variable of the environment is read: `ALLOWED_ORIGINS`, when the option
[`allowed_origins`](#allowed_origins) is not given.
"""


def page(options: list[Option]) -> str:
    """The whole page."""
    lines = ["# Options", "", f"<!-- {notice(SOURCE)} -->", *INTRODUCTION.splitlines(), ""]
    lines += ["| option | default | what it is |", "|---|---|---|"]
    lines += [
        f"| [`{option.name}`](#{option.name}) | `{default(option)}` | {cell(option.summary)} |"
        for option in options
    ]
    for group, members in groupby(options, key=lambda option: option.group):
        lines += ["", f"## {group}"]
        for option in members:
            lines += section(option)
    return "\n".join([*lines, ""])


def section(option: Option) -> list[str]:
    """What there is to say about one option."""
    facts = [
        f"- Type: `{python_type(option)}`",
        f"- Default: `{default(option)}`",
        f"- Unit: {option.unit}",
        *bullet(f"- Allowed: {option.allowed}"),
    ]
    lines = ["", f"### {option.name}", "", *paragraph(option.summary), "", *facts]
    if option.waits:
        lines += bullet(f"- **{for_now(option)}**")
    return [*lines, "", *paragraph(option.advice)]


def default(option: Option) -> str:
    """The default as a Python programmer writes it."""
    return python_text.literal(option.default)


def paragraph(text: str) -> list[str]:
    """Wrapped lines."""
    return textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def bullet(text: str) -> list[str]:
    """A wrapped item of a list."""
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def cell(text: str) -> str:
    """Text that may stand in a table."""
    return text.replace("|", "\\|")
