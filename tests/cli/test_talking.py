"""What the commands that talk to a server have in common: TLS, and what stands between them and it."""

from __future__ import annotations

import json
import select
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from typing_extensions import override

from certificates import Authority
from http_api import KEY
from support import HOST, PATIENCE, Running
from wse_command import called
from wse_server.cli.address import parse_address
from wse_server.cli.api import Api

COMMANDS = {
    "health": ["health", "{url}"],
    "pub over HTTP": ["pub", "news", "x", "--url", "{url}", "--api-key", KEY],
    "pub as a client": ["pub", "news", "x", "--url", "{url}"],
    "sub": ["sub", "news", "--url", "{url}", "--timeout", "0.1"],
    "top": ["top", "{url}", "--once", "--interval", "0.1"],
}


def call(name: str, url: str, *more: str) -> tuple[int, str]:
    """What a command exits with and writes, at this address."""
    done = called(*(word.format(url=url) for word in COMMANDS[name]), *more)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port whose connections are served by this, each in a thread, of which none is left in the end."""

    class Handler(socketserver.BaseRequestHandler):
        @override
        def handle(self) -> None:
            self.request.settimeout(PATIENCE)
            with suppress(OSError):
                serve(self.request)

    with socketserver.ThreadingTCPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def read_head(sock: socket.socket) -> None:
    """Reads the head of a request."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = sock.recv(65536)
        if not data:
            return
        head += data


def copy_both_ways(front: ssl.SSLSocket, back: socket.socket) -> None:
    """Copies what comes until either has no more. In one thread, since a TLS connection is not for two."""
    while True:
        ready = [front] if front.pending() else select.select([front, back], [], [])[0]
        for source in ready:
            data = source.recv(65536)
            if not data:
                return
            (back if source is front else front).sendall(data)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """An authority, and a context with a certificate of 127.0.0.1 that it has signed."""
    files = Authority(tmp_path_factory.mktemp("authority")).named_node("here", "IP:127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert, files.key)
    return files.ca, context


@pytest.fixture
def tls(server_factory: Callable[..., Running], authority: tuple[Path, ssl.SSLContext]) -> Iterator[int]:
    """A port with TLS in front of a server with everything."""
    running = server_factory(api_key=KEY, client_publish=True, client_subscriptions=True)

    def forward(plain: socket.socket) -> None:
        with (
            authority[1].wrap_socket(plain, server_side=True) as front,
            socket.create_connection((HOST, running.port), PATIENCE) as back,
        ):
            copy_both_ways(front, back)

    with listening(forward) as port:
        yield port


@pytest.mark.parametrize("name", COMMANDS)
def test_tls_is_checked_with_the_authority_that_is_named(
    name: str, tls: int, authority: tuple[Path, ssl.SSLContext]
) -> None:
    for scheme in ("https", "wss"):
        code, said = call(name, f"{scheme}://{HOST}:{tls}", "--ca", str(authority[0]))
        assert code == 0, said


@pytest.mark.parametrize("name", COMMANDS)
def test_a_certificate_that_nobody_vouches_for_is_refused(name: str, tls: int) -> None:
    code, said = call(name, f"https://{HOST}:{tls}")
    assert code == 3
    assert "certificate is not trusted" in said


@pytest.mark.parametrize("name", COMMANDS)
def test_a_certificate_of_another_name_is_refused(
    name: str, tls: int, authority: tuple[Path, ssl.SSLContext]
) -> None:
    code, said = call(name, f"https://localhost:{tls}", "--ca", str(authority[0]))
    assert code == 3
    assert "certificate is not trusted" in said


@pytest.mark.parametrize("name", COMMANDS)
def test_tls_where_there_is_none_fails(name: str, running: Running) -> None:
    code, said = call(name, f"https://{HOST}:{running.port}")
    assert code == 3
    assert "TLS failed" in said or "reset" in said or "certificate" in said, said


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_of_authorities_that_is_none_is_a_mistake(name: str, tls: int, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    code, said = call(name, f"https://{HOST}:{tls}", "--ca", str(tmp_path / "ca.pem"))
    assert code == 2, said
    assert "no certificate in PEM is in it" in said


@pytest.mark.parametrize(
    ("name", "status", "code", "said"),
    [
        ("health", 403, 1, "/health answered 403"),
        ("health", 502, 1, "/health answered 502"),
        ("pub over HTTP", 403, 4, "a proxy in front keeps /api/ to itself"),
        ("pub over HTTP", 404, 4, "there is no HTTP API"),
        ("pub over HTTP", 502, 1, "a proxy in front without a server"),
        ("pub as a client", 403, 4, "lets nobody in so"),
        ("pub as a client", 404, 1, "not a WSE server, or another path"),
        ("sub", 503, 3, "full or being emptied"),
        ("sub", 200, 1, "not a WSE server"),
    ],
)
def test_what_a_proxy_answers_is_told_in_one_line(name: str, status: int, code: int, said: str) -> None:
    def answer(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(
            f"HTTP/1.1 {status} Something\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno".encode()
        )

    with listening(answer) as port:
        exited, told = call(name, f"http://{HOST}:{port}")
    assert exited == code, told
    assert said in told
    assert len(told.splitlines()) == 2, told


def test_an_answer_that_is_lost_leaves_open_whether_it_was_published() -> None:
    with listening(read_head) as port:
        code, told = call("pub over HTTP", f"http://{HOST}:{port}")
    assert code == 1
    assert "nobody knows whether the last messages were published" in told


def test_a_connection_that_was_ended_in_between_is_made_anew(server_factory: Callable[..., Running]) -> None:
    running = server_factory(api_key=KEY, idle_timeout=1.0, ping_interval=0.3)
    body = json.dumps({"topic": "news", "data": {"n": 1}})
    with Api(parse_address(f"{HOST}:{running.port}"), KEY, timeout=PATIENCE) as api:
        api.post("/api/publish", body)
        # What a server does that has waited for long enough.
        connection = api._connection.sock
        assert isinstance(connection, socket.socket)
        connection.shutdown(socket.SHUT_RDWR)
        assert api.post("/api/publish", body)["topic"] == "news"
