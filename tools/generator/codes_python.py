"""The codes as Python."""

from __future__ import annotations

from . import python_text
from .codes import SOURCE, Close, Codes, Error
from .header import notice

PATHS = ("python/wse_server/codes.py", "python/wse_client/codes.py")
"""The server and the client are installed one without the other, so each has the table."""

RECONNECT = {"no": "NEVER", "yes": "BACKOFF", "new token": "NEW_TOKEN"}

HEAD = '''"""What the server says when something is wrong, and what a client does about it.

NOTICE
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum, StrEnum
from types import MappingProxyType

__all__ = [
    "BACKOFF_FACTOR",
    "BACKOFF_MAX_MS",
    "CLOSES",
    "ERRORS",
    "CloseCode",
    "CloseInfo",
    "ErrorCode",
    "ErrorInfo",
    "Reconnect",
    "close_info",
]

'''

TYPES = '''
class Reconnect(Enum):
    """Whether a client comes back after a close."""

    NEVER = "no"
    """It stays away until a person wants it."""
    BACKOFF = "yes"
    """It comes back."""
    NEW_TOKEN = "new token"  # noqa: S105
    """It comes back with another token, and stays away with the same."""


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """What an error code means."""

    code: ErrorCode
    """The text on the wire."""
    meaning: str
    """What happened."""
    advice: str
    """What the client does about it."""
    close: CloseCode | None = None
    """The code with which the server then closes; None where the connection goes on."""


@dataclass(frozen=True, slots=True)
class CloseInfo:
    """What a close code means."""

    code: int
    """The number on the wire."""
    sent_by: tuple[str, ...]
    """Who sends it, of `server`, `application` and `client`; empty where it stands for an event in an API."""
    reconnect: Reconnect
    """Whether a client comes back."""
    min_ms: int
    """The least wait before the first attempt, in milliseconds."""
    max_ms: int
    """The longest wait before the first attempt, in milliseconds. A client takes a time between the two."""
    meaning: str
    """What happened."""
    advice: str
    """What the client does about it."""

'''


def module(codes: Codes) -> str:
    """The modules `wse_server.codes` and `wse_client.codes`."""
    backoff = codes.backoff
    unknown = Close(
        code=0,
        name="",
        sent_by=(),
        reconnect=backoff.unknown_reconnect,
        min_ms=backoff.unknown_min_ms,
        max_ms=backoff.unknown_max_ms,
        meaning="A code that this table does not have.",
        advice="Come back, unless the application that sent it says otherwise.",
    )
    lines = [*HEAD.replace("NOTICE", notice(SOURCE)).splitlines(), ""]
    lines += ["class ErrorCode(StrEnum):", '    """What an `error` message says in its field `code`."""', ""]
    for error in codes.errors:
        lines += [f'    {error.name} = "{error.name}"', *python_text.docstring(error.meaning, 4)]
    lines += ["", "", "class CloseCode(IntEnum):", '    """Why a connection is closed."""', ""]
    for close in codes.closes:
        lines += [f"    {close.name} = {close.code}", *python_text.docstring(close.meaning, 4)]
    lines += ["", *TYPES.splitlines(), ""]
    lines += [
        f"BACKOFF_FACTOR = {float(backoff.factor)}",
        '"""How much longer each further attempt waits."""',
        f"BACKOFF_MAX_MS = {python_text.literal(backoff.max_ms)}",
        '"""The longest wait between two attempts, in milliseconds."""',
        "",
        "ERRORS: Mapping[ErrorCode, ErrorInfo] = MappingProxyType(",
        "    {",
        *(line for error in codes.errors for line in error_entry(error, codes)),
        "    }",
        ")",
        '"""What each error code means."""',
        "",
        "CLOSES: Mapping[int, CloseInfo] = MappingProxyType(",
        "    {",
        *(line for close in codes.closes for line in close_entry(close)),
        "    }",
        ")",
        '"""What each close code means; its keys are the members of `CloseCode`."""',
        "",
        "",
        "def close_info(code: int) -> CloseInfo:",
        '    """Returns what a client does after any close, also one that the table does not have."""',
        "    known = CLOSES.get(code)",
        "    if known is not None:",
        "        return known",
        "    return CloseInfo(",
        "        code=code,",
        *close_arguments(unknown, 8),
        "    )",
        "",
    ]
    return "\n".join(lines)


def error_entry(error: Error, codes: Codes) -> list[str]:
    """An entry of ERRORS."""
    closing = next((close.name for close in codes.closes if close.code == error.close), None)
    lines = [
        f"        ErrorCode.{error.name}: ErrorInfo(",
        f"            code=ErrorCode.{error.name},",
        *python_text.argument("meaning", error.meaning, 12),
        *python_text.argument("advice", error.advice, 12),
    ]
    if closing:
        lines.append(f"            close=CloseCode.{closing},")
    return [*lines, "        ),"]


def close_entry(close: Close) -> list[str]:
    """An entry of CLOSES."""
    return [
        f"        CloseCode.{close.name}: CloseInfo(",
        f"            code=CloseCode.{close.name},",
        *close_arguments(close, 12),
        "        ),",
    ]


def close_arguments(close: Close, indent: int) -> list[str]:
    """All fields of a CloseInfo but its code."""
    pad = " " * indent
    return [
        f"{pad}sent_by={python_text.literal(close.sent_by)},",
        f"{pad}reconnect=Reconnect.{RECONNECT[close.reconnect]},",
        f"{pad}min_ms={python_text.literal(close.min_ms)},",
        f"{pad}max_ms={python_text.literal(close.max_ms)},",
        *python_text.argument("meaning", close.meaning, indent),
        *python_text.argument("advice", close.advice, indent),
    ]
