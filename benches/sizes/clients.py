"""The clients of a measurement. Answers a JSON object a line until its input ends; then they are gone.

    {"do": "hello"}, answered when the program is ready
    {"do": "connect", "port": 5007, "clients": 1000, "topics": 0, "message": 1024, "rate": 1000}
    {"do": "begin"}, {"do": "reset"}, {"do": "tally"}, {"do": "rest"}, {"do": "stop"}

Each client subscribes to a topic, `c/<its number>` or one of `topics`. With a rate they also say messages of
so many bytes, each to its topic, all together so many a second. With `publisher` one more client does that.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from wse_server._native import LoadRun
from wse_server.cli.bench.machine import need_descriptors

HELLO = '{{"t":"subscription_update","p":{{"action":"subscribe","topics":["{}/$topic"]}},"cid":"s"}}'
READY = '"failed_topics":[]'


def message(size: int) -> str:
    pad = "x" * max(size - 60, 0)
    data = f'{{"t":"bench","p":{{"at":$at,"n":$n,"pad":"{pad}"}}}}'
    return f'{{"t":"publish","p":{{"topic":"c/$topic","data":{data}}}}}'


def connect(
    *,
    port: int,
    clients: int,
    size: int = 1024,
    topics: int = 0,
    rate: float = 0.0,
    concurrency: int = 256,
    prefix: str = "c",
    sources: list[str] | None = None,
    publisher: bool = False,
) -> LoadRun:
    need_descriptors(clients + 1)
    run = LoadRun(
        "127.0.0.1",
        port,
        f"GET /wse HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n",
        sources=sources,
        concurrency=concurrency,
        connect_timeout=30.0,
        limit=900.0,
    )
    hello = HELLO.format(prefix)
    if publisher or not rate:
        run.add("hold", clients, hello=hello, ready=READY, topics=topics)
        if rate:
            run.add("send", 1, message=message(size), rate=rate, topics=max(topics, 1))
    else:
        run.add("send", clients, hello=hello, ready=READY, message=message(size), rate=rate)
    run.start()
    while run.wait(5) == "connecting":
        pass
    return run


def told(run: LoadRun) -> dict[str, Any]:
    """The counts, and of the durations the median and the 99th percentile in milliseconds."""
    tally = run.tally()
    for name in ("connecting", "latency", "late"):
        histogram = tally.pop(name)
        tally[f"{name}_p50_ms"] = share(histogram, 0.5)
        tally[f"{name}_p99_ms"] = share(histogram, 0.99)
    return tally


def share(histogram: list[tuple[int, int]], wanted: float) -> float | None:
    left = wanted * sum(count for _, count in histogram)
    for top, count in histogram:
        left -= count
        if left <= 0:
            return top / 1e6
    return None


def main() -> None:
    run: LoadRun | None = None
    for line in sys.stdin:
        request = json.loads(line)
        what = request.pop("do")
        if what == "hello":
            print("{}", flush=True)
            continue
        if what == "connect":
            run = connect(**request)
        assert run is not None
        match what:
            case "begin":
                run.begin()
            case "rest":
                run.rest()
            case "reset":
                run.reset()
            case "stop":
                run.stop()
        print(json.dumps(told(run)), flush=True)


if __name__ == "__main__":
    main()
