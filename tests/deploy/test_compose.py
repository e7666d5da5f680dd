"""The Compose file: its shape, what it names, and its services as containers that form a cluster."""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

import compose
from compose import COMPOSE, DNS, load, variables, volumes
from containers import Container, NameServer, why_not, without_dnsmasq
from deployed import Ears, Mouth, typed
from documents import ROOT, block
from images import image
from netns import Network
from support import wait_until

GUIDE = Path(__file__).parent / "data/guide-compose.yaml"
NODES = ("wse-1", "wse-2", "wse-3")
HAPROXY = ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
"""What the image of HAProxy runs."""

PATIENT = 40.0
"""Seconds for a cluster to become one, and six of them to find that nobody was there before."""

in_containers = pytest.mark.skipif(
    bool(why_not() or without_dnsmasq()), reason=why_not() or without_dnsmasq() or "it is possible"
)
with_haproxy = pytest.mark.skipif(
    shutil.which("haproxy") is None, reason="HAProxy is not installed (Debian: haproxy)"
)


@pytest.fixture(scope="module")
def file() -> dict[str, Any]:
    return load(COMPOSE)


# ---- Its shape ----


def test_it_is_what_the_compose_specification_allows() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*check, COMPOSE, GUIDE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_word_that_compose_does_not_know_would_be_found(tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(COMPOSE.read_text().replace("stop_grace_period", "stop_grace"))
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*check, wrong], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "stop_grace" in done.stdout


def test_its_nodes_have_all_that_the_guide_gives_them(file: dict[str, Any]) -> None:
    guide = load(GUIDE)["services"]
    assert set(guide) == set(NODES)
    for name, service in guide.items():
        ours = file["services"][name]
        assert variables(service).items() <= variables(ours).items()
        assert volumes(service) == volumes(ours) == {"/etc/wse": "./certs"}
        # The same ports, though reached from this machine only: clients come through HAProxy.
        assert [f"127.0.0.1:{port}" for port in service["ports"]] == ours["ports"]


def test_what_it_mounts_is_there_or_made_by_the_operator(file: dict[str, Any]) -> None:
    made = {"./certs", "./secrets/jwt_secret", "./secrets/api_key", "./secrets/public.pem"}
    sources = {source for service in file["services"].values() for source in volumes(service).values()}
    sources |= {secret["file"] for secret in file["secrets"].values()}
    for source in sources - made - set(file["volumes"]):
        assert (COMPOSE.parent / source).exists(), source
    assert made <= sources
    for source in {"./certs/node.key", "./certs-ca/ca.key", "./.env"} | made - {"./certs"}:
        ignored = ["git", "check-ignore", "--quiet", str(COMPOSE.parent / source)]
        assert subprocess.run(ignored, cwd=ROOT, check=False).returncode == 0, f"{source} would be committed"
    for service in file["services"].values():
        assert set(service.get("secrets", ())) <= set(file["secrets"])
        assert set(service.get("depends_on", ())) <= set(file["services"])


