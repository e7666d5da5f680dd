"""One GET of a server that must answer within a deadline.

It is made for probes: nothing but a socket, so that it starts soon.
It asks in HTTP/1.0, so no answer comes in chunks, whatever proxy stands in between.
"""

from __future__ import annotations

import socket
import time
from typing import NamedTuple

from wse_server.cli.address import Address
from wse_server.cli.errors import CliError, ExitCode

__all__ = ["Answer", "fetch", "unreachable"]

_LONGEST = 64 << 20


class Answer(NamedTuple):
    """What a server answered.

    Attributes:
        status: Status of HTTP, 0 if what came is no HTTP.
        body: The bytes after the head.
    """

    status: int
    body: bytes


def fetch(address: Address, path: str, *, timeout: float, ca: str | None = None) -> Answer:
    """Asks for a path.

    Args:
        address: The server.
        path: One of its paths, with the slash in front.
        timeout: Seconds for everything but the look-up of the name.
        ca: PEM file with the authorities to trust; those of the system if None.

    Raises:
        CliError: It can't be reached, does not answer in time, or has no certificate to trust; exit code 3.
    """
    deadline = time.monotonic() + timeout
    request = f"GET {address.prefix}{path} HTTP/1.0\r\nHost: {address.authority}\r\nConnection: close\r\n\r\n"
    received = bytearray()
    try:
        with _connect(address, timeout, ca) as connection:
            connection.sendall(request.encode("latin-1", "replace"))
            while len(received) <= _LONGEST:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                connection.settimeout(left)
                piece = connection.recv(65536)
                if not piece:
                    break
                received += piece
    except (OSError, ValueError) as error:
        raise unreachable(address, error, timeout) from None
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        return Answer(0, bytes(received[:200]))
    return Answer(int(words[1]), body)


def _connect(address: Address, timeout: float, ca: str | None) -> socket.socket:
    connection = socket.create_connection((address.host, address.port), timeout)
    if not address.secure:
        return connection
    from wse_server.cli.connecting import tls_context

    try:
        return tls_context(ca).wrap_socket(connection, server_hostname=address.host)
    except BaseException:
        connection.close()
        raise


def unreachable(address: Address, error: Exception, timeout: float | None = None) -> CliError:
    """The error of one line for a server that can't be talked to.

    Args:
        address: The server.
        error: What connecting or reading raised.
        timeout: Seconds that were given to it, for the line about a server that was silent.
    """
    hint: str | None = None
    if isinstance(error, TimeoutError):
        why = "no answer" if timeout is None else f"no answer within {timeout:g} s"
        hint = "a firewall that drops, or a server that is stuck; --timeout gives it more"
    elif isinstance(error, ConnectionRefusedError):
        why, hint = "connection refused", "nothing listens there: is the server started, and on this port?"
    elif isinstance(error, socket.gaierror):
        why, hint = f"no such host: {address.host}", "look at the name, and at the DNS of this machine"
    elif isinstance(error, UnicodeError):
        why = f"no such host: {address.host}"
    elif isinstance(error, ConnectionResetError | BrokenPipeError):
        why = "the connection was reset"
        hint = "a TLS port asked without TLS, a proxy without a server, or proxy_protocol without its header"
    elif type(error).__name__ == "SSLCertVerificationError":
        why = f"its certificate is not trusted: {getattr(error, 'verify_message', error)}"
        hint = "--ca FILE names the authority that signed it"
    elif type(error).__name__.startswith("SSL"):
        why, hint = f"TLS failed: {getattr(error, 'reason', None) or error}", "does this port speak TLS?"
    else:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return CliError(f"{address.http}: {why}", hint=hint, code=ExitCode.UNREACHABLE)
