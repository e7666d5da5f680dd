"""Orders jobs, and prints what comes of them. `server.py` tells the rest."""

import argparse
import asyncio
from collections import Counter

from wse_client import Client


async def order(url: str, count: int) -> None:
    """Orders this many and waits for all of them."""
    async with Client(url) as client, client.subscribe("results") as results:
        for number in range(count):
            await client.send({"t": "job.order", "p": {"below": 1000 + 100 * number}})
        by: Counter[str] = Counter()
        async for message in results:
            result = message.payload
            by[result["worker"]] += 1
            print(f"job {result['job']}: {result['primes']} primes, by {result['worker']}", flush=True)
            if by.total() == count:
                break
        print("all done: " + ", ".join(f"{worker} {jobs}" for worker, jobs in sorted(by.items())), flush=True)


def main() -> None:
    """Reads the command line and orders."""
    parser = argparse.ArgumentParser(description="Orders jobs.")
    parser.add_argument("count", type=int, nargs="?", default=20, help="how many (default: %(default)s)")
    parser.add_argument("--url", default="ws://localhost:5007/wse", help="default: %(default)s")
    options = parser.parse_args()
    asyncio.run(order(options.url, options.count))


if __name__ == "__main__":
    main()
