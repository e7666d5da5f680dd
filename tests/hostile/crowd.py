"""The sockets of an attacker: hundreds or thousands, none of which blocks, and how each of them ended."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self

from sockets import CLOSE, parse_frames
from support import HOST, PATIENCE


def request(name: str = "hostile", *more: str) -> bytes:
    """Returns a good upgrade request with a cookie that says the name, and with more header lines."""
    lines = [
        "GET /wse HTTP/1.1",
        f"Host: {HOST}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        f"Cookie: name={name}",
        *more,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Attacker:
    """One socket.

    Attributes:
        ended: How the server ended it: `HTTP 431`, `close 1009`, `end` without a word, `reset`; empty so far.
        sent: Bytes that the kernel took.
        open: Whether the upgrade succeeded.
        broken: Whether the socket takes nothing any more.
    """

    def __init__(self, port: int, receive_buffer: int | None) -> None:
        self.ended = ""
        self.sent = 0
        self.open = False
        self.broken = False
        self._said = ""
        self._received = bytearray()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(PATIENCE)
        self.socket.connect((HOST, port))
        self.socket.setblocking(False)

    def write(self, data: bytes | memoryview) -> int:
        """Sends what the kernel takes now. That nobody takes anything is found when the end is read."""
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self.broken = True
            return 0
        self.sent += sent
        return sent

    def read(self) -> None:
        """Reads once, and notes how the connection ended if it did."""
        try:
            received = self.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            self.ended = self._said or "reset"
            return
        if not received:
            self.ended = self._said or "end"
            return
        self._received += received
        self._look()

    def _look(self) -> None:
        if not self.open:
            head, separator, rest = bytes(self._received).partition(b"\r\n\r\n")
            if not separator:
                return
            status = head.split(b" ", 2)[1].decode()
            if status != "101":
                self._said = f"HTTP {status}"
                return
            self.open = True
            self._received = bytearray(rest)
        frames, used = parse_frames(self._received)
        del self._received[:used]
        for frame in frames:
            if frame.opcode == CLOSE:
                self._said = f"close {frame.close_code if frame.payload else 1005}"

    @property
    def has_answer(self) -> bool:
        """Whether the server has answered the request or refused it."""
        return self.open or bool(self._said) or bool(self.ended)


class Crowd:
    """The attackers of one attack, closed at the end of the `with` block.

    Args:
        port: The server's port.
        count: How many there are.
        receive_buffer: Bytes of the kernel's receive buffer of each.
    """

    def __init__(self, port: int, count: int, *, receive_buffer: int | None = None) -> None:
        self.all: list[Attacker] = []
        self._over = threading.Event()
        self._selector = selectors.DefaultSelector()
        for _ in range(count):
            attacker = Attacker(port, receive_buffer)
            self._selector.register(attacker.socket, selectors.EVENT_READ, attacker)
            self.all.append(attacker)

    @property
    def alive(self) -> list[Attacker]:
        """Those whose end has not been read."""
        return [attacker for attacker in self.all if not attacker.ended]

    def upgrade(self, name: str = "hostile", *more: str) -> None:
        """Sends a good request each, with these header lines besides, and waits for the answers."""
        self.say(request(name, *more))
        deadline = time.monotonic() + PATIENCE
        while not all(attacker.has_answer for attacker in self.all) and time.monotonic() < deadline:
            self.listen(0.05)
        refused = [attacker for attacker in self.all if not attacker.open]
        assert not refused, f"{len(refused)} of {len(self.all)} were not upgraded: {refused[0].ended!r}"

    def say(self, data: bytes) -> None:
        """Everybody who is left sends this, as far as the kernel takes it."""
        for attacker in self.alive:
            attacker.write(data)

    def listen(self, seconds: float) -> None:
        """Reads for so long, or until nobody is left."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and self._selector.get_map():
            for key, _ in self._selector.select(left):
                attacker: Attacker = key.data
                attacker.read()
                if attacker.ended:
                    self._selector.unregister(attacker.socket)

    def pause(self, seconds: float) -> None:
        """Lets time pass without reading."""
        self._over.wait(seconds)

    def drip(self, data: bytes, *, every: float, seconds: float) -> None:
        """Sends one byte after the other, one each `every` seconds, and reads meanwhile."""
        deadline = time.monotonic() + seconds
        for at in range(len(data)):
            if time.monotonic() >= deadline or not self.alive:
                return
            self.say(data[at : at + 1])
            self.listen(every)

    def flood(self, block: bytes, *, seconds: float, reading: bool, bytes_each: int | None = None) -> None:
        """Sends the block again and again as fast as the server reads it.

        Args:
            block: What is sent, whole frames.
            seconds: How long.
            reading: Whether anybody reads what the server says.
            bytes_each: How much each sends at the most.
        """
        deadline = time.monotonic() + seconds
        done = dict.fromkeys(self.alive, 0)
        events = selectors.EVENT_WRITE | (selectors.EVENT_READ if reading else 0)
        view = memoryview(block)
        with selectors.DefaultSelector() as selector:
            for attacker in done:
                selector.register(attacker.socket, events, attacker)
            while time.monotonic() < deadline and selector.get_map():
                for key, ready in selector.select(0.05):
                    attacker = key.data
                    if ready & selectors.EVENT_READ:
                        attacker.read()
                    room = len(block) if bytes_each is None else bytes_each - done[attacker]
                    at = done[attacker] % len(block)
                    done[attacker] += attacker.write(view[at : at + room]) if room > 0 else 0
                    if attacker.ended or attacker.broken or room <= 0:
                        selector.unregister(attacker.socket)

    def endings(self) -> dict[str, int]:
        """Returns how many ended in which way; `open` are those whom the server has not ended."""
        return dict(Counter(attacker.ended or "open" for attacker in self.all))

    def wait_for_the_end(self, seconds: float) -> dict[str, int]:
        """Reads until the server has ended everybody, at most for so long, and returns `endings`."""
        self.listen(seconds)
        return self.endings()

    def reset(self) -> None:
        """Everybody goes away as a client whose process was killed."""
        for attacker in self.alive:
            self._selector.unregister(attacker.socket)
            attacker.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            attacker.socket.close()
            attacker.ended = "gone"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._selector.close()
        for attacker in self.all:
            attacker.socket.close()
