"""Clients of the asyncio server, and its running for the length of a test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar

import websockets

from support import PATIENCE
from wse_server import Server

T = TypeVar("T")


def play(story: Coroutine[Any, Any, T]) -> T:
    """Runs the story of a test, which nothing may keep from its end, and looks that no task is left of it."""

    async def whole() -> T:
        result = await asyncio.wait_for(story, 3 * PATIENCE)
        await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left
        return result

    return asyncio.run(whole())


class Talker:
    """A client that says and hears JSON."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket

    async def say(self, event: str, payload: object = None, **more: object) -> None:
        """Sends a message."""
        await self.socket.send(json.dumps({"t": event, "p": payload, **more}))

    async def hear(self, kind: str | None = None) -> dict[str, Any]:
        """The next message, of this kind if one is named."""
        while True:
            message: dict[str, Any] = json.loads(await asyncio.wait_for(self.socket.recv(), PATIENCE))
            if kind in (None, message.get("t")):
                return message

    async def hear_error(self) -> dict[str, Any]:
        """What the next error says."""
        payload: dict[str, Any] = (await self.hear("error"))["p"]
        return payload

    async def ask(self, event: str, payload: object = None, **more: object) -> dict[str, Any]:
        """Says something and hears the next message."""
        await self.say(event, payload, **more)
        return await self.hear()

    async def subscribe(self, *topics: str, **more: object) -> dict[str, Any]:
        """Subscribes by itself; what is answered."""
        await self.say("subscription_update", {"action": "subscribe", "topics": topics, **more})
        payload: dict[str, Any] = (await self.hear("subscription_update"))["p"]
        return payload

    async def close(self) -> None:
        """Leaves."""
        await self.socket.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def dial(server: Server, path: str = "/wse", **options: Any) -> Talker:
    """Connects a client."""
    return Talker(await websockets.connect(f"ws://127.0.0.1:{server.port}{path}", **options))


@asynccontextmanager
async def one_client(server: Server, **options: Any) -> AsyncIterator[Talker]:
    """A running server with a client."""
    async with server, await dial(server, **options) as talker:
        await until(lambda: bool(server.connections), "the program has heard of it")
        yield talker


async def until(condition: Callable[[], bool | Awaitable[bool]], what: str) -> None:
    """Lets the loop run until something is so."""
    async with asyncio.timeout(PATIENCE) as patience:
        try:
            while True:
                met = condition()
                if met if isinstance(met, bool) else await met:
                    return
                await asyncio.sleep(0.002)
        finally:
            assert not patience.expired(), what
