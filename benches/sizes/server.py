"""The server of a measurement. It prints its port, then answers a JSON object a line until its input ends.

server.py '{"max_connections": 1100, "recovery_memory_budget": 67108864}'
"""

from __future__ import annotations

import json
import sys
from typing import Any

from wse_server import RustWSEServer, __version__

MESSAGES_PER_CALL = 128


def fill(server: RustWSEServer, topics: int, size: int, enough: int) -> dict[str, int]:
    """Publishes to one topic after the other until the histories take so many bytes, or each is full."""
    pad = "x" * max(size - 60, 0)
    texts = [f'{{"t":"bench","p":{{"at":0,"n":{n},"pad":"{pad}"}}}}' for n in range(MESSAGES_PER_CALL)]
    published = 0
    for topic in range(topics):
        server.broadcast_many(f"c/{topic}", texts)
        published += len(texts)
        if server.health_snapshot()["recovery_total_bytes"] >= enough:
            break
    return {"published": published, "bytes": server.health_snapshot()["recovery_total_bytes"]}


def main() -> None:
    options: dict[str, Any] = json.loads(sys.argv[1])
    server = RustWSEServer(
        "127.0.0.1",
        0,
        recovery_enabled=True,
        client_subscriptions=True,
        client_publish=True,
        rate_limit_capacity=1e9,
        rate_limit_refill=1e9,
        **options,
    )
    server.start()
    print(json.dumps({"port": server.port, "version": __version__}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        match request.pop("do"):
            case "fill":
                answer: dict[str, Any] = fill(server, **request)
            case _:
                answer = dict(server.health_snapshot())
        print(json.dumps(answer), flush=True)
    server.stop()


if __name__ == "__main__":
    main()
