"""The rows and what they must reach."""

from __future__ import annotations

from dataclasses import dataclass, field

from pybench import measure
from wsebench.model import Figure, Unit, Workload, at_least, at_most


@dataclass(frozen=True)
class Row:
    """A row: what is measured, who takes part, and how many times another's first figure ours must be.

    Targets are those of the first side, which is WSE as it comes, on asyncio's own loop.
    """

    workload: Workload
    sides: tuple[str, ...]
    times: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.workload.name


CHAT = (
    Figure("per_core", "messages per CPU second", Unit.PER_SECOND),
    Figure("rate", "messages", Unit.PER_SECOND),
    Figure("deliveries", "deliveries", Unit.PER_SECOND),
    Figure("p50_ms", "said and heard p50", Unit.MILLISECONDS),
    Figure("p99_ms", "said and heard p99", Unit.MILLISECONDS),
    Figure("memory_mb", "memory", Unit.MEGABYTES),
    Figure("client_cpu_percent", "client's core", Unit.PERCENT),
)
CHATTERS = ("wse", "wse-uvloop", "fastapi", "sansio", "picows")
CHAT_TIMES = {"fastapi": 3.0, "picows": 1.5}


def _publishing(name: str, title: str, work: str, subscribers: int, limit: float) -> Row:
    figures = (
        Figure("rate", "messages", Unit.PER_SECOND, at_least(limit)),
        Figure("cpu_us", "CPU per message", Unit.MICROSECONDS),
    )
    return Row(Workload(name, title, measure.publish(work, subscribers), figures), ("wse", "wse-uvloop"))


ROWS = (
    Row(
        Workload("chat", "chat, 4 messages in flight per client", measure.chat(4), CHAT),
        CHATTERS,
        CHAT_TIMES,
    ),
    Row(
        Workload("chat-busy", "chat, 16 messages in flight per client", measure.chat(16), CHAT),
        CHATTERS,
        CHAT_TIMES,
    ),
    _publishing("publish-1", "`publish`, one subscriber", "publish", 1, 100_000),
    _publishing("publish-0", "`publish`, no subscriber", "publish", 0, 100_000),
    _publishing("publish-many-1", "`publish_many` of 64, one subscriber", "publish-many", 1, 300_000),
    _publishing("publish-many-0", "`publish_many` of 64, no subscriber", "publish-many", 0, 300_000),
    Row(
        Workload(
            "wake",
            "from a message to the start of its handler, quiet server",
            measure.wake,
            (
                Figure("socket_p50_us", "from the socket, p50", Unit.MICROSECONDS, at_most(60)),
                Figure("p50_us", "from the client's send, p50", Unit.MICROSECONDS),
                Figure("p99_us", "from the client's send, p99", Unit.MICROSECONDS),
            ),
        ),
        ("wse", "wse-uvloop", "picows", "tcp"),
    ),
    Row(
        Workload(
            "client",
            "`wse_client.Client` reads a topic with history",
            measure.client,
            (
                Figure("per_core", "messages per CPU second", Unit.PER_SECOND, at_least(100_000)),
                Figure("rate", "messages", Unit.PER_SECOND),
            ),
        ),
        ("wse", "wse-uvloop", "bare"),
    ),
    Row(
        Workload(
            "idle",
            "an idle server without clients",
            measure.idle,
            (
                Figure("loop_wakes", "wakes of the loop", Unit.PER_SECOND, at_most(0)),
                Figure("wakes", "wakes of all threads", Unit.PER_SECOND),
                Figure("cpu_percent", "CPU", Unit.PERCENT),
                Figure("memory_mb", "memory", Unit.MEGABYTES),
            ),
        ),
        CHATTERS,
    ),
)
