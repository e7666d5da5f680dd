"""How the driver speaks to the other processes: it names a method and waits for what it returns."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

ANSWER_TIMEOUT = 120.0
"""Seconds after which a process that does not answer is taken for dead or hanging."""


class Child:
    """A process of the run.

    Args:
        main: What it does; gets its end of the pipe first.
        args: What else it gets.
    """

    def __init__(self, name: str, main: Callable[..., None], *args: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=main, args=(theirs, *args), name=name, daemon=True)
        self._process.start()
        theirs.close()
        self.name = name

    @property
    def pid(self) -> int:
        """The process's number."""
        assert self._process.pid is not None
        return self._process.pid

    def ask(self, method: str, *args: object) -> Any:  # noqa: ANN401 - what the method returns
        """Has a method called and returns its answer.

        Raises:
            RuntimeError: The process has ended, hangs, or the method raised.
        """
        try:
            self._pipe.send((method, args))
            if not self._pipe.poll(ANSWER_TIMEOUT):
                raise RuntimeError(f"{self.name} has not answered {method!r} for {ANSWER_TIMEOUT} s")
            return self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(5)
            raise RuntimeError(
                f"{self.name} has ended with {self._process.exitcode} instead of answering {method!r}"
            ) from None

    def end(self) -> int | None:
        """Closes the pipe, and so ends the process; returns its status, None if it had to be killed."""
        self._pipe.close()
        self._process.join(30)
        status = self._process.exitcode
        if status is None:
            self._process.kill()
            self._process.join()
        return status


async def obey(pipe: Connection, target: object) -> None:
    """Calls the methods of `target` that are asked for, coroutines too, until the driver closes the pipe."""
    asked = asyncio.Event()
    asyncio.get_running_loop().add_reader(pipe.fileno(), asked.set)
    while True:
        await asked.wait()
        asked.clear()
        try:
            while pipe.poll():
                method, args = pipe.recv()
                answer = getattr(target, method)(*args)
                pipe.send(await answer if asyncio.iscoroutine(answer) else answer)
        except (EOFError, OSError):
            return
