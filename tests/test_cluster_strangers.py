"""Who may be a node: certificates, a secret, a name; and that strangers at the port can do nothing."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidMessage

from certificates import Authority, Files
from loglines import LogLines
from nodes import address, instance, join, linked, mesh, wait_until_whole
from support import HOST, Running, dial, wait_until
from wse_server import RustWSEServer

Factory = Callable[..., Running]

SECRET = "a secret of the whole cluster"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def nodes(authority: Authority) -> list[Files]:
    return [authority.node(f"node-{number}") for number in range(3)]


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A node of another authority, of the same name."""
    return Authority(tmp_path_factory.mktemp("another ca")).node("node")


@pytest.fixture
def log() -> Iterator[LogLines]:
    with LogLines() as log:
        yield log


def connect(factory: Factory, *peers: str, **arguments: Any) -> RustWSEServer:
    server = factory().server
    join(server, *peers, **arguments)
    return server


def hears(listener: Running, publisher: RustWSEServer) -> bool:
    """Whether a message gets from a node to another, which counts it."""
    peer = listener.subscriber("t")
    publisher.broadcast("t", "hello")
    return peer.receive() == "hello"


def warnings(log: LogLines) -> list[str]:
    return [line for line in log.lines if line.startswith("WARNING")]


# ---- Certificates ----


def test_nodes_with_certificates_of_the_guide_are_linked(server_factory: Factory, nodes: list[Files]) -> None:
    running = [server_factory() for _ in nodes]
    seed = join(running[0].server, **nodes[0].arguments)
    for node, files in zip(running[1:], nodes[1:], strict=True):
        join(node.server, seeds=[seed], **files.arguments)
    wait_until_whole([node.server for node in running])
    assert hears(running[2], running[1].server)


def test_what_guards_the_port_is_told_and_that_nothing_does_is_a_warning(
    server_factory: Factory, nodes: list[Files], log: LogLines
) -> None:
    connect(server_factory, **nodes[0].arguments)
    log.wait("listening for other nodes")
    log.wait("TLS with certificates of both sides")
    connect(server_factory, cluster_secret=SECRET)
    log.wait("the secret of the cluster")
    assert not warnings(log) or all("jwt_secret" in line for line in warnings(log))
    connect(server_factory)
    (line,) = log.wait("the cluster port is guarded by nothing")
    assert line.levelname == "WARNING"


def test_certificates_change_under_way_and_links_stay(
    server_factory: Factory, authority: Authority, nodes: list[Files], tmp_path: Path
) -> None:
    first, second = server_factory(), server_factory()
    seed = join(first.server, **nodes[0].arguments)
    join(second.server, seeds=[seed], **nodes[1].arguments)
    wait_until_whole([first.server, second.server])
    # Both authorities for as long as nodes of both are there, then the new one alone.
    new = Authority(tmp_path / "new")
    files = [new.node("first"), new.node("second"), new.node("third")]
    both = tmp_path / "both.pem"
    both.write_text((authority.directory / "ca.pem").read_text() + files[0].ca.read_text())
    for running, mine in zip((first, second), files, strict=False):
        running.server.reload_cluster_tls(mine.cert, mine.key, both)
    third = server_factory()
    join(third.server, seeds=[seed], **files[2].arguments)
    wait_until_whole([first.server, second.server, third.server])
    assert hears(third, second.server)
    for node in (first, second, third):
        assert node.server.health_snapshot()["cluster_reconnect_count"] == 0
    for running, mine in zip((first, second), files, strict=False):
        running.server.reload_cluster_tls(str(mine.cert), str(mine.key), str(mine.ca))
    with LogLines() as log:
        late = connect(server_factory, seeds=[seed], **nodes[2].arguments)
        log.wait(f"no link with {seed}: TLS or the secret of the cluster was refused")
    assert refused(late, seed), "the old authority is nobody's any more"
    assert first.server.cluster_peers_count() == 2


def refused(server: RustWSEServer, where: str) -> bool:
    """Whether a node has tried to reach an address in vain."""
    told = [(peer["address"], peer["state"], peer["connected"]) for peer in server.cluster_info()]
    return told == [(where, "unreached", False)]


