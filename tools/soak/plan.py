"""What a run is made of. Everything that is drawn by lot comes from the seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

HOST = "127.0.0.1"
SECRET = "a secret of the soak, thirty-two bytes at least"  # noqa: S105 - it guards nothing
FLOODED = 24
"""Topics of the crowd. Bursts are published to them, and clients are subscribed to some."""
HEALTHY = 16
"""Readers who must get every message in order, half of them by a client library that offers compression."""
CROWDS = 2
"""Processes with clients."""


@dataclass(frozen=True)
class Plan:
    """One run.

    Attributes:
        seconds: From the first client to the moment at which all leave, warm-up included.
        seed: What is drawn by lot is drawn from it.
        clients: Clients at a time, in all crowds together.
        cpu: The part of the machine that server and clients may use together.
        compression: The server's option.
    """

    seconds: float
    seed: int
    clients: int
    cpu: float
    compression: str

    @property
    def warm_up(self) -> float:
        """Seconds of the first crowd. What memory and descriptors are compared with is measured after it."""
        return min(300.0, max(5.0, self.seconds / 6))

    @property
    def tide(self) -> float:
        """Seconds from one ebb, when the whole crowd leaves at once, to the next."""
        return min(60.0, max(5.0, self.seconds / 20))

    @property
    def margin(self) -> int:
        """Bytes of resident memory by which the end may lie above the level after the warm-up.

        The engine keeps buffers for the next burst, and the allocator pages, up to a level that takes the
        better part of a minute to reach. After a shorter warm-up the rest of the way there is no leak.
        """
        return (12 if self.warm_up >= 60 else 32) << 20

    @property
    def is_short(self) -> bool:
        """Whether there is no time to wait for the server's usual deadlines."""
        return self.seconds < 120

    @property
    def idle_timeout(self) -> float:
        """Seconds after which a silent client is sent away; a stalled one must meet it within a tide."""
        return 3.0 if self.is_short else 15.0

    @property
    def handshake_timeout(self) -> float:
        """Seconds that an upgrade may take."""
        return 2.0 if self.is_short else 8.0

    def options(self) -> dict[str, Any]:
        """Returns the server's options: limits low enough to be met all the time."""
        return {
            "jwt_secret": SECRET,
            "max_connections": HEALTHY + self.clients * 3 // 4,
            "handshake_timeout": self.handshake_timeout,
            "ping_interval": self.idle_timeout / 3,
            "idle_timeout": self.idle_timeout,
            "max_message_size": 1 << 18,
            "rate_limit_capacity": 300.0,
            "rate_limit_refill": 100.0,
            "max_subscriptions_per_connection": 12,
            "max_outbound_queue_bytes": 4 << 20,
            "max_outbound_total_bytes": 48 << 20,
            "max_inbound_queue_size": 4096,
            "max_inbound_queue_bytes": 16 << 20,
            "compression": self.compression,
            "shards": 2,
        }

    def lots(self, *who: object) -> random.Random:
        """Returns the lots of somebody, the same ones for each run with this seed."""
        return random.Random(f"{self.seed}/{'/'.join(map(str, who))}")  # noqa: S311 - nothing to be kept secret
