"""What the system says: the machine, limits, and what processes and sockets take."""

from __future__ import annotations

import os
import platform
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from wse_server.cli.errors import CliError, ExitCode

__all__ = [
    "about",
    "cpu_seconds",
    "free_ports",
    "kernel_socket_bytes",
    "listener_pid",
    "load_average",
    "need_descriptors",
    "resident_bytes",
]

SPARE_DESCRIPTORS = 64
"""What a process has open besides its connections, and some to spare."""

_PAGE = os.sysconf("SC_PAGE_SIZE")
# What an open TCP connection that a process waits for is made of, one of each. Some kernels keep several of
# these kinds together under the name of another; then they are not seen, and the figure is too small.
_PARTS = ("TCP", "sock_inode_cache", "dentry", "filp", "eventpoll_epi")
_SS = ("ss", "--tcp", "--memory", "--numeric", "--no-header", "--oneline")
_MEMORY = re.compile(r"skmem:\(([^)]*)\)")
_BUFFERS = frozenset("rfwo")
"""What `ss` tells of a socket's memory: received, forward-allocated, queued for writing, options."""
_BACKLOG = "bl"


def about() -> dict[str, Any]:
    """What a reader needs to know to compare figures with those of another machine."""
    return {
        "cpu": _field("/proc/cpuinfo", "model name") or platform.processor() or "unknown",
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * _PAGE,
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _field(path: str, name: str) -> str | None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), None)


def load_average() -> float:
    """Processes that want to run, averaged over the last minute."""
    return round(os.getloadavg()[0], 2)


def need_descriptors(connections: int) -> None:
    """Raises this process's limit of open files as far as that takes, for itself and for those it starts.

    Raises:
        CliError: It may not be raised so far, with exit code 2.
    """
    needed = connections + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise CliError(
                f"{connections:,} connections take {needed:,} file descriptors, and {hard:,} are allowed",
                hint=f"ulimit -n {needed} (as root, or LimitNOFILE of the service), or fewer --clients",
                code=ExitCode.USAGE,
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def free_ports() -> int:
    """Ports that connections to one address and port may come from, for each address of this machine."""
    try:
        low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    except OSError:
        return 16384  # what IANA leaves for it, and macOS uses
    return int(high) - int(low) + 1


def resident_bytes(pid: int) -> int | None:
    """Resident memory of a process; None where the system does not tell."""
    try:
        # Counted page by page: the counter in `status` may be off by some hundred KiB.
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        return None
    return None


def cpu_seconds(pid: int) -> float | None:
    """CPU time of all threads of a process; None where the system does not tell."""
    total = 0
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return total / 1e9


def kernel_socket_bytes(port: int) -> int | None:
    """What the kernel has for the connections of a server of this machine: the server's end of each alone.

    The buffers are those that the kernel accounts for (`ss` tells them), the sockets are counted, and each is
    taken to be as large as `/proc/slabinfo` says, which root can read.

    Returns:
        Bytes; None where the system does not tell.
    """
    each = _socket_bytes()
    if each is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - a number is all that is not written here
            [*_SS, "state", "established", "sport", "=", f":{port}"],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    told = _MEMORY.findall(done.stdout)
    return int(len(told) * each) + sum(_buffers(memory) for memory in told)


def _socket_bytes() -> float | None:
    """An established socket without its buffers, its share of the pages that such things are kept in."""
    try:
        lines = Path("/proc/slabinfo").read_text().splitlines()[2:]
    except OSError:
        return None
    sizes = {}
    for line in lines:
        name, _, _, _, per_slab, pages = line.split()[:6]
        sizes[name] = int(pages) * _PAGE / int(per_slab)
    return sum(sizes.get(part, 0.0) for part in _PARTS) if _PARTS[0] in sizes else None


def _buffers(memory: str) -> int:
    """Bytes of one socket's buffers, from `r0,rb131072,t0,tb2626560,f0,w0,o0,bl0,d0`."""
    total = 0
    for field in memory.split(","):
        name = field.rstrip("0123456789")
        if name in _BUFFERS or name == _BACKLOG:
            total += int(field[len(name) :])
    return total


def listener_pid(port: int) -> int | None:
    """The process of this machine that listens on a port, if it is one that we may look at."""
    if sys.platform != "linux":
        return None
    sockets = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                sockets.add(f"socket:[{fields[9]}]")
    owners = {pid for pid in _pids() if sockets & _links(pid)}
    return owners.pop() if len(owners) == 1 else None


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _links(pid: int) -> set[str]:
    links = set()
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                links.add(os.readlink(entry.path))  # noqa: PTH115 - what it says is no path
    except OSError:
        pass
    return links
