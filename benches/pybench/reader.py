"""A client that reads messages of one topic, in a process of its own.

    python -m pybench.reader PORT KIND SECONDS

KIND is "asyncio" or "uvloop", a `wse_client.Client` on that loop, or "bare": the library `websockets` below
it and `json`, which take each frame and do nothing with it. Prints messages a second and per CPU second,
after a second to warm up.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from websockets.asyncio.client import connect

from wse_client import Client, Gap

TOPIC = "bench"
SUBSCRIBE = '{"t":"subscription_update","p":{"action":"subscribe","topics":["bench"]}}'
WARM_UP_S = 1.0
LOOK_AT_CLOCK = 256


class Count:
    """Counts messages for so long, once it is warm, and sees that no offset is left out or comes twice."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.result: dict[str, float] = {}
        self._first = 0
        self._start = self._cpu = self._end = 0.0

    def is_over(self, offset: int) -> bool:
        """Looks at the clock, which is asked every so many messages."""
        now = time.perf_counter()
        if not self._end:
            self._end = now + WARM_UP_S
        elif now >= self._end and not self._start:
            self._start, self._cpu, self._first = now, time.process_time(), offset
            self._end = now + self.seconds
        elif now >= self._end:
            took, count = time.process_time() - self._cpu, offset - self._first
            span = now - self._start
            self.result = {"rate": count / span, "per_cpu_s": count / took, "cpu": took / span}
        return bool(self.result)


async def read(port: int, count: Count) -> None:
    async with Client(f"ws://127.0.0.1:{port}/wse", on_gap=gap) as client:
        last = 0
        async for message in client.subscribe(TOPIC):
            position = message.position
            if position is None or (last and position.offset != last + 1):
                raise ValueError(f"offset {last} is followed by {position}")
            last = position.offset
            if not last % LOOK_AT_CLOCK and count.is_over(last):
                return


def gap(gap: Gap) -> None:
    raise ValueError(f"there is a gap: {gap}")


async def read_bare(port: int, count: Count) -> None:
    """The same with the library below."""
    async with connect(f"ws://127.0.0.1:{port}/wse", compression=None, max_size=None) as socket:
        await socket.send(SUBSCRIBE)
        last = 0
        async for text in socket:
            message = json.loads(text)
            if "o" not in message:
                continue
            offset = message["o"]
            if last and offset != last + 1:
                raise ValueError(f"offset {last} is followed by {offset}")
            last = offset
            if not last % LOOK_AT_CLOCK and count.is_over(last):
                return


def main() -> None:
    port, kind, count = int(sys.argv[1]), sys.argv[2], Count(float(sys.argv[3]))
    work = read_bare(port, count) if kind == "bare" else read(port, count)
    if kind == "uvloop":
        import uvloop  # noqa: PLC0415

        uvloop.run(work)
    else:
        asyncio.run(work)
    print(json.dumps(count.result), flush=True)


if __name__ == "__main__":
    main()
