"""What a server is started with: settings that go together, looked at as the engine will look at them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from wse_server import RustWSEServer
from wse_server.cli.settings.declaration import BY_NAME, POD_VARIABLES, SETTINGS
from wse_server.cli.settings.problems import Finding, note, problem, warning
from wse_server.cli.settings.resolve import DEFAULT, Resolution
from wse_server.types import ClusterOptions

__all__ = ["Deployment", "deploy"]

# What the engine says about an option that depends on another, which is wrong already, is no news.
_KEYS = ("jwt_secret", "jwt_previous_secret", "jwt_private_key", "jwks")

_TLS = ("tls_ca", "tls_cert", "tls_key")
_TLS_NAMES = {"tls_ca": "ca.pem", "tls_cert": "node.pem", "tls_key": "node.key"}


@dataclass(slots=True)
class Deployment:
    """What a server is started with."""

    host: str
    port: int
    app: str | None
    drain_timeout: float
    log_level: str
    log_format: str
    options: dict[str, Any]
    """Options of the engine that differ from its defaults; with `app` only those that were told."""
    cluster: ClusterOptions | None
    """The arguments of `connect_cluster`; None outside of a cluster."""
    resolution: Resolution
    """Where each setting was told."""
    findings: list[Finding] = field(default_factory=list)
    """What is wrong, that of the resolution included."""


def deploy(resolution: Resolution, environ: Mapping[str, str]) -> Deployment:
    """Makes ready what a server is started with, and finds what does not go together."""
    findings = list(resolution.findings)
    is_app = resolution["app"] is not None
    cluster = _cluster(resolution, environ, findings)
    options = {
        setting.name: resolution[setting.name]
        for setting in SETTINGS
        if setting.part == "engine" and resolution.is_given(setting.name)
    }
    if not is_app:
        options.setdefault("client_subscriptions", True)
        if cluster is not None and not resolution.is_wrong("recovery_enabled"):
            options.setdefault("recovery_enabled", True)
        findings += _of_engine(resolution, options)
    findings += _of_ports(resolution, cluster)
    return Deployment(
        host=resolution["host"],
        port=resolution["port"],
        app=resolution["app"],
        drain_timeout=resolution["drain_timeout"],
        log_level=resolution["log_level"],
        log_format=resolution["log_format"],
        options=options,
        cluster=cluster,
        resolution=resolution,
        findings=findings,
    )


# ---- The engine ----


def _of_engine(resolution: Resolution, options: Mapping[str, Any]) -> list[Finding]:
    """What the engine has against the options. It tells one thing at a time, so it is asked again without."""
    findings: list[Finding] = []
    left: dict[str, Any] = {"host": resolution["host"], "port": 0} | dict(options)
    blamed = {name for name in BY_NAME if resolution.is_wrong(name)}
    if "jwt_algorithm" in blamed:
        for name in _KEYS:
            left.pop(name, None)
    while True:
        try:
            RustWSEServer(**left)
        except (TypeError, ValueError, NotImplementedError) as error:
            name, _, message = str(error).partition(" ")
            if name not in BY_NAME:
                return [*findings, problem(None, DEFAULT, str(error))]
            words = set(re.findall(r"\w+", message))
            named = [other for other in left if other in words and other != name]
            if name not in blamed and not blamed & words:
                findings.append(_of_option(resolution, name, message, named))
            blamed.add(name)
            # Without what was blamed; if that is a default, without what does not go with it.
            gone = [name] if name in left else named
            if not gone:
                return findings
            for other in gone:
                del left[other]
            left.setdefault("host", BY_NAME["host"].default)
        else:
            return findings


def _of_option(resolution: Resolution, name: str, message: str, named: list[str]) -> Finding:
    source = resolution.source(name)
    message = message.replace(", or None", "").replace(" or None", "").replace(", got None", "")
    if resolution.is_given(name) or not named:
        return problem(name, source, message)
    # It is a default that does not go with what was told.
    sources = " and ".join(resolution.source(other) for other in named)
    setting = BY_NAME[name]
    return problem(name, sources, f"{name} {message}", f"{setting.flag} or {setting.variable}")


# ---- The cluster ----


def _cluster(
    resolution: Resolution, environ: Mapping[str, str], findings: list[Finding]
) -> ClusterOptions | None:
    """The arguments of `connect_cluster`; None if neither peers nor seeds are told."""
    is_meant = any(resolution[name] or resolution.is_wrong(name) for name in ("peers", "seeds"))
    given = {
        setting.name: resolution[setting.name]
        for setting in SETTINGS
        if setting.part == "cluster" and resolution.is_given(setting.name)
    }
    for name in ("peers", "seeds"):
        for address in resolution[name]:
            findings += _of_address(name, resolution.source(name), address)
    if "cluster_addr" in given:
        findings += _of_address("cluster_addr", resolution.source("cluster_addr"), given["cluster_addr"])
    findings += _of_cluster_values(resolution)
    if not is_meant:
        # A node alone keeps no secret from anybody; but who names files expects them to be used.
        for name in given:
            if name not in {"peers", "seeds", "cluster_port"}:
                findings.append(
                    warning(
                        name,
                        resolution.source(name),
                        "has no effect",
                        "a cluster needs WSE_PEERS or WSE_SEEDS",
                    )
                )
        return None
    arguments = {"peers": [], **given}
    for name in ("peers", "seeds"):
        if name in arguments:
            arguments[name] = list(arguments[name])
    if "cluster_addr" not in arguments and not resolution.is_wrong("cluster_addr"):
        arguments |= _of_pod(resolution, environ, findings)
    arguments |= _tls(resolution, given, findings)
    return cast(ClusterOptions, arguments)


def _of_address(name: str, source: str, text: str) -> list[Finding]:
    """The engine's rule, for it tells the first one only, and when it runs."""
    host, colon, port = text.rpartition(":")
    message = None
    if not colon or not host or "/" in host or any(letter.isspace() for letter in text):
        message = "an address is host:port"
    elif ":" in host and not (host.startswith("[") and host.endswith("]")):
        message = "an address is host:port, or [host]:port for IPv6"
    elif not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        message = "the port of an address is a number from 1 to 65535"
    elif len(text.encode()) > 261:
        message = "an address has at most 261 bytes"
    return [problem(name, source, f"{text!r}: {message}")] if message else []


