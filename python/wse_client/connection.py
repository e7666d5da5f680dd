"""A connection of the library `websockets`, and what can go wrong with it in the words of the session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from ._typing import override
from ._version import __version__
from .actions import Dial
from .options import Options

__all__ = ["DialError", "Socket", "closing", "dial", "hang_up"]

USER_AGENT = f"wse-client/{__version__}"


class DialError(Exception):
    """A connection could not be made.

    Attributes:
        status: The HTTP status, if there was an answer.
        retry_after: Seconds that the answer asks to wait.
    """

    def __init__(self, reason: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.retry_after = retry_after


class Socket(ClientConnection):
    """A connection that tells of each piece that comes.

    So a long message on a slow line is a sign of life long before its end.

    Attributes:
        on_data: Called for each piece, before anything is made of it.
    """

    on_data: Callable[[], None] | None = None

    @override
    def data_received(self, data: bytes) -> None:
        """Tells of it, and does what there is to do."""
        if self.on_data is not None:
            self.on_data()
        super().data_received(data)


async def dial(action: Dial, options: Options) -> Socket:
    """Connects.

    Raises:
        DialError: It could not be done.
    """
    headers = dict(options.headers)
    if action.token is not None:
        headers["Authorization"] = f"Bearer {action.token}"
    more: dict[str, Any] = {} if options.ssl is None else {"ssl": options.ssl}
    try:
        socket = await connect(
            action.url,
            create_connection=Socket,
            additional_headers=headers,
            user_agent_header=USER_AGENT,
            compression="deflate" if options.compression == "deflate" else None,
            proxy=None if options.proxy is False else options.proxy,
            open_timeout=None,
            ping_interval=None,
            close_timeout=options.close_timeout,
            max_size=options.max_message_size,
            **more,
        )
    except InvalidStatus as error:
        response = error.response
        raise DialError(
            f"the upgrade was answered {response.status_code} {response.reason_phrase}".rstrip(),
            response.status_code,
            seconds(response.headers.get("Retry-After")),
        ) from None
    except (OSError, WebSocketException) as error:
        raise DialError(f"{type(error).__name__}: {error}") from None
    return cast("Socket", socket)


def seconds(retry_after: str | None) -> float | None:
    """What `Retry-After` says (RFC 9110, section 10.2.3). A date is not used: clocks differ."""
    if retry_after is None:
        return None
    with suppress(ValueError):
        return max(0.0, float(int(retry_after)))
    return None


def closing(error: ConnectionClosed) -> tuple[int | None, str]:
    """The code and reason with which a connection has ended.

    They are the server's, or those of this side's own complaint about what came.
    """
    frame = error.rcvd or error.sent
    return (None, "") if frame is None else (frame.code, frame.reason)


async def hang_up(socket: Socket, code: int, reason: str, timeout: float) -> None:
    """Says goodbye and closes, by force where that takes longer than `timeout` seconds."""
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await socket.close(code, reason)
    finally:
        socket.transport.abort()
