"""Who takes part: `Server` and the client on both loops, the servers they are compared with, and floors."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from wsebench import proc
from wsebench.process import Server
from wsebench.sides import Side

# What a program is called in the tables, and the module and the last argument that it is started with.
SIDES = {
    "wse": ("WSE", "pybench.wse", "asyncio"),
    "wse-uvloop": ("WSE, uvloop", "pybench.wse", "uvloop"),
    "fastapi": ("FastAPI, uvicorn `websockets`", "pybench.chat_fastapi", "websockets"),
    "sansio": ("FastAPI, uvicorn `websockets-sansio`", "pybench.chat_fastapi", "websockets-sansio"),
    "picows": ("picows, uvloop", "pybench.chat_picows", ""),
    "bare": ("`websockets` and `json` alone", "", "bare"),
    "tcp": ("a TCP round trip in C, halved", "", ""),
}
OURS = ("wse", "wse-uvloop")


def title(name: str) -> str:
    return SIDES[name][0]


def sides() -> dict[str, Side]:
    """All of them, by name. They say their versions when they have started."""
    return {name: Side(name, [sys.executable, "-P", "-m"], {}) for name in SIDES}


def last_argument(side: Side) -> str:
    """The loop of ours, the implementation of uvicorn's."""
    return SIDES[side.name][2]


def program(side: Side, work: str, port: int, *more: str) -> list[str]:
    """The command that starts its server with that work; others than ours do only `chat` and `wake`."""
    if side.name in OURS:
        return [*side.program, "pybench.wse", work, str(port), last_argument(side), *more]
    module = "pybench.wake_picows" if work == "wake" else SIDES[side.name][1]
    return [*side.program, module, str(port), last_argument(side), *more]


@contextmanager
def serve(side: Side, work: str, *more: str) -> Iterator[Server]:
    """A fresh server that is ready; gone at the end of the block."""
    port = proc.free_port()
    with Server(program(side, work, port, *more), port) as server:
        server.wait_until_ready()
        side.versions.update({key: str(value) for key, value in server.about.items() if key != "ready"})
        yield server
