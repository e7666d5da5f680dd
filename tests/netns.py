"""Hosts of one network on this machine: namespaces on a bridge, whose wires can be cut, slowed and reset.

Nothing leaves the machine: the bridge and all that is plugged into it are in namespaces of the test's own,
and no interface leads out of them. It takes root, `ip` and `ss` (iproute2) and `nft` (nftables).
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import functools
import http.client
import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websockets.exceptions import ConnectionClosed

from nodes import NodeProcess
from server_process import Host
from support import HOST, dial

CLUSTER_PORT = 9999
"""Where nodes listen for each other: each has a host of its own, so all have the same."""

PREFIX = "198.18.0"
"""Addresses set aside for tests of networks (RFC 2544)."""

# One table does it all: a frame on the bridge is looked at by the addresses of its two ends.
RULES = """
table bridge wse {
    set cut { type ipv4_addr . ipv4_addr; }
    set lossy { type ipv4_addr . ipv4_addr; }
    chain forward {
        type filter hook forward priority 0; policy accept;
        ip saddr . ip daddr @cut drop
        ip saddr . ip daddr @lossy numgen random mod 100 < 20 drop
    }
}
"""

_numbers = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)


def _run(*command: str, text: str | None = None) -> None:
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=False, timeout=30)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


@functools.cache
def why_not() -> str:
    """Why this machine can have no such network, or nothing if it can."""
    if os.geteuid() != 0:
        return "network namespaces take root"
    missing = [program for program in ("ip", "ss", "nft") if shutil.which(program) is None]
    if missing:
        return f"{', '.join(missing)} of iproute2 and nftables are not installed"
    try:
        with Network("probe"):
            return ""
    except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
        return f"this machine makes no network namespaces with a bridge: {error}"


class Network:
    """A bridge and hosts on it, all of which are gone at the end of the `with` block.

    Args:
        hosts: Names of the hosts. Each has an address, `address(name)`, and a file of names, `resolve`.
        prefix: The first three numbers of the addresses.
        first: The last number of the first host's address; the others follow.
    """

    def __init__(self, *hosts: str, prefix: str = PREFIX, first: int = 10) -> None:
        self._prefix = prefix
        self._first = first
        self._tag = f"wse-{os.getpid()}-{next(_numbers)}"
        self._hosts = hosts
        self._hub = f"{self._tag}-hub"
        self._made: list[str] = []
        self._folder = Path(tempfile.mkdtemp(prefix="wse-netns-"))

    def __enter__(self) -> Self:
        try:
            self._make(self._hub)
            self._in_hub("ip", "link", "add", "bridge", "type", "bridge")
            self._in_hub("ip", "link", "set", "bridge", "up")
            self._in_hub("nft", "-f", "-", text=RULES)
            for number, host in enumerate(self._hosts):
                self._plug_in(host, f"port{number}")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names of all hosts."""
        return self._hosts

    def address(self, host: str) -> str:
        """The IP address of a host."""
        return f"{self._prefix}.{self._first + self._hosts.index(host)}"

    def resolve(self, names: dict[str, str]) -> None:
        """Tells all hosts, from now on, at which host a name is: as a change in the DNS does."""
        lines = [f"{HOST} localhost\n", *(f"{self.address(host)} {name}\n" for name, host in names.items())]
        for host in self._hosts:
            # The same file, since the processes of the host have it mounted.
            (self._etc(host) / "hosts").write_text("".join(lines))

    def python(self, host: str) -> str:
        """A program that runs this Python on a host."""
        program = self._folder / host
        if not program.exists():
            program.write_text(f'#!/bin/sh\nexec ip netns exec {self._space(host)} {sys.executable} "$@"\n')
            program.chmod(0o755)
        return str(program)

    def enter(self, host: str) -> list[str]:
        """What goes before a command that is to run on a host."""
        return ["ip", "netns", "exec", self._space(host)]

    def connect(self, host: str, port: int, address: str = HOST, timeout: float = 5.0) -> socket.socket:
        """Connects from a host to a port, of this host unless an address is given, as this process."""

        def there() -> socket.socket:
            # The namespace is this thread's alone, and the socket's for good.
            with Path("/run/netns", self._space(host)).open("rb") as space:
                if _libc.setns(space.fileno(), 0) != 0:
                    raise OSError(ctypes.get_errno(), f"no way into the namespace of {host}")
            return socket.create_connection((address, port), timeout)

        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            return thread.submit(there).result()

    def get(self, host: str, port: int, path: str, **headers: str) -> tuple[int, bytes]:
        """Asks a server on a host from there, over HTTP. `_` in the name of a header is `-`."""
        connection = http.client.HTTPConnection(HOST, port, timeout=5)
        connection.sock = self.connect(host, port)
        with contextlib.closing(connection):
            connection.request(
                "GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()}
            )
            answer = connection.getresponse()
            return answer.status, answer.read()

    # What may happen to the wires. `a` and `b` are names of hosts.

    def cut(self, a: str, b: str) -> None:
        """Nothing passes between two hosts, and nobody is told."""
        self._elements("add", "cut", [(a, b), (b, a)])

    def cut_one_way(self, source: str, target: str) -> None:
        """Nothing passes from one host to another; the other way it does."""
        self._elements("add", "cut", [(source, target)])

    def isolate(self, host: str) -> None:
        """A host is a black hole to all others, and they are to it."""
        self._elements("add", "cut", self._wires(host))

    def lose(self, a: str, b: str) -> None:
        """Of what passes between two hosts a fifth is lost."""
        self._elements("add", "lossy", [(a, b), (b, a)])

    def slow(self, host: str, kilobits: int) -> None:
        """What a host sends passes at so many kilobits a second."""
        self._on(host, "tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", f"{kilobits}kbit",
                 "burst", "4kb", "limit", "1mb")  # fmt: skip

    def reset(self, a: str, b: str) -> None:
        """All connections between two hosts are reset: one end breaks, and the other is told."""
        self._on(a, "ss", "-K", "-t", "dst", self.address(b))

    def reset_all(self) -> None:
        """All connections between hosts are reset."""
        for a, b in itertools.combinations(self._hosts, 2):
            self.reset(a, b)

    def filter(self, rules: str) -> None:
        """Lets the bridge do what these rules of nftables say, in a table of their own."""
        self._in_hub("nft", "-f", "-", text=rules)

    def heal(self) -> None:
        """Everything passes again."""
        self._in_hub("nft", "-f", "-", text="flush set bridge wse cut\nflush set bridge wse lossy\n")

    def _wires(self, host: str) -> list[tuple[str, str]]:
        others = [other for other in self._hosts if other != host]
        return [(host, other) for other in others] + [(other, host) for other in others]

    def _elements(self, verb: str, which: str, wires: Iterable[tuple[str, str]]) -> None:
        listed = ", ".join(f"{self.address(a)} . {self.address(b)}" for a, b in wires)
        self._in_hub("nft", verb, "element", "bridge", "wse", which, f"{{ {listed} }}")

    # How it is made.

    def _space(self, host: str) -> str:
        return f"{self._tag}-{host}"

    def _etc(self, host: str) -> Path:
        """What `ip netns exec` puts over /etc."""
        return Path("/etc/netns") / self._space(host)

    def _make(self, space: str) -> None:
        _run("ip", "netns", "add", space)
        self._made.append(space)

    def _plug_in(self, host: str, port: str) -> None:
        self._make(self._space(host))
        etc = self._etc(host)
        etc.mkdir(parents=True)
        (etc / "hosts").write_text(f"{HOST} localhost\n")
        self._in_hub("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns",
                     self._space(host))  # fmt: skip
        self._in_hub("ip", "link", "set", port, "master", "bridge", "up")
        self._on(host, "ip", "link", "set", "lo", "up")
        self._on(host, "ip", "address", "add", f"{self.address(host)}/24", "dev", "eth0")
        self._on(host, "ip", "link", "set", "eth0", "up")

    def _in_hub(self, *command: str, text: str | None = None) -> None:
        _run("ip", "netns", "exec", self._hub, *command, text=text)

    def _on(self, host: str, *command: str) -> None:
        _run("ip", "netns", "exec", self._space(host), *command)

    def _remove(self) -> None:
        for space in self._made:
            with suppress(AssertionError):
                _run("ip", "netns", "del", space)
            shutil.rmtree(Path("/etc/netns") / space, ignore_errors=True)
        shutil.rmtree(self._folder, ignore_errors=True)


