"""Clients on plain sockets: they read at a pace of their own, thousands of frames at a time, or never.

A client says its name in a cookie, so that the server's `connect` event tells which connection is whose.
"""

from __future__ import annotations

import base64
import itertools
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self

from support import HOST, PATIENCE

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA

RESET = 1006
"""What `Client.ended` says of a connection that ended without a close frame, as RFC 6455 (7.1.5) has it."""


class Frame(NamedTuple):
    """A frame as the server sent it."""

    opcode: int
    payload: bytes

    @property
    def close_code(self) -> int:
        """The code of a close frame."""
        assert self.opcode == CLOSE, f"no close frame: {self}"
        code: int = struct.unpack_from(">H", self.payload)[0]
        return code


def server_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Returns the frame in which the server sends this payload, for comparison with what it really sent."""
    return _header(opcode, len(payload), masked=False) + payload


def client_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Returns a client's frame. Its mask is zero: RFC 6455 permits that, and floods are cheap to build."""
    return _header(opcode, len(payload), masked=True) + bytes(4) + payload


def _header(opcode: int, length: int, *, masked: bool) -> bytes:
    mask = 0x80 if masked else 0
    if length < 126:
        return bytes((0x80 | opcode, mask | length))
    if length < 65536:
        return struct.pack(">BBH", 0x80 | opcode, mask | 126, length)
    return struct.pack(">BBQ", 0x80 | opcode, mask | 127, length)


def parse_frames(data: bytes | bytearray) -> tuple[list[Frame], int]:
    """Returns the whole frames at the beginning of `data` and how many bytes they are."""
    frames = []
    at, size = 0, len(data)
    while at + 2 <= size:
        length, start = data[at + 1], at + 2
        if length == 126:
            if at + 4 > size:
                break
            length, start = int.from_bytes(data[at + 2 : at + 4]), at + 4
        elif length == 127:
            if at + 10 > size:
                break
            length, start = int.from_bytes(data[at + 2 : at + 10]), at + 10
        if start + length > size:
            break
        frames.append(Frame(data[at] & 0x0F, bytes(data[start : start + length])))
        at = start + length
    return frames, at


