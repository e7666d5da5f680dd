"""A Kubernetes of the tests' own: manifests, and their pods as containers on hosts of a network.

What of Kubernetes a node of WSE meets is done as Kubernetes does it: names of pods in a DNS, from the moment
that they have an address; Services as rules of nftables that spread new connections over the pods that are
ready; variables with `$(NAME)` in them, from fields of the pod, and of Services; Secrets as directories of
links; users, groups and capabilities. A pod that comes back has another address, and the one that it had
answers no more.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from containers import Container, NameServer
from documents import ROOT
from images import image
from netns import Network
from support import wait_until

FOLDER = ROOT / "deploy/kubernetes"
NAMESPACE = "default"
DOMAIN = f"{NAMESPACE}.svc.cluster.local"
PUBLIC = "10.96.0.10"
"""The address of the public Service."""
OUTSIDE, DNS = "outside", "dns"

SERVICES = """
table ip services
delete table ip services
table ip services {{
    chain output {{
        type nat hook output priority -100; policy accept;
        {rule}
    }}
}}
"""

POLICY = """
table bridge walls {{
    set pods {{ type ipv4_addr; elements = {{ {pods} }} }}
    chain into {{
        {ingress}
        drop
    }}
    chain out {{
        {egress}
        drop
    }}
    chain forward {{
        type filter hook forward priority 1; policy accept;
        # Of connections that stand, and answers.
        tcp flags & (syn | ack) != syn accept
        udp sport 53 accept
        ip daddr @pods jump into
        ip saddr @pods jump out
    }}
}}
"""

Manifest = dict[str, Any]


def read(file: Path) -> list[Manifest]:
    """The manifests of a file."""
    return [told for told in yaml.safe_load_all(file.read_text()) if told]


def ours() -> list[Manifest]:
    """All that `kubectl apply --kustomize` takes, as it stands in the files."""
    (kustomization,) = read(FOLDER / "kustomization.yaml")
    return [manifest for name in kustomization["resources"] for manifest in read(FOLDER / name)]


def the(manifests: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    """The one manifest of a kind, or of a kind and a name."""
    (found,) = [one for one in manifests if one["kind"] == kind and name in {None, one["metadata"]["name"]}]
    return found


def pod_of(manifests: list[Manifest]) -> dict[str, Any]:
    """What each pod of the StatefulSet is."""
    told = the(manifests, "StatefulSet")["spec"]["template"]["spec"]
    assert isinstance(told, dict)
    return told


def container_of(manifests: list[Manifest]) -> dict[str, Any]:
    """The one container of each."""
    (told,) = pod_of(manifests)["containers"]
    assert isinstance(told, dict)
    return told


def variables(manifests: list[Manifest], address: str) -> dict[str, str]:
    """The environment of a pod with this address."""
    fields = {"status.podIP": address, "metadata.namespace": NAMESPACE}
    told = dict(links(manifests)) if pod_of(manifests).get("enableServiceLinks", True) else {}
    for entry in container_of(manifests)["env"]:
        if "valueFrom" in entry:
            told[entry["name"]] = fields[entry["valueFrom"]["fieldRef"]["fieldPath"]]
        else:
            # What is named must stand above.
            told[entry["name"]] = re.sub(r"\$\((\w+)\)", lambda name: told[name[1]], entry["value"])
    return told


def links(manifests: list[Manifest]) -> Iterator[tuple[str, str]]:
    """What a container is told of the Services of its namespace; of those with an address of their own."""
    for manifest in manifests:
        if manifest["kind"] == "Service" and manifest["spec"].get("clusterIP") != "None":
            name = manifest["metadata"]["name"].upper().replace("-", "_")
            (port,) = manifest["spec"]["ports"]
            url = f"tcp://{PUBLIC}:{port['port']}"
            yield f"{name}_SERVICE_HOST", PUBLIC
            yield f"{name}_SERVICE_PORT", str(port["port"])
            if "name" in port:
                yield f"{name}_SERVICE_PORT_{port['name'].upper()}", str(port["port"])
            yield f"{name}_PORT", url
            yield f"{name}_PORT_{port['port']}_TCP", url
            yield f"{name}_PORT_{port['port']}_TCP_PROTO", "tcp"
            yield f"{name}_PORT_{port['port']}_TCP_PORT", str(port["port"])
            yield f"{name}_PORT_{port['port']}_TCP_ADDR", PUBLIC


def policy(manifests: list[Manifest], addresses: list[str]) -> str:
    """The NetworkPolicy as rules of a bridge, if there is one: who may begin to speak with whom.

    Args:
        manifests: Among others the policy.
        addresses: Those of pods. Namespaces other than theirs are empty.
    """
    told = [one["spec"] for one in manifests if one["kind"] == "NetworkPolicy"]
    if not told:
        return ""
    (spec,) = told
    ports = {port["name"]: port["containerPort"] for port in container_of(manifests)["ports"]}

    def lines(direction: str, ends: str, side: str) -> Iterator[str]:
        for rule in spec[direction]:
            for end in rule.get(ends, [None]):
                if end is not None and "podSelector" not in end:
                    continue
                where = "" if end is None else f"ip {side} @pods "
                for port in rule["ports"]:
                    number = ports.get(port["port"], port["port"])
                    yield f"{where}{port['protocol'].lower()} dport {number} return"

    return POLICY.format(
        pods=", ".join(addresses),
        ingress="\n".join(lines("ingress", "from", "saddr")),
        egress="\n".join(lines("egress", "to", "daddr")),
    )


def secret_volume(place: Path, files: Mapping[str, bytes], mode: int, group: int) -> Path:
    """A Secret as it is mounted: links to the files of a hidden directory, which is replaced as one.

    Called again it does what happens in a pod when the Secret has changed.
    """
    place.mkdir(parents=True, exist_ok=True)
    hidden = place / f"..{len(list(place.iterdir()))}"
    hidden.mkdir()
    for name, content in files.items():
        file = hidden / name
        file.write_bytes(content)
        shutil.chown(file, 0, group)
        file.chmod(mode)
    for directory in (place, hidden):
        directory.chmod(0o755)
    new = place / "..data_tmp"
    new.symlink_to(hidden.name)
    new.rename(place / "..data")
    for name in files:
        link = place / name
        if not link.is_symlink():
            link.symlink_to(f"..data/{name}")
    return place


class Pods:
    """The pods of a StatefulSet, and what is around them.

    Args:
        manifests: The StatefulSet and its Services.
        network: Hosts `outside` and `dns`, and one for each pod that is ever started.
        folder: A directory for files.
        secrets: Name of a Secret -> its files.
        changes: Variables that a test has otherwise than the manifest, to wait less.
    """

    def __init__(
        self,
        manifests: list[Manifest],
        network: Network,
        folder: Path,
        secrets: Mapping[str, Mapping[str, bytes]],
        changes: Mapping[str, str] | None = None,
    ) -> None:
        self.manifests = manifests
        self.network = network
        self.replicas: int = the(manifests, "StatefulSet")["spec"]["replicas"]
        self._folder = folder
        self._secrets = dict(secrets)
        self._changes = dict(changes or {})
        self._free = [host for host in network.hosts if host not in {OUTSIDE, DNS}]
        self._hosts: dict[str, str] = {}
        self.running: dict[str, Container] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        network = self.network
        try:
            self._names = self._stack.enter_context(
                NameServer(self._folder, network.address(DNS), network.enter(DNS))
            )
        except BaseException:
            self._stack.close()
            raise
        run(network, OUTSIDE, "ip", "route", "add", "10.96.0.0/16", "dev", "eth0")
        rules = policy(self.manifests, [network.address(host) for host in self._free])
        if rules:
            network.filter(rules)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    # Life of pods.

    @property
    def names(self) -> list[str]:
        """The names of all pods that there are to be."""
        return [f"wse-{number}" for number in range(self.replicas)]

    def address(self, name: str) -> str:
        """The address of a pod."""
        return self.network.address(self._hosts[name])

    def start(self, name: str) -> Container:
        """Starts a pod under an address that no pod had before. Its name is known before it runs."""
        host = self._hosts[name] = self._free.pop(0)
        self._tell_names()
        pod, container = pod_of(self.manifests), container_of(self.manifests)
        rights = pod.get("securityContext", {})
        group = rights.get("fsGroup", 0)
        mounts, writable = self._volumes(name, host, group)
        own = image()
        number, _, groups = own.user.partition(":")
        user = f"{rights.get('runAsUser', number)}:{rights.get('runAsGroup', groups)}"
        environment = own.environment | variables(self.manifests, self.network.address(host)) | self._changes
        search = f"search {DOMAIN} svc.cluster.local cluster.local"
        address = self.network.address(host)
        started = Container(
            [*own.command[:1], *container.get("args", own.command[1:])],
            enter=self.network.enter(host),
            environment=environment,
            mounts=mounts,
            files={
                "/etc/resolv.conf": f"{search}\nnameserver {self.network.address(DNS)}\noptions ndots:5\n",
                "/etc/hosts": f"127.0.0.1 localhost\n{address} {name}.wse.{DOMAIN} {name}\n",
            },
            tmpfs=writable,
            user=user,
            groups=[str(group)] if group else [],
            hostname=name,
            directory=own.directory,
        )
        self.running[name] = self._stack.enter_context(started)
        return started

    def gone(self, name: str) -> None:
        """A pod has ended, and nothing answers under its address, not even with a refusal."""
        assert self.running.pop(name).wait() is not None
        self.network.isolate(self._hosts.pop(name))
        self._tell_names()
        self.spread()

    def reaches(self, host: str, name: str, port: int) -> bool:
        """Whether a connection from a host to a port of a pod comes about."""
        try:
            self.network.connect(host, port, self.address(name), timeout=0.5).close()
        except TimeoutError:
            return False
        return True

    def host(self, name: str) -> str:
        """The host of a pod."""
        return self._hosts[name]

    def probe(self, name: str, path: str) -> int:
        """The status that a probe gets."""
        return status_of(self.network, self._hosts[name], path)

    def peers(self, name: str) -> int:
        """How many others a pod is linked with."""
        return int(ask(self.network, self._hosts[name], "/health")["cluster_peer_count"])

    def wait_until_whole(self, timeout: float = 40.0) -> None:
        """Waits until each pod is linked with all others."""
        others = self.replicas - 1
        wait_until(
            lambda: all(self.peers(name) == others for name in self.names), "each has links with all", timeout
        )

    def wait_until_ready(self, timeout: float = 40.0) -> None:
        """Waits until all pods are ready, and lets clients come to them."""
        wait_until(
            lambda: all(self.probe(name, "/ready") == 200 for name in self.names), "all are ready", timeout
        )
        self.spread()

    # What is around them.

    def spread(self) -> None:
        """Lets the public Service lead to the pods that are ready, each new connection to the next one."""
        ready = [name for name in sorted(self.running) if self.probe(name, "/ready") == 200]
        rule = ""
        if ready:
            (port,) = the(self.manifests, "Service", "wse-public")["spec"]["ports"]
            targets = ", ".join(
                f"{number} : {self.address(name)} . 5007" for number, name in enumerate(ready)
            )
            chosen = f"numgen inc mod {len(ready)} map {{ {targets} }}"
            rule = f"ip daddr {PUBLIC} tcp dport {port['port']} dnat to {chosen}"
        run(self.network, OUTSIDE, "nft", "-f", "-", text=SERVICES.format(rule=rule))

    def _tell_names(self) -> None:
        """The records of the Service without an address: of each pod, and of all of them."""
        headless = the(self.manifests, "Service", "wse")
        assert headless["spec"]["clusterIP"] == "None"
        records = {f"{name}.wse.{DOMAIN}": [self.address(name)] for name in self._hosts}
        self._names.tell(records | {f"wse.{DOMAIN}": [self.address(name) for name in self._hosts]})

    def change(self, secret: str, files: Mapping[str, bytes]) -> None:
        """Changes a Secret, in all pods that have it, as the kubelet does within a minute or two."""
        self._secrets[secret] = files
        for name, host in self._hosts.items():
            self._volumes(name, host, pod_of(self.manifests).get("securityContext", {}).get("fsGroup", 0))

    def _volumes(self, name: str, host: str, group: int) -> tuple[dict[str, Path], list[str]]:
        """What is mounted, and what can be written to."""
        mounts, writable = {}, []
        volumes = {volume["name"]: volume for volume in pod_of(self.manifests)["volumes"]}
        for mount in container_of(self.manifests)["volumeMounts"]:
            volume = volumes[mount["name"]]
            if "emptyDir" in volume:
                writable.append(mount["mountPath"])
            else:
                told = volume["secret"]
                place = self._folder / f"{name}-{host}" / mount["name"]
                files = self._secrets[told["secretName"]]
                mode = told.get("defaultMode", 0o644)
                mounts[mount["mountPath"]] = secret_volume(place, files, mode, group)
        return mounts, writable


def run(network: Network, host: str, *command: str, text: str | None = None) -> None:
    """Runs a command on a host to its end."""
    done = subprocess.run(
        [*network.enter(host), *command], input=text, text=True, capture_output=True, check=False, timeout=30
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


def status_of(network: Network, host: str, path: str) -> int:
    """The status with which a node on a host answers a GET; 0 if it does not."""
    try:
        return network.get(host, 5007, path)[0]
    except OSError:
        return 0


def ask(network: Network, host: str, path: str, **headers: str) -> dict[str, Any]:
    """What a node on a host answers, which must be JSON; nothing if it does not."""
    try:
        status, body = network.get(host, 5007, path, **headers)
    except OSError:
        return {"cluster_peer_count": -1}
    assert status == 200, body
    told = json.loads(body)
    assert isinstance(told, dict)
    return told