def test_files_that_are_wrong_change_nothing(
    server_factory: Factory, nodes: list[Files], stranger: Files, tmp_path: Path
) -> None:
    first, second = server_factory(), server_factory()
    seed = join(first.server, **nodes[0].arguments)
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n")
    mine = nodes[0]
    for cert, key, ca, words in [
        (mine.cert, mine.key, tmp_path / "none.pem", "none.pem"),
        (broken, mine.key, mine.ca, "broken.pem"),
        (mine.cert, nodes[1].key, mine.ca, "key"),
        (stranger.cert, stranger.key, mine.ca, "authority"),
    ]:
        with pytest.raises(ValueError, match=words):
            first.server.reload_cluster_tls(cert, key, ca)
    join(second.server, seeds=[seed], **nodes[1].arguments)
    wait_until_whole([first.server, second.server])


@pytest.mark.parametrize("cluster", [{}, {"cluster_secret": SECRET}])
def test_without_certificates_there_are_none_to_reload(
    server_factory: Factory, nodes: list[Files], cluster: dict[str, Any]
) -> None:
    server = server_factory().server
    files = nodes[0]
    with pytest.raises(RuntimeError, match="in no cluster with TLS"):
        server.reload_cluster_tls(files.cert, files.key, files.ca)
    join(server, **cluster)
    with pytest.raises(RuntimeError, match="in no cluster with TLS"):
        server.reload_cluster_tls(files.cert, files.key, files.ca)


def test_names_are_compared_where_that_is_asked_for(server_factory: Factory, authority: Authority) -> None:
    right = authority.named_node("right", f"IP:{HOST}")
    wrong = authority.named_node("wrong", "DNS:elsewhere.example")
    target, other = server_factory(), server_factory()
    place, elsewhere = join(target.server, **right.arguments), join(other.server, **wrong.arguments)
    with LogLines() as log:
        node = connect(server_factory, place, elsewhere, tls_verify_name=True, **right.arguments)
        log.wait("does not name the host that was dialled (tls_verify_name)")
    wait_until(lambda: instance(target.server) in linked(node), "the right one is linked")
    assert instance(other.server) not in linked(node)


# ---- Those that do not belong ----


def outsiders(nodes: list[Files], stranger: Files) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """What the first node is told, and what another, which must not be linked with it."""
    tls = nodes[0].arguments
    return {
        "another authority": (tls, stranger.arguments),
        "no certificate": (tls, {}),
        "a certificate where none is asked for": ({}, tls),
        "another secret": ({"cluster_secret": SECRET}, {"cluster_secret": SECRET + "!"}),
        "no secret": ({"cluster_secret": SECRET}, {}),
        "a secret where none is asked for": ({}, {"cluster_secret": SECRET}),
        "the right certificate without the secret": (tls | {"cluster_secret": SECRET}, nodes[1].arguments),
        "another name": ({"cluster_name": "blue"}, {"cluster_name": "green"}),
        "another name with the secret": (
            {"cluster_name": "blue", "cluster_secret": SECRET},
            {"cluster_name": "green", "cluster_secret": SECRET},
        ),
    }


WORDS = {
    "another authority": "it does not accept this node's certificate",
    "no certificate": "it does not speak TLS, and tls_ca, tls_cert and tls_key are set here",
    "a certificate where none is asked for": "it speaks TLS, and tls_ca, tls_cert and tls_key are not set",
    "another secret": "it does not know the secret: cluster_secret or cluster_name differ",
    "no secret": "it has no cluster_secret, and one is set here",
    "a secret where none is asked for": "it has a cluster_secret, and none is set here",
    "the right certificate without the secret": "it has no cluster_secret, and one is set here",
    "another name": 'belongs to cluster "green"',
    "another name with the secret": "it does not know the secret: cluster_secret or cluster_name differ",
}
"""What a warning in the log of the first node says of it."""


@pytest.mark.parametrize("case", WORDS)
def test_who_does_not_belong_is_not_linked_and_the_log_says_why(
    server_factory: Factory, nodes: list[Files], stranger: Files, case: str, log: LogLines
) -> None:
    inside, outside = outsiders(nodes, stranger)[case]
    first, second = server_factory(), server_factory()
    seed = join(first.server, **inside)
    listener = first.subscriber("t")
    join(second.server, seeds=[seed], **outside)
    wait_until(lambda: any(WORDS[case] in line for line in warnings(log)), WORDS[case])
    # It goes on dialling, and a node that does belong comes in meanwhile.
    third = connect(server_factory, seeds=[seed], **inside)
    wait_until_whole([first.server, third])
    second.server.broadcast("t", "from outside")
    third.broadcast("t", "from inside")
    assert listener.receive() == "from inside"
    assert not second.server.cluster_connected()
    assert linked(first.server) == {instance(third)}


