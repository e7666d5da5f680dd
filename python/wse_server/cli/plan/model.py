"""From slopes, which were measured, to what so many connections and messages need, which is computed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any, NamedTuple

__all__ = ["Needs", "Slopes", "Work", "needs", "slopes"]

MIB = 1 << 20
MOST_HEARD_KIB = 16.0
"""KiB a second to one client beyond which its buffers in the kernel are not taken to grow any more."""


class Slopes(NamedTuple):
    """What one more of each thing costs, as it was measured.

    Attributes:
        base_bytes: A server without clients.
        user_bytes_per_connection: A client with one subscription, in the process.
        user_bytes_per_topic: A topic with history, without its messages.
        kernel_bytes_per_connection: A socket that does nothing, in the kernel.
        kernel_bytes_per_busy_connection: One that says and hears a message of 1 KB a second.
        memory_per_history_byte: What the process grows by for a byte of the budget.
        history_bytes_per_message: What a message takes of the budget besides its own bytes.
        cpu_us_per_connect: The upgrade, and a subscription.
        cpu_us_per_publication: A message that comes from a client.
        cpu_us_per_published_kib: Each KiB of it.
        cpu_us_per_delivery: A message that goes to a client.
        cpu_us_per_delivered_kib: Each KiB of it.
    """

    base_bytes: float
    user_bytes_per_connection: float
    user_bytes_per_topic: float
    kernel_bytes_per_connection: float
    kernel_bytes_per_busy_connection: float
    memory_per_history_byte: float
    history_bytes_per_message: float
    cpu_us_per_connect: float
    cpu_us_per_publication: float
    cpu_us_per_published_kib: float
    cpu_us_per_delivery: float
    cpu_us_per_delivered_kib: float


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is to be served.

    Attributes:
        connections: Clients.
        messages_per_s: Messages published a second, by all together.
        size: Bytes of a message.
        topics: Topics that clients are divided among: each hears one.
        history_bytes: The recovery budget; 0 without history.
    """

    connections: int
    messages_per_s: float
    size: int
    topics: int
    history_bytes: int

    @property
    def receivers(self) -> float:
        """Clients that hear a message."""
        return self.connections / self.topics

    @property
    def deliveries_per_s(self) -> float:
        """Messages that go to clients."""
        return self.messages_per_s * self.receivers


@dataclass(frozen=True)
class Needs:
    """What a server takes for it, queues of slow clients aside.

    Attributes:
        base_bytes: The process without clients.
        connection_bytes: Clients, in the process.
        topic_bytes: Topics.
        history_bytes: Histories that have filled their budget.
        kernel_bytes: Sockets and their buffers, in the kernel.
        cores: CPU.
        connect_s: CPU seconds when all clients come at once.
    """

    base_bytes: int
    connection_bytes: int
    topic_bytes: int
    history_bytes: int
    kernel_bytes: int
    cores: float
    connect_s: float

    @property
    def user_bytes(self) -> int:
        """Memory of the process."""
        return self.base_bytes + self.connection_bytes + self.topic_bytes + self.history_bytes

    @property
    def bytes(self) -> int:
        """Memory of process and kernel."""
        return self.user_bytes + self.kernel_bytes


def needs(work: Work, found: Slopes) -> Needs:
    """Computes what the work takes."""
    kib = work.size / 1024
    publication = found.cpu_us_per_publication + found.cpu_us_per_published_kib * kib
    delivery = found.cpu_us_per_delivery + found.cpu_us_per_delivered_kib * kib
    # Buffers grow with what is under way to a client, up to what the kernel lets a socket have unsent.
    heard_kib = work.deliveries_per_s / work.connections * kib
    busy = found.kernel_bytes_per_busy_connection - found.kernel_bytes_per_connection
    kernel = found.kernel_bytes_per_connection + max(busy, 0.0) * min(heard_kib, MOST_HEARD_KIB)
    return Needs(
        base_bytes=int(found.base_bytes),
        connection_bytes=int(found.user_bytes_per_connection * work.connections),
        topic_bytes=int(found.user_bytes_per_topic * work.topics),
        history_bytes=int(found.memory_per_history_byte * work.history_bytes),
        kernel_bytes=int(kernel * work.connections),
        cores=(publication * work.messages_per_s + delivery * work.deliveries_per_s) / 1e6,
        connect_s=found.cpu_us_per_connect * work.connections / 1e6,
    )


def data() -> dict[str, Any]:
    """The file that `make sizing` wrote: slopes, and where and when they were measured."""
    text = resources.files("wse_server.cli").joinpath("plan_data.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def slopes(found: dict[str, Any] | None = None) -> Slopes:
    """The slopes in that file."""
    return Slopes(**(data() if found is None else found)["measured"])
