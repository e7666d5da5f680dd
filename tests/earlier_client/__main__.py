"""Runs a client of the earlier release under the orders of a test, which `tests/earlier.py` sends.

It knows nothing of this project.

    python __main__.py async|sync URL OPTIONS

Reads lines `[name, arguments, options]` and calls that method of the client, or reads that property; prints
`{"done": result}` or `{"failed": "Exception: text"}` for each, and `{"event": {...}}` for all that the client
hears. Ends with its input.
"""

from __future__ import annotations

import asyncio
import enum
import inspect
import json
import logging
import sys
import threading
from typing import Any

from wse_client import (  # type: ignore[attr-defined] # the package of that release
    AsyncWSEClient,
    ReconnectConfig,
    SyncWSEClient,
)

FIELDS = (
    "type",
    "payload",
    "id",
    "sequence",
    "category",
    "correlation_id",
    "topic",
    "epoch",
    "offset",
)
PRINTING = threading.Lock()


def say(what: dict[str, Any]) -> None:
    """Prints one line."""
    with PRINTING:
        sys.stdout.write(json.dumps(what, default=plain) + "\n")
        sys.stdout.flush()


def plain(value: object) -> object:
    """What JSON does not know: enumerations by their value, sets sorted."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return repr(value)


def hear(event: object) -> None:
    """Prints an event."""
    say({"event": {name: getattr(event, name) for name in FIELDS}})


def options() -> dict[str, Any]:
    """The arguments of the class; what is said of reconnecting is an object of its own there."""
    given: dict[str, Any] = json.loads(sys.argv[3])
    if "reconnect" in given:
        given["reconnect"] = ReconnectConfig(**given["reconnect"])
    return given


async def run_async(url: str) -> None:
    """Runs the asyncio client; orders come through a thread, since reading lines would block the loop."""
    client = AsyncWSEClient(url, **options())
    client.on_any(hear)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        name, arguments, named = json.loads(line)
        try:
            done = getattr(client, name)
            if callable(done):
                done = done(*arguments, **named)
            if inspect.isawaitable(done):
                done = await done
        except Exception as error:  # noqa: BLE001 the test judges it
            say({"failed": f"{type(error).__name__}: {error}"})
        else:
            say({"done": done})
    await client.close()


def run_sync(url: str) -> None:
    """Runs the blocking client, whose events are fetched by a thread."""
    client = SyncWSEClient(url, **options())
    over = threading.Event()

    def fetch() -> None:
        while not over.is_set():
            try:
                hear(client.recv(timeout=0.2))
            except Exception:  # noqa: BLE001 nothing came, or it is between two connections
                over.wait(0.02)

    fetcher: threading.Thread | None = None
    for line in sys.stdin:
        name, arguments, named = json.loads(line)
        try:
            done = getattr(client, name)
            if callable(done):
                done = done(*arguments, **named)
        except Exception as error:  # noqa: BLE001 the test judges it
            say({"failed": f"{type(error).__name__}: {error}"})
        else:
            say({"done": done})
            if name == "connect" and fetcher is None:
                fetcher = threading.Thread(target=fetch, daemon=True)
                fetcher.start()
    over.set()
    if fetcher is not None:
        fetcher.join(5)
    client.close()


def main() -> None:
    """Runs the client that was asked for."""
    logging.basicConfig(level=logging.DEBUG)
    for noisy in ("websockets", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    kind, url = sys.argv[1:3]
    if kind == "async":
        asyncio.run(run_async(url))
    else:
        run_sync(url)


if __name__ == "__main__":
    main()
