"""A client that wakes a quiet server now and then, with the time at which it does so.

    python -m pybench.waker PORT COUNT

It sends {"t":"wake","p":{"at":<monotonic ns>}} COUNT times, at random 0.5 to 1.5 ms apart, and then "over"
with the times at which each of those writes had returned. A blocking socket and one write: between the first
stamp and the kernel there is nothing but that write, and over the loopback a write that has returned has put
its bytes into the server's socket and woken whoever waits for it.
"""

from __future__ import annotations

import json
import random
import socket
import sys
import time

UPGRADE = (
    "GET /wse HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
# A mask of zeros is one too, and leaves the payload as it is.
NO_MASK = bytes(4)


def head_of_a_long_one(length: int) -> bytes:
    """The head of a masked text frame of more than 125 bytes, the shortest that says its length."""
    if length < 1 << 16:
        return b"\x81\xfe" + length.to_bytes(2, "big")
    return b"\x81\xff" + length.to_bytes(8, "big")


def main() -> None:
    port, count = int(sys.argv[1]), int(sys.argv[2])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(UPGRADE.format(port=port).encode())
        if b" 101 " not in connection.recv(4096):
            raise ConnectionError("the upgrade was refused")
        time.sleep(0.5)
        written = []
        for _ in range(count):
            time.sleep(random.uniform(0.0005, 0.0015))  # noqa: S311 - no secret
            payload = b'{"t":"wake","p":{"at":%d}}' % time.monotonic_ns()
            connection.sendall(bytes((0x81, 0x80 | len(payload))) + NO_MASK + payload)
            written.append(time.monotonic_ns())
        payload = json.dumps({"t": "over", "p": {"written": written}}).encode()
        connection.sendall(head_of_a_long_one(len(payload)) + NO_MASK + payload)
        time.sleep(0.5)


if __name__ == "__main__":
    main()
