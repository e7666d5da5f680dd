"""The real nginx and the real HAProxy, started with the files of `deploy/`.

The replacements here are all that differs: ports and addresses, certificates, and where they may write.
"""

from __future__ import annotations

import os
import resource
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from typing_extensions import override
from websockets.typing import Subprotocol

from certificates import Authority
from deploy.blocking import Socket
from deploy.nodes import Node
from deploy.substitute import Replacement, substituted
from support import HOST, PATIENCE, QUIET, accepts, free_port, wait_until

_PATH = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
NGINX = shutil.which("nginx", path=_PATH)
HAPROXY = shutil.which("haproxy", path=_PATH)

NAME = "ws.example.com"
CLIENT = "127.0.0.5"
"""Where clients come from."""
IS_ROOT = os.geteuid() == 0


class Proxy:
    """A proxy that runs. Ends with the `with` block.

    Args:
        directory: Where its files go.
        nodes: What it stands in front of.
        more: More replacements in its file.
    """

    def __init__(self, directory: Path, nodes: list[Node], more: Iterable[Replacement] = ()) -> None:
        self.directory = directory / "proxy"
        self.directory.mkdir()
        self.nodes = nodes
        self.tls, self.plain = free_port(), free_port()
        self.files = Authority(directory / "public").named_node("proxy", f"DNS:{NAME},DNS:localhost")
        self.context = ssl.create_default_context(cafile=self.files.ca)
        self.url = f"wss://localhost:{self.tls}/wse"
        self._command = self._configure(list(more))
        self._process: subprocess.Popen[bytes] | None = None

    def _configure(self, more: list[Replacement]) -> list[str]:
        """Writes what the program reads, and returns how it is started."""
        raise NotImplementedError

    def nodes_replaced(self) -> list[Replacement]:
        """Where the nodes are, instead of where the file says."""
        if len(self.nodes) == 1:
            return [Replacement("server 127.0.0.1:5007", f"server {self.nodes[0].address}")]
        return [
            Replacement(f"10.0.0.{number}:5007", node.address) for number, node in enumerate(self.nodes, 1)
        ]

    @property
    def log(self) -> str:
        """Its lines about connections that have ended."""
        raise NotImplementedError

    @property
    def output(self) -> str:
        """What it has said."""
        return (self.directory / "output").read_text()

    def __enter__(self) -> Self:
        with (self.directory / "output").open("wb") as output:
            self._process = subprocess.Popen(self._command, stdout=output, stderr=output)

        def listening() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, self.output
            return accepts(self.tls) and accepts(self.plain)

        try:
            wait_until(listening, "the proxy does not listen")
            self.settle()
        except BaseException:
            self._end()
            raise
        return self

    def settle(self) -> None:
        """Waits until it knows its nodes."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)

    # What clients do.

    def connect(self, source: str = CLIENT) -> ssl.SSLSocket:
        """A connection with TLS, from this address."""
        sock = socket.create_connection((HOST, self.tls), timeout=PATIENCE, source_address=(source, 0))
        return self.context.wrap_socket(sock, server_hostname=NAME)

    def dial(
        self,
        *,
        source: str = CLIENT,
        path: str = "/wse",
        token: str | None = None,
        cookie: str | None = None,
        subprotocols: list[str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Socket:
        """A client that came through the proxy, with a token as a header or as a cookie."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if cookie is not None:
            sent["Cookie"] = f"theme=dark; access_token={cookie}"
        arguments: dict[str, Any] = QUIET | {
            "sock": socket.create_connection((HOST, self.tls), PATIENCE, source_address=(source, 0)),
            "ssl": self.context,
            "server_hostname": NAME,
            "additional_headers": sent,
        }
        if subprotocols is not None:
            arguments["subprotocols"] = [Subprotocol(each) for each in subprotocols]
        return Socket(f"wss://{NAME}{path}", **arguments)

    def ask(self, lines: str, *, tls: bool = True) -> bytes:
        """What is answered to a request that is written out, up to the end."""
        if tls:
            sock: socket.socket = self.connect()
        else:
            sock = socket.create_connection((HOST, self.plain), timeout=PATIENCE)
        with sock:
            sock.sendall(lines.replace("\n", "\r\n").encode() + b"\r\n\r\n")
            answer = b""
            while b"\r\n\r\n" not in answer and (received := sock.recv(4096)):
                answer += received
            return answer


