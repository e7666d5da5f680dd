"""The options of a client: their types, defaults, and what is allowed."""

from __future__ import annotations

import importlib.util
import ssl as tls
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypedDict, get_args
from urllib.parse import urlsplit

from .events import Connected, Disconnected, Trouble
from .inbox import Overflow
from .messages import Gap
from .outbox import PublishOverflow
from .wire import Format

__all__ = ["ClientOptions", "Compression", "Options", "TokenProvider", "checked"]

Compression = Literal["off", "deflate", "zlib"]
"""How messages are compressed.

- `"off"`: not at all.
- `"deflate"`: by permessage-deflate (RFC 7692).
- `"zlib"`: as `C:` frames of the protocol, for events of `send_event` and for what the client sends.
"""

TokenProvider = Callable[[], str | Awaitable[str]]
"""Gives a fresh token. It may be a coroutine function; one that is not is called in a thread of its own."""


class ClientOptions(TypedDict, total=False):
    """The keyword arguments of `Client` and `SyncClient`. All are optional."""

    token: str | TokenProvider | None
    """The token, or what gives one. Default None: no token.

    A provider is called before the first connection, `token_margin` seconds before a token ends, and after
    one was refused. It may give the same token again as long as that counts.
    """
    token_margin: float
    """Seconds before its end at which a token is replaced, or half of its life where that is less.
    Default 60.
    """
    on_gap: Callable[[Gap], Any] | None
    """Told of messages that do not come, by the reader of the subscription, before it yields the next one.

    May be a coroutine function in `Client`. Without one here or in `subscribe` a gap is a warning in the log
    `wse_client`.
    """
    on_connect: Callable[[Connected], Any] | None
    """Told when a connection stands."""
    on_disconnect: Callable[[Disconnected], Any] | None
    """Told when a connection ends or an attempt fails."""
    on_trouble: Callable[[Trouble], Any] | None
    """Told what goes wrong while the connection goes on. Without one it is a warning in the log
    `wse_client`.
    """
    format: Format
    """`"json"` (default) or `"msgpack"`, which needs the package msgpack."""
    compression: Compression
    """`"off"` (default), `"deflate"` or `"zlib"`."""
    encryption: bool
    """Seal all messages with keys that are exchanged with the server. Default False.

    It needs the package cryptography. A server that does not do it is not used.
    """
    headers: Mapping[str, str]
    """More headers of the upgrade request, such as `Cookie`. Default none."""
    ssl: tls.SSLContext | None
    """How the server's certificate is checked. Default None: by the certificates of the system."""
    proxy: str | bool | None
    """The URL of an HTTP or SOCKS proxy; True (default) for what the environment says, None for none."""
    open_timeout: float
    """Seconds that the first connection may take, all attempts together. Default 30."""
    attempt_timeout: float
    """Seconds that one attempt may take, from the name lookup to the server's greeting. Default 10."""
    close_timeout: float
    """Seconds that closing may take: what waits is sent, the goodbye is answered. Default 5."""
    max_attempts: int | None
    """Attempts that may fail one after the other before the client gives up. Default None: it never does."""
    ping_interval: float
    """Seconds of silence after which the server is asked for a sign of life. Default 20."""
    pong_timeout: float
    """Seconds that it may then stay silent before the connection counts as broken. Default 20."""
    receive_buffer_bytes: int
    """Bytes of messages that may wait for the reader of a subscription. Default 16 MiB."""
    overflow: Overflow
    """What happens when that many wait: `"wait"` (default), `"drop_oldest"` or `"error"`."""
    publish_queue_bytes: int
    """Bytes of publications that may wait to be sent or answered, with and without a connection.
    Default 4 MiB.
    """
    publish_overflow: PublishOverflow
    """What happens when that many wait: `"error"` (default) or `"drop_oldest"`."""
    max_message_size: int
    """Bytes of a message that the client takes. Default 16 MiB."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options with their defaults, checked. Their meaning is told by `ClientOptions`."""

    urls: tuple[str, ...]
    token: str | TokenProvider | None = field(default=None, repr=False)
    token_margin: float = 60.0
    on_gap: Callable[[Gap], Any] | None = None
    on_connect: Callable[[Connected], Any] | None = None
    on_disconnect: Callable[[Disconnected], Any] | None = None
    on_trouble: Callable[[Trouble], Any] | None = None
    format: Format = "json"
    compression: Compression = "off"
    encryption: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ssl: tls.SSLContext | None = None
    proxy: str | bool | None = field(default=True, repr=False)
    open_timeout: float = 30.0
    attempt_timeout: float = 10.0
    close_timeout: float = 5.0
    max_attempts: int | None = None
    ping_interval: float = 20.0
    pong_timeout: float = 20.0
    receive_buffer_bytes: int = 16 * 1024 * 1024
    overflow: Overflow = "wait"
    publish_queue_bytes: int = 4 * 1024 * 1024
    publish_overflow: PublishOverflow = "error"
    max_message_size: int = 16 * 1024 * 1024


