"""What well-behaved clients do, and those that are merely slow, forgetful or restless."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from websockets.asyncio.client import connect as connect_library
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from soak.plan import FLOODED, HOST, SECRET, Plan
from soak.wire import BINARY, PING, PONG, TEXT, ComplaintError, EndedError, RefusedError, Wire, connect, frame
from wse_server import rust_jwt_encode

PATIENCE = 60.0
"""Seconds that the server may take for an answer, on a machine where others compile."""
FOREVER = 4_102_444_800
"""When tokens expire."""

FLOOD = re.compile(rb'{"c":"U","t":"flood","s":(\d+),"n":(\d+),')


@dataclass
class Pace:
    """How long pauses are: the driver stretches them when the machine is used too much."""

    factor: float = 1.0


@dataclass
class Visit:
    """What one client works with.

    Attributes:
        tally: What happened how often; shared by the crowd.
    """

    plan: Plan
    port: int
    lots: random.Random
    pace: Pace
    tally: Counter[str] = field(default_factory=Counter)

    def token(self) -> str:
        """Returns a good token."""
        name = f"guest-{self.lots.randrange(10_000)}"
        return rust_jwt_encode({"sub": name, "exp": FOREVER}, SECRET)

    def topics(self) -> list[str]:
        """Draws topics and patterns that mean some of the flooded ones."""
        names = [f"crowd.{number}" for number in self.lots.sample(range(FLOODED), self.lots.randint(1, 3))]
        if self.lots.random() < 0.4:
            names.append(self.lots.choice(["crowd.?", "crowd.1*", "crowd.*"]))
        return names

    async def pause(self, least: float, most: float) -> None:
        """Waits, for longer when the machine is busy."""
        await asyncio.sleep(self.lots.uniform(least, most) * self.pace.factor)

    @contextlib.asynccontextmanager
    async def wire(self, receive_buffer: int | None = None) -> AsyncIterator[Wire]:
        """Connects, upgrades, and leaves in one way or another at the end."""
        sock = await connect(self.port, receive_buffer)
        wire = Wire(sock)
        try:
            await wire.upgrade(self.lots, self.token())
            self.tally["upgraded"] += 1
            yield wire
            await wire.leave(self.lots.randrange(3))
        finally:
            # Those that are sent home by an ebb leave here, in a way that needs no waiting.
            sock.close()


class Sequence:
    """Checks that what comes from the flooded topics has no holes and no repetitions."""

    def __init__(self, *, holes: bool = False) -> None:
        self._last: dict[bytes, int] = {}
        self._holes = holes

    def take(self, messages: list[tuple[int, bytes]]) -> int:
        """Looks at messages and returns how many came from flooded topics."""
        count = 0
        for _, payload in messages:
            found = FLOOD.match(payload)
            if found is None:
                continue
            count += 1
            topic, number = found[1], int(found[2])
            last = self._last.get(topic)
            if last is not None and (number <= last or (number != last + 1 and not self._holes)):
                raise ComplaintError(f"on crowd.{topic.decode()} came {number} after {last}")
            self._last[topic] = number
        return count


async def join(wire: Wire, topics: list[str]) -> None:
    """Has the program subscribe this client."""
    await wire.send(json.dumps({"t": "join", "p": {"topics": topics}}))


async def reader(visit: Visit) -> None:
    """Reads everything, as clients should."""
    async with visit.wire() as wire:
        await join(wire, visit.topics())
        sequence = Sequence()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(visit.lots.uniform(1, 25)):
                while True:
                    visit.tally["flood messages"] += sequence.take(await wire.messages())


async def slow_reader(visit: Visit) -> None:
    """Reads less than is sent, until it has enough or is sent away with 4408."""
    async with visit.wire(receive_buffer=visit.lots.choice([4096, 65536])) as wire:
        await join(wire, [*visit.topics(), "crowd.*"])
        sequence = Sequence()
        for _ in range(visit.lots.randint(20, 200)):
            sequence.take(await wire.messages(visit.lots.choice([512, 4096, 16384])))
            await visit.pause(0.02, 0.2)


async def changer(visit: Visit) -> None:
    """Changes its mind about its topics all the time."""
    async with visit.wire() as wire:
        sequence = Sequence(holes=True)
        for _ in range(visit.lots.randint(5, 60)):
            kind = visit.lots.choice(["join", "join", "leave", "leave all"])
            await wire.send(json.dumps({"t": kind, "p": {"topics": visit.topics()}}))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(visit.lots.uniform(0.01, 0.3)):
                    while True:
                        sequence.take(await wire.messages())


async def talker(visit: Visit) -> None:
    """Says things of all sizes, whole and in pieces, and expects each back as it was."""
    async with visit.wire() as wire:
        for number in range(visit.lots.randint(3, 40)):
            text = visit.lots.random() < 0.5
            size = visit.lots.choice([0, 1, 20, 125, 126, 1000, 65535, 65536, 200_000])
            said = f"echo {number} ".encode() + (
                b"\xc3\xa9" * (size // 2) if text else visit.lots.randbytes(size)
            )
            opcode = TEXT if text else BINARY
            await _say(visit, wire, said, opcode)
            await _expect(wire, opcode, said)
            visit.tally["echoes"] += 1
            await visit.pause(0.02, 0.4)


async def _say(visit: Visit, wire: Wire, said: bytes, opcode: int) -> None:
    pieces = visit.lots.choice([1, 1, 2, 7])
    step = len(said) // pieces + 1
    for at in range(0, len(said), step):
        last = at + step >= len(said)
        await wire.send_raw(frame(said[at : at + step], 0 if at else opcode, fin=last))
        if not last and visit.lots.random() < 0.3:
            await wire.send(b"between", PING)


async def _expect(wire: Wire, opcode: int, payload: bytes) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                for got in await wire.messages():
                    if got == (opcode, payload):
                        return
                    if got[1].startswith(b"echo "):
                        raise ComplaintError(f"an echo of {len(payload)} bytes came back as {got[1][:40]!r}")
    except TimeoutError:
        raise ComplaintError(f"no answer to {payload[:40]!r} within {PATIENCE} s") from None


async def pinger(visit: Visit) -> None:
    """Pings in bursts."""
    async with visit.wire() as wire:
        for number in range(visit.lots.randint(1, 20)):
            last = f"{number}".encode()
            await wire.send_raw(
                b"".join(_ping(b"x" * visit.lots.randrange(125)) for _ in range(20)) + _ping(last)
            )
            await _expect(wire, PONG, last)
            await visit.pause(0.05, 0.5)


def _ping(payload: bytes) -> bytes:
    return frame(payload, PING)


async def storm(visit: Visit) -> None:
    """Comes and goes many times in a row."""
    for _ in range(visit.lots.randint(3, 25)):
        async with visit.wire() as wire:
            if visit.lots.random() < 0.5:
                await join(wire, visit.topics())
        await visit.pause(0.0, 0.02)


async def kicked(visit: Visit) -> None:
    """Has the program send it away."""
    async with visit.wire() as wire:
        await join(wire, visit.topics())
        await wire.send(json.dumps({"t": "kick", "p": {"code": visit.lots.randint(4100, 4199)}}))
        async with asyncio.timeout(PATIENCE):
            while True:
                await wire.messages()


async def library(visit: Visit) -> None:
    """Uses a client library as most do, which offers permessage-deflate in one of several ways."""
    bits = visit.lots.choice([None, 9, 12, 15])
    offer = ClientPerMessageDeflateFactory(
        client_max_window_bits=True,
        server_max_window_bits=bits,
        server_no_context_takeover=visit.lots.random() < 0.5,
    )
    try:
        async with connect_library(
            f"ws://{HOST}:{visit.port}/wse",
            extensions=[offer],
            compression=None,
            max_size=None,
            ping_interval=None,
            proxy=None,
            open_timeout=PATIENCE,
            close_timeout=1,
            additional_headers={"Authorization": f"Bearer {visit.token()}"},
        ) as client:
            visit.tally["upgraded"] += 1
            visit.tally["deflate" if client.protocol.extensions else "deflate declined"] += 1
            await client.send(json.dumps({"t": "join", "p": {"topics": visit.topics()}}))
            sequence = Sequence()
            said = ""
            for number in range(visit.lots.randint(2, 400)):
                if not said and visit.lots.random() < 0.2:
                    said = f"echo {number} " + "words that repeat " * visit.lots.randrange(500)
                    await client.send(said)
                async with asyncio.timeout(PATIENCE):
                    got = await client.recv(decode=False)
                sequence.take([(TEXT, got)])
                if got.startswith(b"echo "):
                    if got.decode() != said:
                        raise ComplaintError(f"{said[:40]!r} came back as {got[:40]!r}")
                    visit.tally["echoes"] += 1
                    said = ""
    except ConnectionClosed as closed:
        if closed.sent and not closed.rcvd and closed.sent.code in (1002, 1007, 1009):
            raise ComplaintError(f"the library could not read what came: {closed.sent}") from None
        raise EndedError(closed.rcvd.code if closed.rcvd else 1006) from None
    except InvalidStatus as refused:
        raise RefusedError(refused.response.status_code) from None
    except TimeoutError:
        # Nothing was published to its topics for so long: no fault of anybody.
        visit.tally["nothing to read"] += 1
