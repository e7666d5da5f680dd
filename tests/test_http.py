"""HTTP on the port of the WebSocket: health, pages, and the refusals of what is no good upgrade."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable

import pytest

from support import HOST, PATIENCE, Running, free_port, wait_until
from wire import Answer, Wire, ask, plain, read_answer, read_slowly, request
from wse_server import RustWSEServer

Factory = Callable[..., Running]

HEALTH_KEYS = {
    "connections",
    "inbound_queue_depth",
    "inbound_dropped",
    "uptime_secs",
    "recovery_enabled",
    "recovery_topic_count",
    "recovery_total_bytes",
    "cluster_connected",
    "cluster_peer_count",
    "cluster_messages_sent",
    "cluster_messages_delivered",
    "cluster_messages_dropped",
    "cluster_bytes_sent",
    "cluster_bytes_received",
    "cluster_reconnect_count",
    "cluster_unknown_message_types",
    "cluster_dlq_size",
    "presence_enabled",
    "presence_topics",
    "presence_total_users",
}
"""What the documents promise to operators."""


def get(running: Running, path: str) -> Answer:
    return ask(running.port, plain("GET", path))


# ---- Health ----


def test_health_is_the_snapshot_as_json(running: Running) -> None:
    running.dial()
    answer = get(running, "/health")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    told, snapshot = json.loads(answer.body), running.server.health_snapshot()
    assert set(told) == set(snapshot)
    assert set(told) >= HEALTH_KEYS
    assert {key: type(value) for key, value in told.items()} == {
        key: type(value) for key, value in snapshot.items()
    }
    assert told["connections"] == 1
    moving = {"uptime_secs", "bytes_received", "bytes_sent"}
    assert {key: value for key, value in told.items() if key not in moving} == {
        key: value for key, value in snapshot.items() if key not in moving
    }
    assert 0 < told["uptime_secs"] <= snapshot["uptime_secs"]


def test_health_tells_of_lost_events_as_the_snapshot_does() -> None:
    port = free_port()
    server = RustWSEServer(HOST, port)
    server.enable_drain_mode()
    server.start()
    with Wire(port):
        wait_until(lambda: server.inbound_queue_depth() == 1, "a connect that nobody takes")
        server.stop()
    server.start()
    try:
        # The connect and the disconnect of the run before.
        assert server.health_snapshot()["inbound_dropped"] == server.inbound_dropped_count() == 2
        assert json.loads(ask(port, plain("GET", "/health")).body)["inbound_dropped"] == 2
    finally:
        server.stop()


def test_ready_says_yes_while_the_server_runs(running: Running) -> None:
    answer = get(running, "/ready")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert json.loads(answer.body) == {"ready": True}
    health = running.server.health_snapshot()
    assert (health["ready"], health["joining"]) == (True, False)
    running.server.stop()
    assert not running.server.health_snapshot()["ready"]


def test_health_and_ready_ask_for_no_token_and_no_origin(server_factory: Factory) -> None:
    # A probe of Kubernetes has neither.
    running = server_factory(jwt_secret="x" * 32, allowed_origins=["https://app.example.com"], path="/ws")
    for path in ("/health", "/ready"):
        assert ask(running.port, plain("GET", path, "Origin: https://evil.example")).status == 200


def test_a_query_is_no_part_of_the_path(running: Running) -> None:
    assert get(running, "/health?verbose=1").status == 200
    assert get(running, "/ready?").status == 200


# ---- What is not there, or not so ----


@pytest.mark.parametrize(
    "path", ["/", "/metrics/", "/wse/", "/health/", "/Health", "//health", "/favicon.ico", "/%68ealth"]
)
def test_the_rest_is_404_with_a_short_body(running: Running, path: str) -> None:
    answer = get(running, path)
    assert answer.status == 404
    assert 0 < len(answer.body) < 100
    assert answer.headers["content-length"] == str(len(answer.body))


def test_a_plain_get_of_the_websocket_is_426(running: Running) -> None:
    for path in ("/wse", "/wse?format=msgpack"):
        answer = get(running, path)
        assert answer.status == 426
        assert answer.headers["sec-websocket-version"] == "13"
        assert answer.headers["upgrade"].lower() == "websocket"
        assert b"WebSocket" in answer.body


def test_with_a_path_of_its_own_it_is_that_path_that_is_426(server_factory: Factory) -> None:
    running = server_factory(path="/live")
    assert get(running, "/live").status == 426
    assert get(running, "/wse").status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_pages_can_only_be_read(running: Running, method: str) -> None:
    for path in ("/health", "/ready"):
        answer = ask(running.port, plain(method, path), method)
        assert answer.status == 405
        assert answer.headers["allow"] == "GET, HEAD"
    assert ask(running.port, plain(method, "/nothing"), method).status == 404


def test_head_is_get_without_the_body(running: Running) -> None:
    running.server.add_static("/page", "text/plain", "hello")
    for path in ("/ready", "/page", "/nothing", "/wse"):
        with_body = get(running, path)
        with socket.create_connection((HOST, running.port), timeout=PATIENCE) as sock:
            sock.sendall(plain("HEAD", path))
            raw = b""
            while data := sock.recv(4096):
                raw += data
        head, _, rest = raw.partition(b"\r\n\r\n")
        assert rest == b"", path
        assert head.startswith(b"HTTP/1.1 %d " % with_body.status)
        assert b"Content-Length: %d" % len(with_body.body) in head
    assert ask(running.port, plain("HEAD", "/health"), "HEAD").status == 200


BAD_UPGRADES: dict[str, tuple[bytes, int]] = {
    "no key": (request(headers={"Sec-WebSocket-Key": None}), 400),
    "a key that is too short": (request(headers={"Sec-WebSocket-Key": "c2hvcnQ="}), 400),
    "a key that is no base64": (request(headers={"Sec-WebSocket-Key": "!" * 24}), 400),
    "two keys": (request("GET", "/wse", {}, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400),
    "no host": (request(headers={"Host": None}), 400),
    "two hosts": (request("GET", "/wse", {}, "Host: other"), 400),
    "no version": (request(headers={"Sec-WebSocket-Version": None}), 426),
    "an old version": (request(headers={"Sec-WebSocket-Version": "8"}), 426),
    "a newer version": (request(headers={"Sec-WebSocket-Version": "14"}), 426),
    "no connection": (request(headers={"Connection": "keep-alive"}), 400),
    "another upgrade": (request(headers={"Upgrade": "h2c"}), 400),
    "a body": (request(headers={"Content-Length": "5"}) + b"hello", 400),
    "a chunked body": (request(headers={"Transfer-Encoding": "chunked"}) + b"0\r\n\r\n", 400),
    "a length that is none": (request(headers={"Content-Length": "x"}), 400),
    "HTTP/1.0": (request().replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
    "POST": (request("POST"), 405),
}


@pytest.mark.parametrize(("data", "status"), BAD_UPGRADES.values(), ids=BAD_UPGRADES)
def test_a_wrong_upgrade_is_answered_in_http(running: Running, data: bytes, status: int) -> None:
    answer = ask(running.port, data)
    assert answer.status == status
    assert answer.body
    if status == 426:
        assert answer.headers["sec-websocket-version"] == "13"
    assert running.events.seen == []
    assert running.server.get_connection_count() == 0
    assert running.server.health_snapshot()["connections_rejected"] == 1


def test_upgrades_as_proxies_and_browsers_write_them(running: Running) -> None:
    good: list[dict[str, str | None]] = [
        {"Connection": "keep-alive, Upgrade", "Upgrade": "WebSocket"},
        {"Connection": "upgrade", "Content-Length": "0"},
        {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"},
        {"X-Forwarded-For": "10.0.0.1", "Cookie": "a=b"},
    ]
    for number, headers in enumerate(good, 1):
        with Wire(running.port, "/any/path?x=y", headers):
            running.events.wait("connect", count=number)


# One line of a header that is over the limit by itself, and many that are over it together.
HUGE = f"X-Huge: {'x' * 20_000}"
MANY = [f"X-{n}: y" for n in range(200)]

NO_REQUESTS: dict[str, tuple[bytes, int]] = {
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), 400),
    "no HTTP": (b"hello\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "a header without a colon": (plain("GET", "/health", "broken header"), 400),
    "a control character": (plain("GET", "/health", "X: a\x00b"), 400),
    "a space before the colon": (plain("GET", "/health", "X : y"), 400),
    "a long header": (plain("GET", "/health", HUGE), 431),
    "many headers": (plain("GET", "/health", *MANY), 431),
    "a long path": (plain("GET", "/" + "x" * 20_000), 431),
    "a head that never ends": (b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * 200_000, 431),
}


@pytest.mark.parametrize(("data", "status"), NO_REQUESTS.values(), ids=NO_REQUESTS)
def test_what_is_no_request_is_answered_and_ended(running: Running, data: bytes, status: int) -> None:
    answer = ask(running.port, data)
    assert answer.status == status
    assert answer.headers["connection"] == "close"
    assert running.events.seen == []


def test_an_answer_reaches_a_client_that_is_still_sending(running: Running) -> None:
    # A client that posts a megabyte where nothing can be posted must read 405, not a reset.
    with socket.create_connection((HOST, running.port), timeout=PATIENCE) as sock:
        sock.sendall(plain("POST", "/health", "Content-Length: 1000000"))
        for _ in range(10):
            sock.sendall(bytes(100_000))
        assert read_answer(sock).status == 405


def test_requests_in_pieces(running: Running) -> None:
    with socket.create_connection((HOST, running.port), timeout=PATIENCE) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in plain("GET", "/ready"):
            sock.sendall(bytes([byte]))
        assert read_answer(sock).status == 200


def test_a_client_from_the_library_of_python(running: Running) -> None:
    client = http.client.HTTPConnection(HOST, running.port, timeout=PATIENCE)
    for path, status in (("/ready", 200), ("/health", 200), ("/nothing", 404)):
        # The server ends each connection; the client opens another.
        client.request("GET", path)
        with client.getresponse() as response:
            assert response.status == status
            assert response.getheader("Connection") == "close"
            response.read()
    client.close()


# ---- Pages of the application ----


def test_pages_may_be_added_before_and_after_the_start_and_replaced() -> None:
    port = free_port()
    server = RustWSEServer(HOST, port)
    server.add_static("/", "text/html; charset=utf-8", "<h1>Grüße</h1>")
    server.start()
    try:
        page = ask(port, plain("GET", "/"))
        assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert page.body == "<h1>Grüße</h1>".encode()
        assert page.headers["x-content-type-options"] == "nosniff"
        server.add_static("/logo.png", "image/png", b"\x89PNG\x00\xff")
        assert ask(port, plain("GET", "/logo.png?v=2")).body == b"\x89PNG\x00\xff"
        server.add_static("/", "text/plain", b"new")
        page = ask(port, plain("GET", "/"))
        assert (page.headers["content-type"], page.body) == ("text/plain", b"new")
        assert ask(port, plain("POST", "/"), "POST").status == 405
    finally:
        server.stop()
    server.start()
    try:
        assert ask(port, plain("GET", "/logo.png")).status == 200
    finally:
        server.stop()


def test_a_page_at_the_path_of_the_websocket_leaves_the_websocket_alone(running: Running) -> None:
    running.server.add_static("/wse", "text/plain", "this is a WebSocket")
    assert get(running, "/wse").body == b"this is a WebSocket"
    running.dial()


def test_a_large_page_arrives_whole(running: Running) -> None:
    body = bytes(range(256)) * (1 << 16)
    assert len(body) == 16 << 20
    running.server.add_static("/large", "application/octet-stream", body)
    assert get(running, "/large").body == body
    with pytest.raises(ValueError, match=str(16 << 20)):
        running.server.add_static("/larger", "application/octet-stream", body + b"x")


def test_a_client_that_has_said_all_it_will_still_gets_its_answer(running: Running) -> None:
    # Some probes close their half of the connection behind the request.
    body = b"x" * (16 << 20)
    running.server.add_static("/large", "text/plain", body)
    for path, length in (("/ready", 1), ("/large", len(body))):
        with socket.create_connection((HOST, running.port), timeout=PATIENCE) as sock:
            sock.sendall(plain("GET", path))
            sock.shutdown(socket.SHUT_WR)
            answer = read_answer(sock)
        assert answer.status == 200
        assert len(answer.body) >= length


def test_a_page_may_take_longer_than_the_handshake(server_factory: Factory) -> None:
    # The request has a deadline; a phone on a bad network that goes on reading the answer has none.
    running = server_factory(handshake_timeout=0.3)
    body = b"x" * (16 << 20)
    running.server.add_static("/large", "text/plain", body)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        sock.settimeout(PATIENCE)
        sock.connect((HOST, running.port))
        sock.sendall(plain("GET", "/large"))
        answer = read_slowly(sock, 1.5)
    assert answer.endswith(b"\r\n\r\n" + body)


@pytest.mark.parametrize("path", ["", "page", "/a b", "/a\n", "/é", "/x?y", "/x#y", "/health", "/ready"])
def test_a_path_that_can_be_no_page_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        RustWSEServer(HOST, 0).add_static(path, "text/plain", "x")


@pytest.mark.parametrize("media_type", ["", "html", "text/html\r\nX: y", "text/é", "text/\x00"])
def test_a_media_type_that_could_break_a_header_is_refused(media_type: str) -> None:
    with pytest.raises(ValueError, match="content_type"):
        RustWSEServer(HOST, 0).add_static("/x", media_type, "x")


@pytest.mark.parametrize("body", [None, 5, ["x"], {"x": 1}])
def test_a_body_of_another_type_is_refused(body: object) -> None:
    with pytest.raises(TypeError, match="body"):
        RustWSEServer(HOST, 0).add_static("/x", "text/plain", body)  # type: ignore[arg-type]  # the mistake


def test_pages_replaced_while_they_are_read_are_always_whole(running: Running) -> None:
    bodies = [letter * 50_000 for letter in (b"a", b"b")]
    running.server.add_static("/", "text/plain", bodies[0])
    done = threading.Event()

    def replace() -> None:
        turn = 0
        while not done.is_set():
            turn += 1
            running.server.add_static("/", "text/plain", bodies[turn % 2])

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        seen = {get(running, "/").body for _ in range(100)}
    finally:
        done.set()
        thread.join()
    assert seen <= set(bodies)
