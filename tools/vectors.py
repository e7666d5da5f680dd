"""Writes spec/vectors/*.json: what other people's libraries make of the same messages.

    python tools/vectors.py            write the files
    python tools/vectors.py --check    only say whether they are what would be written; exit code 1 if not

msgpack, zlib and cryptography are independent of this project. The Rust tests replay the vectors
against wse-core, the Python tests against a running server, and a client in any language can replay
them too. Bytes are written in hexadecimal digits. What a zlib stream looks like depends on the
library that made it, so its vectors are checked by opening them, not by comparing bytes.
"""

from __future__ import annotations

import argparse
import base64
import json
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

VECTORS = Path(__file__).resolve().parent.parent / "spec" / "vectors"

MESSAGE: dict[str, Any] = {
    "c": "U",
    "t": "order",
    "id": "019f0f0e-7c3a-7d4e-8b1a-5f0c2d9e4b61",
    "ts": "2026-01-31T23:59:59.999Z",
    "seq": 42,
    "p": {"price": 101.25, "lots": [1, 2, 3], "note": "naïve €😀", "open": True, "stop": None},
    "pri": 5,
    "v": 1,
}

INFO = b"wse-encryption/aes-gcm-key"


def nested(levels: int) -> dict[str, Any]:
    """Maps in maps, so many levels in all."""
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def msgpack_vectors() -> dict[str, Any]:
    """`both`: text and bytes that become each other.

    `unpack`: bytes that come from clients only, and the text they become. `refused`: bytes that are no
    message. `unpackable`: text that is sent as it is, since msgpack can't say it.
    """
    both = {
        "message": MESSAGE,
        "empty": {},
        "words": {"a": None, "b": True, "c": False},
        "integers": {"n": [0, 1, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**63, 2**64 - 1]},
        "negative-integers": {
            "n": [-1, -32, -33, -128, -129, -32768, -32769, -(2**31), -(2**31) - 1, -(2**63)]
        },
        "floats": {"n": [0.0, -0.5, 1.0, 0.1, 1e300, 5e-324, 1.7976931348623157e308, 123456789.125]},
        "texts": {
            "s": ["", "x" * 31, "x" * 32, "x" * 255, "x" * 256, "é€😀", 'quote " backslash \\ slash /']
        },
        "control-characters": {"s": "".join(map(chr, range(32))) + "\x7f"},
        "lists": {"l": [[], [0] * 15, [0] * 16, [0] * 300]},
        "maps": {"m": [{}, {str(i): i for i in range(15)}, {str(i): i for i in range(16)}]},
        "nested-64-deep": nested(64),
    }
    prefix = b"\x81\xa1a"
    unpack = {
        "bytes": (prefix + b"\xc4\x03\x00\xab\xff", {"a": "00abff"}),
        "float-of-32-bits": (prefix + b"\xca" + struct.pack(">f", 0.5), {"a": 0.5}),
        "longer-forms": (prefix + b"\xcd\x00\x01", {"a": 1}),
        "timestamp-of-32-bits": (
            msgpack.packb({"a": msgpack.Timestamp(1)}),
            {"a": "1970-01-01T00:00:01.000Z"},
        ),
        "timestamp-of-64-bits": (
            msgpack.packb({"a": msgpack.Timestamp(1_795_448_941, 607_000_000)}),
            {"a": "2026-11-23T15:49:01.607Z"},
        ),
        "timestamp-of-96-bits": (
            msgpack.packb({"a": msgpack.Timestamp(-1, 1000)}),
            {"a": "1969-12-31T23:59:59.000001Z"},
        ),
    }
    refused = {
        "a-list": msgpack.packb([1]),
        "cut": msgpack.packb(MESSAGE)[:-1],
        "two-maps": msgpack.packb({}) * 2,
        "a-number-as-key": msgpack.packb({1: 2}),
        "not-a-number": msgpack.packb({"a": float("nan")}),
        "infinity": msgpack.packb({"a": float("-inf")}),
        "no-utf-8": msgpack.packb({"a": "é".encode("latin-1")}, use_bin_type=False),
        "nested-65-deep": msgpack.packb(nested(65)),
        "another-extension": msgpack.packb({"a": msgpack.ExtType(5, b"x")}),
        "the-byte-without-a-meaning": prefix + b"\xc1",
    }
    unpackable = {
        "a-list": "[1]",
        "no-json": "hello",
        "nested-65-deep": json.dumps(nested(65)),
        "an-integer-of-65-bits": json.dumps({"n": 2**64}),
        "a-lone-surrogate": '{"s":"\\ud800"}',
    }
    return {
        "both": [
            {
                "name": name,
                "json": json.dumps(value, ensure_ascii=False),
                "msgpack": msgpack.packb(value).hex(),
            }
            for name, value in both.items()
        ],
        "unpack": [
            {"name": name, "msgpack": packed.hex(), "json": json.dumps(value)}
            for name, (packed, value) in unpack.items()
        ],
        "refused": [{"name": name, "msgpack": packed.hex()} for name, packed in refused.items()],
        "unpackable": [{"name": name, "json": text} for name, text in unpackable.items()],
    }


