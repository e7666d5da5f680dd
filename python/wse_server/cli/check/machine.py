"""What the machine, or the container, has for what the options allow."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from wse_server.cli.settings import Deployment, Finding
from wse_server.cli.settings.problems import warning

__all__ = ["descriptors", "look", "memory_limit"]

# Beside the clients: listeners, links to other nodes, files, and connections that ask over HTTP.
SPARE_DESCRIPTORS = 100
_QUEUES = ("max_outbound_total_bytes", "max_inbound_queue_bytes")


def look(deployment: Deployment) -> list[Finding]:
    """What is said of descriptors and memory."""
    return [*_of_descriptors(deployment), *_of_memory(deployment)]


def descriptors(deployment: Deployment) -> int:
    """How many file descriptors the process needs."""
    return _option(deployment, "max_connections") + SPARE_DESCRIPTORS


def _option(deployment: Deployment, name: str) -> int:
    return int(deployment.options.get(name, deployment.resolution[name]))


def _of_descriptors(deployment: Deployment) -> list[Finding]:
    needed = descriptors(deployment)
    # `wse serve` raises the soft limit itself, as far as the hard one.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= needed:
        return []
    clients = needed - SPARE_DESCRIPTORS
    message = f"{clients} connections need {needed} file descriptors, and the limit is {hard} (ulimit -Hn)"
    source = deployment.resolution.source("max_connections")
    return [
        warning("max_connections", source, message, "LimitNOFILE= of the unit, or ulimits of the container")
    ]


def _of_memory(deployment: Deployment) -> list[Finding]:
    limit, where = memory_limit()
    names = list(_QUEUES)
    if deployment.options.get("recovery_enabled"):
        names.append("recovery_memory_budget")
    total = sum(_option(deployment, name) for name in names)
    if total <= limit:
        return []
    message = f"queues may hold {_shown(total)} together, and {where} has {_shown(limit)}: {', '.join(names)}"
    given = [name for name in names if deployment.resolution.is_given(name)]
    source = " and ".join(deployment.resolution.source(name) for name in given) or "default"
    return [warning(names[0], source, message, "wse plan says what a load needs")]


def memory_limit(root: Path = Path("/")) -> tuple[int, str]:
    """The bytes of memory that the process may have, and who says so: its control group, or the machine."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [limit for limit in _of_groups(root) if limit < machine]
    return (min(limits), "its control group") if limits else (machine, "this machine")


def _of_groups(root: Path) -> list[int]:
    """The limits of the control groups that the process is in, of either version."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    files = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            top, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        # A limit of any group above holds too. In a container the path may be that of the host.
        group = Path(path.lstrip("/"))
        files += [top / parent / name for parent in (group, *group.parents)]
    return [limit for file in files if (limit := _number(file)) is not None]


def _number(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _shown(size: int) -> str:
    for factor, unit in ((1024**3, "GiB"), (1024**2, "MiB")):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"
