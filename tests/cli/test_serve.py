"""`wse serve`: a server by the words of a command line, an environment and a file."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest

from certificates import Authority
from cli.service import Service, wse
from commands import ask, say
from support import HOST, PATIENCE, Peer, dial, free_port, wait_until

SECRET = "a-secret-of-thirty-two-bytes-or-more"


def client(service: Service) -> Peer:
    return Peer(dial(f"ws://{HOST}:{service.port}/wse"), "")


def test_it_listens_says_so_in_one_line_and_ends_well() -> None:
    with Service() as service:
        assert service.ready().startswith("wse ")
        assert service.get("/ready") == (200, '{"ready":true}')
        assert service.stop() == 0
        assert len(service.out) == 1


def test_without_a_secret_it_says_loudly_that_it_is_open_and_lets_nobody_publish() -> None:
    with Service() as service:
        service.logged("WARNING", "OPEN TO EVERYBODY", "subscribe")
        peer = client(service)
        answer = ask(peer, "subscription_update", action="subscribe", topics=["news"])
        assert answer["p"]["success_topics"] == ["news"]
        refused = ask(peer, "publish", topic="news", data={"t": "x"})
        assert (refused["t"], refused["p"]["code"]) == ("error", "INVALID_ACTION")
        peer.close()


def test_clients_publish_where_they_may() -> None:
    with Service("--client-publish") as service:
        service.logged("OPEN TO EVERYBODY", "and publish to it")
        peer = client(service)
        ask(peer, "subscription_update", action="subscribe", topics=["news"])
        say(peer, "publish", "1", topic="news", data={"t": "hello"})
        assert {peer.receive_json()["t"], peer.receive_json()["t"]} == {"publish", "hello"}
        peer.close()


def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        done = wse("serve", "--host", HOST, "--port", taken.getsockname()[1])
    assert done.code == 1
    error, hint = [line for line in done.err.splitlines() if " WARNING " not in line]
    assert error.endswith("Address already in use")
    assert hint.startswith("  hint: another process has the port")


def test_all_problems_are_told_at_once_each_with_its_source(tmp_path: Path) -> None:
    (tmp_path / "wse.toml").write_text('prot = 1\nrecovery_ttl = "soon"\n')
    done = wse(
        "serve", "--config", tmp_path / "wse.toml", "--idle-timeout", "1s", WSE_JWT_SECRT="x", WSE_API_KEY="k"
    )
    assert done.code == 2
    errors = [line for line in done.err.splitlines() if line.startswith("wse: error: ")]
    sources = {line.removeprefix("wse: error: ").split(": ")[0] for line in errors}
    assert sources == {"wse.toml", "--idle-timeout", "WSE_JWT_SECRT", "WSE_API_KEY"}
    assert len(errors) == 5
    assert "hint: WSE_JWT_SECRET?" in done.err


def test_two_nodes_find_each_other_and_have_history() -> None:
    with Service(WSE_SEEDS="127.0.0.1:1", WSE_CLUSTER_PORT="0") as first:
        with Service(WSE_SEEDS=first.cluster, WSE_CLUSTER_PORT="0") as second:
            wait_until(lambda: second.health()["cluster_connected"], "they are linked")
            assert first.health()["recovery_enabled"] is True
            assert second.stop() == 0
        assert first.stop() == 0


def test_certificates_of_the_directory_are_taken_by_a_node(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    places = []
    for name in ("one", "two"):
        files = authority.node(name)
        (files.cert.parent / "ca.pem").write_bytes(files.ca.read_bytes())
        places.append(str(files.cert.parent))
    with Service(WSE_TLS_DIR=places[0], WSE_SEEDS="127.0.0.1:1", WSE_CLUSTER_PORT="0") as first:
        with Service(WSE_TLS_DIR=places[1], WSE_SEEDS=first.cluster, WSE_CLUSTER_PORT="0") as second:
            wait_until(lambda: second.health()["cluster_connected"], "they are linked")
        assert "guarded by nothing" not in first.log


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_log_has_a_form(form: str) -> None:
    with Service("--log-format", form, "--log-level", "warning") as service:
        assert service.port > 0
        assert service.stop() == 0
    lines = [line for line in service.err if "OPEN TO EVERYBODY" in line]
    assert len(lines) == 1
    if form == "json":
        record = json.loads(lines[0])
        assert (record["level"], record["logger"]) == ("warning", "wse_server.serve")
        assert record["time"][:4] == time.strftime("%Y", time.gmtime())
        assert json.loads(service.out[0])["ready"] is True
    assert "INFO" not in service.log


def test_it_gets_the_descriptors_that_its_clients_need_as_far_as_it_may() -> None:
    few = ("/bin/sh", "-c", 'ulimit -Sn 64 && exec "$@"', "sh")
    with Service("--max-connections", "300", prefix=few) as service:
        service.ready()
        limits = Path(f"/proc/{service.process.pid}/limits").read_text()
        (line,) = [line.split() for line in limits.splitlines() if line.startswith("Max open files")]
        assert line[3] == "400"
        assert "file descriptors" not in service.log
    lower = ("/bin/sh", "-c", 'ulimit -n 128 && exec "$@"', "sh")
    with Service("--max-connections", "300", prefix=lower) as service:
        service.logged("WARNING", "300 connections need 400 file descriptors, and the limit is 128")


APP = """
from wse_server import Server

