"""What one measurement is asked to do."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from wse_server.cli.address import Address

__all__ = ["MODES", "Mode", "Settings", "defaults"]

Mode = Literal["connect", "idle", "echo", "fanout", "latency"]
MODES: tuple[Mode, ...] = ("connect", "idle", "echo", "fanout", "latency")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What one measurement is asked to do.

    Attributes:
        mode: What is measured.
        address: The server; None for one of its own.
        clients: Connections.
        seconds: How long it is measured.
        rate: Messages published per second; 0 for as fast as the server takes them.
        size: Bytes of a message.
        topics: Topics that messages and subscribers are divided among; 0 for no subscription.
        concurrency: Connects under way at the same time.
        connect_timeout: Seconds that a client has to become ready.
        threads: Threads of the load generator.
        tokens: Tokens that the clients show in turn.
        api_key: Publishes over HTTP, with this key.
        sources: Addresses of this machine that the clients take in turn.
        pid: The process of the server.
    """

    mode: Mode
    address: Address | None = None
    clients: int = 100
    seconds: float = 5.0
    rate: float = 0.0
    size: int = 100
    topics: int = 1
    concurrency: int = 256
    connect_timeout: float = 10.0
    threads: int = 1
    tokens: tuple[str, ...] = ()
    api_key: str | None = None
    sources: tuple[str, ...] = ()
    pid: int | None = None

    def told(self) -> dict[str, Any]:
        """The options as a result carries them: without secrets."""
        told = dataclasses.asdict(self)
        for name in ("address", "mode", "pid"):
            del told[name]
        told["tokens"] = len(self.tokens)
        told["api_key"] = self.api_key is not None
        told["sources"] = list(self.sources)
        return told


_CLIENTS: dict[Mode, int] = {"connect": 2000, "idle": 2000, "echo": 100, "fanout": 1000, "latency": 100}
_SECONDS: dict[Mode, float] = {"connect": 0.0, "idle": 5.0, "echo": 5.0, "fanout": 5.0, "latency": 10.0}
_RATES: dict[Mode, float] = {"connect": 0.0, "idle": 0.0, "echo": 0.0, "fanout": 0.0, "latency": 100.0}
_TOPICS: dict[Mode, int] = {"connect": 0, "idle": 0, "echo": 0, "fanout": 1, "latency": 1}


def defaults(mode: Mode) -> dict[str, Any]:
    """What counts where nothing else is asked for."""
    return {
        "clients": _CLIENTS[mode],
        "seconds": _SECONDS[mode],
        "rate": _RATES[mode],
        "topics": _TOPICS[mode],
    }
