"""The HTTP API of a server, over one connection that stays."""

from __future__ import annotations

import http.client
import json
import select
import time
from types import TracebackType
from typing import Any, Self

from wse_server.cli.address import Address
from wse_server.cli.connecting import tls_context
from wse_server.cli.errors import CliError, ExitCode
from wse_server.cli.probe import unreachable

__all__ = ["Api"]

# A request may wait on the server: for subscribers that are behind, 30 s, and for its body's way there.
_PATIENCE = 35.0


class Api:
    """The HTTP API of one server. Ends with the `with` block.

    Args:
        address: The server.
        key: Its `api_key`.
        timeout: Seconds that connecting may take.
        ca: PEM file with the authorities to trust; those of the system if None.
    """

    def __init__(self, address: Address, key: str, *, timeout: float, ca: str | None = None) -> None:
        self.address = address
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._timeout = timeout
        where = (address.host, address.port)
        self._connection = (
            http.client.HTTPSConnection(*where, timeout=timeout, context=tls_context(ca))
            if address.secure
            else http.client.HTTPConnection(*where, timeout=timeout)
        )

    def get(self, path: str) -> dict[str, Any]:
        """What a path answers.

        Raises:
            CliError: The server is not reached or refuses; the line has its reason.
        """
        return self._ask("GET", path, None, self._timeout)

    def post(self, path: str, body: str, *, wait: float = 0.0) -> dict[str, Any]:
        """Gives an order and returns its answer.

        Args:
            path: The path of the order.
            body: JSON.
            wait: Seconds that the server was asked to wait for replicas.

        Raises:
            CliError: The server is not reached or refuses; the line has its reason.
        """
        return self._ask("POST", path, body.encode(), max(self._timeout, wait + _PATIENCE))

    def _ask(self, method: str, path: str, body: bytes | None, timeout: float) -> dict[str, Any]:
        connection = self._connection
        if self._is_stale():
            connection.close()
        if connection.sock is None:
            try:
                connection.connect()
            except (OSError, ValueError) as error:
                raise unreachable(self.address, error, self._timeout) from None
        connection.sock.settimeout(timeout)
        started = time.monotonic()
        try:
            connection.request(method, self.address.prefix + path, body, self._headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._lost(
                error, time.monotonic() - started, is_order=path.startswith("/api/publish")
            ) from None
        return self._good(response.status, response.getheader("Retry-After"), content)

    def _is_stale(self) -> bool:
        """Whether the server has ended the connection meanwhile.

        An order that is sent on such a connection is lost, and nobody could say so for certain.
        """
        sock = self._connection.sock
        return sock is not None and bool(select.select([sock], [], [], 0)[0])

    def _lost(self, error: Exception, after: float, *, is_order: bool) -> CliError:
        if isinstance(error, http.client.BadStatusLine) and not isinstance(error, ConnectionError):
            return CliError(
                f"{self.address.http}: what answers does not speak HTTP",
                hint="is this the port of the server?",
                code=ExitCode.FAILED,
            )
        why = (
            f"no answer within {after:.0f} s"
            if isinstance(error, TimeoutError)
            else "the connection was lost"
        )
        if not is_order:
            return CliError(f"{self.address.http}: {why}", code=ExitCode.UNREACHABLE)
        return CliError(
            f"{self.address.http}: {why}, so nobody knows whether the last messages were published",
            hint="wse sub --from, or GET /api/history, tells for a topic with history",
            code=ExitCode.FAILED,
        )

    def _good(self, status: int, retry_after: str | None, content: bytes) -> dict[str, Any]:
        try:
            told = json.loads(content)
        except ValueError:
            told = None
        if status == 200 and isinstance(told, dict):
            return told
        error = told.get("error") if isinstance(told, dict) else None
        code, message = "", content[:200].decode("utf-8", "replace").strip()
        if isinstance(error, dict):
            code, message = str(error.get("code", "")), str(error.get("message", ""))
            if error.get("published"):
                message += f" ({error['published']} of this batch were published)"
        place = self.address.http
        if status == 404 and not code:
            raise CliError(
                f"{place} has no HTTP API",
                hint="there is no HTTP API without api_key, or a proxy keeps it to itself, or it is no WSE",
                code=ExitCode.REFUSED,
            )
        raise CliError(
            f"{place}: {status} {code or 'without a code'}: {message}",
            hint=_hint(status, code, retry_after),
            code=ExitCode.REFUSED if 400 <= status < 500 and status not in {408, 429} else ExitCode.FAILED,
        )

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _hint(status: int, code: str, retry_after: str | None) -> str | None:
    if status == 401:
        return "it refuses the API key, which must be its api_key; give it by --api-key-file or WSE_API_KEY"
    if status == 403:
        return "a proxy in front keeps /api/ to itself"
    if code == "NOT_STORED":
        return "it is published, and may be stored later; --timeout waits for longer"
    if status == 503:
        return f"again after {retry_after} s" if retry_after else "again later"
    if status == 413:
        return "the server's option max_message_size is the limit"
    return None if code else "not a WSE server, or a proxy in front without a server"
