"""The options of the group Behind a proxy.

Generated from spec/options.toml by `python3 tools/generate.py`; edit that file and run it again.
"""

from __future__ import annotations

from wse_server.options.option import Option

__all__ = ["OPTIONS"]

OPTIONS: tuple[Option, ...] = (
    Option(
        name="trusted_proxies",
        kind="networks",
        default=(),
        unit="networks",
        allowed="a list of networks such as '10.0.0.0/8' or addresses such as '192.0.2.7'",
        minimum=None,
        maximum=None,
        choices=(),
        nullable=False,
        for_now=None,
        group="Behind a proxy",
        summary="The networks whose X-Forwarded-For and X-Real-IP headers are believed.",
        advice=(
            "Name exactly the addresses of your own proxies, in CIDR or single: whoever is in these networks "
            "can claim any client address. The forwarded list is read from the right, and the first hop that "
            "is not trusted is the client; X-Real-IP counts only where there is no X-Forwarded-For, so a "
            "proxy must set or append the latter. The address is what `get_connection_info` tells."
        ),
    ),
    Option(
        name="proxy_protocol",
        kind="boolean",
        default=False,
        unit="switch",
        allowed="True or False",
        minimum=None,
        maximum=None,
        choices=(),
        nullable=False,
        for_now=None,
        group="Behind a proxy",
        summary="Whether connections from `trusted_proxies` begin with a PROXY header (version 1 or 2).",
        advice=(
            "Set it when the balancer in front forwards TCP and speaks the PROXY protocol (HAProxy "
            "`send-proxy`, AWS NLB). It needs `trusted_proxies`; a connection from there without the header "
            "is dropped, and one from elsewhere may have none."
        ),
    ),
)
"""In the order of the reference."""
