"""Every queue is bounded and says what happens at its limit; a slow client is nobody else's trouble."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import pytest

from server_process import Host, ServerProcess, health, publish
from sockets import CLOSE, PING, PONG, RESET, TEXT, Client, Frame, client_frame, read_together, server_frame
from support import PATIENCE, in_thread, wait_until
from wse_server import CloseCode

MIB = 1 << 20
SMALL_BUFFER = 16 * 1024
"""A receive buffer for those that do not read: what they miss waits in the server, not in the kernel."""


@contextmanager
def clients_of(node: ServerProcess, prefix: str, count: int, **options: Any) -> Iterator[list[Client]]:
    """Clients with the names `prefix` and a number."""
    with ExitStack() as together:
        yield [together.enter_context(Client(node.port, f"{prefix}{n}", **options)) for n in range(count)]


class Flood:
    """Messages that follow one another in a cycle, so that a stream of any length can be compared.

    Args:
        size: Bytes of a message.
    """

    def __init__(self, size: int) -> None:
        self.messages = [f"{number:04}" + "x" * (size - 4) for number in range(64)]
        self._cycle = b"".join(server_frame(message.encode()) for message in self.messages)
        self._expected = self._cycle * (2 + 2 * MIB // len(self._cycle))
        self.cycle_bytes = len(self._cycle)
        self.had: dict[Client, int] = {}

    def take(self, client: Client, data: bytes) -> int:
        """Compares what came with what had to come next; returns the bytes had in all."""
        had = self.had.get(client, 0)
        at = had % self.cycle_bytes
        assert data == self._expected[at : at + len(data)], (
            f"{client.name} got something else after {had} bytes"
        )
        self.had[client] = had + len(data)
        return had + len(data)


# ---- One reader behind, others not ----

READERS = 100
FLOOD_BYTES = 200 * 1000 * 1000
QUIET: dict[str, Any] = {"ping_interval": 3600.0, "idle_timeout": 7200.0, "slow_client": "close"}
"""No pings, so that what comes is what was published; and who is too slow is closed, which is easily seen.