def test_text_and_bytes_are_the_same_secret(server_factory: Factory) -> None:
    first, second = server_factory(), server_factory()
    seed = join(first.server, cluster_secret=SECRET)
    join(second.server, seeds=[seed], cluster_secret=SECRET.encode())
    wait_until_whole([first.server, second.server])
    assert hears(second, first.server)


def test_two_clusters_on_one_host_stay_apart(server_factory: Factory) -> None:
    blue = mesh(server_factory, 2, cluster={"cluster_name": "blue"})
    green = mesh(server_factory, 2, cluster={"cluster_name": "green"})
    lost = connect(server_factory, address(blue[0].server), address(green[0].server), cluster_name="green")
    wait_until(lambda: len(linked(lost)) == 2, "it finds its own")
    assert linked(lost) == {instance(node.server) for node in green}
    assert {len(linked(node.server)) for node in blue} == {1}


# ---- Strangers ----


def open_port(server: RustWSEServer) -> tuple[str, int]:
    host, _, port = address(server).rpartition(":")
    return host, int(port)


GARBAGE = {
    "nothing": b"",
    "zeros": bytes(100_000),
    "noise": os.urandom(100_000),
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a WebSocket": b"GET /wse HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    "a header that is too long": b"\x01\x00\xff\xff\xff\xff\xff\xff",
    "the beginning of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("guard", ["open", "secret", "TLS"])
def test_garbage_at_the_port_of_the_cluster_gets_no_answer_and_does_no_harm(
    server_factory: Factory, nodes: list[Files], guard: str
) -> None:
    cluster: dict[str, Any] = {
        "open": {},
        "secret": {"cluster_secret": SECRET},
        "TLS": nodes[0].arguments,
    }[guard]
    first, second = mesh(server_factory, 2, cluster=cluster)
    for name, garbage in GARBAGE.items():
        with socket.create_connection(open_port(first.server), timeout=10) as stranger:
            answer = b""
            # It may have been closed before it was done.
            with suppress(ConnectionError, OSError):
                stranger.sendall(garbage)
                stranger.shutdown(socket.SHUT_WR)
                while more := stranger.recv(4096):
                    answer += more
            assert b"HTTP" not in answer, name
            assert len(answer) < 300, f"{name}: {answer!r}"
    assert hears(second, first.server)
    assert first.server.cluster_peers_count() == 1
    assert first.server.health_snapshot()["cluster_reconnect_count"] == 0


def test_connections_that_say_nothing_or_little_keep_no_node_out(server_factory: Factory) -> None:
    first, second = mesh(server_factory, 2)
    with ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection(open_port(first.server), timeout=20))
            for _ in range(200)
        ]
        for number, stranger in enumerate(slow):
            if number % 2:
                stranger.sendall(b"\x01")
        assert hears(second, first.server)
        third = connect(server_factory, seeds=[address(first.server)])
        wait_until_whole([first.server, second.server, third])
        began = time.monotonic()
        for stranger in slow:
            stranger.settimeout(20)
            with suppress(ConnectionResetError):
                assert stranger.recv(1) == b"", "nobody is told anything"
        assert time.monotonic() - began < 15, "they are closed after their five seconds"
    assert hears(second, first.server)


def test_the_two_ports_do_not_speak_each_others_language(server_factory: Factory) -> None:
    first = server_factory()
    join(first.server)
    with LogLines() as log:
        lost = connect(server_factory, f"{HOST}:{first.port}")
        log.wait(f"no link with {HOST}:{first.port}")
    assert not lost.cluster_connected()
    host, port = open_port(first.server)
    with pytest.raises((InvalidMessage, ConnectionError, EOFError)):
        dial(f"ws://{host}:{port}/wse")
    peer = first.subscriber("t")
    first.server.broadcast("t", "clients come in")
    assert peer.receive() == "clients come in"