class Client:
    """One connection.

    Args:
        port: The server's port.
        name: What the server hears as cookie `name`.
        receive_buffer: Bytes of the kernel's receive buffer. A client that does not read should have a small
            one, so that what it is behind waits in the server and not in the kernel.
        answers_pings: Whether reading answers the server's pings, as every real client does.
        query: What the request has behind its path, with the question mark.
    """

    def __init__(
        self,
        port: int,
        name: str = "",
        *,
        receive_buffer: int | None = None,
        answers_pings: bool = True,
        query: str = "",
    ) -> None:
        self.name = name
        self.answers_pings = answers_pings
        self.pings = 0
        """Pings of the server that reading came across."""
        self.ended: int | None = None
        """The code of the server's close frame, `RESET` if the end came without, None while it lasts."""
        self._buffer = bytearray()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            if receive_buffer is not None:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.settimeout(PATIENCE)
            self.socket.connect((HOST, port))
            self._upgrade(port, query)
        except BaseException:
            self.socket.close()
            raise

    def _upgrade(self, port: int, query: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /wse{query} HTTP/1.1\r\nHost: {HOST}:{port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            f"Cookie: name={self.name}\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._buffer:
            received = self.socket.recv(65536)
            if not received:
                raise ConnectionResetError("the server ended the connection during the upgrade")
            self._buffer += received
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            raise ConnectionRefusedError(head.decode(errors="replace"))
        self._buffer = bytearray(rest)

    def send(self, payload: bytes | str, opcode: int = TEXT) -> None:
        """Sends one frame."""
        self.send_raw(client_frame(payload.encode() if isinstance(payload, str) else payload, opcode))

    def send_raw(self, data: bytes, timeout: float = PATIENCE) -> None:
        """Sends bytes as they are, waiting for as long as the server does not read."""
        self.socket.settimeout(timeout)
        self.socket.sendall(data)

    def read_now(self, size: int) -> bytes:
        """Returns up to `size` bytes that are there, frames or not; nothing once the connection has ended.

        Raises:
            BlockingIOError: Nothing is there, and the socket does not block.
        """
        if self._buffer:
            data = bytes(self._buffer)
            self._buffer.clear()
            return data
        try:
            return self.socket.recv(size)
        except ConnectionError:
            return b""

    def take(self, timeout: float = PATIENCE) -> list[Frame]:
        """Waits for bytes and returns the whole frames among them; none if the connection has ended.

        Pings are answered and left out. The close frame is the last there is, and sets `ended`.
        """
        if self.ended is not None:
            return []
        self.socket.settimeout(timeout)
        try:
            received = self.socket.recv(1 << 18)
        except ConnectionError:
            received = b""
        if not received:
            self.ended = RESET
            return []
        self._buffer += received
        return self.buffered()

    def buffered(self) -> list[Frame]:
        """Returns the whole frames that have been read and not been returned, as `take` does."""
        frames, used = parse_frames(self._buffer)
        del self._buffer[:used]
        return [frame for frame in frames if self._keep(frame)]

    def _keep(self, frame: Frame) -> bool:
        if frame.opcode == PING:
            self.pings += 1
            if self.answers_pings:
                self.send(frame.payload, PONG)
            return False
        if frame.opcode == CLOSE:
            self.ended = frame.close_code
            # As RFC 6455 (5.5.1) asks; the server may be gone already.
            with suppress(OSError):
                self.send(frame.payload[:2], CLOSE)
        return True

    def frames(self, count: int, timeout: float = PATIENCE) -> list[Frame]:
        """Waits for `count` frames; fewer only if the connection ends. More may have come with the last."""
        deadline = time.monotonic() + timeout
        frames = self.buffered()
        while len(frames) < count and self.ended is None:
            frames += self.take(max(0.001, deadline - time.monotonic()))
        return frames

    def frames_until(self, last: bytes, timeout: float = PATIENCE) -> list[Frame]:
        """Waits for a frame with this payload and returns all up to it, or up to the end."""
        deadline = time.monotonic() + timeout
        frames = self.buffered()
        while not any(frame.payload == last for frame in frames) and self.ended is None:
            frames += self.take(max(0.001, deadline - time.monotonic()))
        return frames

    def frames_to_the_end(self, timeout: float = PATIENCE) -> list[Frame]:
        """Reads until the server ends the connection and returns everything; `ended` tells how."""
        deadline = time.monotonic() + timeout
        frames = self.buffered()
        while self.ended is None:
            frames += self.take(max(0.001, deadline - time.monotonic()))
        return frames

    def reset(self) -> None:
        """Goes away without a word, as a client whose process was killed."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        """Closes the socket."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_together(
    clients: Iterable[Client],
    take: Callable[[Client, bytes], bool],
    *,
    timeout: float,
    rate: float | None = None,
    rate_for: float = 0.0,
) -> None:
    """Reads from many connections until each is satisfied; fails when that takes longer than `timeout`.

    Args:
        clients: The connections.
        take: Gets what a connection received, in the order of arrival, nothing when it has ended. Its answer
            says whether the connection is satisfied.
        timeout: Seconds for all together.
        rate: Bytes a second that each connection reads at the most, evenly; None reads as fast as bytes come.
        rate_for: Seconds after which everybody reads as fast as bytes come.
    """
    started = time.monotonic()
    waiting = {client.socket: client for client in clients}
    had = dict.fromkeys(waiting.values(), 0)
    with selectors.DefaultSelector() as selector:
        for sock, client in waiting.items():
            sock.setblocking(False)
            selector.register(sock, selectors.EVENT_READ, client)
        while waiting:
            elapsed = time.monotonic() - started
            if elapsed > timeout:
                names = [client.name for client in waiting.values()]
                raise AssertionError(f"not satisfied after {timeout} s: {len(names)}, among them {names[:5]}")
            ready = [key.data for key, _ in selector.select(0.1)]
            slowly = rate is not None and elapsed < rate_for
            if rate is not None and slowly:
                ready = _read_evenly(ready, had, rate * elapsed)
            for client in ready:
                data = client.read_now(_SIP if slowly else _GULP)
                had[client] += len(data)
                if take(client, data):
                    selector.unregister(client.socket)
                    del waiting[client.socket]


_SIP = 1 << 14
"""Bytes that a slow reader takes at a time."""
_GULP = 1 << 18
"""Bytes that a reader takes at a time: with larger ones a hundred would wait too long for one another."""


def _read_evenly(ready: Sequence[Client], had: dict[Client, int], allowance: float) -> list[Client]:
    """Returns those that have read less than their allowance, after a tick if nobody has."""
    due = [client for client in ready if had[client] + _SIP <= allowance]
    if not due:
        time.sleep(0.002)
    return due


class Churn:
    """Clients that come, say something, and go again, for as long as the `with` block lasts.

    They leave by a close frame, by closing the socket or by a reset, and some stay until they are sent away.
    A server that is not there is tried again.

    Args:
        port: The server's port.
        count: How many there are at a time.
        says: What each says before it goes.
        stays: How many of them, at the most, wait to be sent away.
    """

    def __init__(self, port: int, count: int, *, says: Sequence[bytes] = (), stays: int = 0) -> None:
        self._port, self._count, self._stays = port, count, stays
        self._says = b"".join(client_frame(text) for text in says)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="churn", daemon=True)

    def _run(self) -> None:
        present: dict[Client, bool] = {}
        turn = itertools.count()
        with selectors.DefaultSelector() as selector:
            while not self._over.is_set():
                if len(present) < self._count:
                    self._come(present, selector)
                for key, _ in selector.select(0.001):
                    client = key.data
                    if self._has_ended(client):
                        self._leave(client, 0, present, selector)
                if len(present) == self._count:
                    going = [client for client, stays in present.items() if not stays]
                    for client in going[: self._count // 4]:
                        self._leave(client, next(turn) % 3, present, selector)
            for client in list(present):
                self._leave(client, 0, present, selector)

    def _come(self, present: dict[Client, bool], selector: selectors.BaseSelector) -> None:
        try:
            client = Client(self._port, f"churn {id(self)}")
        except OSError:
            return
        present[client] = sum(present.values()) < self._stays
        selector.register(client.socket, selectors.EVENT_READ, client)
        with suppress(OSError):
            client.send_raw(self._says)

    def _has_ended(self, client: Client) -> bool:
        with suppress(TimeoutError):
            client.take(0.0001)
        return client.ended is not None

    def _leave(
        self, client: Client, way: int, present: dict[Client, bool], selector: selectors.BaseSelector
    ) -> None:
        selector.unregister(client.socket)
        del present[client]
        if way == 1:
            client.reset()
            return
        if way == 2:
            with suppress(OSError):
                client.send(struct.pack(">H", 1000), CLOSE)
        client.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the clients did not go"