What the other policies do is in test_slow_clients."""


@pytest.mark.slow
def test_a_hundred_readers_get_everything_beside_one_that_never_reads() -> None:
    flood = Flood(4000)
    cycles = FLOOD_BYTES // flood.cycle_bytes + 1
    with (
        ServerProcess(**QUIET) as node,
        # With 6 MB for each of them the kernel runs short of memory for TCP, and retransmits for seconds.
        clients_of(node, "reader", READERS, receive_buffer=MIB // 2) as readers,
        Client(node.port, "sleeper", receive_buffer=SMALL_BUFFER) as sleeper,
    ):
        node.subscribe({client.name: ["t"] for client in [*readers, sleeper]})
        before = node.resident()
        publishing = node.begin(publish, "t", flood.messages, cycles)

        def all_is_there(client: Client, data: bytes) -> bool:
            assert data, f"{client.name} was closed after {flood.had.get(client)} bytes"
            return flood.take(client, data) == cycles * flood.cycle_bytes

        read_together(readers, all_is_there, timeout=90)
        publishing.result(PATIENCE)
        assert node.wait("disconnect") == [("disconnect", node.conn_id("sleeper"), None)]
        assert node.call("get_connection_count") == READERS
        assert node.do(health)["slow_consumer_drops"] == 1
        # 16 MiB may wait for the sleeper, and a little more than 1 MiB for each of the others.
        assert node.peak() - before < 200 * MIB
        end_of_a_slow_client(sleeper)


def end_of_a_slow_client(client: Client) -> list[Frame]:
    """Reads what is left and the end: 4408, or a reset if the close frame had waited for more than 5 s."""
    frames = client.frames_to_the_end()
    assert client.ended in {CloseCode.TOO_SLOW, RESET}, client.ended
    if client.ended == CloseCode.TOO_SLOW:
        assert frames[-1].opcode == CLOSE
        return frames[:-1]
    return frames


# ---- All readers behind ----

SLOW_READERS = 24
SLOW_SECONDS = 8.0
SLOW_RATE = 1_000_000.0


def flood_until_told(host: Host, topic: str, messages: list[str]) -> int:
    """Publishes in cycles until the job `finish` runs; returns the cycles."""
    cycles = 0
    while not FINISHED.is_set():
        host.server.broadcast_many(topic, messages)
        cycles += 1
    return cycles


def finish(host: Host) -> None:
    """Ends `flood_until_told`."""
    assert host.server.is_running()
    FINISHED.set()


FINISHED = threading.Event()
"""Of the process with the server."""


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"shards": 1}], ids=["a shard per core", "one shard"])
def test_a_flood_waits_for_slow_readers_and_cuts_none(options: dict[str, Any]) -> None:
    flood = Flood(1000)
    with ServerProcess(**QUIET, **options) as node, clients_of(node, "slow", SLOW_READERS) as readers:
        node.subscribe({client.name: ["t"] for client in readers})
        before = node.resident()
        flooding = node.begin(flood_until_told, "t", flood.messages)
        ending = threading.Timer(SLOW_SECONDS, lambda: node.do(finish))
        ending.start()
        enough: list[int] = []

        def all_is_there(client: Client, data: bytes) -> bool:
            assert data, f"{client.name} was closed after {flood.had.get(client)} bytes"
            had = flood.take(client, data)
            if flooding.done() and not enough:
                enough.append(flooding.result() * flood.cycle_bytes)
            return enough == [had]

        try:
            read_together(readers, all_is_there, timeout=60, rate=SLOW_RATE, rate_for=SLOW_SECONDS + 1)
        finally:
            ending.join()
        grown = node.peak() - before
        assert node.do(health)["slow_consumer_drops"] == 0
        assert node.call("get_connection_count") == SLOW_READERS
        assert enough[0] > SLOW_SECONDS * SLOW_RATE / 2
        assert grown < 64 * MIB, f"grew by {grown / MIB:.0f} MiB"


def test_one_reader_that_stops_in_the_middle_does_not_stop_the_others() -> None:
    """The others are few, so it is a good part of the topic, and it had been reading until a moment ago."""
    flood = Flood(1000)
    cycles = 64 * MIB // flood.cycle_bytes
    with (
        ServerProcess(**QUIET) as node,
        clients_of(node, "reader", 2) as readers,
        Client(node.port, "sleeper", receive_buffer=SMALL_BUFFER) as sleeper,
    ):
        node.subscribe({client.name: ["t"] for client in [*readers, sleeper]})
        publishing = node.begin(publish, "t", flood.messages, cycles)
        sleeper.frames(1000)

        def all_is_there(client: Client, data: bytes) -> bool:
            assert data, f"{client.name} was closed"
            return flood.take(client, data) == cycles * flood.cycle_bytes

        read_together(readers, all_is_there, timeout=30)
        publishing.result(PATIENCE)
        node.wait("disconnect")
        assert node.call("get_connection_count") == 2


def reading_slowly(client: Client) -> AbstractContextManager[None]:
    """A thread that reads 200 KB a second, for as long as the block lasts or the connection does."""

    def read(stop: threading.Event) -> None:
        client.socket.settimeout(PATIENCE)
        while not stop.wait(0.05) and client.read_now(10_000):
            pass

    return in_thread(read)


@pytest.mark.parametrize("place", [0, 2], ids=["alone in its shard", "beside another"])
def test_one_slow_reader_holds_nobody_up_whichever_shard_has_it(place: int) -> None:
    """Connections go to the shards in turn. It reads all the time, and would do so for ten minutes."""
    flood = Flood(1000)
    cycles = 128 * MIB // flood.cycle_bytes
    with ServerProcess(**QUIET, shards=2) as node, ExitStack() as stack:
        names = ["quick-0", "quick-1"]
        names.insert(place, "slow")
        clients = {
            name: stack.enter_context(
                Client(node.port, name, receive_buffer=SMALL_BUFFER if name == "slow" else None)
            )
            for name in names
        }
        slow = clients.pop("slow")
        if place == 0:
            clients.popitem()[1].close()
            node.wait("disconnect")
        node.subscribe({client.name: ["t"] for client in [slow, *clients.values()]})
        publishing = node.begin(publish, "t", flood.messages, cycles)

        def all_is_there(client: Client, data: bytes) -> bool:
            assert data, f"{client.name} was closed"
            return flood.take(client, data) == cycles * flood.cycle_bytes

        with reading_slowly(slow):
            read_together(clients.values(), all_is_there, timeout=30)
            publishing.result(PATIENCE)
        assert node.do(health)["slow_consumer_drops"] == 1, "and it was too slow for good"


# ---- Nobody reads ----


def test_a_client_that_stalls_alone_does_not_stop_the_publisher_and_is_told_4408() -> None:
    limit = 4 * MIB
    flood = Flood(1000)
    with (
        ServerProcess(max_outbound_queue_bytes=limit, slow_client="close") as node,
        Client(node.port, "sleeper", receive_buffer=SMALL_BUFFER) as sleeper,
        Client(node.port, "other") as other,
    ):
        node.subscribe({"sleeper": ["t"], "other": ["u"]})
        before = node.resident()
        # Sixteen times what it may be behind, and nothing waits for somebody who does not read.
        node.begin(publish, "t", flood.messages, 16 * limit // flood.cycle_bytes).result(PATIENCE)
        grown = node.peak() - before
        assert node.wait("disconnect") == [("disconnect", node.conn_id("sleeper"), None)]
        assert node.do(health)["slow_consumer_drops"] == 1
        assert grown < limit + 12 * MIB, f"grew by {grown / MIB:.0f} MiB"
        # It wakes up before patience ends: it gets the beginning in whole messages, then the reason.
        frames = end_of_a_slow_client(sleeper)
        assert sleeper.ended == CloseCode.TOO_SLOW
        assert [frame.payload[:4] for frame in frames] == [b"%04d" % (n % 64) for n in range(len(frames))]
        assert all(len(frame.payload) == 1000 for frame in frames)
        node.call("broadcast", "u", "nothing happened here")
        assert other.frames(1) == [Frame(TEXT, b"nothing happened here")]


def test_a_client_that_never_reads_again_is_cut_and_costs_nothing_any_more() -> None:
    flood = Flood(1000)
    with (
        ServerProcess(max_outbound_queue_bytes=MIB, slow_client="close") as node,
        Client(node.port, "sleeper", receive_buffer=SMALL_BUFFER) as sleeper,
    ):
        node.subscribe({"sleeper": ["t"]})
        node.begin(publish, "t", flood.messages, 8 * MIB // flood.cycle_bytes).result(PATIENCE)
        node.wait("disconnect")
        closed = time.monotonic()
        # Not even the close frame can be written: the kernel is full of what came before.
        wait_until(lambda: node.do(health)["slow_consumer_cuts"] == 1, "it was not cut", timeout=8)
        assert 3 < time.monotonic() - closed < 8
        assert node.do(health)["outbound_queued_bytes"] == 0
        end_of_a_slow_client(sleeper)
        assert sleeper.ended == RESET


def test_what_is_sent_to_one_connection_is_bounded_too() -> None:
    limit = 4 * MIB
    with (
        ServerProcess(max_outbound_queue_bytes=limit) as node,
        Client(node.port, "sleeper", receive_buffer=SMALL_BUFFER) as sleeper,
    ):
        conn_id = node.conn_id("sleeper")
        before = node.resident()
        assert node.begin(send_often, conn_id, "x" * 500, 16 * limit // 500).result(PATIENCE) > 0
        node.wait("disconnect")
        grown = node.peak() - before
        assert grown < 2 * limit + 12 * MIB, f"grew by {grown / MIB:.0f} MiB"
        end_of_a_slow_client(sleeper)


def send_often(host: Host, conn_id: str, text: str, times: int) -> float:
    """Sends the same text to one connection; returns the seconds it took."""
    started = time.monotonic()
    for _ in range(times):
        host.server.send(conn_id, text)
    return time.monotonic() - started


# ---- All together ----

TOTAL = 24 * MIB
LAGGARDS = 12


def test_many_stalled_clients_together_stay_under_the_total() -> None:
    """Each on a topic of its own, so that nothing is shared, and each far below what one may be behind."""
    with (
        ServerProcess(
            max_outbound_queue_bytes=16 * MIB, max_outbound_total_bytes=TOTAL, slow_client="close"
        ) as node,
        clients_of(node, "stalled", LAGGARDS, receive_buffer=SMALL_BUFFER) as clients,
    ):
        node.subscribe({client.name: [client.name] for client in clients})
        before = node.resident()
        most = 0
        for _ in range(60):
            most = max(
                most, node.begin(publish_to_each, [client.name for client in clients]).result(PATIENCE)
            )
        grown = node.peak() - before
        assert TOTAL / 2 < most <= TOTAL + 2 * MIB, f"held {most / MIB:.1f} MiB"
        assert grown < 1.5 * TOTAL + 16 * MIB, f"grew by {grown / MIB:.0f} MiB"
        assert 0 < node.do(health)["slow_consumer_drops"] < LAGGARDS


def publish_to_each(host: Host, names: list[str]) -> int:
    """Publishes 128 KiB to each client that is there; returns what the server holds for all after that."""
    text = "x" * 1024
    for name in names:
        host.server.broadcast_many(name, [text] * 128)
    # An answer of each shard comes after all that was published before.
    for conn_id in host.server.get_connections():
        host.server.get_connection_info(conn_id)
    return int(host.server.health_snapshot()["outbound_queued_bytes"])


HOGS = 5


def test_beyond_the_total_the_one_furthest_behind_goes_and_the_others_stay() -> None:
    """Wherever it is: the others are a little behind, on every shard, and the shards have more to do."""
    with (
        ServerProcess(max_outbound_queue_bytes=TOTAL, max_outbound_total_bytes=TOTAL, **QUIET) as node,
        clients_of(node, "stalled", 8, receive_buffer=SMALL_BUFFER) as clients,
        clients_of(node, "busy", 4) as busy,
        ExitStack() as hogs,
    ):
        node.subscribe({client.name: [client.name] for client in clients})
        names = [client.name for client in clients]
        for _ in range(60):
            node.begin(publish_to_each, names).result(PATIENCE)
            if all(queued_bytes(node, name) > 0 for name in names):
                break
        assert 0 < max(queued_bytes(node, name) for name in names) < TOTAL / 16, (
            "not the picture that was meant"
        )
        over = threading.Event()
        talking = [threading.Thread(target=talk, args=(client, over), daemon=True) for client in busy]
        for thread in talking:
            thread.start()
        try:
            for turn in range(HOGS):
                name = f"hog{turn}"
                hogs.enter_context(Client(node.port, name, receive_buffer=SMALL_BUFFER))
                node.subscribe({name: [name]})
                node.begin(publish, name, ["x" * 1024] * 128, 4 * TOTAL // (128 * 1024)).result(PATIENCE)
                expected = [("disconnect", node.conn_id(f"hog{n}"), None) for n in range(turn + 1)]
                assert node.wait("disconnect", turn + 1) == expected, f"others went with {name}"
        finally:
            over.set()
            for thread in talking:
                thread.join(PATIENCE)
        assert node.do(health)["slow_consumer_drops"] == HOGS
        assert node.call("get_connection_count") == len(clients) + len(busy)


def talk(client: Client, over: threading.Event) -> None:
    """Keeps the client's shard busy."""
    while not over.is_set():
        client.send("?", PING)
        assert client.frames(1) == [Frame(PONG, b"?")]


