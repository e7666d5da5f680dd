"""A price that moves at random, published to one topic at a rate that can be changed while it runs."""

from __future__ import annotations

import json
import random
import threading
import time
from typing import Final

from wse_server import RustWSEServer

TOPIC: Final = "demo.ticker"
"""The topic that every visitor of the demo is subscribed to."""

MAX_RATE: Final = 2000
"""Messages a second that a browser tab still follows without effort."""


class Ticker:
    """Publishes from a thread of its own until it is stopped.

    Args:
        server: A started server.
        rate: Messages a second to begin with, from 1 to `MAX_RATE`.
    """

    def __init__(self, server: RustWSEServer, rate: int) -> None:
        self._server = server
        self._rate = rate
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-ticker", daemon=True)

    @property
    def rate(self) -> int:
        """Messages a second; a value beyond the limits is moved to the nearest one."""
        return self._rate

    @rate.setter
    def rate(self, per_second: int) -> None:
        self._rate = min(max(per_second, 1), MAX_RATE)

    def start(self) -> None:
        """Begins to publish."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread and waits for it. Call it before the server stops."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        price = 100.0
        number = 0
        due = time.monotonic()
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            number += 1
            price = max(1.0, price + random.gauss(0.0, 0.4))
            tick = {
                "n": number,
                "price": round(price, 2),
                "rate": self._rate,
                "sent_ms": time.time() * 1000.0,
            }
            self._server.broadcast(TOPIC, json.dumps({"t": "tick", "p": tick}))
            # After a pause of the machine a tenth of a second is made up for, not all of it in one burst.
            due = max(due + 1.0 / self._rate, time.monotonic() - 0.1)
