"""msgpack and zlib: who gets which, what comes in, and what is answered to nonsense."""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from forms import MSGPACK, Sealed, packed, say_hello, unpack, unzip, vectors
from support import Peer, Running, start_server, wait_until

SECRET = "a secret that has more than thirty-two bytes"
Factory = Callable[..., Running]


def deflating() -> list[Any]:
    return [ClientPerMessageDeflateFactory(client_no_context_takeover=True)]


def format_of(running: Running, peer: Peer) -> tuple[str, bool]:
    info = running.server.get_connection_info(peer.conn_id)
    assert info is not None
    return info["format"], info["compressed"]


# ---- msgpack on its way out ----


def test_a_client_that_asks_for_msgpack_gets_everything_as_msgpack(running: Running) -> None:
    peer = running.dial(query=MSGPACK)
    running.server.subscribe_connection(peer.conn_id, ["a"])
    assert format_of(running, peer) == ("msgpack", False)
    running.server.send(peer.conn_id, '{"t":"one","p":[1,2.5,null]}')
    running.server.broadcast("a", '{"t":"two","p":{}}')
    running.server.broadcast_all('{"c":"U","t":"three"}')
    running.server.broadcast_many("a", ['{"t":"four"}', '{"t":"book_snapshot"}'])
    running.server.send_event(peer.conn_id, {"t": "six", "pri": 5})
    heard = [unpack(peer.receive()) for _ in range(6)]
    peer.send({"t": "ping", "p": {"timestamp": 7}})
    pong = unpack(peer.receive())
    assert heard[0] == {"t": "one", "p": [1, 2.5, None]}
    assert heard[1] == {"c": "U", "t": "two", "p": {}}
    assert heard[2] == {"c": "U", "t": "three"}
    assert heard[3:5] == [{"c": "U", "t": "four"}, {"c": "S", "t": "book_snapshot"}]
    assert list(heard[5]) == ["c", "t", "id", "ts", "seq", "p", "pri", "v"]
    assert (heard[5]["t"], heard[5]["seq"]) == ("six", 1)
    assert (pong["t"], pong["p"]["client_timestamp"]) == ("PONG", 7)


def test_the_words_of_the_server_are_msgpack_too(server_factory: Factory) -> None:
    running = server_factory(jwt_secret=SECRET, ping_interval=0.1)
    token = running.server.mint_token({"sub": "u", "exp": int(time.time()) + 60})
    peer = running.dial(query=MSGPACK, token=token)
    ready = unpack(peer.receive())
    assert (ready["t"], ready["p"]["details"]["user_id"]) == ("server_ready", "u")
    assert say_hello(peer)["features"]["msgpack"] is True
    assert unpack(peer.receive())["t"] == "ping"
    running.server.subscribe_connection(peer.conn_id, ["a"])
    running.server.set_topic_acl(peer.conn_id, deny=["a"])
    heard = unpack(peer.receive())
    while heard["t"] == "ping":
        heard = unpack(peer.receive())
    assert heard["p"]["code"] == "NOT_ALLOWED"
    running.server.drain(timeout=5)
    while heard["t"] != "reconnect":
        heard = unpack(peer.receive())


def test_a_refusal_at_the_door_is_msgpack_too(server_factory: Factory) -> None:
    running = server_factory(jwt_secret=SECRET)
    from support import dial  # noqa: PLC0415  (nobody is told of this client)

    client = dial(running.url + MSGPACK)
    assert unpack(client.recv())["p"]["code"] == "AUTH_REQUIRED"


@pytest.mark.parametrize("query", ["", "?format=json", "?format=xml", "?x=msgpack", "?format="])
def test_others_get_json_in_text_frames(running: Running, query: str) -> None:
    peer = running.dial(query=query)
    assert format_of(running, peer) == ("json", False)
    running.server.send(peer.conn_id, '{"t":"x"}')
    assert peer.receive() == '{"t":"x"}'


