"""Attacks with what clients may do themselves. Each function is bounded, and tells how its sockets ended."""

from __future__ import annotations

import itertools
import json
from typing import Any

from hostile.crowd import Crowd
from sockets import client_frame

PATIENT = 15.0
"""Seconds that an attacker waits to be ended by the server."""
SMALL_BUFFER = 16 * 1024
"""A receive buffer for those that do not read: what they miss waits in the server, not in the kernel."""


def command(kind: str, **p: Any) -> bytes:
    """Returns a command in a frame."""
    return client_frame(json.dumps({"t": kind, "p": p}).encode())


def mistakes(port: int, count: int, seconds: float, *, reading: bool) -> dict[str, int]:
    """The shortest wrong command, whose answer is ten times as long, as fast as the server takes it."""
    with Crowd(port, count, receive_buffer=None if reading else SMALL_BUFFER) as crowd:
        crowd.upgrade()
        crowd.flood(client_frame(b'{"t":"publish"}') * 1000, seconds=seconds, reading=reading)
        return crowd.endings() if reading else crowd.wait_for_the_end(PATIENT)


def long_mistakes(port: int, count: int, size: int, seconds: float) -> dict[str, int]:
    """Commands as long as messages may be, that are wrong in their last byte."""
    with Crowd(port, count) as crowd:
        crowd.upgrade()
        head, tail = b'{"t":"publish","p":{"topic":"a","data":{"x":[', b"0]}}"
        text = head + b"0," * ((size - len(head) - len(tail)) // 2) + tail
        crowd.flood(client_frame(text), seconds=seconds, reading=True)
        return crowd.endings()


def coming_and_going(port: int, count: int, topics: int, seconds: float) -> dict[str, int]:
    """So many topics at once and out again, and the same by a pattern."""
    names = [f"topic {n}" for n in range(topics)]
    block = b"".join(
        command("subscription_update", action=action, topics=some)
        for some in (names, ["topic *"])
        for action in ("subscribe", "unsubscribe")
    )
    with Crowd(port, count) as crowd:
        crowd.upgrade()
        crowd.flood(block, seconds=seconds, reading=True)
        return crowd.endings()


def ever_new_topics(port: int, count: int, each: int, seconds: float) -> dict[str, int]:
    """Topics that nobody ever named before, published to or subscribed to."""
    numbers = itertools.count()

    def one() -> bytes:
        names = [f"{next(numbers)} of {port}" for _ in range(64)]
        publish = [command("publish", topic=name, data={"t": "x" * 100}) for name in names[:32]]
        leave = command("subscription_update", action="unsubscribe", topics=names)
        return command("subscription_update", action="subscribe", topics=names) + b"".join(publish) + leave

    with Crowd(port, count) as crowd:
        crowd.upgrade()
        block = b"".join(one() for _ in range(each))
        crowd.flood(block, seconds=seconds, reading=True)
        return crowd.endings()


def shouting(port: int, count: int, size: int, seconds: float, *, reading: bool) -> dict[str, int]:
    """Everybody hears a topic and publishes to it as fast as the server takes it."""
    with Crowd(port, count, receive_buffer=None if reading else SMALL_BUFFER) as crowd:
        crowd.upgrade()
        crowd.say(command("subscription_update", action="subscribe", topics=["shouts"]))
        shout = command("publish", topic="shouts", data={"t": "shout", "p": "x" * size})
        crowd.flood(shout * max(1, 60_000 // len(shout)), seconds=seconds, reading=reading)
        return crowd.endings()
