"""A node written in Python: it says to a node whatever a test wants, of any version, and keeps what it hears.

Its encoding follows `spec/cluster.md` and owes nothing to the engine's.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import NamedTuple, Self

from support import HOST, PATIENCE

HELLO, PEER_ANNOUNCE, PEER_LIST, PING, PONG, DRAIN, SHUTDOWN = range(0x01, 0x08)
CHALLENGE, PROOF, STAND, KEEP = range(0x08, 0x0C)
SUB, UNSUB, RESYNC, INTEREST_ACK, MSG, INTEREST_DIGEST = range(0x10, 0x16)

COMPRESSED = 0x01
"""Flag of a frame."""

ZSTD = 0x01
"""Capability of a node."""

PLAIN = 0x02
"""Flag of MSG: for the plain subscribers."""

LOWEST, HIGHEST = 1, 2**64 - 1
"""Ids of nodes that choose the link, and leave the choice to others."""

HEADER = 8
ACCEPTED = 1
"""The role of an acceptor in the opening."""


class Frame(NamedTuple):
    """What a frame says."""

    kind: int
    flags: int
    topic: str
    payload: bytes


@dataclass(frozen=True)
class Hello:
    """The first frame of a link, with what a later version adds to it at its end."""

    node_id: int
    versions: tuple[int, int] = (1, 1)
    """The oldest and the newest."""
    cluster: str = "wse"
    incarnation: int = 0
    capabilities: int = 0
    max_frame: int = 1 << 20
    flags: int = 0
    address: str = ""
    more: bytes = b""

    def encode(self, session: int) -> bytes:
        """The payload of the HELLO of a link."""
        oldest, newest = self.versions
        head = b"WSEM" + number(newest) + number(oldest) + text(self.cluster) + fixed(self.node_id)
        body = number(self.incarnation) + number(self.capabilities) + number(self.max_frame)
        return head + body + bytes([self.flags]) + fixed(session) + text(self.address) + self.more


class Reader:
    """Takes the fields of a payload one after the other."""

    def __init__(self, payload: bytes) -> None:
        self.rest = payload

    def take(self, count: int) -> bytes:
        """The next so many bytes."""
        assert len(self.rest) >= count, f"a field is cut: {self.rest!r}"
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def number(self) -> int:
        """A number in LEB128."""
        value = shift = 0
        while True:
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def fixed(self) -> int:
        """A number of eight bytes."""
        return int.from_bytes(self.take(8), "little")

    def text(self) -> str:
        """Text with its length in front."""
        return self.take(self.number()).decode()


def number(value: int) -> bytes:
    """A number in LEB128."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def fixed(value: int) -> bytes:
    """A number of eight bytes."""
    return value.to_bytes(8, "little")


def text(value: str) -> bytes:
    """Text with its length in front."""
    return number(len(value.encode())) + value.encode()


def frame(kind: int, payload: bytes = b"", topic: str = "", flags: int = 0) -> bytes:
    """A frame as it is sent."""
    lengths = len(topic.encode()).to_bytes(2, "little") + len(payload).to_bytes(4, "little")
    return bytes([kind, flags]) + lengths + topic.encode() + payload


def entry(node_id: int, address: str, *, flags: int = 0, incarnation: int = 0, more: bytes = b"") -> bytes:
    """What is told of a node that was heard just now."""
    return fixed(node_id) + number(incarnation) + bytes([flags]) + number(0) + text(address) + more


def peer_list(*entries: bytes) -> bytes:
    """The payload of a PEER_LIST."""
    return number(len(entries)) + b"".join(number(len(one)) + one for one in entries)


def read_hello(payload: bytes) -> Hello:
    """What a HELLO of version 1 says."""
    reader = Reader(payload)
    assert reader.take(4) == b"WSEM"
    newest, oldest = reader.number(), reader.number()
    cluster, node_id = reader.text(), reader.fixed()
    incarnation, capabilities, max_frame = (reader.number() for _ in range(3))
    (flags,) = reader.take(1)
    reader.fixed()
    address = reader.text()
    assert not reader.rest, "version 1 has no more fields"
    return Hello(node_id, (oldest, newest), cluster, incarnation, capabilities, max_frame, flags, address)


