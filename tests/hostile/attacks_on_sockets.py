"""Attacks that say little: connections that come, break, stay or do not read. Each function is bounded."""

from __future__ import annotations

import socket
import time

from hostile.attacks_on_frames import PATIENT, SMALL_BUFFER, announcement
from hostile.crowd import Crowd, request
from sockets import client_frame


def half_open(port: int, count: int) -> dict[str, int]:
    """Clients that end their half behind the upgrade and go on listening."""
    with Crowd(port, count) as crowd:
        crowd.upgrade()
        for attacker in crowd.all:
            attacker.socket.shutdown(socket.SHUT_WR)
        return crowd.wait_for_the_end(PATIENT)


def never_closing(port: int, count: int, seconds: float) -> int:
    """Clients that break the protocol and keep their sockets, unread.

    Returns how many of them the server has let go of. That it has is seen by writing: after a reset the
    kernel takes nothing.
    """
    with Crowd(port, count) as crowd:
        crowd.upgrade()
        crowd.say(b"\xff" * 16)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not all(attacker.broken for attacker in crowd.all):
            for attacker in crowd.all:
                attacker.write(b"x")
            crowd.pause(0.1)
        return sum(attacker.broken for attacker in crowd.all)


def resets(port: int, count: int, seconds: float) -> int:
    """Crowds that come and reset: at once, within the request, behind it, and within a frame.

    Returns how many they were.
    """
    deadline, gone = time.monotonic() + seconds, 0
    stages = [
        b"",
        request()[:60],
        request(),
        request() + client_frame(b"hello"),
        request() + announcement(1000) + b"a",
    ]
    while time.monotonic() < deadline:
        for stage in stages:
            with Crowd(port, count) as crowd:
                crowd.say(stage)
                if stage.endswith(b"o"):
                    crowd.listen(0.02)
                crowd.reset()
            gone += count
    return gone


def never_reading(port: int, count: int, seconds: float) -> dict[str, int]:
    """Subscribers that never read; at the end they look at how they were ended."""
    with Crowd(port, count, receive_buffer=SMALL_BUFFER) as crowd:
        crowd.upgrade("greedy")
        crowd.pause(seconds)
        return crowd.wait_for_the_end(PATIENT)


def connect_storm(port: int, count: int, seconds: float) -> int:
    """Crowds that come, are upgraded, say something and leave, without pause; returns how many came."""
    deadline, come = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        with Crowd(port, count) as crowd:
            crowd.upgrade()
            crowd.say(client_frame(b"hello"))
        come += count
    return come