def _of_cluster_values(resolution: Resolution) -> list[Finding]:
    findings = []
    secret = resolution["cluster_secret"]
    if secret is not None and len(secret if isinstance(secret, bytes) else secret.encode()) < 16:
        length = len(secret if isinstance(secret, bytes) else secret.encode())
        source = resolution.source("cluster_secret")
        findings.append(
            problem(
                "cluster_secret",
                source,
                f"has {length} bytes; it must be at least 16",
                "openssl rand -hex 32 makes one",
            )
        )
    name = resolution["cluster_name"]
    if not 1 <= len(name.encode()) <= 255:
        source = resolution.source("cluster_name")
        findings.append(problem("cluster_name", source, f"has {len(name.encode())} bytes; allowed: 1 to 255"))
    if resolution["dead_after"] < 2 * resolution["heartbeat_interval"]:
        told = "dead_after" if resolution.is_given("dead_after") else "heartbeat_interval"
        message = (
            f"dead_after ({resolution['dead_after']:g} s) must be at least twice heartbeat_interval "
            f"({resolution['heartbeat_interval']:g} s)"
        )
        findings.append(problem(told, resolution.source(told), message))
    return findings


def _of_pod(resolution: Resolution, environ: Mapping[str, str], findings: list[Finding]) -> dict[str, str]:
    """Where others reach this node, if the pod knows its address; else the engine finds out by its links."""
    for variable in POD_VARIABLES:
        text = environ.get(variable, "")
        if not text:
            continue
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            findings.append(note("cluster_addr", variable, f"passed over: {text!r} is no IP address"))
            continue
        host = f"[{address}]" if address.version == 6 else str(address)
        if resolution["cluster_port"] != 0:
            return {"cluster_addr": f"{host}:{resolution['cluster_port']}"}
    return {}


def _tls(resolution: Resolution, given: Mapping[str, Any], findings: list[Finding]) -> dict[str, str]:
    """The three files: those that were named, or those that lie where they are looked for."""
    named = [name for name in _TLS if name in given or resolution.is_wrong(name)]
    if named:
        missing = [name for name in _TLS if name not in named]
        if missing:
            sources = " and ".join(resolution.source(name) for name in named if name in given) or named[0]
            wanted = " and ".join(BY_NAME[name].variable for name in missing)
            findings.append(
                problem(missing[0], sources, f"{wanted} not given: all three files of TLS, or none")
            )
        for name in named:
            if name in given:
                findings += _of_file(name, resolution.source(name), Path(given[name]))
        return {}
    place = Path(resolution["tls_dir"])
    files = {name: place / _TLS_NAMES[name] for name in _TLS}
    source = f"{resolution.source('tls_dir')}: {place}" if resolution.is_given("tls_dir") else str(place)
    try:
        there = {name for name, file in files.items() if _is_there(file)}
    except PermissionError:
        findings.append(
            problem("tls_dir", source, f"nobody may look into {place} but its owner", "chmod or chown it")
        )
        return {}
    if len(there) == len(files):
        for name, file in files.items():
            findings += _of_file(name, source, file)
        return {name: str(file) for name, file in files.items()}
    if there:
        lacks = " and ".join(files[name].name for name in _TLS if name not in there)
        findings.append(
            problem("tls_dir", source, f"has no {lacks}: all three files of TLS, or none of them")
        )
    return {}


def _is_there(file: Path) -> bool:
    """Whether there is a file, also one that can't be read: without it TLS would be left out silently."""
    try:
        file.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _of_file(name: str, source: str, file: Path) -> list[Finding]:
    try:
        with file.open("rb"):
            return []
    except OSError as error:
        return [problem(name, source, f"{file} can't be read: {error.strerror}")]


def _of_ports(resolution: Resolution, cluster: ClusterOptions | None) -> list[Finding]:
    if cluster is None or resolution["port"] != resolution["cluster_port"] or resolution["port"] == 0:
        return []
    sources = " and ".join(f"{name} of {resolution.source(name)}" for name in ("port", "cluster_port"))
    return [
        problem("cluster_port", sources, f"both are {resolution['port']}: clients and nodes need two ports")
    ]
