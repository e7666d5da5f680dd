"""What is seen of processes from outside, and the brake that bounds what they use of the machine."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LEAST_STEP = 0.4
"""Seconds between two looks at the clock of a process, which counts in hundredths."""
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Outside:
    """A process from outside."""

    resident: int
    """Bytes in memory."""
    engine: int
    """Those of them that the engine's allocator has; the others are Python's, and code."""
    descriptors: int
    """Files, sockets and the like that are open."""
    threads: int

    @classmethod
    def of(cls, pid: int) -> Outside:
        """Looks at a process."""
        status = Path(f"/proc/{pid}/status").read_text()
        found = dict(re.findall(r"^(VmRSS|Threads):\s+(\d+)", status, re.MULTILINE))
        descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        return cls(int(found["VmRSS"]) * 1024, _engine(pid), descriptors, int(found["Threads"]))


def _engine(pid: int) -> int:
    """Adds up the large mappings: mimalloc reserves a gigabyte at a time, and nobody else does."""
    resident = 0
    is_large = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if found := _MAPPING.match(line):
            is_large = int(found[2], 16) - int(found[1], 16) >= 1 << 30
        elif is_large and line.startswith("Rss:"):
            resident += int(line.split()[1]) * 1024
    return resident


_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) ")


def cpu_seconds(pid: int) -> float:
    """Returns the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


class Brake:
    """Keeps some processes within a part of the machine, by making them pause for longer.

    Attributes:
        pace: What pauses are multiplied with.
        used: The part of the machine they used lately.
    """

    def __init__(self, pids: list[int], wanted: float) -> None:
        self.pace = 0.4
        self.used = 0.0
        self._pids, self._wanted = pids, wanted
        self._at, self._spent = time.monotonic(), self._sum()

    def _sum(self) -> float:
        return sum(cpu_seconds(pid) for pid in self._pids)

    def step(self) -> None:
        """Looks at what was used since the last step and changes the pace a little."""
        now = time.monotonic()
        if now - self._at < LEAST_STEP:
            return
        spent = self._sum()
        lately = (spent - self._spent) / max(now - self._at, 0.001) / (os.cpu_count() or 1)
        self.used = 0.7 * self.used + 0.3 * lately
        self._at, self._spent = now, spent
        self.pace *= 1.1 if self.used > self._wanted else 1 / 1.05
        self.pace = min(max(self.pace, 0.03), 20.0)


Sample = dict[str, Any]
"""What is kept of one moment; flat, for the report."""
