"""The exchange of keys, and messages that are sealed with what comes out of it."""

from __future__ import annotations

import base64
import binascii
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

__all__ = ["Cipher", "KeyExchange"]

INFO = b"wse-encryption/aes-gcm-key"
IV_BYTES = 12
TAG_BYTES = 16
POINT_BYTES = 65


class KeyExchange:
    """One side's key pair, for one connection.

    Args:
        private: The private key; a fresh one if none is given.
    """

    def __init__(self, private: ec.EllipticCurvePrivateKey | None = None) -> None:
        self._private = private or ec.generate_private_key(ec.SECP256R1())

    @property
    def public(self) -> str:
        """The public key as it is sent: an uncompressed point of 65 bytes, in base64."""
        point = self._private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return base64.b64encode(point).decode()

    def finish(self, theirs: str) -> Cipher:
        """Makes the cipher of the connection from the public key of the other side.

        Raises:
            ValueError: `theirs` is no point of P-256 in 65 bytes of base64.
        """
        try:
            point = base64.b64decode(theirs, validate=True)
        except binascii.Error as error:
            raise ValueError(f"the server's public key is not base64: {error}") from None
        if len(point) != POINT_BYTES:
            raise ValueError(
                f"the server's public key has {len(point)} bytes; a point of P-256 has {POINT_BYTES}"
            )
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        secret = self._private.exchange(ec.ECDH(), public)
        return Cipher(HKDF(hashes.SHA256(), 32, salt=None, info=INFO).derive(secret))


class Cipher:
    """AES-256-GCM with the key of a connection."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def seal(self, plain: bytes) -> bytes:
        """Seals a message: a fresh initialization vector, the ciphertext, the tag."""
        iv = os.urandom(IV_BYTES)
        return iv + self._aead.encrypt(iv, plain, None)

    def open(self, sealed: bytes) -> bytes:
        """Opens a message.

        Raises:
            ValueError: It was not sealed with this key, or was changed on the way.
        """
        if len(sealed) < IV_BYTES + TAG_BYTES:
            raise ValueError(
                f"a sealed message has at least {IV_BYTES + TAG_BYTES} bytes, this one has {len(sealed)}"
            )
        try:
            return self._aead.decrypt(sealed[:IV_BYTES], sealed[IV_BYTES:], None)
        except InvalidTag:
            raise ValueError("a sealed message was changed on the way, or sealed with another key") from None
