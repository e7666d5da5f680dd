"""A server that is told more after it was made: by the place where it runs."""

from __future__ import annotations

import urllib.request

import pytest

from support import HOST, run, wait_until
from wse_server import Server


def test_what_is_told_goes_before_what_it_was_made_with() -> None:
    server = Server("0.0.0.0", 1, max_connections=5, ping_interval=10.0)
    server.configure(HOST, 0, max_connections=7)
    assert server.host == HOST
    assert server.options == {"max_connections": 7, "ping_interval": 10.0}
    server.options["max_connections"] = 9
    assert server.options["max_connections"] == 7


def test_pages_and_handlers_stay() -> None:
    server = Server(HOST, 1)
    server.add_static("/page", "text/plain", "here")
    server.on("x")(lambda _connection: None)
    server.configure(port=0)

    async def scenario() -> bytes:
        async with server:
            with urllib.request.urlopen(f"http://{HOST}:{server.port}/page") as answer:  # noqa: ASYNC210 - a page
                return bytes(answer.read())

    assert run(scenario()) == b"here"


def test_what_is_wrong_changes_nothing() -> None:
    server = Server(HOST, 1, idle_timeout=40.0)
    with pytest.raises(ValueError, match="idle_timeout must be longer than ping_interval"):
        server.configure("0.0.0.0", 2, ping_interval=50.0)
    assert (server.host, server.port, server.options) == (HOST, 1, {"idle_timeout": 40.0})


def test_it_comes_before_the_start_and_before_the_engine_is_taken() -> None:
    taken = Server(HOST, 0)
    assert taken.engine.port == 0
    with pytest.raises(RuntimeError, match=r"before the program takes server\.engine"):
        taken.configure(port=1)

    async def scenario() -> None:
        async with Server(HOST, 0) as server:
            with pytest.raises(RuntimeError, match="before the server is started"):
                server.configure(port=1)

    run(scenario())


def test_a_cluster_is_added_to_that_of_the_program() -> None:
    server = Server(HOST, 0, cluster={"peers": ["a:1"], "cluster_name": "blue"})
    server.configure(cluster={"peers": [], "seeds": ["127.0.0.1:1"], "cluster_port": 0})

    async def scenario() -> None:
        async with server:
            assert server.engine.cluster_identity() is not None
            (peer,) = wait_until(server.engine.cluster_info, "the seed is known")
            assert peer["address"] == "127.0.0.1:1"

    run(scenario())
