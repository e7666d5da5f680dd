"""Keys, and tokens made from them byte by byte, without the help of any JWT library."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

Algorithm = Literal["HS256", "RS256", "ES256", "EdDSA"]
ALGORITHMS: list[Algorithm] = ["HS256", "RS256", "ES256", "EdDSA"]

PrivateKey = bytes | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class Keys:
    """What signs and what verifies: the same bytes for HS256, else a pair in PEM."""

    algorithm: Algorithm
    private: PrivateKey

    @property
    def signing(self) -> bytes:
        if isinstance(self.private, bytes):
            return self.private
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def verifying(self) -> bytes:
        if isinstance(self.private, bytes):
            return self.private
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, message: bytes) -> bytes:
        match self.private:
            case bytes():
                return hmac.digest(self.private, message, hashlib.sha256)
            case rsa.RSAPrivateKey():
                return self.private.sign(message, padding.PKCS1v15(), hashes.SHA256())
            case ec.EllipticCurvePrivateKey():
                r, s = decode_dss_signature(self.private.sign(message, ec.ECDSA(hashes.SHA256())))
                return r.to_bytes(32) + s.to_bytes(32)
            case ed25519.Ed25519PrivateKey():
                return self.private.sign(message)


def keys(algorithm: Algorithm, name: str = "current") -> Keys:
    """The keys of this name, made when they are first asked for."""
    return _keys(algorithm, name)


@cache
def _keys(algorithm: Algorithm, name: str) -> Keys:
    match algorithm:
        case "HS256":
            return Keys(algorithm, hashlib.sha256(name.encode()).digest())
        case "RS256":
            return Keys(algorithm, rsa.generate_private_key(65537, 2048))
        case "ES256":
            return Keys(algorithm, ec.generate_private_key(ec.SECP256R1()))
        case _:
            return Keys(algorithm, ed25519.Ed25519PrivateKey.generate())


@dataclass(frozen=True)
class Later:
    """A date so many seconds after the token is made."""

    seconds: float


def b64(data: str | bytes) -> str:
    """A segment of a token: base64url without padding."""
    raw = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Mint:
    """Makes tokens that are right but for what the caller asks for."""

    def __init__(self, algorithm: Algorithm, name: str = "current") -> None:
        self.keys = keys(algorithm, name)
        self.now = int(time.time())

    def header(self, **changes: Any) -> str:
        return json.dumps({"alg": self.keys.algorithm, "typ": "JWT"} | changes)

    def claims(self, **changes: Any) -> str:
        claims = {"sub": "user-7", "exp": Later(3600)} | changes
        dated = {
            name: self.now + value.seconds if isinstance(value, Later) else value
            for name, value in claims.items()
        }
        return json.dumps(dated)

    def token(self, header: str | bytes | None = None, claims: str | bytes | None = None) -> str:
        header = self.header() if header is None else header
        claims = self.claims() if claims is None else claims
        return self.signed(f"{b64(header)}.{b64(claims)}")

    def signed(self, message: str) -> str:
        return f"{message}.{b64(self.keys.sign(message.encode()))}"
