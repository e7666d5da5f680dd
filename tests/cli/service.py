"""`wse` as people run it: a process with an environment of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support import HOST, PATIENCE, wait_until

WSE = [sys.executable, "-m", "wse_server"]


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """What the process finds: that of the tests without any variable that WSE reads."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("WSE_")
        and name not in {"ALLOWED_ORIGINS", "POD_IP", "NOTIFY_SOCKET", "WATCHDOG_USEC"}
    }
    return {**ours, "NO_COLOR": "1", **given}


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str


def wse(
    *arguments: object, cwd: Path | None = None, environ: Mapping[str, str] | None = None, **variables: str
) -> Done:
    """Runs a command to its end. It never shows a traceback."""
    done = subprocess.run(
        [*WSE, *map(str, arguments)],
        env=environment({**(environ or {}), **variables}),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


class Service:
    """`wse serve`, started. It listens on a port of its own unless told otherwise, and is killed at the end.

    Args:
        arguments: What follows `serve`.
        cwd: Where it runs.
        environ: What is in its environment.
        variables: What is there besides.
        prefix: What runs it, such as `unshare`.
    """

    kept: Mapping[str, str] = {"WSE_PORT": "0", "WSE_HOST": HOST}

    def __init__(
        self,
        *arguments: object,
        cwd: Path | None = None,
        prefix: tuple[str, ...] = (),
        environ: Mapping[str, str] | None = None,
        **variables: str,
    ) -> None:
        self.out: list[str] = []
        self.err: list[str] = []
        self.process = subprocess.Popen(
            [*prefix, *WSE, "serve", *map(str, arguments)],
            env=environment({**self.kept, **(environ or {}), **variables}),
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            threading.Thread(target=_read, args=(self.process.stdout, self.out), daemon=True),
            threading.Thread(target=_read, args=(self.process.stderr, self.err), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def ready(self) -> str:
        """Waits for the line that tells that it can be connected to, and returns it."""

        def said() -> str:
            assert self.process.poll() is None or self.out, f"ended: {self.process.poll()}\n{self.log}"
            return self.out[0] if self.out else ""

        return wait_until(said, "not ready")

    @property
    def port(self) -> int:
        """The port of a ready server."""
        line = self.ready()
        if line.startswith("{"):
            return int(json.loads(line)["port"])
        return int(line.partition(" is ready on ")[2].partition(",")[0].rpartition(":")[2])

    @property
    def cluster(self) -> str:
        """The address of the node, as others dial it on this machine."""
        return f"{HOST}:{self.ready().rpartition(':')[2]}"

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return "\n".join(self.err)

    def logged(self, *words: str) -> str:
        """Waits for a line of the log that has all these words, and returns it."""
        return wait_until(
            lambda: next((line for line in list(self.err) if all(word in line for word in words)), ""),
            f"no line with {words}",
        )

    def get(self, path: str) -> tuple[int, str]:
        """Asks it over HTTP."""
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.port}{path}", timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def health(self) -> dict[str, Any]:
        """Its figures."""
        found: dict[str, Any] = json.loads(self.get("/health")[1])
        return found

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Waits for its end and returns what it exits with."""
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        assert "Traceback" not in self.log, self.log
        return code

    def stop(self) -> int:
        """Ends it as a service manager does."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


def _read(pipe: Any, lines: list[str]) -> None:  # noqa: ANN401 - a text file
    for line in pipe:
        lines.append(line.rstrip("\n"))  # noqa: PERF401 - others read while it is written
