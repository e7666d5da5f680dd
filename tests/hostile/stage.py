"""A server under attack with healthy clients beside it, and what all of them must keep to.

On a `Stage` an attack runs in a process of its own. Meanwhile a hundred clients must get everything in order
within `LATEST` seconds, newcomers must be let in, the server's memory must stay under the limit that the test
states, and its log must be quiet. When the attackers have gone, so must be their descriptors.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from hostile import SCALE, program
from hostile.healthy import Healthy
from server_process import ServerProcess
from sockets import Client
from support import PATIENCE, wait_until

P = ParamSpec("P")
T = TypeVar("T")

KIB, MIB = 1 << 10, 1 << 20
HEALTHY = 100
LATEST = 5.0
"""Seconds within which each message reaches everybody, and a newcomer is let in."""
RATE = 20.0
"""Messages a second to each healthy client."""
RECORD = KIB
"""Bytes of a connection that holds nothing: its record and its place in lists, measured below this."""
SLACK = 8 * MIB
"""Bytes that the memory may grow for other reasons: Python's lists of events, free pages."""
OVERSHOOT = 8 * MIB
"""Bytes of answers that the threads may make in a slice of reading, before limits are looked at."""
ALLOCATOR = 24 * MIB
"""Bytes freed in a burst that the allocator gives back to the system only later."""
DESCRIPTORS = 20_000
STARTING = ("listening", "jwt_secret is not set")
"""What the log says at a start."""

OPTIONS: dict[str, Any] = {
    "max_connections": 20_000,
    "handshake_timeout": 1.5,
    "ping_interval": 0.7,
    "idle_timeout": 2.0,
    "max_message_size": 64 * KIB,
    "max_outbound_queue_bytes": MIB,
    "max_outbound_total_bytes": 16 * MIB,
    "max_inbound_queue_bytes": 16 * MIB,
}
"""Small limits and short deadlines, so that an attack reaches them within seconds."""


def attackers_pool() -> ProcessPoolExecutor:
    """Returns the process that the attacks run in."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_allow_many_descriptors)


def _allow_many_descriptors() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@dataclass
class Seen:
    """What was measured during an attack."""

    seconds: float
    memory: int
    """Bytes that the server grew at the most."""
    cpu: float
    """Share of a core that the server used."""
    newcomer: float
    """The longest that a newcomer waited to be let in, in seconds."""


class Stage:
    """A server with healthy subscribers, for one attack. See `stage`."""

    def __init__(self, node: ServerProcess, healthy: Healthy, pool: ProcessPoolExecutor) -> None:
        self.node = node
        self.healthy = healthy
        self._pool = pool
        self._base = node.resident()
        self._descriptors = self.descriptors()
        self._started = time.monotonic()

    def descriptors(self) -> int:
        """Returns how many the server's process has open."""
        return sum(1 for _ in Path(f"/proc/{self.node.pid}/fd").iterdir())

    def _cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.node.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def under(
        self,
        attack: Callable[Concatenate[int, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> tuple[T, Seen]:
        """Runs an attack to its end, with newcomers meanwhile; returns its answer and what was seen."""
        started, cpu = time.monotonic(), self._cpu_seconds()
        running: Future[T] = self._pool.submit(attack, self.node.port, *args, **kwargs)
        longest = 0.0
        while not running.done():
            asked = time.monotonic()
            with Client(self.node.port, "newcomer") as newcomer:
                newcomer.send("hello")
            longest = max(longest, time.monotonic() - asked)
            futures.wait([running], 0.1)
        seconds = time.monotonic() - started
        seen = Seen(
            seconds,
            self.node.peak() - self._base,
            (self._cpu_seconds() - cpu) / seconds,
            longest,
        )
        return running.result(), seen

    def check(self, seen: Seen, memory: int) -> None:
        """Fails if the attack moved anybody.

        Args:
            seen: What `under` saw.
            memory: How many bytes the server may have grown for the sake of the attackers, `SLACK` apart.
        """
        self._wait_for_descriptors()
        self.node.do(program.stop)
        published = self.published.result(PATIENCE)
        self.healthy.wait_for(published, LATEST)
        lines = [
            line for line in self.node.do(program.log_lines) if not any(word in line for word in STARTING)
        ]
        seconds = time.monotonic() - self._started
        delays = sorted(self.healthy.delays)
        print(
            f"{seen.seconds:.1f} s, server at {seen.cpu:.2f} of a core; {len(delays)} messages, "
            f"p99 {delays[len(delays) * 99 // 100] * 1e3:.1f} ms, latest {delays[-1] * 1e3:.0f} ms; "
            f"newcomer {seen.newcomer * 1e3:.0f} ms; memory +{seen.memory / MIB:.1f} MiB of "
            f"{(memory + SLACK) / MIB:.1f}; {len(lines)} lines in {seconds:.1f} s"
        )
        assert delays[-1] < LATEST, f"a message came after {delays[-1]:.1f} s"
        assert seen.newcomer < LATEST, f"a newcomer waited {seen.newcomer:.1f} s"
        assert seen.memory <= memory + SLACK, f"grew by {seen.memory} bytes, {memory} and slack allowed"
        assert len(lines) < max(seconds, 2), f"{len(lines)} lines in {seconds:.1f} s: {lines[:10]}"

    def _wait_for_descriptors(self) -> None:
        wait_until(
            lambda: self.descriptors() <= self._descriptors,
            f"descriptors do not come back to {self._descriptors}",
            15.0,
        )
        assert self.node.do(program.connections) == HEALTHY
        self.healthy.check()

    def publish(self, rate: float, size: int) -> None:
        """Begins to publish to the healthy."""
        self.published: Future[int] = self.node.begin(program.publish, rate, size)
        self.healthy.wait_for(1, PATIENCE)


@contextmanager
def stage(
    pool: ProcessPoolExecutor, *, rate: float = RATE, size: int = 100, **options: Any
) -> Iterator[Stage]:
    """Starts a server with `OPTIONS` and these, connects the healthy clients and publishes to them.

    Args:
        pool: Where attacks run.
        rate: Messages a second.
        size: Bytes of a message.
        options: Options of the server.
    """
    with ExitStack() as together:
        node = together.enter_context(ServerProcess(drain=False, **{**OPTIONS, **options}))
        node.do(program.begin, DESCRIPTORS)
        healthy = together.enter_context(Healthy(node.port, HEALTHY))
        wait_until(lambda: node.do(program.subscribers) == HEALTHY, "not everybody is subscribed")
        it = Stage(node, healthy, pool)
        it.publish(rate, size)
        yield it


def scaled(count: int) -> int:
    """Returns a number of attackers, `HOSTILE_SCALE` times as many, as far as descriptors go."""
    return min(int(count * SCALE), 15_000)


def lasting(seconds: float) -> float:
    """Returns how long an attack lasts that has no end of its own."""
    return seconds * SCALE
