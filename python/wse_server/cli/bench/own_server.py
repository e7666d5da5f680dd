"""A server to be measured: a process of its own, on loopback, that ends when whoever started it does.

    python -m wse_server.cli.bench.own_server plain|echo MAX_CONNECTIONS

It prints its port. With `echo` a handler gives back what it gets.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any, TypedDict

from wse_server import Connection, RustWSEServer, Server
from wse_server.cli.output import write_line

API_KEY = "WSE_BENCH_API_KEY"
"""The variable with the key of the HTTP API, which is off without it: others see what is on command lines."""


class _Options(TypedDict):
    max_connections: int
    rate_limit_capacity: float
    rate_limit_refill: float
    client_subscriptions: bool
    client_publish: bool
    api_key: str | None


def _options(max_connections: int) -> _Options:
    # Nobody is measured by the limit of messages that one client may send.
    return {
        "max_connections": max_connections,
        "rate_limit_capacity": 1e9,
        "rate_limit_refill": 1e9,
        "client_subscriptions": True,
        "client_publish": True,
        "api_key": os.environ.get(API_KEY),
    }


def _until_nobody_listens() -> None:
    """Returns when standard input ends: whoever started this has gone, or wants it to go."""
    sys.stdin.buffer.read()


def _plain(max_connections: int) -> None:
    server = RustWSEServer("127.0.0.1", 0, **_options(max_connections))
    server.start()
    write_line(str(server.port))
    _until_nobody_listens()
    server.stop()


async def _echo(max_connections: int) -> None:
    server = Server("127.0.0.1", 0, **_options(max_connections))

    @server.on("bench")
    async def echo(connection: Connection, payload: Any) -> Any:  # noqa: ANN401, ARG001 - whatever it is
        return payload

    async with server:
        write_line(str(server.port))
        await asyncio.to_thread(_until_nobody_listens)


def main() -> None:
    """Runs until standard input ends."""
    kind, max_connections = sys.argv[1], int(sys.argv[2])
    if kind == "echo":
        asyncio.run(_echo(max_connections))
    else:
        _plain(max_connections)


if __name__ == "__main__":
    main()
