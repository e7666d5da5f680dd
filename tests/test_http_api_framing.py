"""How requests of the HTTP API come: in pieces, in chunks, one behind the other, too long or too slow."""

from __future__ import annotations

import http.client
import json
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from http_api import KEY, Worker, error_of
from support import HOST, PATIENCE, Running, wait_until
from wire import Answer, ask, plain

Factory = Callable[..., Running]

BODY = b'{"topic":"a","data":{"n":1}}'


@pytest.fixture
def api(server_factory: Factory) -> Running:
    return server_factory(api_key=KEY, recovery_enabled=True, shards=2)


@pytest.fixture
def sock(api: Running) -> Iterator[socket.socket]:
    with socket.create_connection((HOST, api.port), timeout=PATIENCE) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock


def post(*lines: str, path: str = "/api/publish", key: str | None = KEY, version: str = "1.1") -> bytes:
    """The head of a request with these header lines."""
    head = [f"POST {path} HTTP/{version}", "Host: x", "Content-Type: application/json", *lines]
    if key is not None:
        head.append(f"Authorization: Bearer {key}")
    return "\r\n".join([*head, "", ""]).encode()


def publication(body: bytes = BODY, *lines: str, path: str = "/api/publish") -> bytes:
    return post(f"Content-Length: {len(body)}", *lines, path=path) + body


