"""What is measured: servers with so many connections, and what more of one thing costs."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wse_server.cli.bench import machine
from wse_server.cli.bench.target import PORTS_OF_AN_ADDRESS
from wsebench import proc
from wsebench.process import CLIENT_CPU, SERVER_CPU, Child, DiedError

HERE = Path(__file__).resolve().parent
MIB = 1 << 20
SIZE = 1024  # the guide's table is for messages of 1 KB


@dataclass(frozen=True)
class Scale:
    """How large a run is.

    Attributes:
        few: Connections from which slopes are taken.
        many: Connections up to which they are taken.
        fan: Subscribers of one topic, for the cost of a delivery.
        seconds: How long CPU is measured, of rows.
        rate: Messages of a connection each second meanwhile; a short run has no time for one.
        rounds: How often, for half as long, the cost of a message is measured. The least counts: whoever else
            uses the machine only adds.
        warm_up_s: How long work goes on before that.
        settle_s: How long nothing happens before memory is measured.
        per_server: Connections of one server process, which the limit of descriptors decides.
    """

    few: int = 1000
    many: int = 9000
    fan: int = 1000
    seconds: float = 8.0
    rate: float = 1.0
    rounds: int = 4
    warm_up_s: float = 1.5
    settle_s: float = 0.5
    per_server: int = 17_000


FULL = Scale()
SHORT = Scale(
    few=20, many=220, fan=20, seconds=0.3, rate=20.0, rounds=1, warm_up_s=0.1, settle_s=0.05, per_server=40
)


@dataclass(frozen=True)
class Point:
    """What a number of connections took, measured.

    Bytes and CPU are those of all server processes together, kernel memory that of their ends of connections.
    """

    connections: int
    servers: int
    budget_bytes: int
    history_bytes: int
    base_bytes: int
    user_bytes: int
    kernel_bytes: int
    storm_s: float
    handshake_p99_ms: float
    connect_cpu_us: float
    messages_per_s: float
    asked_per_s: float
    cores: float
    late_p99_ms: float
    problems: list[str]
    load_average: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Program(Child):
    """A child that answers a JSON object for each that it is given."""

    def ask(self, timeout: float = 60, **request: object) -> dict[str, Any]:
        self.put(**request)
        return self.answer(timeout)

    def put(self, **request: object) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def answer(self, timeout: float = 60) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.line(timeout))
        return answer


class Bench:
    """Starts servers and clients, each with a core of its own where there are two.

    Args:
        python: Interpreter with the build that is measured.
        clients_python: Interpreter of the clients.
        scale: How large the run is.
    """

    def __init__(self, python: str, clients_python: str, scale: Scale) -> None:
        self.python = python
        self.clients_python = clients_python
        self.scale = scale
        cpus = sorted(os.sched_getaffinity(0))
        self._server_cpu = cpus[SERVER_CPU]
        self._client_cpu = cpus[min(CLIENT_CPU, len(cpus) - 1)]

    @contextmanager
    def server(self, connections: int, budget: int) -> Iterator[tuple[Program, int]]:
        """A server, and its port."""
        options = {"max_connections": connections + 16, "recovery_memory_budget": budget}
        command = [self.python, "-P", str(HERE / "server.py"), json.dumps(options)]
        with Program(command, self._server_cpu) as server:
            yield server, server.answer()["port"]

    @contextmanager
    def clients(self) -> Iterator[Program]:
        """A process of clients that are still to connect."""
        with Program([self.clients_python, "-P", str(HERE / "clients.py")], self._client_cpu) as clients:
            clients.ask(do="hello")
            yield clients
            # Killed, it would leave its ports to the kernel for a minute, which slows the next storm.
            clients.ask(do="stop")


def point(bench: Bench, connections: int, budget: int, rate: float) -> Point:
    """So many connections, each with a topic and saying `rate` messages a second; histories are full."""
    scale = bench.scale
    servers = -(-connections // scale.per_server)
    shares = [connections // servers + (number < connections % servers) for number in range(servers)]
    problems: list[str] = []
    with ExitStack() as stack:
        running = [stack.enter_context(bench.server(share, budget // servers)) for share in shares]
        programs = [server for server, _ in running]
        base = sum(_memory(server) for server in programs)
        filled = [
            server.ask(do="fill", topics=share, size=SIZE, enough=int(budget / servers * 0.97))
            for server, share in zip(programs, shares, strict=True)
        ]
        loads = [stack.enter_context(bench.clients()) for _ in shares]
        ports = [port for _, port in running]
        cpu = _cpu(programs)
        start = time.monotonic()
        for number, (load, (_, port), share) in enumerate(zip(loads, running, shares, strict=True)):
            sources = _addresses(number, share)
            load.put(do="connect", port=port, clients=share, size=SIZE, rate=share * rate, sources=sources)
        connected = [load.answer(120) for load in loads]
        storm = time.monotonic() - start
        connect_cpu = _cpu(programs) - cpu
        _look(connected, connections, problems)
        time.sleep(scale.settle_s)
        idle = _kernel(ports)
        worked = _work(loads, programs, scale, ports)
        user = max(worked.user, sum(_memory(server) for server in programs))
        problems += worked.problems
    return Point(
        connections=connections,
        servers=servers,
        budget_bytes=budget,
        history_bytes=sum(answer["bytes"] for answer in filled),
        base_bytes=base,
        user_bytes=user,
        kernel_bytes=max(idle, worked.kernel),
        storm_s=round(storm, 3),
        handshake_p99_ms=max(answer["connecting_p99_ms"] or 0.0 for answer in connected),
        connect_cpu_us=round(connect_cpu / connections * 1e6, 2),
        messages_per_s=round(worked.messages_per_s, 1),
        asked_per_s=connections * rate,
        cores=round(worked.cores, 4),
        late_p99_ms=worked.late_p99_ms,
        problems=problems,
        load_average=machine.load_average(),
    )


def _addresses(number: int, clients: int) -> list[str]:
    """Where the clients of one program come from: addresses of its own, none of them for too many.

    Linux is slow to find a port once half of those of an address are taken, wherever to.
    """
    count = -(-clients // PORTS_OF_AN_ADDRESS)
    return [f"127.0.{number + 1}.{index + 1}" for index in range(count)]


@dataclass
class Worked:
    """What was seen while the clients worked."""

    user: int
    kernel: int
    messages_per_s: float
    cores: float
    late_p99_ms: float
    problems: list[str]


def _work(loads: list[Program], servers: list[Program], scale: Scale, ports: Sequence[int] = ()) -> Worked:
    for load in loads:
        load.ask(do="begin")
    time.sleep(scale.warm_up_s)
    before = [load.ask(do="reset") for load in loads]
    cpu, start = _cpu(servers), time.monotonic()
    user = 0
    while (left := start + scale.seconds - time.monotonic()) > 0:
        time.sleep(min(left, 1.0))
        user = max(user, sum(_memory(server) for server in servers))
    took = time.monotonic() - start
    cores = (_cpu(servers) - cpu) / took
    # Afterwards, for to look at each socket takes CPU too; messages flow all the same.
    kernel = _kernel(ports)
    after = [load.ask(do="rest") for load in loads]
    span = after[0]["now"] - before[0]["now"]
    received = sum(answer["received"] for answer in after)
    problems = []
    for answer in after:
        problems += [f"{count} messages {what}" for what in ("lost", "doubled") if (count := answer[what])]
        problems += [f"{what}: {count}" for what, count in {**answer["ended"], **answer["refused"]}.items()]
    late = max(answer["late_p99_ms"] or 0.0 for answer in after)
    return Worked(user, kernel, received / span, cores, late, problems)


def _look(answers: list[dict[str, Any]], wanted: int, problems: list[str]) -> None:
    ready = sum(answer["ready"] for answer in answers)
    if ready != wanted:
        failed = {reason: count for answer in answers for reason, count in answer["failed"].items()}
        problems.append(f"{ready} of {wanted} clients connected: {failed}")


def _memory(server: Program) -> int:
    """Resident memory. Of several servers that is too much: code that they share counts for each of them."""
    try:
        return proc.resident_bytes(server.pid)
    except OSError:
        raise DiedError("a server has gone") from None


def _kernel(ports: Sequence[int]) -> int:
    """What the kernel has for the servers' ends of their connections."""
    total = 0
    for port in ports:
        found = machine.kernel_socket_bytes(port)
        if found is None:
            raise DiedError(
                "kernel memory can't be seen: that takes root, /proc/slabinfo, and ss from iproute2"
            )
        total += found
    return total