class Nginx(Proxy):
    """nginx, with one of the files in `deploy/nginx/` within the nginx.conf beside it."""

    FILE = "wse.conf"

    @override
    def _configure(self, more: list[Replacement]) -> list[str]:
        assert NGINX is not None
        place = self.directory
        main = [
            Replacement("pid /run/nginx.pid;", f"pid {place}/pid;"),
            Replacement("/var/log/nginx/error.log", f"{place}/error.log"),
            Replacement("/var/log/nginx/access.log", f"{place}/access.log"),
            Replacement("/etc/nginx/conf.d/*.conf", f"{place}/site.conf"),
        ]
        if not IS_ROOT:
            main.append(Replacement("user www-data;\n", ""))
        site = [
            Replacement("listen 80;", f"listen {HOST}:{self.plain};"),
            Replacement("listen [::]:80;", f"listen 127.0.0.9:{self.plain};"),
            Replacement("listen 443 ssl;", f"listen {HOST}:{self.tls} ssl;"),
            Replacement("listen [::]:443 ssl;", f"listen 127.0.0.9:{self.tls} ssl;"),
            Replacement("/etc/ssl/certs/ws.example.com.pem", str(self.files.cert)),
            Replacement("/etc/ssl/private/ws.example.com.key", str(self.files.key)),
            *self.nodes_replaced(),
        ]
        (place / "nginx.conf").write_text(substituted("deploy/nginx/nginx.conf", main))
        (place / "site.conf").write_text(substituted(f"deploy/nginx/{self.FILE}", [*site, *more]))
        # Not a daemon, so that it is this process that is ended.
        return [NGINX, "-c", str(place / "nginx.conf"), "-g", "daemon off;"]

    @property
    @override
    def log(self) -> str:
        return (self.directory / "access.log").read_text()


class NginxCluster(Nginx):
    """The node with the fewest connections."""

    FILE = "wse-cluster.conf"


class NginxIpHash(Nginx):
    """The same node for the same network."""

    FILE = "wse-cluster-ip-hash.conf"


class HaProxy(Proxy):
    """HAProxy, with one of the files in `deploy/haproxy/`."""

    FILE = "wse.cfg"

    @override
    def _configure(self, more: list[Replacement]) -> list[str]:
        assert HAPROXY is not None
        place = self.directory
        both = place / "both.pem"
        both.write_bytes(self.files.cert.read_bytes() + self.files.key.read_bytes())
        self.inside = free_port()
        replacements = [
            Replacement("log /dev/log local0", "log stdout format raw local0"),
            Replacement("stats socket /run/haproxy/admin.sock", f"stats socket {place}/admin.sock"),
            Replacement("bind :80,:::80 v6only", f"bind {HOST}:{self.plain},127.0.0.9:{self.plain}"),
            Replacement("bind :443,:::443 v6only", f"bind {HOST}:{self.tls},127.0.0.9:{self.tls}"),
            Replacement("bind 127.0.0.1:8404", f"bind {HOST}:{self.inside}"),
            Replacement("/etc/haproxy/certs/ws.example.com.pem", str(both)),
            *self.nodes_replaced(),
        ]
        if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 110_000:
            # It refuses to start where it can't have the descriptors, as in some containers.
            replacements.append(Replacement("maxconn 50000", "maxconn 5000"))
        if not IS_ROOT:
            replacements += [
                Replacement("    user haproxy\n", ""),
                Replacement("    group haproxy\n", ""),
                Replacement("    chroot /var/lib/haproxy\n", ""),
            ]
        (place / "haproxy.cfg").write_text(substituted(f"deploy/haproxy/{self.FILE}", [*replacements, *more]))
        return [HAPROXY, "-db", "-f", str(place / "haproxy.cfg")]

    @override
    def nodes_replaced(self) -> list[Replacement]:
        if len(self.nodes) == 1:
            return [Replacement("server node 127.0.0.1:5007", f"server node {self.nodes[0].address}")]
        return super().nodes_replaced()

    def states(self) -> list[str]:
        """What its checks have found of each node: "UP L7OK", "DOWN L4CON", and so on."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE)
            try:
                sock.connect(f"{self.directory}/admin.sock")
            except (FileNotFoundError, ConnectionRefusedError):
                # It is not there yet, or nobody listens there yet.
                return []
            sock.sendall(b"show stat\n")
            answer = b""
            while received := sock.recv(65536):
                answer += received
        names, *rows = answer.decode().removeprefix("# ").splitlines()
        fields = [dict(zip(names.split(","), row.split(","), strict=False)) for row in rows if row]
        of_nodes = [each for each in fields if each["svname"].startswith("node")]
        return [f"{each['status']} {each['check_status']}" for each in of_nodes]

    @override
    def settle(self) -> None:
        wait_until(lambda: set(self.states()) == {"UP L7OK"}, "the checks have not found the nodes")

    @property
    @override
    def log(self) -> str:
        return self.output


class HaProxyCluster(HaProxy):
    """The node with the fewest connections, found out by checks."""

    FILE = "wse-cluster.cfg"


class HaProxySticky(HaProxy):
    """The same node for the same token."""

    FILE = "wse-cluster-sticky.cfg"


class HaProxyHeader(HaProxy):
    """As the cluster, with the PROXY protocol."""

    FILE = "wse-cluster-proxy-v2.cfg"
