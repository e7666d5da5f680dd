"""Attacks with frames. Each function takes the port first, is bounded, and tells how its sockets ended."""

from __future__ import annotations

import random
import struct
import time
import zlib

from hostile.crowd import Crowd
from sockets import BINARY, CLOSE, PING, client_frame

PATIENT = 15.0
"""Seconds that an attacker waits to be ended by the server."""
MASK = bytes(4)
SMALL_BUFFER = 16 * 1024
"""A receive buffer for those that do not read: what they miss waits in the server, not in the kernel."""


def fragment(payload: bytes, opcode: int = 0, *, fin: bool = False) -> bytes:
    """Returns one short fragment of a message."""
    return bytes((0x80 * fin | opcode, 0x80 | len(payload))) + MASK + payload


def announcement(length: int) -> bytes:
    """Returns the header of a text frame with so many bytes to come."""
    return struct.pack(">BBQ", 0x81, 0xFF, length) + MASK


def silence(port: int, count: int) -> dict[str, int]:
    """Nothing at all, or half the header of a frame, and then not even an answer to a ping, nor an end."""
    with Crowd(port, count) as crowd:
        crowd.upgrade()
        for attacker in crowd.all[::2]:
            attacker.write(announcement(1000)[:5])
        return crowd.wait_for_the_end(PATIENT)


def dripping_frame_header(port: int, count: int, seconds: float) -> dict[str, int]:
    """Headers of empty fragments, one byte at a time: alive by every clock, and never a message."""
    with Crowd(port, count) as crowd:
        crowd.upgrade()
        crowd.drip(fragment(b"", 1) + fragment(b"") * 1000, every=0.1, seconds=seconds)
        return crowd.endings()


def slow_body(port: int, count: int, length: int, at_once: int, seconds: float) -> dict[str, int]:
    """A frame of which `at_once` bytes come, and then one byte at a time, each a sign of life."""
    with Crowd(port, count) as crowd:
        crowd.upgrade()
        block = announcement(length) + b"a" * at_once
        crowd.flood(block, seconds=PATIENT, reading=False, bytes_each=len(block))
        crowd.drip(b"a" * (length - at_once - 1), every=0.1, seconds=seconds)
        return crowd.endings()


def garbage_frames(port: int, count: int, seed: int = 0) -> dict[str, int]:
    """Random bytes behind a good upgrade."""
    noise = random.Random(seed)  # noqa: S311 - it only has to be different each time
    with Crowd(port, count) as crowd:
        crowd.upgrade()
        for attacker in crowd.all:
            # A reserved bit makes it a violation whatever else it is.
            attacker.write(bytes((noise.randrange(0x10, 0x80) | 0x40,)) + noise.randbytes(2048))
        return crowd.wait_for_the_end(PATIENT)


def ping_flood(port: int, count: int, seconds: float, *, reading: bool) -> dict[str, int]:
    """Pings as fast as the server takes them, by clients that read the pongs, or never do."""
    with Crowd(port, count, receive_buffer=None if reading else SMALL_BUFFER) as crowd:
        crowd.upgrade()
        ping = client_frame(b"p" * 125, PING)
        crowd.flood(ping * 500, seconds=seconds, reading=reading)
        return crowd.endings() if reading else crowd.wait_for_the_end(PATIENT)


def ping_floods(port: int, count: int, seconds: float) -> int:
    """The same by clients that never read, crowd after crowd, each soon gone by a reset.

    Returns how many came.
    """
    deadline, come = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        with Crowd(port, count, receive_buffer=SMALL_BUFFER) as crowd:
            crowd.upgrade()
            crowd.flood(client_frame(b"p" * 125, PING) * 500, seconds=0.5, reading=False)
            crowd.reset()
        come += count
    return come


def one_byte_fragments(port: int, messages: int, fragments: int) -> dict[str, int]:
    """One client's messages in so many fragments of one byte each; it closes when all are sent."""
    with Crowd(port, 1) as crowd:
        crowd.upgrade()
        block = fragment(b"a", 1) + fragment(b"a") * (fragments - 2) + fragment(b"a", fin=True)
        block = block * messages + client_frame(struct.pack(">H", 1000), CLOSE)
        crowd.flood(block, seconds=PATIENT, reading=True, bytes_each=len(block))
        return crowd.wait_for_the_end(PATIENT)


def endless_fragments(port: int, count: int, payload: bytes, seconds: float) -> dict[str, int]:
    """Fragments of a message that never ends, as fast as the server takes them."""
    with Crowd(port, count) as crowd:
        crowd.upgrade()
        crowd.say(fragment(payload, 1))
        crowd.flood(fragment(payload) * 10_000, seconds=seconds, reading=True)
        return crowd.endings()


def deflated_zeros(length: int) -> bytes:
    """Returns a whole compressed binary frame (RFC 7692) of zeros, about a thousandth as long."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = deflater.compress(bytes(length)) + deflater.flush(zlib.Z_SYNC_FLUSH)
    frame = bytearray(client_frame(packed[:-4], BINARY))
    frame[0] |= 0x40
    return bytes(frame)


def inflate_bombs(port: int, count: int, length: int) -> dict[str, int]:
    """One message each that inflates to so many bytes."""
    bomb = deflated_zeros(length)
    with Crowd(port, count) as crowd:
        crowd.upgrade("hostile", "Sec-WebSocket-Extensions: permessage-deflate")
        crowd.flood(bomb, seconds=PATIENT, reading=True, bytes_each=len(bomb))
        return crowd.wait_for_the_end(PATIENT)


def inflate_flood(port: int, count: int, length: int, seconds: float) -> dict[str, int]:
    """Messages that inflate to so many bytes, as fast as the server takes them."""
    with Crowd(port, count) as crowd:
        crowd.upgrade("hostile", "Sec-WebSocket-Extensions: permessage-deflate")
        crowd.flood(deflated_zeros(length) * 100, seconds=seconds, reading=True)
        return crowd.endings()


def talk_after_close(port: int, count: int, seconds: float, size: int) -> dict[str, int]:
    """A close frame, and then messages as if nothing had been said."""
    with Crowd(port, count) as crowd:
        crowd.upgrade()
        crowd.say(client_frame(struct.pack(">H", 1000), CLOSE))
        crowd.flood(client_frame(b"x" * size) * 64, seconds=seconds, reading=True)
        return crowd.wait_for_the_end(PATIENT)
