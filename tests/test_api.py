"""The Python surface: signatures as documented, calls that must be harmless, numbers that must be true."""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
import websockets.sync.client

import wse_server
from support import HOST, PATIENCE, Running, dial, free_port, wait_until
from wire import Wire, ask, plain
from wse_server import RustWSEServer, _native, rust_jwt_decode, rust_jwt_encode

Factory = Callable[..., Running]
SECRET = "a secret that has more than thirty-two bytes"

SIGNATURES = {
    "start": "(self, /, *, joining=False)",
    "stop": "(self, /)",
    "drain": "(self, /, close_code=4300, close_reason='', timeout=30.0)",
    "is_running": "(self, /)",
    "enable_drain_mode": "(self, /, *, claims=False, authorize=False)",
    "drain_inbound": "(self, /, max_count=256, timeout_ms=50.0)",
    "event_fd": "(self, /)",
    "set_callbacks": "(self, /, on_connect, on_message, on_disconnect)",
    "inbound_queue_depth": "(self, /)",
    "inbound_dropped_count": "(self, /)",
    "send": "(self, /, conn_id, message)",
    "send_bytes": "(self, /, conn_id, data)",
    "send_event": "(self, /, conn_id, event, compression_threshold=1024)",
    "broadcast_all": "(self, /, message)",
    "broadcast_all_bytes": "(self, /, data)",
    "broadcast_local": "(self, /, topic, message)",
    "broadcast": "(self, /, topic, message, *, wait='local', timeout=10.0)",
    "broadcast_many": "(self, /, topic, messages, *, wait='local', timeout=10.0)",
    "has_room": "(self, /, topic)",
    "authorize_connection": "(self, /, conn_id, action, decisions)",
    "forget_authorizations": "(self, /, conn_id)",
    "pause_reading": "(self, /, conn_id)",
    "resume_reading": "(self, /, conn_id)",
    "subscribe_connection": "(self, /, conn_id, topics, presence_data=None, queue_group=None, timeout=1.0)",
    "subscribe_with_recovery": (
        "(self, /, conn_id, topics, recover=False, epoch=None, offset=None, positions=None)"
    ),
    "unsubscribe_connection": "(self, /, conn_id, topics=None)",
    "get_queue_group_info": "(self, /, topic)",
    "presence": "(self, /, topic)",
    "presence_stats": "(self, /, topic)",
    "update_presence": "(self, /, conn_id, data)",
    "set_topic_acl": "(self, /, conn_id, allow=None, deny=None)",
    "get_topic_subscriber_count": "(self, /, topic)",
    "get_connection_count": "(self, /)",
    "get_connections": "(self, /)",
    "get_connection_info": "(self, /, conn_id)",
    "disconnect": "(self, /, conn_id, code=1000, reason='')",
    "health_snapshot": "(self, /)",
    "prometheus_metrics": "(self, /)",
    "add_static": "(self, /, path, content_type, body)",
    "mint_token": "(self, /, claims)",
    "set_allowed_origins": "(self, /, origins)",
    "set_jwt_keys": "(self, /, secret, previous_secret=None, private_key=None)",
    "set_api_key": "(self, /, key)",
    "connect_cluster": (
        "(self, /, peers, tls_cert=None, tls_key=None, tls_ca=None, cluster_port=None, seeds=None, "
        "cluster_addr=None, cluster_secret=None, cluster_name='wse', cluster_host=None, recovery_replicas=1, "
        "heartbeat_interval=2.0, dead_after=8.0, tls_verify_name=False)"
    ),
    "cluster_connected": "(self, /)",
    "cluster_peers_count": "(self, /)",
    "cluster_info": "(self, /)",
    "cluster_identity": "(self, /)",
    "reload_cluster_tls": "(self, /, cert, key, ca)",
    "get_cluster_dlq_entries": "(self, /)",
}
"""The documented methods. What the stub says of them is compared with the module by stubtest."""


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_method_has_the_documented_signature_and_a_docstring(name: str) -> None:
    method = getattr(RustWSEServer, name)
    assert str(inspect.signature(method)) == SIGNATURES[name]
    assert method.__doc__
    assert method.__doc__.strip().endswith((".", "]", "}", "True}")), method.__doc__


def test_the_functions_have_the_documented_signatures() -> None:
    assert str(inspect.signature(rust_jwt_encode)) == "(claims, secret, algorithm='HS256', key_id=None)"
    assert str(inspect.signature(rust_jwt_decode)) == (
        "(token, secret, algorithm='HS256', issuer=None, audience=None, previous_secret=None, key_id=None)"
    )


