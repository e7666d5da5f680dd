"""Who may come in, and what they may do then."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from wse_server.cli.settings import BY_NAME, Deployment, Finding
from wse_server.cli.settings.problems import note, problem, warning

__all__ = ["look"]

_ALL = {"0.0.0.0", "::", ""}  # noqa: S104 - these are what is warned of


def look(deployment: Deployment) -> list[Finding]:
    """What is said of the two ports."""
    return [*_of_clients(deployment), *_of_keys(deployment), *_of_nodes(deployment)]


def _of_clients(deployment: Deployment) -> list[Finding]:
    resolution, options = deployment.resolution, deployment.options
    if deployment.app is not None:
        # The program may have its own, in code.
        return []
    findings = []
    is_open = options.get("jwt_secret") is None and options.get("jwks") is None
    if is_open:
        may = "subscribe to every topic"
        if options.get("client_publish"):
            may += " and publish to it"
        findings.append(
            warning(
                "jwt_secret",
                resolution.source("jwt_secret"),
                f"OPEN TO EVERYBODY: no secret, so whoever reaches the port may {may}",
                "WSE_JWT_SECRET_FILE, or WSE_JWKS",
            )
        )
    if is_open and options.get("client_publish"):
        message = "client_publish without authentication: anybody may send anything to everybody"
        findings.append(warning("client_publish", resolution.source("client_publish"), message))
    origins = options.get("allowed_origins") or ()
    if not origins or "*" in origins:
        message = "no origins: pages of every site may connect, with the cookies of your users"
        source = resolution.source("allowed_origins")
        findings.append(
            warning("allowed_origins", source, message, "ALLOWED_ORIGINS=https://app.example.com")
        )
    return findings


def _of_keys(deployment: Deployment) -> list[Finding]:
    jwks = deployment.options.get("jwks")
    if jwks is None:
        return []
    source = deployment.resolution.source("jwks")
    if jwks.startswith("http://"):
        return [
            warning("jwks", source, "comes over http: who stands between decides who is let in", "https://")
        ]
    if jwks.startswith("https://"):
        return []
    try:
        Path(jwks).read_bytes()
    except OSError as error:
        return [problem("jwks", source, f"{jwks} can't be read: {error.strerror}")]
    return []


def _of_nodes(deployment: Deployment) -> list[Finding]:
    cluster, resolution = deployment.cluster, deployment.resolution
    if cluster is None:
        return []
    findings = []
    has_tls = cluster.get("tls_cert") is not None
    has_secret = cluster.get("cluster_secret") is not None
    source = ", ".join(resolution.source(name) for name in ("peers", "seeds") if resolution.is_given(name))
    if not has_tls and not has_secret:
        message = "the cluster is guarded by nothing: whoever reaches its port reads and writes everything"
        hint = f"certificates in {resolution['tls_dir']}, which wse certs makes, or WSE_CLUSTER_SECRET_FILE"
        findings.append(warning("tls_cert", source, message, hint))
    elif not has_tls:
        message = "the cluster has a secret and no TLS: who listens on its network reads what nodes say"
        findings.append(warning("tls_cert", source, message, f"certificates in {resolution['tls_dir']}"))
    host = cluster.get("cluster_host") or deployment.host
    name = "cluster_host" if cluster.get("cluster_host") else "host"
    if host in _ALL and not has_tls:
        message = "the port of the cluster is open on all addresses, without TLS"
        findings.append(
            warning("cluster_host", resolution.source(name), message, BY_NAME["cluster_host"].variable)
        )
    told = [(name, host), ("cluster_addr", _host_of(cluster.get("cluster_addr")))]
    told += [(kind, _host_of(text)) for kind in ("peers", "seeds") for text in cluster.get(kind) or ()]  # type: ignore[attr-defined]
    for kind, address in told:
        if address is not None and _is_public(address):
            message = f"{address} is a public address: nodes belong into a network of their own"
            level = note if has_tls else warning
            findings.append(level(kind, resolution.source(kind), message))
    return findings


def _host_of(address: str | None) -> str | None:
    return None if address is None else address.rpartition(":")[0].strip("[]")


def _is_public(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return False
