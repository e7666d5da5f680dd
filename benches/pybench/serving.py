"""What every program that is measured does: say that it is ready, and end with its harness."""

from __future__ import annotations

import json
import os
import platform
import socket
import sys
import threading
from importlib.metadata import version

WARM_UP = 200


def ready(*packages: str) -> None:
    """Say that the port accepts, with the versions of what serves. When stdin ends, so does the process."""
    about = {package: version(package) for package in packages}
    print(json.dumps({"ready": True, "python": platform.python_version(), **about}), flush=True)
    threading.Thread(target=_end_with_stdin, daemon=True).start()


def _end_with_stdin() -> None:
    sys.stdin.read()
    # No clean stop: a server that hangs in one must not keep the harness waiting.
    os._exit(0)


def listener(port: int) -> socket.socket:
    """A socket that accepts from now on."""
    return socket.create_server(("127.0.0.1", port), backlog=1024)


def say_delays(handled: list[tuple[int, int]], written: list[int]) -> None:
    """Print what `pybench.waker` is for: how late handlers began, in microseconds, without the first ones.

    Args:
        handled: For each message when its handler began and when its client set out to send it.
        written: For each message when it lay in the server's socket.
    """
    pairs = list(zip(handled, written, strict=True))[WARM_UP:]
    of_send = sorted(begin - sent for (begin, sent), _ in pairs)
    of_socket = sorted(begin - there for (begin, _), there in pairs)
    say = {
        "count": len(of_send),
        "p50_us": of_send[len(of_send) // 2] / 1e3,
        "p99_us": of_send[len(of_send) * 99 // 100] / 1e3,
        "socket_p50_us": of_socket[len(of_socket) // 2] / 1e3,
    }
    print(json.dumps(say), flush=True)
