"""A client of the library for commands: a person waits, so it says at once when it can't connect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from wse_server.cli.address import Address
from wse_server.cli.connecting import of_websocket, tls_context
from wse_server.cli.errors import CliError, ExitCode

if TYPE_CHECKING:
    from wse_client import Client, Disconnected

__all__ = ["connected"]


@asynccontextmanager
async def connected(
    addresses: Sequence[Address],
    *,
    token: str | None,
    ca: str | None,
    patience: float,
    on_disconnect: Callable[[Disconnected], Any] | None = None,
    **options: Any,
) -> AsyncIterator[Client]:
    """A client that is connected. Later it comes back by itself; the first connection must succeed.

    Args:
        addresses: Where servers are; each is tried once.
        token: The token, if there is one.
        ca: PEM file with the authorities to trust; those of the system if None.
        patience: Seconds that each attempt may take.
        on_disconnect: Told when a connection has ended that stood, and of attempts to come back.
        options: More options of `wse_client.Client`.

    Raises:
        CliError: No connection, or what is done within the block fails with an error of the client.
    """
    try:
        from wse_client import Client, ClientError, ConnectError
    except ImportError:
        hint = "pip install 'wse-server[cli]'"
        raise CliError("not installed: wse-client", hint=hint, code=ExitCode.USAGE) from None

    failures: list[Disconnected] = []
    failed = asyncio.Event()
    has_opened = False

    def note(event: Disconnected) -> None:
        if has_opened:
            if on_disconnect is not None:
                on_disconnect(event)
            return
        failures.append(event)
        if len(failures) == len(addresses):
            failed.set()

    url = addresses[0].websocket
    # A proxy that the environment names is for the web, and these addresses are typed by a person.
    options |= {"proxy": None, "token": token, "attempt_timeout": patience, "on_disconnect": note}
    if any(address.secure for address in addresses):
        options["ssl"] = tls_context(ca)
    client = Client(
        *(address.websocket for address in addresses),
        open_timeout=patience * len(addresses) + 1.0,
        close_timeout=1.0,
        **options,
    )
    opening = asyncio.create_task(client.open())
    failing = asyncio.create_task(failed.wait())
    try:
        await asyncio.wait({opening, failing}, return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            raise ConnectError(f"{failures[-1].url}: {failures[-1].reason}")
        await opening
        has_opened = True
        yield client
    except (ClientError, TimeoutError, ValueError) as error:
        raise of_websocket(error, url, has_token=token is not None) from None
    finally:
        failing.cancel()
        opening.cancel()
        with suppress(asyncio.CancelledError, ClientError):
            await opening
        await client.close()
