"""Clients behind proxies: whose word about a client's address is believed, and whose is not.

The proxies are sockets that are bound to 127.0.0.2 and its neighbours, so that the server can tell them from
strangers, which come from 127.0.0.1.
"""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from loglines import LogLines
from support import HOST, PATIENCE, Events, Running, accepts, free_port, wait_until
from wire import plain, read_answer, request
from wse_server import RustWSEServer

Factory = Callable[..., Running]
Address = tuple[str, int | None]

STRANGER, PROXY, INNER_PROXY = "127.0.0.1", "127.0.0.2", "127.0.0.3"
TRUSTED = ["127.0.0.2/31", "10.0.0.0/8", "2001:db8:1::/48"]

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL, PROXIED = 0x20, 0x21
UNSPECIFIED, TCP4, TCP6, UNIX = 0x00, 0x11, 0x21, 0x31


def version_1(source: str, port: int = 5555, family: str = "TCP4", destination: str = "192.0.2.1") -> bytes:
    return f"PROXY {family} {source} {destination} {port} 443\r\n".encode()


def version_2(source: str, port: int = 5555, *, tlvs: bytes = b"", command: int = PROXIED) -> bytes:
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    packed = socket.inet_pton(family, source)
    addresses = packed + packed + struct.pack(">HH", port, 443)
    return binary(command, TCP6 if ":" in source else TCP4, addresses + tlvs)


def binary(command: int, family: int, payload: bytes = b"") -> bytes:
    return SIGNATURE + struct.pack(">BBH", command, family, len(payload)) + payload


def dial(port: int, source: str, host: str = HOST) -> socket.socket:
    """Connects from an address of one's own."""
    return socket.create_connection((host, port), timeout=PATIENCE, source_address=(source, 0))


def upgraded(sock: socket.socket) -> bool:
    """Reads the head of the answer."""
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        assert byte, f"the connection ended after {bytes(head)!r}"
        head += byte
    assert head.startswith(b"HTTP/1.1 101 "), bytes(head)
    return True


def seen(
    running: Running,
    *lines: str,
    source: str = PROXY,
    header: bytes = b"",
    cuts: Sequence[int] = (),
    host: str = HOST,
) -> Address:
    """What the server takes for the address of a client that sends a header and a request with these lines.

    Args:
        running: The server.
        lines: More lines of the request.
        source: Where the connection comes from.
        header: What comes before the request.
        cuts: Where the bytes are cut into pieces that are sent one by one; none sends them at once.
        host: Where the server listens.
    """
    known = len(running.events.of("connect"))
    with dial(running.port, source, host) as sock:
        data = header + request("GET", "/wse", None, *lines)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            sock.sendall(data[start:end])
        assert upgraded(sock)
        conn_id = running.events.wait("connect", count=known + 1)[known][1]
        info = running.server.get_connection_info(conn_id)
        assert info is not None
        own = sock.getsockname()[:2]
        return ("itself", None) if (info["address"], info["port"]) == own else (info["address"], info["port"])


ITSELF: Address = ("itself", None)
"""The address is that of the socket."""


def forwarded(*hops: str) -> str:
    return f"X-Forwarded-For: {', '.join(hops)}"


