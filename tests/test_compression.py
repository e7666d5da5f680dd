"""permessage-deflate (RFC 7692): what is agreed on, that messages survive it, and what it may not cost."""

from __future__ import annotations

import hashlib
import json
import zlib
from typing import Any, Literal

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from support import HOST, PATIENCE, Peer, Running, dial, start_server, wait_until
from wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, Wire, ask, close_payload, request
from wse_server import RustWSEServer

Mode = Literal["off", "shared", "full"]
OFFER = "permessage-deflate; client_max_window_bits"
SHARED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
RSV1 = 4
# Objects of which each is worth compressing, and none is like the other in all.
ORDERS = [
    json.dumps(
        {
            "c": "U",
            "t": "order",
            "p": {
                "id": at,
                "lines": [{"sku": f"A-{at}-{line}", "quantity": line, "price": 19.99} for line in range(9)],
            },
        }
    )
    for at in range(40)
]


def deflate(payload: bytes) -> bytes:
    """One message by itself, as a client would compress it."""
    deflater = zlib.compressobj(wbits=-15)
    return (deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflate(payload: bytes, window_bits: int = 15) -> bytes:
    """Opens one message byte by byte, so that nothing but the window can be referred to."""
    inflater = zlib.decompressobj(-window_bits)
    out, rest = b"", payload + b"\x00\x00\xff\xff"
    while rest:
        out += inflater.decompress(rest, 1)
        rest = inflater.unconsumed_tail
    return out


def open_wire(running: Running, offer: str | None = OFFER) -> tuple[Wire, str]:
    known = len(running.events.of("connect"))
    wire = Wire(running.port, headers={"Sec-WebSocket-Extensions": offer})
    return wire, running.events.wait("connect", count=known + 1)[known][1]


def compressed_peer(running: Running, topic: str | None = None, **parameters: Any) -> Peer:
    peer = running.dial(extensions=[ClientPerMessageDeflateFactory(**parameters)])
    if topic:
        running.server.subscribe_connection(peer.conn_id, [topic])
    return peer


def compressions(running: Running) -> int:
    return int(running.server.health_snapshot()["messages_compressed"])


# ---- What is agreed on ----


@pytest.mark.parametrize(
    ("mode", "offer", "answer"),
    [
        ("shared", None, None),
        ("shared", "permessage-deflate", SHARED),
        ("shared", OFFER, SHARED),
        ("shared", "permessage-deflate; server_max_window_bits=10", f"{SHARED}; server_max_window_bits=10"),
        ("shared", "permessage-deflate; server_max_window_bits=8", f"{SHARED}; server_max_window_bits=8"),
        ("shared", "x-webkit-deflate-frame", None),
        ("shared", "permessage-deflate; unheard_of", None),
        ("shared", "permessage-deflate; unheard_of, permessage-deflate", SHARED),
        ("shared", "permessage-deflate; server_max_window_bits=16", None),
        ("full", OFFER, "permessage-deflate"),
        (
            "full",
            "permessage-deflate; server_no_context_takeover",
            "permessage-deflate; server_no_context_takeover",
        ),
        (
            "full",
            "permessage-deflate; client_no_context_takeover",
            "permessage-deflate; client_no_context_takeover",
        ),
        ("off", OFFER, None),
    ],
)
def test_what_an_offer_is_answered(mode: Mode, offer: str | None, answer: str | None) -> None:
    with start_server(compression=mode) as running:
        wire, conn_id = open_wire(running, offer)
        with wire:
            assert wire.headers.get("sec-websocket-extensions") == answer
            info = running.server.get_connection_info(conn_id)
            assert info is not None
            assert info["compressed"] is (answer is not None)


def test_a_malformed_offer_is_refused() -> None:
    with start_server(compression="off") as running:
        for offer in ("permessage-deflate;", "permessage-deflate; a=", "a b", 'a; b="'):
            answer = ask(running.port, request("GET", "/wse", {"Sec-WebSocket-Extensions": offer}))
            assert answer.status == 400
            assert b"Sec-WebSocket-Extensions" in answer.body


# ---- From Python to the clients ----


@pytest.mark.parametrize("mode", ["shared", "full"])
def test_every_way_of_sending_arrives_in_the_order_of_the_calls(mode: Mode) -> None:
    with start_server(compression=mode) as running:
        peers = [compressed_peer(running, "orders"), running.subscriber("orders")]
        pattern = compressed_peer(running, "ord*")
        server, expected = running.server, list[str | bytes]()
        for at, order in enumerate(ORDERS):
            server.broadcast("orders", order)
            server.broadcast_many("orders", [order, "short", order * 2])
            server.broadcast_all_bytes(order.encode())
            expected += [order, order, "short", order * 2, order.encode()]
            for peer in [*peers, pattern]:
                server.send(peer.conn_id, f"to one {at} " * 30)
                server.send_bytes(peer.conn_id, b"x")
            expected += [f"to one {at} " * 30, b"x"]
        for peer in [*peers, pattern]:
            assert [peer.receive() for _ in expected] == expected


def test_a_broadcast_is_compressed_once_for_each_window_that_was_asked_for() -> None:
    with start_server(shards=2) as running:
        compressed_peers = [compressed_peer(running, "orders") for _ in range(20)]
        plain = running.subscriber("orders")
        for order in ORDERS:
            running.server.broadcast("orders", order)
        assert compressions(running) == len(ORDERS)
        small = [compressed_peer(running, "orders", server_max_window_bits=9) for _ in range(10)]
        running.server.broadcast_many("orders", ORDERS)
        assert compressions(running) == 3 * len(ORDERS)
        running.server.broadcast("orders", "too short to be worth it")
        running.server.broadcast("elsewhere", ORDERS[0])
        assert compressions(running) == 3 * len(ORDERS)
        for peer in [*compressed_peers, plain]:
            received = [peer.receive() for _ in range(2 * len(ORDERS) + 1)]
            assert received == [*ORDERS, *ORDERS, "too short to be worth it"]
        for peer in small:
            assert [peer.receive() for _ in ORDERS] == ORDERS
        for peer in [*compressed_peers, *small]:
            peer.close()
        wait_until(lambda: running.server.get_connection_count() == 1, "the end of the others")
        running.server.broadcast("orders", ORDERS[0])
        assert compressions(running) == 3 * len(ORDERS), "nobody is left who wants it compressed"


@pytest.mark.parametrize("bits", [8, 9, 12, 15])
def test_no_message_refers_further_back_than_the_client_asked(bits: int) -> None:
    noise = hashlib.shake_128(bytes([bits])).hexdigest(200)
    text = "".join(noise[at % 300 :][:100] + ORDERS[at % 7] for at in range(100))
    with start_server() as running:
        wire, conn_id = open_wire(running, f"permessage-deflate; server_max_window_bits={bits}")
        with wire:
            running.server.send(conn_id, text)
            frame = wire.frame()
            assert (frame.opcode, frame.reserved) == (TEXT, RSV1)
            assert len(frame.payload) < len(text) / 2
            assert inflate(frame.payload, bits) == text.encode()


def test_what_would_not_become_shorter_is_sent_as_it_is() -> None:
    noise = hashlib.shake_128(b"noise").digest(5000)
    with start_server() as running:
        wire, conn_id = open_wire(running)
        with wire:
            running.server.send_bytes(conn_id, noise)
            assert wire.frame() == Frame(BINARY, noise)


def test_a_context_makes_messages_that_resemble_each_other_small() -> None:
    with start_server(compression="full") as running:
        wire, conn_id = open_wire(running, "permessage-deflate")
        running.server.subscribe_connection(conn_id, ["orders"])
        with wire:
            inflater = zlib.decompressobj(-15)
            sizes = []
            for order in ORDERS:
                running.server.broadcast("orders", order)
                frame = wire.frame()
                assert frame.reserved == RSV1
                assert inflater.decompress(frame.payload + b"\x00\x00\xff\xff") == order.encode()
                sizes.append(len(frame.payload))
            assert sum(sizes[1:]) / len(sizes[1:]) < sizes[0] / 2


def test_a_flood_reaches_compressed_and_plain_clients_whole() -> None:
    with start_server(shards=2) as running:
        peers = [compressed_peer(running, "flood") for _ in range(4)] + [running.subscriber("flood")]
        expected = []
        for at in range(3000):
            text = f"message {at} " * (30 if at % 3 else 2)
            running.server.broadcast("flood", text)
            expected.append(text)
        for peer in peers:
            assert [peer.receive() for _ in expected] == expected


# ---- From the clients to Python ----


@pytest.mark.parametrize("mode", ["shared", "full"])
def test_what_clients_compress_arrives_as_they_wrote_it(mode: Mode) -> None:
    with start_server(compression=mode) as running:
        peer = compressed_peer(running)
        for order in ORDERS:
            peer.send(order)
            peer.send(order.encode())
            peer.send("text " * 100)
        events = running.events.wait("msg", "bin", "raw", count=3 * len(ORDERS))
        expected = [
            part
            for order in ORDERS
            for part in (
                ("msg", peer.conn_id, json.loads(order)),
                ("bin", peer.conn_id, order.encode()),
                ("raw", peer.conn_id, "text " * 100),
            )
        ]
        assert events == expected


def test_fragments_of_a_compressed_message_may_have_control_frames_between() -> None:
    with start_server() as running:
        wire, conn_id = open_wire(running)
        with wire:
            squeezed = deflate(ORDERS[0].encode())
            wire.send(TEXT, squeezed[:10], fin=False, reserved=RSV1)
            wire.send(PING, b"between")
            wire.send(CONTINUATION, squeezed[10:20], fin=False)
            wire.send(CONTINUATION, b"", fin=False)
            wire.send(CONTINUATION, squeezed[20:])
            assert wire.frame() == Frame(PONG, b"between")
            assert running.events.wait("msg") == [("msg", conn_id, json.loads(ORDERS[0]))]


@pytest.mark.parametrize("mode", ["shared", "full"])
def test_a_full_inbound_queue_loses_and_doubles_nothing(mode: Mode) -> None:
    server = RustWSEServer(HOST, 0, compression=mode, max_inbound_queue_size=3)
    server.enable_drain_mode()
    server.start()
    expected = [f"message {at} " * 40 for at in range(60)]
    try:
        url = f"ws://{HOST}:{server.port}/wse"
        with dial(url, extensions=[ClientPerMessageDeflateFactory()]) as client:
            for text in expected:
                client.send(text)
            seen: list[Any] = []

            def all_came() -> bool:
                seen.extend(server.drain_inbound(2, 50))
                return len(seen) > len(expected)

            wait_until(all_came, "all messages")
            assert [data for kind, _, data in seen if kind == "raw"] == expected
    finally:
        server.stop()


# ---- What it may not cost ----


@pytest.mark.parametrize("fragments", [1, 7])
def test_a_bomb_ends_at_max_message_size(fragments: int) -> None:
    bomb = deflate(b"\x00" * (50 << 20))
    assert len(bomb) < 60_000
    with start_server(max_message_size=60_000) as running:
        wire, _ = open_wire(running)
        with wire:
            size = len(bomb) // fragments + 1
            for at in range(0, len(bomb), size):
                first, last = at == 0, at + size >= len(bomb)
                wire.send(
                    BINARY if first else CONTINUATION,
                    bomb[at : at + size],
                    fin=last,
                    reserved=RSV1 if first else 0,
                )
            told = json.loads(wire.frame().payload)
            assert told["p"]["code"] == "MESSAGE_TOO_LARGE"
            assert wire.close_frame() == (1009, "message too large")
        running.events.wait("disconnect")
        assert not running.events.of("bin")


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\xff" * 20, 1007),
        (deflate(b"\xff\xfe not text"), 1007),
    ],
)
def test_what_can_not_be_opened_fails_the_connection(payload: bytes, code: int) -> None:
    with start_server() as running:
        wire, _ = open_wire(running)
        with wire:
            wire.send(TEXT, payload, reserved=RSV1)
            assert wire.close_frame()[0] == code