@dataclass(frozen=True)
class Opening:
    """How a peer opens its links."""

    secret: bytes | None = None
    cluster: str = "wse"
    version: int = 1
    flags: int = 0
    """Beside the one for a secret."""
    more: bytes = b""

    def challenge(self, role: int, nonce: bytes) -> bytes:
        """The frame of the side with this role."""
        flags = self.flags | (self.secret is not None)
        return frame(CHALLENGE, b"WSEL" + number(self.version) + bytes([role, flags]) + nonce + self.more)

    def proof(self, role: int, dialler: bytes, acceptor: bytes) -> bytes:
        """The frame of the side with this role."""
        if self.secret is None:
            return frame(PROOF)
        name = self.cluster.encode()
        said = b"wse link 1" + bytes([role]) + fixed(len(name)) + name + dialler + acceptor
        return frame(PROOF, hmac.digest(self.secret, said, hashlib.sha256))


def nonce_of(challenge: Frame) -> bytes:
    """What the other side's signature must answer."""
    assert challenge.kind == CHALLENGE
    assert challenge.payload[:5] == b"WSEL\x01"
    return challenge.payload[7:39]


class EndedError(Exception):
    """The other side has ended the link where more was expected of it."""


@dataclass
class MeshPeer:
    """One end of a link with a node, past the opening.

    A thread reads it and answers PING and changes of interest. It never tells its own set of interest, so it
    counts as interested in everything.
    """

    connection: socket.socket
    heard: list[Frame] = field(default_factory=list)
    """All frames since the opening."""
    is_over: bool = False
    """The other side has ended the link."""
    was_reset: bool = False

    def __post_init__(self) -> None:
        self._arrived = threading.Condition()
        self._sending = threading.Lock()
        self._reader = threading.Thread(target=self._read, name="mesh-peer", daemon=True)

    @classmethod
    def dial(cls, address: str, opening: Opening | None = None) -> MeshPeer:
        """Dials a node and passes its guard."""
        opening = opening or Opening()
        host, _, port = address.rpartition(":")
        peer = cls(socket.create_connection((host, int(port)), timeout=PATIENCE))
        mine = os.urandom(32)
        try:
            peer.send(opening.challenge(0, mine))
            theirs = nonce_of(peer._next())
            peer.send(opening.proof(0, mine, theirs))
            peer._is_proven(opening, ACCEPTED, mine, theirs)
        except BaseException:
            peer.connection.close()
            raise
        peer._reader.start()
        return peer

    @classmethod
    def accept(cls, listener: socket.socket, opening: Opening | None = None) -> MeshPeer:
        """Waits for a node to dial and lets it pass."""
        opening = opening or Opening()
        accepted, _ = listener.accept()
        accepted.settimeout(PATIENCE)
        peer = cls(accepted)
        try:
            theirs, mine = nonce_of(peer._next()), os.urandom(32)
            peer.send(opening.challenge(ACCEPTED, mine))
            peer._is_proven(opening, 0, theirs, mine)
            peer.send(opening.proof(ACCEPTED, theirs, mine))
        except BaseException:
            peer.connection.close()
            raise
        peer._reader.start()
        return peer

    def send(self, data: bytes) -> None:
        """Sends bytes as they are."""
        with self._sending:
            self.connection.sendall(data)

    def say(self, kind: int, payload: bytes = b"", topic: str = "", flags: int = 0) -> None:
        """Sends a frame."""
        self.send(frame(kind, payload, topic, flags))

    def wait(self, kind: int, is_it: Callable[[Frame], bool] = lambda _: True) -> Frame:
        """Waits for a frame of this kind, and tells the first."""
        found: list[Frame] = []

        def is_here() -> bool:
            found[:] = [one for one in self.heard if one.kind == kind and is_it(one)]
            return bool(found) or self.is_over

        with self._arrived:
            assert self._arrived.wait_for(is_here, PATIENCE), f"no frame {kind:#x}: {self.heard}"
        if not found:
            raise EndedError(self.heard)
        return found[0]

    def wait_for_message(self, message: bytes) -> Frame:
        """Waits for a message that ends so."""
        return self.wait(MSG, lambda one: one.payload.endswith(message))

    def wait_for_end(self) -> None:
        """Waits until the other side ends the link, as it should: without a reset."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: self.is_over, PATIENCE), "the link stands"
        assert not self.was_reset, "what was said last may be lost in a reset"

    def meet(self, hello: Hello, *, more: bytes = b"") -> Hello:
        """Says HELLO and lets the link count, by the rules of one's id; `more` ends the frames that do it."""
        self.say(HELLO, hello.encode(session=7))
        theirs = read_hello(self.wait(HELLO).payload)
        if hello.node_id < theirs.node_id:
            self.wait(STAND)
            self.say(KEEP, more)
        else:
            self.say(STAND, number(1) + number(0) + more)
            self.wait(KEEP)
        self.say(PEER_ANNOUNCE, entry(hello.node_id, hello.address, incarnation=hello.incarnation, more=more))
        return theirs

    def close(self) -> None:
        """Ends the link from this side."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        if self._reader.ident is not None:
            self._reader.join(PATIENCE)
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _is_proven(self, opening: Opening, role: int, dialler: bytes, acceptor: bytes) -> None:
        proof = self._next()
        assert proof.kind == PROOF
        # Whatever version this end says it has, the other end is of version 1.
        expected = replace(opening, version=1).proof(role, dialler, acceptor)
        assert frame(PROOF, proof.payload) == expected, "it does not know the secret"

    def _next(self) -> Frame:
        header = self._exactly(HEADER)
        topic = self._exactly(int.from_bytes(header[2:4], "little"))
        payload = self._exactly(int.from_bytes(header[4:8], "little"))
        return Frame(header[0], header[1], topic.decode(), payload)

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            more = self.connection.recv(count - len(data))
            if not more:
                raise EOFError("it has ended the link")
            data += more
        return bytes(data)

    def _read(self) -> None:
        self.connection.settimeout(None)
        with suppress(OSError, EOFError):
            try:
                while True:
                    one = self._next()
                    self._answer(one)
                    with self._arrived:
                        self.heard.append(one)
                        self._arrived.notify_all()
            except ConnectionResetError:
                self.was_reset = True
        # The end of this side, which the other may be waiting for.
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
        with self._arrived:
            self.is_over = True
            self._arrived.notify_all()

    def _answer(self, one: Frame) -> None:
        reader = Reader(one.payload)
        match one.kind:
            case 0x04:
                self.say(PONG, one.payload)
            case 0x10 | 0x11:
                first, count = reader.number(), reader.number()
                self.say(INTEREST_ACK, number(first + count - 1))
            case 0x15:
                self.say(INTEREST_ACK, number(reader.number()))
            case _:
                pass


class MeshListener:
    """An address at which a peer listens, and does the same with every node that dials.

    Args:
        serve: What it does with a link. It is closed afterwards.
        opening: How links are opened.
    """

    def __init__(self, serve: Callable[[MeshPeer], object], opening: Opening | None = None) -> None:
        self.dialled: list[float] = []
        """When it was dialled."""
        self._serve = serve
        self._opening = opening
        self._listener = socket.create_server((HOST, 0))
        self.address = f"{HOST}:{self._listener.getsockname()[1]}"
        self.links: list[MeshPeer] = []
        """Those that it was dialled for."""
        self._thread = threading.Thread(target=self._accept, name="mesh-listener", daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                peer = MeshPeer.accept(self._listener, self._opening)
            except EOFError:
                continue
            except OSError:
                return
            self.dialled.append(time.monotonic())
            self.links.append(peer)
            with suppress(OSError):
                self._serve(peer)

    def close(self) -> None:
        """Listens no more, and ends its links."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)
        for link in self.links:
            link.close()


@contextmanager
def listening(serve: Callable[[MeshPeer], object], opening: Opening | None = None) -> Iterator[MeshListener]:
    """A `MeshListener` until the end of the block."""
    listener = MeshListener(serve, opening)
    try:
        yield listener
    finally:
        listener.close()