def _cpu(servers: list[Program]) -> float:
    return sum(proc.cpu_seconds(server.pid) for server in servers)


# ---- Slopes ----


def slopes(bench: Bench) -> dict[str, float]:
    """What one more of each thing costs: connections, topics, messages, bytes."""
    scale = bench.scale
    shared = _memory_slope(bench, topics=max(scale.few // 10, 1))
    own = _memory_slope(bench, topics=0)
    found = {
        "base_bytes": shared["base"],
        "user_bytes_per_connection": shared["user"],
        "kernel_bytes_per_connection": shared["kernel"],
        "user_bytes_per_topic": max(own["user"] - shared["user"], 0.0),
    }
    found |= _history(bench)
    small, large = SIZE, 8 * SIZE
    kib = (large - small) / 1024
    # Rates at which a thread has always something to do, for at lower ones each message pays for a wake; and
    # which a core can do by far, for a server that is behind pays for full buffers.
    fan = [_fan_cost(bench, small, scale.fan * 20.0), _fan_cost(bench, large, scale.fan * 4.0)]
    said = [_said_cost(bench, small, scale.few * 10.0), _said_cost(bench, large, scale.few * 1.0)]
    delivered_kib = max((fan[1] - fan[0]) / kib, 0.0)
    said_kib = max((said[1] - said[0]) / kib, 0.0)
    # What is said is published and delivered once.
    published, published_kib = said[0] - fan[0], max(said_kib - delivered_kib, 0.0)
    found |= {
        "cpu_us_per_delivery": fan[0] - delivered_kib,
        "cpu_us_per_delivered_kib": delivered_kib,
        "cpu_us_per_publication": max(published - published_kib, 0.0),
        "cpu_us_per_published_kib": published_kib,
    }
    return {name: round(value, 3) for name, value in found.items()}


def _memory_slope(bench: Bench, topics: int) -> dict[str, float]:
    """User and kernel memory of a connection with one subscription, from few connections to many."""
    scale = bench.scale
    more = scale.many - scale.few
    with (
        bench.server(scale.many, 64 * MIB) as (server, port),
        bench.clients() as few,
        bench.clients() as rest,
    ):
        base = _memory(server)
        few.ask(do="connect", port=port, clients=scale.few, topics=topics)
        time.sleep(scale.settle_s)
        user = _memory(server)
        # Where each client has a topic of its own, these have others.
        prefix = "c" if topics else "d"
        answer = rest.ask(do="connect", port=port, clients=more, topics=topics, prefix=prefix)
        if answer["ready"] != more:
            raise DiedError(f"{answer['ready']} of {more} clients connected: {answer['failed']}")
        time.sleep(scale.settle_s)
        return {
            "base": float(base),
            "user": (_memory(server) - user) / more,
            "kernel": _kernel([port]) / scale.many,
        }


def _history(bench: Bench) -> dict[str, float]:
    """What the process grows by when histories take their budget, and what a message of 1 KB takes of it."""
    budget = 128 * MIB if bench.scale is FULL else 8 * MIB
    with bench.server(16, budget) as (server, _):
        before = _memory(server)
        answer = server.ask(do="fill", topics=100_000, size=SIZE, enough=int(budget * 0.9))
        grown = _memory(server) - before
        return {
            "memory_per_history_byte": grown / answer["bytes"],
            "history_bytes_per_message": answer["bytes"] / answer["published"] - SIZE,
        }


def _fan_cost(bench: Bench, size: int, deliveries_per_s: float) -> float:
    """Microseconds of CPU of a delivery to one of many subscribers, the publication spread over them."""
    fan = bench.scale.fan
    with bench.server(fan + 1, 64 * MIB) as (server, port), bench.clients() as load:
        load.ask(
            do="connect",
            port=port,
            clients=fan,
            size=size,
            topics=1,
            rate=deliveries_per_s / fan,
            publisher=True,
        )
        return _cost(server, load, bench.scale)


def _said_cost(bench: Bench, size: int, rate: float) -> float:
    """Microseconds of CPU of a message that a client publishes and one client hears."""
    clients = bench.scale.few
    with bench.server(clients, 64 * MIB) as (server, port), bench.clients() as load:
        load.ask(do="connect", port=port, clients=clients, size=size, rate=rate)
        return _cost(server, load, bench.scale)


def _cost(server: Program, load: Program, scale: Scale) -> float:
    least = float("inf")
    for _ in range(scale.rounds):
        worked = _work([load], [server], dataclasses.replace(scale, seconds=scale.seconds / 2))
        if not worked.messages_per_s:
            raise DiedError(f"nothing was delivered: {worked.problems}")
        least = min(least, worked.cores / worked.messages_per_s * 1e6)
    return least
