"""The options of the group Clients on their own.

Generated from spec/options.toml by `python3 tools/generate.py`; edit that file and run it again.
"""

from __future__ import annotations

from wse_server.options.option import Option

__all__ = ["OPTIONS"]

OPTIONS: tuple[Option, ...] = (
    Option(
        name="client_subscriptions",
        kind="boolean",
        default=False,
        unit="switch",
        allowed="True or False",
        minimum=None,
        maximum=None,
        choices=(),
        nullable=False,
        for_now=None,
        group="Clients on their own",
        summary="Whether clients may subscribe to topics themselves.",
        advice=(
            "With it the server answers a client's `subscription_update` under the connection's ACL; without "
            "it the message reaches your program like any other. Without an ACL a client may then read every "
            "topic, so give the tokens a `wse_topics` claim or call `set_topic_acl`."
        ),
    ),
    Option(
        name="client_publish",
        kind="boolean",
        default=False,
        unit="switch",
        allowed="True or False",
        minimum=None,
        maximum=None,
        choices=(),
        nullable=False,
        for_now=None,
        group="Clients on their own",
        summary="Whether clients may publish to topics themselves.",
        advice=(
            "With it the server publishes what a client sends as `publish`, under the connection's ACL and "
            "without your program seeing it first; without it the message reaches your program like any "
            "other."
        ),
    ),
)
"""In the order of the reference."""
