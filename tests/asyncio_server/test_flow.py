"""What is bounded, what waits, and what never holds up anybody else."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import websockets

from asyncio_server.talk import Talker, dial, one_client, play, until
from loglines import LogLines
from support import Program
from wse_server import Connection, EventFeed, Server, ServerEvent


def new(**options: Any) -> Server:
    return Server("127.0.0.1", 0, **options)


def test_a_client_whose_handler_is_slow_is_not_read_and_others_are() -> None:
    server, gate, handled = new(max_waiting_messages=10), asyncio.Event(), []

    @server.on("slow")
    async def slow(connection: Connection, payload: int) -> None:
        await gate.wait()
        handled.append(payload)

    @server.on("quick")
    def quick(connection: Connection) -> str:
        return "done"

    async def say_all(client: Talker, total: int) -> None:
        for number in range(total):
            await client.say("slow", number, more="x" * 10_000)
            await asyncio.sleep(0)

    async def story() -> None:
        async with one_client(server) as client, await dial(server) as other:
            total = 2_000
            saying = asyncio.create_task(say_all(client, total))
            seen = -1

            async def stands_still() -> bool:
                nonlocal seen
                before, seen = seen, server.health()["messages_received"]
                assert (await other.ask("quick"))["p"] == "done"
                await asyncio.sleep(0.02)
                return server.health()["messages_received"] == before + 2

            await until(stands_still, "only the other one is read")
            assert seen < total / 2
            assert not saying.done()
            assert handled == []
            gate.set()
            await until(lambda: len(handled) == total, "all are handled")
            assert handled == list(range(total))
            await saying

    play(story())


def test_no_more_handlers_run_than_are_allowed() -> None:
    server, running, most = new(max_running_handlers=3), 0, 0

    @server.on("it")
    async def it(connection: Connection, payload: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return payload

    async def one(number: int) -> None:
        async with await dial(server) as client:
            for step in range(10):
                await client.say("it", step)
            assert [(await client.hear())["p"] for step in range(10)] == list(range(10))

    async def story() -> None:
        async with server, asyncio.TaskGroup() as group:
            for number in range(10):
                group.create_task(one(number))

    play(story())
    assert most == 3


def test_a_listener_that_does_not_listen_holds_back_the_clients_and_loses_nothing() -> None:
    server = new()

    async def story() -> None:
        async with one_client(server) as client:
            await until(lambda: bool(server.connections), "it has come")
            feed = server.events()
            for number in range(20_000):
                await client.say("it", number)
            await until(lambda: feed.is_full, "it has as much as it can hold")
            await asyncio.sleep(0.05)
            assert server.engine.inbound_queue_depth() > 0
            heard = [await anext(feed) for _ in range(20_000)]
            assert [event.data["p"] for event in heard] == list(range(20_000))

    play(story())


def test_a_listener_that_is_dropped_holds_back_nobody() -> None:
    server = new()

    @server.on("quick")
    def quick(connection: Connection) -> str:
        return "done"

    async def story() -> None:
        async with one_client(server) as client:
            feed: EventFeed | None = server.events()
            for number in range(5_000):
                await client.say("it", number)
            await until(lambda: feed is None or feed.is_full, "it has as much as it can hold")
            feed = None
            gc.collect()
            await client.say("quick")
            assert (await client.hear("quick"))["p"] == "done"
            first = asyncio.ensure_future(first_of(server))
            await asyncio.sleep(0)
            await client.say("it", "last")
            assert (await first).data == {"t": "it", "p": "last"}
            await client.say("nobody handles it")
            assert (await client.hear_error())["code"] == "INVALID_ACTION"
        with pytest.raises(RuntimeError, match="events needs a server that runs"):
            server.events()

    play(story())


async def first_of(server: Server) -> ServerEvent:
    async for event in server.events():
        return event
    raise AssertionError("the server has ended")


def test_ten_thousand_cancelled_tasks_leave_nothing_behind() -> None:
    server = new()

    async def story() -> None:
        async with one_client(server):
            await until(lambda: bool(server.connections), "it has come")
            (connection,) = server.connections
            await connection.subscribe("warm-up")
            await connection.unsubscribe()
            gc.collect()
            objects, threads = len(gc.get_objects()), threading.active_count()
            for number in range(10_000):
                task = asyncio.ensure_future(connection.subscribe(f"topic:{number}"))
                if number % 2:
                    await asyncio.sleep(0)
                task.cancel()
            await asyncio.sleep(0)
            await connection.unsubscribe()
            await until(lambda: server.health()["topics"] == 0, "no topic is left")
            gc.collect()
            assert len(gc.get_objects()) < objects + 500
            assert threading.active_count() == threads

    play(story())


def test_handlers_that_are_cancelled_free_their_place() -> None:
    server = new(max_running_handlers=2)

    @server.on("cancelled")
    async def cancelled(connection: Connection) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)

    @server.on("quick")
    async def quick(connection: Connection) -> str:
        return "done"

    async def story() -> None:
        async with one_client(server) as client:
            for _ in range(10):
                await client.say("cancelled")
            assert (await client.ask("quick"))["p"] == "done"

    play(story())


def test_a_handler_that_blocks_the_loop_is_in_the_log_while_it_does_and_after() -> None:
    server = new(slow_step=0.1)

    @server.on("block")
    async def block(connection: Connection) -> None:
        time.sleep(0.5)  # noqa: ASYNC251 - that is the fault

    async def story() -> None:
        async with one_client(server) as client:
            # Of the second time nothing is told so soon.
            await client.say("block")
            await client.say("block")
            await client.say("nobody handles it")
            await client.hear_error()

    with LogLines() as log:
        play(story())
        (during,) = log.wait("the event loop is blocked, since")
        (after,) = log.wait("the event loop was blocked")
    found = re.search(r"blocked for (\d\.\d\d) s: .*test_flow.py:\d+ in block$", after.getMessage())
    assert found is not None
    assert 0.3 < float(found[1]) < 2
    assert during.getMessage().endswith("in block")


def test_the_engine_goes_on_while_the_loop_is_blocked() -> None:
    server = new(client_subscriptions=True, client_publish=True)

    @server.on("block")
    def block(connection: Connection) -> None:
        blocked.set()
        assert over.wait(20)

    blocked, over, heard = threading.Event(), threading.Event(), []

    def other() -> None:
        async def talk() -> None:
            async with await dial(server) as client:
                await client.subscribe("t")
                assert blocked.wait(20)
                await client.say("publish", {"topic": "t", "data": {"t": "hello"}}, cid="1")
                heard.append([(await client.hear())["t"] for _ in range(2)])

        try:
            asyncio.run(talk())
        finally:
            over.set()

    async def story() -> None:
        async with one_client(server) as client:
            thread = threading.Thread(target=other)
            thread.start()
            await client.say("block")
            await asyncio.to_thread(thread.join)

    play(story())
    assert heard == [["hello", "publish"]]


IDLE = """
import asyncio, sys
from wse_server import Server