def chunks(*parts: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + end


def read_one(sock: socket.socket) -> Answer:
    """Reads one answer from a connection that may go on."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(1)
        assert more, f"the connection ended behind {data!r}"
        data += more
    head, *lines = data.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines if line)}
    length = int(headers.get("content-length", 0))
    body = b""
    while len(body) < length:
        body += sock.recv(length - len(body))
    return Answer(int(head.split()[1]), headers, body)


def has_ended(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


# ---- Bodies ----


def test_a_request_in_single_bytes(sock: socket.socket) -> None:
    for byte in publication():
        sock.sendall(bytes([byte]))
    assert read_one(sock).status == 200
    for byte in post("Transfer-Encoding: chunked") + chunks(BODY[:3], BODY[3:]):
        sock.sendall(bytes([byte]))
    assert json.loads(read_one(sock).body)["offset"] == 2


def test_chunks_with_all_that_they_may_have(sock: socket.socket) -> None:
    parts = (
        b'A;x="y z"\r\n'
        + BODY[:10]
        + b"\r\n0012\r\n"
        + BODY[10:]
        + b"\r\n000;last\r\nX-Sum: 1\r\nY: 2\r\n\r\n"
    )
    sock.sendall(post("transfer-encoding: Chunked", "Trailer: X-Sum") + parts)
    assert read_one(sock).status == 200
    sock.sendall(publication())
    assert json.loads(read_one(sock).body)["offset"] == 2


def test_requests_one_behind_the_other_are_answered_in_order(sock: socket.socket) -> None:
    count = 2000
    requests = [publication(b'{"topic":"a","data":{"n":%d}}' % n) for n in range(count)]
    requests[7] = post("Transfer-Encoding: chunked") + chunks(BODY)
    requests[8] = f"GET /api/history?topic=a HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n\r\n".encode()
    requests[9] = publication(b'{"topic":1}')
    sender = threading.Thread(target=sock.sendall, args=(b"".join(requests),))
    sender.start()
    answers = [read_one(sock) for _ in range(count)]
    sender.join()
    assert [answer.status for answer in answers] == [400 if n == 9 else 200 for n in range(count)]
    assert json.loads(answers[8].body)["offset"] == 8
    offsets = [json.loads(answer.body)["offset"] for n, answer in enumerate(answers) if n not in (8, 9)]
    assert offsets == list(range(1, count - 1))


def test_a_client_that_reads_no_answers_is_not_read_either(api: Running, sock: socket.socket) -> None:
    with Worker(api.port) as worker:
        for _ in range(200):
            worker.publish("a", {"text": "x" * 10_000})
    question = f"GET /api/history?topic=a&limit=1000 HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n\r\n".encode()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(1)
    with pytest.raises(TimeoutError):
        sock.sendall(question * 200_000)
    # It is cut when nothing of its answer was taken for five seconds.
    counted = api.server.health_snapshot()
    assert counted["outbound_queued_bytes"] < 32 << 20
    wait_until(lambda: api.server.health_snapshot()["api_connections"] == 0, "it is cut", 15)


def test_a_question_that_is_followed_by_the_end_is_answered(api: Running) -> None:
    with socket.create_connection((HOST, api.port), timeout=PATIENCE) as sock:
        sock.sendall(
            publication() + f"GET /api/topics HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n\r\n".encode()
        )
        sock.shutdown(socket.SHUT_WR)
        assert read_one(sock).status == 200
        assert read_one(sock).status == 200
        assert has_ended(sock)


def test_whoever_expects_to_be_told_is_told_to_go_on(sock: socket.socket) -> None:
    sock.sendall(post(f"Content-Length: {len(BODY)}", "Expect: 100-continue"))
    assert read_one(sock).status == 100
    sock.sendall(BODY)
    assert read_one(sock).status == 200
    # Where the body comes at once nothing needs to be told.
    sock.sendall(publication(BODY, "Expect: 100-continue"))
    assert read_one(sock).status == 200


def test_whoever_would_be_refused_is_not_told_to_go_on(api: Running) -> None:
    expectation = "Expect: 100-continue"
    assert ask(api.port, post("Content-Length: 99999999", expectation)).status == 413
    assert ask(api.port, post("Content-Length: 10", expectation, key="x" * 40)).status == 401
    assert ask(api.port, post("Content-Length: 10", "Expect: 200-ok")).status == 417


LONGEST = (1 << 20) + 4096

BAD_FRAMING: dict[str, tuple[bytes, int, str]] = {
    "no length": (post(), 411, "LENGTH_REQUIRED"),
    "a length that is none": (post("Content-Length: x") + BODY, 400, "BAD_REQUEST"),
    "a length with a sign": (post("Content-Length: +5") + BODY, 400, "BAD_REQUEST"),
    "two lengths": (post("Content-Length: 28", "Content-Length: 28") + BODY, 400, "BAD_REQUEST"),
    "a list of lengths": (post("Content-Length: 28, 28") + BODY, 400, "BAD_REQUEST"),
    "a length and chunks": (post("Content-Length: 28", "Transfer-Encoding: chunked"), 400, "BAD_REQUEST"),
    "another coding": (post("Transfer-Encoding: gzip, chunked"), 501, "UNSUPPORTED_CODING"),
    "chunks twice": (
        post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        501,
        "UNSUPPORTED_CODING",
    ),
    "chunks in HTTP/1.0": (post("Transfer-Encoding: chunked", version="1.0"), 400, "BAD_REQUEST"),
    "a chunk that is none": (post("Transfer-Encoding: chunked") + b"x\r\n", 400, "BAD_REQUEST"),
    "a bare line feed": (post("Transfer-Encoding: chunked") + b"1\n{\n", 400, "BAD_REQUEST"),
    "a chunk without its end": (post("Transfer-Encoding: chunked") + b"1\r\n{x", 400, "BAD_REQUEST"),
    "a negative chunk": (post("Transfer-Encoding: chunked") + b"-1\r\n", 400, "BAD_REQUEST"),
    "a huge chunk": (post("Transfer-Encoding: chunked") + b"fffffffffffffffff\r\n", 413, "TOO_LARGE"),
    "too long by one": (post(f"Content-Length: {LONGEST + 1}"), 413, "TOO_LARGE"),
    "too long in chunks": (
        post("Transfer-Encoding: chunked") + chunks(b" " * LONGEST, b" "),
        413,
        "TOO_LARGE",
    ),
    "chunks of air": (post("Transfer-Encoding: chunked") + b"0" * 5000, 400, "BAD_REQUEST"),
    "trailers without end": (
        post("Transfer-Encoding: chunked") + b"0\r\n" + b"X: y\r\n" * 100_000,
        400,
        "BAD_REQUEST",
    ),
    "no host": (publication().replace(b"Host: x\r\n", b""), 400, "BAD_REQUEST"),
    "two hosts": (publication(BODY, "Host: y"), 400, "BAD_REQUEST"),
    "a body for a question": (publication(path="/api/topics"), 405, "METHOD_NOT_ALLOWED"),
    "GET with a body": (
        publication(path="/api/topics").replace(b"POST", b"GET", 1),
        400,
        "BAD_REQUEST",
    ),
}


@pytest.mark.parametrize(("data", "status", "code"), BAD_FRAMING.values(), ids=BAD_FRAMING)
def test_what_can_not_be_told_apart_ends_the_connection(
    api: Running, data: bytes, status: int, code: str
) -> None:
    # A second request behind it must not be taken for one.
    with socket.create_connection((HOST, api.port), timeout=PATIENCE) as sock:
        thread = threading.Thread(target=lambda: sock.sendall(data + publication()))
        thread.start()
        answer = read_one(sock)
        thread.join()
        assert (answer.status, error_of(answer)[0]) == (status, code)
        assert answer.headers["connection"] == "close"
        assert has_ended(sock)
    with Worker(api.port) as worker:
        assert worker.get("/api/history?topic=a")["messages"] == []


def test_the_longest_bodies_that_there_are(sock: socket.socket) -> None:
    padded = BODY + b" " * (LONGEST - len(BODY))
    sock.sendall(publication(padded))
    assert read_one(sock).status == 200
    sock.sendall(post("Transfer-Encoding: chunked") + chunks(padded[:1000], padded[1000:]))
    assert read_one(sock).status == 200
    many = b'{"messages":[' + BODY + b"]}"
    sock.sendall(publication(many + b" " * ((8 << 20) - len(many)), path="/api/publish_many"))
    assert read_one(sock).status == 200
    order = b'{"user_id":"a"}'
    sock.sendall(publication(order + b" " * ((256 << 10) - len(order)), path="/api/disconnect"))
    assert read_one(sock).status == 200
    sock.sendall(post(f"Content-Length: {(256 << 10) + 1}", path="/api/disconnect"))
    assert read_one(sock).status == 413


# ---- Time ----


def test_a_slow_body_is_cut(server_factory: Factory) -> None:
    running = server_factory(api_key=KEY, handshake_timeout=0.4)
    with ExitStack() as open_sockets:
        socks = [
            open_sockets.enter_context(socket.create_connection((HOST, running.port), timeout=PATIENCE))
            for _ in range(50)
        ]
        for sock in socks:
            sock.sendall(post("Content-Length: 100"))
        began = time.monotonic()
        while time.monotonic() < began + 0.6:
            for sock in socks:
                try:
                    sock.sendall(b" ")
                except OSError:
                    break
            time.sleep(0.02)
        for sock in socks:
            answer = read_one(sock)
            assert (answer.status, error_of(answer)[0]) == (408, "TIMEOUT")
            assert answer.headers["connection"] == "close"


def test_a_connection_that_asks_nothing_more_is_ended(server_factory: Factory) -> None:
    running = server_factory(api_key=KEY, handshake_timeout=0.3, idle_timeout=1.2, ping_interval=1)
    with socket.create_connection((HOST, running.port), timeout=PATIENCE) as sock:
        sock.sendall(publication())
        answer = read_one(sock)
        assert answer.headers["keep-alive"] == "timeout=1"
        # Longer than a handshake may take, and not idle for too long.
        time.sleep(0.7)
        sock.sendall(publication())
        assert read_one(sock).status == 200
        began = time.monotonic()
        assert has_ended(sock)
        assert 1.0 < time.monotonic() - began < 3
    assert running.server.health_snapshot()["api_connections"] == 0


def test_the_next_head_has_the_time_of_the_first(server_factory: Factory) -> None:
    running = server_factory(api_key=KEY, handshake_timeout=0.4, idle_timeout=30)
    with socket.create_connection((HOST, running.port), timeout=PATIENCE) as sock:
        sock.sendall(publication())
        assert read_one(sock).status == 200
        sock.sendall(b"POST /api/publish HT")
        began = time.monotonic()
        assert read_one(sock).status == 408
        assert time.monotonic() - began < 2


# ---- Connections ----


def test_connections_end_where_somebody_says_so(api: Running) -> None:
    assert ask(api.port, publication(BODY, "Connection: close")).status == 200
    old = publication().replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Host: x\r\n", b"")
    assert ask(api.port, old).status == 200
    with socket.create_connection((HOST, api.port), timeout=PATIENCE) as sock:
        for _ in range(2):
            sock.sendall(old.replace(b"\r\n", b"\r\nConnection: keep-alive\r\n", 1))
            assert read_one(sock).headers["connection"] == "keep-alive"


def test_a_page_and_a_websocket_on_a_connection_of_the_api(api: Running, sock: socket.socket) -> None:
    sock.sendall(publication())
    assert read_one(sock).status == 200
    upgrade = (
        "GET /wse HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    sock.sendall(upgrade.encode())
    assert read_one(sock).status == 101
    (_, conn_id, _) = api.events.wait("connect")[0]
    api.server.send(conn_id, "hello")
    assert sock.recv(100) == b"\x81\x05hello"
    assert api.server.get_connection_count() == 1
    with socket.create_connection((HOST, api.port), timeout=PATIENCE) as other:
        other.sendall(publication() + plain("GET", "/ready"))
        assert read_one(other).status == 200
        assert read_one(other).body == b'{"ready":true}'
        assert has_ended(other)


def test_an_upgrade_that_is_no_websocket_is_passed_over(sock: socket.socket) -> None:
    # What the HTTP client of Java sends with its first request.
    sock.sendall(
        publication(BODY, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AA")
    )
    assert read_one(sock).status == 200


def test_connections_of_the_api_take_no_places_of_websockets(server_factory: Factory) -> None:
    running = server_factory(api_key=KEY, max_connections=2)
    with ExitStack() as workers:
        for _ in range(50):
            workers.enter_context(Worker(running.port)).publish("a", {})
        assert running.server.health_snapshot()["api_connections"] == 50
        running.dial()
        running.dial()
        assert running.server.get_connection_count() == 2
    wait_until(lambda: running.server.health_snapshot()["api_connections"] == 0, "all are gone")


def test_beyond_a_thousand_connections_none_stays_and_all_are_answered(api: Running) -> None:
    with ExitStack() as workers:
        for _ in range(1024):
            worker = workers.enter_context(Worker(api.port))
            assert worker.ask("POST", "/api/publish", BODY).headers["connection"] == "keep-alive"
        with Worker(api.port) as late:
            for _ in range(3):
                answer = late.ask("POST", "/api/publish", BODY)
                assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert api.server.health_snapshot()["api_connections"] == 1024


def test_a_flood_without_a_key_keeps_no_websocket_waiting(api: Running) -> None:
    peer = api.subscriber("a")
    stop = threading.Event()
    answered = [0] * 4

    def flood(index: int) -> None:
        while not stop.is_set():
            try:
                connection = http.client.HTTPConnection(HOST, api.port, timeout=PATIENCE)
                connection.request("POST", "/api/publish", BODY * 100, {"Content-Type": "application/json"})
                assert connection.getresponse().status == 401
                connection.close()
                answered[index] += 1
            except OSError:
                continue

    threads = [threading.Thread(target=flood, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    try:
        for number in range(100):
            api.server.broadcast("a", json.dumps({"n": number}))
            assert peer.receive_json(2)["n"] == number
        api.dial()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert sum(answered) > 20
    assert api.server.health_snapshot()["api_connections"] == 0


def test_many_workers_at_once(api: Running) -> None:
    peer = api.subscriber("a")
    count, each = 16, 200
    failures: list[BaseException] = []

    def work(name: int) -> None:
        try:
            with Worker(api.port) as worker:
                for number in range(each):
                    worker.publish("a", {"worker": name, "n": number})
        except BaseException as error:  # noqa: BLE001 -- told below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(count)]
    for thread in threads:
        thread.start()
    seen: dict[int, int] = dict.fromkeys(range(count), 0)
    for _ in range(count * each):
        got = peer.receive_json()
        assert got["n"] == seen[got["worker"]]
        seen[got["worker"]] += 1
    for thread in threads:
        thread.join()
    assert not failures
    assert set(seen.values()) == {each}


def test_all_bodies_together_have_a_limit(api: Running) -> None:
    length = 8 << 20
    body = b'{"messages":[' + BODY + b"]}"
    body += b" " * (length - len(body) - 1) + b"\n"
    with ExitStack() as open_sockets:
        socks = [
            open_sockets.enter_context(socket.create_connection((HOST, api.port), timeout=PATIENCE))
            for _ in range(10)
        ]
        for sock in socks:
            # A connection that is refused may end while it still sends.
            with suppress(OSError):
                sock.sendall(post(f"Content-Length: {length}", path="/api/publish_many") + body[:-1])
        refused = [sock for sock in socks if select.select([sock], [], [], 0.2)[0]]
        assert 1 <= len(refused) <= 4
        for sock in refused:
            answer = read_one(sock)
            assert (answer.status, error_of(answer)[0]) == (503, "OVERLOADED")
            assert answer.headers["retry-after"] == "1"
        for sock in set(socks) - set(refused):
            sock.sendall(body[-1:])
            assert read_one(sock).status == 200
    with Worker(api.port) as worker:
        assert worker.get("/api/history?topic=a")["offset"] == 10 - len(refused)


def test_whoever_goes_away_leaves_nothing_behind(api: Running) -> None:
    body = b'{"messages":[%s]}' % b",".join([BODY] * 500)
    for number in range(200):
        with socket.create_connection((HOST, api.port), timeout=PATIENCE) as sock:
            request = publication(body, path="/api/publish_many")
            sock.sendall(request if number % 2 else request[: number * 50])
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    snapshot = api.server.health_snapshot

    def is_quiet() -> bool:
        return snapshot()["api_connections"] == snapshot()["api_requests_waiting"] == 0

    wait_until(is_quiet, "nothing is left")
    with Worker(api.port) as worker:
        # What was read whole was done, whoever was still there to hear of it.
        assert worker.get("/api/history?topic=a&limit=1")["offset"] % 500 == 0


def test_stopping_answers_or_ends_whoever_asks(api: Running) -> None:
    outcomes: list[str] = []
    started = threading.Barrier(9)

    def work() -> None:
        with Worker(api.port) as worker:
            worker.publish("a", {})
            started.wait()
            messages = {"messages": [{"topic": "a", "data": {"n": n}} for n in range(1000)]}
            try:
                while True:
                    answer = worker.ask("POST", "/api/publish_many", messages)
                    if answer.status == 503:
                        outcomes.append(error_of(answer)[0])
                        return
                    assert answer.status == 200
            except (OSError, http.client.HTTPException):
                outcomes.append("ended")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    started.wait()
    time.sleep(0.1)
    began = time.monotonic()
    api.server.stop()
    assert time.monotonic() - began < 5
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert len(outcomes) == 8
    assert set(outcomes) <= {"STOPPING", "ended"}
