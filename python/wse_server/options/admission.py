"""The options of the group Admission.

Generated from spec/options.toml by `python3 tools/generate.py`; edit that file and run it again.
"""

from __future__ import annotations

from wse_server.options.option import Option

__all__ = ["OPTIONS"]

OPTIONS: tuple[Option, ...] = (
    Option(
        name="max_connections",
        kind="integer",
        default=1000,
        unit="connections",
        allowed="an integer from 1 to 16000000",
        minimum=1,
        maximum=16_000_000,
        choices=(),
        nullable=False,
        for_now=None,
        group="Admission",
        summary="How many connections the server admits at a time.",
        advice=(
            "Beyond it an upgrade is answered with HTTP 503 and Retry-After, and those already connected "
            "notice nothing. Choose what the machine can feed rather than what it can hold: an idle client "
            "costs little, a slow one up to `max_outbound_queue_bytes`. The process needs as many file "
            "descriptors (`ulimit -n`) and some to spare."
        ),
    ),
    Option(
        name="handshake_timeout",
        kind="seconds",
        default=10.0,
        unit="seconds",
        allowed="a number of seconds from 0.01 to 3600",
        minimum=0.01,
        maximum=3600.0,
        choices=(),
        nullable=False,
        for_now=None,
        group="Admission",
        summary="How long a client may take to send its whole upgrade request.",
        advice=(
            "A connection that has not finished its request by then is answered with HTTP 408 and closed. "
            "Lower it on a port that stands on the open internet, where idle sockets are a cheap attack; ten "
            "seconds leave room for a phone on a bad network."
        ),
    ),
    Option(
        name="allowed_origins",
        kind="origins",
        default=None,
        unit="origins",
        allowed=(
            "a list of origins such as 'https://app.example.com' (scheme, host and optional port; 'null'; or "
            "'*' alone), or None"
        ),
        minimum=None,
        maximum=None,
        choices=(),
        nullable=True,
        for_now=None,
        group="Admission",
        summary="The web origins whose pages may connect; None reads the variable ALLOWED_ORIGINS.",
        advice=(
            "A browser says in the Origin header which site's page opens the connection, and one that is not "
            "listed is refused with HTTP 403 before the upgrade. Without such a list any page on the web can "
            "connect with the cookies of a visitor who is logged in, so name your sites in production. An "
            "origin is a scheme, a host and a port (`https://app.example.com`); case and a trailing slash do "
            "not matter, and a default port equals none. There are no wildcards within an origin. `null`, "
            "which browsers send for sandboxed pages and files, passes only if listed. An empty list, an "
            "empty variable, or `*` alone allows all. A request without an Origin header comes from a "
            "program, not from a page, and passes. A list given here wins over the variable, which holds the "
            "same separated by commas. `set_allowed_origins` replaces it while the server runs."
        ),
    ),
    Option(
        name="path",
        kind="text",
        default=None,
        unit="path",
        allowed=(
            "a path such as '/wse' (it begins with '/' and has no '?', '#', spaces or control characters), "
            "or None"
        ),
        minimum=None,
        maximum=None,
        choices=(),
        nullable=True,
        for_now=None,
        group="Admission",
        summary="The only path at which an upgrade is accepted; None accepts any path.",
        advice=(
            "The documented path is `/wse`. Set it where the proxy in front forwards more than the "
            "WebSocket's own location; a request for any other path is then answered with HTTP 404. The "
            "query string is no part of it."
        ),
    ),
)
"""In the order of the reference."""
