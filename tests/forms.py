"""Clients that want msgpack, zlib or sealed messages, made of libraries that know nothing of this project."""

from __future__ import annotations

import base64
import json
import os
import zlib
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from support import Peer, Running

VECTORS = Path(__file__).resolve().parent.parent / "spec" / "vectors"
MSGPACK = "?format=msgpack"


def vectors(name: str) -> dict[str, Any]:
    """What `tools/vectors.py` wrote."""
    content = json.loads((VECTORS / f"{name}.json").read_text("utf-8"))
    assert isinstance(content, dict)
    return content


def packed(message: object) -> bytes:
    """A message as msgpack without a prefix."""
    data = msgpack.packb(message)
    assert isinstance(data, bytes)
    return data


def unpack(payload: str | bytes) -> dict[str, Any]:
    """What is in an `M:` message."""
    assert isinstance(payload, bytes), payload
    assert payload[:2] == b"M:", payload
    message = msgpack.unpackb(payload[2:])
    assert isinstance(message, dict), message
    return message


def unzip(payload: str | bytes) -> dict[str, Any]:
    """What is in a `C:` message."""
    assert isinstance(payload, bytes), payload
    assert payload[:2] == b"C:", payload
    message = json.loads(zlib.decompress(payload[2:]))
    assert isinstance(message, dict), message
    return message


def say_hello(peer: Peer, **p: Any) -> dict[str, Any]:
    """Sends `client_hello` with this in it and returns what `server_hello` says, whatever form it has."""
    peer.send({"t": "client_hello", "p": {"client_version": "0", "protocol_version": 1, **p}})
    answer = peer.receive()
    message = unpack(answer) if answer[:2] == b"M:" else json.loads(answer)
    assert message["t"] == "server_hello", message
    hello = message["p"]
    assert isinstance(hello, dict)
    return hello


class Keys:
    """A client's half of the exchange, and after it what seals and opens."""

    def __init__(self) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        self._cipher: AESGCM | None = None

    @property
    def public(self) -> str:
        """The key for `client_hello`."""
        point = self._private.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        return base64.b64encode(point).decode()

    def agree(self, public: str) -> None:
        """Derives the key from what `server_hello` brought."""
        point = base64.b64decode(public, validate=True)
        assert len(point) == 65
        theirs = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        shared = self._private.exchange(ec.ECDH(), theirs)
        key = HKDF(
            algorithm=hashes.SHA256(), length=32, salt=None, info=b"wse-encryption/aes-gcm-key"
        ).derive(shared)
        self._cipher = AESGCM(key)

    def seal(self, message: str | bytes | dict[str, Any]) -> bytes:
        """A message as an `E:` payload."""
        assert self._cipher is not None, "no keys were exchanged"
        plain = json.dumps(message) if isinstance(message, dict) else message
        iv = os.urandom(12)
        return (
            b"E:" + iv + self._cipher.encrypt(iv, plain.encode() if isinstance(plain, str) else plain, None)
        )

    def open(self, payload: str | bytes) -> bytes:
        """What is in an `E:` message; fails for anything else."""
        assert self._cipher is not None, "no keys were exchanged"
        assert isinstance(payload, bytes), f"in clear: {payload!r}"
        assert payload[:2] == b"E:", f"in clear: {payload!r}"
        return self._cipher.decrypt(payload[2:14], payload[14:], None)


class Sealed:
    """A client that has exchanged keys."""

    def __init__(self, running: Running, peer: Peer | None = None, **p: Any) -> None:
        self.peer = running.dial() if peer is None else peer
        self.conn_id = self.peer.conn_id
        self.keys = Keys()
        self.hello = say_hello(self.peer, encryption_public_key=self.keys.public, **p)
        self.keys.agree(self.hello["encryption_public_key"])

    def send(self, message: str | bytes | dict[str, Any]) -> None:
        """Seals and sends."""
        self.peer.send(self.keys.seal(message))

    def receive(self) -> bytes:
        """Waits for the next message, which must be sealed."""
        return self.keys.open(self.peer.receive())

    def receive_json(self) -> dict[str, Any]:
        """The same, which must be a JSON object."""
        message = json.loads(self.receive())
        assert isinstance(message, dict)
        return message