# ---- What HTTP says ----


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([forwarded("203.0.113.9")], ("203.0.113.9", None)),
        ([forwarded("203.0.113.9:61000")], ("203.0.113.9", 61000)),
        ([forwarded("2001:db8::7")], ("2001:db8::7", None)),
        ([forwarded("[2001:db8::7]:61000")], ("2001:db8::7", 61000)),
        ([forwarded("::ffff:203.0.113.9")], ("203.0.113.9", None)),
        ([forwarded("203.0.113.9", "10.1.2.3", INNER_PROXY)], ("203.0.113.9", None)),
        ([forwarded("203.0.113.9", "[2001:db8:1::5]:80")], ("203.0.113.9", None)),
        ([forwarded("203.0.113.9"), forwarded("10.1.2.3")], ("203.0.113.9", None)),
        ([forwarded("10.7.7.7", "10.1.2.3")], ("10.7.7.7", None)),
        (["X-Real-IP: 203.0.113.9"], ("203.0.113.9", None)),
        (["X-Real-IP: 198.51.100.66", forwarded("203.0.113.9")], ("203.0.113.9", None)),
        ([], ITSELF),
    ],
)
def test_a_trusted_proxy_tells_the_client(
    server_factory: Factory, lines: list[str], expected: Address
) -> None:
    assert seen(server_factory(trusted_proxies=TRUSTED), *lines) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # The client sent the left part; the proxy appended what it saw.
        ([forwarded("198.51.100.66", "203.0.113.9")], ("203.0.113.9", None)),
        ([forwarded("198.51.100.66", "10.1.2.3", "203.0.113.9", "10.1.2.3")], ("203.0.113.9", None)),
        ([forwarded("198.51.100.66"), forwarded("203.0.113.9")], ("203.0.113.9", None)),
        # Nobody answers for what is left of a hop that can't be read.
        ([forwarded("198.51.100.66", "unknown")], ITSELF),
        ([forwarded("198.51.100.66", "unknown", "10.1.2.3")], ("10.1.2.3", None)),
        ([forwarded("198.51.100.66", "")], ITSELF),
        ([forwarded("198.51.100.66", "203.0.113.9:99999")], ITSELF),
        ([forwarded("'; DROP TABLE clients; --")], ITSELF),
        (["X-Forwarded-For:", "X-Real-IP: 198.51.100.66"], ITSELF),
        (["X-Real-IP: 198.51.100.66", "X-Real-IP: 203.0.113.9"], ITSELF),
        (["X-Real-IP: 198.51.100.66, 203.0.113.9"], ITSELF),
        (["Forwarded: for=198.51.100.66", "X-Client-IP: 198.51.100.66"], ITSELF),
    ],
)
def test_a_client_cannot_forge_its_address_through_a_proxy(
    server_factory: Factory, lines: list[str], expected: Address
) -> None:
    assert seen(server_factory(trusted_proxies=TRUSTED), *lines) == expected


def test_a_stranger_is_not_believed(server_factory: Factory) -> None:
    running = server_factory(trusted_proxies=TRUSTED)
    for lines in ([forwarded("198.51.100.66")], ["X-Real-IP: 198.51.100.66"], [forwarded(PROXY)]):
        assert seen(running, *lines, source=STRANGER) == ITSELF
        assert seen(running, *lines, source="127.0.0.4") == ITSELF, "one address beside the network"


@pytest.mark.parametrize("trusted", [None, []])
def test_without_trusted_proxies_nobody_is_believed(
    server_factory: Factory, trusted: list[str] | None
) -> None:
    running = server_factory() if trusted is None else server_factory(trusted_proxies=trusted)
    assert seen(running, forwarded("198.51.100.66"), "X-Real-IP: 198.51.100.66") == ITSELF


def test_a_single_address_trusts_no_other(server_factory: Factory) -> None:
    running = server_factory(trusted_proxies=(PROXY,))
    assert seen(running, forwarded("203.0.113.9"), source=PROXY) == ("203.0.113.9", None)
    assert seen(running, forwarded("203.0.113.9"), source=INNER_PROXY) == ITSELF


@contextmanager
def listening_on(host: str, **options: object) -> Iterator[Running]:
    """A server on an address of IPv6, if this machine has one."""
    port = free_port()
    server = RustWSEServer(host, port, **options)  # type: ignore[arg-type]
    server.enable_drain_mode()
    try:
        server.start()
    except OSError as error:
        pytest.skip(f"cannot listen on {host}: {error}")
    with Running(server, port, Events(server)) as running:
        yield running


def test_proxies_come_by_ipv6() -> None:
    with listening_on("::1", trusted_proxies=["::1"]) as running:
        lines = [forwarded("198.51.100.66", "203.0.113.9")]
        assert seen(running, *lines, source="::1", host="::1") == ("203.0.113.9", None)
    with listening_on("::1", trusted_proxies=["127.0.0.0/8", "::2"]) as running:
        assert seen(running, *lines, source="::1", host="::1") == ITSELF
    with listening_on("::1", trusted_proxies=["::/127"], proxy_protocol=True) as running:
        header = version_2("2001:db8::7")
        assert seen(running, header=header, source="::1", host="::1") == ("2001:db8::7", 5555)


def test_on_a_socket_for_both_ipv4_proxies_are_known_by_their_ipv4_address() -> None:
    """The kernel shows them as ::ffff:127.0.0.2."""
    with listening_on("::ffff:127.0.0.1", trusted_proxies=[PROXY]) as running:
        assert seen(running, forwarded("203.0.113.9"), source=PROXY) == ("203.0.113.9", None)
        assert seen(running, forwarded("203.0.113.9"), source=STRANGER) == ITSELF


# ---- The PROXY header ----


@pytest.fixture
def behind_tcp(server_factory: Factory) -> Running:
    """A server whose proxies forward TCP."""
    return server_factory(trusted_proxies=TRUSTED, proxy_protocol=True)


