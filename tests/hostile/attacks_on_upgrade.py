"""Attacks before the upgrade. Each is bounded, and tells how its sockets ended."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable

from hostile.crowd import Crowd, request

PATIENT = 15.0
"""Seconds that an attacker waits to be ended by the server."""

CLIENT_HELLO = bytes.fromhex(
    "16030100a5010000a1030373a86dd1e2a4c5b6f7089ae2b1c3d4e5f60718293a4b5c6d7e8f90a1b2c3000020cca8cca9"
    "c02fc030c02bc02cc013c009c014c00a009c009d002f0035c012000a01000058ff0100010000170000000500050100000000"
    "000a000a00080"
    "01d001700180019000b00020100000d0018001608040804040108050805050108060601050302010203"
)
"""The first record of TLS: somebody typed `wss://`."""
HTTP_2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")
"""The preface of HTTP/2 and an empty SETTINGS frame (RFC 9113, section 3.4)."""


def slow_header(port: int, count: int) -> dict[str, int]:
    """A header that never ends, one byte at a time."""
    with Crowd(port, count) as crowd:
        crowd.say(request()[:-2] + b"X-Slow: ")
        crowd.drip(b"a" * 10_000, every=0.1, seconds=PATIENT)
        return crowd.endings()


def header_bombs(port: int, count: int, seconds: float, kind: str) -> dict[str, int]:
    """Too much header, in waves: `one` of 64 KiB, ten thousand `small` ones, or a line that is `endless`."""
    bomb = {
        "one": request("hostile", "X-Bomb: " + "a" * 65_536),
        "small": request("hostile", *(f"X-{number}: {number}" for number in range(10_000))),
        "endless": b"GET /" + b"a" * 1_000_000,
    }[kind]

    def wave(crowd: Crowd) -> None:
        crowd.flood(bomb, seconds=PATIENT, reading=True, bytes_each=len(bomb))

    return _waves(port, count, seconds, wave)


def garbage(port: int, count: int, seconds: float, kind: str, seed: int = 0) -> dict[str, int]:
    """What is no HTTP/1.1, in waves: `random` bytes, the hello of `tls`, the preface of `http2`, `zeros`."""
    noise = random.Random(seed)  # noqa: S311 - it only has to be different each time
    made = {"tls": CLIENT_HELLO, "http2": HTTP_2, "zeros": bytes(4096)}.get(kind)

    def wave(crowd: Crowd) -> None:
        for attacker in crowd.all:
            # A byte that no method begins with, lest half a request comes about by chance.
            attacker.write(made or b"\x80" + noise.randbytes(noise.randrange(64, 4096)))

    return _waves(port, count, seconds, wave)


def _waves(port: int, count: int, seconds: float, wave: Callable[[Crowd], None]) -> dict[str, int]:
    """Sends crowds one after the other, each read to its end, for so long; returns how all of them ended."""
    deadline, ended = time.monotonic() + seconds, Counter[str]()
    while not ended or time.monotonic() < deadline:
        with Crowd(port, count) as crowd:
            wave(crowd)
            ended.update(crowd.wait_for_the_end(PATIENT))
    return dict(ended)


def never_finish(port: int, count: int) -> dict[str, int]:
    """Half a request each, and then nothing."""
    with Crowd(port, count) as crowd:
        crowd.say(request()[:100])
        return crowd.wait_for_the_end(PATIENT)