@pytest.mark.parametrize("offer", [None, "permessage-deflate; unheard_of"])
def test_a_compressed_frame_without_an_agreement_breaks_the_protocol(offer: str | None) -> None:
    with start_server() as running:
        wire, _ = open_wire(running, offer)
        with wire:
            wire.send(TEXT, deflate(b"hello"), reserved=RSV1)
            assert wire.close_frame() == (1002, "a reserved bit is set")


@pytest.mark.parametrize(
    ("opcode", "reserved"), [(PING, RSV1), (CLOSE, RSV1), (TEXT, 2), (TEXT, 1), (TEXT, RSV1 | 1)]
)
def test_other_reserved_bits_stay_forbidden(opcode: int, reserved: int) -> None:
    with start_server() as running:
        wire, _ = open_wire(running)
        with wire:
            wire.send(opcode, b"", reserved=reserved)
            assert wire.close_frame() == (1002, "a reserved bit is set")


def test_the_last_words_reach_a_client_that_is_still_sending_compressed() -> None:
    with start_server() as running:
        wire, conn_id = open_wire(running)
        with wire:
            running.server.disconnect(conn_id, 4000, "enough")
            running.events.wait("disconnect")
            for _ in range(50):
                wire.send(TEXT, deflate(b"more " * 1000), reserved=RSV1)
            assert wire.close_frame() == (4000, "enough")
            wire.send(CLOSE, close_payload(4000))
            wire.expect_end()


def test_contexts_are_given_back_when_clients_leave() -> None:
    with start_server(compression="full") as running:
        for _ in range(3):
            peers = [compressed_peer(running, "orders") for _ in range(20)]
            running.server.broadcast("orders", ORDERS[0])
            for peer in peers:
                assert peer.receive(PATIENCE) == ORDERS[0]
                peer.close()
        wait_until(lambda: running.server.get_connection_count() == 0, "the end of all")
        # The last close frame is on its way when its session has ended.
        server = running.server
        wait_until(lambda: server.health_snapshot()["outbound_queued_bytes"] == 0, "what is left of them")
