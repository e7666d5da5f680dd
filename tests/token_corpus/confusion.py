"""One key or signature taken for another kind."""

from __future__ import annotations

import base64
import hashlib
import hmac

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from token_corpus.case import Build, Case, bad
from token_corpus.mint import ALGORITHMS, Algorithm, Mint, b64

ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
"""RFC 8032 section 5.1: the order of the group, called L there."""


def hmac_with_public_key(alg: str) -> Build:
    """Signed with HMAC and what the server verifies with, which for a pair of keys everybody has."""

    def build(mint: Mint) -> str:
        message = f"{b64(mint.header(alg=alg))}.{b64(mint.claims())}"
        return f"{message}.{b64(hmac.digest(mint.keys.verifying, message.encode(), hashlib.sha256))}"

    return build


def of_another_algorithm(other: Algorithm) -> Build:
    return lambda _: Mint(other).token()


def es256_in_der(mint: Mint) -> str:
    message = mint.token().rsplit(".", 1)[0]
    assert isinstance(mint.keys.private, ec.EllipticCurvePrivateKey)
    return f"{message}.{b64(mint.keys.private.sign(message.encode(), ec.ECDSA(hashes.SHA256())))}"


def eddsa_past_the_order(mint: Mint) -> str:
    """RFC 8032 section 5.1.7: s is below L, else every signature would have others that also verify."""
    message, signature = mint.token().rsplit(".", 1)
    raw = base64.urlsafe_b64decode(signature + "==")
    s = int.from_bytes(raw[32:], "little") + ED25519_ORDER
    return f"{message}.{b64(raw[:32] + s.to_bytes(32, 'little'))}"


def rs256_longer_than_its_key(mint: Mint) -> str:
    message = mint.token().rsplit(".", 1)[0]
    return f"{message}.{b64(bytes(1) + mint.keys.sign(message.encode()))}"


def rs256_by_pss(mint: Mint) -> str:
    message = mint.token().rsplit(".", 1)[0]
    assert isinstance(mint.keys.private, rsa.RSAPrivateKey)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    return f"{message}.{b64(mint.keys.private.sign(message.encode(), pss, hashes.SHA256()))}"


CASES: list[Case] = [
    *(
        bad(f"HMAC with the public key, alg {alg}", hmac_with_public_key(alg), algorithm=algorithm)
        for algorithm in ALGORITHMS
        for alg in ALGORITHMS
        if algorithm != "HS256"
    ),
    *(
        bad(f"a token of {other}", of_another_algorithm(other), algorithm=algorithm)
        for algorithm in ALGORITHMS
        for other in ALGORITHMS
        if other != algorithm
    ),
    bad("signature in DER", es256_in_der, algorithm="ES256"),
    bad("signature with s past the order", eddsa_past_the_order, algorithm="EdDSA"),
    bad("signature with a zero in front", rs256_longer_than_its_key, algorithm="RS256"),
    bad("signature by PSS", rs256_by_pss, algorithm="RS256"),
]
