"""The certificates of a node: whether the others will let it in, and for how long."""

from __future__ import annotations

import datetime
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from wse_server.cli.check.secrets import readable_by_others
from wse_server.cli.settings import Deployment, Finding
from wse_server.cli.settings.problems import note, problem, warning

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["look"]

_SOON = datetime.timedelta(days=14)


def look(deployment: Deployment) -> list[Finding]:
    """What is said of the three files, as far as they can be read."""
    cluster = deployment.cluster
    if cluster is None:
        return []
    named = {name: cluster.get(name) for name in ("tls_ca", "tls_cert", "tls_key")}
    if None in named.values() or any(found.setting in named for found in deployment.findings):
        return []
    files = {name: Path(str(path)) for name, path in named.items()}
    resolution = deployment.resolution
    sources = {
        name: resolution.source(name) if resolution.is_given(name) else str(file)
        for name, file in files.items()
    }
    findings = readable_by_others("tls_key", sources["tls_key"], files["tls_key"])
    if importlib.util.find_spec("cryptography") is None:
        why = "not looked at: that takes the package cryptography"
        return [*findings, note("tls_cert", sources["tls_cert"], why)]
    return [*findings, *_of_files(files, sources, deployment)]


def _of_files(files: dict[str, Path], sources: dict[str, str], deployment: Deployment) -> list[Finding]:
    findings: list[Finding] = []
    authorities = _read(files["tls_ca"], "tls_ca", sources["tls_ca"], findings)
    chain = _read(files["tls_cert"], "tls_cert", sources["tls_cert"], findings)
    if chain:
        findings += _of_key(files["tls_key"], sources["tls_key"], chain[0])
        findings += _of_dates("tls_cert", sources["tls_cert"], files["tls_cert"], chain[0])
        if authorities and not _is_vouched_for(chain, authorities):
            message = f"{files['tls_cert']} is not signed by an authority of {files['tls_ca']}"
            findings.append(problem("tls_cert", sources["tls_cert"], message, "other nodes will refuse it"))
        lacks = _lacks(chain[0])
        if lacks:
            message = f"{files['tls_cert']} may not be used for {lacks}, and a node both dials and is dialled"
            findings.append(
                problem("tls_cert", sources["tls_cert"], message, "extendedKeyUsage of both kinds")
            )
        if deployment.resolution["tls_verify_name"] and not _has_names(chain[0]):
            message = f"{files['tls_cert']} has no names (subjectAltName), and tls_verify_name asks for them"
            findings.append(warning("tls_verify_name", sources["tls_cert"], message))
    # While authorities change the file has both, and the old one may end.
    dated = [_of_dates("tls_ca", sources["tls_ca"], files["tls_ca"], one) for one in authorities]
    if dated and all(dated):
        findings += dated[-1]
    return findings


def _read(file: Path, name: str, source: str, findings: list[Finding]) -> list[Certificate]:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(file.read_bytes())
    except ValueError as error:
        findings.append(problem(name, source, f"{file} has no certificate in PEM: {_first_line(error)}"))
    except OSError as error:
        findings.append(problem(name, source, f"{file} can't be read: {error.strerror}"))
    return []


def _of_key(file: Path, source: str, certificate: Certificate) -> list[Finding]:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    try:
        key = load_pem_private_key(_without_parameters(file.read_bytes()), password=None)
    except TypeError:
        return [
            problem("tls_key", source, f"{file} is encrypted: the server has nobody to ask for a password")
        ]
    except (ValueError, UnsupportedAlgorithm) as error:
        return [problem("tls_key", source, f"{file} has no private key in PEM: {_first_line(error)}")]
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) == certificate.public_key().public_bytes(*form):
        return []
    return [problem("tls_key", source, f"{file} does not belong to the certificate beside it")]


def _without_parameters(pem: bytes) -> bytes:
    """`openssl ecparam -genkey` writes the curve in front of the key."""
    begin = pem.find(b"-----BEGIN EC PRIVATE KEY")
    return pem[begin:] if begin > 0 else pem


def _of_dates(name: str, source: str, file: Path, certificate: Certificate) -> list[Finding]:
    now = datetime.datetime.now(datetime.UTC)
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    renew = "wse certs renew makes new ones"
    if end < now:
        return [problem(name, source, f"{file} has expired on {end:%Y-%m-%d}", renew)]
    if begin > now:
        return [
            problem(
                name, source, f"{file} is not valid before {begin:%Y-%m-%d %H:%M} UTC", "is the clock right?"
            )
        ]
    if end - now < _SOON:
        days = (end - now).days
        return [warning(name, source, f"{file} expires in {days} days, on {end:%Y-%m-%d}", renew)]
    return []


def _is_vouched_for(chain: list[Certificate], authorities: list[Certificate]) -> bool:
    """Whether an authority signed the first certificate, or one of those between."""
    known = [*authorities, *chain[1:]]
    current, left = chain[0], len(chain)
    while left:
        if any(_signed(current, authority) or current == authority for authority in authorities):
            return True
        above = next((one for one in known if one != current and _signed(current, one)), None)
        if above is None:
            return False
        current, left = above, left - 1
    return False


def _signed(certificate: Certificate, issuer: Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, TypeError, ValueError):
        return False
    return True


def _has_names(certificate: Certificate) -> bool:
    from cryptography import x509

    try:
        certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return False
    return True


def _lacks(certificate: Certificate) -> str:
    """What it says that it is not for, of what a node does with it; nothing if it says nothing of that."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        return ""
    wanted = {
        "serverAuth": ExtendedKeyUsageOID.SERVER_AUTH,
        "clientAuth": ExtendedKeyUsageOID.CLIENT_AUTH,
    }
    return " and ".join(name for name, oid in wanted.items() if oid not in usage)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
