"""Keys and certificates of nodes: what is in them, and nothing of where they are kept.

The rules are those by which nodes check each other (`spec/cluster/links.md`, "Certificates"): version 3, an
extended key usage that allows both sides of a link, and names for `tls_verify_name`.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wse_server.cli.certs.names import Name

__all__ = [
    "Authority",
    "PrivateKey",
    "UnusableError",
    "belongs",
    "hash_of",
    "issued_by",
    "key_kind",
    "key_pem",
    "make_authority",
    "make_key",
    "names_of",
    "read_certificates",
    "read_key",
    "subject_of",
    "why_no_authority",
]

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

# Clocks of nodes differ. What is made now must not be "not valid yet" on a host that is a little behind.
_EARLIER = dt.timedelta(minutes=5)
_COMMON_NAME_LENGTH = 64


_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


class UnusableError(ValueError):
    """A key or a certificate that can't be used; the message says why, after the name of its file."""


@dataclass(frozen=True)
class Authority:
    """Who signs the certificates of nodes."""

    certificate: x509.Certificate
    key: PrivateKey

    def issue(
        self, name: str, names: Sequence[Name], key: PrivateKey, *, days: int, now: dt.datetime
    ) -> x509.Certificate:
        """Makes the certificate of a node. It does not outlive the authority's.

        Args:
            name: Of the node; the subject.
            names: By which it is dialled.
            key: The node's. Only its public half is looked at.
            days: How long it is valid, from now.
            now: The time.
        """
        authority = self.certificate
        begin = max(now - _EARLIER, authority.not_valid_before_utc)
        end = min(now + dt.timedelta(days=days), authority.not_valid_after_utc)
        general = [x509.DNSName(n) if isinstance(n, str) else x509.IPAddress(n) for n in names]
        builder = (
            x509.CertificateBuilder()
            .subject_name(_common_name(name))
            .issuer_name(authority.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName(general), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(_authority_key(authority), critical=False)
        )
        return builder.sign(self.key, hash_of(self.key))


def make_key() -> PrivateKey:
    """Makes a key: ECDSA on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def make_authority(key: PrivateKey, name: str, *, days: int, now: dt.datetime) -> Authority:
    """Makes an authority that vouches for nodes alone, and for no other authority."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(_common_name(name))
        .issuer_name(_common_name(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Authority(builder.sign(key, hash_of(key)), key)


def read_certificates(pem: bytes) -> list[x509.Certificate]:
    """Reads all certificates of a file.

    Raises:
        UnusableError: There is none, or one of them is none.
    """
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        raise UnusableError("has no certificate in PEM (-----BEGIN CERTIFICATE-----)")
    try:
        certificates = x509.load_pem_x509_certificates(pem)
        for certificate in certificates:
            # Both are read when they are asked for, and fail then.
            certificate.public_key()
            list(certificate.extensions)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnusableError(f"is no certificate that can be read: {error}") from None
    return certificates


def read_key(pem: bytes) -> PrivateKey:
    """Reads the first key of a file.

    Raises:
        UnusableError: There is none, it has a passphrase, or nodes accept no such key.
    """
    # `openssl ecparam -genkey` puts the name of the curve into a block of its own, before the key.
    found = re.search(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----\s?", pem, re.DOTALL)
    if found is None:
        raise UnusableError("has no private key in PEM (-----BEGIN PRIVATE KEY-----)")
    if b"ENCRYPTED" in found[0]:
        raise UnusableError("the key has a passphrase, which nobody could type")
    try:
        key = load_pem_private_key(found[0], None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UnusableError(f"is no key that can be read: {error}") from None
    if not _is_accepted(key):
        raise UnusableError(
            "is no key that nodes accept: RSA of 2048 to 8192 bits, P-256, P-384, P-521, Ed25519"
        )
    return cast(PrivateKey, key)


def key_pem(key: PrivateKey) -> bytes:
    """The key as a file has it: PKCS #8, without a passphrase."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def key_kind(key: object) -> str:
    """What kind of key it is, private or public, for people."""
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        names = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
        return f"ECDSA {names.get(key.curve.name, key.curve.name)}"
    if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ed25519.Ed25519PrivateKey | ed25519.Ed25519PublicKey):
        return "Ed25519"
    return type(key).__name__


def belongs(key: PrivateKey, certificate: x509.Certificate) -> bool:
    """Whether a certificate is of this key."""
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return key.public_key().public_bytes(*form) == certificate.public_key().public_bytes(*form)


def issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether an authority has signed a certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def why_no_authority(certificate: x509.Certificate, now: dt.datetime) -> str | None:
    """Why certificates that it signs would not be accepted; None if they would."""
    constraints = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    wrong = {
        "is no authority's: its basic constraints do not say CA:TRUE": constraints is None
        or not constraints.ca,
        "is no authority's: its key usage does not allow it to sign certificates": usage is not None
        and not usage.key_cert_sign,
        "is constrained to certain names, of which this program knows nothing": _extension(
            certificate, x509.NameConstraints
        )
        is not None,
        f"has a key that nodes do not accept: {key_kind(certificate.public_key())}": not _is_accepted(
            certificate.public_key()
        ),
        f"has expired on {ends:%Y-%m-%d}": now > ends,
        f"is not valid before {begins:%Y-%m-%d %H:%M} UTC; is the clock wrong?": now < begins,
    }
    return next((words for words, is_so in wrong.items() if is_so), None)


def names_of(certificate: x509.Certificate) -> tuple[Name, ...]:
    """The hosts that a certificate names."""
    names = _extension(certificate, x509.SubjectAlternativeName)
    if names is None:
        return ()
    hosts = names.get_values_for_type(x509.DNSName)
    # Networks stand in constraints alone, and a certificate that names one names no host by it.
    plain = ipaddress.IPv4Address | ipaddress.IPv6Address
    addresses = [ip for ip in names.get_values_for_type(x509.IPAddress) if isinstance(ip, plain)]
    return (*hosts, *addresses)


def subject_of(certificate: x509.Certificate) -> str:
    """The subject's common name, or the whole subject if there is none."""
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value) if common else certificate.subject.rfc4514_string()


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _is_accepted(key: object) -> bool:
    if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey):
        return 2048 <= key.key_size <= 8192
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        return isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1)
    return isinstance(key, ed25519.Ed25519PrivateKey | ed25519.Ed25519PublicKey)


def hash_of(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | None:
    """What a signature with this key goes over; Ed25519 has a hash of its own."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return None
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size > 256:
        return hashes.SHA384()
    return hashes.SHA256()


def _common_name(name: str) -> x509.Name:
    # RFC 5280, appendix A.1: at most 64 characters. A label of a host's name has fewer.
    short = name if len(name) <= _COMMON_NAME_LENGTH else name.partition(".")[0][:_COMMON_NAME_LENGTH]
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, short)])


def _authority_key(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    its = _extension(authority, x509.SubjectKeyIdentifier)
    if its is None:
        key = cast(ec.EllipticCurvePublicKey, authority.public_key())
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(its)


def _usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
