"""What runs beside the server under attack: a program that drains, subscribes, publishes and counts.

Functions that take the `Host` first are jobs for `ServerProcess.do` and `ServerProcess.begin`.
"""

from __future__ import annotations

import resource
import threading
import time
from collections import Counter, deque

from loglines import LogLines
from server_process import Host

TOPIC = "prices"
SUBSCRIBERS = ("healthy", "greedy")
"""How the names of those begin that are subscribed to `TOPIC` when they come."""


class _Program:
    """The state between the jobs of one process."""

    def __init__(self) -> None:
        self.log = LogLines()
        self.counts: Counter[str] = Counter()
        self.recent: deque[str] = deque(maxlen=256)
        self.largest = 0
        self.over = threading.Event()


_program = _Program()


def begin(host: Host, descriptors: int) -> None:
    """Drains from now on, counting events and subscribing those whose names ask for it; keeps the log."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(descriptors, hard), hard))
    _program.log.__enter__()
    threading.Thread(target=_drain, args=(host,), name="drain", daemon=True).start()


def _drain(host: Host) -> None:
    while True:
        for kind, conn_id, data in host.server.drain_inbound(256, 50):
            _program.counts[kind] += 1
            if kind == "connect":
                if data.removeprefix("name=").startswith(SUBSCRIBERS):
                    host.server.subscribe_connection(conn_id, [TOPIC])
                else:
                    _program.recent.append(conn_id)
            elif kind in {"raw", "bin"}:
                _program.largest = max(_program.largest, len(data))


def subscribers(host: Host) -> int:
    """Returns how many are subscribed to `TOPIC`."""
    return host.server.get_topic_subscriber_count(TOPIC)


def connections(host: Host) -> int:
    """Returns how many connections are open."""
    return host.server.get_connection_count()


def counts(_: Host) -> dict[str, int]:
    """Returns the events so far by kind, and the length of the largest message as `largest`."""
    return {**_program.counts, "largest": _program.largest}


def log_lines(_: Host) -> list[str]:
    """Returns what the engine logged since `begin`, debugging included."""
    return _program.log.lines


def publish(host: Host, rate: float, size: int) -> int:
    """Publishes `rate` messages a second of `size` bytes until `stop`; returns how many they were.

    Each begins with its number and the moment of its publication, in nanoseconds of CLOCK_MONOTONIC.
    """
    started = time.monotonic()
    number = 0
    while not _program.over.wait(max(0.0, started + number / rate - time.monotonic())):
        host.server.broadcast(TOPIC, f"{number} {time.monotonic_ns()} ".ljust(size, "."))
        number += 1
    return number


def stop(_: Host) -> None:
    """Ends `publish` and `juggle`."""
    _program.over.set()


def juggle(host: Host) -> int:
    """Subscribes, sends to, unsubscribes and disconnects the latest connections until `stop`.

    Returns how many they were. Subscribers of `TOPIC` are not among them.
    """
    turns = 0
    while not _program.over.is_set():
        try:
            conn_id = _program.recent.popleft()
        except IndexError:
            _program.over.wait(0.001)
            continue
        _juggle_one(host, conn_id, turns)
        turns += 1
    return turns


def _juggle_one(host: Host, conn_id: str, turn: int) -> None:
    server = host.server
    topics = [f"t{turn % 7}", f"u{turn % 11}.*", "v"]
    server.subscribe_connection(conn_id, topics)
    server.send(conn_id, "hello")
    server.broadcast("v", "to all that are juggled")
    server.broadcast(f"u{turn % 11}.x", "by pattern")
    server.unsubscribe_connection(conn_id, topics[: turn % 4])
    if turn % 5 == 0:
        server.disconnect(conn_id)
