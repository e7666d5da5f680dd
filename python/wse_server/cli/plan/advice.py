"""What follows from what is needed: memory to buy, options to set, limits to raise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from wse_server.cli.plan.model import MIB, Needs, Slopes, Work, needs

__all__ = ["Advice", "Asked", "advise"]

GIB = 1 << 30
RING = 128
"""`recovery_buffer_size` of a server that is told nothing."""
TTL_S = 300
"""`recovery_ttl` of such a server."""
EPHEMERAL_PORTS = 28_232
"""From which one address connects to one port, as Linux has it."""

_SPARE_MEMORY = 1.15
_BUSY_CORE = 0.7
_SPARE_DESCRIPTORS = 256


_NOT_COUNTED = (
    "Not counted: what your handlers do, TLS (the proxy's), compression, presence, and in a cluster messages "
    "between nodes. When a node dies the others take its clients: plan each for that."
)


class _Step(NamedTuple):
    connections: int
    budget: int


# The recovery budgets of the deployment guide.
_BUDGETS = (
    _Step(1_000, 64 * MIB),
    _Step(10_000, 128 * MIB),
    _Step(50_000, 256 * MIB),
    _Step(100_000, 512 * MIB),
)
_LARGEST_BUDGET = GIB


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a person wants to serve.

    Attributes:
        connections: Clients.
        messages_per_s: Messages published a second, by all together; None for one of each client.
        size: Bytes of a message.
        topics: Topics that clients are divided among; None for one of each client.
        history_s: Seconds of messages to recover from; 0 for none, None for what the guide's budget holds.
    """

    connections: int
    messages_per_s: float | None = None
    size: int = 1024
    topics: int | None = None
    history_s: float | None = None


@dataclass(frozen=True)
class Advice:
    """What to give a server, and why.

    Attributes:
        work: What it is asked to do.
        needs: What that takes.
        queue_bytes: What slow clients and a slow program may hold besides, as the options below bound it.
        ram_bytes: Memory to give it, with some to spare.
        cores: CPUs to give it: 70 % busy at this rate.
        descriptors: Open files that it must be allowed.
        history_covers_s: Seconds of messages that clients can recover from; 0 without history.
        options: Options of the server.
        cpu_request_m: Thousandths of a CPU that it uses at this rate.
        memory_request_bytes: Memory that it uses while no queue is full.
        notes: What else to look at.
    """

    work: Work
    needs: Needs
    queue_bytes: int
    ram_bytes: int
    cores: int
    descriptors: int
    history_covers_s: float
    options: dict[str, int | bool]
    cpu_request_m: int
    memory_request_bytes: int
    notes: list[str]


def advise(asked: Asked, slopes: Slopes) -> Advice:
    """Computes what a server needs and how to set it up."""
    messages = float(asked.connections) if asked.messages_per_s is None else asked.messages_per_s
    topics = asked.topics or asked.connections
    ring, budget = _history(asked, messages, topics, slopes)
    work = Work(
        connections=asked.connections,
        messages_per_s=messages,
        size=asked.size,
        topics=topics,
        history_bytes=budget,
    )
    taken = needs(work, slopes)
    outbound = _guide_budget(asked.connections)
    inbound = outbound // 2
    queues = outbound + inbound
    descriptors = _up(asked.connections * 1.1 + _SPARE_DESCRIPTORS, 1024)
    cores = max(math.ceil(taken.cores / _BUSY_CORE), 1)
    options: dict[str, int | bool] = {
        "max_connections": asked.connections,
        "recovery_enabled": budget > 0,
        "max_outbound_total_bytes": outbound,
        "max_inbound_queue_bytes": inbound,
    }
    if budget:
        options |= {"recovery_memory_budget": budget, "recovery_buffer_size": ring}
    return Advice(
        work=work,
        needs=taken,
        queue_bytes=queues,
        ram_bytes=_memory((taken.bytes + queues) * _SPARE_MEMORY),
        cores=cores,
        descriptors=descriptors,
        history_covers_s=_covers(work, ring, slopes),
        options=options,
        cpu_request_m=_up(taken.cores * 1000, 50),
        memory_request_bytes=_up(taken.bytes, 16 * MIB),
        notes=_notes(work, taken, cores, descriptors),
    )


def _history(asked: Asked, messages: float, topics: int, slopes: Slopes) -> tuple[int, int]:
    """Messages of a topic that are kept, and the budget for all of them."""
    if asked.history_s == 0:
        return RING, 0
    if asked.history_s is None:
        return RING, _guide_budget(asked.connections)
    of_a_topic = max(math.ceil(messages * asked.history_s / topics), 1)
    ring = max(1 << (of_a_topic - 1).bit_length(), RING)
    kept = messages * asked.history_s * (asked.size + slopes.history_bytes_per_message)
    return ring, max(_up(kept, MIB), MIB)


def _guide_budget(connections: int) -> int:
    return next((step.budget for step in _BUDGETS if connections <= step.connections), _LARGEST_BUDGET)


def _covers(work: Work, ring: int, slopes: Slopes) -> float:
    """How long a client may be away: until the budget, the ring of its topic or the time is over."""
    if not work.history_bytes or not work.messages_per_s:
        return float(TTL_S) if work.history_bytes else 0.0
    by_budget = work.history_bytes / (work.messages_per_s * (work.size + slopes.history_bytes_per_message))
    by_ring = ring * work.topics / work.messages_per_s
    return min(by_budget, by_ring, TTL_S)


def _notes(work: Work, taken: Needs, cores: int, descriptors: int) -> list[str]:
    at_once = f"{taken.connect_s:,.1f} s of CPU: at least {taken.connect_s / cores:,.1f} s with these cores"
    notes = [
        f"Open files: ulimit -n {descriptors}, or LimitNOFILE={descriptors} in the systemd unit.",
        f"When all clients come at once they take {at_once}.",
        _NOT_COUNTED,
    ]
    if work.connections > EPHEMERAL_PORTS:
        addresses = math.ceil(work.connections / EPHEMERAL_PORTS)
        notes.append(
            "A proxy in front reaches one port of the server from about 28,000 ports of each of its own "
            f"addresses: it needs {addresses} addresses, or several servers behind it."
        )
    if work.connections > 4096:
        tracked = f"net.netfilter.nf_conntrack_max={_up(work.connections * 2, 65_536)}"
        notes.append(
            "Kernel: net.core.somaxconn=4096 or more, for many connects at once. Where connections are "
            f"tracked (a stateful firewall, Docker, kube-proxy) {tracked} or more."
        )
    return notes


def _up(value: float, step: int) -> int:
    return math.ceil(value / step) * step


def _memory(value: float) -> int:
    """As memory is given: in steps that grow with it."""
    step = 64 * MIB if value < GIB else 256 * MIB if value < 4 * GIB else GIB
    return _up(value, step)
