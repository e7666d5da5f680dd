"""What the server says when something is wrong, and what a client does about it.

Generated from spec/codes.toml by `python3 tools/generate.py`; edit that file and run it again.
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


class ErrorCode(StrEnum):
    """What an `error` message says in its field `code`."""

    AUTH_REQUIRED = "AUTH_REQUIRED"
    """The server wants a token and the upgrade request carried none."""
    AUTH_FAILED = "AUTH_FAILED"
    """The token was refused: expired, signed with another key, or made for another issuer or audience. In
    answer to `auth_refresh`: the connection goes on with the token it has.
    """
    RATE_LIMITED = "RATE_LIMITED"
    """The message came when the client's allowance was used up, and was not handed on."""
    MESSAGE_TOO_LARGE = "MESSAGE_TOO_LARGE"
    """The message is larger than `max_message_size`."""
    INVALID_SUBSCRIPTION = "INVALID_SUBSCRIPTION"
    """A topic is malformed, or what was asked of it can't be combined, such as recovery with a pattern."""
    INVALID_ACTION = "INVALID_ACTION"
    """The message asks for an action that does not exist, lacks a field that the action needs, or is in a
    form that can't be read.
    """
    NOT_ALLOWED = "NOT_ALLOWED"
    """The connection's access list, or the server's configuration, does not allow it."""
    HANDLER_ERROR = "HANDLER_ERROR"
    """The application's handler for the message failed."""
    ENCRYPTION_REQUIRED = "ENCRYPTION_REQUIRED"
    """The message came in clear from a client that has exchanged keys and sealed a message before."""
    KEY_EXCHANGE_FAILED = "KEY_EXCHANGE_FAILED"
    """The public key in `client_hello` is malformed, or a key was exchanged on this connection before."""
    SERVER_ERROR = "SERVER_ERROR"
    """The server could not do what it should have."""


class CloseCode(IntEnum):
    """Why a connection is closed."""

    NORMAL = 1000
    """Finished: the application ended the connection on purpose."""
    GOING_AWAY = 1001
    """The page was left, or the program ended."""
    PROTOCOL_ERROR = 1002
    """What came was no proper WebSocket frame, or not in its place (RFC 6455)."""
    UNSUPPORTED_DATA = 1003
    """The kind of data is not accepted here."""
    NO_STATUS = 1005
    """The close frame carried no code."""
    ABNORMAL = 1006
    """The connection broke without a close frame: network, proxy, or a server that died."""
    INVALID_PAYLOAD = 1007
    """A text was not UTF-8, or a compressed message could not be inflated."""
    MESSAGE_TOO_BIG = 1009
    """A message was larger than `max_message_size`."""
    MANDATORY_EXTENSION = 1010
    """The client can't do without an extension that the server did not negotiate."""
    SERVER_ERROR = 1011
    """The server could not go on with this connection."""
    SERVICE_RESTART = 1012
    """The server stops or restarts."""
    DRAIN = 4300
    """This server is being emptied, and others go on."""
    AUTHENTICATION = 4401
    """The token is missing, was refused, or has expired; an `error` message before it says which."""
    FORBIDDEN = 4403
    """Who this client is was understood, and it may not be here."""
    TOO_SLOW = 4408
    """The client was further behind than `max_outbound_queue_bytes`."""
    IDLE = 4410
    """Nothing came from the client for `idle_timeout`, not even an answer to a ping."""
    RATE_LIMITED = 4429
    """The client went on sending although it was told that it sends too much."""


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


BACKOFF_FACTOR = 2.0
"""How much longer each further attempt waits."""
BACKOFF_MAX_MS = 60_000
"""The longest wait between two attempts, in milliseconds."""