def queued_bytes(node: ServerProcess, name: str) -> int:
    """Bytes that wait in the server for a client."""
    info = node.call("get_connection_info", node.conn_id(name))
    assert info is not None, f"{name} was closed"
    return int(info["queued_bytes"])


# ---- Python is behind ----

IDLE_TIMEOUT = 1.2
SENT = 30_000


def drain_on(host: Host) -> None:
    """From here on the program drains."""
    host.drain()


def drained_messages(host: Host, count: int) -> list[str]:
    """Waits until so many texts have been drained and returns them in order."""
    return [data for _, _, data in host.wait("raw", count, 30)]


def test_a_full_inbound_queue_pauses_the_client_that_fills_it_and_loses_nothing() -> None:
    options: dict[str, Any] = {
        "max_inbound_queue_size": 100,
        "ping_interval": IDLE_TIMEOUT / 4,
        "idle_timeout": IDLE_TIMEOUT,
        "rate_limit_capacity": 1e9,
        "rate_limit_refill": 1e9,
    }
    with (
        ServerProcess(drain=False, **options) as node,
        clients_of(node, "other", 10) as others,
        Client(node.port, "flooder") as flooder,
    ):
        wait_until(lambda: node.call("get_connection_count") == 11, "not all connected")
        everything = b"".join(client_frame(b"%d" % number + b"." * 500) for number in range(SENT))
        flooding = threading.Thread(target=flooder.send_raw, args=(everything, 60), daemon=True)
        flooding.start()
        wait_until(lambda: node.call("inbound_queue_depth") > 50, "the queue does not fill")

        # While the program sleeps for several idle_timeouts, the others get their answers at once.
        slowest = 0.0
        blocked_until = time.monotonic() + 3 * IDLE_TIMEOUT
        while time.monotonic() < blocked_until:
            for client in others:
                asked = time.monotonic()
                client.send("so", PING)
                assert client.frames(1) == [Frame(PONG, b"so")]
                client.send('{"t":"ping","p":{"timestamp":1}}')
                assert b'"PONG"' in client.frames(1)[0].payload
                slowest = max(slowest, time.monotonic() - asked)
        assert slowest < IDLE_TIMEOUT
        assert flooding.is_alive(), "the flooder was not held back"
        assert node.call("inbound_queue_depth") <= 100
        assert node.call("get_connection_count") == 11, "somebody was called idle"

        node.do(drain_on)
        texts = node.begin(drained_messages, SENT).result(60)
        flooding.join(PATIENCE)
        assert [text.rstrip(".") for text in texts] == [str(number) for number in range(SENT)]
        assert node.call("inbound_dropped_count") == 0


