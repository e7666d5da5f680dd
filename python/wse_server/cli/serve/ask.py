"""A request to the server in this process, by its own port: so it answers for its threads too."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
from collections.abc import Iterable
from contextlib import suppress

__all__ = ["Asker"]

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - where it listens, not what for


class Asker:
    """Asks the server that runs here.

    Args:
        host: The address that it listens on.
        port: Its port.
        expects_header: Networks whose connections must begin with a PROXY header.
    """

    def __init__(self, host: str, port: int, expects_header: Iterable[str] = ()) -> None:
        self._host = _ANY.get(host, host)
        self._port = port
        # "UNKNOWN" is what a proxy says of a connection of its own.
        self._head = b"PROXY UNKNOWN\r\n" if _is_in(self._host, expects_header) else b""

    async def status(self, path: str, patience: float) -> int | None:
        """The status of the answer to a GET; None if there is none within `patience` seconds.

        Raises:
            OSError: This process has no file descriptor left to ask with, which says nothing of the server.
        """
        try:
            async with asyncio.timeout(patience):
                return await self._ask(path)
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                raise
        except ValueError:
            pass
        return None

    async def _ask(self, path: str) -> int:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(
                self._head + f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
            )
            version, status = (await reader.readline()).split(maxsplit=2)[:2]
            if not version.startswith(b"HTTP/1."):
                raise ValueError(version)
            return int(status)
        finally:
            writer.close()


def _is_in(host: str, networks: Iterable[str]) -> bool:
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        return any(address in ipaddress.ip_network(network, strict=False) for network in networks)
    return False
