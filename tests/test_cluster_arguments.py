"""What `connect_cluster` refuses, and that nothing has changed then."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nodes import CALM, instance, join, wait_until_whole
from support import HOST, Running, free_port
from wse_server import RustWSEServer

Factory = Callable[..., Running]

WRONG_VALUES: list[tuple[dict[str, Any], str]] = [
    ({"peers": ["10.0.0.1"]}, r'peers: "10\.0\.0\.1": an address is host:port'),
    ({"peers": ["a:1", ""]}, r'peers: "": an address is host:port'),
    ({"peers": [":9999"]}, "peers.*an address is host:port"),
    ({"peers": ["host:0"]}, "the port of an address is a number from 1 to 65535"),
    ({"peers": ["host:65536"]}, "from 1 to 65535"),
    ({"peers": ["host:+1"]}, "from 1 to 65535"),
    ({"peers": ["::1:9999"]}, r"\[host\]:port for IPv6"),
    ({"peers": ["http://host:1"]}, "an address is host:port"),
    ({"peers": ["x" * 300 + ":1"]}, "at most 261 bytes"),
    ({"seeds": ["nonsense"]}, "seeds.*nonsense"),
    ({"cluster_addr": "nonsense"}, "cluster_addr.*nonsense"),
    ({"cluster_port": -1}, "port.*-1"),
    ({"cluster_port": 65536}, "port.*65536"),
    ({"cluster_secret": ""}, "cluster_secret has 0 bytes; allowed: at least 16"),
    ({"cluster_secret": b"fifteen bytes.."}, "cluster_secret has 15 bytes"),
    ({"cluster_name": ""}, "cluster_name has 0 bytes; allowed: 1 to 255"),
    ({"cluster_name": "ä" * 128}, "cluster_name has 256 bytes"),
    ({"recovery_replicas": -1}, "recovery_replicas is -1; allowed: 0 to 4"),
    ({"recovery_replicas": 5}, "recovery_replicas is 5; allowed: 0 to 4"),
    ({"heartbeat_interval": 0.0}, "heartbeat_interval"),
    ({"heartbeat_interval": 0.001}, "heartbeat_interval.*at least 0.01 s"),
    ({"heartbeat_interval": -1.0}, "heartbeat_interval"),
    ({"heartbeat_interval": float("nan")}, "heartbeat_interval"),
    ({"heartbeat_interval": float("inf")}, "heartbeat_interval"),
    ({"dead_after": 0.3}, "dead_after.*at least twice the interval"),
    ({"dead_after": float("nan")}, "dead_after"),
    ({"tls_cert": "a.pem"}, "tls_key and tls_ca not given"),
    (
        {"tls_cert": "a.pem", "tls_key": "a.key"},
        "tls_ca not given; allowed: tls_cert, tls_key and",
    ),
    ({"tls_ca": Path("ca.pem")}, "tls_cert and tls_key not given"),
    ({"tls_cert": "no.pem", "tls_key": "no.key", "tls_ca": "no-ca.pem"}, "no.*pem"),
]

WRONG_TYPES: list[tuple[dict[str, Any], str]] = [
    ({"peers": "10.0.0.1:9999"}, "peers is of type str; allowed: a list of str"),
    ({"peers": [1]}, "peers is of type list; allowed: a list of str"),
    ({"peers": None}, "peers is of type NoneType"),
    ({"seeds": "10.0.0.1:9999"}, "seeds is of type str"),
    ({"seeds": {"a:1": 1}}, "seeds is of type dict"),
    ({"cluster_port": "9999"}, "port"),
    ({"cluster_port": 1.5}, "port"),
    ({"cluster_port": True}, "port"),
    ({"cluster_host": 1}, "host"),
    ({"cluster_secret": 12345678901234567890}, "cluster_secret is of type int; allowed: str or bytes"),
    ({"cluster_addr": 1}, "cluster_addr"),
    ({"cluster_name": None}, "cluster_name"),
    ({"heartbeat_interval": "2"}, "heartbeat_interval"),
    ({"recovery_replicas": 1.5}, "recovery_replicas"),
    ({"tls_cert": 1}, "tls_cert"),
    ({"nonsense": 1}, "nonsense"),
]


def attempt(server: RustWSEServer, arguments: dict[str, Any]) -> None:
    given: dict[str, Any] = {"peers": [], "cluster_port": 0} | CALM | arguments
    server.connect_cluster(**given)


def assert_is_nobodys_node(server: RustWSEServer) -> None:
    assert server.cluster_identity() is None
    join(server)
    assert server.cluster_identity() is not None


@pytest.mark.parametrize(("arguments", "words"), WRONG_VALUES, ids=str)
def test_a_value_that_is_not_allowed_is_named(
    running: Running, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        attempt(running.server, arguments)
    assert_is_nobodys_node(running.server)


@pytest.mark.parametrize(("arguments", "words"), WRONG_TYPES, ids=str)
def test_a_value_of_the_wrong_type_is_named(running: Running, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        attempt(running.server, arguments)
    assert_is_nobodys_node(running.server)


def test_the_public_port_is_not_for_nodes(running: Running) -> None:
    with pytest.raises(ValueError, match=f"must not be the port of the clients .{running.port}."):
        attempt(running.server, {"cluster_port": running.port})
    assert_is_nobodys_node(running.server)


def test_a_port_in_use_is_an_os_error_that_names_it(running: Running) -> None:
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=f"cluster_port {port} of {HOST}: .*in use"):
            attempt(running.server, {"cluster_port": port})
    assert_is_nobodys_node(running.server)


def test_a_host_of_somebody_else_is_an_os_error(running: Running) -> None:
    with pytest.raises(OSError, match=r"192\.0\.2\.1"):
        attempt(running.server, {"cluster_host": "192.0.2.1"})
    assert_is_nobodys_node(running.server)


def test_a_server_is_connected_after_its_start_and_once() -> None:
    server = RustWSEServer(HOST, free_port())
    with pytest.raises(RuntimeError, match="connect_cluster comes after start"):
        attempt(server, {})
    server.start()
    try:
        attempt(server, {})
        before = instance(server)
        with pytest.raises(RuntimeError, match="part of a cluster already"):
            attempt(server, {})
        assert instance(server) == before
    finally:
        server.stop()
    with pytest.raises(RuntimeError, match="connect_cluster comes after start"):
        attempt(server, {})


def test_tuples_and_positions_are_as_good_as_lists_and_names(server_factory: Factory) -> None:
    first, second = server_factory().server, server_factory().server
    seed = join(first)
    second.connect_cluster((seed,), None, None, None, 0)
    wait_until_whole([first, second])


def test_the_port_may_be_on_another_host_than_that_of_the_clients(server_factory: Factory) -> None:
    running = server_factory()
    running.server.connect_cluster([], cluster_port=0, cluster_host="127.0.0.2")
    identity = running.server.cluster_identity()
    assert identity is not None
    assert identity["address"].startswith("127.0.0.2:")
    other = server_factory().server
    join(other, identity["address"])
    wait_until_whole([running.server, other])
