"""The clients of the earlier release, in an environment of their own, as programs that a test talks to.

They need Python 3.12 and the package `wse-client==2.5.1`. Where one of the two is out of reach the tests that
need them are skipped, and say so.
"""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support import PATIENCE, wait_until

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / "build" / "earlier-client"
PYTHON = "3.12"
PACKAGES = ["wse-client[all]==2.5.1"]
RETRIES = ["--retries", "1", "--timeout", "20"]
INSTALLING = 240.0
"""Seconds for six wheels, which take a few; the rest is patience with a busy machine."""
PROGRAM = Path(__file__).resolve().parent / "earlier_client" / "__main__.py"


class MissingError(Exception):
    """The earlier client can't run here; the message says what is missing and how to get it."""


def interpreter() -> Path:
    """Returns the interpreter of the environment, which is made if it is not there yet.

    Raises:
        MissingError: There is no Python 3.12, or the packages can't be installed.
    """
    inside = VENV / "bin" / "python"
    done = VENV / ".installed"
    if done.exists() and done.read_text() == "\n".join(PACKAGES) and prints(inside, "import wse_client"):
        return inside
    outside = find_python()
    shutil.rmtree(VENV, ignore_errors=True)
    for command in (
        [str(outside), "-m", "venv", str(VENV)],
        [str(inside), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *RETRIES, *PACKAGES],
    ):
        try:
            ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALLING)
        except subprocess.TimeoutExpired:
            raise MissingError(f"`{' '.join(command)}` took longer than {INSTALLING} s") from None
        if ended.returncode:
            raise MissingError(f"`{' '.join(command)}` failed: {ended.stderr.strip()[-300:]}")
    done.write_text("\n".join(PACKAGES))
    return inside


def find_python() -> Path:
    """Finds a CPython 3.12: from PATH, or among those of pyenv."""
    candidates = [Path(found)] if (found := shutil.which(f"python{PYTHON}")) else []
    candidates += sorted((Path.home() / ".pyenv" / "versions").glob(f"{PYTHON}.*/bin/python"))
    # A pyenv shim is on PATH even when it has nothing to run.
    for candidate in candidates:
        if prints(candidate, "import sys, venv; print('%d.%d' % sys.version_info[:2])") == PYTHON:
            return candidate
    raise MissingError(f"there is no Python {PYTHON}; `pyenv install {PYTHON}` gets one")


def prints(python: Path, code: str) -> str | None:
    """What a program prints, without the white space around; None if it fails."""
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or " " if done.returncode == 0 else None


class EarlierClient:
    """One of the earlier clients in a process of its own.

    The program reads lines of JSON, does what they say, and prints what it did and heard.

    Args:
        kind: `async` or `sync`.
        url: Where it connects to.
        options: Arguments of the client's class.
    """

    def __init__(self, kind: str, url: str, **options: Any) -> None:
        self._process = subprocess.Popen(
            [interpreter(), "-u", PROGRAM, kind, url, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.events: list[dict[str, Any]] = []
        """What it has heard: type, payload, id, topic, epoch, offset, correlation_id."""
        self.log: list[str] = []
        self._killed = False
        self._said: queue.Queue[dict[str, Any]] = queue.Queue()
        self._arrived = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, daemon=True),
            threading.Thread(target=self._read_log, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                said = json.loads(line)
                if "event" in said:
                    with self._arrived:
                        self.events.append(said["event"])
                        self._arrived.notify_all()
                else:
                    self._said.put(said)

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as output:
            self.log.extend(line.rstrip("\n") for line in output)

    def order(self, what: str, *arguments: Any, **options: Any) -> None:
        """Has a method of the client called, or a property read, without waiting for what comes of it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([what, arguments, options]) + "\n")
        self._process.stdin.flush()

    def do(self, what: str, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        """The same, and returns what it gave."""
        self.order(what, *arguments, **options)
        try:
            said = self._said.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError(f"{what} was not done within {PATIENCE} s\n{self._story()}") from None
        assert "failed" not in said, f"{what}: {said['failed']}\n{self._story()}"
        return said["done"]

    def wait(self, *types: str, count: int = 1) -> list[dict[str, Any]]:
        """Waits for `count` events of these types in all, counted from the start, and returns them."""
        with self._arrived:
            matching: list[dict[str, Any]] = []

            def enough() -> bool:
                matching[:] = [event for event in self.events if event["type"] in types]
                return len(matching) >= count

            if not self._arrived.wait_for(enough, PATIENCE):
                raise AssertionError(f"{len(matching)} of {count} {types}\n{self._story()}")
            return matching

    def wait_for(self, what: str, value: object) -> None:
        """Asks for a property again and again until it is this."""
        deadline = time.monotonic() + PATIENCE
        pause = threading.Event()
        while (now := self.do(what)) != value:
            assert time.monotonic() < deadline, f"{what} is {now}, not {value}\n{self._story()}"
            pause.wait(0.02)

    def wait_for_log(self, word: str) -> None:
        """Waits for a line of the client's log with `word` in it."""
        wait_until(lambda: any(word in line for line in self.log), f"no line with {word!r}:\n{self._story()}")

    def kill(self) -> None:
        """Ends the program at once, whatever it is doing."""
        self._killed = True
        self._process.kill()
        self._process.wait()

    def _story(self) -> str:
        lines = [f"heard {json.dumps(event)}" for event in self.events[-20:]] + self.log[-30:]
        return "\n".join(lines)

    def close(self) -> None:
        """Ends the program, which says goodbye to the server."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._killed:
            return
        try:
            status = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the earlier client did not end\n{self._story()}") from None
        finally:
            for reader in self._readers:
                reader.join(PATIENCE)
        assert status == 0, f"exit status {status}\n{self._story()}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.kill()
