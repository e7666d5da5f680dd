"""Live prices of a hundred instruments: the table goes on after a cut connection, and misses no tick.

    python examples/prices/main.py          and open the page that it prints; --help tells more

Each instrument is a topic with history. The page hears every change, and asks for all prices once; after a
cut the server sends it the changes that it missed.
"""

import argparse
import asyncio
import json
import random
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path

from wse_server import Connection, Server

SYMBOLS = [f"{first}{second}X" for first in "ABCDEFGHIJ" for second in "KLMNOPQRST"]


@dataclass
class Price:
    """What is told of an instrument, all at once or as it changes. `n` counts its changes."""

    symbol: str
    opened: float
    price: float
    n: int = 0


class Market:
    """Prices that move at random."""

    def __init__(self, seed: int | None) -> None:
        self._random = random.Random(seed)  # noqa: S311 - no secret
        prices = [round(self._random.uniform(5, 500), 2) for _ in SYMBOLS]
        self.prices = {name: Price(name, at, at) for name, at in zip(SYMBOLS, prices, strict=True)}

    def move(self) -> Price:
        """Moves one of them."""
        price = self._random.choice(list(self.prices.values()))
        price.price = max(0.01, round(price.price * (1 + self._random.gauss(0, 0.002)), 2))
        price.n += 1
        return price


def make(port: int, market: Market, rate: float) -> Server:
    """Makes the server, which publishes `rate` changes a second."""
    server = Server(
        "127.0.0.1",
        port,
        client_subscriptions=True,
        recovery_enabled=True,
        recovery_buffer_size=256,  # changes of one instrument, for as long as a page may be away
        recovery_max_messages=256,
    )
    page = Path(__file__).with_name("page.html").read_text()
    server.add_static("/", "text/html; charset=utf-8", page)
    server.add_static("/symbols.json", "application/json", json.dumps(SYMBOLS))
    server.add_static("/wse.js", "text/javascript", files("wse_server").joinpath("static/wse.js").read_text())

    @server.authorize("price:{symbol}", actions=("subscribe",))
    def may(connection: Connection, symbol: str) -> bool:
        return symbol in market.prices

    @server.on("prices.all")
    def prices(connection: Connection) -> list[dict[str, object]]:
        return [asdict(price) for price in market.prices.values()]

    @server.on("demo.cut")
    async def cut(connection: Connection) -> None:
        """So that the page can show what comes after it."""
        await connection.close(1012, "cut, as you asked")

    @server.background
    async def tick() -> None:
        while True:
            price = market.move()
            await server.publish(f"price:{price.symbol}", price, event="price")
            await asyncio.sleep(1 / rate)

    return server


def main() -> None:
    """Reads the command line and serves."""
    parser = argparse.ArgumentParser(description="Live prices.")
    parser.add_argument("--port", type=int, default=5007, help="default: %(default)s")
    parser.add_argument("--rate", type=float, default=100.0, help="changes a second (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=None, help="the same prices each time")
    options = parser.parse_args()
    server = make(options.port, Market(options.seed), options.rate)
    print(f"http://localhost:{options.port}/", flush=True)
    server.run(drain_timeout=2.0)


if __name__ == "__main__":
    main()
