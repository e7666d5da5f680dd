"""The command `wse`: called here, run as a process of its own, or spoken to while it runs."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import IO
from unittest import mock

from support import PATIENCE, wait_until
from wse_server.cli import app

COMMAND = [sys.executable, "-m", "wse_server"]


def environment(**variables: str) -> dict[str, str]:
    """The environment of a command: nothing of ours but where programs are, and no colours."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {"NO_COLOR": "1", **kept, **variables}


def called(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Calls a command in this process: that takes milliseconds, and a process a quarter of a second."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, environment(**variables), clear=True),
        mock.patch.object(sys, "argv", ["wse", *arguments]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        code = app._run()
    return subprocess.CompletedProcess(["wse", *arguments], code, out.getvalue(), err.getvalue())


def wse(*arguments: str, stdin: str | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end. Without `stdin` there is nothing to read."""
    return subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=PATIENCE * 3,
        env=environment(**variables),
        check=False,
    )


class Spoken:
    """A command that runs, with what it has written so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((process.stdout, self.out), (process.stderr, self.err))
            if stream is not None
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream: IO[str], lines: list[str]) -> None:
        lines.extend(line.rstrip("\n") for line in stream)

    def say(self, text: str) -> None:
        """Writes to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def wait_out(self, count: int) -> list[str]:
        """Waits for so many lines of results."""
        wait_until(lambda: len(self.out) >= count, f"{count} lines; {self.out} {self.err}")
        return self.out[:count]

    def wait_err(self, word: str) -> str:
        """Waits for a line about them with this word in it."""
        return wait_until(
            lambda: next((line for line in list(self.err) if word in line), ""), f"no {word!r} in {self.err}"
        )

    def interrupt(self) -> int:
        """Presses Ctrl-C, and returns what it exits with."""
        self.process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        """Waits for its end, and returns what it exits with."""
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return code


@contextmanager
def speaking(*arguments: str, piped: bool = False, **variables: str) -> Iterator[Spoken]:
    """Runs a command within the block, and ends it with the block if it has not ended."""
    with subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**variables),
    ) as process:
        spoken = Spoken(process)
        try:
            yield spoken
        finally:
            process.kill()
            spoken.wait()
