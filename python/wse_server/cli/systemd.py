"""What a service tells systemd, and what systemd wants to hear: sd_notify(3), without the library.

Under anything else than a unit with `Type=notify` the environment names no socket, and nothing is said.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping

__all__ = ["Notifier", "watchdog_interval"]

_LOGGER = logging.getLogger("wse_server.serve")


class Notifier:
    """Tells systemd about this process.

    Args:
        path: The socket, "@..." for one without a file; None says nothing.
    """

    def __init__(self, path: str | None) -> None:
        self._socket: socket.socket | None = None
        # Others, such as "vsock:", belong to whole virtual machines.
        if path is not None and path[:1] in {"/", "@"}:
            # An abstract socket begins with a zero byte, which the environment can't carry.
            self._address = "\0" + path[1:] if path.startswith("@") else path
            # Kept from the beginning: later there may be no file descriptor left.
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Notifier:
        """The one that the environment names."""
        return cls(environ.get("NOTIFY_SOCKET") or None)

    @property
    def is_heard(self) -> bool:
        """Whether anybody is told."""
        return self._socket is not None

    def ready(self, status: str) -> None:
        """The service has started, or has read its configuration anew."""
        self.send(f"READY=1\nSTATUS={_line(status)}")

    def reloading(self) -> None:
        """The configuration is read anew; `ready` ends it."""
        self.send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}\nSTATUS=reloading")

    def stopping(self, status: str, seconds: float = 0.0) -> None:
        """The service ends. It takes this many seconds more than a stop does, and is not killed meanwhile."""
        extension = f"\nEXTEND_TIMEOUT_USEC={int(seconds * 1e6)}" if seconds > 0 else ""
        self.send(f"STOPPING=1{extension}\nSTATUS={_line(status)}")

    def status(self, text: str) -> None:
        """What `systemctl status` shows."""
        self.send(f"STATUS={_line(text)}")

    def alive(self) -> None:
        """What the watchdog waits for."""
        self.send("WATCHDOG=1")

    def send(self, message: str) -> None:
        """Sends lines of NAME=VALUE. A service manager that does not listen is no reason to stop."""
        if self._socket is None:
            return
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError as error:
            _LOGGER.warning("systemd was not told %s: %s", message.partition("\n")[0], error.strerror)

    def close(self) -> None:
        """Says nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def watchdog_interval(environ: Mapping[str, str]) -> float | None:
    """Seconds between two signs of life: half of what the watchdog allows; None if there is none for us."""
    text = environ.get("WATCHDOG_USEC", "")
    if not text.isdigit() or int(text) == 0:
        return None
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(text) / 2e6


def _line(text: str) -> str:
    return " ".join(text.split())
