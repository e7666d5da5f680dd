"""The servers and clients of one sample, with everything that all measurements share."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from wsebench import proc, tokens
from wsebench.model import Sample
from wsebench.process import DiedError, Load, Server, pairs
from wsebench.sides import BUILD, Side

CONNECT_LIMIT_S = 90
# Upgrades under way at the same time where connecting is not what is measured: fewer than the 128 that the
# earlier release's listener can keep waiting, so that no client waits a second for its second try.
GENTLE_WINDOW = 64
# The earlier release takes two descriptors per client: with 20,000 allowed, the last few of 10,000 get none.
ENOUGH = 0.99
# Formatting at 512 messages a send is where the floor stops getting faster.
FLOOR_BATCH = 512
# What others may use of the machine before a sample counts as disturbed.
QUIET_CORES = 0.15
CLIENT_FULL = 0.95


@dataclass
class Bench:
    """What one run of the benchmark was asked for."""

    wsload: Path
    seconds: float
    idle_seconds: float
    patience: float

    @contextmanager
    def serve(
        self,
        side: Side,
        work: str,
        *,
        clients: int = 1,
        rate: float = 0,
        jwt: bool = False,
        subscribe: bool = False,
        more: Sequence[str] = (),
    ) -> Iterator[Server]:
        """A fresh server of that side doing that work; gone at the end of the block, whatever happens."""
        port = proc.free_port()
        if side.is_floor:
            arguments = [str(port), *_floor_arguments(work, rate)]
        else:
            arguments = [str(port), work, "--clients", str(clients)]
            arguments += ["--rate", str(rate)] if rate else []
            arguments += ["--jwt-secret", tokens.SECRET] if jwt else []
            arguments += ["--subscribe"] if subscribe else []
            arguments += more
        with Server([*side.program, *arguments], port) as server:
            try:
                server.wait_until_ready()
                yield server
            except DiedError as error:
                error.peak_mb = server.highest / proc.MIB
                raise

    @contextmanager
    def clients(
        self,
        server: Server,
        mode: str,
        count: int,
        seconds: float,
        *,
        payload: str = "",
        header: str = "",
        first_user: int | None = None,
        path: str = "/wse",
        settings: Mapping[str, float] = MappingProxyType({}),
        beside: int | None = None,
    ) -> Iterator[tuple[Load, dict[str, float]]]:
        """Connected clients, and what their connecting cost. `settings` become WSLOAD_ variables.

        What the process `beside` uses of the machine does not count as a disturbance.
        """
        settings = {"window": GENTLE_WINDOW, **settings}
        environment = {f"WSLOAD_{key.upper()}": f"{value:g}" for key, value in settings.items()}
        environment["WSLOAD_SRVPID"] = f"{server.pid},{beside}" if beside else str(server.pid)
        environment["WSLOAD_CONNECT_LIMIT"] = str(CONNECT_LIMIT_S)
        if first_user is not None:
            file = tokens.write_headers(BUILD / f"headers-{first_user}.txt", first_user, count)
            environment["WSLOAD_HEADERS"] = str(file)
        command = [
            str(self.wsload),
            mode,
            "127.0.0.1",
            str(server.port),
            path,
            str(count),
            str(seconds),
            header,
            payload,
        ]
        with Load(command, environment) as load:
            connected = pairs(load.line(CONNECT_LIMIT_S + 30))
            server.check()
            if connected.get("connected", 0) < ENOUGH * count:
                raise DiedError(f"only {connected.get('connected', 0):.0f} of {count} clients could connect")
            yield load, connected

    def run(
        self,
        server: Server,
        mode: str,
        count: int,
        *,
        payload: str = "",
        header: str = "",
        path: str = "/wse",
        check_seq: bool = False,
        arrival: bool = False,
        beside: int | None = None,
    ) -> dict[str, float]:
        """Connect, measure for the usual time, and return all numbers of the client.

        With `arrival` latencies end when the kernel has a message for the client, whenever it gets its turn.
        """
        settings = {"seq": 1.0} if check_seq else {}
        settings |= {"arrival": 1.0} if arrival else {}
        connected = self.clients(
            server,
            mode,
            count,
            self.seconds,
            payload=payload,
            header=header,
            path=path,
            settings=settings,
            beside=beside,
        )
        with connected as (load, first):
            result = first | pairs(load.line(self.seconds + 30))
        server.check()
        return result

    def wait_for_quiet(self) -> float:
        """Wait until the machine is quiet or patience ends. Returns how many cores others keep busy."""
        deadline = time.monotonic() + self.patience
        while True:
            busy = proc.busy_cores()
            if busy < QUIET_CORES or time.monotonic() >= deadline:
                return busy
            time.sleep(1)


def _floor_arguments(work: str, rate: float) -> list[str]:
    return {
        "flood": [str(FLOOR_BATCH)],
        "many": [str(FLOOR_BATCH), "0", "ready"],
        "paced": ["1", str(rate)],
        "echo": ["0"],
        "idle": ["0"],
    }[work]


def describe(result: dict[str, float], sample: Sample) -> Sample:
    """Add to a sample what a reader should know about how it came about."""
    if result.get("closed"):
        sample.problems.append(f"{result['closed']:.0f} clients were cut off")
    if result.get("failed"):
        sample.problems.append(f"{result['failed']:.0f} clients could not connect")
    if result.get("gaps"):
        sample.problems.append(f"{result['gaps']:.0f} messages were lost")
    if result.get("dups"):
        sample.problems.append(f"{result['dups']:.0f} messages came twice or out of order")
    disturbance = max(result.get("client_delay", 0), abs(result.get("other_cpu", 0)))
    if disturbance > QUIET_CORES:
        sample.disturbed = f"others used {disturbance:.2f} of a core"
    sample.figures["client_cpu_percent"] = result.get("client_cpu", 0) * 100
    return sample


def wait_for_count(server: Server, key: str, count: int, timeout: float = 30) -> None:
    """Wait until the server's Python program has seen so many.

    Raises:
        DiedError: it never did.
    """
    deadline = time.monotonic() + timeout
    while (seen := server.ask(do="stats")[key]) < count:
        if time.monotonic() > deadline:
            raise DiedError(f"the program saw {seen} {key} of {count} in {timeout:.0f} s")
        time.sleep(0.1)
