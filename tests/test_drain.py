"""A server that is emptied: new clients are sent elsewhere, the others go one by one with all their due."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from documents import block
from sockets import CLOSE, Client, Frame
from support import HOST, PATIENCE, Peer, Program, Running, dial, wait_until
from wire import ask, plain
from wse_server import RustWSEServer, codes
from wse_server.types import DrainResult

Factory = Callable[..., Running]

DRAIN = codes.CloseCode.DRAIN


@contextmanager
def clients(running: Running, count: int, **options: Any) -> Iterator[list[Client]]:
    """Clients that read only when they are told to."""
    with ExitStack() as stack:
        all_of_them = [
            stack.enter_context(Client(running.port, f"c{number}", **options)) for number in range(count)
        ]
        running.events.wait("connect", count=count)
        yield all_of_them


@contextmanager
def reading(clients: Sequence[Client]) -> Iterator[list[Future[tuple[float, list[Frame]]]]]:
    """Lets each client read to its end in a thread of its own; tells when that came, and what it had read."""

    def read(client: Client) -> tuple[float, list[Frame]]:
        frames = client.frames_to_the_end(30)
        ended = time.monotonic()
        client.close()
        return ended, frames

    with ThreadPoolExecutor(len(clients)) as readers:
        yield [readers.submit(read, client) for client in clients]


def begin(running: Running, *args: Any, **kwargs: Any) -> Future[DrainResult]:
    """Starts a drain in a thread of its own, and waits until the door is closed."""
    executor = ThreadPoolExecutor(1)
    future = executor.submit(running.server.drain, *args, **kwargs)
    executor.shutdown(wait=False)
    wait_until(lambda: ask(running.port, plain("GET", "/ready")).status == 503, "not ready")
    return future


def told(frames: list[Frame]) -> dict[str, Any]:
    """The words before the close frame."""
    assert frames[-1].opcode == CLOSE
    word = json.loads(frames[-2].payload)
    assert (word["c"], word["t"], word["v"]) == ("WSE", "reconnect", 1)
    assert isinstance(word["p"], dict)
    return word["p"]


def test_everybody_is_told_and_closed(running: Running) -> None:
    peers = [running.dial() for _ in range(5)]
    with ThreadPoolExecutor(len(peers)) as readers:

        def read(peer: Peer) -> tuple[dict[str, Any], int]:
            return peer.receive_json(), peer.close_code()

        reading = [readers.submit(read, peer) for peer in peers]
        assert running.server.drain(timeout=1) == {"drained": 5, "cut": 0}
    for future in reading:
        word, code = future.result()
        assert word["t"] == "reconnect"
        assert word["p"]["reason"] == "draining"
        assert 0 <= word["p"]["retry_in_ms"] <= 1000
        assert code == DRAIN
    assert len(running.events.wait("disconnect", count=5)) == 5
    assert running.server.get_connection_count() == 0


def test_the_code_and_the_reason_are_the_callers(running: Running) -> None:
    with clients(running, 1) as (client,):
        draining = begin(running, 3001, 'update "7"', timeout=5)
        frames = client.frames_to_the_end()
        client.close()
        assert draining.result(10) == {"drained": 1, "cut": 0}
    assert told(frames)["reason"] == 'update "7"'
    assert frames[-1].close_code == 3001
    assert frames[-1].payload[2:].decode() == 'update "7"'


def test_without_clients_it_returns_at_once(running: Running) -> None:
    started = time.monotonic()
    assert running.server.drain(timeout=60) == {"drained": 0, "cut": 0}
    assert time.monotonic() - started < 5
    assert running.server.drain() == {"drained": 0, "cut": 0}


def test_a_server_that_does_not_run_has_nobody_to_drain() -> None:
    server = RustWSEServer(HOST, 0)
    assert server.drain() == {"drained": 0, "cut": 0}
    server.start()
    server.stop()
    assert server.drain() == {"drained": 0, "cut": 0}


def test_new_clients_are_sent_elsewhere_while_health_answers(running: Running) -> None:
    with clients(running, 1) as (client,):
        draining = begin(running, timeout=60)
        with pytest.raises(InvalidStatus) as refused:
            dial(running.url)
        assert refused.value.response.status_code == 503
        assert int(refused.value.response.headers["Retry-After"]) >= 1
        ready = ask(running.port, plain("GET", "/ready"))
        assert (ready.status, json.loads(ready.body)) == (503, {"ready": False, "reason": "draining"})
        health = ask(running.port, plain("GET", "/health"))
        assert health.status == 200
        assert json.loads(health.body)["draining"] is True
        assert json.loads(health.body)["ready"] is False
        assert b"\nwse_draining 1\n" in ask(running.port, plain("GET", "/metrics")).body
        client.close()
        assert draining.result(10) == {"drained": 1, "cut": 0}
    assert running.server.is_running()
    with pytest.raises(InvalidStatus):
        dial(running.url)


def test_start_after_stop_is_a_fresh_start(running: Running) -> None:
    running.server.drain()
    running.server.stop()
    running.server.start()
    assert ask(running.port, plain("GET", "/ready")).status == 200
    assert running.server.health_snapshot()["draining"] is False
    with dial(running.url):
        pass


def test_clients_are_spread_over_the_time(server_factory: Factory) -> None:
    running = server_factory(shards=2)
    with clients(running, 20) as everybody, reading(everybody) as ends:
        started = time.monotonic()
        assert running.server.drain(timeout=4) == {"drained": 20, "cut": 0}
        lasted = time.monotonic() - started
        goodbyes = [end.result() for end in ends]
    assert all(told(frames)["retry_in_ms"] <= 1000 for _, frames in goodbyes)
    assert len({told(frames)["retry_in_ms"] for _, frames in goodbyes}) > 5, "they come back all at once"
    # Over three seconds, the fourth is for the last answers; no half second of them sees half of the clients.
    came = sorted(at - started for at, _ in goodbyes)
    assert came[-1] > 2.5
    assert lasted < 4
    assert all(later - earlier > 0.5 for earlier, later in zip(came, came[10:], strict=False)), came


def test_a_client_that_never_answers_is_cut_when_time_is_up(running: Running) -> None:
    with clients(running, 3) as (silent, *others), reading(others):
        started = time.monotonic()
        assert running.server.drain(timeout=2) == {"drained": 2, "cut": 1}
        assert 1.9 < time.monotonic() - started < 4
        # Its kernel had room for the last words, so they are there.
        assert told(silent.frames_to_the_end())["reason"] == "draining"
        assert silent.ended == DRAIN


def test_a_client_that_does_not_read_its_backlog_is_cut(running: Running) -> None:
    with clients(running, 2, receive_buffer=4096) as (stuck, reader), reading([reader]) as (end,):
        for _, conn_id, _ in running.events.of("connect"):
            running.server.subscribe_connection(conn_id, ["t"])
        running.server.broadcast_many("t", ["x" * 100_000] * 80)
        assert running.server.drain(timeout=2) == {"drained": 1, "cut": 1}
        assert [len(frame.payload) for frame in end.result()[1][:-2]] == [100_000] * 80
        with suppress(OSError):
            stuck.frames_to_the_end()
        assert stuck.ended != DRAIN


def test_what_was_accepted_comes_before_the_last_words(running: Running) -> None:
    with clients(running, 1, receive_buffer=4096) as (client,):
        ((_, conn_id, _),) = running.events.of("connect")
        running.server.subscribe_connection(conn_id, ["t"])
        running.server.broadcast_many("t", [f"{number}:" + "x" * 10_000 for number in range(400)])
        running.server.send(conn_id, "to you alone")
        draining = begin(running, timeout=20)
        frames = client.frames_to_the_end()
        client.close()
        assert draining.result(10) == {"drained": 1, "cut": 0}
    assert [frame.payload.partition(b":")[0] for frame in frames[:-2]] == [
        *(str(number).encode() for number in range(400)),
        b"to you alone",
    ]
    assert told(frames)


def test_a_publisher_goes_on_and_nobody_misses_anything_before_the_end(running: Running) -> None:
    over = threading.Event()
    published: list[int] = []

    def publish() -> None:
        while not over.wait(0.001):
            running.server.broadcast("t", str(len(published)))
            published.append(len(published))

    with (
        clients(running, 12) as everybody,
        reading(everybody) as ends,
        ThreadPoolExecutor(1) as publisher,
    ):
        for _, conn_id, _ in running.events.of("connect"):
            running.server.subscribe_connection(conn_id, ["t"])
        publishing = publisher.submit(publish)
        wait_until(lambda: len(published) > 10, "nothing is published")
        try:
            assert running.server.drain(timeout=4) == {"drained": 12, "cut": 0}
        finally:
            over.set()
        publishing.result()
        lengths = []
        for end in ends:
            _, frames = end.result()
            assert told(frames)
            numbers = [int(frame.payload) for frame in frames[:-2]]
            assert numbers == published[: len(numbers)], "a gap, or out of order"
            lengths.append(len(numbers))
    assert 10 < min(lengths) < max(lengths) <= len(published)
    assert len(set(lengths)) > 6, "they did not leave one after the other"


def test_a_second_drain_hurries_the_first(running: Running) -> None:
    with clients(running, 6) as everybody, reading(everybody) as ends:
        # Its farewells are minutes apart: at most the first of each shard is told before the second drain.
        first = begin(running, timeout=600)
        second = running.server.drain(3999, "now", timeout=10)
        assert first.result(PATIENCE) == {"drained": 6, "cut": 0}
        codes_seen = [end.result()[1][-1].close_code for end in ends]
    assert second["cut"] == 0
    # Who had not been told before is told by the second, in its words.
    assert 4 <= codes_seen.count(3999) <= second["drained"]
    assert codes_seen.count(DRAIN) == 6 - codes_seen.count(3999)


def test_a_drain_without_time_ends_one_that_waits(running: Running) -> None:
    with clients(running, 2) as silent:
        started = time.monotonic()
        first = begin(running, timeout=60)
        assert running.server.drain(timeout=0) == {"drained": 0, "cut": 2}
        assert first.result(10) == {"drained": 0, "cut": 2}
        assert time.monotonic() - started < 4
        assert all(told(client.frames_to_the_end()) for client in silent)


def test_stop_ends_a_drain(running: Running) -> None:
    with clients(running, 6) as everybody, reading(everybody) as ends:
        started = time.monotonic()
        draining = begin(running, timeout=60)
        running.server.stop()
        assert draining.result(10) == {"drained": 6, "cut": 0}
        assert time.monotonic() - started < 8
        codes_seen = [end.result()[1][-1].close_code for end in ends]
    assert set(codes_seen) <= {DRAIN, codes.CloseCode.SERVICE_RESTART}
    assert codes_seen.count(codes.CloseCode.SERVICE_RESTART) >= 4
    assert not running.server.is_running()


def test_stop_counts_those_that_do_not_answer_as_cut(running: Running) -> None:
    with clients(running, 3):
        draining = begin(running, timeout=60)
        running.server.stop()
        assert draining.result(10) == {"drained": 0, "cut": 3}


def test_clients_that_go_by_themselves_are_not_waited_for(running: Running) -> None:
    with clients(running, 4) as everybody:
        draining = begin(running, timeout=60)
        server = running.server
        wait_until(lambda: server.health_snapshot()["draining_clients"] == 4, "it does not begin")
        for client in everybody:
            client.reset()
        assert draining.result(10) == {"drained": 4, "cut": 0}


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        ({"close_code": 1005}, ValueError, "close_code must be 1000-1003.*got 1005"),
        ({"close_code": 70000}, ValueError, "close_code must be .*got 70000"),
        ({"close_code": "4300"}, TypeError, "close_code"),
        ({"close_reason": "x" * 124}, ValueError, "close_reason must have at most 123 bytes"),
        ({"close_reason": 5}, TypeError, "close_reason"),
        ({"timeout": -1}, ValueError, "timeout must be .*got -1"),
        ({"timeout": math.nan}, ValueError, "timeout must be .*got NaN"),
        ({"timeout": math.inf}, ValueError, "timeout must be .*got inf"),
        ({"timeout": "soon"}, TypeError, "timeout"),
        ({"timeout": None}, TypeError, "timeout"),
        ({"grace": 3}, TypeError, "grace"),
    ],
)
def test_wrong_arguments_drain_nobody(
    running: Running, arguments: dict[str, Any], kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        running.server.drain(**arguments)
    assert ask(running.port, plain("GET", "/ready")).status == 200


def test_the_program_of_the_deployment_page_leaves_on_sigterm(tmp_path: Path, free_port: int) -> None:
    code = block("docs/how-to/deployment.md", "server.drain(")
    copy = tmp_path / "program.py"
    copy.write_text(code.replace("0.0.0.0", HOST).replace("5007", str(free_port)))
    with Program(copy) as program:
        program.wait_for_port(free_port)
        with Client(free_port, "c") as client, reading([client]) as (end,):
            client.send("hello")
            program.wait_for_line("hello")
            assert program.stop(signal.SIGTERM) == 0, program.output
            assert told(end.result()[1])
            assert client.ended == DRAIN
