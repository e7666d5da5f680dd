"""How the command line says that something went wrong: a line, a hint, and an exit code for scripts."""

from __future__ import annotations

import enum

__all__ = ["CliError", "ExitCode"]


class ExitCode(enum.IntEnum):
    """What `wse` exits with. Stable: scripts and probes look at it."""

    OK = 0
    """Done."""
    FAILED = 1
    """It was tried, and did not happen or is not so: unhealthy, problems found, cut short."""
    USAGE = 2
    """The command line or the configuration is wrong; nothing was tried."""
    UNREACHABLE = 3
    """There is no server there, or it does not answer in time."""
    REFUSED = 4
    """The server is there and refuses: no valid token, no API key, a topic that is not allowed."""
    INTERRUPTED = 130
    """Ctrl-C."""


class CliError(Exception):
    """Ends the command. It is shown as one line, without a traceback.

    Args:
        message: What is wrong, with the value that is, and what is allowed.
        hint: What to do about it; a second line.
        code: What to exit with.
    """

    def __init__(self, message: str, *, hint: str | None = None, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code