def test_every_service_is_confined_and_pinned(file: dict[str, Any]) -> None:
    for name, service in file["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "mem_limit" in service, name
        assert re.search(r":v?\d+\.\d+", service["image"]), name
        public = [port for port in service.get("ports", ()) if not port.startswith("127.0.0.1:")]
        assert public == (["443:8443"] if name == "haproxy" else []), name
    for name in ("prometheus", "grafana"):
        assert file["services"][name]["profiles"] == ["monitoring"]


def test_its_nodes_have_the_time_and_the_memory_that_they_ask_for(file: dict[str, Any]) -> None:
    for name in NODES:
        service = file["services"][name]
        told = variables(service)
        # Topics are handed over in five seconds.
        grace = int(service["stop_grace_period"].removesuffix("s"))
        assert grace >= int(told["WSE_DRAIN_TIMEOUT"]) + 5 + 5
        assert service["mem_limit"] == "1g"
        waiting = ("MAX_OUTBOUND_TOTAL_BYTES", "MAX_INBOUND_QUEUE_BYTES", "RECOVERY_MEMORY_BUDGET")
        assert sum(int(told[f"WSE_{name}"]) for name in waiting) <= 2**30 // 2
        assert service["ulimits"]["nofile"] >= int(told["WSE_MAX_CONNECTIONS"]) + 1000
        assert service["healthcheck"]["test"] == image().healthcheck


def test_nodes_believe_haproxy_and_nobody_else(file: dict[str, Any]) -> None:
    (config,) = file["networks"]["default"]["ipam"]["config"]
    address = file["services"]["haproxy"]["networks"]["default"]["ipv4_address"]
    assert ipaddress.ip_address(address) in ipaddress.ip_network(config["subnet"])
    assert ipaddress.ip_address(address) not in ipaddress.ip_network(config["ip_range"])
    for name in NODES:
        assert variables(file["services"][name])["WSE_TRUSTED_PROXIES"] == address


def test_prometheus_and_grafana_look_where_there_is_something(file: dict[str, Any]) -> None:
    prometheus = yaml.safe_load((COMPOSE.parent / "prometheus.yml").read_text())
    (job,) = prometheus["scrape_configs"]
    (static,) = job["static_configs"]
    # As on machines, but for the targets.
    other = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    assert static["labels"] == other["scrape_configs"][0]["static_configs"][0]["labels"]
    assert prometheus["global"] == other["global"]
    assert static["targets"] == [f"{name}:5007" for name in NODES]
    # Rules about clusters look at targets with this label.
    assert static["labels"] == {"cluster": "main"}
    assert prometheus["rule_files"] == ["/etc/prometheus/alerts.yml"]
    assert "/etc/prometheus/alerts.yml" in volumes(file["services"]["prometheus"])
    grafana = COMPOSE.parent / "grafana/provisioning"
    (source,) = yaml.safe_load((grafana / "datasources/prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((grafana / "dashboards/wse.yaml").read_text())["providers"]
    place = provider["options"]["path"]
    assert f"{place}/wse.json" in volumes(file["services"]["grafana"])


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_prometheus_takes_its_file(file: dict[str, Any], tmp_path: Path) -> None:
    mounted = volumes(file["services"]["prometheus"])["/etc/prometheus/alerts.yml"]
    rules = (COMPOSE.parent / mounted).resolve()
    config = tmp_path / "prometheus.yml"
    text = (COMPOSE.parent / "prometheus.yml").read_text()
    config.write_text(text.replace("/etc/prometheus/alerts.yml", str(rules)))
    done = subprocess.run(
        ["promtool", "check", "config", config], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


# ---- Its services ----


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    """The network of the file: HAProxy has its address, and outside is where Docker's own end of it is.

    In each container Docker's DNS answers, at the same address.
    """
    with ExitStack() as stack:
        made = stack.enter_context(Network("outside", "haproxy", *NODES, prefix="172.30.57", first=1))
        inside = ("haproxy", *NODES)
        for host in inside:
            names = stack.enter_context(NameServer(tmp_path, DNS, made.enter(host)))
            names.tell({name: [made.address(name)] for name in inside})
        yield made


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """What the operator makes, by the commands of the page."""
    # The certificate is for the address that clients have here.
    text = block("docs/how-to/docker.md", "wse certs create", "sh")
    typed(text.replace("DNS:localhost", "DNS:localhost,IP:172.30.57.2"), tmp_path)
    sources = ("./certs", "./secrets/jwt_secret", "./secrets/api_key", "./secrets/public.pem")
    return {source: tmp_path / source for source in sources}


def settings(directory: Path) -> dict[str, str]:
    """The file .env, of an operator who is another than root."""
    told = dict(line.split("=", 1) for line in (directory / ".env").read_text().splitlines())
    assert told["NODE_USER"] == f"{os.getuid()}:{os.getgid()}"
    for path in directory.rglob("*"):
        shutil.chown(path, 4711, 4711)
    return told | {"NODE_USER": "4711:4711"}


@in_containers
def test_nothing_is_wrong_with_what_nodes_are_told(
    network: Network, places: dict[str, Path], tmp_path: Path
) -> None:
    told = settings(tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()

    def check(name: str, origins: str, certs: Path) -> Container:
        file = load(COMPOSE, told | {"ALLOWED_ORIGINS": origins})
        command = ["wse", "check", "--strict"]
        mounted = places | {"./certs": certs}
        return compose.run(file, name, enter=network.enter(name), places=mounted, command=command)

    for name in NODES:
        with check(name, told["ALLOWED_ORIGINS"], places["./certs"]) as container:
            assert container.wait() == 0, container.output
    # Pages of every site; a directory that Docker made because there was none.
    for origins, certs, wrong in (
        ("", places["./certs"], "ALLOWED_ORIGINS"),
        ("https://a.example", empty, "ca.pem"),
    ):
        with check("wse-1", origins, certs) as container:
            assert container.wait() == 1, container.output
            assert wrong in container.output


def whole(nodes: list[Container]) -> None:
    for node in nodes:
        wait_until(partial(has_links, node), "the nodes are linked", PATIENT)


def has_links(node: Container) -> bool:
    return node.output.count("linked with node") >= 2


def is_ready(network: Network, name: str) -> bool:
    return network.get(name, 5007, "/ready")[0] == 200


@in_containers
def test_the_guides_own_file_makes_one_cluster_with_certificates(
    network: Network, places: dict[str, Path]
) -> None:
    guide = load(GUIDE)
    # It names no user, so containers are the image's.
    shutil.chown(places["./certs"] / "node.key", 10001, 10001)
    with ExitStack() as stack:
        nodes = []
        for name in NODES:
            started = compose.run(guide, name, enter=network.enter(name), places=places)
            nodes.append(stack.enter_context(started))
        whole(nodes)
        for node in nodes:
            assert "the cluster port is guarded by nothing" not in node.output
            assert "there is no such variable" not in node.output


@in_containers
@with_haproxy
def test_three_nodes_behind_haproxy_lose_no_message_when_one_is_killed(
    network: Network, places: dict[str, Path], tmp_path: Path
) -> None:
    file = load(COMPOSE, settings(tmp_path))
    secret, key = (places[f"./secrets/{name}"].read_text().strip() for name in ("jwt_secret", "api_key"))
    with ExitStack() as stack:

        def start(name: str, command: list[str] | None = None) -> Container:
            enter = network.enter(name)
            return stack.enter_context(compose.run(file, name, enter=enter, places=places, command=command))

        nodes = {name: start(name) for name in NODES}
        whole(list(nodes.values()))
        for name in NODES:
            wait_until(partial(is_ready, network, name), f"{name} is ready", PATIENT)
        haproxy = start("haproxy", HAPROXY)
        outside = network.python("outside")
        address = network.address("haproxy")
        ca = places["./secrets/public.pem"].with_name("public.crt")
        ears = stack.enter_context(
            Ears([f"wss://{address}:8443/wse"], 12, secret=secret, python=outside, ca=ca)
        )
        ears.wait_until_subscribed()
        for path in ("/health", "/metrics", "/api/connections", "/wse/more"):
            assert status_outside(network, ca, path) == 404
        # Each node has its share.
        shares = [look(network, name, "/health", key)["connections"] for name in NODES]
        assert sum(shares) == 12
        assert min(shares) >= 2
        told = {entry["address"] for entry in look(network, "wse-2", "/api/connections", key)["connections"]}
        assert told == {network.address("outside")}, "the address of the client, not of HAProxy"
        mouth = stack.enter_context(Mouth(f"http://{network.address('wse-2')}:5007", key=key, python=outside))
        mouth.wait_for(5)
        nodes["wse-1"].kill()
        ears.wait_for_returns(shares[0])
        # It comes back as another one, as `restart: unless-stopped` lets it.
        nodes["wse-1"] = start("wse-1")
        nodes["wse-1"].wait_for_line("is ready")
        whole([nodes["wse-1"]])
        # It gets its share back, by the command of the page.
        wait_until(partial(is_ready, network, "wse-1"), "it is ready", PATIENT)
        words = block("docs/how-to/docker.md", "wse rebalance", "console").split()
        assert words[:5] == ["$", "docker", "compose", "exec", "wse-1"]
        with start("wse-1", words[5:]) as rebalance:
            assert rebalance.wait() == 0, rebalance.output
        assert look(network, "wse-1", "/health", key)["connections"] >= 2
        mouth.wait_for(mouth.count + 5)
        count = mouth.end()
        for heard in ears.end(count):
            assert heard == list(range(count)), "once each, in order"
        assert ears.gaps() == [], "nothing was missed"
        assert_nothing_unknown(haproxy, nodes)


def status_outside(network: Network, ca: Path, path: str) -> int:
    """The status with which HAProxy answers a request."""
    context = ssl.create_default_context(cafile=str(ca))
    connection = http.client.HTTPConnection("localhost")
    with context.wrap_socket(
        network.connect("haproxy", 8443), server_hostname="localhost"
    ) as connection.sock:
        connection.request("GET", path)
        return connection.getresponse().status


def look(network: Network, name: str, path: str, key: str) -> dict[str, Any]:
    """What a node answers, asked on its own host."""
    status, body = network.get(name, 5007, path, X_API_Key=key)
    assert status == 200, body
    told = json.loads(body)
    assert isinstance(told, dict)
    return told


def assert_nothing_unknown(haproxy: Container, nodes: dict[str, Container]) -> None:
    assert "ALERT" not in haproxy.output
    for node in nodes.values():
        assert "there is no such variable" not in node.output
        assert "Traceback" not in node.output
