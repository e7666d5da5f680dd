"""What the kernel says about processes and the machine, from /proc."""

from __future__ import annotations

import os
import platform
import socket
import time
from pathlib import Path

MIB = 1 << 20


def resident_bytes(pid: int) -> int:
    """Resident memory, counted page by page: the figure in `status` may be off by some hundred KiB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(f"process {pid} has no memory left")


def quick_resident_bytes(pid: int) -> int:
    """The same from a counter, cheap enough to be asked many times a second; 0 when the process is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def reset_peak(pid: int) -> None:
    """Let VmHWM start anew at the present figure, so that what start-up took is not counted."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads in nanosecond resolution; `utime` and `stime` count ticks of 10 ms."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except (OSError, IndexError):
            continue
    return total / 1e9


def _busy_ticks() -> int:
    user, nice, system, _, _, irq, softirq, steal = (
        int(n) for n in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    )
    return user + nice + system + irq + softirq + steal


def busy_cores(during_s: float = 0.3) -> float:
    """How many cores the machine keeps busy at present. To be asked while nothing of ours runs."""
    before, start = _busy_ticks(), time.monotonic()
    time.sleep(during_s)
    return (_busy_ticks() - before) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - start)


def machine() -> dict[str, str]:
    """What a reader needs to know to compare the figures with those of another machine."""
    model, memory = "unknown", "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            memory = f"{int(line.split()[1]) / (1 << 20):.1f} GiB"
            break
    return {
        "cpu": model,
        "cpus": str(os.cpu_count()),
        "memory": memory,
        "kernel": platform.release(),
        "system": platform.platform(),
    }


def free_port() -> int:
    """A port that the kernel says is free. Somebody may take it before we use it; then the server says so."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
