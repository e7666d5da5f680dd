"""The environments of the deployment guide, as they stand there, and what Kubernetes adds to them.

Each runs in a namespace of its own, so the ports are those of the guide and /etc/wse is really there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from certificates import Authority
from cli.service import Service
from cli.services import SERVICES

# In its own mounts: an /etc with what a process needs, and the certificates; in its own network: loopback.
ALONE = 'mount --bind "$0/etc" /etc && ip link set lo up && exec "$@"'


def why_not() -> str:
    if os.geteuid() != 0:
        return "namespaces take root"
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return "unshare or ip is not installed (Debian: apt-get install util-linux iproute2)"
    done = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, check=False)
    return "" if done.returncode == 0 else f"namespaces are not allowed here: {done.stderr.decode()}"


pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

COMPOSE = {"WSE_PORT": "5007", "WSE_CLUSTER_PORT": "9999", "WSE_PEERS": "wse-2:9999,wse-3:9999"}
STATEFULSET = {"WSE_SEEDS": "wse-0.wse.default.svc.cluster.local:9999"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with an `etc` that has certificates made by the commands of the guide."""
    etc = tmp_path / "etc"
    (etc / "wse").mkdir(parents=True)
    for name in ("passwd", "group", "nsswitch.conf", "hosts", "ld.so.cache"):
        if Path("/etc", name).exists():
            (etc / name).write_bytes(Path("/etc", name).read_bytes())
    files = Authority(tmp_path / "ca").node("node")
    for name, file in {"ca.pem": files.ca, "node.pem": files.cert, "node.key": files.key}.items():
        (etc / "wse" / name).write_bytes(file.read_bytes())
    return tmp_path


class Alone(Service):
    """One that has a network for itself: it takes the ports that it is told."""

    kept: Mapping[str, str] = {}


def alone(place: Path, environ: dict[str, str]) -> Service:
    prefix = ("unshare", "--net", "--mount", "sh", "-ec", ALONE, str(place))
    return Alone(prefix=prefix, environ=environ)


@pytest.mark.parametrize(
    "environ", [COMPOSE, STATEFULSET, STATEFULSET | SERVICES, COMPOSE | {"POD_IP": "10.0.0.7"}]
)
def test_an_environment_of_the_guide_starts_a_node_with_tls_and_history(
    environ: dict[str, str], place: Path
) -> None:
    with alone(place, environ) as service:
        assert service.ready().endswith("is ready on 0.0.0.0:5007, as a node of a cluster on 0.0.0.0:9999")
        service.logged("guard=TLS with certificates of both sides")
        assert "recovery_memory_budget=268435456" in service.logged("listening")
        assert service.stop() == 0


def test_without_certificates_it_starts_and_says_that_nothing_guards_it(place: Path) -> None:
    shutil.rmtree(place / "etc/wse")
    with alone(place, COMPOSE) as service:
        service.ready()
        service.logged("WARNING", "guarded by nothing")
        assert service.stop() == 0


def test_with_two_of_three_files_it_does_not_start(place: Path) -> None:
    (place / "etc/wse/node.key").unlink()
    with alone(place, STATEFULSET) as service:
        assert service.wait() == 2
        service.logged("wse: error: /etc/wse: has no node.key")