def test_everything_public_has_a_docstring() -> None:
    for name in wse_server.__all__:
        assert getattr(wse_server, name).__doc__, name
    public = {name for name in vars(RustWSEServer) if not name.startswith("_")}
    assert public == {*SIGNATURES, "host", "port"}
    for name in public:
        assert getattr(RustWSEServer, name).__doc__, name


def test_the_package_has_the_version_of_the_native_module() -> None:
    assert wse_server.__version__ == _native.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+([-+.].+)?", wse_server.__version__)


def test_arguments_may_be_given_by_name(running: Running) -> None:
    peer = running.dial()
    server = running.server
    server.subscribe_connection(conn_id=peer.conn_id, topics=["a"], timeout=0)
    server.broadcast(topic="a", message="1")
    server.broadcast_local(topic="a", message="2")
    server.broadcast_many(topic="a", messages=["3"])
    server.broadcast_all(message="4")
    server.send(conn_id=peer.conn_id, message="5")
    server.send_bytes(conn_id=peer.conn_id, data=b"6")
    server.broadcast_all_bytes(data=b"7")
    server.unsubscribe_connection(conn_id=peer.conn_id, topics=["a"])
    server.disconnect(conn_id=peer.conn_id, code=4000, reason="8")
    assert [peer.receive() for _ in range(7)] == ["1", "2", "3", "4", "5", b"6", b"7"]
    assert peer.close_code() == 4000


# ---- Without a running server ----


def every_call(server: RustWSEServer, conn_id: str) -> dict[str, tuple[Callable[[], object], object]]:
    """A call of each method that needs a running server, and what it answers without one."""
    return {
        "is_running": (server.is_running, False),
        "stop": (server.stop, None),
        "drain": (server.drain, {"drained": 0, "cut": 0}),
        "inbound_queue_depth": (server.inbound_queue_depth, 0),
        "send": (lambda: server.send(conn_id, "x"), None),
        "send_bytes": (lambda: server.send_bytes(conn_id, b"x"), None),
        "broadcast_all": (lambda: server.broadcast_all("x"), None),
        "broadcast_all_bytes": (lambda: server.broadcast_all_bytes(b"x"), None),
        "broadcast_local": (lambda: server.broadcast_local("t", "x"), None),
        "broadcast": (lambda: server.broadcast("t", "x", wait="stored"), None),
        "broadcast_many": (lambda: server.broadcast_many("t", ["x"]), None),
        "unsubscribe_connection": (lambda: server.unsubscribe_connection(conn_id), None),
        "get_topic_subscriber_count": (lambda: server.get_topic_subscriber_count("t"), 0),
        "get_connection_count": (server.get_connection_count, 0),
        "get_connections": (server.get_connections, []),
        "cluster_connected": (server.cluster_connected, False),
        "cluster_peers_count": (server.cluster_peers_count, 0),
        "cluster_info": (server.cluster_info, []),
        "cluster_identity": (server.cluster_identity, None),
        "get_cluster_dlq_entries": (server.get_cluster_dlq_entries, []),
        "get_connection_info": (lambda: server.get_connection_info(conn_id), None),
        "disconnect": (lambda: server.disconnect(conn_id), None),
        "send_event": (lambda: server.send_event(conn_id, {"t": "x"}), 0),
        "add_static": (lambda: server.add_static("/x", "text/plain", "x"), None),
        "connections": (lambda: server.health_snapshot()["connections"], 0),
        "uptime": (lambda: server.health_snapshot()["uptime_secs"], 0.0),
        "subscribe_connection": (
            lambda: server.subscribe_connection(conn_id, ["t"])["subscribed"],
            [],
        ),
    }


def test_every_method_is_harmless_before_the_start_and_after_the_stop() -> None:
    port = free_port()
    server = RustWSEServer(HOST, port)
    for name, (call, answer) in every_call(server, "nobody").items():
        assert call() == answer, f"{name} before the start"
    assert server.inbound_dropped_count() == 0
    server.start()
    client = dial(f"ws://{HOST}:{port}/wse")
    wait_until(lambda: server.get_connection_count() == 1, "the client")
    (conn_id,) = server.get_connections()
    assert set(server.health_snapshot()) == set(RustWSEServer(HOST, 0).health_snapshot())
    server.stop()
    client.close()
    for name, (call, answer) in every_call(server, conn_id).items():
        assert call() == answer, f"{name} after the stop"
    for text in ("\ud800", b"\xff"):
        with pytest.raises(ValueError, match="UTF-8"):
            server.broadcast_all(text)


