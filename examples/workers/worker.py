"""A worker: it does jobs, one at a time, and says when each is done. `server.py` tells the rest."""

import argparse
import asyncio

from wse_client import Client


def primes_below(number: int) -> int:
    """Counts them, in the simplest way that takes some time."""
    sieve = bytearray([1]) * max(number, 2)
    sieve[:2] = bytes(2)
    for each in range(2, int(number**0.5) + 1):
        if sieve[each]:
            sieve[each * each :: each] = bytes(len(range(each * each, len(sieve), each)))
    return sum(sieve)


async def work(url: str, name: str) -> None:
    """Works until it is stopped; it comes back by itself when the server was away."""
    async with Client(url) as client, client.subscribe("jobs", queue_group="workers") as jobs:
        print(f"{name} waits for jobs", flush=True)
        async for message in jobs:
            job = message.payload
            # In a thread, so that the connection stays alive however long it takes.
            primes = await asyncio.to_thread(primes_below, job["below"])
            done = {"job": job["job"], "primes": primes, "worker": name}
            await client.send({"t": "job.done", "p": done})
            print(f"{name} has done job {job['job']}", flush=True)


def main() -> None:
    """Reads the command line and works."""
    parser = argparse.ArgumentParser(description="Does jobs.")
    parser.add_argument("--url", default="ws://localhost:5007/wse", help="default: %(default)s")
    parser.add_argument("--name", default="a worker", help="who says so (default: %(default)s)")
    options = parser.parse_args()
    try:
        asyncio.run(work(options.url, options.name))
    except KeyboardInterrupt:
        print("gone")


if __name__ == "__main__":
    main()
