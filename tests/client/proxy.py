"""A TCP proxy that does what networks do: it stalls, trickles, cuts and resets, as a seed decides."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from random import Random
from types import TracebackType
from typing import Self

from support import HOST

ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER for a close that is a reset."""
MOODS = ("pass", "pass", "pass", "stall", "trickle", "cut", "reset")


class Proxy:
    """Listens on a port of its own and carries each connection to a server, badly.

    Args:
        port: The server's port; may be changed at any time, for later connections.
        seed: Decides what happens, apart from the exact times. Printed where a test fails.
    """

    def __init__(self, port: int, seed: int) -> None:
        self.port = port
        self.seed = seed
        self.is_calm = False
        """Whether new and old connections are only carried."""
        self.done = dict.fromkeys(MOODS, 0)
        """How often each mood was in effect."""
        self._random = Random(seed)  # noqa: S311 - no secret
        self._deck: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._sockets: set[socket.socket] = set()

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"ws://{HOST}:{self._listener.getsockname()[1]}/wse"

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._listener = socket.create_server((HOST, 0))
        self._listener.setblocking(False)
        self._spawn(self._accept())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print(f"proxy seed {self.seed}, moods {self.done}")
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for each in (self._listener, *self._sockets):
            each.close()

    def _spawn(self, work: object) -> asyncio.Task[None]:
        task: asyncio.Task[None] = self._loop.create_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self) -> None:
        while True:
            client, _ = await self._loop.sock_accept(self._listener)
            client.setblocking(False)
            self._spawn(self._carry(client))

    async def _carry(self, client: socket.socket) -> None:
        """One connection, from its beginning to its end."""
        server = socket.socket()
        server.setblocking(False)
        self._sockets |= {client, server}
        line = Line()
        with suppress(OSError):
            await self._loop.sock_connect(server, (HOST, self.port))
            ways = [self._spawn(self._way(*pair, line)) for pair in ((client, server), (server, client))]
            mood = self._spawn(self._change_moods(line))
            await asyncio.wait([*ways, mood], return_when=asyncio.FIRST_COMPLETED)
            for task in (*ways, mood):
                task.cancel()
            await asyncio.gather(*ways, mood, return_exceptions=True)
        for each in (client, server):
            if line.is_reset:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
            each.close()
            self._sockets.discard(each)

    async def _change_moods(self, line: Line) -> None:
        """Decides what the line does, piece after piece of its life; returns when it is to end."""
        while True:
            mood = "pass" if self.is_calm else self._next_mood()
            length = self._random.expovariate(4.0)
            self.done[mood] += 1
            line.set(mood)
            if mood in {"cut", "reset"}:
                line.is_reset = mood == "reset"
                return
            await asyncio.sleep(min(length, 1.5))

    def _next_mood(self) -> str:
        """Draws from a deck with all moods in it: none of them is away for long."""
        if not self._deck:
            self._deck = self._random.sample(MOODS, len(MOODS))
        return self._deck.pop()

    async def _way(self, source: socket.socket, target: socket.socket, line: Line) -> None:
        """Carries one direction until it ends."""
        with suppress(OSError):
            while data := await self._loop.sock_recv(source, 65536):
                while data:
                    await line.flows.wait()
                    size = self._random.randint(1, 40) if line.mood == "trickle" else len(data)
                    await self._loop.sock_sendall(target, data[:size])
                    data = data[size:]
                    if line.mood == "trickle":
                        await asyncio.sleep(0.002)


class Line:
    """What a connection does at the moment."""

    def __init__(self) -> None:
        self.mood = "pass"
        self.is_reset = False
        self.flows = asyncio.Event()

    def set(self, mood: str) -> None:
        """Changes it."""
        self.mood = mood
        if mood == "stall":
            self.flows.clear()
        else:
            self.flows.set()