class NetNode(NodeProcess):
    """A node on a host of a network, with clients on the same host.

    Args:
        network: The network.
        host: The name of the host.
        peers: Addresses that it dials, without the port.
        cluster: Further arguments of `connect_cluster`.
        options: Options of the server.
    """

    def __init__(
        self, network: Network, host: str, *peers: str, cluster: dict[str, Any] | None = None, **options: Any
    ) -> None:
        dialled = [f"{peer}:{CLUSTER_PORT}" for peer in peers]
        arguments = {"peers": dialled, "cluster_port": CLUSTER_PORT} | (cluster or {})
        super().__init__(arguments, host="0.0.0.0", python=network.python(host), **options)
        self.host = host
        self.address = f"{network.address(host)}:{CLUSTER_PORT}"

    def states(self) -> dict[str, str]:
        """What the others count as, by their names."""
        return {
            peer["instance_id"]: peer["state"] for peer in self.call("cluster_info") if peer["instance_id"]
        }

    def linked(self) -> set[str]:
        """The names of the others that count as connected."""
        return {peer["instance_id"] for peer in self.call("cluster_info") if peer["connected"]}

    def listen(self, name: str, topic: str, **options: Any) -> None:
        """Connects a client that is subscribed to a topic."""
        self.do(_listen, name, topic, options)

    def hang_up(self, name: str) -> None:
        """Disconnects a client."""
        self.do(_hang_up, name)

    def read(self, name: str) -> None:
        """Lets a client read that was to `listen` without reading."""
        self.do(_read, name)

    def code(self, name: str) -> int | None:
        """The code with which a client was closed, if it was."""
        return self.do(_code, name)

    def heard(self, name: str) -> list[str]:
        """What a client has received so far."""
        return self.do(_heard, name)

    def publish(self, topic: str, *messages: str) -> None:
        """Publishes messages one after the other."""
        self.do(_publish, topic, messages)

    def begin_stream(self, topic: str, prefix: str, interval: float) -> None:
        """Publishes messages `prefix 0`, `prefix 1`, ... until `end_stream`."""
        self.do(_begin_stream, topic, prefix, interval)

    def end_stream(self, topic: str, prefix: str) -> int:
        """Ends a stream, and tells how many messages it had."""
        return self.do(_end_stream, topic, prefix)


