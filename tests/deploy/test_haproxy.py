"""WSE behind the real HAProxy, with the files of `deploy/haproxy/`."""

from __future__ import annotations

import json
import time
import urllib.request

import pytest
from typing_extensions import override
from websockets.exceptions import InvalidMessage

pytest.register_assert_rewrite("deploy.crowd", "deploy.one_node", "deploy.three_nodes")

from deploy.nodes import PROXY, SECRET, STRANGER, Node  # noqa: E402
from deploy.one_node import BehindOneNode, Site, greeting, token  # noqa: E402
from deploy.proxies import (  # noqa: E402
    CLIENT,
    HAPROXY,
    HaProxy,
    HaProxyCluster,
    HaProxyHeader,
    HaProxySticky,
)
from deploy.substitute import ROOT, Replacement  # noqa: E402
from deploy.three_nodes import BehindThreeNodes, ByLeastConnections, Sticking, ThreeNodes  # noqa: E402
from documents import block  # noqa: E402
from support import HOST, PATIENCE, dial, wait_until  # noqa: E402
from wse_server import rust_jwt_encode  # noqa: E402

pytestmark = pytest.mark.skipif(
    HAPROXY is None, reason="haproxy is not installed (Debian: apt-get install haproxy)"
)


class TestOneNode(BehindOneNode):
    PROXY = HaProxy
    SHORT_TIMEOUTS = [Replacement("timeout tunnel 1h", "timeout tunnel 1s")]  # noqa: RUF012

    def test_its_own_metrics_are_there_for_this_machine(self, site: Site) -> None:
        assert isinstance(site.proxy, HaProxy)
        url = f"http://{HOST}:{site.proxy.inside}/metrics"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            assert b'haproxy_server_status{proxy="wse_node",server="node",state="UP"} 1' in answer.read()


class Checked(BehindThreeNodes):
    """What checks find out is seen in HAProxy's own account."""

    @override
    def sees_that_it_is_out(self, site: Site, victim: Node) -> None:
        wait_until(lambda: self.state(site, victim).startswith("DOWN"), "the dead node is taken out")
        super().sees_that_it_is_out(site, victim)

    @override
    def sees_that_it_is_back(self, site: Site, victim: Node) -> None:
        wait_until(lambda: self.state(site, victim) == "UP L7OK", "the node is taken in again")
        super().sees_that_it_is_back(site, victim)

    @staticmethod
    def state(site: Site, node: Node) -> str:
        assert isinstance(site.proxy, HaProxy)
        return site.proxy.states()[site.nodes.index(node)]


class TestThreeNodes(Checked, ByLeastConnections):
    PROXY = HaProxyCluster
    COMMANDS = block("docs/how-to/load-balancers.md", "wse rolling-restart", "console")
    REBALANCE = block("docs/how-to/load-balancers.md", "$ wse rebalance", "console")


class TestSticking(Sticking):
    PROXY = HaProxySticky

    def test_a_token_stays_at_its_node_wherever_it_comes_from(self, site: Site) -> None:
        mine = token()
        assert self.stays(site, mine) == self.stays(site, mine, "127.0.0.8")

    def test_tokens_that_begin_alike_are_spread_all_the_same(self, site: Site) -> None:
        """The first 64 characters, which a table of texts would keep, are the issuer's and not the user's."""
        claims = {"iss": "https://login.example.com/", "aud": "chat", "exp": int(time.time()) + 3600}
        tokens = [rust_jwt_encode(claims | {"sub": f"u{number}"}, SECRET) for number in range(6)]
        assert len({each[:64] for each in tokens}) == 1
        assert len({self.stays(site, each) for each in tokens}) == 3


class TestProxyProtocol(ThreeNodes):
    PROXY = HaProxyHeader
    NODES = {"WSE_PROXY_PROTOCOL": "true"}  # noqa: RUF012
    LINKED = False

    def test_a_node_knows_address_and_port_of_a_client_and_believes_no_header(self, site: Site) -> None:
        forged = {"X-Forwarded-For": "198.51.100.66", "X-Real-IP": "198.51.100.66"}
        for headers in ({}, forged, {"X-Forwarded-For": f"198.51.100.66, {PROXY}"}):
            with site.proxy.dial(cookie=token(), headers=headers) as socket:
                greeting(socket)
                (client,) = [each for node in site.nodes for each in node.connections()]
                assert (client["address"], client["port"]) == socket.local_address
                assert client["address"] == CLIENT

    def test_the_checks_begin_with_a_header_too(self, site: Site) -> None:
        assert isinstance(site.proxy, HaProxy)
        assert site.proxy.states() == ["UP L7OK"] * 3
        assert [node.health()["connections_rejected"] for node in site.nodes] == [0, 0, 0]

    def test_who_gets_past_the_proxy_is_not_believed(self, site: Site) -> None:
        forged = {"X-Forwarded-For": "198.51.100.66"}
        node, who = site.nodes[0], {"token": token(), "additional_headers": forged}
        url = f"ws://{node.address}/wse"
        with dial(url, source_address=(STRANGER, 0), **who) as stranger:  # type: ignore[arg-type]
            assert json.loads(stranger.recv(PATIENCE))["t"] == "server_ready"
            assert [each["address"] for each in node.connections()] == [STRANGER]
        # From the proxy's address, and without its header.
        with pytest.raises((EOFError, OSError, InvalidMessage)):
            dial(url, **who)  # type: ignore[arg-type]


def test_the_files_share_what_is_in_front_of_the_nodes() -> None:
    """Each is a whole file, so that one is all it takes; what they share must stay the same."""

    def front(name: str) -> str:
        text = (ROOT / "deploy/haproxy" / name).read_text()
        text = text[text.index("global\n") : text.index("backend wse_node")]
        return text.replace("default_backend wse_nodes\n", "default_backend wse_node\n")

    assert front("wse.cfg") == front("wse-cluster.cfg") == front("wse-cluster-sticky.cfg")
    ours, theirs = front("wse-cluster.cfg").splitlines(), front("wse-cluster-proxy-v2.cfg").splitlines()
    differing = [line.split()[:2] for line in ours if line not in theirs and "#" not in line]
    assert differing == [["option", "forwardfor"]]
    # And behind that, how a node is chosen is the same.
    rest = [(ROOT / "deploy/haproxy" / name).read_text().partition("backend wse_nodes\n")[2]
            for name in ("wse-cluster.cfg", "wse-cluster-proxy-v2.cfg")]  # fmt: skip
    assert rest[0] == rest[1].replace("send-proxy-v2 check check-send-proxy", "check")
