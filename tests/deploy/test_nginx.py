"""WSE behind the real nginx, with the files of `deploy/nginx/`."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("deploy.crowd", "deploy.one_node", "deploy.three_nodes")

from deploy.one_node import BehindOneNode, Site, token  # noqa: E402
from deploy.proxies import NGINX, Nginx, NginxCluster, NginxIpHash  # noqa: E402
from deploy.substitute import ROOT, Replacement  # noqa: E402
from deploy.three_nodes import ByLeastConnections, Sticking  # noqa: E402
from documents import block  # noqa: E402

pytestmark = pytest.mark.skipif(
    NGINX is None, reason="nginx is not installed (Debian: apt-get install nginx-light)"
)


class TestOneNode(BehindOneNode):
    PROXY = Nginx
    SHORT_TIMEOUTS = [  # noqa: RUF012 - declared as a ClassVar
        Replacement("proxy_read_timeout 3600s;", "proxy_read_timeout 1s;"),
        Replacement("proxy_send_timeout 3600s;", "proxy_send_timeout 1s;"),
    ]


class TestThreeNodes(ByLeastConnections):
    PROXY = NginxCluster
    COMMANDS = block("docs/how-to/load-balancers.md", "wse rolling-restart", "console")
    REBALANCE = block("docs/how-to/load-balancers.md", "$ wse rebalance", "console")


class TestIpHash(Sticking):
    PROXY = NginxIpHash

    def test_a_network_stays_at_its_node_and_is_one_in_its_first_three_numbers(self, site: Site) -> None:
        first = self.stays(site, token(), "127.0.1.1")
        assert self.stays(site, token("bob"), "127.0.1.200") == first
        others = {self.stays(site, token(), f"127.0.{number}.1") for number in range(2, 9)}
        assert others - {first}, "other networks go elsewhere"


def test_the_files_differ_in_how_a_node_is_chosen_and_in_nothing_else() -> None:
    """The three are whole files each, so that one is all it takes; what they share must stay the same."""

    def rest(name: str) -> str:
        text = (ROOT / "deploy/nginx" / name).read_text()
        return text[text.index("# What goes to the node as `Connection`") :]

    assert rest("wse-cluster.conf") == rest("wse-cluster-ip-hash.conf")
    added = [
        line for line in rest("wse-cluster.conf").splitlines() if line not in rest("wse.conf").splitlines()
    ]
    assert [line.split()[0] for line in added if line.strip() and "#" not in line] == [
        "proxy_next_upstream",
        "proxy_connect_timeout",
    ]
