"""The command `wse` in tests: as a process, or in this one where only what it does matters."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from unittest import mock

from wse_server.cli import app

_CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("WSE_")} | {
    "NO_COLOR": "1"
}


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


def process(*arguments: object, code: int = 0, stdin: str = "", env: Mapping[str, str] | None = None) -> Done:
    """Runs `wse` as a process, without the variables of the one that tests, and checks how it exits.

    Args:
        arguments: Of the command line.
        code: What it must exit with.
        stdin: What it can read.
        env: Variables that it has besides.
    """
    done = subprocess.run(
        [sys.executable, "-m", "wse_server", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=_CLEAN | dict(env or {}),
    )
    return _checked(Done(done.returncode, done.stdout, done.stderr), code)


def command(*arguments: object, code: int = 0, stdin: str = "", env: Mapping[str, str] | None = None) -> Done:
    """Does the same in this process, without the second that a start takes."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["wse", *map(str, arguments)]),
        mock.patch.object(sys, "stdin", io.StringIO(stdin)),
        mock.patch.dict(os.environ, _CLEAN | dict(env or {}), clear=True),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        ended = 1
        try:
            app.run()
        except SystemExit as end:
            ended = end.code if isinstance(end.code, int) else 1
    return _checked(Done(ended, stdout.getvalue(), stderr.getvalue()), code)


def _checked(done: Done, code: int) -> Done:
    assert done.code == code, f"exit {done.code}: {done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    return done
