"""A server in a process of its own, so that its memory can be looked at and its GIL is nobody else's.

The test steers it with jobs: functions of a module, which get the `Host` first and run in threads of that
process.
"""

from __future__ import annotations

import itertools
import multiprocessing
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from support import HOST, PATIENCE, Event
from wse_server import RustWSEServer

P = ParamSpec("P")
T = TypeVar("T")


class Host:
    """What a job works with.

    Attributes:
        server: The server, started, in drain mode.
        events: What was drained so far.
    """

    def __init__(self, host: str, port: int, options: dict[str, Any]) -> None:
        self.server = RustWSEServer(host, port, **options)
        self.server.enable_drain_mode()
        self.server.start()
        self.events: list[Event] = []
        self._named: dict[str, list[str]] = {}
        self._arrived = threading.Condition()

    def drain(self) -> None:
        """Drains from now on, in a thread of its own."""
        threading.Thread(target=self._drain, name="drain", daemon=True).start()

    def _drain(self) -> None:
        while True:
            batch = self.server.drain_inbound(4096, 50)
            with self._arrived:
                self.events.extend(batch)
                for kind, conn_id, data in batch:
                    if kind in {"connect", "auth_connect"}:
                        self._named.setdefault(data.removeprefix("name="), []).append(conn_id)
                self._arrived.notify_all()

    def times(self, name: str) -> int:
        """How often a client with this name was seen to connect."""
        with self._arrived:
            return len(self._named.get(name, ()))

    def conn_id(self, name: str, times: int = 1) -> str:
        """Waits until a client with this name has connected and returns the id of its last connection.

        Args:
            name: What its cookie `name` or its token says.
            times: How often it has connected then. Who gives a name again counts, lest it gets the id of the
                connection before, of which the events may be all that was drained so far.
        """

        def has_come() -> bool:
            return len(self._named.get(name, ())) >= times

        with self._arrived:
            assert self._arrived.wait_for(has_come, PATIENCE), f"{name} has not connected"
            return self._named[name][-1]

    def wait(self, kind: str, count: int, timeout: float) -> list[Event]:
        """Waits for `count` events of this kind, counted from the start, and returns them."""
        found: list[Event] = []

        def enough() -> bool:
            found[:] = [event for event in self.events if event[0] == kind]
            return len(found) >= count

        with self._arrived:
            assert self._arrived.wait_for(enough, timeout), (
                f"{len(found)} of {count} {kind} after {timeout} s"
            )
            return found

    def subscribe(self, topics: dict[str, list[str]]) -> None:
        """Subscribes clients, by name."""
        for name, wanted in topics.items():
            answer = self.server.subscribe_connection(self.conn_id(name), wanted)
            assert answer["subscribed"] == wanted, answer


class ServerProcess:
    """A started server in another process. Ends with the `with` block.

    Args:
        drain: Whether events are drained from the start.
        host: Where it listens.
        port: The port, 0 for any.
        python: A program that runs Python somewhere else, for example in another network; as `sys.executable`
            if None.
        options: Options of the server.
    """

    def __init__(
        self,
        *,
        drain: bool = True,
        host: str = HOST,
        port: int = 0,
        python: str | None = None,
        **options: Any,
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, host, port, options, drain)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        with _executable(python):
            self._process.start()
        theirs.close()
        assert self._pipe.poll(PATIENCE), "the process with the server did not start"
        self.port: int = self._pipe.recv()
        self._numbers = itertools.count()
        self._pending: dict[int, Future[Any]] = {}
        self._sending = threading.Lock()
        self._reader = threading.Thread(target=self._read_answers, name="answers", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The id of the process."""
        assert self._process.pid is not None
        return self._process.pid

    def begin(self, job: Callable[Concatenate[Host, P], T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Starts a job in a thread of the server's process."""
        future: Future[T] = Future()
        with self._sending:
            number = next(self._numbers)
            self._pending[number] = future
            self._pipe.send((number, job, args, kwargs))
        return future

    def do(self, job: Callable[Concatenate[Host, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a job to its end and returns what it returns."""
        return self.begin(job, *args, **kwargs).result(PATIENCE)

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the method
        """Calls a method of the server."""
        return self.do(_call, method, args, kwargs)

    def subscribe(self, topics: dict[str, list[str]]) -> None:
        """Subscribes clients, by name, as soon as they have connected."""
        self.do(Host.subscribe, topics)

    def conn_id(self, name: str) -> str:
        """Waits until the client with this name has connected and returns its connection id."""
        return self.do(Host.conn_id, name)

    def wait(self, kind: str, count: int = 1, timeout: float = PATIENCE) -> list[Event]:
        """Waits for `count` events of this kind, counted from the start, and returns them."""
        return self.begin(Host.wait, kind, count, timeout).result(timeout + PATIENCE)

    def resident(self) -> int:
        """Returns the bytes of memory that the process occupies, and begins a new `peak`."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        return self._status("VmRSS")

    def peak(self) -> int:
        """Returns the most that the process occupied since the last `resident`."""
        return self._status("VmHWM")

    def _status(self, key: str) -> int:
        found = re.search(rf"{key}:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert found is not None
        return int(found[1]) * 1024

    def _read_answers(self) -> None:
        while True:
            try:
                number, succeeded, answer = self._pipe.recv()
            except (EOFError, OSError):
                for future in self._pending.values():
                    future.set_exception(RuntimeError("the process with the server has ended"))
                return
            future = self._pending.pop(number)
            future.set_result(answer) if succeeded else future.set_exception(answer)

    def close(self) -> int | None:
        """Stops the server and ends the process; returns its exit status, None if it had to be killed."""
        with suppress(BrokenPipeError), self._sending:
            self._pipe.send(None)
        self._process.join(PATIENCE)
        ended = self._process.exitcode
        if ended is None:
            self._process.kill()
            self._process.join()
        self._reader.join(PATIENCE)
        self._pipe.close()
        self._process.close()
        return ended

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ended = self.close()
        if kind is None:
            assert ended == 0, (
                f"the process with the server {'hung' if ended is None else f'ended with {ended}'}"
            )


def _call(host: Host, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
    return getattr(host.server, method)(*args, **kwargs)


@contextmanager
def _executable(python: str | None) -> Iterator[None]:
    """Lets processes that are started in the block run with another program than this one."""
    if python is None:
        yield
        return
    # This one outlives the block, and belongs to all.
    resource_tracker.ensure_running()
    multiprocessing.set_executable(python)
    try:
        yield
    finally:
        multiprocessing.set_executable(sys.executable)


def _serve(pipe: Connection, address: str, port: int, options: dict[str, Any], drain: bool) -> None:
    """What the process does."""
    host = Host(address, port, options)
    if drain:
        host.drain()
    pipe.send(host.server.port)
    sending = threading.Lock()

    def work(number: int, job: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            answer = (number, True, job(host, *args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the test's
            answer = (number, False, error)
        with sending:
            pipe.send(answer)

    while True:
        try:
            request = pipe.recv()
        except EOFError:
            request = None
        if request is None:
            host.server.stop()
            return
        threading.Thread(target=work, args=request, daemon=True).start()


# ---- Jobs that several tests have use for ----


def publish(host: Host, topic: str, messages: list[str], times: int = 1) -> float:
    """Publishes the messages in order, `times` over, and returns the seconds it took."""
    started = time.monotonic()
    for _ in range(times):
        host.server.broadcast_many(topic, messages)
    return time.monotonic() - started


def health(host: Host) -> dict[str, Any]:
    """Returns the server's health snapshot."""
    return dict(host.server.health_snapshot())