def test_mistakes_are_told_whether_the_server_runs_or_not(running: Running) -> None:
    for server in (running.server, RustWSEServer(HOST, 0)):
        with pytest.raises(ValueError, match="code"):
            server.disconnect("nobody", 1005)
        with pytest.raises(ValueError, match="topic"):
            server.broadcast("", "x")
        with pytest.raises(ValueError, match="pattern"):
            server.broadcast_many("*", ["x"])
        wrong: Any = 5
        with pytest.raises(TypeError, match="message"):
            server.send("nobody", wrong)


def test_calls_that_name_nobody_do_nothing(running: Running) -> None:
    member, gone = running.subscriber("t"), running.dial()
    gone.close()
    running.events.wait("disconnect")
    server = running.server
    for conn_id in (gone.conn_id, "nobody", "", "x" * 10_000, "é", member.conn_id[:-1], member.conn_id + "0"):
        server.send(conn_id, "x")
        server.send_bytes(conn_id, b"x")
        assert server.send_event(conn_id, {"t": "x"}) == 0
        server.disconnect(conn_id)
        server.unsubscribe_connection(conn_id)
        assert server.get_connection_info(conn_id) is None
    server.broadcast("t", "still one")
    assert member.receive() == "still one"
    assert server.get_connections() == [member.conn_id]


def test_a_server_tells_its_address() -> None:
    server = RustWSEServer(HOST, 0)
    assert (server.host, server.port) == (HOST, 0)
    assert repr(server) == f"<RustWSEServer {HOST}:0 stopped>"
    server.start()
    try:
        assert server.port > 0
        assert ask(server.port, plain("GET", "/ready")).status == 200
        assert repr(server) == f"<RustWSEServer {HOST}:{server.port} running>"
    finally:
        server.stop()
    assert server.port == 0


@pytest.mark.parametrize(
    ("host", "address", "shown"), [("localhost", "localhost", HOST), ("::1", "[::1]", "::1")]
)
def test_a_host_may_be_a_name_or_of_ipv6(host: str, address: str, shown: str) -> None:
    server = RustWSEServer(host, 0)
    try:
        server.start()
    except OSError:
        pytest.skip(f"this machine has no {host}")
    try:
        # As the library connects when nobody tells it anything: with compression and pings of its own.
        with websockets.sync.client.connect(f"ws://{address}:{server.port}/wse", proxy=None) as client:
            wait_until(lambda: server.get_connection_count() == 1, "the client")
            info = server.get_connection_info(server.get_connections()[0])
            assert info is not None
            assert info["address"] in {shown, "::1"}
            server.broadcast_all("hello" * 1000)
            assert client.recv(PATIENCE) == "hello" * 1000
            assert client.ping().wait(PATIENCE)
    finally:
        server.stop()


# ---- Events ----


def test_drain_inbound_asks_for_drain_mode_before_the_start() -> None:
    server = RustWSEServer(HOST, 0)
    with pytest.raises(RuntimeError, match="enable_drain_mode"):
        server.drain_inbound()
    server.start()
    try:
        with pytest.raises(RuntimeError, match="before start"):
            server.enable_drain_mode()
        with pytest.raises(RuntimeError, match="before start"):
            server.set_callbacks(print, print, print)
    finally:
        server.stop()
    server.enable_drain_mode()
    server.enable_drain_mode()
    assert server.drain_inbound(1, 0) == []
    with pytest.raises(RuntimeError, match="drain mode"):
        server.set_callbacks(print, print, print)


def test_callbacks_and_drain_mode_exclude_each_other() -> None:
    server = RustWSEServer(HOST, 0)
    wrong: Any = "no function"
    for at, name in enumerate(["on_connect", "on_message", "on_disconnect"]):
        callbacks: list[Any] = [print, print, print]
        callbacks[at] = wrong
        with pytest.raises(TypeError, match=name):
            server.set_callbacks(*callbacks)
    server.set_callbacks(print, print, print)
    with pytest.raises(RuntimeError, match="callbacks"):
        server.enable_drain_mode()


@pytest.mark.parametrize("max_count", [0, -1])
def test_a_count_of_nothing_is_refused(running: Running, max_count: int) -> None:
    with pytest.raises(ValueError, match=f"max_count.*{max_count}"):
        running.server.drain_inbound(max_count)


@pytest.mark.parametrize("timeout_ms", [-1, float("nan"), float("inf")])
def test_a_wait_that_is_no_time_is_refused(running: Running, timeout_ms: float) -> None:
    with pytest.raises(ValueError, match="timeout_ms"):
        running.server.drain_inbound(1, timeout_ms)


