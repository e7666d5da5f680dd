"""A client that may break every rule: bytes as they are, one frame at a time, and HTTP as it comes.

Well-behaved clients come from `support.dial`, crowds of them from `sockets`. This one is for what those never
send and never show: fragments, masks, reserved bits, answers to requests that are no upgrades.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import socket
import struct
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from support import HOST, PATIENCE, Running

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""What a server appends to the key of a handshake (RFC 6455, section 1.3)."""


@dataclass(frozen=True)
class Answer:
    """An answer in HTTP."""

    status: int
    headers: dict[str, str]
    """By name in lower case."""
    body: bytes


@dataclass(frozen=True)
class Frame:
    """A frame of the server."""

    opcode: int
    payload: bytes
    fin: bool = True
    reserved: int = 0

    @property
    def close(self) -> tuple[int | None, str]:
        """Code and reason of a close frame; no code where the frame is empty."""
        assert self.opcode == CLOSE, f"no close frame: {self}"
        if not self.payload:
            return None, ""
        (code,) = struct.unpack_from(">H", self.payload)
        return code, self.payload[2:].decode()


class StreamEndedError(Exception):
    """The server has ended its half of the connection."""


def request(
    method: str = "GET", path: str = "/wse", headers: dict[str, str | None] | None = None, *more: str
) -> bytes:
    """Returns the head of an upgrade request.

    Args:
        method: The method.
        path: The target.
        headers: What differs from a good request, by name; None leaves the header out.
        more: Whole header lines to be added.
    """
    lines: dict[str, str | None] = {
        "Host": HOST,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    lines |= headers or {}
    head = [f"{method} {path} HTTP/1.1"]
    head += [f"{name}: {value}" for name, value in lines.items() if value is not None]
    head += more
    return "\r\n".join([*head, "", ""]).encode()


def plain(method: str, path: str, *more: str) -> bytes:
    """Returns the head of a request that is no upgrade."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {HOST}", *more, "", ""]).encode()


def ask(port: int, data: bytes, method: str = "GET") -> Answer:
    """Sends bytes on a connection of its own and returns the answer in HTTP, which must be its end."""
    with socket.create_connection((HOST, port), timeout=PATIENCE) as sock:
        sock.sendall(data)
        return read_answer(sock, method)


def read_answer(sock: socket.socket, method: str = "GET") -> Answer:
    """Reads an answer in HTTP up to the end of the connection."""
    with http.client.HTTPResponse(sock, method=method) as response:
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        body = response.read()
    rest = b"" if response.status == 101 else sock.recv(4096)
    assert rest == b"", f"after the answer came {rest!r}"
    return Answer(response.status, headers, body)


def client_frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, masked: bool = True
) -> bytes:
    """Returns a client's frame, with a random mask unless told otherwise."""
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    bit = 0x80 if masked else 0
    if len(payload) < 126:
        head = struct.pack(">BB", first, bit | len(payload))
    elif len(payload) < 65536:
        head = struct.pack(">BBH", first, bit | 126, len(payload))
    else:
        head = struct.pack(">BBQ", first, bit | 127, len(payload))
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def close_payload(code: int, reason: bytes = b"") -> bytes:
    """Returns what a close frame holds."""
    return struct.pack(">H", code) + reason


def read_slowly(sock: socket.socket, seconds: float) -> bytes:
    """Reads up to the end of the connection in small portions, for at least so many seconds."""
    pause = threading.Event()
    deadline = time.monotonic() + seconds
    data = bytearray()
    while portion := sock.recv(1 << 16):
        data += portion
        if time.monotonic() < deadline:
            pause.wait(0.02)
    return bytes(data)


class Wire:
    """An open WebSocket on a plain socket. Nothing is answered unless the test answers it."""

    def __init__(self, port: int, path: str = "/wse", headers: dict[str, str | None] | None = None) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=PATIENCE)
        try:
            self._upgrade(path, headers or {})
        except BaseException:
            self.socket.close()
            raise

    def _upgrade(self, path: str, headers: dict[str, str | None]) -> None:
        key = base64.b64encode(os.urandom(16))
        self.socket.sendall(request("GET", path, {"Sec-WebSocket-Key": key.decode(), **headers}))
        head = bytearray()
        # Byte by byte: what follows the head belongs to the frames.
        while not head.endswith(b"\r\n\r\n"):
            head += self._read(1)
        status, _, lines = head.decode().partition("\r\n")
        self.headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines.splitlines() if line)
        }
        assert status.startswith("HTTP/1.1 101 "), status
        proof = base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest()).decode()
        assert self.headers["sec-websocket-accept"] == proof

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            received = self.socket.recv(count - len(data))
            if not received:
                raise StreamEndedError(f"after {data!r}")
            data += received
        return data

    def send_raw(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self.socket.sendall(data)

    def send(self, opcode: int, payload: bytes = b"", **options: Any) -> None:
        """Sends one frame; the options are those of `client_frame`."""
        self.send_raw(client_frame(opcode, payload, **options))

    def frame(self, timeout: float = PATIENCE) -> Frame:
        """Waits for the next frame.

        Raises:
            StreamEndedError: The server has ended the connection.
            TimeoutError: Nothing came in time.
        """
        self.socket.settimeout(timeout)
        first, second = self._read(2)
        assert not second & 0x80, "a server must not mask"
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", self._read(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self._read(8))
        return Frame(first & 0x0F, self._read(length), bool(first & 0x80), first >> 4 & 7)

    def close_frame(self) -> tuple[int | None, str]:
        """Reads up to the server's close frame and returns its code and reason."""
        while True:
            frame = self.frame()
            if frame.opcode == CLOSE:
                return frame.close

    def expect_end(self) -> None:
        """Waits until the server ends the connection, and fails if it says anything before."""
        try:
            frame = self.frame()
        except (StreamEndedError, ConnectionResetError):
            return
        raise AssertionError(f"instead of the end came {frame}")

    def close(self) -> None:
        """Closes the socket without a word."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect(running: Running, headers: dict[str, str | None] | None = None) -> tuple[Wire, str]:
    """Opens a connection to a server without tokens, with these headers too; returns it with its id."""
    known = len(running.events.of("connect"))
    wire = Wire(running.port, headers=headers)
    return wire, running.events.wait("connect", count=known + 1)[known][1]