GOOD: dict[str, tuple[bytes, Address]] = {
    "v1 TCP4": (version_1("203.0.113.9"), ("203.0.113.9", 5555)),
    "v1 TCP6": (version_1("2001:db8::7", 1, "TCP6", "::1"), ("2001:db8::7", 1)),
    "v1 UNKNOWN": (b"PROXY UNKNOWN\r\n", ITSELF),
    "v1 UNKNOWN with more": (b"PROXY UNKNOWN 203.0.113.9 192.0.2.1 5555 443\r\n", ITSELF),
    "v2 IPv4": (version_2("203.0.113.9"), ("203.0.113.9", 5555)),
    "v2 IPv6": (version_2("2001:db8::7", 65535), ("2001:db8::7", 65535)),
    "v2 mapped": (version_2("::ffff:203.0.113.9"), ("203.0.113.9", 5555)),
    "v2 TLVs": (version_2("203.0.113.9", tlvs=b"\x02\0\x04chat\x04\0\0"), ("203.0.113.9", 5555)),
    "v2 longest": (version_2("203.0.113.9", tlvs=b"\x04\x0f\xf1" + bytes(4081)), ("203.0.113.9", 5555)),
    "v2 UNIX": (binary(PROXIED, UNIX, bytes(216)), ITSELF),
    "v2 UNSPEC": (binary(PROXIED, UNSPECIFIED, b"ignored"), ITSELF),
    "v2 LOCAL": (binary(LOCAL, UNSPECIFIED), ITSELF),
    "v2 LOCAL with addresses": (version_2("203.0.113.9", command=LOCAL), ITSELF),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_header_names_the_client(behind_tcp: Running, name: str) -> None:
    header, expected = GOOD[name]
    assert seen(behind_tcp, header=header) == expected
    # The header alone, then the request; and one piece that ends within the request.
    assert seen(behind_tcp, header=header, cuts=[len(header)]) == expected
    assert seen(behind_tcp, header=header, cuts=[1, len(header) - 1, len(header) + 1]) == expected
    assert behind_tcp.server.health_snapshot()["connections_rejected"] == 0


@pytest.mark.parametrize("name", ["v1 TCP4", "v2 IPv6", "v2 LOCAL"])
def test_a_header_may_come_byte_by_byte(behind_tcp: Running, name: str) -> None:
    header, expected = GOOD[name]
    assert seen(behind_tcp, header=header, cuts=range(1, len(header) + 20)) == expected


def test_frames_may_follow_the_header_and_the_request_at_once(behind_tcp: Running) -> None:
    frame = b"\x81\x85\0\0\0\0hello"
    with dial(behind_tcp.port, PROXY) as sock:
        sock.sendall(version_2("203.0.113.9") + request() + frame)
        assert upgraded(sock)
        assert behind_tcp.events.wait("raw")[0][2] == "hello"


def test_pages_are_served_behind_a_header(behind_tcp: Running) -> None:
    for header in (version_1("203.0.113.9"), binary(LOCAL, UNSPECIFIED)):
        with dial(behind_tcp.port, PROXY) as sock:
            sock.sendall(header + plain("GET", "/ready"))
            assert read_answer(sock).status == 200


BAD: dict[str, bytes] = {
    "none": b"",
    "v1 without a port": b"PROXY TCP4 203.0.113.9 192.0.2.1 5555\r\n",
    "v1 of another family": version_1("203.0.113.9", family="TCP6"),
    "v1 line feed alone": version_1("203.0.113.9").replace(b"\r", b""),
    "v1 lower case": version_1("203.0.113.9").lower(),
    "v1 too long": b"PROXY UNKNOWN " + b"x" * 200 + b"\r\n",
    "v1 twice": version_1("203.0.113.9") * 2,
    "v2 of version 1": binary(0x11, TCP4, bytes(12)),
    "v2 unknown command": binary(0x22, TCP4, bytes(12)),
    "v2 unknown family": binary(PROXIED, 0x41, bytes(12)),
    "v2 addresses cut": binary(PROXIED, TCP4, bytes(11)),
    "v2 TLV cut": version_2("203.0.113.9", tlvs=b"\x04\0\x05a"),
    "v2 wrong checksum": version_2("203.0.113.9", tlvs=b"\x03\0\x04abcd"),
    "v2 too long": binary(PROXIED, TCP4, bytes(4097)),
    "garbage": bytes(range(256)),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


def ended(sock: socket.socket) -> bytes:
    """Reads up to the end, which may be a reset."""
    data = b""
    with suppress(ConnectionResetError):
        while received := sock.recv(4096):
            data += received
    return data


@pytest.mark.parametrize("name", [name for name in BAD if name != "v1 twice"])
def test_a_connection_without_a_good_header_is_dropped(behind_tcp: Running, name: str) -> None:
    with dial(behind_tcp.port, PROXY) as sock:
        sock.sendall(BAD[name] + request("GET", "/wse", None, forwarded("198.51.100.66")))
        assert ended(sock) == b""
    assert behind_tcp.server.health_snapshot()["connections_rejected"] == 1
    assert behind_tcp.server.get_connection_count() == 0
    assert behind_tcp.events.of("connect") == []


def test_of_two_headers_the_second_is_no_request(behind_tcp: Running) -> None:
    with dial(behind_tcp.port, PROXY) as sock:
        sock.sendall(BAD["v1 twice"] + request())
        assert read_answer(sock).status == 400


def test_a_wrong_header_is_seen_before_it_is_whole(behind_tcp: Running) -> None:
    for start in (b"G", b"PROXY TCP5\r\n", binary(PROXIED, TCP4, bytes(5000))[:16]):
        with dial(behind_tcp.port, PROXY) as sock:
            sock.sendall(start)
            assert ended(sock) == b""


def test_a_flood_of_wrong_headers_is_counted_and_told_in_a_line_a_second(behind_tcp: Running) -> None:
    dropped, began = 0, time.monotonic()
    with LogLines() as log:
        # The limit is the process's, and tests before this one may have used up this second's line.
        while dropped < 500 or "was dropped" not in log.text:
            assert time.monotonic() < began + PATIENCE, log.text
            with dial(behind_tcp.port, PROXY) as sock:
                sock.sendall(b"GET")
                assert ended(sock) == b""
            dropped += 1
        lines = log.wait("a connection from a trusted proxy was dropped")
        seconds = time.monotonic() - began
    assert len(lines) <= seconds + 1
    assert lines[0].levelname == "WARNING"
    assert PROXY in lines[0].getMessage()
    assert "does not begin with a PROXY header" in lines[0].getMessage()
    assert behind_tcp.server.health_snapshot()["connections_rejected"] == dropped
    assert seen(behind_tcp, header=version_1("203.0.113.9")) == ("203.0.113.9", 5555)


def test_a_proxy_that_says_nothing_is_dropped_in_time(server_factory: Factory) -> None:
    running = server_factory(trusted_proxies=[PROXY], proxy_protocol=True, handshake_timeout=0.2)
    for start in (b"", b"PROXY TCP4 203.0.", SIGNATURE + b"\x21"):
        with dial(running.port, PROXY) as sock:
            sock.sendall(start)
            assert ended(sock) == b"", "nobody is there for an answer in HTTP"
    # Behind the header it is a client that is slow, and it is told.
    with dial(running.port, PROXY) as sock:
        sock.sendall(version_1("203.0.113.9") + b"GET ")
        assert read_answer(sock).status == 408
    assert running.server.health_snapshot()["connections_rejected"] == 4


def test_a_stranger_may_not_send_a_header(behind_tcp: Running) -> None:
    for header in (version_1("203.0.113.9"), version_2("203.0.113.9"), binary(LOCAL, UNSPECIFIED)):
        with dial(behind_tcp.port, STRANGER) as sock:
            sock.sendall(header + request())
            assert read_answer(sock).status == 400
    assert seen(behind_tcp, source=STRANGER) == ITSELF, "plain HTTP is what strangers speak"
    assert seen(behind_tcp, forwarded("198.51.100.66"), source=STRANGER) == ITSELF


def test_without_the_option_a_header_is_no_request(server_factory: Factory) -> None:
    running = server_factory(trusted_proxies=TRUSTED)
    with dial(running.port, PROXY) as sock:
        sock.sendall(version_1("203.0.113.9") + request())
        assert read_answer(sock).status == 400


def test_behind_a_header_the_source_is_who_must_be_trusted(behind_tcp: Running) -> None:
    spoofed = forwarded("198.51.100.66")
    # A client that came through TCP alone says what it likes, and so does one whom the proxy can't name.
    for name in ("v1 TCP4", "v1 UNKNOWN", "v2 IPv6", "v2 UNIX", "v2 UNSPEC"):
        header, expected = GOOD[name]
        assert seen(behind_tcp, spoofed, "X-Real-IP: 198.51.100.66", header=header) == expected, name
    # A balancer in front of proxies that speak HTTP, which are trusted too.
    behind_both = forwarded("198.51.100.66", "203.0.113.9")
    for header in (version_1("10.1.2.3"), version_2("2001:db8:1::3")):
        assert seen(behind_tcp, behind_both, header=header) == ("203.0.113.9", None)
    # On a connection of its own it is the proxy that writes the request.
    assert seen(behind_tcp, behind_both, header=binary(LOCAL, UNSPECIFIED)) == ("203.0.113.9", None)


# ---- The real one ----

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")

CONFIGURATION = """
global
    stats socket {directory}/stats mode 600 level user

defaults
    timeout connect 5s
    timeout client 1m
    timeout server 1m

frontend tcp
    mode tcp
    bind 127.0.0.1:{tcp}
    default_backend tcp

backend tcp
    mode tcp
    option httpchk GET /ready
    server wse 127.0.0.1:{wse} source 127.0.0.2 {send} check inter 20ms rise 1 fall 1

frontend http
    mode http
    bind 127.0.0.1:{http}
    option forwardfor
    default_backend http

backend http
    mode http
    server wse 127.0.0.1:{wse} source 127.0.0.3
"""


@contextmanager
def haproxy(directory: Path, wse: int, send: str) -> Iterator[tuple[int, int]]:
    """Runs HAProxy in front of a server; yields the ports that forward TCP and HTTP."""
    assert HAPROXY is not None
    tcp, http_port = free_port(), free_port()
    file = directory / "haproxy.cfg"
    file.write_text(CONFIGURATION.format(directory=directory, tcp=tcp, http=http_port, wse=wse, send=send))
    with (directory / "output").open("w") as output:
        process = subprocess.Popen([HAPROXY, "-db", "-f", str(file)], stdout=output, stderr=output)
    try:

        def listening() -> bool:
            assert process.poll() is None, (directory / "output").read_text()
            return accepts(tcp) and accepts(http_port)

        wait_until(listening, "HAProxy does not listen")
        yield tcp, http_port
    finally:
        process.terminate()
        process.wait(PATIENCE)


def check_status(directory: Path) -> tuple[str, str, str]:
    """What HAProxy's checks have found: state of the server, result of the last check, its HTTP status."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(str(directory / "stats"))
        sock.sendall(b"show stat\n")
        names, *rows = ended(sock).decode().removeprefix("# ").splitlines()
    for row in rows:
        field = dict(zip(names.split(","), row.split(","), strict=False))
        if field["pxname"] == "tcp" and field["svname"] == "wse":
            return field["status"], field["check_status"], field["check_code"]
    raise AssertionError(rows)


@pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed (Debian: apt-get install haproxy)")
@pytest.mark.parametrize("send", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c"])
def test_behind_haproxy(server_factory: Factory, tmp_path: Path, send: str) -> None:
    running = server_factory(trusted_proxies=[PROXY], proxy_protocol=True)
    with haproxy(tmp_path, running.port, send) as (tcp, http_port):
        for source in ("127.0.0.5", "127.0.0.6"):
            known = len(running.events.of("connect"))
            with dial(tcp, source) as sock:
                sock.sendall(request("GET", "/wse", None, forwarded("198.51.100.66")))
                assert upgraded(sock)
                conn_id = running.events.wait("connect", count=known + 1)[known][1]
                info = running.server.get_connection_info(conn_id)
                assert info is not None
                assert (info["address"], info["port"]) == sock.getsockname()
        # Its proxy for HTTP comes from an address that is not trusted here, so its word does not count.
        with dial(http_port, "127.0.0.5") as sock:
            sock.sendall(plain("GET", "/ready", "Connection: close"))
            assert read_answer(sock).status == 200
        # Its checks begin with a header of their own (LOCAL in version 2) and ask for a page.
        wait_until(lambda: check_status(tmp_path) == ("UP", "L7OK", "200"), "no check has passed")
    assert running.server.health_snapshot()["connections_rejected"] == 0


@pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed (Debian: apt-get install haproxy)")
def test_behind_haproxy_that_speaks_http(server_factory: Factory, tmp_path: Path) -> None:
    running = server_factory(trusted_proxies=[INNER_PROXY])
    with haproxy(tmp_path, running.port, "") as (_, http_port), ExitStack() as stack:
        for turn, lines in enumerate(
            [[], [forwarded("198.51.100.66")], [forwarded("198.51.100.66", INNER_PROXY)]]
        ):
            sock = stack.enter_context(dial(http_port, "127.0.0.5"))
            sock.sendall(request("GET", "/wse", None, *lines))
            assert upgraded(sock)
            conn_id = running.events.wait("connect", count=turn + 1)[turn][1]
            info = running.server.get_connection_info(conn_id)
            assert info is not None
            assert (info["address"], info["port"]) == ("127.0.0.5", None)