@pytest.mark.parametrize(
    "text", [v["json"] for v in vectors("msgpack")["unpackable"]] + ["{'t':1}", '{"t":NaN}']
)
def test_what_msgpack_can_not_say_is_sent_as_the_text_it_is(running: Running, text: str) -> None:
    peer = running.dial(query=MSGPACK)
    running.server.subscribe_connection(peer.conn_id, ["a"])
    running.server.send(peer.conn_id, text)
    assert peer.receive() == text
    running.server.broadcast("a", '{"c":"U",' + text[1:] if text.startswith("{") else text)
    assert isinstance(peer.receive(), str)


def test_integers_beyond_msgpack_arrive_exactly(running: Running) -> None:
    peer = running.dial(query=MSGPACK)
    running.server.send_event(peer.conn_id, {"t": "x", "p": 2**64})
    message = peer.receive()
    assert isinstance(message, str)
    assert json.loads(message)["p"] == 2**64


def test_bytes_of_the_application_stay_what_they_are(running: Running) -> None:
    peer = running.dial(query=MSGPACK)
    running.server.send_bytes(peer.conn_id, b'{"t":"x"}')
    running.server.broadcast_all_bytes(b"\x00\x01")
    assert [peer.receive(), peer.receive()] == [b'{"t":"x"}', b"\x00\x01"]


@pytest.mark.parametrize("vector", vectors("msgpack")["both"], ids=lambda vector: vector["name"])
def test_the_bytes_are_those_of_the_python_library(running: Running, vector: dict[str, str]) -> None:
    peer = running.dial(query=MSGPACK)
    running.server.send(peer.conn_id, vector["json"])
    assert peer.receive() == b"M:" + bytes.fromhex(vector["msgpack"])


# ---- One broadcast, many forms ----


@pytest.mark.parametrize("size", [10, 1000])
def test_everybody_gets_the_same_broadcast_in_the_form_of_their_own(running: Running, size: int) -> None:
    plain, squeezed = running.subscriber("a"), running.subscriber("a", extensions=deflating())
    both = running.subscriber("a", query=MSGPACK, extensions=deflating())
    binary = running.subscriber("a", query=MSGPACK)
    assert [format_of(running, peer) for peer in (plain, squeezed, both, binary)] == [
        ("json", False),
        ("json", True),
        ("msgpack", True),
        ("msgpack", False),
    ]
    messages = [{"c": "U", "t": "x", "p": [at, "y" * size]} for at in range(100)]
    for message in messages:
        running.server.broadcast("a", json.dumps(message))
        running.server.broadcast("nobody", json.dumps(message))
    for peer in (plain, squeezed):
        assert [peer.receive_json() for _ in messages] == messages
    for peer in (both, binary):
        assert [unpack(peer.receive()) for _ in messages] == messages


def test_forms_keep_the_order_among_topics_and_single_messages(running: Running) -> None:
    peers = [running.dial(query=query) for query in ("", MSGPACK, MSGPACK)]
    for peer in peers:
        running.server.subscribe_connection(peer.conn_id, ["a", "b.*"])
    for at in range(0, 300, 3):
        running.server.broadcast("a", f'{{"n":{at}}}')
        running.server.broadcast_many("b.x", [f'{{"n":{at + 1}}}'])
        for peer in peers:
            running.server.send(peer.conn_id, f'{{"n":{at + 2}}}')
    assert [peers[0].receive_json()["n"] for _ in range(300)] == list(range(300))
    for peer in peers[1:]:
        assert [unpack(peer.receive())["n"] for _ in range(300)] == list(range(300))


def test_a_client_that_joins_under_a_flood_never_gets_another_form(running: Running) -> None:
    for _ in range(20):
        begun, joined = threading.Event(), threading.Event()

        def flood(begun: threading.Event, joined: threading.Event) -> None:
            while not joined.is_set():
                running.server.broadcast("a", '{"t":"flood"}')
                running.server.broadcast_all('{"t":"flood"}')
                begun.set()
                joined.wait(0.0001)

        publisher = threading.Thread(target=flood, args=(begun, joined))
        publisher.start()
        assert begun.wait(10)
        peer = running.subscriber("a", query=MSGPACK)
        joined.set()
        publisher.join()
        running.server.broadcast("a", '{"t":"last"}')
        while unpack(peer.receive())["t"] != "last":
            pass
        peer.close()


