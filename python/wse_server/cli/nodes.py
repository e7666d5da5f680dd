"""The nodes of a cluster as an operator's commands see them: how each is, who is connected, and farewells."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import click

from wse_server.cli.address import Address, parse_address
from wse_server.cli.errors import CliError, ExitCode
from wse_server.cli.health import Report, look
from wse_server.cli.probe import unreachable

__all__ = ["Node", "Reached", "node_options", "reached", "read_options"]

_PAGE = 1000


class Reached(NamedTuple):
    """How nodes are reached.

    Attributes:
        key: Key of the HTTP API.
        timeout: Seconds for each answer.
        ca: PEM file with the authorities to trust; those of the system if None.
    """

    key: str
    timeout: float
    ca: str | None


class Node:
    """One node, over one connection to its HTTP API that stays.

    Args:
        url: Its address, as a person writes it.
        how: The key and the rest.
    """

    def __init__(self, url: str, how: Reached) -> None:
        self.address: Address = parse_address(url)
        self.url = self.address.http
        self._how = how
        self._connection: http.client.HTTPConnection | None = None

    def look(self) -> Report:
        """How it is."""
        return look(self.address, timeout=self._how.timeout, ca=self._how.ca)

    def check_key(self) -> None:
        """Sees that it has the HTTP API and takes the key.

        Raises:
            CliError: It does not, or can't be reached.
        """
        self._ask("GET", "/api/connections?limit=1")

    def connections(self) -> list[str]:
        """The ids of its connections; those that have been there for the longest time come first."""
        found: list[tuple[float, str]] = []
        after = ""
        while True:
            more = f"&after={urllib.parse.quote(after, safe='')}" if after else ""
            page = self._ask("GET", f"/api/connections?limit={_PAGE}{more}")
            found += [(each["connected_at"], each["connection_id"]) for each in page["connections"]]
            if page["next"] is None:
                return [name for _, name in sorted(found)]
            after = page["next"]

    def send_away(self, connection_id: str, code: int, reason: str) -> bool:
        """Closes a connection; says whether it was still there."""
        order = {"connection_id": connection_id, "code": code, "reason": reason}
        return bool(self._ask("POST", "/api/disconnect", order)["closed"])

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._how.key}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        has_rested = self._connection is not None
        try:
            status, answer = self._exchange(method, path, data, headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            if not has_rested:
                raise unreachable(self.address, error, self._how.timeout) from None
            # The server may have closed it meanwhile. What is asked here may be asked twice.
            return self._ask(method, path, body)
        if status == 200:
            told: dict[str, Any] = json.loads(answer)
            return told
        raise self._refusal(status, answer)

    def _exchange(
        self, method: str, path: str, data: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = self._new()
        self._connection.request(method, self.address.prefix + path, data, headers)
        response = self._connection.getresponse()
        return response.status, response.read()

    def _new(self) -> http.client.HTTPConnection:
        host, port, timeout = self.address.host, self.address.port, self._how.timeout
        if not self.address.secure:
            return http.client.HTTPConnection(host, port, timeout=timeout)
        import ssl

        context = ssl.create_default_context(cafile=self._how.ca)
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)

    def _refusal(self, status: int, answer: bytes) -> CliError:
        if status == 401:
            return CliError(
                f"{self.url} refuses the API key",
                hint="--api-key, WSE_API_KEY or WSE_API_KEY_FILE must be the api_key of the nodes",
                code=ExitCode.REFUSED,
            )
        if status == 404:
            return CliError(
                f"{self.url} has no HTTP API",
                hint="give the nodes an api_key, and ask them and not the proxy in front",
                code=ExitCode.REFUSED,
            )
        try:
            said = str(json.loads(answer)["error"]["message"])
        except (ValueError, KeyError, TypeError):
            said = answer[:200].decode("utf-8", "replace")
        return CliError(f"{self.url} answered {status}: {said}")

    def close(self) -> None:
        """Ends the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def reached(urls: tuple[str, ...], how: Reached) -> Iterator[list[Node]]:
    """The nodes at these addresses, each of which may be there once only.

    Raises:
        CliError: An address is none, or is there twice; exit code 2.
    """
    nodes = [Node(url, how) for url in urls]
    for number, node in enumerate(nodes):
        if node.address in [other.address for other in nodes[:number]]:
            raise CliError(f"{node.url} is given twice", code=ExitCode.USAGE)
    try:
        yield nodes
    finally:
        for node in nodes:
            node.close()


def node_options(command: Callable[..., int]) -> Callable[..., int]:
    """The options of `Reached`, for a command; `read_options` makes one of them."""
    for option in reversed(
        [
            click.option(
                "--api-key", envvar="WSE_API_KEY", metavar="KEY", help="The nodes' api_key. [WSE_API_KEY]"
            ),
            click.option(
                "--api-key-file",
                envvar="WSE_API_KEY_FILE",
                type=click.Path(),
                metavar="FILE",
                help="A file with it. [WSE_API_KEY_FILE]",
            ),
            click.option(
                "--timeout",
                type=click.FloatRange(min=0, min_open=True),
                default=10.0,
                show_default=True,
                metavar="SECONDS",
                help="How long each answer of a node may take.",
            ),
            click.option(
                "--ca", type=click.Path(), metavar="FILE", help="PEM file with the authorities to trust."
            ),
        ]
    ):
        command = option(command)
    return command


def read_options(api_key: str | None, api_key_file: str | None, timeout: float, ca: str | None) -> Reached:
    """What `node_options` were given.

    Raises:
        CliError: There is no key; exit code 2.
    """
    if not api_key and api_key_file:
        try:
            api_key = Path(api_key_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError) as error:
            raise CliError(f"--api-key-file {api_key_file}: {error}", code=ExitCode.USAGE) from None
    if not api_key:
        raise CliError(
            "there is no key of the HTTP API",
            hint="give --api-key, WSE_API_KEY or WSE_API_KEY_FILE: the api_key of the nodes",
            code=ExitCode.USAGE,
        )
    return Reached(api_key, timeout, ca)