def test_drain_inbound_gives_no_more_than_asked_for_and_loses_nothing(server_factory: Factory) -> None:
    running = server_factory(drain=False)
    running.server.stop()
    running.server.enable_drain_mode()
    running.server.start()
    server = running.server
    with Wire(running.port) as wire:
        for n in range(100):
            wire.send(0x1, str(n).encode())
        wait_until(lambda: server.inbound_queue_depth() == 101, "all events")
        assert server.health_snapshot()["inbound_queue_depth"] == 101
        taken: list[tuple[str, str, Any]] = []
        for count in (1, 2, 3, 50, 1000):
            batch = server.drain_inbound(count, 0)
            assert len(batch) == min(count, 101 - len(taken))
            taken += batch
        assert [data for kind, _, data in taken if kind == "raw"] == [str(n) for n in range(100)]
        assert server.inbound_queue_depth() == 0
        started = time.monotonic()
        assert server.drain_inbound(1, 200) == []
        assert 0.19 <= time.monotonic() - started < PATIENCE
        assert server.drain_inbound(1, 0) == []


def test_without_anybody_to_hear_them_events_are_not_kept(server_factory: Factory) -> None:
    running = server_factory(drain=False)
    with Wire(running.port) as wire:
        for _ in range(100):
            wire.send(0x1, b"x" * 100)
        wait_until(lambda: running.server.health_snapshot()["messages_received"] == 100, "the messages")
    assert running.server.inbound_queue_depth() == 0
    assert running.server.inbound_dropped_count() == 0


def test_connection_ids_are_never_used_twice() -> None:
    port = free_port()
    server = RustWSEServer(HOST, port)
    seen: set[str] = set()
    for _ in range(3):
        server.start()
        for _ in range(20):
            with Wire(port):
                wait_until(lambda: server.get_connection_count() == 1, "the client")
                (conn_id,) = server.get_connections()
                assert conn_id not in seen
                seen.add(conn_id)
            wait_until(lambda: server.get_connection_count() == 0, "its end")
        server.stop()
    assert len(seen) == 60


# ---- People ----


def test_what_is_known_about_a_connection(running: Running) -> None:
    peer = running.dial()
    running.server.subscribe_connection(peer.conn_id, ["b", "a.*", "a"])
    info = running.server.get_connection_info(peer.conn_id)
    assert info is not None
    assert abs(info["connected_at"] - time.time()) < 60
    assert info == {
        "address": HOST,
        "port": peer.socket.socket.getsockname()[1],
        "user_id": None,
        "connected_at": info["connected_at"],
        "format": "json",
        "compressed": False,
        "topics": ["a", "a.*", "b"],
        "queued_bytes": 0,
    }
    peer.close()
    running.events.wait("disconnect")
    assert running.server.get_connection_info(peer.conn_id) is None


def test_the_user_of_a_connection_is_known(server_factory: Factory) -> None:
    running = server_factory(jwt_secret=SECRET)
    token = running.server.mint_token({"sub": "user-é", "exp": int(time.time()) + 60})
    info = running.server.get_connection_info(running.dial(token=token).conn_id)
    assert info is not None
    assert info["user_id"] == "user-é"


def test_queued_bytes_tell_what_a_client_has_not_taken(running: Running) -> None:
    with Wire(running.port):
        ((_, conn_id, _),) = running.events.wait("connect")
        running.server.send_bytes(conn_id, bytes(12 << 20))

        def queued() -> int:
            info = running.server.get_connection_info(conn_id)
            assert info is not None
            return info["queued_bytes"]

        # Some of it lies in the kernel, which takes a few megabytes.
        assert 1 << 20 < wait_until(queued, "bytes that wait") <= (12 << 20) + 10
        assert running.server.health_snapshot()["outbound_queued_bytes"] >= 12 << 20
    running.events.wait("disconnect")
    wait_until(lambda: running.server.health_snapshot()["outbound_queued_bytes"] == 0, "nothing waits")


def test_connections_are_listed_and_counted(running: Running) -> None:
    peers = [running.dial() for _ in range(5)]
    assert sorted(running.server.get_connections()) == sorted(peer.conn_id for peer in peers)
    assert running.server.get_connection_count() == 5
    running.server.disconnect(peers[0].conn_id)
    running.events.wait("disconnect")
    assert sorted(running.server.get_connections()) == sorted(peer.conn_id for peer in peers[1:])


