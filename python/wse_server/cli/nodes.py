"""The nodes of a cluster as an operator's commands see them: how each is, who is connected, and farewells."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import NamedTuple, Self

import click

from wse_server.cli.address import Address, parse_address
from wse_server.cli.api import Api
from wse_server.cli.connecting import api_key_options, ca_option, secret
from wse_server.cli.errors import CliError, ExitCode
from wse_server.cli.health import Report, look

__all__ = ["Node", "Reached", "node_options", "reached", "read_options"]

_PAGE = 1000


class Reached(NamedTuple):
    """How nodes are reached.

    Attributes:
        key: Key of the HTTP API.
        timeout: Seconds that connecting, and each look, may take.
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
        self._api = Api(self.address, how.key, timeout=how.timeout, ca=how.ca)

    def look(self) -> Report:
        """How it is."""
        return look(self.address, timeout=self._how.timeout, ca=self._how.ca)

    def check_key(self) -> None:
        """Sees that it has the HTTP API and takes the key.

        Raises:
            CliError: It does not, or can't be reached.
        """
        self._api.get("/api/connections?limit=1")

    def connections(self) -> list[str]:
        """The ids of its connections; those that have been there for the longest time come first."""
        found: list[tuple[float, str]] = []
        after = ""
        while True:
            more = f"&after={urllib.parse.quote(after, safe='')}" if after else ""
            page = self._api.get(f"/api/connections?limit={_PAGE}{more}")
            found += [(each["connected_at"], each["connection_id"]) for each in page["connections"]]
            if page["next"] is None:
                return [name for _, name in sorted(found)]
            after = page["next"]

    def send_away(self, connection_id: str, code: int, reason: str) -> bool:
        """Closes a connection; says whether it was still there."""
        order = {"connection_id": connection_id, "code": code, "reason": reason}
        return bool(self._api.post("/api/disconnect", json.dumps(order))["closed"])

    def close(self) -> None:
        """Ends the connection."""
        self._api.close()

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
    timeout = click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=10.0,
        show_default=True,
        metavar="SECONDS",
        help="How long connecting, and each look at a node, may take.",
    )
    return api_key_options(timeout(ca_option(command)))


def read_options(context: click.Context) -> Reached:
    """What `node_options` were given.

    Raises:
        CliError: There is no key, or it can't be read; exit code 2.
    """
    key = secret(context, "api_key").text
    if key is None:
        raise CliError(
            "there is no key of the HTTP API",
            hint="give --api-key, WSE_API_KEY or WSE_API_KEY_FILE: the api_key of the nodes",
            code=ExitCode.USAGE,
        )
    return Reached(key, context.params["timeout"], context.params["ca"])
