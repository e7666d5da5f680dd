"""The server that is measured: the one at an address, or one of its own."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, cast

from wse_server.cli.address import Address, parse_address
from wse_server.cli.bench import machine, own_server
from wse_server.cli.bench.settings import Settings
from wse_server.cli.errors import CliError, ExitCode
from wse_server.cli.probe import unreachable

__all__ = ["Target", "check_ports", "resolve", "sources", "target"]


@dataclass(frozen=True)
class Target:
    """The server that is measured.

    Attributes:
        address: As a person wrote it.
        ip: The address that is connected to.
        own: Whether it was started for this.
        pid: Its process, if it is one of this machine and known.
    """

    address: Address
    ip: str
    own: bool
    pid: int | None

    @property
    def local(self) -> bool:
        """Whether both ends of a connection are on this machine."""
        return ipaddress.ip_address(self.ip).is_loopback


PORTS_OF_AN_ADDRESS = 10_000
"""Of about 28,000, for Linux looks through half of them first and is slow once these are taken."""


def sources(target: Target, settings: Settings) -> list[str]:
    """Where clients come from: what was asked for, or as many addresses of loopback as they need."""
    if settings.sources or not target.local or ":" in target.ip or sys.platform != "linux":
        return list(settings.sources)
    count = -(-settings.clients // PORTS_OF_AN_ADDRESS)
    return [f"127.0.0.{number}" for number in range(1, min(count, 250) + 1)] if count > 1 else []


def check_ports(target: Target, settings: Settings) -> None:
    """Finds out whether there are ports for so many connections.

    Raises:
        CliError: There are not, with exit code 2.
    """
    ports = machine.free_ports() * max(len(sources(target, settings)), 1)
    if settings.clients > ports:
        raise CliError(
            f"{settings.clients:,} connections to one port come from as many ports, and there are {ports:,}",
            hint="--source-addresses with several addresses of this machine",
            code=ExitCode.USAGE,
        )


@contextlib.contextmanager
def target(settings: Settings) -> Iterator[Target]:
    """Finds the server, or starts one and ends it with the context.

    Raises:
        CliError: It has no address, or it did not start.
    """
    if settings.address is not None:
        ip = resolve(settings.address)
        if settings.pid is not None and machine.resident_bytes(settings.pid) is None:
            raise CliError(
                f"--pid {settings.pid}: there is no such process, or it may not be looked at",
                code=ExitCode.USAGE,
            )
        local = ipaddress.ip_address(ip).is_loopback
        pid = settings.pid or (machine.listener_pid(settings.address.port) if local else None)
        yield Target(settings.address, ip, False, pid)
        return
    with _own_server(settings) as (port, pid):
        yield Target(parse_address(f"ws://127.0.0.1:{port}/wse"), "127.0.0.1", True, pid)


def resolve(address: Address) -> str:
    """The IP address of a server.

    Raises:
        CliError: It wants TLS, which the load generator does not speak, or it has no address.
    """
    if address.secure:
        raise CliError(
            f"{address.websocket}: the load generator speaks no TLS",
            hint="measure the port behind the proxy: TLS is what the proxy does",
            code=ExitCode.USAGE,
        )
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise unreachable(address, error) from None
    return str(found[0][4][0])


@contextlib.contextmanager
def _own_server(settings: Settings) -> Iterator[tuple[int, int]]:
    kind = "echo" if settings.mode == "echo" else "plain"
    key = {} if settings.api_key is None else {own_server.API_KEY: settings.api_key}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(  # noqa: S603 - this interpreter
            [sys.executable, "-m", "wse_server.cli.bench.own_server", kind, str(settings.clients + 16)],
            env=os.environ | key,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            # Ctrl-C is for us: we end it, after our clients.
            start_new_session=True,
        )
        stdin, stdout = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
        with stdin, stdout:
            try:
                line = stdout.readline()
                if not line.strip().isdigit():
                    errors.seek(0)
                    last = errors.read().decode(errors="replace").strip().splitlines()[-1:]
                    raise CliError(
                        f"the server to be measured did not start: {''.join(last) or 'it said nothing'}"
                    )
                yield int(line), process.pid
            finally:
                stdin.close()
                _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
