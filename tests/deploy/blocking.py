"""A client with TLS and blocking calls, for cases that are told step by step.

That of `websockets` reads in a thread and writes in another, on one TLS connection, which OpenSSL does not
allow: one handshake in a hundred stalled. This one is the asyncio client, in a loop that runs in a thread.
"""

from __future__ import annotations

import asyncio
import functools
import json
import ssl
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

import websockets.asyncio.client
from websockets.exceptions import ConnectionClosed

from support import PATIENCE

T = TypeVar("T")


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="clients with TLS", daemon=True).start()
    return loop


def _do(what: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(what, _loop()).result()


class Socket:
    """A WebSocket, connected. Says goodbye at the end of the `with` block.

    Args:
        url: Where to.
        options: As `websockets.asyncio.client.connect` takes them.
    """

    def __init__(self, url: str, **options: Any) -> None:
        async def connect() -> websockets.asyncio.client.ClientConnection:
            return await websockets.asyncio.client.connect(url, **options)

        self._connection = _do(connect())

    @property
    def subprotocol(self) -> str | None:
        """The one that the server has chosen."""
        return self._connection.subprotocol

    @property
    def local_address(self) -> tuple[str, int]:
        """This end of the connection."""
        host, port = self._connection.local_address
        return host, port

    @property
    def tls_version(self) -> str | None:
        """Which TLS was agreed on."""
        tls: ssl.SSLObject = self._connection.transport.get_extra_info("ssl_object")
        return tls.version()

    def send(self, message: str) -> None:
        """Sends a text."""
        _do(self._connection.send(message))

    def say(self, kind: str, **payload: Any) -> None:
        """Sends a message of the protocol."""
        self.send(json.dumps({"t": kind, "p": payload}))

    def receive(self, timeout: float = PATIENCE) -> dict[str, Any]:
        """Waits for the next message."""

        async def receive() -> str | bytes:
            async with asyncio.timeout(timeout):
                return await self._connection.recv()

        message: dict[str, Any] = json.loads(_do(receive()))
        return message

    def close_code(self) -> int | None:
        """Reads up to the end, and returns the code of the server's close frame, None if there was none."""
        try:
            while True:
                self.receive()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _do(self._connection.close())
