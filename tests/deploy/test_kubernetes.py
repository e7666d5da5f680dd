"""The manifests: their schema, what goes together in them, and their pods as containers of a cluster."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

import pods
from containers import why_not, without_dnsmasq
from deployed import Ears, Mouth, typed
from documents import ROOT, block
from images import image
from netns import Network
from pods import FOLDER, PUBLIC, Pods, container_of, links, ours, pod_of, read, the, variables
from support import wait_until
from wse_server.cli.settings import BY_NAME

GUIDE = Path(__file__).parent / "data/guide-kubernetes.yaml"
LABELS = {"app": "wse"}

in_containers = pytest.mark.skipif(
    bool(why_not() or without_dnsmasq()), reason=why_not() or without_dnsmasq() or "it is possible"
)


def limit(name: str) -> int:
    return int(variables(ours(), "192.0.2.1")[name])


def mebibytes(text: str) -> int:
    return int(text.removesuffix("Gi")) * 1024 if text.endswith("Gi") else int(text.removesuffix("Mi"))


def millicores(text: str) -> int:
    return int(text.removesuffix("m")) if text.endswith("m") else 1000 * int(text)


# ---- Their shape ----


@pytest.mark.parametrize("version", ["1.27", "1.37"])
def test_they_are_what_kubernetes_takes(version: str) -> None:
    for manifest in [*ours(), *read(GUIDE)]:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_a_mistake_would_be_found() -> None:
    wrong = json.loads(json.dumps(the(ours(), "StatefulSet")))
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.37", strict=True)


with_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


@with_kubectl
def test_the_commands_of_the_page_make_the_secrets(tmp_path: Path) -> None:
    typed(block("docs/how-to/kubernetes.md", "wse certs create", "sh"), tmp_path)
    # As they stand, but asking no cluster.
    lines = block("docs/how-to/kubernetes.md", "kubectl create secret", "console").splitlines()
    dry = "\necho ---\n".join(f"{line.removeprefix('$ ')} --dry-run=client --output yaml" for line in lines)
    made = list(yaml.safe_load_all(typed(dry, tmp_path)))
    kept = {one["metadata"]["name"]: set(one["data"]) for one in made}
    assert kept == {
        "wse-tls": {"ca.pem", "node.pem", "node.key"},
        "wse-secrets": {"jwt_secret", "api_key"},
    }
    for one in made:
        kubernetes_validate.validate(one, "1.37", strict=True)


@with_kubectl
def test_kustomize_takes_them_and_sets_the_image() -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", str(FOLDER)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    made = [told for told in yaml.safe_load_all(done.stdout) if told]
    assert sorted(one["kind"] for one in made) == sorted(one["kind"] for one in ours())
    for one in made:
        kubernetes_validate.validate(one, "1.37", strict=True)
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    assert container_of(made)["image"] == f"your-registry/wse-server:{version}"


# ---- What goes together ----


def test_the_guides_set_is_part_of_ours() -> None:
    guide, own = read(GUIDE), ours()
    for name in ("wse", "wse-public"):
        theirs, mine = the(guide, "Service", name)["spec"], the(own, "Service", name)["spec"]
        assert {port["port"] for port in theirs["ports"]} == {port["port"] for port in mine["ports"]}
        assert theirs["selector"] == mine["selector"] == LABELS
        for word in ("clusterIP", "type"):
            assert theirs.get(word) == mine.get(word)
    theirs, mine = the(guide, "StatefulSet")["spec"], the(own, "StatefulSet")["spec"]
    for word in ("serviceName", "replicas", "selector"):
        assert theirs[word] == mine[word]
    assert container_of(guide)["ports"] == [
        {"containerPort": port["containerPort"], "name": port["name"]} for port in container_of(own)["ports"]
    ]
    (seed,) = variables(guide, "192.0.2.1")["WSE_SEEDS"].split(",")
    assert seed in variables(own, "192.0.2.1")["WSE_SEEDS"].split(",")
    assert container_of(guide)["volumeMounts"][0] in container_of(own)["volumeMounts"]


def test_everything_selects_the_pods_of_the_set() -> None:
    own = ours()
    labels = the(own, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert labels == the(own, "StatefulSet")["spec"]["selector"]["matchLabels"] == LABELS
    for kind, word in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        assert the(own, kind)["spec"][word]["matchLabels"] == labels
    for constraint in pod_of(own)["topologySpreadConstraints"]:
        assert constraint["labelSelector"]["matchLabels"] == labels
    (monitor,) = read(FOLDER / "service-monitor.yaml")
    selected = [
        one["metadata"]["name"]
        for one in own
        if one["kind"] == "Service"
        and monitor["spec"]["selector"]["matchLabels"].items() <= one["metadata"]["labels"].items()
    ]
    assert selected == ["wse"], "each pod once"


def test_every_port_that_is_named_is_one_of_the_container() -> None:
    own = ours()
    ports = {port["name"]: port["containerPort"] for port in container_of(own)["ports"]}
    assert ports == {"websocket": BY_NAME["port"].default, "cluster": BY_NAME["cluster_port"].default}
    assert limit("WSE_PORT") == ports["websocket"]
    assert limit("WSE_CLUSTER_PORT") == ports["cluster"]
    named = [
        port["targetPort"]
        for name in ("wse", "wse-public")
        for port in the(own, "Service", name)["spec"]["ports"]
    ]
    named += [
        container_of(own)[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "liveness", "readiness")
    ]
    rules = the(own, "NetworkPolicy")["spec"]
    named += [
        port["port"]
        for rule in [*rules["ingress"], *rules["egress"]]
        for port in rule["ports"]
        if port["port"] != 53
    ]
    (monitor,) = read(FOLDER / "service-monitor.yaml")
    names = {port["name"] for port in the(own, "Service", "wse")["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= names
    assert set(named) == set(ports)


def test_nodes_alone_reach_the_port_of_the_cluster() -> None:
    rules = the(ours(), "NetworkPolicy")["spec"]["ingress"]
    to_cluster = [rule for rule in rules if any(port["port"] == "cluster" for port in rule["ports"])]
    assert to_cluster == [
        {
            "from": [{"podSelector": {"matchLabels": LABELS}}],
            "ports": [{"protocol": "TCP", "port": "cluster"}],
        }
    ]
    assert all(rule.get("ports") for rule in rules), "a rule without ports is one for all of them"


def test_a_pod_has_the_time_that_it_asks_for() -> None:
    own = ours()
    command = container_of(own)["lifecycle"]["preStop"]["exec"]["command"]
    assert command[0] == "sleep"
    hand_over, to_spare = 5, 5
    needed = int(command[1]) + limit("WSE_DRAIN_TIMEOUT") + hand_over + to_spare
    assert pod_of(own)["terminationGracePeriodSeconds"] >= needed
    startup = container_of(own)["startupProbe"]
    # A node that finds nobody is ready after six seconds; /health answers before.
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 30
    paths = {
        kind: container_of(own)[f"{kind}Probe"]["httpGet"]["path"]
        for kind in ("startup", "liveness", "readiness")
    }
    assert paths == {"startup": "/health", "liveness": "/health", "readiness": "/ready"}


def test_the_budget_leaves_as_many_as_hold_a_message() -> None:
    own = ours()
    replicas = the(own, "StatefulSet")["spec"]["replicas"]
    gone = the(own, "PodDisruptionBudget")["spec"]["maxUnavailable"]
    copies = 1 + int(BY_NAME["recovery_replicas"].default)  # type: ignore[arg-type]
    assert gone < copies <= replicas - gone
    assert len(variables(own, "192.0.2.1")["WSE_SEEDS"].split(",")) > gone
    assert the(own, "Service", "wse")["spec"]["publishNotReadyAddresses"] is True


def test_a_pod_has_no_rights_and_needs_none() -> None:
    own = ours()
    rights, inner = pod_of(own)["securityContext"], container_of(own)["securityContext"]
    assert rights["runAsNonRoot"] is True
    assert f"{rights['runAsUser']}:{rights['runAsGroup']}" == image().user
    assert rights["seccompProfile"] == {"type": "RuntimeDefault"}
    assert inner == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod_of(own)["automountServiceAccountToken"] is False
    assert pod_of(own)["enableServiceLinks"] is False


def test_the_files_that_are_named_are_in_the_secrets() -> None:
    own = ours()
    volumes = {volume["name"]: volume for volume in pod_of(own)["volumes"]}
    secrets = {
        mount["mountPath"]: volumes[mount["name"]]["secret"]
        for mount in container_of(own)["volumeMounts"]
        if "secret" in volumes[mount["name"]]
    }
    assert {place: secret["secretName"] for place, secret in secrets.items()} == {
        "/etc/wse": "wse-tls",
        "/run/secrets/wse": "wse-secrets",
    }
    assert str(BY_NAME["tls_dir"].default) in secrets
    # Read by the group of the pod, and by nobody else.
    assert all(secret["defaultMode"] == 0o440 for secret in secrets.values())
    told = variables(own, "192.0.2.1")
    for name, file in (("CA", "ca.pem"), ("CERT", "node.pem"), ("KEY", "node.key")):
        assert told[f"WSE_TLS_{name}"] == f"/etc/wse/{file}"
    files = {told[name] for name in told if name.endswith("_FILE")}
    assert {str(Path(file).parent) for file in files} == {"/run/secrets/wse"}
    assert {Path(file).name for file in files} == {"jwt_secret", "api_key"}


def test_memory_is_enough_for_what_may_wait() -> None:
    resources = container_of(ours())["resources"]
    waiting = ("MAX_OUTBOUND_TOTAL_BYTES", "MAX_INBOUND_QUEUE_BYTES", "RECOVERY_MEMORY_BUDGET")
    bound = sum(limit(f"WSE_{name}") for name in waiting) / 2**20
    assert bound <= mebibytes(resources["limits"]["memory"]) / 2
    assert bound <= mebibytes(resources["requests"]["memory"])
    assert "cpu" not in resources["limits"]


# ---- Their pods ----


def test_a_pod_has_what_wse_plan_says_that_so_many_clients_need() -> None:
    plan = [sys.executable, "-m", "wse_server", "plan", "--json"]
    clients = str(limit("WSE_MAX_CONNECTIONS"))
    command = [*plan, "--connections", clients]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    advice = json.loads(done.stdout)["recommended"]
    planned, resources = advice["kubernetes"], container_of(ours())["resources"]
    assert millicores(planned["requests"]["cpu"]) <= millicores(resources["requests"]["cpu"])
    for word in ("requests", "limits"):
        needed, given = (mebibytes(one[word]["memory"]) for one in (planned, resources))
        # Enough, and not so much that nobody has thought about it.
        assert needed <= given <= 4 * needed, word
    for name in ("max_outbound_total_bytes", "max_inbound_queue_bytes", "recovery_memory_budget"):
        assert advice["options"][name] <= limit(f"WSE_{name.upper()}"), name


@pytest.fixture
def network() -> Iterator[Network]:
    # A host for each pod that is ever started: none is used twice.
    with Network(pods.OUTSIDE, pods.DNS, *[f"p{number}" for number in range(8)]) as network:
        yield network


@pytest.fixture
def secrets(tmp_path: Path) -> dict[str, dict[str, bytes]]:
    """What the commands of the page make, and its kubectl puts into the Secrets."""
    typed(block("docs/how-to/kubernetes.md", "wse certs create", "sh"), tmp_path)
    return {name: files_in(tmp_path / name) for name in ("wse-tls", "wse-secrets")}


def files_in(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()}


@in_containers
def test_nothing_is_wrong_with_what_a_pod_is_told(
    network: Network, secrets: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    own = ours()
    container_of(own)["args"] = ["check", "--strict"]
    with Pods(own, network, tmp_path, secrets) as running:
        pod = running.start("wse-0")
        assert pod.wait() == 0, pod.output


def assert_good(running: Pods) -> None:
    """No pod has anything against what it was told."""
    for pod in running.running.values():
        assert "there is no such variable" not in pod.output
        assert "guarded by nothing" not in pod.output
        assert "Traceback" not in pod.output


@in_containers
def test_the_guides_own_set_is_whole_again_whichever_pods_come_back_under_new_addresses(
    network: Network, secrets: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    guide = read(GUIDE)
    assert pod_of(guide).get("enableServiceLinks", True), (
        "it is told of Services, as WSE_PUBLIC_PORT=tcp://..."
    )
    assert dict(links(guide))["WSE_PUBLIC_PORT"] == f"tcp://{PUBLIC}:443"
    with Pods(guide, network, tmp_path, secrets) as running:
        for name in running.names:
            running.start(name)
        running.wait_until_whole()
        # New certificates reach the nodes that run, and those that come.
        typed("wse certs renew --force --out wse-tls", tmp_path)
        renewed = files_in(tmp_path / "wse-tls")
        assert renewed["node.pem"] != secrets["wse-tls"]["node.pem"]
        running.change("wse-tls", renewed)
        for pod in running.running.values():
            pod.send_signal(signal.SIGHUP)
            pod.wait_for_line("reloaded: the certificates of the cluster")
        # The one that all name as their seed, then one that nobody names.
        for name in ("wse-0", "wse-1"):
            before = running.address(name)
            running.running[name].stop(signal.SIGTERM)
            running.gone(name)
            running.start(name)
            assert running.address(name) != before
            running.wait_until_whole()
        assert_good(running)
        for name in running.names:
            running.running[name].kill()
            running.gone(name)
        for name in running.names:
            running.start(name)
        running.wait_until_whole()
        running.wait_until_ready()
        assert_good(running)


@in_containers
def test_no_message_is_lost_while_pods_are_deleted_and_killed(
    network: Network, secrets: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    secret, key = (secrets["wse-secrets"][name].decode().strip() for name in ("jwt_secret", "api_key"))
    # To be sent away over thirty seconds takes thirty seconds.
    with (
        Pods(ours(), network, tmp_path, secrets, {"WSE_DRAIN_TIMEOUT": "3"}) as running,
        ExitStack() as stack,
    ):
        for name in running.names:
            running.start(name)
        running.wait_until_whole()
        running.wait_until_ready()
        # The policy: clients reach one port, nodes each other.
        assert running.reaches(pods.OUTSIDE, "wse-2", 5007)
        assert running.reaches(running.host("wse-1"), "wse-2", 9999)
        assert not running.reaches(pods.OUTSIDE, "wse-2", 9999)
        outside = network.python(pods.OUTSIDE)
        ears = stack.enter_context(Ears([f"ws://{PUBLIC}:443/wse"], 12, secret=secret, python=outside))
        ears.wait_until_subscribed()
        mouth = stack.enter_context(Mouth(f"http://{running.address('wse-2')}:5007", key=key, python=outside))
        mouth.wait_for(5)
        # Deleted: it leaves the Service, and drains.
        deleted = running.running["wse-0"]
        deleted.send_signal(signal.SIGTERM)
        wait_until(lambda: running.probe("wse-0", "/ready") != 200, "it says that it leaves")
        running.spread()
        assert deleted.wait() == 0, deleted.output
        running.gone("wse-0")
        running.start("wse-0")
        running.wait_until_whole()
        running.wait_until_ready()
        # Killed with its machine: nobody says that it is gone.
        running.running["wse-1"].kill()
        running.gone("wse-1")
        running.start("wse-1")
        running.wait_until_whole()
        running.wait_until_ready()
        mouth.wait_for(mouth.count + 5)
        count = mouth.end()
        for heard in ears.end(count):
            assert heard == list(range(count)), "once each, in order"
        assert ears.gaps() == []
        assert_good(running)