ERRORS: Mapping[ErrorCode, ErrorInfo] = MappingProxyType(
    {
        ErrorCode.AUTH_REQUIRED: ErrorInfo(
            code=ErrorCode.AUTH_REQUIRED,
            meaning="The server wants a token and the upgrade request carried none.",
            advice="Send one as a cookie, as `Authorization: Bearer`, or as the subprotocol pair.",
            close=CloseCode.AUTHENTICATION,
        ),
        ErrorCode.AUTH_FAILED: ErrorInfo(
            code=ErrorCode.AUTH_FAILED,
            meaning=(
                "The token was refused: expired, signed with another key, or made for another issuer or "
                "audience. In answer to `auth_refresh`: the connection goes on with the token it has."
            ),
            advice="Fetch a fresh token; the same one will be refused again.",
            close=CloseCode.AUTHENTICATION,
        ),
        ErrorCode.RATE_LIMITED: ErrorInfo(
            code=ErrorCode.RATE_LIMITED,
            meaning="The message came when the client's allowance was used up, and was not handed on.",
            advice="Wait the `retry_after` seconds that the error tells, then send it again.",
        ),
        ErrorCode.MESSAGE_TOO_LARGE: ErrorInfo(
            code=ErrorCode.MESSAGE_TOO_LARGE,
            meaning="The message is larger than `max_message_size`.",
            advice="Send it in parts, or by another way; sending it again ends the same.",
            close=CloseCode.MESSAGE_TOO_BIG,
        ),
        ErrorCode.INVALID_SUBSCRIPTION: ErrorInfo(
            code=ErrorCode.INVALID_SUBSCRIPTION,
            meaning=(
                "A topic is malformed, or what was asked of it can't be combined, such as recovery with a "
                "pattern."
            ),
            advice="Mend the request: the topics it names are not subscribed.",
        ),
        ErrorCode.INVALID_ACTION: ErrorInfo(
            code=ErrorCode.INVALID_ACTION,
            meaning=(
                "The message asks for an action that does not exist, lacks a field that the action needs, or "
                "is in a form that can't be read."
            ),
            advice="Mend the request; nothing was done.",
        ),
        ErrorCode.NOT_ALLOWED: ErrorInfo(
            code=ErrorCode.NOT_ALLOWED,
            meaning="The connection's access list, or the server's configuration, does not allow it.",
            advice="Ask for what is allowed, or come with a token that allows more.",
        ),
        ErrorCode.HANDLER_ERROR: ErrorInfo(
            code=ErrorCode.HANDLER_ERROR,
            meaning="The application's handler for the message failed.",
            advice="Tell the people who run the application; the connection goes on.",
        ),
        ErrorCode.ENCRYPTION_REQUIRED: ErrorInfo(
            code=ErrorCode.ENCRYPTION_REQUIRED,
            meaning=(
                "The message came in clear from a client that has exchanged keys and sealed a message before."
            ),
            advice="Seal it and send it again.",
        ),
        ErrorCode.KEY_EXCHANGE_FAILED: ErrorInfo(
            code=ErrorCode.KEY_EXCHANGE_FAILED,
            meaning=(
                "The public key in `client_hello` is malformed, or a key was exchanged on this connection "
                "before."
            ),
            advice="Connect again and send one 65-byte P-256 point in base64.",
        ),
        ErrorCode.SERVER_ERROR: ErrorInfo(
            code=ErrorCode.SERVER_ERROR,
            meaning="The server could not do what it should have.",
            advice="Try again later, and tell the people who run the server.",
        ),
    }
)
"""What each error code means."""

