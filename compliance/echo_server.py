"""The echo server that the Autobahn suite tests: what comes goes back, through the public Python API.

python compliance/echo_server.py --compression shared

It prints its port on the first line of its output and serves until SIGTERM or SIGINT.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from typing import Literal

from wse_server import RustWSEServer

Compression = Literal["off", "shared", "full"]

HOST = "127.0.0.1"
MEBIBYTE = 1 << 20

CANNOT_ECHO = 1011
"""The close code for a text that became a dict: a dict does not say how its text was written."""


def serve(compression: Compression, stopped: threading.Event) -> None:
    """Echoes until `stopped` is set.

    The limits are out of the way of the suite, whose largest messages have 16 MiB, and so are the server's
    own pings, which would end up in the suite's logs.
    """
    server = RustWSEServer(
        HOST,
        0,
        compression=compression,
        max_message_size=64 * MEBIBYTE,
        max_outbound_queue_bytes=256 * MEBIBYTE,
        rate_limit_capacity=1e12,
        rate_limit_refill=1e12,
        ping_interval=3600.0,
        idle_timeout=7200.0,
    )
    server.enable_drain_mode()
    server.start()
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    try:
        while not stopped.is_set():
            for kind, conn_id, data in server.drain_inbound():
                echo(server, kind, conn_id, data)
    finally:
        server.stop()


def echo(server: RustWSEServer, kind: str, conn_id: str, data: object) -> None:
    """Sends one message back, as text or as bytes.

    A text that is a JSON object arrives as a dict, and writing the dict as JSON again would not give the same
    text. The suite sends no such text: what it takes from its JSON file are pieces. Should that change, the
    case must fail and say why, rather than pass with an echo that is only alike.
    """
    match kind, data:
        case "raw", str():
            server.send(conn_id, data)
        case "bin", bytes():
            server.send_bytes(conn_id, data)
        case "msg", _:
            server.disconnect(conn_id, CANNOT_ECHO, "the text is a JSON object, which arrives as a dict")


def main() -> int:
    """Serves until a signal comes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--compression", default="shared", choices=["off", "shared", "full"])
    options = parser.parse_args()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    serve(options.compression, stopped)
    return 0


if __name__ == "__main__":
    sys.exit(main())
