"""What the engine has to say, caught on its way through Python's `logging`."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType
from typing import Self

from typing_extensions import override

from support import PATIENCE

LOGGER = logging.getLogger("wse_server")


class LogLines(logging.Handler):
    """Keeps what goes to the logger `wse_server` while it is open, at level DEBUG.

    Lines come from a thread of the engine, in order, some time after their cause.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []
        self._arrived = threading.Condition()
        self._level_before = logging.NOTSET

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a line."""
        with self._arrived:
            self.records.append(record)
            self._arrived.notify_all()

    @property
    def lines(self) -> list[str]:
        """The lines so far, with level and traceback."""
        formatter = logging.Formatter("%(levelname)s %(message)s")
        with self._arrived:
            return [formatter.format(record) for record in self.records]

    @property
    def text(self) -> str:
        """The same as one text."""
        return "\n".join(self.lines)

    def wait(self, word: str, count: int = 1, timeout: float = PATIENCE) -> list[logging.LogRecord]:
        """Waits for `count` lines with this word in them and returns all that have it."""
        deadline = time.monotonic() + timeout
        with self._arrived:
            while True:
                found = [record for record in self.records if word in record.getMessage()]
                if len(found) >= count:
                    return found
                if not self._arrived.wait(deadline - time.monotonic()):
                    raise AssertionError(f"{len(found)} of {count} lines with {word!r}: {self.lines}")

    def __enter__(self) -> Self:
        self._level_before = LOGGER.level
        LOGGER.setLevel(logging.DEBUG)
        LOGGER.addHandler(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        LOGGER.removeHandler(self)
        LOGGER.setLevel(self._level_before)
