"""Members of queue groups on plain sockets, and what the server says of their work."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from sockets import Client
from support import Running, wait_until

BODY = "x" * 10_000


def numbers(count: int, first: int = 0) -> list[str]:
    return [str(number) for number in range(first, first + count)]


@contextmanager
def crowd(running: Running, group: str, topic: str, **kinds: int) -> Iterator[dict[str, list[Any]]]:
    """Raw members of a group by kind: `fast` are read, `stuck` have small buffers and never are."""
    with ExitStack() as stack:
        members: dict[str, list[Any]] = {}
        for kind, count in kinds.items():
            for _ in range(count):
                known = len(running.events.of("connect"))
                buffer = 4096 if kind == "stuck" else None
                client = stack.enter_context(Client(running.port, receive_buffer=buffer))
                conn_id = running.events.wait("connect", count=known + 1)[known][1]
                running.server.subscribe_connection(conn_id, [topic], queue_group=group)
                members.setdefault(kind, []).append((client, conn_id))
        yield members


def waiting(running: Running, conn_id: str) -> int:
    """How many bytes wait for a connection, which must be there."""
    info = running.server.get_connection_info(conn_id)
    assert info is not None, "it was cut"
    return info["queued_bytes"]


class Reader:
    """Reads clients in threads and keeps what they got, by number."""

    def __init__(self, clients: list[Client]) -> None:
        self.got: list[list[int]] = [[] for _ in clients]
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._read, args=(client, got), daemon=True)
            for client, got in zip(clients, self.got, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, client: Client, got: list[int]) -> None:
        while not self._stop.is_set() and client.ended is None:
            try:
                frames = client.take(0.05)
            except TimeoutError:
                continue
            got += [int(frame.payload.split(b" ")[0]) for frame in frames if frame.opcode == 1]

    def count(self) -> int:
        """How many messages have come so far."""
        return sum(len(some) for some in self.got)

    def finish(self, running: Running, members: list[tuple[Client, str]]) -> list[int]:
        """Waits for all that is on its way to these members by now, and returns what came, sorted."""
        for _, conn_id in members:
            running.server.send(conn_id, "-1 end")
        wait_until(lambda: all(-1 in some for some in self.got), "the last message comes", 60)
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return sorted(number for some in self.got for number in some if number >= 0)


def lost(running: Running) -> int:
    """What the server says that was lost of groups."""
    return _counted(running, "queue_group_lost")


def maybe_lost(running: Running) -> int:
    """What the server says that may be lost of groups."""
    return _counted(running, "queue_group_maybe_lost")


def _counted(running: Running, name: str) -> int:
    snapshot: dict[str, Any] = dict(running.server.health_snapshot())
    lines = running.server.prometheus_metrics().splitlines()
    (line,) = [line for line in lines if line.startswith(f"wse_{name}_total ")]
    assert int(line.split()[1]) >= snapshot[name], "both tell of one counter"
    return int(snapshot[name])
