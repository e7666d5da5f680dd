"""The options of the group Queues.

Generated from spec/options.toml by `python3 tools/generate.py`; edit that file and run it again.
"""

from __future__ import annotations

from wse_server.options.option import Option

__all__ = ["OPTIONS"]

OPTIONS: tuple[Option, ...] = (
    Option(
        name="max_inbound_queue_size",
        kind="integer",
        default=131_072,
        unit="events",
        allowed="an integer from 1 to 1000000000",
        minimum=1,
        maximum=1_000_000_000,
        choices=(),
        nullable=False,
        for_now=None,
        group="Queues",
        summary="How many events may wait for the Python program.",
        advice=(
            "When the queue is full the server stops reading from clients whose next message does not fit; "
            "nothing is dropped because the program is slow. A longer queue rides out longer pauses and "
            "makes what is in it older."
        ),
    ),
    Option(
        name="max_inbound_queue_bytes",
        kind="bytes",
        default=268_435_456,
        unit="bytes",
        allowed="an integer of bytes from 1 to 1099511627776",
        minimum=1,
        maximum=1_099_511_627_776,
        choices=(),
        nullable=False,
        for_now=None,
        group="Queues",
        summary="How many bytes of events may wait for the Python program.",
        advice=(
            "The same limit as `max_inbound_queue_size`, counted in bytes; the one reached first holds. It "
            "must be at least `max_message_size`, or the largest allowed message could never be delivered."
        ),
    ),
    Option(
        name="max_outbound_total_bytes",
        kind="bytes",
        default=1_073_741_824,
        unit="bytes",
        allowed="an integer of bytes from 4096 to 1099511627776",
        minimum=4096,
        maximum=1_099_511_627_776,
        choices=(),
        nullable=False,
        for_now=None,
        group="Queues",
        summary="How many bytes may wait for all clients together.",
        advice=(
            "A message that waits for many clients counts once here. Beyond the limit the clients that are "
            "furthest behind go first, by the policy `slow_client`. Choose what the machine can spare: "
            "together with `max_inbound_queue_bytes` and `recovery_memory_budget` it bounds the memory of "
            "the process, and their sum is logged at start. It must be at least `max_outbound_queue_bytes`."
        ),
    ),
)
"""In the order of the reference."""