server = Server("127.0.0.1", 1, client_subscriptions=False)
server.add_static("/page", "text/plain", "mine")


@server.on("double")
async def double(connection, payload: int) -> int:
    return 2 * payload


@server.on("fail")
async def fail(connection) -> None:
    raise ZeroDivisionError("over\\nnothing")
"""


def test_a_program_is_run_with_the_settings_of_the_place(tmp_path: Path) -> None:
    (tmp_path / "doubler.py").write_text(APP)
    with Service(
        "--app", "doubler:server", cwd=tmp_path, WSE_MAX_CONNECTIONS="1", WSE_DOUBLER="x"
    ) as service:
        peer = client(service)
        peer.send({"t": "double", "p": 21, "cid": "1"})
        assert peer.receive_json()["p"] == 42
        assert service.get("/page") == (200, "mine")
        with pytest.raises(Exception, match="503"):
            dial(f"ws://{HOST}:{service.port}/wse")
        peer.close()
        service.logged("WARNING", "WSE_DOUBLER: there is no such variable")
        assert service.stop() == 0


def test_what_a_handler_raises_is_one_line_of_json_with_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "doubler.py").write_text(APP)
    with Service("--app", "doubler:server", "--log-format", "json", cwd=tmp_path) as service:
        peer = client(service)
        peer.send({"t": "fail"})
        assert peer.receive_json()["p"]["code"] == "HANDLER_ERROR"
        line = json.loads(service.logged("ZeroDivisionError"))
        assert line["level"] == "error"
        assert line["exception"].startswith("Traceback (most recent call last):\n")
        assert line["exception"].endswith("ZeroDivisionError: over\nnothing")
        peer.close()


@pytest.mark.parametrize(
    ("app", "told"),
    [
        ("nowhere:server", "--app: there is no module 'nowhere'"),
        ("broken:server", "broken can't be imported: ZeroDivisionError: division by zero"),
        ("empty:server", "--app: empty has no server"),
        ("empty:number", "--app: empty:number is of type int, no wse_server.Server"),
        ("taken:server", "taken:server uses server.engine before it runs"),
    ],
)
def test_a_program_that_can_not_be_run_is_told_in_one_line(app: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "empty.py").write_text("number = 1\n")
    (tmp_path / "taken.py").write_text("from wse_server import Server\nserver = Server()\nserver.engine\n")
    done = wse("serve", "--app", app, "--port", free_port(), cwd=tmp_path)
    assert done.code in {1, 2}
    assert f"wse: error: {told}" in done.err


def test_drained_within_its_time_a_client_is_told_to_come_back() -> None:
    with Service("--drain-timeout", "5s") as service:
        peer = client(service)
        started = time.monotonic()
        service.process.terminate()
        assert peer.close_code(PATIENCE) == 4300
        assert service.wait() == 0
        assert time.monotonic() - started < 5
