"""Every request that the fuzzers keep for `upgrade`, for this server and for python `websockets`.

Where one of the two lets a client in, so must the other, with the same proof of the key. `websockets` reads
requests to the letter; this server forgives what RFC 9112 tells a recipient to forgive. So a request is put
right before `websockets` is asked, by `forgiven`, which says what is forgiven; `stricter` names what this
server alone refuses. `WSE_CORPUS=fuzz/target/corpus` replays what was last found on this machine.
"""

from __future__ import annotations

import base64
import binascii
import re
import socket
from collections.abc import Iterator

import pytest

from support import HOST, PATIENCE, Running, start_server
from test_websockets_second_opinion_corpus import CORPUS
from test_websockets_second_opinion_upgrade import ORIGIN, Verdict, their_verdict

TOKEN = re.compile(rb"[-!#$%&'*+.^_`|~0-9a-zA-Z]+")
MAX_HEADERS = 100


@pytest.fixture(scope="module")
def ours() -> Iterator[Running]:
    """The server whose opinion is the first one. The list of origins is the one of the tests beside this."""
    with start_server(allowed_origins=[ORIGIN]) as running:
        yield running


def requests() -> list[bytes]:
    """The inputs that are bytes from the network: behind a choice that is even."""
    inputs = {path.read_bytes() for path in (CORPUS / "upgrade").iterdir()}
    found = sorted({data[1:] for data in inputs if data and data[0] % 2 == 0})
    assert found, f"no corpus in {CORPUS}"
    return found


def our_verdict_of_bytes(ours: Running, request: bytes) -> Verdict:
    """Sends bytes and the end, and reads the head of the answer, if there is one."""
    answer = b""
    with socket.create_connection((HOST, ours.port), timeout=PATIENCE) as sock:
        sock.sendall(request)
        sock.shutdown(socket.SHUT_WR)
        while b"\r\n\r\n" not in answer and (received := sock.recv(1 << 16)):
            answer += received
    if b"\r\n\r\n" not in answer:
        return Verdict(None)
    status, *lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Verdict(int(status.split()[1]), headers.get("sec-websocket-accept"))


def head_of(request: bytes) -> list[bytes] | None:
    """The lines of a request, without what may stand before and behind; None if the empty line is missing.

    Empty lines before a request are ignored, and a line may end without its CR (RFC 9112, section 2.2).
    """
    lines = [line.removesuffix(b"\r") for line in request.lstrip(b"\r\n").split(b"\n")]
    return lines[: lines.index(b"")] or None if b"" in lines else None


def values(lines: list[bytes], name: bytes) -> list[bytes]:
    """The values of a header, in order."""
    split = (line.partition(b":") for line in lines[1:])
    return [value.strip(b" \t") for other, _, value in split if other.lower() == name]


def forgiven(request: bytes) -> bytes:
    """The request as `websockets` wants it.

    - Line ends are CR and LF, and nothing stands before the first line.
    - What is no token in a list is left out of it (`Connection`, `Sec-WebSocket-Protocol`).
    - Other protocols than WebSocket are left out of `Upgrade`, where they may stand beside it, or it twice.
    - An origin is written as browsers do: no capitals, no default port.
    - Whoever speaks of no subprotocol that is known gets none, which is another test's subject.
    """
    lines = head_of(request)
    if lines is None:
        return request
    put_right = [line for line in map(forgiven_line, lines[1:]) if line is not None]
    upgrades = [line for line in put_right if line.lower().startswith(b"upgrade:")]
    others = [line for line in put_right if line not in upgrades]
    return b"\r\n".join([lines[0], *others, *upgrades[:1], b"", b""])


def forgiven_line(line: bytes) -> bytes | None:
    """A header line put right, None if nothing is left of it."""
    name, colon, value = line.partition(b":")
    elements = [element.strip(b" \t") for element in value.split(b",")]
    match name.lower():
        case b"upgrade":
            kept = [element for element in elements if element.lower() == b"websocket"]
        case b"connection":
            kept = [element for element in elements if TOKEN.fullmatch(element)]
        case b"origin":
            kept = [value.lower().strip(b" \t").removesuffix(b"/").removesuffix(b":443")]
        case b"sec-websocket-protocol" | b"sec-websocket-extensions":
            kept = []
        case _:
            return line
    return name + colon + b",".join(kept) if kept else None


def stricter(request: bytes) -> str | None:
    """Names the rule by which this server refuses what `websockets` lets in, None if there is none."""
    lines = head_of(request) or [b""]
    hosts, keys = values(lines, b"host"), values(lines, b"sec-websocket-key")
    try:
        is_canonical = base64.b64encode(base64.b64decode(keys[0], validate=True)) == keys[0]
    except (binascii.Error, IndexError):
        is_canonical = True
    rules = {
        "exactly one Host (RFC 6455, section 4.2.1)": len(hosts) != 1 or not hosts[0],
        "a key has no bits beyond its 16 bytes": not is_canonical,
        "a target is not empty and has no blank": not re.fullmatch(rb"GET [^\s\x7f]+ HTTP/1\.1", lines[0]),
        "at most 100 headers": len(lines) > MAX_HEADERS + 1,
        "what is offered as an extension is well formed": bool(values(lines, b"sec-websocket-extensions")),
        "no header has a name alone": any(b":" not in line for line in lines[1:]),
    }
    return next((rule for rule, holds in rules.items() if holds), None)


def test_every_request_of_the_corpus(ours: Running) -> None:
    agreed = 0
    for request in requests():
        here = our_verdict_of_bytes(ours, request)
        there = their_verdict(forgiven(request))
        if here.accepted:
            assert (there.status, there.accept) == (101, here.accept), f"{request!r}: {there}"
            agreed += 1
        elif there.accepted:
            assert stricter(request) is not None, f"{request!r}: {here}"
    assert agreed, "some of them are good"
