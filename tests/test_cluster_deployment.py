"""The programs of the deployment guide as they stand there, on three hosts with the guide's addresses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from certificates import Authority
from netns import Network, why_not
from support import Program

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "it is possible")

SERVER = """\
from wse_server import RustWSEServer

server = RustWSEServer(
    "0.0.0.0", 5007,
    max_connections=50_000,
    jwt_secret=b"replace-with-a-strong-secret-key!",
    jwt_issuer="my-app",
    jwt_audience="my-api",
    jwt_cookie_name="access_token",  # optional, default: "access_token"
    recovery_enabled=True,
    presence_enabled=True,
)
server.enable_drain_mode()
server.start()
"""

STATIC = """
server.connect_cluster(
    peers=["10.0.0.2:9999", "10.0.0.3:9999"],
    tls_ca="/etc/wse/ca.pem",
    tls_cert="/etc/wse/node.pem",
    tls_key="/etc/wse/node.key",
    cluster_port=9999,
)
"""

GOSSIP = """
server.connect_cluster(
    peers=[],
    seeds=["10.0.0.2:9999"],        # At least one seed node
    cluster_addr="10.0.0.1:9999",   # This node's cluster address
    cluster_port=9999,
)
"""

WATCH = """
import time
while server.health_snapshot()["cluster_peer_count"] < 2:
    time.sleep(0.05)
position = server.broadcast("prices", '{"t":"tick"}', wait="stored", timeout=30.0)
print(f"whole: offset {position.offset}, {position.copies} copies")
time.sleep(60)
"""

HOSTS = ("a", "b", "c")


@pytest.fixture
def network() -> Iterator[Network]:
    with Network(*HOSTS, prefix="10.0.0", first=1) as network:
        yield network


def run_on_all(network: Network, directory: Path, programs: dict[str, str]) -> list[str]:
    """Runs a program on each host and returns what each says of the whole cluster, sorted."""
    with ExitStack() as stack:
        running = []
        for host, text in programs.items():
            program = directory / f"{host}.py"
            program.write_text(SERVER + text + WATCH)
            running.append(stack.enter_context(Program(program, python=network.python(host))))
        return sorted(one.wait_for_line("whole: ") for one in running)


WHOLE = [f"whole: offset {offset}, 2 copies" for offset in (1, 2, 3)]


def test_three_nodes_with_peers_and_certificates(network: Network, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    programs = {}
    for host in HOSTS:
        files = authority.node(host)
        peers = ", ".join(f'"{network.address(other)}:9999"' for other in HOSTS if other != host)
        text = STATIC.replace('"10.0.0.2:9999", "10.0.0.3:9999"', peers)
        for name, file in (("ca.pem", files.ca), ("node.pem", files.cert), ("node.key", files.key)):
            text = text.replace(f"/etc/wse/{name}", str(file))
        programs[host] = text
    assert programs["a"].count('"10.0.0.2:9999", "10.0.0.3:9999"') == 1, "the first is the guide's own"
    assert run_on_all(network, tmp_path, programs) == WHOLE


def test_three_nodes_find_each_other_by_one_seed(network: Network, tmp_path: Path) -> None:
    programs = {host: GOSSIP.replace("10.0.0.1:9999", f"{network.address(host)}:9999") for host in HOSTS}
    assert programs["a"] == GOSSIP
    assert run_on_all(network, tmp_path, programs) == WHOLE
