"""A wire with a tap: whatever a client and a server say to each other goes through, and can be looked at."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from support import HOST, PATIENCE


class Tap:
    """Listens on a port of its own and carries each connection to the port of a server.

    Args:
        port: The server's port.
    """

    def __init__(self, port: int) -> None:
        self._server = port
        self._listener = socket.create_server((HOST, 0))
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self.url = f"ws://{HOST}:{self._listener.getsockname()[1]}/wse"
        self.from_server = bytearray()
        """All that the server has said, of all connections."""
        self.from_clients = bytearray()
        """All that clients have said, masked as it is on the wire."""
        self._accepter = threading.Thread(target=self._accept, daemon=True)
        self._accepter.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection((HOST, self._server), timeout=PATIENCE)
                server.settimeout(None)
                self._sockets += [client, server]
                for args in ((client, server, self.from_clients), (server, client, self.from_server)):
                    threading.Thread(target=self._carry, args=args, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, kept: bytearray) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                with self._lock:
                    kept += data
                target.sendall(data)
        for sock in (source, target):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A shutdown, unlike a close, also wakes whoever waits in `accept`.
        for sock in (self._listener, *self._sockets):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        self._accepter.join(PATIENCE)
