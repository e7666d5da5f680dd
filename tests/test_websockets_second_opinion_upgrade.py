"""The same upgrade requests for this server and for python `websockets`: both must let the same ones in.

Requests are drawn with good and bad values in every header that counts. Where both accept, the proof of the
key and the subprotocol must be the same too; with which status a request is refused is a matter of taste.
Where the two differ on purpose, the table at the end says so and why.
"""

from __future__ import annotations

import base64
import socket
import string
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from support import HOST, PATIENCE, Running, start_server

ORIGIN = "https://app.example.com"

# A drawn request is one connection to a server that all of them share, and takes a few milliseconds.
DRAWN = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def ours() -> Iterator[Running]:
    """The server whose opinion is the first one."""
    with start_server(allowed_origins=[ORIGIN]) as running:
        yield running


# ---- What both make of a request ----


@dataclass(frozen=True)
class Verdict:
    """What came of an upgrade request: the status, None for none at all, and what an acceptance says."""

    status: int | None
    accept: str | None = None
    subprotocol: str | None = None

    @property
    def accepted(self) -> bool:
        return self.status == 101


def our_verdict(ours: Running, request: bytes) -> Verdict:
    """Sends a request to the server and reads the head of its answer."""
    with socket.create_connection((HOST, ours.port), timeout=PATIENCE) as sock:
        sock.sendall(request)
        head = b""
        while b"\r\n\r\n" not in head:
            received = sock.recv(4096)
            assert received, f"the end after {head!r}"
            head += received
        status, *lines = head.partition(b"\r\n\r\n")[0].decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return Verdict(
            int(status.split()[1]), headers.get("sec-websocket-accept"), headers.get("sec-websocket-protocol")
        )


def their_verdict(request: bytes) -> Verdict:
    """Hands a request to `websockets`."""

    def select(_: ServerProtocol, offered: object) -> Subprotocol | None:
        assert isinstance(offered, list)
        return Subprotocol("wse") if "wse" in offered else None

    protocol = ServerProtocol(origins=[None, Origin(ORIGIN)], select_subprotocol=select)
    protocol.receive_data(request)
    events = protocol.events_received()
    if not events:
        return Verdict(None)
    assert isinstance(events[0], Request)
    response = protocol.accept(events[0])
    headers = response.headers
    return Verdict(
        response.status_code, headers.get("Sec-WebSocket-Accept"), headers.get("Sec-WebSocket-Protocol")
    )


