"""Where a server is, however a person writes it: an address of HTTP or of WebSockets, or a host."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from wse_server.cli.errors import CliError, ExitCode

__all__ = ["DEFAULT_PORT", "Address", "local_address", "parse_address"]

DEFAULT_PORT = 5007

_SECURE = {"http": False, "ws": False, "https": True, "wss": True}
# What people copy from elsewhere: the address of a path of the server instead of that of the server.
_PATHS_OF_THE_SERVER = ("wse", "health", "ready", "metrics")


class Address(NamedTuple):
    """A server as HTTP and as WebSockets reach it.

    Attributes:
        secure: Whether it is reached through TLS.
        host: Name or IP address, IPv6 without brackets.
        port: TCP port.
        prefix: What a proxy puts in front of the server's paths, `""` or `/something`.
        socket_path: The path for WebSockets.
    """

    secure: bool
    host: str
    port: int
    prefix: str
    socket_path: str

    @property
    def authority(self) -> str:
        """Host and port, as the header `Host` has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    @property
    def http(self) -> str:
        """The address for HTTP, without a slash at its end."""
        return f"{'https' if self.secure else 'http'}://{self.authority}{self.prefix}"

    @property
    def websocket(self) -> str:
        """The address for WebSockets."""
        return f"{'wss' if self.secure else 'ws'}://{self.authority}{self.socket_path}"


def parse_address(text: str) -> Address:
    """Reads an address.

    A path is what a proxy puts in front of the server's own paths. Only that of `ws://` is taken for
    WebSockets as it stands. Without a scheme the port is 5007.

    Args:
        text: `http://`, `https://`, `ws://`, `wss://`, `host:port` or `host`.

    Raises:
        CliError: It is none of these, with exit code 2.
    """
    given = text.strip()
    if "://" not in given:
        given, default_port = f"http://{given}", DEFAULT_PORT
    else:
        default_port = 0
    try:
        parts = urlsplit(given)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _wrong(text, str(error)) from None
    if parts.scheme not in _SECURE:
        raise _wrong(text, f"{parts.scheme}:// is not known")
    if not host or any(ord(letter) <= 32 or ord(letter) == 127 for letter in given):
        raise _wrong(text, "it names no host")
    if port == 0:
        raise _wrong(text, "port 0 can't be connected to")
    if parts.username is not None or parts.query or parts.fragment:
        raise CliError(
            f"{_bare(text)!r} carries more than the address of a server",
            hint="give tokens and keys by options or variables: others see addresses in logs",
            code=ExitCode.USAGE,
        )
    secure = _SECURE[parts.scheme]
    front, _, last = parts.path.rstrip("/").rpartition("/")
    if parts.scheme in {"ws", "wss"}:
        socket_path = parts.path or "/wse"
        prefix = front if last == "wse" else ""
    else:
        prefix = front if last in _PATHS_OF_THE_SERVER else parts.path.rstrip("/")
        socket_path = f"{prefix}/wse"
    return Address(secure, host, port or default_port or (443 if secure else 80), prefix, socket_path)


def local_address(environment: Mapping[str, str] | None = None) -> Address:
    """The server of this machine, as `wse serve` takes it from the same variables.

    Kubernetes sets `WSE_PORT=tcp://...` in every pod beside a service named `wse`. That is the service, not
    the port of this pod, so it is left aside.

    Args:
        environment: Variables; those of the process if None.

    Raises:
        CliError: `WSE_PORT` is no port, with exit code 2.
    """
    variables = os.environ if environment is None else environment
    port = variables.get("WSE_PORT", "").strip()
    if not port or "://" in port:
        number = DEFAULT_PORT
    elif port.isascii() and port.isdigit() and 0 < int(port) < 65536:
        number = int(port)
    else:
        raise CliError(
            f"WSE_PORT is {port!r}", hint="it must be a number from 1 to 65535", code=ExitCode.USAGE
        )
    host = variables.get("WSE_HOST", "").strip()
    everywhere = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound
    return Address(False, everywhere.get(host, host), number, "", "/wse")


def _wrong(text: str, why: str) -> CliError:
    return CliError(
        f"{_bare(text)!r} is no address of a server: {why}",
        hint="for example http://127.0.0.1:5007, wss://example.org/wse or localhost:5007",
        code=ExitCode.USAGE,
    )


def _bare(text: str) -> str:
    """The address without what may be a secret."""
    front, mark, rest = text.partition("://")
    start, rest = (front + mark, rest) if mark else ("", text)
    rest = rest.split("?", 1)[0].split("#", 1)[0]
    return start + rest.rpartition("@")[2]