server = Server("127.0.0.1", 0)

@server.on("it")
async def it(connection):
    return 1

async def main():
    async with server:
        sys.stdout.write(f"port {server.port}\\n")
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.alone
@pytest.mark.skipif(sys.platform != "linux", reason="counts switches as Linux tells them")
def test_an_idle_loop_does_not_wake_up(tmp_path: Path) -> None:
    path = tmp_path / "idle.py"
    path.write_text(IDLE)
    with Program(path) as program:
        port = int(program.wait_for_line("port ").split()[1])

        async def talk() -> None:
            async with websockets.connect(f"ws://127.0.0.1:{port}/wse") as client:
                await client.send('{"t":"it"}')
                assert json.loads(await client.recv())["p"] == 1
                # What looks after the loop while there is work goes to sleep soon.
                pid = program.pid
                await until(lambda: is_quiet(pid), "the loop is quiet for a second")

        asyncio.run(talk())


async def is_quiet(pid: int) -> bool:
    """Whether no thread of Python's wakes up within a second."""
    before = switches(pid)
    await asyncio.sleep(1)
    return switches(pid) == before


def switches(pid: int) -> dict[str, int]:
    """How often each thread of Python's has let go of its core."""
    told = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        name = (task / "comm").read_text().strip()
        if not name.startswith("wse-io"):
            status = (task / "status").read_text()
            told[f"{name} {task.name}"] = int(status.split("voluntary_ctxt_switches:")[1].split()[0])
    return told
