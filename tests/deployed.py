"""Those who listen to a cluster and who publish to it from outside, as processes on some host."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import jwt
from typing_extensions import override

from support import Program, wait_until

LISTEN = """
import asyncio, json, ssl, sys
from wse_client import Client

urls, count, token, ca = json.loads(sys.argv[1])
heard = [[] for _ in range(count)]
returns, gaps = 0, []


async def listen(number, context, begun):
    global returns

    def connected(event):
        global returns
        if event.is_return:
            returns += 1
            print("returns", returns)

    def gap(gap):
        gaps.append(str(gap))
        print("gap", gap)

    client = Client(*urls, token=token, ssl=context, on_gap=gap, on_connect=connected, open_timeout=60)
    async with client, client.subscribe("prices") as prices:
        begun.release()
        async for message in prices:
            heard[number].append(message.payload["n"])
            if message.payload.get("last"):
                return


async def main():
    context = None
    if ca:
        context = ssl.create_default_context(cafile=ca)
    begun = asyncio.Semaphore(0)
    listeners = [asyncio.create_task(listen(number, context, begun)) for number in range(count)]
    for _ in range(count):
        await begun.acquire()
    print("all subscribed")
    await asyncio.gather(*listeners)
    print("heard", json.dumps({"heard": heard, "gaps": gaps}))


asyncio.run(main())
"""

PUBLISH = """
import http.client, json, signal, sys, threading, urllib.parse

url, key = sys.argv[1:]
over = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: over.set())
connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=60)
n = 0
while True:
    last = over.is_set()
    data = {"t": "tick", "p": {"n": n, "last": last}}
    body = json.dumps({"topic": "prices", "data": data, "wait": "stored", "timeout": 60})
    headers = {"Authorization": "Bearer " + key, "Content-Type": "application/json"}
    connection.request("POST", "/api/publish", body, headers)
    answer = connection.getresponse()
    told = answer.read().decode()
    assert answer.status == 200, told
    n += 1
    print("stored", n, told)
    if last:
        break
    # A topic keeps 512 messages: 25 seconds of these, in which clients come back.
    over.wait(0.05)
"""


def typed(commands: str, directory: Path) -> str:
    """Runs the commands of a page in a directory, and tells what they printed."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/sh", "-e", "-c", commands],
        cwd=directory,
        env={"PATH": path, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def token(secret: str) -> str:
    """A token of somebody."""
    return jwt.encode({"sub": "somebody", "exp": int(time.time()) + 3600}, secret, algorithm="HS256")


class Outside(Program):
    """A program that ends with the test, however that ends."""

    @override
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(signal.SIGKILL)


class Ears(Outside):
    """Clients that are subscribed to a topic with history and come back when they are cut off.

    Args:
        urls: Where they connect.
        count: How many.
        secret: What signs their token.
        python: The interpreter, on some host.
        ca: PEM file with the authority of the server's certificate.
    """

    def __init__(
        self, urls: Sequence[str], count: int, *, secret: str, python: str, ca: Path | None = None
    ) -> None:
        told = json.dumps([list(urls), count, token(secret), None if ca is None else str(ca)])
        super().__init__("-c", LISTEN, told, python=python)
        self._report: dict[str, list[list[int]]] = {}

    def wait_until_subscribed(self, timeout: float = 30.0) -> None:
        """Waits until all of them are."""
        wait_until(lambda: "all subscribed" in list(self.lines), "all are subscribed", timeout)

    def wait_for_returns(self, count: int, timeout: float = 30.0) -> None:
        """Waits until so many have come back."""
        wait_until(
            lambda: any(line == f"returns {count}" for line in list(self.lines)), "they come back", timeout
        )

    def end(self, count: int, timeout: float = 30.0) -> list[list[int]]:
        """Waits until all have heard the last message, and tells what each has heard."""

        def report() -> str:
            return next((line for line in list(self.lines) if line.startswith("heard ")), "")

        line = wait_until(report, f"all {count} messages are heard", timeout)
        self._report = json.loads(line.removeprefix("heard "))
        assert self.wait() == 0, self.output
        return self._report["heard"]

    def gaps(self) -> list[list[int]]:
        """What they were told is missing."""
        return self._report["gaps"]


class Mouth(Outside):
    """Who publishes numbered messages over the HTTP API, each when the one before is stored, until the end.

    Args:
        url: A node.
        key: The key of the HTTP API.
        python: The interpreter, on some host.
    """

    def __init__(self, url: str, *, key: str, python: str) -> None:
        super().__init__("-c", PUBLISH, url, key, python=python)

    @property
    def count(self) -> int:
        """How many messages are stored."""
        return sum(line.startswith("stored ") for line in list(self.lines))

    def wait_for(self, count: int, timeout: float = 30.0) -> None:
        """Waits until so many are."""
        wait_until(lambda: self.count >= count, f"{count} messages are stored", timeout)

    def end(self) -> int:
        """Publishes a last one, and tells how many there were."""
        assert self.stop(signal.SIGTERM) == 0, self.output
        return self.count
