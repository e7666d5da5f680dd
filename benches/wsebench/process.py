"""Child processes of a measurement: pinned to a core, bounded in memory and time, and never left behind."""

from __future__ import annotations

import json
import os
import queue
import resource
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO, Any, Self

from wsebench import proc
from wsebench.proc import MIB

SERVER_CPU = 0
CLIENT_CPU = 1
# A server that grows beyond this has failed, whatever else it does. The address space limit stands behind it,
# for growth that is faster than the watch; it is wide, because allocators reserve far more than they use.
MEMORY_LIMIT = 6 << 30
ADDRESS_SPACE_LIMIT = 20 << 30
OUTGROWN = f"killed when it had grown beyond {MEMORY_LIMIT >> 30} GiB"
WATCH_INTERVAL_S = 0.1


class DiedError(Exception):
    """A server or its client ended, hung or outgrew its memory; the message says which."""

    peak_mb = 0.0


class Child:
    """A process on one core, whose lines of output can be awaited."""

    def __init__(self, command: list[str], cpu: int, env: dict[str, str] | None = None) -> None:
        self.name = os.path.basename(command[0])  # noqa: PTH119 (a name, not a path)
        self.errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 (lives as long as the process)
        self.outgrown = False
        allowed = os.sched_getaffinity(0)
        # Affinity is inherited: set for the moment of the start, so that the child never runs anywhere else.
        os.sched_setaffinity(0, {cpu})
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                text=True,
                env={**os.environ, **(env or {})},
            )
        finally:
            os.sched_setaffinity(0, allowed)
        self.lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True).start()

    def _read(self, output: IO[str]) -> None:
        for line in output:
            self.lines.put(line.strip())
        self.lines.put(None)

    @property
    def pid(self) -> int:
        return self.process.pid

    def line(self, timeout: float) -> str:
        """The next line of output.

        Raises:
            DiedError: nothing came in time, or the process ended.
        """
        try:
            line = self.lines.get(timeout=timeout)
        except queue.Empty:
            raise DiedError(f"{self.name} hung: no answer for {timeout:.0f} s") from None
        if line is None:
            self.process.wait(timeout=5)
            if self.outgrown:
                raise DiedError(OUTGROWN)
            raise DiedError(f"{self.name} ended with {self.process.returncode}{self._last_words()}")
        return line

    def _last_words(self) -> str:
        self.errors.seek(0)
        words = [line.strip() for line in self.errors.read().splitlines() if line.strip()]
        return f": {words[-1][:160]}" if words else ""

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()
        self.errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Server(Child):
    """A server under measurement, whose memory is watched."""

    def __init__(self, command: list[str], port: int) -> None:
        super().__init__(command, SERVER_CPU)
        self.port = port
        self.highest = 0
        self.about: dict[str, Any] = {}
        resource.prlimit(self.pid, resource.RLIMIT_AS, (ADDRESS_SPACE_LIMIT, ADDRESS_SPACE_LIMIT))
        threading.Thread(target=self._watch, daemon=True).start()

    def wait_until_ready(self, timeout: float = 20) -> None:
        line = self.line(timeout)
        self.about = json.loads(line) if line.startswith("{") else {}
        proc.reset_peak(self.pid)

    def _watch(self) -> None:
        while self.process.poll() is None:
            now = proc.quick_resident_bytes(self.pid)
            self.highest = max(self.highest, now)
            if now > MEMORY_LIMIT:
                self.outgrown = True
                os.kill(self.pid, signal.SIGKILL)
                return
            time.sleep(WATCH_INTERVAL_S)

    def ask(self, timeout: float = 10, **request: object) -> dict[str, Any]:
        """Put a request to `server.py` and wait for its answer.

        Raises:
            DiedError: no answer in time, or the process ended.
        """
        assert self.process.stdin
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self.check()
            raise DiedError(f"server ended with {self.process.wait()}") from None
        answer: dict[str, Any] = json.loads(self.line(timeout))
        return answer

    def check(self) -> None:
        """Say what has become of a server that should be alive.

        Raises:
            DiedError: it is not.
        """
        if self.outgrown:
            raise DiedError(OUTGROWN)
        if self.process.poll() is not None:
            raise DiedError(f"server ended with {self.process.returncode}{self._last_words()}")

    def peak_mb(self) -> float:
        """The most it has had since it was ready, or raises `DiedError`."""
        return self._ask_kernel(proc.peak_bytes) / MIB

    def resident_mb(self) -> float:
        """What it has now, or raises `DiedError`."""
        return self._ask_kernel(proc.resident_bytes) / MIB

    def _ask_kernel(self, question: Callable[[int], int]) -> int:
        try:
            return question(self.pid)
        except OSError:
            self.process.wait(timeout=5)
            self.check()
            raise


class Load(Child):
    """A run of wsload against a server."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        super().__init__(command, CLIENT_CPU, env)

    def begin_to_read(self) -> None:
        """End the stall of the `burst` mode."""
        os.kill(self.pid, signal.SIGUSR1)


def pairs(line: str) -> dict[str, float]:
    """The numbers in a line of key=value pairs."""
    found = {}
    for word in line.split():
        key, _, value = word.partition("=")
        try:
            found[key] = float(value)
        except ValueError:
            continue
    return found
