"""A client that reads only when told to, and may break every rule. One coroutine drives it."""

from __future__ import annotations

import asyncio
import base64
import random
import socket
import struct
from collections.abc import Iterator

from soak.plan import HOST

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
NO_CLOSE_FRAME = 1006
"""What `Ended.code` says of a connection that ended without a close frame, as RFC 6455 (7.1.5) has it."""


class EndedError(Exception):
    """The server ended the connection.

    Attributes:
        code: That of its close frame, or `NO_CLOSE_FRAME`.
    """

    def __init__(self, code: int) -> None:
        super().__init__(f"ended with {code}")
        self.code = code


class RefusedError(Exception):
    """The server answered an upgrade with another status than 101.

    Attributes:
        status: The status of the answer.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"refused with {status}")
        self.status = status


class ComplaintError(Exception):
    """The server did what it must not do."""


def request(lots: random.Random, token: str | None) -> bytes:
    """Returns the head of an upgrade request."""
    key = base64.b64encode(lots.randbytes(16)).decode()
    bearer = "" if token is None else f"Authorization: Bearer {token}\r\n"
    return (
        f"GET /wse HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{bearer}\r\n"
    ).encode()


def frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True) -> bytes:
    """Returns a client's frame. Its mask is zero, which RFC 6455 permits and Python likes."""
    first = (0x80 if fin else 0) | opcode
    size = len(payload)
    if size < 126:
        head = struct.pack(">BB", first, 0x80 | size)
    elif size < 65536:
        head = struct.pack(">BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack(">BBQ", first, 0x80 | 127, size)
    return head + bytes(4) + payload


async def connect(port: int, receive_buffer: int | None = None) -> socket.socket:
    """Connects a socket that does not block."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(sock, (HOST, port))
    except BaseException:
        sock.close()
        raise
    return sock


def reset(sock: socket.socket) -> None:
    """Goes away as a client whose process was killed with bytes unread."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Wire:
    """An open WebSocket."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._unseen = False
        """Whether frames came with the answer to the upgrade, and nobody has looked at them."""

    async def upgrade(self, lots: random.Random, token: str | None) -> None:
        """Asks for the upgrade and waits for the answer."""
        await self.send_raw(request(lots, token))
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            await self._read()
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        status = int(head[9:12]) if head.startswith(b"HTTP/1.1 ") else 0
        if status != 101:
            raise RefusedError(status)
        self._unseen = bool(self._buffer)

    async def send_raw(self, data: bytes) -> None:
        """Sends bytes as they are."""
        await self._loop.sock_sendall(self.socket, data)

    async def send(self, payload: bytes | str, opcode: int = TEXT) -> None:
        """Sends a message."""
        await self.send_raw(frame(payload.encode() if isinstance(payload, str) else payload, opcode))

    async def read_raw(self, size: int) -> bytes:
        """Reads bytes past all buffers; nothing at the end. What is cancelled has read nothing."""
        # Not `sock_recv`: cancelled at the wrong moment, that has taken bytes which nobody gets.
        ready = self._loop.create_future()
        self._loop.add_reader(self.socket, _wake, ready)
        try:
            await ready
        finally:
            self._loop.remove_reader(self.socket)
        return self.socket.recv(size)

    async def _read(self, size: int = 1 << 16) -> None:
        data = await self.read_raw(size)
        if not data:
            raise EndedError(NO_CLOSE_FRAME)
        self._buffer += data

    async def messages(self, size: int = 1 << 16) -> list[tuple[int, bytes]]:
        """Waits for up to `size` bytes and returns the whole messages and pongs; pings are answered.

        Raises:
            EndedError: The server closed; the close frame has been answered.
            ComplaintError: What came is no frame of a server.
        """
        if not self._unseen:
            await self._read(size)
        self._unseen = False
        found = []
        for opcode, payload in self._frames():
            if opcode == PING:
                await self.send(payload, PONG)
            elif opcode == CLOSE:
                await self.send(payload[:2], CLOSE)
                raise EndedError(struct.unpack_from(">H", payload)[0] if payload else 1005)
            else:
                found.append((opcode, payload))
        return found

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        buffer = self._buffer
        at, size = 0, len(buffer)
        try:
            while at + 2 <= size:
                first, length, start = buffer[at], buffer[at + 1], at + 2
                if length >= 128 or first not in _FIRST_BYTES:
                    raise ComplaintError(f"no frame of a server begins with {first:#x} {length:#x}")
                if length == 126:
                    length, start = int.from_bytes(buffer[at + 2 : at + 4]), at + 4
                elif length == 127:
                    length, start = int.from_bytes(buffer[at + 2 : at + 10]), at + 10
                if start > size or start + length > size:
                    return
                at = start + length
                yield first & 0x0F, bytes(buffer[start:at])
        finally:
            del buffer[:at]

    async def leave(self, way: int) -> None:
        """Goes: with the close handshake's first half, with a plain close, or with a reset."""
        if way == 0:
            await self.send(struct.pack(">H", 1000), CLOSE)
        if way == 2:
            reset(self.socket)
        self.socket.close()


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


_FIRST_BYTES = frozenset(0x80 | opcode for opcode in (TEXT, BINARY, CLOSE, PING, PONG))
"""Servers of this project do not cut messages, and a client that offered nothing gets no reserved bit."""
