"""`wse rebalance` and `wse rolling-restart`: what they decide, and how they refuse.

`tests/deploy` has both with a real cluster behind real proxies.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from http_api import KEY
from support import HOST, Running, free_port, wait_until
from wse_client import SyncClient
from wse_command import called
from wse_server.cli.rebalance import portions, surplus

Factory = Callable[..., Running]


@pytest.mark.parametrize(
    ("counts", "within", "expected"),
    [
        ([100, 100, 0], 0.05, [33, 33, 0]),
        ([67, 67, 66], 0.05, [0, 0, 0]),
        ([70, 70, 60], 0.05, [3, 3, 0]),
        ([69, 67, 64], 0.05, [0, 0, 0]),
        ([1, 0], 0.0, [0, 0]),
        ([2, 1, 0], 0.0, [0, 0, 0]),
        ([3, 0, 0], 0.0, [2, 0, 0]),
        ([0, 0], 0.05, [0, 0]),
        ([7], 0.0, [0]),
        ([10_000, 10_400], 0.05, [0, 0]),
        ([10_000, 12_000], 0.05, [0, 1000]),
    ],
)
def test_the_surplus_is_what_a_node_has_beyond_the_even_share(
    counts: list[int], within: float, expected: list[int]
) -> None:
    assert surplus(counts, within) == expected


def test_a_portion_takes_of_each_node_as_its_surplus_is() -> None:
    assert portions([33, 33, 0], 50) == [25, 25, 0]
    assert portions([10, 5, 0], 50) == [10, 5, 0]
    assert portions([90, 10, 0], 10) == [9, 1, 0]
    assert portions([1, 1, 1], 1) in ([1, 0, 0], [0, 1, 0], [0, 0, 1])
    for too_many in ([7, 5, 3], [100, 1, 1], [3, 3, 3]):
        for at_most in range(1, 16):
            chosen = portions(too_many, at_most)
            assert sum(chosen) == min(at_most, sum(too_many))
            assert all(0 <= number <= most for number, most in zip(chosen, too_many, strict=True))


@pytest.fixture
def pair(server_factory: Factory) -> list[Running]:
    """Two servers with the HTTP API."""
    return [server_factory(api_key=KEY) for _ in range(2)]


def urls(servers: list[Running]) -> list[str]:
    return [server.http for server in servers]


def test_who_has_too_many_is_told_and_nobody_is_moved(pair: list[Running]) -> None:
    for _ in range(6):
        pair[0].dial()
    done = called("rebalance", "--dry-run", "--json", *urls(pair), WSE_API_KEY=KEY)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "to_move": 3,
        "nodes": [{"url": pair[0].http, "connections": 6}, {"url": pair[1].http, "connections": 0}],
    }
    assert pair[0].server.get_connection_count() == 6


def test_even_shares_are_left_alone(pair: list[Running], tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    for server in pair:
        server.dial()
    done = called("rebalance", *urls(pair), WSE_API_KEY_FILE=str(tmp_path / "key"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        *(f"{server.http}: 1 connections" for server in pair),
        "0 clients were moved",
    ]


@pytest.fixture
def sticking(pair: list[Running]) -> Iterator[list[Running]]:
    """Six clients that come back to the first server, as if a proxy made them."""
    clients = [SyncClient(pair[0].url, proxy=None) for _ in range(6)]
    try:
        for client in clients:
            client.__enter__()
        wait_until(lambda: pair[0].server.get_connection_count() == 6, "all are there")
        yield pair
    finally:
        for client in clients:
            client.__exit__(None, None, None)


def test_where_clients_stick_it_gives_up_and_says_why(sticking: list[Running]) -> None:
    done = called("rebalance", *urls(sticking), WSE_API_KEY=KEY)
    assert done.returncode == 1
    assert "9 clients were moved, and the shares are as uneven as before" in done.stderr
    assert "hint: the balancer must give new clients to the node with the fewest" in done.stderr
    assert {event[2] for event in sticking[0].events.of("disconnect")} != set()
    wait_until(lambda: sticking[0].server.get_connection_count() == 6, "nobody is lost")


def test_those_that_were_there_first_go_first_and_nobody_twice(server_factory: Factory) -> None:
    """The clients have the URLs of both, and after 4300 turn to the other one."""
    first, second = (server_factory(api_key=KEY) for _ in range(2))
    clients = []
    try:
        for _ in range(8):
            client = SyncClient(first.url, second.url, proxy=None)
            client.__enter__()
            clients.append(client)
        came = {event[1]: 0.0 for event in first.events.wait("connect", count=8)}
        for conn_id in came:
            info = first.server.get_connection_info(conn_id)
            assert info is not None
            came[conn_id] = info["connected_at"]
        done = called("rebalance", "--rate", "2", *urls([first, second]), WSE_API_KEY=KEY)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("\n4 clients were moved\n")
        gone = {event[1] for event in first.events.wait("disconnect", count=4)}
        assert len(gone) == 4
        assert max(came[each] for each in gone) <= min(came[each] for each in came.keys() - gone)
        assert second.server.get_connection_count() == 4
        assert second.events.of("disconnect") == []
    finally:
        for client in clients:
            client.__exit__(None, None, None)


def test_refusals_are_told_before_anybody_is_moved(server_factory: Factory, pair: list[Running]) -> None:
    good, without = pair[0].http, server_factory().http
    for arguments, variables, code, line in (
        ([good], {}, 2, "there is no key of the HTTP API"),
        ([good, good], {"WSE_API_KEY": KEY}, 2, "is given twice"),
        ([good], {"WSE_API_KEY_FILE": "/nowhere"}, 2, "/nowhere"),
        ([good], {"WSE_API_KEY": "x" * 32}, 4, "refuses the API key"),
        ([good, without], {"WSE_API_KEY": KEY}, 4, "has no HTTP API"),
        ([good, f"{HOST}:{free_port()}"], {"WSE_API_KEY": KEY}, 3, "connection refused"),
    ):
        done = called("rebalance", *arguments, **variables)
        assert done.returncode == code, done
        assert line in done.stderr


def test_nobody_is_moved_while_a_node_is_emptied(pair: list[Running]) -> None:
    pair[0].dial()
    pair[1].server.drain(timeout=0)
    done = called("rebalance", *urls(pair), WSE_API_KEY=KEY)
    assert done.returncode == 1
    assert f"{pair[1].http} is draining" in done.stderr


# ---- One after the other ----


def restarting(command: str, *nodes: str) -> tuple[int, str]:
    done = called("rolling-restart", "--restart", command, "--settle", "0", *nodes, WSE_API_KEY=KEY)
    return done.returncode, done.stderr


def test_a_command_that_is_the_same_for_all_nodes_is_refused(pair: list[Running]) -> None:
    code, said = restarting("systemctl restart wse", pair[0].http)
    assert code == 2
    assert "does the same for all nodes" in said
    assert restarting("echo '{host}", pair[0].http)[0] == 2


def test_a_command_that_fails_ends_it_before_the_next_node(server_factory: Factory) -> None:
    running = server_factory(api_key=KEY)
    code, said = restarting("false {host}", running.http)
    assert code == 1
    assert f"the command for {running.http} ended with 1" in said
    assert restarting("/no/such/program {url}", running.http)[0] == 2


def test_a_node_that_runs_as_before_was_not_restarted(server_factory: Factory) -> None:
    running = server_factory(api_key=KEY)
    code, said = restarting("true {port}", running.http)
    assert code == 1
    assert f"{running.http} runs as before" in said


def test_nodes_that_are_not_linked_are_not_touched(pair: list[Running], tmp_path: Path) -> None:
    code, said = restarting(f"touch {tmp_path}/{{port}}", *urls(pair))
    assert code == 1
    assert f"{pair[0].http} is linked with 0 of 1 other nodes: {pair[0].http} was not touched" in said
    assert list(tmp_path.iterdir()) == []
