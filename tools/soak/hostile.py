"""What bad clients do: those that stall, reset, lie about what they send, or never say who they are."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Awaitable, Callable

from soak import polite
from soak.plan import HOST, SECRET
from soak.polite import FOREVER, PATIENCE, Visit, join
from soak.wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    NO_CLOSE_FRAME,
    PING,
    TEXT,
    ComplaintError,
    EndedError,
    RefusedError,
    Wire,
    connect,
    frame,
    request,
    reset,
)
from wse_server import rust_jwt_encode


async def staller(visit: Visit) -> None:
    """Asks for everything and never reads again. The server has to notice; the client goes long after."""
    async with visit.wire(receive_buffer=4096) as wire:
        await join(wire, ["crowd.*"])
        await asyncio.sleep(visit.plan.idle_timeout * visit.lots.uniform(0.3, 4))


async def resetter(visit: Visit) -> None:
    """Is gone in the middle of a message of its own, with others unread."""
    async with visit.wire(receive_buffer=4096) as wire:
        await join(wire, visit.topics())
        await visit.pause(0.1, 3)
        whole = frame(visit.lots.randbytes(5000), BINARY)
        await wire.send_raw(whole[: visit.lots.randrange(len(whole))])
        reset(wire.socket)


async def half_closer(visit: Visit) -> None:
    """Ends its own half of the connection and goes on reading."""
    async with visit.wire() as wire:
        await join(wire, visit.topics())
        await visit.pause(0.0, 1)
        wire.socket.shutdown(1)
        async with asyncio.timeout(PATIENCE):
            while await wire.read_raw(1 << 16):
                pass


async def never_upgrades(visit: Visit) -> None:
    """Begins a request and does not end it."""
    sock = await connect(visit.port)
    try:
        head = request(visit.lots, None)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, head[: visit.lots.randrange(len(head))])
        if visit.lots.random() < 0.3:
            await visit.pause(0.0, visit.plan.handshake_timeout)
            reset(sock)
            return
        async with asyncio.timeout(visit.plan.handshake_timeout + PATIENCE):
            answer = b""
            while got := await loop.sock_recv(sock, 4096):
                answer += got
        if answer and b" 408 " not in answer[:16]:
            raise ComplaintError(f"half a request was answered {answer[:60]!r}")
    except TimeoutError:
        raise ComplaintError("half a request was not ended") from None
    finally:
        sock.close()


async def dribbler(visit: Visit) -> None:
    """Sends its request, or a frame, byte by byte."""
    sock = await connect(visit.port)
    try:
        wire = Wire(sock)
        if visit.lots.random() < 0.5:
            for byte in request(visit.lots, visit.token()):
                await wire.send_raw(bytes((byte,)))
                await visit.pause(0.0, 0.1)
        else:
            await wire.upgrade(visit.lots, visit.token())
            visit.tally["upgraded"] += 1
            for byte in frame(b"slowly " * 20):
                await wire.send_raw(bytes((byte,)))
                await visit.pause(0.0, 0.05)
    finally:
        sock.close()


async def garbage(visit: Visit) -> None:
    """Sends bytes that mean nothing, as a request or as frames, and has to be sent away."""
    sock = await connect(visit.port)
    try:
        wire = Wire(sock)
        if visit.lots.random() < 0.5:
            await wire.upgrade(visit.lots, visit.token())
            visit.tally["upgraded"] += 1
            # A frame that is not masked, so that the end is certain whatever follows.
            await wire.send_raw(b"\x82\x05" + visit.lots.randbytes(visit.lots.randint(5, 3000)))
        else:
            await wire.send_raw(visit.lots.randbytes(visit.lots.randint(1, 3000)) + b"\r\n\r\n")
        await _to_the_end(wire)
    finally:
        sock.close()


async def _to_the_end(wire: Wire) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            while await wire.read_raw(1 << 16):
                pass
    except TimeoutError:
        raise ComplaintError("nonsense did not end the connection") from None


async def lawbreaker(visit: Visit) -> None:
    """Breaks one rule of RFC 6455 or one limit, and has to hear the code that belongs to it."""
    code, sent = visit.lots.choice(
        [
            (1002, frame(b"", CONTINUATION)),
            (1002, frame(b"x", 0x3)),
            (1002, frame(b"x" * 20, PING, fin=False)),
            (1002, frame(b"\x03", CLOSE)),
            (1002, frame(struct.pack(">H", 1005), CLOSE)),
            (1007, frame(b"\xc3\x28", TEXT)),
            (1007, frame(b"\xed\xa0\x80", TEXT, fin=False)),
            (1009, frame(bytes((1 << 18) + 1), BINARY)),
            # Exactly what is allowed, of which nothing must come.
            (0, frame(bytes(1 << 18), BINARY)),
        ]
    )
    async with visit.wire() as wire:
        try:
            await wire.send_raw(sent)
            async with asyncio.timeout(PATIENCE if code else 0.5):
                while True:
                    await wire.messages()
        except EndedError as ended:
            # Whoever is not read to the end may find a reset, and anybody may be disconnected by the program.
            expected = (code, NO_CLOSE_FRAME) if code else ()
            if ended.code not in expected and ended.code < 4000:
                raise ComplaintError(f"{sent[:8].hex()} was answered {ended.code}, not {code}") from None
            visit.tally["rules broken"] += 1
        except TimeoutError:
            if code:
                raise ComplaintError(f"{sent[:8].hex()} was not answered") from None


async def flooder(visit: Visit) -> None:
    """Sends more messages than the rate limit permits."""
    async with visit.wire() as wire:
        flood = b"".join(frame(json.dumps({"t": "noise", "p": number}).encode()) for number in range(100))
        refused = 0
        for _ in range(visit.lots.randint(4, 20)):
            await wire.send_raw(flood)
            for _, payload in await wire.messages():
                refused += b"RATE_LIMITED" in payload
        visit.tally["refused by the rate limit"] += refused


async def stranger(visit: Visit) -> None:
    """Comes without a token, or with one that is not good, and has to hear why and be sent away."""
    good = {"sub": "stranger", "exp": FOREVER}
    token = visit.lots.choice(
        [
            None,
            "not.a.token",
            rust_jwt_encode(good | {"exp": 1_000_000}, SECRET),
            rust_jwt_encode(good, SECRET[::-1]),
            "x" * 9000,
        ]
    )
    sock = await connect(visit.port)
    try:
        wire = Wire(sock)
        await wire.upgrade(visit.lots, token)
        async with asyncio.timeout(PATIENCE):
            while True:
                await wire.messages()
    except EndedError as ended:
        if ended.code != 4401:
            raise ComplaintError(f"a bad token was answered {ended.code}") from None
        visit.tally["strangers sent away"] += 1
    except TimeoutError:
        raise ComplaintError("a bad token did not end the connection") from None
    finally:
        sock.close()


async def asks_http(visit: Visit) -> None:
    """Asks for a page, or for something that is none."""
    line, statuses = visit.lots.choice(
        [
            ("GET /health", {200}),
            ("GET /ready", {200}),
            ("GET /nothing", {404}),
            ("POST /health", {404, 405}),
            ("GET /wse", {400, 404, 426}),
        ]
    )
    sock = await connect(visit.port)
    try:
        wire = Wire(sock)
        await wire.send_raw(f"{line} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        answer = b""
        async with asyncio.timeout(PATIENCE):
            while got := await wire.read_raw(1 << 16):
                answer += got
        status = int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0
        if status not in statuses:
            raise ComplaintError(f"{line} was answered {answer[:60]!r}")
        visit.tally["pages"] += 1
    except TimeoutError:
        raise ComplaintError(f"{line} was not answered") from None
    finally:
        sock.close()


Kind = Callable[[Visit], Awaitable[None]]

KINDS: dict[Kind, int] = {
    polite.reader: 10,
    polite.slow_reader: 6,
    polite.changer: 6,
    polite.talker: 8,
    polite.pinger: 3,
    polite.storm: 4,
    polite.kicked: 3,
    polite.library: 8,
    staller: 8,
    resetter: 5,
    half_closer: 2,
    never_upgrades: 4,
    dribbler: 3,
    garbage: 4,
    lawbreaker: 5,
    flooder: 2,
    stranger: 4,
    asks_http: 3,
}
"""Every kind of client, and how often it comes."""


async def visit_once(visit: Visit, kind: Kind) -> None:
    """Lets one client of a kind come, and counts how it ended. Complaints are the caller's."""
    try:
        await kind(visit)
        visit.tally[f"{kind.__name__}: went"] += 1
    except EndedError as ended:
        # The program draws its own codes from 4000 to 4199.
        code = "a code of the program" if 4000 <= ended.code < 4200 else ended.code
        visit.tally[f"closed with {code}"] += 1
    except RefusedError as refused:
        visit.tally[f"refused with {refused.status}"] += 1
    except OSError:
        # Whoever writes to a server that has just cut the connection is reset.
        visit.tally[f"{kind.__name__}: cut"] += 1
