"""A plan, for people and for programs."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.table import Table
from rich.text import Text

from wse_server.cli.plan.advice import Advice
from wse_server.cli.plan.model import MIB

__all__ = ["as_json", "environment", "flags", "kubernetes", "measured_in_words", "table", "toml"]


def table(advice: Advice) -> Table:
    """What it needs, a line each."""
    work, needs = advice.work, advice.needs
    rows = Table(box=None, show_header=False, title=_title(advice), title_justify="left", pad_edge=False)
    rows.add_column(no_wrap=True)
    rows.add_column(justify="right", no_wrap=True)
    rows.add_column(style="dim")
    covers = (
        f"the last {_time(advice.history_covers_s)} of messages" if work.history_bytes else "switched off"
    )
    for label, value, remark in (
        ("memory", _size(advice.ram_bytes), "to give it, 15 % to spare"),
        ("  process, without clients", _size(needs.base_bytes), "measured"),
        ("  connections", _size(needs.connection_bytes), "computed"),
        ("  topics", _size(needs.topic_bytes), "computed"),
        ("  recovery budget", _size(needs.history_bytes), covers),
        ("  kernel, sockets", _size(needs.kernel_bytes), "computed"),
        ("  queues, at most", _size(advice.queue_bytes), "of slow clients and a slow program"),
        ("cores", str(advice.cores), f"{needs.cores:.2f} used, computed"),
        ("messages to clients", f"{work.deliveries_per_s:,.0f} /s", f"each to {work.receivers:,.4g}"),
        ("open files", f"{advice.descriptors:,}", "ulimit -n, LimitNOFILE"),
    ):
        rows.add_row(Text(label), Text(value), Text(remark))
    return rows


def _title(advice: Advice) -> str:
    work = advice.work
    rate = f"{work.messages_per_s:,.6g} messages/s of {work.size:,} bytes"
    return f"{work.connections:,} connections in {work.topics:,} topics, {rate}"


def measured_in_words(data: dict[str, Any]) -> str:
    """Where the slopes are from."""
    machine = data["machine"]
    where = f"{machine['cpus']} CPUs of {machine['cpu']}, load average {data['load_average']:.1f}"
    return (
        f"Computed from slopes measured on {data['date'][:10]} with commit {data['commit']}, {where}. "
        "Another CPU takes another time: `wse bench`."
    )


def toml(advice: Advice) -> str:
    """The options for `wse serve --config`."""
    return "".join(f"{name} = {_value(value)}\n" for name, value in advice.options.items())


def flags(advice: Advice) -> str:
    """The options as a command line."""
    parts = ["wse serve"]
    for name, value in advice.options.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            parts.append(f"--{option}" if value else f"--no-{option}")
        else:
            parts.append(f"--{option} {value}")
    return " ".join(parts) + "\n"


def environment(advice: Advice) -> str:
    """The options as variables."""
    return "".join(f"WSE_{name.upper()}={_value(value)}\n" for name, value in advice.options.items())


def kubernetes(advice: Advice) -> str:
    """What a container asks for and may take. A limit of CPU would only make latencies of bursts."""
    return (
        "resources:\n"
        "  requests:\n"
        f"    cpu: {advice.cpu_request_m}m\n"
        f"    memory: {advice.memory_request_bytes // MIB}Mi\n"
        "  limits:\n"
        f"    memory: {advice.ram_bytes // MIB}Mi\n"
    )


def as_json(advice: Advice, data: dict[str, Any]) -> dict[str, Any]:
    """The whole, for `--json`: what was measured, what is computed from it, what is recommended."""
    work, needs = advice.work, advice.needs
    return {
        "asked": dataclasses.asdict(work),
        "measured": data,
        "computed": dataclasses.asdict(needs)
        | {
            "bytes": needs.bytes,
            "deliveries_per_s": work.deliveries_per_s,
            "history_covers_s": round(advice.history_covers_s, 1),
        },
        "recommended": {
            "ram_bytes": advice.ram_bytes,
            "queue_bytes": advice.queue_bytes,
            "cores": advice.cores,
            "descriptors": advice.descriptors,
            "options": advice.options,
            "kubernetes": {
                "requests": {
                    "cpu": f"{advice.cpu_request_m}m",
                    "memory": f"{advice.memory_request_bytes // MIB}Mi",
                },
                "limits": {"memory": f"{advice.ram_bytes // MIB}Mi"},
            },
        },
        "notes": advice.notes,
    }


def _value(value: int | bool) -> str:
    return str(value).lower()


def _size(count: int) -> str:
    mib = count / MIB
    return f"{mib:,.0f} MB" if mib < 1024 else f"{mib / 1024:,.4g} GB"


def _time(seconds: float) -> str:
    return f"{seconds:,.1f} s" if seconds < 10 else f"{seconds:,.0f} s"