def test_a_queue_smaller_than_the_number_of_clients_still_moves() -> None:
    """What is bounded is what waits: clients that are connected and silent must not fill the queue."""
    with ServerProcess(max_inbound_queue_size=8) as node, clients_of(node, "client", 30) as clients:
        node.wait("connect", 30)
        for client in clients:
            client.send_raw(client_frame(client.name.encode()) * 10)
        assert len(node.wait("raw", 300)) == 300


def test_bytes_that_wait_for_the_program_are_bounded_too() -> None:
    size = 256 * 1024
    with (
        ServerProcess(drain=False, max_inbound_queue_bytes=4 * MIB, max_message_size=MIB) as node,
        clients_of(node, "flooder", 8) as flooders,
    ):
        wait_until(lambda: node.call("get_connection_count") == 8, "not all connected")
        before = node.resident()
        flood = client_frame(b"x" * size) * 40
        sending = [threading.Thread(target=c.send_raw, args=(flood, 60), daemon=True) for c in flooders]
        for thread in sending:
            thread.start()
        wait_until(lambda: node.call("inbound_queue_depth") >= 8 + 10, "the queue does not fill")
        pause = threading.Event()
        for _ in range(20):  # It would have grown to 80 MiB by then.
            assert node.call("inbound_queue_depth") <= 8 + 4 * MIB // size
            pause.wait(0.05)
        grown = node.peak() - before
        # Each paused client may have one message that does not fit yet.
        assert grown < 4 * MIB + 8 * 4 * size + 8 * MIB, f"grew by {grown / MIB:.0f} MiB"
        node.do(drain_on)
        assert len(node.wait("raw", 8 * 40)) == 8 * 40
        for thread in sending:
            thread.join(PATIENCE)
        assert node.call("inbound_dropped_count") == 0


def test_who_was_closed_already_gives_way_before_who_is_still_there() -> None:
    """What a closed client has yet to read counts too, so that must not be what cuts another."""
    with (
        ServerProcess(max_outbound_queue_bytes=8 * MIB, max_outbound_total_bytes=8 * MIB) as node,
        clients_of(node, "stalled", 2, receive_buffer=SMALL_BUFFER) as (_closed, _open),
    ):
        ids = [event[1] for event in node.wait("connect", 2)]
        # One by one: what comes together shares memory, which is counted as it is taken.
        for _ in range(96):
            node.call("send", ids[0], "x" * (MIB // 16))
        node.call("disconnect", ids[0], 4000)
        wait_until(lambda: node.call("get_connection_count") == 1, "the end of its session")
        for _ in range(64):
            if node.do(health)["slow_consumer_cuts"]:
                break
            node.call("send", ids[1], "y" * (MIB // 16))
        wait_until(lambda: node.do(health)["slow_consumer_cuts"] == 1, "a cut")
        assert node.do(health)["slow_consumer_drops"] == 0
        assert node.call("get_connections") == [ids[1]]
