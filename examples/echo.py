"""Sends everything back to whoever sent it, with callbacks instead of a loop."""

import json
import signal
import threading
from typing import Any

from wse_server import RustWSEServer

server = RustWSEServer("127.0.0.1", 5007)


def on_connect(conn_id: str, cookies: str) -> None:
    print(f"{conn_id} is here, cookies: {cookies or 'none'}", flush=True)


def on_message(conn_id: str, data: dict[str, Any] | str | bytes) -> None:
    """Objects arrive as dict, other text as str, binary messages as bytes."""
    if isinstance(data, bytes):
        server.send_bytes(conn_id, data)
    elif isinstance(data, str):
        server.send(conn_id, data)
    else:
        server.send(conn_id, json.dumps(data))


def on_disconnect(conn_id: str) -> None:
    print(f"{conn_id} has gone", flush=True)


server.set_callbacks(on_connect, on_message, on_disconnect)
server.start()

# The server has its own threads. This one waits for Ctrl-C, or for the SIGTERM of a service manager.
ended = threading.Event()
for signum in (signal.SIGINT, signal.SIGTERM):
    signal.signal(signum, lambda *_: ended.set())
ended.wait()

server.stop()
