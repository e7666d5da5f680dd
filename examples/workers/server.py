"""A pool of workers: each job goes to one of them, and again to another if nobody has answered for it.

    python examples/workers/server.py               this: it keeps the jobs that are not done
    python examples/workers/worker.py --name one    as many as you like, on any machine
    python examples/workers/order.py 100            orders jobs and prints what comes of them

A queue group gives each message to one live worker. What a worker had in its hands when it died no server can
see; so this one publishes a job again until some worker says that it is done.
"""

import argparse
import asyncio
import itertools
from dataclasses import dataclass
from typing import Literal

from wse_server import Connection, Server

PATIENCE = 5.0
"""Seconds after which a job that nobody has answered for is given to somebody else."""


@dataclass
class Order:
    """How many primes there are below a number."""

    below: int


@dataclass
class Done:
    """What a worker has found out."""

    job: int
    primes: int
    worker: str


class Jobs:
    """The jobs that are not done, each with a task that offers it."""

    def __init__(self, server: Server, patience: float) -> None:
        self._server = server
        self._patience = patience
        self._numbers = itertools.count(1)
        self._open: dict[int, asyncio.Task[None]] = {}

    def add(self, order: Order) -> None:
        """Takes a job and gives it a number."""
        number = next(self._numbers)
        self._open[number] = asyncio.create_task(self._offer(number, order))

    async def _offer(self, number: int, order: Order) -> None:
        for attempt in itertools.count(1):
            job = {"job": number, "below": order.below, "attempt": attempt}
            await self._server.publish("jobs", job, event="job")
            await asyncio.sleep(self._patience)

    def end(self, number: int) -> bool:
        """Takes a job off the list. False if it was done before: two workers may have had it."""
        task = self._open.pop(number, None)
        if task is not None:
            task.cancel()
        return task is not None


def make(port: int, patience: float) -> Server:
    """Makes the server."""
    server = Server("127.0.0.1", port, client_subscriptions=True)
    jobs = Jobs(server, patience)

    @server.authorize("{topic}", actions=("subscribe",))
    def may(connection: Connection, topic: Literal["jobs", "results"]) -> bool:
        return True

    @server.on("job.order")
    async def order(connection: Connection, wanted: Order) -> None:
        jobs.add(wanted)

    @server.on("job.done")
    async def done(connection: Connection, result: Done) -> None:
        if jobs.end(result.job):
            await server.publish("results", result, event="result")

    return server


def main() -> None:
    """Reads the command line and serves."""
    parser = argparse.ArgumentParser(description="Gives jobs to workers.")
    parser.add_argument("--port", type=int, default=5007, help="default: %(default)s")
    parser.add_argument("--patience", type=float, default=PATIENCE, help="seconds (default: %(default)g)")
    options = parser.parse_args()
    make(options.port, options.patience).run(drain_timeout=1.0)


if __name__ == "__main__":
    main()
