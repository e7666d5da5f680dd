"""The forms of a message, by the vectors that other libraries have made."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from wse_client.encryption import Cipher, KeyExchange
from wse_client.options import checked
from wse_client.session import Session
from wse_client.wire import Format, Wire, WireError, with_format
from wse_client.words import HANDLERS

VECTORS = Path(__file__).parent.parent.parent / "spec" / "vectors"


def vectors(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((VECTORS / name).read_text())
    return loaded


def cases(file: str, group: str) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in vectors(file)[group]]


def wire(form: Format = "json", *, is_zlib: bool = False) -> Wire:
    return Wire(form, is_zlib=is_zlib, limit=1_000_000)


@pytest.mark.parametrize("case", cases("msgpack.json", "both"))
def test_msgpack_is_read_and_written(case: dict[str, Any]) -> None:
    content = json.loads(case["json"])
    assert wire("msgpack").read(b"M:" + bytes.fromhex(case["msgpack"])) == content
    written = wire("msgpack").write(content)
    assert isinstance(written, bytes)
    assert wire("msgpack").read(written) == content


@pytest.mark.parametrize("case", cases("zlib.json", "opened"))
def test_zlib_is_inflated(case: dict[str, Any]) -> None:
    assert wire(is_zlib=True).read(bytes.fromhex(case["payload"])) == json.loads(case["json"])


@pytest.mark.parametrize("case", cases("zlib.json", "refused"))
def test_a_damaged_stream_is_refused(case: dict[str, Any]) -> None:
    payload = bytes.fromhex(case["payload"])
    try:
        content = wire(is_zlib=True).read(payload)
    except WireError:
        return
    assert not isinstance(content, dict)


def test_what_inflates_to_more_than_the_limit_is_refused() -> None:
    long = wire(is_zlib=True)
    long.may_compress = True
    bomb = long.packed(json.dumps({"t": "x" * 2_000_000}))
    assert len(bomb) < 10_000
    with pytest.raises(WireError, match="max_message_size"):
        wire(is_zlib=True).read(bomb)


def private(case: dict[str, Any], side: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int(case[f"{side}_private"], 16), ec.SECP256R1())


@pytest.mark.parametrize("case", cases("encryption.json", "sealed"))
def test_a_sealed_message_is_opened(case: dict[str, Any]) -> None:
    exchange = KeyExchange(private(case, "client"))
    assert exchange.public == case["client_public"]
    reader = wire()
    reader.cipher = exchange.finish(case["server_public"])
    sealed = reader.packed('{"t":"x"}')
    assert reader.read(sealed) == {"t": "x"}
    with pytest.raises(WireError, match="in clear"):
        reader.read('{"t":"x"}')
    assert isinstance(sealed, bytes)
    with pytest.raises(WireError, match="changed"):
        reader.read(sealed[:-1] + bytes([sealed[-1] ^ 1]))


@pytest.mark.parametrize("case", cases("encryption.json", "refused"))
def test_a_public_key_that_is_none_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        KeyExchange().finish(case["public"])


def test_no_initialization_vector_comes_twice() -> None:
    cipher = Cipher(bytes(32))
    assert len({cipher.seal(b"x")[:12] for _ in range(1000)}) == 1000


@pytest.mark.parametrize("case", vectors("protocol.json")["words"], ids=lambda case: case["name"])
def test_every_word_of_the_server_is_understood(case: dict[str, Any]) -> None:
    session = Session(checked(["ws://x/"], {}), Random(0))  # noqa: S311 - delays are no secret
    session.open(0.0)
    session.handle_dialled(0.0)
    kind = case["message"]["t"]
    assert kind in HANDLERS or kind.startswith("presence_")
    session.handle_frame(0.0, json.dumps(case["message"]))
    assert session.link is not None, "the connection was dropped"
    assert len(session.direct) == 0, "it was handed to the application"


def test_what_json_can_not_say_is_refused_at_once() -> None:
    for content in ({"x": float("nan")}, {"x": "\ud800"}, {"x": {1, 2}}):
        with pytest.raises((TypeError, ValueError)):
            wire().write(content)


def test_the_format_is_asked_for_in_the_url() -> None:
    assert with_format("ws://x/wse", "json") == "ws://x/wse"
    assert with_format("ws://x/wse?a=1", "msgpack") == "ws://x/wse?a=1&format=msgpack"
    assert base64.b64decode(KeyExchange().public)[0] == 4


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ('{"a":1}', {"a": 1}),
        (' \r\n{"a":1}', {"a": 1}),
        ('{"a":1} \t\n', {"a": 1}),
        ('{"a":1} x', '{"a":1} x'),
        ('{"a":1}{"b":2}', '{"a":1}{"b":2}'),
        ('{"a":1}\u00a0', '{"a":1}\u00a0'),
        ("{", "{"),
        ('{"a":' + "[" * 100_000, '{"a":' + "[" * 100_000),
        ("[1]", "[1]"),
        ("", ""),
    ],
)
def test_an_object_alone_is_read_and_all_else_stays_text(text: str, content: object) -> None:
    assert wire().read(text) == content
