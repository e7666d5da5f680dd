"""Topics with history in every form: stamps, replays, and what a client that reads too slowly is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from forms import MSGPACK, Keys, Sealed, unpack
from sockets import BINARY, TEXT, Client, client_frame
from support import PATIENCE, Peer, Running, start_server, wait_until
from wse_server import Position

TOPIC = 'prices/é"1\\'
Factory = Callable[..., Running]


def message(number: int, size: int = 10) -> str:
    return json.dumps({"t": "tick", "n": number, "p": {"pad": "x" * size, "half": 0.5}})


@pytest.mark.parametrize("mode", ["shared", "full", "off"])
@pytest.mark.parametrize("size", [1, 3000])
def test_a_stamped_message_is_the_same_in_every_form(server_factory: Factory, size: int, mode: str) -> None:
    running = server_factory(recovery_enabled=True, compression=mode)
    deflating = {"extensions": [ClientPerMessageDeflateFactory()]}
    plain, squeezed = running.subscriber(TOPIC), running.subscriber(TOPIC, **deflating)
    packed, both = (
        running.subscriber(TOPIC, query=MSGPACK),
        running.subscriber(TOPIC, query=MSGPACK, **deflating),
    )
    sealed = Sealed(running)
    running.server.subscribe_connection(sealed.conn_id, [TOPIC])
    texts = [message(at, size) for at in range(40)] + ["{}", '{"c":"S"}', '{ "t" : "x" , "p" : [ ] }']
    for at, text in enumerate(texts):
        if at % 2:
            running.server.broadcast(TOPIC, text)
        else:
            running.server.broadcast_many(TOPIC, [text])
    expected = [plain.receive_json() for _ in texts]
    assert [each["o"] for each in expected] == list(range(1, len(texts) + 1))
    assert {each["tp"] for each in expected} == {TOPIC}
    assert [squeezed.receive_json() for _ in texts] == expected
    for peer in (packed, both):
        heard = [unpack(peer.receive()) for _ in texts]
        assert heard == expected
        assert [list(each) for each in heard] == [list(each) for each in expected], (
            "in the order of the protocol"
        )
    assert [sealed.receive_json() for _ in texts] == expected


def test_what_msgpack_can_not_say_is_text_with_history_too(server_factory: Factory) -> None:
    running = server_factory(recovery_enabled=True)
    peer = running.subscriber(TOPIC, query=MSGPACK)
    for text in ("hello", "[1]", '"a":1}', json.dumps({"n": 2**64}), "{broken"):
        running.server.broadcast(TOPIC, text)
        heard = peer.receive()
        assert isinstance(heard, str)
        assert heard.endswith(text[1:])
    running.server.broadcast(TOPIC, message(1))
    assert unpack(peer.receive())["o"] == 6


def missed(running: Running) -> Position:
    """Publishes ten messages and returns the position before the fourth."""
    positions = [running.server.broadcast(TOPIC, message(at)) for at in range(1, 11)]
    assert isinstance(positions[2], Position)
    return positions[2]


def test_a_replay_is_packed_for_a_client_that_asks_for_msgpack(server_factory: Factory) -> None:
    running = server_factory(recovery_enabled=True)
    position = missed(running)
    for extensions in (None, [ClientPerMessageDeflateFactory()]):
        peer = running.dial(query=MSGPACK, extensions=extensions)
        answer = running.server.subscribe_with_recovery(
            peer.conn_id, [TOPIC], recover=True, positions={TOPIC: position}
        )
        assert answer["recovered"]
        running.server.broadcast(TOPIC, message(11))
        heard = [unpack(peer.receive()) for _ in range(8)]
        assert [each["n"] for each in heard] == list(range(4, 12))
        assert [each["o"] for each in heard][:7] == list(range(4, 11))


def test_a_replay_is_sealed_for_a_client_that_exchanged_keys(server_factory: Factory) -> None:
    running = server_factory(recovery_enabled=True)
    position = missed(running)
    for query in ("", MSGPACK):
        client = Sealed(running, running.dial(query=query))
        running.server.subscribe_with_recovery(
            client.conn_id, [TOPIC], recover=True, positions={TOPIC: position}
        )
        running.server.broadcast(TOPIC, message(11))
        assert [client.receive_json()["n"] for _ in range(8)] == list(range(4, 12))


# ---- Slow clients ----


def health(running: Running, name: str) -> int:
    value = running.server.health_snapshot()[name]  # type: ignore[literal-required]
    assert isinstance(value, int)
    return value


def story(read: Callable[[bytes], Any], client: Client, top: int) -> tuple[int, int]:
    """Reads up to a number, in order, once, without a hole; how many came and how many a gap told of."""
    expected, lost = 1, 0
    while expected <= top:
        frames = client.take(PATIENCE)
        assert frames or client.ended is None, f"ended with {client.ended}"
        for frame in frames:
            assert frame.opcode == BINARY, frame
            each = read(frame.payload)
            if each["t"] == "gap":
                assert each["p"]["from"] == expected
                lost += each["p"]["missed"]
                expected = each["p"]["to"] + 1
            else:
                assert (each["o"], each["n"]) == (expected, expected)
                expected += 1
    return top - lost, lost


def fall_behind(running: Running) -> int:
    """Publishes until a client has fallen behind; the number of the last message."""
    number = 0
    while health(running, "slow_client_backlogs") == 0:
        for _ in range(20):
            number += 1
            running.server.broadcast(TOPIC, message(number, 1000))
        assert number < 500_000, "nobody falls behind"
    return number


SLOW: dict[str, Any] = {
    "recovery_enabled": True,
    "recovery_buffer_size": 16,
    "max_outbound_queue_bytes": 65_536,
    "shards": 1,
}


def test_a_slow_client_with_msgpack_is_told_exactly_what_it_missed() -> None:
    with start_server(**SLOW) as running, Client(running.port, receive_buffer=4096, query=MSGPACK) as client:
        ((_, conn_id, _),) = running.events.wait("connect")
        running.server.subscribe_connection(conn_id, [TOPIC])
        top = fall_behind(running)
        _, lost = story(unpack, client, top)
        assert lost > 0
        wait_until(lambda: health(running, "slow_clients") == 0, "it is well again")
        assert client.ended is None


def test_a_slow_client_with_keys_is_told_exactly_what_it_missed() -> None:
    with start_server(**SLOW) as running, Client(running.port, receive_buffer=4096) as client:
        ((_, conn_id, _),) = running.events.wait("connect")
        keys = Keys()
        hello = {"t": "client_hello", "p": {"encryption_public_key": keys.public}}
        client.socket.sendall(client_frame(json.dumps(hello).encode(), TEXT))
        (frame,) = client.take(PATIENCE)
        keys.agree(json.loads(frame.payload)["p"]["encryption_public_key"])
        running.server.subscribe_connection(conn_id, [TOPIC])
        top = fall_behind(running)
        _, lost = story(lambda payload: json.loads(keys.open(payload)), client, top)
        assert lost > 0
        wait_until(lambda: health(running, "slow_clients") == 0, "it is well again")
        assert client.ended is None


def test_peers_of_the_same_topic_need_not_have_the_same_form(server_factory: Factory) -> None:
    """A pattern and a topic, with history, and forms that come and go."""
    running = server_factory(recovery_enabled=True)
    steady = running.subscriber("p*")
    peers: list[Peer] = []
    for at in range(30):
        peers.append(running.subscriber(TOPIC if at % 2 else "prices*", query=MSGPACK if at % 3 else ""))
        running.server.broadcast(TOPIC, message(at))
        for peer in peers:
            heard = peer.receive()
            assert (unpack(heard) if isinstance(heard, bytes) else json.loads(heard))["n"] == at
        if at % 4 == 3:
            peers.pop(0).close()
    assert [steady.receive_json()["n"] for _ in range(30)] == list(range(30))
