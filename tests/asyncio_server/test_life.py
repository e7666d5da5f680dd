"""A server's start, its end, and all that can come between."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
import uvloop
import websockets
from fastapi import FastAPI
from starlette.applications import Starlette

from asyncio_server.talk import dial, one_client, play, until
from loglines import LogLines
from support import PATIENCE, Program
from wse_server import Connection, Server, dispatch


def new(**options: Any) -> Server:
    return Server("127.0.0.1", 0, **options)


def test_it_can_be_started_again_and_keeps_what_was_registered() -> None:
    server, gone = new(), []

    @server.on("it")
    async def it(connection: Connection) -> str:
        return "done"

    @server.on_disconnect
    async def bye(connection: Connection) -> None:
        gone.append(connection.id)

    async def story() -> None:
        assert repr(server) == "<Server 127.0.0.1:0 stopped>"
        for life in range(3):
            async with server:
                assert repr(server) == f"<Server 127.0.0.1:{server.port} running>"
                client = await dial(server)
                assert (await client.ask("it"))["p"] == "done"
                with pytest.raises(RuntimeError, match="already running"):
                    await server.start()
            assert not server.is_running
            # The disconnects of its end are handled before it is over.
            assert len(gone) == life + 1
            assert (server.connections, server.connection(gone[0])) == ([], None)
            with pytest.raises(websockets.ConnectionClosed):
                await client.hear()
            assert client.socket.close_code == 1012
        await server.stop()

    play(story())


def test_a_start_that_fails_leaves_nothing() -> None:
    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            server = Server("127.0.0.1", port)
            with pytest.raises(OSError, match=str(port)):
                await server.start()
        # The port is free now, and the server as good as new.
        async with server, await dial(server):
            pass
        wrong = new(cluster={"peers": ["nowhere"]})
        with pytest.raises(ValueError, match="nowhere"):
            await wrong.start()
        assert not wrong.is_running

    play(story())


@pytest.mark.parametrize("kind", [FastAPI, Starlette])
def test_it_lives_as_long_as_an_application(kind: Any) -> None:
    server = new()
    app = kind(lifespan=server.lifespan)

    async def story() -> None:
        async with app.router.lifespan_context(app), await dial(server) as client:
            await client.say("nobody handles it")
            assert (await client.hear_error())["code"] == "INVALID_ACTION"
        assert not server.is_running

    play(story())


def test_handlers_may_end_what_they_do_when_the_server_stops() -> None:
    server, entered, done = new(), asyncio.Event(), []

    @server.on("it")
    async def it(connection: Connection) -> None:
        entered.set()
        await asyncio.sleep(0.1)
        done.append(connection)

    async def story() -> None:
        async with one_client(server) as client:
            await client.say("it")
            await client.say("it")
            await entered.wait()
        assert len(done) == 2

    play(story())


def test_handlers_that_take_too_long_are_cancelled_and_counted() -> None:
    server, entered, ended = new(stop_timeout=0.05), asyncio.Event(), []

    @server.on("it", ordered=False)
    async def it(connection: Connection) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)

    async def story() -> None:
        async with one_client(server) as client:
            for _ in range(3):
                await client.say("it")
            await client.say("nobody handles it")
            await client.hear_error()

    with LogLines() as log:
        play(story())
        log.wait("the server has stopped and 3 handlers still run")
    assert ended == [1, 1, 1]


def test_a_handler_that_does_not_let_itself_be_cancelled_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dispatch, "_CANCELLED_SECONDS", 0.1)
    server, entered, gate = new(stop_timeout=0.05), asyncio.Event(), asyncio.Event()

    @server.on("it")
    async def it(connection: Connection) -> None:
        entered.set()
        while not gate.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await gate.wait()

    async def story() -> None:
        async with one_client(server) as client:
            await client.say("it")
            await entered.wait()
        gate.set()
        await asyncio.sleep(0.01)

    with LogLines() as log:
        play(story())
        log.wait("1 handlers do not let themselves be cancelled")


def test_what_runs_in_the_background_begins_and_ends_with_the_server() -> None:
    server, told = new(client_subscriptions=True, recovery_enabled=True), []

    @server.background
    async def tick() -> None:
        told.append("begin")
        try:
            for number in itertools.count():
                await server.publish("ticks", number)
                await asyncio.sleep(0.001)
        finally:
            told.append("end")

    @server.background
    async def fails() -> None:
        await asyncio.sleep(0)
        raise LookupError("in the background")

    @server.background
    async def is_done() -> None:
        told.append("done")

    async def story() -> None:
        for _ in range(2):
            async with one_client(server) as client:
                await client.subscribe("ticks")
                first = (await client.hear("message"))["p"]
                assert (await client.hear("message"))["p"] == first + 1
        assert told == ["begin", "done", "end"] * 2

    with LogLines() as log:
        play(story())
        assert len(log.wait("fails, in the background, failed", count=2)) == 2
    assert "LookupError: in the background" in log.text


def test_a_drain_sends_clients_away_and_the_loop_goes_on() -> None:
    server = new()

    @server.on("it")
    def it(connection: Connection) -> str:
        return "done"

    async def story() -> None:
        async with one_client(server) as client:
            draining = asyncio.create_task(server.drain(timeout=1.0))
            assert (await client.hear("reconnect"))["p"]["reason"]
            with pytest.raises(websockets.ConnectionClosed):
                await client.hear()
            assert client.socket.close_code == 4300
            assert await draining == {"drained": 1, "cut": 0}

    play(story())


def test_uvloop_drives_it_too() -> None:
    server = new(client_subscriptions=True, recovery_enabled=True)

    @server.on("it")
    async def it(connection: Connection, payload: int) -> None:
        await server.publish("t", payload)

    async def story() -> None:
        async with one_client(server) as client:
            await client.subscribe("t")
            for number in range(100):
                await client.say("it", number)
            assert [(await client.hear("message"))["p"] for _ in range(100)] == list(range(100))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(story(), PATIENCE))


PROGRAM = """
import asyncio, signal, sys
from wse_server import Server

