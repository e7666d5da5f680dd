"""What a proxy in front of one node must do, whichever it is.

`test_nginx.py` and `test_haproxy.py` have the classes that are run.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from websockets.exceptions import InvalidStatus

from deploy.blocking import Socket
from deploy.nodes import PROXY, SECRET, STRANGER, Node
from deploy.proxies import CLIENT, NAME, Proxy
from deploy.substitute import Replacement
from support import PATIENCE, dial, wait_until
from wse_server import rust_jwt_encode

IS_LONG = bool(os.environ.get("WSE_DEPLOY_LONG"))
"""Set by `make deploy-long`."""


def token(user: str = "ann") -> str:
    """A token that the nodes accept."""
    return rust_jwt_encode({"sub": user, "exp": int(time.time()) + 3600}, SECRET)


def greeting(socket: Socket) -> dict[str, Any]:
    """The first message of the server, which says who one is."""
    message = socket.receive()
    assert message["t"] == "server_ready", message
    details: dict[str, Any] = message["p"]["details"]
    return details


def subscribe(socket: Socket, topic: str) -> None:
    """Subscribes and reads up to the answer."""
    socket.say("subscription_update", action="subscribe", topics=[topic])
    assert socket.receive()["p"]["success_topics"] == [topic]


class Site:
    """A proxy and its nodes."""

    def __init__(self, proxy: Proxy, nodes: list[Node]) -> None:
        self.proxy = proxy
        self.nodes = nodes

    @property
    def node(self) -> Node:
        """The only one."""
        (node,) = self.nodes
        return node


class BehindOneNode:
    """The cases. A class for each proxy says which."""

    PROXY: ClassVar[type[Proxy]]
    SHORT_TIMEOUTS: ClassVar[list[Replacement]]
    """The hour that a silent connection may last, made a second."""

    @classmethod
    @contextmanager
    def running(cls, directory: Path, *more: Replacement, **environment: str) -> Iterator[Site]:
        with ExitStack() as stack:
            node = stack.enter_context(Node(directory, environment))
            node.start()
            node.wait_until_ready()
            yield Site(stack.enter_context(cls.PROXY(directory, [node], more)), [node])

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
        with cls.running(tmp_path_factory.mktemp("site")) as site:
            yield site

    def test_a_client_comes_through_tls_with_its_token_in_any_place(self, site: Site) -> None:
        subprotocols = ["wse", f"bearer.{token('bob')}"]
        for user, how in (
            ("ann", {"cookie": token("ann")}),
            ("bob", {"subprotocols": subprotocols}),
            ("eve", {"token": token("eve")}),
        ):
            with site.proxy.dial(**how) as socket:
                assert greeting(socket)["user_id"] == user
                assert socket.subprotocol == ("wse" if user == "bob" else None)
                assert socket.tls_version == "TLSv1.3"
        with site.proxy.dial() as socket:
            assert socket.receive()["p"]["code"] == "AUTH_REQUIRED"
            assert socket.close_code() == 4401, "the node's own code arrives"

    def test_the_host_and_the_query_arrive(self, site: Site) -> None:
        # A plain GET of the path is answered by the node itself, whatever follows the question mark.
        for path in ("/wse", "/wse?theme=dark&x=/../metrics"):
            answer = site.proxy.ask(f"GET {path} HTTP/1.1\nHost: {NAME}\nConnection: close")
            assert answer.startswith(b"HTTP/1.1 426 "), answer
        with site.proxy.dial(path="/wse?theme=dark", cookie=token()) as socket:
            assert greeting(socket)["user_id"] == "ann"

    def test_tls_is_modern_and_its_certificate_is_the_one_given(self, site: Site) -> None:
        with site.proxy.connect() as sock:
            names = dict(sock.getpeercert() or {})["subjectAltName"]
            assert ("DNS", NAME) in names
            assert sock.selected_alpn_protocol() is None, "nobody is promised HTTP/2"
        old = ssl.create_default_context(cafile=site.proxy.files.ca)
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1 is deprecated"):
            old.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        site.proxy.context, kept = old, site.proxy.context
        try:
            with pytest.raises(ssl.SSLError):
                site.proxy.connect()
        finally:
            site.proxy.context = kept

    @pytest.mark.parametrize(
        "path",
        ["/", "/metrics", "/health", "/ready", "/api/connections", "/api/publish", "/wsex", "/wse/", "/Wse",
         "/wse/metrics", "/wse/../metrics", "/wse/%2e%2e/metrics", "/wse%2f..%2fmetrics", "//metrics"],
    )  # fmt: skip
    def test_nothing_but_the_path_is_forwarded(self, site: Site, path: str) -> None:
        before = site.node.health()
        answer = site.proxy.ask(f"GET {path} HTTP/1.1\nHost: {NAME}\nConnection: close")
        assert answer.startswith(b"HTTP/1.1 404 "), answer
        with pytest.raises(InvalidStatus) as refused:
            site.proxy.dial(path=path, cookie=token())
        assert refused.value.response.status_code == 404
        after = site.node.health()
        for figure in ("connections_accepted", "connections_rejected"):
            assert after[figure] == before[figure], "the node has not even heard of it"

    def test_a_path_that_only_means_the_right_one_reaches_no_other(self, site: Site) -> None:
        for path in ("/metrics/../wse", "/%77se", "/./wse", "/metrics/%2e%2e/wse"):
            answer = site.proxy.ask(f"GET {path} HTTP/1.1\nHost: {NAME}\nConnection: close")
            assert answer.split()[1] in {b"404", b"426"}, answer
            assert b"wse_" not in answer

    def test_plain_http_is_sent_to_the_name_of_the_site(self, site: Site) -> None:
        for host in (NAME, "evil.example.org"):
            answer = site.proxy.ask(f"GET /wse?x=1 HTTP/1.1\nHost: {host}\nConnection: close", tls=False)
            status, *headers = answer.decode().lower().split("\r\n")
            assert " 301 " in status
            assert f"location: https://{NAME}/wse?x=1" in headers

    def test_the_address_of_a_client_is_what_the_proxy_says(self, site: Site) -> None:
        forged = {"X-Forwarded-For": "198.51.100.66", "X-Real-IP": "198.51.100.66"}
        for headers in ({}, forged, forged | {"X-Forwarded-For": f"198.51.100.66, {PROXY}"}):
            with site.proxy.dial(cookie=token(), headers=headers) as socket:
                greeting(socket)
                assert self.address(site, "ann") == CLIENT
            wait_until(lambda: site.node.clients() == 0, "the client has gone")

    def test_whoever_gets_past_the_proxy_is_not_believed(self, site: Site) -> None:
        url = f"ws://{site.node.address}/wse"
        for source, expected in ((STRANGER, STRANGER), (PROXY, "198.51.100.66")):
            forged = {"X-Forwarded-For": "198.51.100.66"}
            with dial(url, token=token(), additional_headers=forged, source_address=(source, 0)) as socket:
                assert json.loads(socket.recv(PATIENCE))["t"] == "server_ready"
                assert self.address(site, "ann") == expected
            wait_until(lambda: site.node.clients() == 0, "the client has gone")

    def test_the_log_of_the_node_names_the_client(self, site: Site) -> None:
        forged = {"X-Forwarded-For": "198.51.100.66"}
        with site.proxy.dial(source="127.0.0.6", cookie="nonsense", headers=forged) as socket:
            assert socket.receive()["p"]["code"] == "AUTH_FAILED"
        line = "a token was refused"
        wait_until(lambda: line in site.node.output.read_text(), "the refusal is logged")
        logged = [each for each in site.node.output.read_text().splitlines() if line in each]
        assert len(logged) == 1
        assert "client=127.0.0.6" in logged[0]

    def test_the_log_of_the_proxy_has_no_token(self, site: Site) -> None:
        secret = token("mallory")
        with site.proxy.dial(path=f"/wse?token={secret}", cookie=secret) as socket:
            greeting(socket)
        wait_until(lambda: "/wse" in site.proxy.log, "the connection is logged")
        with pytest.raises(InvalidStatus):
            site.proxy.dial(path=f"/last?token={secret}")
        wait_until(lambda: "/last" in site.proxy.log, "the last one is logged")
        assert secret not in site.proxy.log

    def test_ten_megabytes_pass_both_ways_unchanged(self, site: Site) -> None:
        sizes = [900_000] * 8 + [9_000] * 310
        with site.proxy.dial(cookie=token()) as sender, site.proxy.dial(cookie=token("bob")) as reader:
            greeting(sender)
            greeting(reader)
            subscribe(reader, "bulk")
            sent, heard, total = hashlib.sha256(), hashlib.sha256(), 0
            for number, size in enumerate(sizes):
                text = base64.b64encode(os.urandom(size * 3 // 4)).decode()
                sent.update(f"{number}{text}".encode())
                total += len(text)
                sender.say("publish", topic="bulk", data={"t": "bulk", "p": {"n": number, "text": text}})
            assert total > 9_900_000
            for _ in sizes:
                message = reader.receive()["p"]
                heard.update(f"{message['n']}{message['text']}".encode())
            assert heard.hexdigest() == sent.hexdigest()

    def test_the_largest_message_passes_and_a_larger_one_is_refused_by_the_node(self, site: Site) -> None:
        limit = 1 << 20
        with site.proxy.dial(cookie=token()) as socket:
            greeting(socket)
            subscribe(socket, "large")
            frame = json.dumps({"t": "publish", "p": {"topic": "large", "data": {"t": "x", "p": ""}}})
            socket.send(frame.replace('"p": ""', f'"p": "{"x" * (limit - len(frame))}"'))
            assert socket.receive()["t"] == "x"
            socket.send("x" * (limit + 1))
            assert socket.close_code() == 1009

    def test_a_silent_client_stays_as_long_as_the_node_pings_it(self, tmp_path: Path) -> None:
        """The hour of the file as a second, and the node's 25 seconds as a quarter of one."""
        pings = {"WSE_PING_INTERVAL": "0.25", "WSE_IDLE_TIMEOUT": "10"}
        with (
            self.running(tmp_path, *self.SHORT_TIMEOUTS, **pings) as site,
            site.proxy.dial(cookie=token()) as socket,
        ):
            greeting(socket)
            self.stays(socket, 3.0)
            socket.say("ping", timestamp=1)
            assert socket.receive()["t"] == "PONG"

    def test_it_is_the_timeout_of_the_file_that_would_end_it(self, tmp_path: Path) -> None:
        with self.running(tmp_path, *self.SHORT_TIMEOUTS) as site, site.proxy.dial(cookie=token()) as socket:
            greeting(socket)
            began = time.monotonic()
            assert socket.close_code() is None
            assert time.monotonic() - began > 0.9

    @pytest.mark.slow
    @pytest.mark.timeout(180)
    @pytest.mark.skipif(not IS_LONG, reason="takes 75 seconds: make deploy-long")
    def test_a_silent_client_stays_for_75_seconds(self, tmp_path: Path) -> None:
        """The file and the node as they are. Proxies end a silent connection after 60 seconds by default."""
        with self.running(tmp_path) as site, site.proxy.dial(cookie=token()) as socket:
            greeting(socket)
            self.stays(socket, 75.0)
            socket.say("ping", timestamp=1)
            assert socket.receive()["t"] == "PONG"

    @staticmethod
    def stays(socket: Socket, seconds: float) -> None:
        """Sees that nothing is said and nothing ends; pings are answered by the library."""
        with pytest.raises(TimeoutError):
            socket.receive(seconds)

    @staticmethod
    def address(site: Site, user: str) -> str:
        """The address that the node knows a user by."""
        (found,) = [each["address"] for each in site.node.connections() if each["user_id"] == user]
        assert isinstance(found, str)
        return found
