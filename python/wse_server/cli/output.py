"""What the command line writes: results to stdout, everything about them to stderr.

So `wse sub --json | jq` sees messages and nothing else. Colours are there on a terminal and nowhere else, and
nowhere with NO_COLOR (https://no-color.org); rich looks at both. It is imported when something is shown
with it: a probe that has nothing to show does without.
"""

from __future__ import annotations

import functools
import json
import sys
from typing import TYPE_CHECKING, Any

from wse_server.cli.errors import CliError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["err", "out", "say_error", "write_json", "write_line"]


@functools.cache
def out() -> Console:
    """Where results go."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True, emoji=False)


@functools.cache
def err() -> Console:
    """Where everything else goes: progress, notes, errors."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def write_line(text: str) -> None:
    """Writes one result as it is, and at once: whoever reads a pipe waits for it."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def write_json(value: Any) -> None:  # noqa: ANN401 - whatever JSON can say
    """Writes one result as one line of JSON."""
    write_line(json.dumps(value, ensure_ascii=False))


def say_error(error: CliError) -> None:
    """Tells of an error and of its hint, each in one line."""
    from rich.markup import escape

    message = " ".join(str(error).split())
    err().print(f"[bold red]wse: error:[/] {escape(message)}")
    if error.hint:
        err().print(f"  [bold]hint:[/] {escape(' '.join(error.hint.split()))}")
