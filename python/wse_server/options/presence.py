"""The options of the group Presence.

Generated from spec/options.toml by `python3 tools/generate.py`; edit that file and run it again.
"""

from __future__ import annotations

from wse_server.options.option import Option

__all__ = ["OPTIONS"]

OPTIONS: tuple[Option, ...] = (
    Option(
        name="presence_enabled",
        kind="boolean",
        default=False,
        unit="switch",
        allowed="True or False",
        minimum=None,
        maximum=None,
        choices=(),
        nullable=False,
        for_now=None,
        group="Presence",
        summary="Whether the server tracks which users are in a topic.",
        advice=(
            "With it a connection that is subscribed with `presence_data` makes its user present: "
            "subscribers hear who joins and leaves, and `presence(topic)` tells who is there. Users are "
            "tracked, not connections: a user with three tabs joins once."
        ),
    ),
    Option(
        name="presence_max_data_size",
        kind="bytes",
        default=4096,
        unit="bytes",
        allowed="an integer of bytes from 2 to 1048576",
        minimum=2,
        maximum=1_048_576,
        choices=(),
        nullable=False,
        for_now=None,
        group="Presence",
        summary="How large one user's presence data may be, as JSON.",
        advice=(
            "Data beyond it are refused with a logged warning, and make nobody present. They are sent to "
            "every subscriber when a user joins, so keep them to a name, a colour and a picture's address."
        ),
    ),
    Option(
        name="presence_max_members",
        kind="integer",
        default=0,
        unit="users",
        allowed="an integer from 0 to 16000000",
        minimum=0,
        maximum=16_000_000,
        choices=(),
        nullable=False,
        for_now=None,
        group="Presence",
        summary="How many users of one topic are tracked; 0 is unlimited.",
        advice=(
            "Users beyond it stay subscribed and hear everything, but are not listed; subscribing again asks "
            "for a place again. Each join is sent to all, so a topic with n users costs n times n messages "
            "while it fills: a limit keeps a very large room affordable."
        ),
    ),
)
"""In the order of the reference."""
