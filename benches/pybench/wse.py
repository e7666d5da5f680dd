"""`wse_server.Server` at work, as a program of its users would be written.

    python -m pybench.wse WORK PORT LOOP [SUBSCRIBERS SECONDS]

LOOP is "asyncio" or "uvloop". WORK is one of

    chat            rooms, by `server.on` and `publish`
    publish         `publish` from one task without pause, once there are SUBSCRIBERS; prints its rate
    publish-many    the same by `publish_many`, 64 at a time
    wake            takes what `pybench.waker` sends; prints how late its handler began
    idle            nothing
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections import defaultdict
from collections.abc import Coroutine
from typing import Any

from pybench.serving import ready, say_delays
from wse_server import Connection, Refusal, Server

TOPIC = "bench"
BATCH = 64
LOOK_AT_CLOCK = 256
WARM_UP_S = 0.5


def new_server(port: int) -> Server:
    return Server("127.0.0.1", port, rate_limit_capacity=1e12, rate_limit_refill=1e12)


async def chat(port: int) -> None:
    server = new_server(port)
    rooms: dict[str, set[Connection]] = defaultdict(set)
    said: dict[str, int] = defaultdict(int)

    @server.on_connect
    async def come(connection: Connection) -> None:
        room = connection.cookies["room"]
        rooms[room].add(connection)
        await connection.subscribe([room])

    @server.on_disconnect
    async def leave(connection: Connection) -> None:
        rooms[connection.cookies["room"]].discard(connection)

    @server.on("chat.send")
    async def send(connection: Connection, payload: dict[str, Any]) -> None:
        room = payload["room"]
        if connection not in rooms.get(room, ()):
            raise Refusal("you are not in that room", code="NOT_ALLOWED")
        said[room] += 1
        p = {"room": room, "from": connection.cookies["name"], "n": said[room], "text": payload["text"]}
        await server.publish(room, p, event="chat.said")

    async with server:
        ready("wse-server")
        await asyncio.Event().wait()


async def publish(port: int, subscribers: int, seconds: float, batch: int) -> None:
    server, are_there = new_server(port), asyncio.Event()

    @server.on_connect
    async def come(connection: Connection) -> None:
        await connection.subscribe([TOPIC])
        if server.engine.get_topic_subscriber_count(TOPIC) == subscribers:
            are_there.set()

    async with server:
        ready("wse-server")
        if subscribers:
            await are_there.wait()
        numbers = itertools.count()
        work = publish_many if batch > 1 else publish_singly
        await work(server, numbers, WARM_UP_S)
        start, cpu = time.perf_counter(), time.process_time()
        count = await work(server, numbers, seconds)
        span, took = time.perf_counter() - start, time.process_time() - cpu
        print(json.dumps({"rate": count / span, "cpu_us": took / count * 1e6}), flush=True)
        await asyncio.Event().wait()


async def publish_singly(server: Server, numbers: itertools.count[int], seconds: float) -> int:
    end, count = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        count += LOOK_AT_CLOCK
        for seq in itertools.islice(numbers, LOOK_AT_CLOCK):
            await server.publish(TOPIC, {"seq": seq, "s": "ES", "px": 5234.75, "q": 2})
    return count


async def publish_many(server: Server, numbers: itertools.count[int], seconds: float) -> int:
    end, count = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        count += BATCH
        seqs = itertools.islice(numbers, BATCH)
        await server.publish_many(TOPIC, [{"seq": seq, "s": "ES", "px": 5234.75, "q": 2} for seq in seqs])
    return count


async def wake(port: int) -> None:
    server, handled = new_server(port), list[tuple[int, int]]()

    @server.on("wake")
    async def handle(_: Connection, payload: dict[str, Any]) -> None:
        handled.append((time.monotonic_ns(), payload["at"]))

    @server.on("over")
    async def over(_: Connection, payload: dict[str, Any]) -> None:
        say_delays(handled, payload["written"])

    async with server:
        ready("wse-server")
        await asyncio.Event().wait()


async def idle(port: int) -> None:
    async with new_server(port):
        ready("wse-server")
        await asyncio.Event().wait()


def chosen(work: str, port: int, rest: list[str]) -> Coroutine[Any, Any, None]:
    if work.startswith("publish"):
        return publish(port, int(rest[0]), float(rest[1]), BATCH if work == "publish-many" else 1)
    return {"chat": chat, "wake": wake, "idle": idle}[work](port)


def main() -> None:
    work = chosen(sys.argv[1], int(sys.argv[2]), sys.argv[4:])
    if sys.argv[3] == "uvloop":
        import uvloop  # noqa: PLC0415

        uvloop.run(work)
    else:
        asyncio.run(work)


if __name__ == "__main__":
    main()