def test_presence_and_queue_groups_come_in_the_form_of_each_client(server_factory: Factory) -> None:
    running = server_factory(presence_enabled=True)
    packed_peer, sealed = running.dial(query=MSGPACK), Sealed(running)
    for peer in (packed_peer, sealed):
        running.server.subscribe_connection(peer.conn_id, ["room"], presence_data={"name": "n"})
    joins = [unpack(packed_peer.receive()) for _ in range(2)]
    assert [each["t"] for each in joins] == ["presence_join"] * 2
    assert [each["p"]["user_id"] for each in joins] == [packed_peer.conn_id, sealed.conn_id]
    assert sealed.receive_json()["p"]["user_id"] == sealed.conn_id
    member, other = running.dial(query=MSGPACK), Sealed(running)
    for peer in (member, other):
        running.server.subscribe_connection(peer.conn_id, ["jobs"], queue_group="workers")
    for at in range(10):
        running.server.broadcast("jobs", f'{{"t":"job","n":{at}}}')
    done = [unpack(member.receive())["n"] for _ in range(5)] + [other.receive_json()["n"] for _ in range(5)]
    assert sorted(done) == list(range(10))


# ---- zlib ----


def test_zlib_is_for_clients_that_said_so_and_for_events_above_the_threshold(running: Running) -> None:
    asked, silent = running.dial(), running.dial()
    assert say_hello(asked, features={"compression": True})["features"]["compression"] is True
    say_hello(silent, features={"compression": False})
    big, small = {"t": "x", "p": "y" * 2000}, {"t": "x", "p": "y"}
    queued = running.server.send_event(asked.conn_id, big)
    payload = asked.receive()
    assert unzip(payload)["p"] == big["p"]
    assert queued == len(payload) < 300
    running.server.send_event(asked.conn_id, small)
    assert asked.receive_json()["p"] == "y"
    running.server.send_event(asked.conn_id, small, compression_threshold=0)
    assert unzip(asked.receive())["seq"] == 3
    running.server.send_event(asked.conn_id, big, compression_threshold=10_000)
    assert asked.receive_json()["p"] == big["p"]
    running.server.send_event(silent.conn_id, big)
    assert silent.receive_json()["p"] == big["p"]
    running.server.broadcast_all(json.dumps(big))
    assert asked.receive_json()["p"] == big["p"], "a broadcast is left to permessage-deflate"


def test_the_threshold_is_the_last_length_that_is_not_compressed(running: Running) -> None:
    peer = running.dial()
    say_hello(peer, features={"compression": True})
    event = {"t": "x", "id": None, "ts": "t", "seq": 1, "p": "z" * 500}
    length = running.server.send_event(peer.conn_id, event, compression_threshold=1 << 20)
    assert len(peer.receive()) == length
    running.server.send_event(peer.conn_id, event, compression_threshold=length)
    assert isinstance(peer.receive(), str)
    running.server.send_event(peer.conn_id, event, compression_threshold=length - 1)
    assert unzip(peer.receive())["p"] == "z" * 500


def test_msgpack_goes_before_zlib(running: Running) -> None:
    peer = running.dial(query=MSGPACK)
    say_hello(peer, features={"compression": True})
    running.server.send_event(peer.conn_id, {"t": "x", "p": "y" * 2000})
    assert unpack(peer.receive())["p"] == "y" * 2000


def test_with_compression_off_nothing_is_compressed(server_factory: Factory) -> None:
    running = server_factory(compression="off")
    peer = running.dial()
    assert say_hello(peer, features={"compression": True})["features"]["compression"] is False
    running.server.send_event(peer.conn_id, {"t": "x", "p": "y" * 2000})
    assert peer.receive_json()["p"] == "y" * 2000


# ---- What comes in ----


