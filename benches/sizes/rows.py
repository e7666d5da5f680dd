"""The guide's table, row by row: what each needs, which of its figures are measured and which computed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from sizes.points import FULL, MIB, Bench, Point, Scale, point
from wse_server.cli.plan.model import Needs, Slopes, Work, needs

GIB = 1 << 30
GB, MB = GIB, MIB  # as the guide means it: memory is bought by powers of two


@dataclass(frozen=True)
class Guide:
    """A row of the deployment guide: what it allows for so many connections."""

    connections: int
    ram_bytes: int
    cores: int
    budget_bytes: int


GUIDE = (
    Guide(1_000, 256 * MB, 1, 64 * MB),
    Guide(10_000, 512 * MB, 2, 128 * MB),
    Guide(50_000, 2 * GB, 4, 256 * MB),
    Guide(100_000, 4 * GB, 8, 512 * MB),
    Guide(500_000, 16 * GB, 16, 1 * GB),
)
MEASURED_UP_TO = 50_000
MOST_MESSAGES_PER_S = 20_000
"""What the one core of all servers can do by far. Beyond it they would be behind, and buffers full."""


@dataclass(frozen=True)
class Row:
    """What one row of the guide needs.

    Bytes are those of all server processes. `how` says where a figure comes from: "measured" or "computed".
    """

    guide: Guide
    servers: int
    user_bytes: int
    kernel_bytes: int
    storm_s: float
    cores: float
    how: dict[str, str]
    problems: list[str] = field(default_factory=list)
    point: dict[str, Any] | None = None

    @property
    def ram_bytes(self) -> int:
        """User and kernel memory together."""
        return self.user_bytes + self.kernel_bytes

    @property
    def misses(self) -> list[str]:
        """In what it needs more than the guide allows."""
        found = []
        if self.ram_bytes >= self.guide.ram_bytes:
            found.append(
                f"{self.ram_bytes / MIB:,.0f} MiB of memory, allowed are {self.guide.ram_bytes // MIB:,}"
            )
        if self.cores >= self.guide.cores:
            found.append(f"{self.cores:.2f} cores, allowed are {self.guide.cores}")
        return found

    def as_json(self) -> dict[str, Any]:
        told = asdict(self)
        told["ram_bytes"] = self.ram_bytes
        return told


def measured(bench: Bench, guide: Guide, connections: int, budget: int) -> Row:
    """A row whose connections are there."""
    found = point(bench, connections, budget, min(bench.scale.rate, MOST_MESSAGES_PER_S / connections))
    cores, how = _cores(found)
    return Row(
        guide,
        found.servers,
        found.user_bytes,
        found.kernel_bytes,
        found.storm_s,
        cores,
        {"user_bytes": "measured", "kernel_bytes": "measured", "storm_s": "measured", "cores": how},
        found.problems,
        found.as_json(),
    )


def _cores(found: Point) -> tuple[float, str]:
    """CPU at a message a second of each; computed from fewer, where the machine can't do so many."""
    if found.messages_per_s >= 0.95 * found.connections or not found.messages_per_s:
        return found.cores, "measured"
    return round(found.cores * found.connections / found.messages_per_s, 4), "computed"


def computed(guide: Guide, slopes: Slopes, storm_s_per_connection: float) -> Row:
    """A row by slope, of the same work: each client says and hears a message of 1 KB a second."""
    work = Work(
        connections=guide.connections,
        messages_per_s=float(guide.connections),
        size=1024,
        topics=guide.connections,
        history_bytes=guide.budget_bytes,
    )
    taken: Needs = needs(work, slopes)
    how = dict.fromkeys(("user_bytes", "kernel_bytes", "storm_s", "cores"), "computed")
    storm = round(storm_s_per_connection * guide.connections, 1)
    return Row(guide, 1, taken.user_bytes, taken.kernel_bytes, storm, round(taken.cores, 3), how)


def rows(bench: Bench, slopes: dict[str, float], scale: Scale) -> list[Row]:
    """All of them; adds to the slopes what can be seen when connections are there.

    A short run has a five-hundredth of the connections, and is no measurement.
    """
    found: list[Row] = []
    short = scale is not FULL
    per_connection = 0.0
    for guide in GUIDE:
        if guide.connections > MEASURED_UP_TO:
            found.append(computed(guide, Slopes(**slopes), per_connection))
            continue
        connections = guide.connections // 500 if short else guide.connections
        row = measured(bench, guide, connections, 4 * MIB if short else guide.budget_bytes)
        found.append(row)
        # The most of one process: what the next rows are computed from.
        if row.servers == 1 and row.point:
            per_connection = row.storm_s / connections
            slopes["kernel_bytes_per_busy_connection"] = round(row.kernel_bytes / connections, 3)
            slopes["cpu_us_per_connect"] = row.point["connect_cpu_us"]
    return found