@pytest.mark.parametrize(
    "code", [-1, 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65536 + 1000, 1 << 40]
)
def test_a_close_code_that_must_not_be_sent_is_refused(running: Running, code: int) -> None:
    peer = running.dial()
    with pytest.raises(ValueError, match="code must be 1000-1003, 1007-1014 or 3000-4999") as caught:
        running.server.disconnect(peer.conn_id, code)
    assert str(code) in str(caught.value)
    running.server.send(peer.conn_id, "still here")
    assert peer.receive() == "still here"


def test_a_close_reason_has_to_fit_into_a_control_frame(running: Running) -> None:
    peer = running.dial()
    for reason in ("x" * 124, "é" * 62):
        with pytest.raises(ValueError, match=r"123.*124"):
            running.server.disconnect(peer.conn_id, 4000, reason)
    with pytest.raises(ValueError, match="surrogate"):
        running.server.disconnect(peer.conn_id, 4000, "\ud800")
    wrong: Any = "1000"
    with pytest.raises(TypeError):
        running.server.disconnect(peer.conn_id, wrong)
    running.server.disconnect(peer.conn_id, 4000, "x" * 123)
    assert peer.close_code() == 4000


# ---- Health ----


def test_every_count_goes_up_by_what_happened(server_factory: Factory) -> None:
    running = server_factory(rate_limit_capacity=100, rate_limit_refill=0.01)
    server = running.server
    assert server.health_snapshot()["connections_accepted"] == 0
    peers = [running.subscriber("a") for _ in range(3)]
    before = server.health_snapshot()
    assert (before["connections"], before["connections_accepted"], before["topics"]) == (3, 3, 1)
    assert (before["messages_received"], before["messages_sent"]) == (0, 0)

    for n in range(10):
        peers[0].send(f"{n:0100}")
    running.events.wait("raw", count=10)
    for _ in range(4):
        server.broadcast("a", "x" * 1000)
    server.broadcast_many("a", ["y" * 1000] * 5)
    server.send(peers[0].conn_id, "z" * 1000)
    server.broadcast_all("w" * 1000)
    for peer, count in zip(peers, (11, 10, 10), strict=True):
        for _ in range(count):
            peer.receive()
    # A client's frame of 100 bytes has 6 around it; a server's of 1000 has 4. What is written is counted
    # after that, when the client may have read it already.
    sent = before["bytes_sent"] + 31 * 1004
    wait_until(lambda: server.health_snapshot()["bytes_sent"] >= sent, "all is counted")
    after = server.health_snapshot()
    assert after["messages_received"] == 10
    assert after["messages_sent"] == 31
    assert after["bytes_received"] - before["bytes_received"] == 10 * 106
    assert after["bytes_sent"] == sent
    assert after["uptime_secs"] > before["uptime_secs"] > 0

    for _ in range(100):
        peers[0].send("too much")
    running.events.wait("raw", count=100)
    wait_until(lambda: server.health_snapshot()["rate_limited"] == 10, "ten refused")
    assert ask(running.port, b"nonsense\r\n\r\n").status == 400
    assert server.health_snapshot()["connections_rejected"] == 1
    for peer in peers:
        peer.close()
    running.events.wait("disconnect", count=3)
    final = server.health_snapshot()
    assert (final["connections"], final["connections_accepted"], final["topics"]) == (0, 3, 0)
    assert (final["slow_consumer_drops"], final["auth_failures"], final["accept_pauses"]) == (0, 0, 0)


def test_a_fresh_start_begins_to_count_anew(running: Running) -> None:
    running.dial()
    running.server.stop()
    running.events.wait("disconnect")
    running.server.start()
    snapshot = running.server.health_snapshot()
    assert (snapshot["connections_accepted"], snapshot["bytes_received"], snapshot["inbound_dropped"]) == (
        0,
        0,
        0,
    )
    assert snapshot["uptime_secs"] < 30


def test_what_nobody_took_is_counted_as_lost_at_the_next_start() -> None:
    server = RustWSEServer(HOST, 0)
    server.enable_drain_mode()
    server.start()
    with Wire(server.port) as wire:
        wire.send(0x1, b"x")
        wait_until(lambda: server.inbound_queue_depth() == 2, "the events")
        server.stop()
    # They can still be drained.
    assert server.inbound_queue_depth() == 3
    assert server.inbound_dropped_count() == 0
    assert [kind for kind, _, _ in server.drain_inbound(1, 0)] == ["connect"]
    server.start()
    assert server.inbound_dropped_count() == 2
    server.stop()