def test_every_form_arrives_as_the_same_dict(running: Running) -> None:
    message = {"t": "order", "p": {"lots": [1, 2.5, None, True], "note": "naïve €"}}
    text = json.dumps(message)
    json_peer, msgpack_peer = running.dial(), running.dial(query=MSGPACK)
    for peer in (json_peer, msgpack_peer):
        peer.send(text)
        peer.send(b"C:" + zlib.compress(text.encode()))
        peer.send(b"M:" + packed(message))
    msgpack_peer.send(packed(message))
    assert [data for _, _, data in running.events.wait("msg", "raw", "bin", count=7)] == [message] * 7


def test_binary_that_is_none_of_these_is_the_applications(running: Running) -> None:
    json_peer, msgpack_peer = running.dial(), running.dial(query=MSGPACK)
    mine = [b"", b"C", b"X:1", packed({"t": "x"}), b'{"t":"x"}']
    theirs = [b"", b"hello", packed([1]), b"\x01", b"\xff"]
    for peer, payloads in ((json_peer, mine), (msgpack_peer, theirs)):
        for payload in payloads:
            peer.send(payload)
    events = running.events.wait("bin", "msg", "raw", count=10)
    for peer, payloads in ((json_peer, mine), (msgpack_peer, theirs)):
        assert [data for kind, conn, data in events if conn == peer.conn_id] == payloads
    assert {kind for kind, _, _ in events} == {"bin"}


def test_words_of_the_protocol_are_understood_in_every_form(running: Running) -> None:
    peer = running.dial(query=MSGPACK)
    ping = {"t": "ping", "p": {"timestamp": 5}}
    for payload in (packed(ping), b"M:" + packed(ping), b"C:" + zlib.compress(json.dumps(ping).encode())):
        peer.send(payload)
        assert unpack(peer.receive())["p"]["client_timestamp"] == 5


@pytest.mark.parametrize("vector", vectors("msgpack")["unpack"], ids=lambda vector: vector["name"])
def test_bytes_and_timestamps_become_text(running: Running, vector: dict[str, str]) -> None:
    peer = running.dial(query=MSGPACK)
    peer.send(bytes.fromhex(vector["msgpack"]))
    assert running.events.wait("msg")[0][2] == json.loads(vector["json"])


@pytest.mark.parametrize("vector", vectors("zlib")["opened"], ids=lambda vector: vector["name"])
def test_streams_of_any_level_are_opened(running: Running, vector: dict[str, str]) -> None:
    running.dial().send(bytes.fromhex(vector["payload"]))
    assert running.events.wait("msg")[0][2] == json.loads(vector["json"])


def of_duplicate_keys(value: bytes) -> bytes:
    return b"\x82\xa1a" + value + b"\xa1a\x02"


def test_of_duplicate_keys_the_last_wins_in_every_form(running: Running) -> None:
    peer = running.dial(query=MSGPACK)
    peer.send('{"a":1,"a":2}')
    peer.send(of_duplicate_keys(b"\x01"))
    peer.send(b"C:" + zlib.compress(b'{"a":1,"a":2}'))
    assert [data for _, _, data in running.events.wait("msg", count=3)] == [{"a": 2}] * 3


nonsense = [
    *((v["name"], b"M:" + bytes.fromhex(v["msgpack"])) for v in vectors("msgpack")["refused"]),
    *((v["name"], bytes.fromhex(v["payload"])) for v in vectors("zlib")["refused"]),
    ("sealed-without-keys", b"E:" + bytes(40)),
    ("nothing-but-M", b"M:"),
    ("nothing-but-C", b"C:"),
]


@pytest.mark.parametrize("payload", [payload for _, payload in nonsense], ids=[name for name, _ in nonsense])
def test_nonsense_gets_an_error_and_the_connection_lives(running: Running, payload: bytes) -> None:
    peer = running.dial()
    peer.send(payload)
    error = peer.receive_json()
    assert (error["c"], error["t"], error["p"]["code"]) == ("WSE", "error", "INVALID_ACTION")
    assert len(error["p"]["message"]) > 20
    peer.send({"t": "after"})
    assert [data for _, _, data in running.events.wait("msg", "raw", "bin")] == [{"t": "after"}]


