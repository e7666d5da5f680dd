"""What may be lost with a member of a queue group: what had left for it and was not acknowledged."""

from __future__ import annotations

import signal
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from sockets import CLOSE, PING, Client, client_frame, server_frame
from support import Program, Running, wait_until
from workers import Reader, crowd, lost, maybe_lost, waiting

pytestmark = pytest.mark.skipif(
    not Path("/proc/net/tcp").exists(), reason="only Linux tells what was not acknowledged"
)

Factory = Callable[..., Running]

TAKES = 32 * 1024
"""Bytes that no kernel takes for a client that does not read and asked for a buffer of 4096."""

STUCK = """
import signal, sys
sys.path.insert(0, sys.argv[1])
from sockets import Client
client = Client(int(sys.argv[2]), receive_buffer=4096)
print("port", client.socket.getsockname()[1])
signal.pause()
"""
"""A member in a process of its own, which reads nothing."""


def sockets_with(running: Running, client_port: int) -> list[int]:
    """The server's end of a connection, if it has one: how many bytes it wrote that are not acknowledged."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ends = [f":{port:04X}" for port in (running.port, client_port)]
    return [
        int(line[4].split(":")[0], 16)
        for line in lines
        # What the kernel keeps of a socket that is closed has no inode.
        if line[1].endswith(ends[0]) and line[2].endswith(ends[1]) and line[9] != "0"
    ]


def port_of(client: Client) -> int:
    port: int = client.socket.getsockname()[1]
    return port


def work(number: int, size: int) -> str:
    return f"{number} ".ljust(size, "x")


def give(running: Running, conn_id: str, client_port: int, sizes: list[int]) -> None:
    """Publishes more than the kernels take for a member that does not read."""
    for number, size in enumerate(sizes):
        running.server.broadcast("jobs", work(number, size))
    wait_until(lambda: waiting(running, conn_id) and sockets_with(running, client_port) > [0], "it is stuck")


def check(running: Running, size: int, total: int, got: list[int], read: int = 0) -> None:
    """Compares what the server counts with what came to others.

    Args:
        running: The server.
        size: Bytes of each message.
        total: How many there were, all for one member at first.
        got: What came to others when that was gone.
        read: How many bytes it had read, and its system had acknowledged.
    """
    frame = len(server_frame(b"x" * size))
    written = total - len(got) - lost(running)
    assert got == list(range(total - len(got), total)), "all that had not begun to leave"
    assert lost(running) <= 1, "what was cut in two"
    assert 0 < written < total
    # Written and not read. All of it that does not fit into the member's buffer was not acknowledged.
    unread = written - read // frame
    assert unread - TAKES // frame - 1 <= maybe_lost(running) <= unread + (written // 60 if read else 0)


@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize(("size", "total"), [(200, 60_000), (10_000, 1200), (200_000, 60)])
def test_what_a_member_that_is_reset_did_not_acknowledge_is_counted(
    server_factory: Factory, size: int, total: int, reads: bool
) -> None:
    running = server_factory()
    with crowd(running, "g", "jobs", stuck=1) as members:
        ((stuck, conn_id),) = members["stuck"]
        port, frame = port_of(stuck), len(server_frame(b"x" * size))
        give(running, conn_id, port, [size] * total)
        read = 0
        if reads:
            read = frame * len(stuck.frames(total // 20)) + len(stuck.read_now(1))

            def acknowledged() -> int:
                # At least: what leaves the server between the two is in neither.
                return frame * total - waiting(running, conn_id) - sockets_with(running, port)[0]

            wait_until(lambda: acknowledged() >= read, "what it read is acknowledged")
        with crowd(running, "g", "jobs", fast=2) as others:
            reader = Reader([client for client, _ in others["fast"]])
            stuck.reset()
            running.events.wait("disconnect")
            got = reader.finish(running, others["fast"])
        check(running, size, total, got, read)


def test_what_a_member_that_is_killed_did_not_acknowledge_is_counted(server_factory: Factory) -> None:
    running, size, total = server_factory(), 10_000, 900
    with Program("-c", STUCK, Path(__file__).parent, str(running.port)) as program:
        port = int(program.wait_for_line("port").split()[1])
        conn_id = running.events.wait("connect")[0][1]
        running.server.subscribe_connection(conn_id, ["jobs"], queue_group="g")
        give(running, conn_id, port, [size] * total)
        with crowd(running, "g", "jobs", fast=2) as others:
            reader = Reader([client for client, _ in others["fast"]])
            assert program.stop(signal.SIGKILL) == -signal.SIGKILL
            running.events.wait("disconnect")
            got = reader.finish(running, others["fast"])
        check(running, size, total, got)


def test_a_member_that_says_goodbye_and_has_not_read_is_counted_too(server_factory: Factory) -> None:
    running, size, total = server_factory(), 10_000, 900
    with crowd(running, "g", "jobs", stuck=1) as members:
        ((stuck, conn_id),) = members["stuck"]
        give(running, conn_id, port_of(stuck), [size] * total)
        with crowd(running, "g", "jobs", fast=2) as others:
            reader = Reader([client for client, _ in others["fast"]])
            stuck.send(struct.pack(">H", 1000), CLOSE)
            running.events.wait("disconnect")
            got = reader.finish(running, others["fast"])
            stuck.reset()
            wait_until(lambda: maybe_lost(running) > 0, "it is counted when it is gone")
        check(running, size, total, got)


@pytest.mark.parametrize("size", [20, 10_000])
@pytest.mark.parametrize("how", ["client closes", "server closes", "reset", "end without a word"])
def test_with_a_member_that_has_read_all_nothing_is_lost(
    server_factory: Factory, how: str, size: int
) -> None:
    running, total = server_factory(), 1000
    with crowd(running, "g", "jobs", fast=1) as members:
        ((client, conn_id),) = members["fast"]
        port = port_of(client)
        for number in range(total):
            running.server.broadcast("jobs", work(number, size))
        frames = client.frames(total)
        assert [int(frame.payload.split()[0]) for frame in frames] == list(range(total))
        if how == "client closes":
            client.send(struct.pack(">H", 1000), CLOSE)
            client.frames_to_the_end()
            assert client.ended == 1000
        elif how == "server closes":
            running.server.disconnect(conn_id)
            client.frames_to_the_end()
            assert client.ended == 1000
        elif how == "reset":
            # What is read need not be acknowledged yet, and of that nobody would know here that it was read.
            wait_until(lambda: sockets_with(running, port) == [0], "all is acknowledged")
            client.reset()
        else:
            client.close()
        running.events.wait("disconnect")
        wait_until(lambda: not sockets_with(running, port), "the server has let it go")
        assert (lost(running), maybe_lost(running)) == (0, 0)


def test_what_is_written_in_part_is_lost_and_what_is_behind_it_is_not(server_factory: Factory) -> None:
    running = server_factory()
    with crowd(running, "g", "jobs", stuck=1) as members:
        ((stuck, conn_id),) = members["stuck"]
        # No kernel takes so much at once.
        give(running, conn_id, port_of(stuck), [12_000_000, 20, 20, 20])
        with crowd(running, "g", "jobs", fast=1) as others:
            reader = Reader([client for client, _ in others["fast"]])
            stuck.reset()
            running.events.wait("disconnect")
            assert reader.finish(running, others["fast"]) == [1, 2, 3]
        assert (lost(running), maybe_lost(running)) == (1, 0)


def test_what_came_before_answers_that_did_not_come_is_not_counted(server_factory: Factory) -> None:
    """Answers have a way of their own into the socket, and push what was before them further back."""
    running = server_factory()
    with crowd(running, "g", "jobs", stuck=1) as members:
        ((stuck, conn_id),) = members["stuck"]
        port = port_of(stuck)
        for number in range(10):
            running.server.broadcast("jobs", work(number, 20))
        assert len(stuck.frames(10)) == 10
        wait_until(lambda: sockets_with(running, port) == [0], "all is acknowledged")
        stuck.send_raw(client_frame(b"x" * 100, PING) * 1000)
        wait_until(lambda: sockets_with(running, port)[0] > 90_000, "it is answered and does not read")
        assert waiting(running, conn_id) == 0, "the kernel has taken it all"
        stuck.reset()
        running.events.wait("disconnect")
        wait_until(lambda: not sockets_with(running, port), "the server has let it go")
        assert (lost(running), maybe_lost(running)) == (0, 0)
