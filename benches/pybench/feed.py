"""A topic with history that is published to as fast as its readers take it; for measuring clients.

    python -m pybench.feed PORT

It is the engine without asyncio, so that the server is no limit: batches of 64 ready strings, once there is a
reader.
"""

from __future__ import annotations

import sys
import time

from pybench.serving import ready
from wse_server import RustWSEServer

TOPIC = "bench"
BATCH = 64


def publish(server: RustWSEServer) -> None:
    while not server.get_topic_subscriber_count(TOPIC):
        time.sleep(0.01)
    messages = [f'{{"t":"tick","p":{{"seq":{n},"s":"ES","px":5234.75,"q":2}}}}' for n in range(BATCH)]
    while server.is_running():
        server.broadcast_many(TOPIC, messages)


def main() -> None:
    server = RustWSEServer("127.0.0.1", int(sys.argv[1]), recovery_enabled=True, client_subscriptions=True)
    server.start()
    ready("wse-server")
    publish(server)


if __name__ == "__main__":
    main()