server = Server("127.0.0.1", 0)

@server.on("it")
async def it(connection):
    return 1

@server.on_connect
async def tell(connection):
    sys.stdout.write("came\\n")

async def main():
    serving = asyncio.ensure_future(server.serve(drain_timeout=float(sys.argv[1])))
    while not server.is_running:
        await asyncio.sleep(0.001)
    # In one piece, so that no line of the log comes in between.
    sys.stdout.write(f"port {server.port}\\n")
    await serving
    sys.stdout.write("ended\\n")

asyncio.run(main())
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_with_success(program: Path, signum: signal.Signals) -> None:
    with Program(program, "1") as running:
        port = int(running.wait_for_line("port ").split()[1])

        async def story() -> None:
            async with websockets.connect(f"ws://127.0.0.1:{port}/wse") as client:
                await until(lambda: "came" in running.output, "it has come")
                ending = asyncio.create_task(asyncio.to_thread(running.stop, signum))
                heard = json.loads(await client.recv())
                assert heard["t"] == "reconnect"
                await client.wait_closed()
                assert client.close_code == 4300
                assert await ending == 0

        asyncio.run(asyncio.wait_for(story(), 3 * PATIENCE))
    assert "ended" in running.lines


def test_a_second_signal_hurries(program: Path) -> None:
    with Program(program, "600") as running:
        port = int(running.wait_for_line("port ").split()[1])

        async def story() -> None:
            # Their turns are spread over ten minutes.
            clients = [await websockets.connect(f"ws://127.0.0.1:{port}/wse") for _ in range(20)]
            await until(lambda: running.output.count("came") == 20, "all have come")
            ending = asyncio.create_task(asyncio.to_thread(running.stop, signal.SIGTERM))
            await until(lambda: is_draining(port), "it drains")
            assert await asyncio.to_thread(running.stop, signal.SIGTERM) == 0
            assert await ending == 0
            for client in clients:
                await client.wait_closed()
            assert {client.close_code for client in clients} <= {1012, 4300}
            assert clients[-1].close_code == 1012 or clients[0].close_code == 1012

        asyncio.run(asyncio.wait_for(story(), 3 * PATIENCE))
    assert "a second signal: the server stops at once" in running.output
    assert "ended" in running.lines


def is_draining(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        client.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")
        return b" 503 " in client.recv(100)


def test_run_is_the_whole_program(tmp_path: Path, free_port: int) -> None:
    path = tmp_path / "run.py"
    path.write_text(
        "import uvloop\nfrom wse_server import Server\n"
        f"server = Server('127.0.0.1', {free_port})\n"
        "server.run(drain_timeout=0, loop_factory=uvloop.new_event_loop)\n"
        "import sys\nsys.stdout.write('ended\\n')\n"
    )
    with Program(path) as running:
        running.wait_for_port(free_port)
        assert running.stop(signal.SIGTERM) == 0
    assert "ended" in running.lines
