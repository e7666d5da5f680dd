"""Where the lines of the log go and what they look like."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

from wse_server._typing import override

__all__ = ["JsonLines", "TextLines", "configure"]


class TextLines(logging.Formatter):
    """Lines for people: time, level, logger, message; a traceback follows in lines of its own."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    @override
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        """The moment of the record."""
        return iso(record.created)


class JsonLines(logging.Formatter):
    """An object of JSON in each line, whatever a message holds: `time`, `level`, `logger`, `message`.

    With an exception there is `exception` too, its traceback as text.
    """

    @override
    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line: dict[str, Any] = {
            "time": iso(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, ensure_ascii=False)


def iso(seconds: float) -> str:
    """A moment in UTC, to the millisecond, by ISO 8601."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds * 1000) % 1000:03d}Z"


def configure(level: str, form: str) -> None:
    """Sends the log of the whole process to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Of asyncio the log needs no more than what is wrong, unless all is asked for.
    logging.getLogger("asyncio").setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    logging.captureWarnings(True)