def test_a_broken_map_of_a_msgpack_client_is_an_error_and_no_bytes(running: Running) -> None:
    peer = running.dial(query=MSGPACK)
    peer.send(packed({"t": "x"})[:-1])
    assert unpack(peer.receive())["p"]["code"] == "INVALID_ACTION"
    peer.send(packed({"t": "after"}))
    assert running.events.wait("msg", "bin")[0][2] == {"t": "after"}


def test_errors_for_nonsense_are_counted_by_the_rate_limit(server_factory: Factory) -> None:
    running = server_factory(rate_limit_capacity=5.0, rate_limit_refill=0.001)
    peer = running.dial()
    for _ in range(50):
        peer.send(b"C:nonsense")
    codes: list[str] = []
    while "RATE_LIMITED" not in codes:
        message = peer.receive_json()
        codes.append(message["p"].get("code", message["t"]))
    assert codes.count("INVALID_ACTION") == 5


# ---- Limits ----


@pytest.mark.parametrize(
    "payload",
    [
        b"C:" + zlib.compress(b'{"p":"' + b"x" * (64 << 20) + b'"}', 9),
        b"M:\x81\xa1a\xc5\xff\xff" + bytes(65535),
        b"M:\x81\xa1a\xda\xff\xff" + b"\x01" * 65535,
    ],
    ids=["zlib-bomb", "bytes-as-digits", "escapes"],
)
def test_more_than_the_largest_message_ends_with_1009(server_factory: Factory, payload: bytes) -> None:
    running = server_factory(max_message_size=100_000)
    peer = running.dial()
    peer.send(payload)
    assert peer.receive_json()["p"]["code"] == "MESSAGE_TOO_LARGE"
    assert peer.close_code() == 1009
    assert running.events.wait("disconnect")
    assert not running.events.of("msg", "raw", "bin")


def resident() -> int:
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def test_bombs_cost_no_more_than_the_largest_message() -> None:
    bomb = b"C:" + zlib.compress(b" " * (512 << 20), 9)
    with start_server(max_message_size=1 << 20) as running:
        peers = [running.dial() for _ in range(4)]
        before = resident()
        for peer in peers:
            peer.send(bomb)
        assert [peer.close_code() for peer in peers] == [1009] * 4
        assert resident() - before < 32 << 20


def test_a_queue_that_is_full_keeps_a_packed_message_for_later() -> None:
    running = start_server(drain=False, max_inbound_queue_size=2)
    running.server.stop()
    running.server.enable_drain_mode()
    running.server.start()
    try:
        from support import dial  # noqa: PLC0415

        client = dial(running.url)
        wait_until(lambda: running.server.inbound_queue_depth() == 1, "the client has come")
        for at in range(20):
            client.send(b"M:" + packed({"n": at}))
        heard: list[int] = []
        deadline = time.monotonic() + 10
        while len(heard) < 20 and time.monotonic() < deadline:
            heard += [data["n"] for kind, _, data in running.server.drain_inbound(1, 50) if kind == "msg"]
        assert heard == list(range(20))
        client.close()
    finally:
        running.server.stop()


packable = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=40,
)


@pytest.fixture
def msgpack_peer(running: Running) -> tuple[Running, Peer]:
    return running, running.dial(query=MSGPACK)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(payload=packable)
def test_any_message_is_the_same_in_msgpack_both_ways(
    msgpack_peer: tuple[Running, Peer], payload: object
) -> None:
    running, peer = msgpack_peer
    message = {"t": "x", "p": payload}
    running.server.send(peer.conn_id, json.dumps(message))
    assert peer.receive() == b"M:" + msgpack.packb(message)
    known = len(running.events.of("msg"))
    peer.send(msgpack.packb(message))
    assert running.events.wait("msg", count=known + 1)[known][2] == message
