"""The process of the readers who must get everything, in order, whatever the others do."""

from __future__ import annotations

import asyncio
import json
import time
from multiprocessing.connection import Connection
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_library

from soak.pipe import obey
from soak.plan import HEALTHY, HOST, SECRET, Plan
from soak.polite import FOREVER, PATIENCE
from soak.wire import TEXT, Wire, connect
from wse_server import rust_jwt_encode

STREAMS = ("steady", "everyone")
"""What they get: a topic, subscribed by name and by two patterns, and what is sent to everyone."""


class _Link(Protocol):
    async def send(self, text: str) -> None: ...
    async def receive(self) -> list[bytes]: ...


class _Plain:
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def send(self, text: str) -> None:
        await self._wire.send(text, TEXT)

    async def receive(self) -> list[bytes]:
        return [payload for _, payload in await self._wire.messages()]


class _Library:
    def __init__(self, client: ClientConnection) -> None:
        self._client = client

    async def send(self, text: str) -> None:
        await self._client.send(text)

    async def receive(self) -> list[bytes]:
        return [await self._client.recv(decode=False)]


class Reader:
    """One of them.

    Attributes:
        last: The number of the last message, by stream.
        fault: What was wrong, once something was.
    """

    def __init__(self, number: int) -> None:
        self.last = dict.fromkeys(STREAMS, 0)
        self.fault = ""
        self.round_trips: list[float] = []
        self._name = f"healthy-{number}"
        self._by_library = number % 2 == 1
        self.joined = asyncio.Event()

    async def run(self, plan: Plan, port: int) -> None:
        """Reads until it is cancelled; whatever ends it before is a fault."""
        token = rust_jwt_encode({"sub": self._name, "exp": FOREVER}, SECRET)
        try:
            if self._by_library:
                async with connect_library(
                    f"ws://{HOST}:{port}/wse",
                    max_size=None,
                    ping_interval=None,
                    proxy=None,
                    additional_headers={"Authorization": f"Bearer {token}"},
                ) as client:
                    await self._read(_Library(client))
            else:
                sock = await connect(port)
                try:
                    wire = Wire(sock)
                    await wire.upgrade(plan.lots(self._name), token)
                    await self._read(_Plain(wire))
                finally:
                    sock.close()
        except Exception as error:  # noqa: BLE001 - whatever it is, a healthy reader must not end
            self.fault = self.fault or f"{self._name}: {error!r}"

    async def _read(self, link: _Link) -> None:
        await link.send(json.dumps({"t": "join", "p": {"topics": ["steady", "stead?", "steady*"]}}))
        asked = time.monotonic()
        asking = False
        while True:
            for payload in await link.receive():
                message = json.loads(payload) if payload.startswith(b"{") else {}
                kind = message.get("t")
                if kind == "joined":
                    self.joined.set()
                elif kind in STREAMS:
                    self._take(kind, message["n"])
                elif payload == b"echo round trip":
                    self.round_trips.append(time.monotonic() - asked)
                    asking = False
            if not asking and time.monotonic() - asked >= 1:
                asked, asking = time.monotonic(), True
                await link.send("echo round trip")

    def _take(self, stream: str, number: int) -> None:
        if number != self.last[stream] + 1 and not self.fault:
            self.fault = f"{self._name}: in {stream} came {number} after {self.last[stream]}"
        self.last[stream] = number


class Readers:
    """All of them."""

    def __init__(self, plan: Plan, port: int) -> None:
        self._readers: list[Reader] = []
        self._plan, self._port = plan, port
        self._tasks: list[asyncio.Task[None]] = []

    async def arrive(self) -> None:
        """Connects them; returns when the program has subscribed each."""
        self._readers = [Reader(number) for number in range(HEALTHY)]
        self._tasks = [asyncio.create_task(reader.run(self._plan, self._port)) for reader in self._readers]
        async with asyncio.timeout(PATIENCE):
            for reader in self._readers:
                await reader.joined.wait()

    async def leave(self) -> None:
        """Sends them home."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def state(self) -> dict[str, Any]:
        """Returns who is behind, who complains, and how long echoes took since the last time."""
        trips = [trip for reader in self._readers for trip in reader.round_trips]
        for reader in self._readers:
            reader.round_trips.clear()
        return {
            "least": {stream: min(reader.last[stream] for reader in self._readers) for stream in STREAMS},
            "faults": [reader.fault for reader in self._readers if reader.fault],
            "round_trip": round(max(trips) * 1000, 1) if trips else None,
        }


def main(pipe: Connection, plan: Plan, port: int) -> None:
    """What the process does."""
    asyncio.run(obey(pipe, Readers(plan, port)))
