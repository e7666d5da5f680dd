"""The demo's server: subscribes each visitor to the ticker and answers the two messages of the page."""

from __future__ import annotations

import json
import secrets
import time
from importlib import resources
from typing import Any

from wse_server import RustWSEServer
from wse_server.demo.ticker import TOPIC, Ticker


class Demo:
    """One server with its ticker.

    Args:
        host: Address to listen on.
        port: Port to listen on.
        rate: Messages a second to begin with.
        auth: Whether visitors need a token. Its key is made up at each start and never leaves the process.
    """

    def __init__(self, host: str, port: int, *, rate: int, auth: bool) -> None:
        self._auth = auth
        self._server = RustWSEServer(host, port, jwt_secret=secrets.token_bytes(32) if auth else None)
        self._server.add_static("/", "text/html; charset=utf-8", _page())
        self._server.enable_drain_mode()
        self._ticker = Ticker(self._server, rate)

    def start(self) -> None:
        """Listens and begins to publish. Raises `OSError` if the port is in use."""
        self._server.start()
        self._ticker.start()

    def stop(self) -> None:
        """Ends the ticker, then the server."""
        self._ticker.stop()
        self._server.stop()

    def token(self, user: str, lifetime: int = 12 * 3600) -> str | None:
        """Makes a token for `user` that lasts `lifetime` seconds, or None without authentication."""
        if not self._auth:
            return None
        now = int(time.time())
        return self._server.mint_token({"sub": user, "iat": now, "exp": now + lifetime})

    def visitors(self) -> int:
        """Counts the connections."""
        return self._server.get_connection_count()

    def serve_for(self, milliseconds: int) -> None:
        """Handles what arrives within about this time."""
        for kind, conn_id, data in self._server.drain_inbound(256, milliseconds):
            match kind:
                case "connect" | "auth_connect":
                    self._server.subscribe_connection(conn_id, [TOPIC])
                case "msg":
                    self._on_message(conn_id, data)

    def _on_message(self, conn_id: str, message: dict[str, Any]) -> None:
        match message:
            # The page measures how long its own message takes to Python and back.
            case {"t": "demo.echo", "p": payload}:
                self._server.send(conn_id, json.dumps({"c": "U", "t": "demo.echo", "p": payload}))
            case {"t": "demo.rate", "p": {"per_second": int(per_second)}}:
                self._ticker.rate = per_second


def _page() -> bytes:
    return resources.files("wse_server.demo").joinpath("page.html").read_bytes()