NUMBERS = {
    "token_margin": 0.0,
    "open_timeout": 0.001,
    "attempt_timeout": 0.001,
    "close_timeout": 0.0,
    "ping_interval": 0.001,
    "pong_timeout": 0.001,
    "receive_buffer_bytes": 1,
    "publish_queue_bytes": 1,
    "max_message_size": 1024,
    "max_attempts": 1,
}
"""The least value of each option that is a number."""
WHOLE = {"receive_buffer_bytes", "publish_queue_bytes", "max_message_size", "max_attempts"}
CHOICES: dict[str, tuple[str, ...]] = {
    "format": get_args(Format),
    "compression": get_args(Compression),
    "overflow": get_args(Overflow),
    "publish_overflow": get_args(PublishOverflow),
}
CALLED = ("on_gap", "on_connect", "on_disconnect", "on_trouble")


def checked(urls: Sequence[str], given: Mapping[str, Any]) -> Options:
    """Returns the options, with defaults for those that are not given.

    Raises:
        TypeError: There is no such option, or its value is of the wrong type.
        ValueError: Its value is not allowed.
        ImportError: It needs a package that is not installed.
    """
    names = [each.name for each in fields(Options) if each.name != "urls"]
    for name, value in given.items():
        if name not in names:
            raise TypeError(f"there is no option {name!r}; there are {', '.join(names)}")
        check_option(name, value)
    if given.get("format") == "msgpack":
        need("msgpack", "format='msgpack'")
    if given.get("encryption"):
        need("cryptography", "encryption=True")
    if not urls:
        raise ValueError("a client needs at least one URL")
    return Options(tuple(check_url(url) for url in urls), **given)


def check_option(name: str, value: object) -> None:
    """Refuses a value that is not allowed."""
    if name in NUMBERS and not (value is None and name == "max_attempts"):
        kind = int if name in WHOLE else int | float
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TypeError(f"{name} must be {'an int' if name in WHOLE else 'a number'}, and is {value!r}")
        if not NUMBERS[name] <= value < float("inf"):
            raise ValueError(f"{name} must be at least {NUMBERS[name]}, and is {value!r}")
    elif name in CHOICES and value not in CHOICES[name]:
        raise ValueError(f"{name} must be one of {', '.join(CHOICES[name])}, and is {value!r}")
    elif name == "encryption" and not isinstance(value, bool):
        raise TypeError(f"encryption must be True or False, and is {value!r}")
    elif name in CALLED and value is not None and not callable(value):
        raise TypeError(f"{name} must be callable or None, and is {value!r}")
    elif name == "token" and not (value is None or isinstance(value, str) or callable(value)):
        raise TypeError(
            f"token must be a str, a callable that gives one, or None, and is {type(value).__name__}"
        )


def check_url(url: str) -> str:
    """Refuses what is no URL of a WebSocket."""
    if not isinstance(url, str):
        raise TypeError(f"a URL is a str, and this is {type(url).__name__}")
    parts = urlsplit(url)
    if parts.scheme not in {"ws", "wss"} or not parts.hostname:
        raise ValueError(f"a URL begins with ws:// or wss:// and names a host, and this is {url!r}")
    if parts.fragment:
        raise ValueError(f"the URL of a WebSocket has no fragment (#...), and this is {url!r}")
    return url


def need(package: str, option: str) -> None:
    """Refuses an option whose package is not there."""
    if importlib.util.find_spec(package) is None:
        raise ImportError(f"{option} needs the package {package}: pip install 'wse-client[{package}]'")
