"""The command `wse`: a server, and what goes with one, without writing Python.

It needs what `pip install 'wse-server[cli]'` brings. The library does without, so this module imports nothing
of it before it has looked.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import NoReturn

__all__ = ["main"]

_NEEDED = ("click", "rich")


def main() -> NoReturn:
    """Runs the command line and exits with what it says; see [exit codes](docs/reference/cli.md)."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"wse: error: not installed: {', '.join(missing)}\n"
            "  hint: pip install 'wse-server[cli]'; without it wse_server is a library alone\n"
        )
        sys.exit(2)
    from wse_server.cli.app import run

    run()