# ---- Jobs: what runs in the node's process ----


class Listener:
    """A client that keeps what it receives."""

    def __init__(self, host: Host, name: str, options: dict[str, Any]) -> None:
        self.received: list[str] = []
        headers = {"Cookie": f"name={name}"} | options.pop("additional_headers", {})
        reads = options.pop("reads", True)
        self.code: int | None = None
        self._socket = dial(f"ws://{HOST}:{host.server.port}/wse", additional_headers=headers, **options)
        self._thread = threading.Thread(target=self._read, name=f"listener {name}", daemon=True)
        if reads:
            self.read()

    def read(self) -> None:
        """Begins to read."""
        self._thread.start()

    def _read(self) -> None:
        try:
            for message in self._socket:
                self.received.append(str(message))
        except ConnectionClosed as closed:
            self.code = closed.code

    def close(self) -> None:
        """Says goodbye."""
        self._socket.close()
        self._thread.join()


class Stream:
    """Numbered messages, at a pace."""

    def __init__(self, host: Host, topic: str, prefix: str, interval: float) -> None:
        self.count = 0
        self._over = threading.Event()
        arguments = (host, topic, prefix, interval)
        self._thread = threading.Thread(target=self._publish, args=arguments, name="stream", daemon=True)
        self._thread.start()

    def _publish(self, host: Host, topic: str, prefix: str, interval: float) -> None:
        while not self._over.wait(interval):
            host.server.broadcast(topic, f"{prefix} {self.count}")
            self.count += 1

    def end(self) -> int:
        """Ends it, and tells how many messages there were."""
        self._over.set()
        self._thread.join()
        return self.count


_listeners: dict[str, Listener] = {}
_streams: dict[tuple[str, str], Stream] = {}


def _listen(host: Host, name: str, topic: str, options: dict[str, Any]) -> None:
    before = host.times(name)
    _listeners[name] = Listener(host, name, options)
    answer = host.server.subscribe_connection(host.conn_id(name, before + 1), [topic], timeout=10)
    assert answer == {"subscribed": [topic], "refused": {}, "confirmed": True}


def _hang_up(_: Host, name: str) -> None:
    _listeners.pop(name).close()


def _read(_: Host, name: str) -> None:
    _listeners[name].read()


def _code(_: Host, name: str) -> int | None:
    return _listeners[name].code


def _heard(_: Host, name: str) -> list[str]:
    return list(_listeners[name].received)


def _publish(host: Host, topic: str, messages: tuple[str, ...]) -> None:
    for message in messages:
        host.server.broadcast(topic, message)


def _begin_stream(host: Host, topic: str, prefix: str, interval: float) -> None:
    _streams[topic, prefix] = Stream(host, topic, prefix, interval)


def _end_stream(_: Host, topic: str, prefix: str) -> int:
    return _streams.pop((topic, prefix)).end()
