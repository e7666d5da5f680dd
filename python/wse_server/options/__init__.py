"""The options of the server, as data for tools.

Generated from spec/options.toml by `python3 tools/generate.py`; edit that file and run it again.
"""

from __future__ import annotations

from wse_server.options import (
    admission,
    authentication,
    behind_a_proxy,
    clients_on_their_own,
    engine,
    history,
    keepalive,
    limits_of_one_client,
    presence,
    queues,
)
from wse_server.options.option import Option
from wse_server.server_options import ServerOptions

__all__ = ["OPTIONS", "Option", "ServerOptions"]

OPTIONS: tuple[Option, ...] = (
    *admission.OPTIONS,
    *authentication.OPTIONS,
    *limits_of_one_client.OPTIONS,
    *keepalive.OPTIONS,
    *queues.OPTIONS,
    *history.OPTIONS,
    *presence.OPTIONS,
    *clients_on_their_own.OPTIONS,
    *behind_a_proxy.OPTIONS,
    *engine.OPTIONS,
)
"""All options, in the order of the reference."""