GOOD = {
    "Host": "x",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def head(line: str = "GET /wse HTTP/1.1", *more: str, **changed: str | None) -> bytes:
    """Returns a request: a good one but for what is said. Underscores in names stand for hyphens."""
    headers: dict[str, str | None] = {**GOOD, **{n.replace("_", "-"): value for n, value in changed.items()}}
    lines = [line, *(f"{name}: {value}" for name, value in headers.items() if value is not None), *more]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def key_of(size: int) -> st.SearchStrategy[str]:
    """Keys of so many bytes."""
    return st.binary(min_size=size, max_size=size).map(lambda data: base64.b64encode(data).decode())


# ---- Requests ----

TOKENS = st.text(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~", min_size=1, max_size=10)
# Many values of which some are wrong; None leaves the line out.
VALUES: dict[str, st.SearchStrategy[str | None]] = {
    "Upgrade": st.sampled_from(
        ["websocket", "WebSocket", "WEBSOCKET", " websocket\t", "h2c", "websockets", "", None]
    ),
    "Connection": st.sampled_from(
        ["Upgrade", "upgrade", "keep-alive, Upgrade", "UPGRADE ,keep-alive", "close", "Upgraded", "", None]
    ),
    "Sec-WebSocket-Key": key_of(16)
    | key_of(15)
    | key_of(17)
    | st.sampled_from(["", "?" * 24, "=" * 24, None]),
    "Sec-WebSocket-Version": st.sampled_from(["13", " 13 ", "8", "12", "14", "013", "1 3", "", None]),
    "Origin": st.sampled_from(
        [ORIGIN, "https://evil.example.com", "https://app.example.com.evil.example.com", "null"]
    ),
    "Sec-WebSocket-Protocol": st.lists(TOKENS.map("x".__add__), max_size=3).map(
        lambda names: ", ".join(["wse", *names])
    ),
}
LINES = [
    *["GET /wse HTTP/1.1"] * 8,
    "GET /wse?format=json&x=%20 HTTP/1.1",
    "GET / HTTP/1.1",
    "POST /wse HTTP/1.1",
    "get /wse HTTP/1.1",
    "GET /wse HTTP/1.0",
    "GET /wse HTTP/2.0",
    "GET /wse",
    "",
]
MORE = [
    *[
        "X-Request-Id: 7",
        "Cookie: a=b; c=d",
        "Connection: keep-alive",
        "X-Empty:",
        "X-Latin: caf\xe9",
        "Content-Length: 0",
    ]
    * 2,
    "Content-Length: 5",
    "Transfer-Encoding: chunked",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
    "X Name: 1",
    "X-Name : 1",
    "no colon",
    ": no name",
    "X-Null: a\0b",
    "X-Return: a\rb",
    "X-Folded: a\r\n b",
]


@given(
    line=st.sampled_from(LINES),
    values=st.fixed_dictionaries({}, optional=VALUES),
    more=st.lists(st.sampled_from(MORE), max_size=3),
    upper=st.booleans(),
)
@DRAWN
def test_upgrade_requests(
    ours: Running, line: str, values: dict[str, str | None], more: list[str], upper: bool
) -> None:
    request = head(line, *more, **values)
    if upper:
        request = request.replace(b"Sec-WebSocket-", b"SEC-WEBSOCKET-").replace(b"Upgrade:", b"upgrade:")
    here, there = our_verdict(ours, request), their_verdict(request)
    if here.accepted or there.accepted:
        assert here == there
    else:
        assert here.status in {400, 403, 405, 426}


@pytest.mark.parametrize(
    ("request_head", "here", "there"),
    [
        pytest.param(
            head(Host=None), 400, 101, id="websockets leaves Host to others (section 4.2.1 asks for it)"
        ),
        pytest.param(head("GET /wse HTTP/1.1", "Host: y"), 400, 101, id="two Hosts are two opinions"),
        pytest.param(
            head(Upgrade="h2c, websocket"),
            101,
            426,
            id="Upgrade is a list, and WebSocket need not be alone in it",
        ),
        pytest.param(
            head(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZR=="),
            400,
            101,
            id="a key has no bits beyond its 16 bytes",
        ),
        pytest.param(
            head(Origin="HTTPS://App.Example.com:443"),
            101,
            403,
            id="an origin has no case and a default port",
        ),
        pytest.param(
            head("GET /wse HTTP/1.1", "Origin: null", Origin=ORIGIN),
            403,
            400,
            id="two Origins are refused as such",
        ),
        pytest.param(
            head(Sec_WebSocket_Version="8"),
            426,
            400,
            id="another version is told the right one (section 4.4)",
        ),
        pytest.param(
            head(Connection="close"), 400, 426, id="a proxy that removed the upgrade is a bad request"
        ),
        pytest.param(head("GET /wse HTTP/1.0"), 400, 505, id="HTTP/1.0 gets a plain 400"),
        pytest.param(head("GET  HTTP/1.1"), 400, 101, id="websockets does not look at the target"),
        pytest.param(
            head("GET /wse HTTP/1.1", "no colon"), 400, None, id="what is no HTTP still gets an answer"
        ),
        pytest.param(head(Content_Length="5"), 400, None, id="and so does a body"),
    ],
)
def test_upgrades_on_which_we_differ(
    ours: Running, request_head: bytes, here: int, there: int | None
) -> None:
    assert our_verdict(ours, request_head).status == here
    assert their_verdict(request_head).status == there, "websockets has changed its mind"


def test_a_token_is_no_subprotocol(ours: Running) -> None:
    request = head(Sec_WebSocket_Protocol="bearer.a.b.c, chat")
    assert our_verdict(ours, request).subprotocol == "chat"
    assert our_verdict(ours, head(Sec_WebSocket_Protocol="bearer.a.b.c")).subprotocol is None
