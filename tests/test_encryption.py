"""Sealed messages: the exchange of keys, and that nothing goes out in clear after it."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from documents import block
from forms import MSGPACK, Keys, Sealed, packed, say_hello, unpack, vectors
from support import Running

SECRET = "a secret that has more than thirty-two bytes"
Factory = Callable[..., Running]


def test_after_the_exchange_everything_is_sealed(running: Running) -> None:
    client = Sealed(running)
    running.server.subscribe_connection(client.conn_id, ["a", "b"])
    running.server.send(client.conn_id, '{"t":"one"}')
    running.server.send_bytes(client.conn_id, b"\x00\xff")
    running.server.broadcast("a", '{"t":"three"}')
    running.server.broadcast_many("b", ['{"t":"four"}', "no json"])
    running.server.broadcast_all('{"t":"six"}')
    running.server.broadcast_all_bytes(b"seven")
    assert [client.receive() for _ in range(7)] == [
        b'{"t":"one"}',
        b"\x00\xff",
        b'{"c":"U","t":"three"}',
        b'{"c":"U","t":"four"}',
        b"no json",
        b'{"c":"U","t":"six"}',
        b"seven",
    ]
    queued = running.server.send_event(client.conn_id, {"t": "eight", "p": {"a": 1}})
    payload = client.peer.receive()
    assert queued == len(payload)
    assert json.loads(client.keys.open(payload))["p"] == {"a": 1}
    client.send({"t": "ping", "p": {"timestamp": 9}})
    assert client.receive_json()["p"]["client_timestamp"] == 9


def test_words_of_the_server_are_sealed_too(server_factory: Factory) -> None:
    running = server_factory(
        jwt_secret=SECRET, ping_interval=0.1, rate_limit_capacity=10.0, rate_limit_refill=0.5
    )
    token = running.server.mint_token({"sub": "u", "exp": int(time.time()) + 60})
    peer = running.dial(token=token)
    assert peer.receive_json()["p"]["details"]["features"]["encryption"] is True
    client = Sealed(running, peer)
    running.server.subscribe_connection(client.conn_id, ["a"])
    running.server.set_topic_acl(client.conn_id, deny=["a"])
    heard = {client.receive_json()["t"] for _ in range(3)}
    assert heard >= {"ping", "error"}
    for _ in range(20):
        client.send({"t": "ping", "p": {}})
    while (message := client.receive_json())["t"] != "error":
        assert message["t"] in {"PONG", "ping", "rate_limit_warning"}
    assert message["p"]["code"] == "RATE_LIMITED"
    running.server.drain(timeout=5)
    while client.receive_json()["t"] != "reconnect":
        pass


def test_each_client_has_a_key_of_its_own_beside_others_in_clear(running: Running) -> None:
    one, other, clear = Sealed(running), Sealed(running), running.dial()
    assert one.hello["encryption_public_key"] != other.hello["encryption_public_key"]
    for peer in (one, other, clear):
        running.server.subscribe_connection(peer.conn_id, ["a"])
    messages = [json.dumps({"c": "U", "n": at}) for at in range(200)]
    for at, message in enumerate(messages):
        if at % 2:
            running.server.broadcast("a", message)
        else:
            running.server.broadcast_all(message)
    assert [clear.receive() for _ in messages] == messages
    assert [one.receive().decode() for _ in messages] == messages
    payload = other.peer.receive()
    with pytest.raises(InvalidTag):
        one.keys.open(payload)
    assert other.keys.open(payload).decode() == messages[0]


def test_no_initialization_vector_comes_twice(running: Running) -> None:
    client = Sealed(running)
    for _ in range(500):
        running.server.send(client.conn_id, "x")
    payloads = [client.peer.receive() for _ in range(500)]
    assert (
        len(
            {
                bytes(payload[2:14], "ascii") if isinstance(payload, str) else payload[2:14]
                for payload in payloads
            }
        )
        == 500
    )


def test_sealed_messages_arrive_as_what_is_in_them(running: Running) -> None:
    client = Sealed(running)
    client.send({"t": "order", "p": 1})
    client.send("text")
    client.send(b"\xff\x00")
    client.send(b"M:" + packed({"t": "packed"}))
    client.send(b"C:" + zlib.compress(b'{"t":"zipped"}'))
    events = running.events.wait("msg", "raw", "bin", count=5)
    assert [(kind, data) for kind, _, data in events] == [
        ("msg", {"t": "order", "p": 1}),
        ("raw", "text"),
        ("bin", b"\xff\x00"),
        ("msg", {"t": "packed"}),
        ("msg", {"t": "zipped"}),
    ]


@pytest.mark.parametrize("query", ["", MSGPACK])
@pytest.mark.parametrize("mode", ["shared", "full", "off"])
def test_sealing_goes_before_msgpack_and_compression(server_factory: Factory, query: str, mode: str) -> None:
    running = server_factory(compression=mode)
    peer = running.dial(query=query, extensions=[ClientPerMessageDeflateFactory()])
    running.server.subscribe_connection(peer.conn_id, ["a"])
    client = Sealed(running, peer, features={"compression": True})
    text = json.dumps({"c": "U", "t": "x", "p": "y" * 3000})
    running.server.send(client.conn_id, text)
    running.server.broadcast("a", text)
    running.server.broadcast_all(text)
    assert [client.receive().decode() for _ in range(3)] == [text] * 3
    running.server.send_event(client.conn_id, {"t": "x", "p": "y" * 3000})
    assert client.receive_json()["p"] == "y" * 3000
    client.send({"t": "order", "p": "z" * 3000})
    assert running.events.wait("msg")[0][2] == {"t": "order", "p": "z" * 3000}
    client.send({"t": "ping", "p": {"timestamp": 1}})
    assert client.receive_json()["t"] == "PONG"


def test_what_waits_when_keys_are_exchanged_is_followed_by_sealed_messages_only(running: Running) -> None:
    peer = running.subscriber("a")
    keys = Keys()
    for at in range(500):
        running.server.broadcast("a", f'{{"n":{at}}}')
    peer.send({"t": "client_hello", "p": {"encryption_public_key": keys.public}})
    for at in range(500, 1000):
        running.server.broadcast("a", f'{{"n":{at}}}')
    heard: list[int] = []
    sealed = False
    while len(heard) < 1000:
        payload = peer.receive()
        message = json.loads(keys.open(payload) if sealed else payload)
        if message.get("t") == "server_hello":
            keys.agree(message["p"]["encryption_public_key"])
            sealed = True
        else:
            heard.append(message["n"])
    assert sealed
    assert heard == list(range(1000))


# ---- What goes wrong ----


@pytest.mark.parametrize("vector", vectors("encryption")["refused"], ids=lambda vector: vector["name"])
def test_a_key_that_is_none_is_refused_and_the_hello_answered_without(
    running: Running, vector: dict[str, str]
) -> None:
    peer = running.dial()
    peer.send({"t": "client_hello", "p": {"encryption_public_key": vector["public"]}})
    error = peer.receive_json()
    assert error["p"]["code"] == "KEY_EXCHANGE_FAILED"
    assert "P-256" in error["p"]["message"]
    hello = peer.receive_json()
    assert hello["t"] == "server_hello"
    assert "encryption_public_key" not in hello["p"]
    running.server.send(peer.conn_id, "in clear")
    assert peer.receive() == "in clear"


@pytest.mark.parametrize("key", [7, ["x"], {}, True])
def test_a_key_of_another_type_is_refused(running: Running, key: object) -> None:
    peer = running.dial()
    peer.send({"t": "client_hello", "p": {"encryption_public_key": key}})
    assert peer.receive_json()["p"]["code"] == "KEY_EXCHANGE_FAILED"


def test_a_refused_key_may_be_followed_by_a_good_one(running: Running) -> None:
    peer = running.dial()
    peer.send({"t": "client_hello", "p": {"encryption_public_key": "nonsense"}})
    assert peer.receive_json()["p"]["code"] == "KEY_EXCHANGE_FAILED"
    peer.receive_json()
    client = Sealed(running, peer)
    running.server.send(client.conn_id, "sealed")
    assert client.receive() == b"sealed"


def test_keys_are_exchanged_once(running: Running) -> None:
    client = Sealed(running)
    client.send({"t": "client_hello", "p": {"encryption_public_key": Keys().public}})
    error = client.receive_json()
    assert error["p"]["code"] == "KEY_EXCHANGE_FAILED"
    assert "already" in error["p"]["message"]
    hello = client.receive_json()
    assert hello["t"] == "server_hello"
    assert "encryption_public_key" not in hello["p"]
    running.server.send(client.conn_id, "the old key still")
    assert client.receive() == b"the old key still"


def test_what_was_changed_on_its_way_is_refused(running: Running) -> None:
    client = Sealed(running)
    good = client.keys.seal({"t": "order"})
    for payload in (good[:-1] + bytes([good[-1] ^ 1]), good[:-1], b"E:", b"E:" + bytes(28)):
        client.peer.send(payload)
        error = client.receive_json()
        assert error["p"]["code"] == "INVALID_ACTION"
    client.peer.send(good)
    assert running.events.wait("msg")[0][2] == {"t": "order"}
    assert len(running.events.of("msg", "raw", "bin")) == 1


def test_nothing_in_clear_is_taken_once_a_sealed_message_has_come(running: Running) -> None:
    client = Sealed(running)
    client.peer.send({"t": "before"})
    client.send({"t": "sealed"})
    for payload in ('{"t":"clear"}', b"bytes", b"M:" + packed({"t": "clear"})):
        client.peer.send(payload)
        assert client.receive_json()["p"]["code"] == "ENCRYPTION_REQUIRED"
    client.send({"t": "after"})
    events = running.events.wait("msg", count=3)
    assert [data["t"] for _, _, data in events] == ["before", "sealed", "after"]
    assert not running.events.of("bin", "raw")


def test_a_sealed_message_in_a_sealed_one_is_refused(running: Running) -> None:
    client = Sealed(running)
    client.send(client.keys.seal({"t": "x"}))
    assert client.receive_json()["p"]["code"] == "INVALID_ACTION"


def test_a_bomb_in_a_sealed_message_ends_with_1009(server_factory: Factory) -> None:
    running = server_factory(max_message_size=100_000)
    client = Sealed(running)
    client.send(b"C:" + zlib.compress(b" " * (16 << 20)))
    assert client.receive_json()["p"]["code"] == "MESSAGE_TOO_LARGE"
    assert client.peer.close_code() == 1009


def test_a_client_without_a_key_is_not_encrypted(running: Running) -> None:
    peer = running.dial()
    hello = say_hello(peer)
    assert hello["features"]["encryption"] is True
    assert "encryption_public_key" not in hello
    peer = running.dial(query=MSGPACK)
    running.server.send(peer.conn_id, '{"t":"x"}')
    assert unpack(peer.receive()) == {"t": "x"}


def test_the_client_of_the_document_works(running: Running) -> None:
    code: dict[str, Any] = {}
    exec(block("docs/how-to/encryption.md", "def exchange_keys("), code)  # noqa: S102  (the page is ours)
    peer = running.dial()
    cipher = code["exchange_keys"](peer.socket)
    running.server.send(peer.conn_id, "sealed")
    assert code["unseal"](cipher, peer.receive()) == b"sealed"
    peer.send(code["seal"](cipher, '{"t":"order"}'))
    assert running.events.wait("msg")[0][2] == {"t": "order"}
