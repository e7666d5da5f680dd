"""The options of the group Engine.

Generated from spec/options.toml by `python3 tools/generate.py`; edit that file and run it again.
"""

from __future__ import annotations

from wse_server.options.option import Option

__all__ = ["OPTIONS"]

OPTIONS: tuple[Option, ...] = (
    Option(
        name="shards",
        kind="integer",
        default=0,
        unit="threads",
        allowed="an integer from 0 to 64",
        minimum=0,
        maximum=64,
        choices=(),
        nullable=False,
        for_now=None,
        group="Engine",
        summary="How many threads serve sockets; 0 is one for each core.",
        advice=(
            "Each shard serves its share of the connections. One for each core is right for most; leave a "
            "core or two to Python where your program is busy itself."
        ),
    ),
    Option(
        name="api_key",
        kind="secret",
        default=None,
        unit="key",
        allowed="32 to 1024 visible ASCII characters without spaces, as bytes or text, or None",
        minimum=None,
        maximum=None,
        choices=(),
        nullable=True,
        for_now=None,
        group="Engine",
        summary="The key of the HTTP API; None leaves the API off.",
        advice=(
            "With it `POST /api/publish` and its siblings answer requests that carry the key as a bearer "
            "token or as `X-API-Key`, on the same port (see the page on the HTTP API). Make it from a good "
            "random source (`openssl rand -hex 32`) and treat it like a password: who knows it may publish "
            "to every topic, read every history and close every connection. The server never prints or logs "
            "it. `set_api_key` replaces it while the server runs."
        ),
    ),
)
"""In the order of the reference."""
