"""A hundred clients that do nothing wrong: they read, answer pings, and note what they got and how late."""

from __future__ import annotations

import selectors
import threading
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from sockets import TEXT, Client
from support import wait_until


class Healthy:
    """Subscribers that are read from by one thread for as long as the `with` block lasts.

    Args:
        port: The server's port.
        count: How many there are.
    """

    def __init__(self, port: int, count: int) -> None:
        self.delays: list[float] = []
        """Seconds from the publication of a message to its reading, for every message and client."""
        self._next: dict[Client, int] = {}
        self._wrong: list[str] = []
        self._over = threading.Event()
        self._closing = ExitStack()
        for number in range(count):
            client = self._closing.enter_context(Client(port, f"healthy{number}"))
            self._next[client] = 0
        self._thread = threading.Thread(target=self._read, name="healthy", daemon=True)

    def _read(self) -> None:
        with selectors.DefaultSelector() as selector:
            for client in self._next:
                selector.register(client.socket, selectors.EVENT_READ, client)
            while not self._over.is_set():
                for key, _ in selector.select(0.05):
                    client = key.data
                    self._take(client)
                    if client.ended is not None:
                        selector.unregister(client.socket)

    def _take(self, client: Client) -> None:
        for frame in client.take():
            if frame.opcode != TEXT:
                self._wrong.append(f"{client.name} got {frame}")
                continue
            number, published, _ = frame.payload.split(b" ", 2)
            self.delays.append((time.monotonic_ns() - int(published)) / 1e9)
            if int(number) != self._next[client]:
                self._wrong.append(f"{client.name} got {int(number)} instead of {self._next[client]}")
            self._next[client] = int(number) + 1
        if client.ended is not None:
            self._wrong.append(f"{client.name} ended with {client.ended}")

    def check(self) -> None:
        """Fails if anybody was cut, or got anything out of order, twice or not at all."""
        assert not self._wrong, f"{len(self._wrong)} times wrong: {self._wrong[:5]}"

    def wait_for(self, published: int, timeout: float) -> None:
        """Waits until everybody has had so many messages."""

        def all_have() -> bool:
            self.check()
            return all(had >= published for had in self._next.values())

        wait_until(all_have, f"not everybody has had {published} messages", timeout)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._closing.close()
