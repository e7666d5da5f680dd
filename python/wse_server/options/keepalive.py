"""The options of the group Keepalive.

Generated from spec/options.toml by `python3 tools/generate.py`; edit that file and run it again.
"""

from __future__ import annotations

from wse_server.options.option import Option

__all__ = ["OPTIONS"]

OPTIONS: tuple[Option, ...] = (
    Option(
        name="ping_interval",
        kind="seconds",
        default=25.0,
        unit="seconds",
        allowed="a number of seconds from 0.01 to 86400",
        minimum=0.01,
        maximum=86400.0,
        choices=(),
        nullable=False,
        for_now=None,
        group="Keepalive",
        summary="How often the server pings a client.",
        advice=(
            "Choose less than the shortest idle time of any proxy, load balancer or NAT on the way; many "
            "forget a silent connection after 30 to 60 seconds. It must be shorter than `idle_timeout`, and "
            "half of it is a good choice, so that one lost ping does not cost a connection."
        ),
    ),
    Option(
        name="idle_timeout",
        kind="seconds",
        default=60.0,
        unit="seconds",
        allowed="a number of seconds from 0.02 to 604800",
        minimum=0.02,
        maximum=604800.0,
        choices=(),
        nullable=False,
        for_now=None,
        group="Keepalive",
        summary="How long a client may be silent before it is closed with 4410.",
        advice=(
            "Any byte from the client counts as life, and so does its answer to a ping. It bounds how long a "
            "client that lost its network is still counted and sent to. It must be longer than "
            "`ping_interval`, or healthy clients would be cut."
        ),
    ),
)
"""In the order of the reference."""
