"""WSE: a WebSocket engine for Python. Topics, fan-out to thousands of clients, tokens and limits.

Start with [`RustWSEServer`][wse_server.RustWSEServer]::

    from wse_server import RustWSEServer

    server = RustWSEServer("127.0.0.1", 5007)
    server.enable_drain_mode()
    server.start()
    while True:
        for kind, conn_id, data in server.drain_inbound():
            if kind == "connect":
                server.subscribe_connection(conn_id, ["news"])
            elif kind == "msg":
                server.broadcast("news", '{"t":"headline","p":{"text":"hello"}}')
"""

from wse_server._native import (
    Position,
    PublishTimeout,
    RustWSEServer,
    __version__,
    rust_jwt_decode,
    rust_jwt_encode,
)
from wse_server.codes import CloseCode, ErrorCode
from wse_server.connection import Connection
from wse_server.feed import EventFeed, ServerEvent
from wse_server.refusal import Refusal
from wse_server.server import Server
from wse_server.server_options import ServerOptions

__all__ = [
    "CloseCode",
    "Connection",
    "ErrorCode",
    "EventFeed",
    "Position",
    "PublishTimeout",
    "Refusal",
    "RustWSEServer",
    "Server",
    "ServerEvent",
    "ServerOptions",
    "__version__",
    "rust_jwt_decode",
    "rust_jwt_encode",
]
