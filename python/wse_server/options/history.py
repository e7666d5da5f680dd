"""The options of the group History.

Generated from spec/options.toml by `python3 tools/generate.py`; edit that file and run it again.
"""

from __future__ import annotations

from wse_server.options.option import Option

__all__ = ["OPTIONS"]

OPTIONS: tuple[Option, ...] = (
    Option(
        name="recovery_enabled",
        kind="boolean",
        default=False,
        unit="switch",
        allowed="True or False",
        minimum=None,
        maximum=None,
        choices=(),
        nullable=False,
        for_now=None,
        group="History",
        summary="Whether topics keep a history from which a client that comes back is sent what it missed.",
        advice=(
            "With it each publication is stamped with its topic, epoch and offset and kept in a ring per "
            "topic. Turn it on where a missed message matters; it costs the memory of "
            "`recovery_memory_budget` and the stamp in each message."
        ),
    ),
    Option(
        name="recovery_buffer_size",
        kind="integer",
        default=128,
        unit="messages",
        allowed="an integer from 1 to 16777216",
        minimum=1,
        maximum=16_777_216,
        choices=(),
        nullable=False,
        for_now=None,
        group="History",
        summary="How many messages of a topic are kept, rounded up to a power of two.",
        advice=(
            "Choose the busiest topic's messages a second times the seconds a client is usually away. It is "
            "a limit per topic; `recovery_memory_budget` is the one for all of them."
        ),
    ),
    Option(
        name="recovery_ttl",
        kind="seconds",
        default=300.0,
        unit="seconds",
        allowed="a number of seconds from 0.01 to 31536000",
        minimum=0.01,
        maximum=31536000.0,
        choices=(),
        nullable=False,
        for_now=None,
        group="History",
        summary="How long a message stays recoverable.",
        advice=(
            "Older messages are not replayed even if the ring still has them. Choose a little more than the "
            "longest absence after which a client should go on rather than load its state afresh."
        ),
    ),
    Option(
        name="recovery_max_messages",
        kind="integer",
        default=500,
        unit="messages",
        allowed="an integer from 1 to 16777216",
        minimum=1,
        maximum=16_777_216,
        choices=(),
        nullable=False,
        for_now=None,
        group="History",
        summary="How many messages one recovery may replay.",
        advice=(
            "A client that missed more is told so and loads its state afresh, which is cheaper for both; a "
            "recovery is never partial. With a `recovery_buffer_size` below it, the buffer is the limit."
        ),
    ),
    Option(
        name="recovery_memory_budget",
        kind="bytes",
        default=268_435_456,
        unit="bytes",
        allowed="an integer of bytes from 65536 to 1099511627776",
        minimum=65_536,
        maximum=1_099_511_627_776,
        choices=(),
        nullable=False,
        for_now=None,
        group="History",
        summary="How many bytes the histories of all topics may hold together.",
        advice=(
            "When they would hold more, the least recently used topics lose their history first: with their "
            "epoch where nobody is subscribed, else their messages only. Watch `recovery_total_bytes` in the "
            "health snapshot and raise the budget, or lower `recovery_ttl`, when it stays above 80 % of it."
        ),
    ),
)
"""In the order of the reference."""
