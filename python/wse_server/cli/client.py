"""A client of the library for commands: a person waits, so it says at once when it can't connect.

Its event loop has a thread of its own. So a command may wait for a terminal or a pipe as long as that takes,
and the client answers the server's pings meanwhile.
"""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from wse_server.cli.address import Address
from wse_server.cli.connecting import of_websocket, tls_context
from wse_server.cli.errors import CliError, ExitCode

if TYPE_CHECKING:
    from wse_client import Client, Disconnected

__all__ = ["Background", "connected", "need_client"]

T = TypeVar("T")


class Background:
    """A client in a thread of its own, connected within the `with` block.

    Args:
        addresses: Where servers are.
        options: The other arguments of `connected`.
    """

    client: Client

    def __init__(self, addresses: Sequence[Address], **options: Any) -> None:
        self._addresses = addresses
        self._options = options
        self._open = AsyncExitStack()
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=self._serve, name="client", daemon=True)
        need_client()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine in the client's thread and waits for it; an interrupt gives it up."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.get_loop().run_forever()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _connect(self) -> None:
        self.client = await self._open.enter_async_context(connected(self._addresses, **self._options))

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread.start()
        try:
            self.run(self._connect())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.run(self._open.aclose())
        finally:
            self._stop()


def need_client() -> None:
    """Says what to install where the client is missing.

    Raises:
        CliError: It is, with exit code 2.
    """
    if importlib.util.find_spec("wse_client") is None:
        hint = "pip install 'wse-server[cli]'"
        raise CliError("not installed: wse-client", hint=hint, code=ExitCode.USAGE)


@asynccontextmanager
async def connected(
    addresses: Sequence[Address],
    *,
    token: str | Callable[[], str] | None,
    ca: str | None,
    patience: float,
    on_disconnect: Callable[[Disconnected], Any] | None = None,
    **options: Any,
) -> AsyncIterator[Client]:
    """A client that is connected. Later it comes back by itself; the first connection must succeed.

    Args:
        addresses: Where servers are; each is tried once.
        token: The token, or what reads it, if there is one.
        ca: PEM file with the authorities to trust; those of the system if None.
        patience: Seconds that each attempt may take.
        on_disconnect: Told when a connection has ended that stood, and of attempts to come back.
        options: More options of `wse_client.Client`.

    Raises:
        CliError: No connection, or what is done within the block fails with an error of the client.
    """
    from wse_client import Client, ClientError, ConnectError

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