def zlib_vectors() -> dict[str, Any]:
    """`opened`: payloads (with their `C:`) and the text in them. `refused`: payloads without a message."""
    texts = {
        "message": json.dumps(MESSAGE, ensure_ascii=False),
        "empty-object": "{}",
        "repeats": json.dumps({"t": "x", "p": ["the same again"] * 200}),
    }
    opened = [
        {
            "name": f"{name}-level-{level}",
            "json": text,
            "payload": (b"C:" + zlib.compress(text.encode(), level)).hex(),
        }
        for name, text in texts.items()
        for level in (0, 1, 6, 9)
    ]
    stream = zlib.compress(texts["message"].encode())
    raw = zlib.compressobj(wbits=-15)
    refused = {
        "cut": stream[:-1],
        "something-behind": stream + b"x",
        "a-wrong-checksum": stream[:-1] + bytes([stream[-1] ^ 1]),
        "deflate-without-zlib": raw.compress(texts["message"].encode()) + raw.flush(),
        "json-as-it-is": b'{"t":"x"}',
        "no-utf-8": zlib.compress(b'{"t":"\xff"}'),
    }
    return {
        "opened": opened,
        "refused": [{"name": name, "payload": (b"C:" + data).hex()} for name, data in refused.items()],
    }


def private_key(number: int) -> ec.EllipticCurvePrivateKey:
    """The key of a number, so that the vectors are the same each time."""
    return ec.derive_private_key(number, ec.SECP256R1())


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The public key as 65 bytes."""
    return key.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )


def encryption_vectors() -> dict[str, Any]:
    """`sealed`: both sides' keys, the key they derive, messages sealed with it (with their `E:`).

    `refused`: public keys that are none.
    """
    sealed: list[dict[str, str]] = []
    messages = {
        "message": json.dumps(MESSAGE, ensure_ascii=False).encode(),
        "nothing": b"",
        "bytes": bytes(range(256)),
    }
    for name, message in messages.items():
        at = len(sealed) + 1
        server, client = private_key(0x1234_5678 << (8 * at)), private_key(2**255 + at)
        shared = client.exchange(ec.ECDH(), server.public_key())
        key = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=INFO).derive(shared)
        iv = bytes(range(at, at + 12))
        sealed.append(
            {
                "name": name,
                "server_private": server.private_numbers().private_value.to_bytes(32, "big").hex(),
                "server_public": base64.b64encode(point(server)).decode(),
                "client_private": client.private_numbers().private_value.to_bytes(32, "big").hex(),
                "client_public": base64.b64encode(point(client)).decode(),
                "key": key.hex(),
                "iv": iv.hex(),
                "message": message.hex(),
                "payload": (b"E:" + iv + AESGCM(key).encrypt(iv, message, None)).hex(),
            }
        )
    good = point(private_key(7))
    refused = {
        "off-the-curve": good[:-1] + bytes([good[-1] ^ 1]),
        "compressed": bytes([2 + (good[-1] & 1)]) + good[1:33],
        "cut": good[:-1],
        "the-point-at-infinity": b"\0",
        "zeros": b"\4" + bytes(64),
        "nothing": b"",
    }
    return {
        "info": INFO.decode(),
        "sealed": sealed,
        "refused": [
            {"name": name, "public": base64.b64encode(data).decode()} for name, data in refused.items()
        ]
        + [{"name": "no-base64", "public": "not base64!"}],
    }


def vectors() -> dict[str, dict[str, Any]]:
    """All files by name."""
    return {"msgpack": msgpack_vectors(), "zlib": zlib_vectors(), "encryption": encryption_vectors()}


def text_of(content: dict[str, Any]) -> str:
    """A file as it is written: one vector a line, so that a change shows as one."""
    parts = []
    for name, value in content.items():
        if isinstance(value, list):
            lines = ",\n".join("  " + json.dumps(item, ensure_ascii=False) for item in value)
            parts.append(f" {json.dumps(name)}: [\n{lines}\n ]")
        else:
            parts.append(f" {json.dumps(name)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def is_current(name: str, content: dict[str, Any], written: str) -> bool:
    """Whether a file says what would be written; streams of zlib may differ in their bytes only."""
    if name != "zlib":
        return written == text_of(content)
    old = json.loads(written)
    same = [(vector["name"], vector["json"]) for vector in old["opened"]] == [
        (vector["name"], vector["json"]) for vector in content["opened"]
    ]
    opens = all(
        zlib.decompress(bytes.fromhex(vector["payload"])[2:]).decode() == vector["json"]
        for vector in old["opened"]
    )
    return same and opens and [v["name"] for v in old["refused"]] == [v["name"] for v in content["refused"]]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, exit with 1 if a file is stale")
    check = parser.parse_args().check
    stale = []
    for name, content in vectors().items():
        path = VECTORS / f"{name}.json"
        if path.exists() and is_current(name, content, path.read_text("utf-8")):
            continue
        stale.append(path.name)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text_of(content), "utf-8")
    if stale:
        print(f"{'stale' if check else 'written'}: {', '.join(stale)}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