CLOSES: Mapping[int, CloseInfo] = MappingProxyType(
    {
        CloseCode.NORMAL: CloseInfo(
            code=CloseCode.NORMAL,
            sent_by=("application", "client"),
            reconnect=Reconnect.NEVER,
            min_ms=0,
            max_ms=0,
            meaning="Finished: the application ended the connection on purpose.",
            advice="Stay away until the person asks for the connection again.",
        ),
        CloseCode.GOING_AWAY: CloseInfo(
            code=CloseCode.GOING_AWAY,
            sent_by=("application", "client"),
            reconnect=Reconnect.NEVER,
            min_ms=0,
            max_ms=0,
            meaning="The page was left, or the program ended.",
            advice=(
                "Stay away. A server that restarts says 1012 instead, because clients do not come back after "
                "this one."
            ),
        ),
        CloseCode.PROTOCOL_ERROR: CloseInfo(
            code=CloseCode.PROTOCOL_ERROR,
            sent_by=("server", "client"),
            reconnect=Reconnect.BACKOFF,
            min_ms=5000,
            max_ms=15_000,
            meaning="What came was no proper WebSocket frame, or not in its place (RFC 6455).",
            advice="Come back slowly; if it happens each time, the client or a proxy on the way is broken.",
        ),
        CloseCode.UNSUPPORTED_DATA: CloseInfo(
            code=CloseCode.UNSUPPORTED_DATA,
            sent_by=("server", "client"),
            reconnect=Reconnect.BACKOFF,
            min_ms=5000,
            max_ms=15_000,
            meaning="The kind of data is not accepted here.",
            advice="Come back slowly, and do not send the same again.",
        ),
        CloseCode.NO_STATUS: CloseInfo(
            code=CloseCode.NO_STATUS,
            sent_by=(),
            reconnect=Reconnect.BACKOFF,
            min_ms=1000,
            max_ms=3000,
            meaning="The close frame carried no code.",
            advice="Come back.",
        ),
        CloseCode.ABNORMAL: CloseInfo(
            code=CloseCode.ABNORMAL,
            sent_by=(),
            reconnect=Reconnect.BACKOFF,
            min_ms=500,
            max_ms=3000,
            meaning="The connection broke without a close frame: network, proxy, or a server that died.",
            advice="Come back, with the positions of the topics to recover.",
        ),
        CloseCode.INVALID_PAYLOAD: CloseInfo(
            code=CloseCode.INVALID_PAYLOAD,
            sent_by=("server", "client"),
            reconnect=Reconnect.BACKOFF,
            min_ms=5000,
            max_ms=15_000,
            meaning="A text was not UTF-8, or a compressed message could not be inflated.",
            advice="Come back slowly, and do not send the same again.",
        ),
        CloseCode.MESSAGE_TOO_BIG: CloseInfo(
            code=CloseCode.MESSAGE_TOO_BIG,
            sent_by=("server", "client"),
            reconnect=Reconnect.BACKOFF,
            min_ms=1000,
            max_ms=5000,
            meaning="A message was larger than `max_message_size`.",
            advice="Come back, and do not send the same again.",
        ),
        CloseCode.MANDATORY_EXTENSION: CloseInfo(
            code=CloseCode.MANDATORY_EXTENSION,
            sent_by=("client",),
            reconnect=Reconnect.NEVER,
            min_ms=0,
            max_ms=0,
            meaning="The client can't do without an extension that the server did not negotiate.",
            advice="Stay away: the next try would end the same.",
        ),
        CloseCode.SERVER_ERROR: CloseInfo(
            code=CloseCode.SERVER_ERROR,
            sent_by=("server", "application"),
            reconnect=Reconnect.BACKOFF,
            min_ms=1000,
            max_ms=5000,
            meaning="The server could not go on with this connection.",
            advice="Come back.",
        ),
        CloseCode.SERVICE_RESTART: CloseInfo(
            code=CloseCode.SERVICE_RESTART,
            sent_by=("server",),
            reconnect=Reconnect.BACKOFF,
            min_ms=500,
            max_ms=5000,
            meaning="The server stops or restarts.",
            advice="Come back, with the positions of the topics to recover.",
        ),
        CloseCode.DRAIN: CloseInfo(
            code=CloseCode.DRAIN,
            sent_by=("server", "application"),
            reconnect=Reconnect.BACKOFF,
            min_ms=0,
            max_ms=1000,
            meaning="This server is being emptied, and others go on.",
            advice=(
                "Come back at once through the balancer; the drain has spread its clients over time already."
            ),
        ),
        CloseCode.AUTHENTICATION: CloseInfo(
            code=CloseCode.AUTHENTICATION,
            sent_by=("server", "application"),
            reconnect=Reconnect.NEW_TOKEN,
            min_ms=0,
            max_ms=1000,
            meaning=(
                "The token is missing, was refused, or has expired; an `error` message before it says which."
            ),
            advice="Fetch a fresh token and come back with it; with the same one stay away.",
        ),
        CloseCode.FORBIDDEN: CloseInfo(
            code=CloseCode.FORBIDDEN,
            sent_by=("server", "application"),
            reconnect=Reconnect.NEVER,
            min_ms=0,
            max_ms=0,
            meaning="Who this client is was understood, and it may not be here.",
            advice="Stay away.",
        ),
        CloseCode.TOO_SLOW: CloseInfo(
            code=CloseCode.TOO_SLOW,
            sent_by=("server",),
            reconnect=Reconnect.BACKOFF,
            min_ms=500,
            max_ms=3000,
            meaning="The client was further behind than `max_outbound_queue_bytes`.",
            advice=(
                "Come back, with the positions of the topics to recover, and read faster or subscribe to "
                "less."
            ),
        ),
        CloseCode.IDLE: CloseInfo(
            code=CloseCode.IDLE,
            sent_by=("server",),
            reconnect=Reconnect.BACKOFF,
            min_ms=500,
            max_ms=3000,
            meaning="Nothing came from the client for `idle_timeout`, not even an answer to a ping.",
            advice="Come back.",
        ),
        CloseCode.RATE_LIMITED: CloseInfo(
            code=CloseCode.RATE_LIMITED,
            sent_by=("server", "application"),
            reconnect=Reconnect.BACKOFF,
            min_ms=5000,
            max_ms=30_000,
            meaning="The client went on sending although it was told that it sends too much.",
            advice="Come back after a while, and send less.",
        ),
    }
)
"""What each close code means; its keys are the members of `CloseCode`."""


def close_info(code: int) -> CloseInfo:
    """Returns what a client does after any close, also one that the table does not have."""
    known = CLOSES.get(code)
    if known is not None:
        return known
    return CloseInfo(
        code=code,
        sent_by=(),
        reconnect=Reconnect.BACKOFF,
        min_ms=1000,
        max_ms=3000,
        meaning="A code that this table does not have.",
        advice="Come back, unless the application that sent it says otherwise.",
    )
