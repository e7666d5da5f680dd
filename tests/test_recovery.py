"""Recovery: what a client missed comes first, whole and once, or the answer says that it does not."""

from __future__ import annotations

import copy
import json
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

from sockets import Client
from support import Peer, Running, start_server, wait_until
from wse_server import Position
from wse_server.types import TopicRecovery

TOPIC = "prices"


def message(number: int) -> str:
    return json.dumps({"t": "tick", "p": {"n": number}})


def numbers(peer: Peer, count: int) -> list[int]:
    """The numbers of the next messages, which must be stamped for the topic and follow each other."""
    seen = [peer.receive_json() for _ in range(count)]
    offsets = [each["o"] for each in seen]
    assert all(each["tp"] == TOPIC for each in seen)
    assert offsets == list(range(offsets[0], offsets[0] + count)), "offsets follow each other"
    return [each["p"]["n"] for each in seen]


def recover(node: Running, peer: Peer, position: Position | tuple[str, int]) -> TopicRecovery:
    answer = node.server.subscribe_with_recovery(
        peer.conn_id, [TOPIC], recover=True, positions={TOPIC: position}
    )
    assert answer["recovered"] is answer["topics"][TOPIC]["recovered"]
    return answer["topics"][TOPIC]


def publish(node: Running, numbers: range) -> Position:
    """Publishes a message for each number; the position of the last."""
    last = [node.server.broadcast(TOPIC, message(number)) for number in numbers][-1]
    assert isinstance(last, Position)
    return last


def test_a_publication_has_a_position_that_its_message_tells() -> None:
    with start_server(recovery_enabled=True) as node:
        peer = node.subscriber(TOPIC)
        position = node.server.broadcast(TOPIC, message(1))
        assert isinstance(position, Position)
        epoch, offset = position
        assert (position.epoch, position.offset) == (epoch, offset) == (epoch, 1)
        assert json.loads(peer.receive()) == {
            "tp": TOPIC,
            "e": epoch,
            "o": 1,
            "c": "U",
            "t": "tick",
            "p": {"n": 1},
        }
        many = node.server.broadcast_many(TOPIC, [message(2), message(3)])
        local = node.server.broadcast_local(TOPIC, message(4).encode())
        stored = node.server.broadcast(TOPIC, message(5), wait="stored")
        assert [many, local, stored] == [Position(epoch, offset) for offset in (3, 4, 5)]
        assert numbers(peer, 4) == [2, 3, 4, 5]


def test_without_history_there_are_no_positions_and_no_stamps() -> None:
    with start_server() as node:
        peer = node.dial()
        answer = node.server.subscribe_with_recovery(peer.conn_id, [TOPIC])
        nothing = {"epoch": None, "offset": None, "recoverable": False, "recovered": False, "count": 0}
        assert answer == {"recovered": False, "topics": {TOPIC: nothing}, "refused": {}}
        assert node.server.broadcast(TOPIC, message(1)) is None
        assert node.server.broadcast_many(TOPIC, [message(2)]) is None
        assert peer.receive_json() == {"c": "U", "t": "tick", "p": {"n": 1}}


def test_who_comes_back_gets_what_was_missed_and_then_what_is_new() -> None:
    with start_server(recovery_enabled=True) as node:
        first = node.subscriber(TOPIC)
        had = publish(node, range(1, 4))
        assert numbers(first, 3) == [1, 2, 3]
        first.close()
        publish(node, range(4, 9))
        again = node.dial()
        answer = recover(node, again, had)
        assert answer == {
            "epoch": had.epoch,
            "offset": 8,
            "recoverable": True,
            "recovered": True,
            "count": 5,
        }
        publish(node, range(9, 11))
        assert numbers(again, 7) == list(range(4, 11))


def test_a_topic_without_messages_has_a_position_to_go_on_from() -> None:
    with start_server(recovery_enabled=True) as node:
        first, second = node.dial(), node.dial()
        stands = node.server.subscribe_with_recovery(first.conn_id, [TOPIC])["topics"][TOPIC]
        assert (stands["offset"], stands["recoverable"], stands["recovered"]) == (0, True, False)
        publish(node, range(1, 3))
        epoch = stands["epoch"]
        assert epoch is not None
        answer = node.server.subscribe_with_recovery(
            second.conn_id, [TOPIC], recover=True, epoch=epoch, offset=0
        )
        assert (answer["recovered"], answer["topics"][TOPIC]["count"]) == (True, 2)
        assert numbers(second, 2) == [1, 2]


@pytest.mark.parametrize(
    ("position", "why"),
    [
        (lambda top: Position("0badcafe", top.offset), "unknown_epoch"),
        (lambda top: Position(top.epoch, top.offset + 1), "ahead"),
        (lambda top: Position(top.epoch, 1), "gone"),
        (lambda top: Position(top.epoch, 5), "too_many"),
    ],
)
def test_what_can_not_be_recovered_whole_is_not_replayed_in_part(
    position: Callable[[Position], Position], why: str
) -> None:
    with start_server(recovery_enabled=True, recovery_buffer_size=8, recovery_max_messages=4) as node:
        peer = node.dial()
        top = publish(node, range(1, 11))
        answer = recover(node, peer, position(top))
        assert (answer["recovered"], answer["count"]) == (False, 0)
        assert (answer["epoch"], answer["offset"]) == (top.epoch, top.offset), "what to go on from"
        publish(node, range(11, 12))
        assert numbers(peer, 1) == [11], "nothing is replayed, and what is new comes"
        assert f'wse_recoveries_total{{outcome="{why}"}} 1\n' in node.server.prometheus_metrics()


def test_a_replay_that_no_client_may_be_behind_is_none() -> None:
    with start_server(recovery_enabled=True, max_outbound_queue_bytes=4096) as node:
        peer = node.dial()
        had = publish(node, range(1, 2))
        for _ in range(5):
            node.server.broadcast(TOPIC, json.dumps({"p": "x" * 1000}))
        assert not recover(node, peer, had)["recovered"]
        assert recover(node, peer, Position(had.epoch, 3))["recovered"]


def test_old_messages_expire_and_the_last_position_does_not() -> None:
    with start_server(recovery_enabled=True, recovery_ttl=0.05) as node:
        peer = node.dial()
        before = publish(node, range(1, 2))
        top = publish(node, range(2, 3))
        wait_until(lambda: not recover(node, peer, before)["recovered"], "a message that never expires")
        answer = recover(node, peer, top)
        assert (answer["recovered"], answer["count"], answer["offset"]) == (True, 0, 2)


def test_the_memory_of_old_messages_goes_back() -> None:
    with start_server(recovery_enabled=True, recovery_ttl=0.05) as node:
        empty = node.server.broadcast("small", "{}")
        assert empty is not None
        for number in range(100):
            node.server.broadcast(f"topic {number}", json.dumps({"p": "x" * 10_000}))
        assert node.server.health_snapshot()["recovery_topic_count"] == 101
        assert node.server.health_snapshot()["recovery_total_bytes"] > 1_000_000
        wait_until(
            lambda: node.server.health_snapshot()["recovery_total_bytes"] < 101 * 1024,
            "old messages keep their memory",
        )


def test_the_least_recently_used_topics_give_way_to_the_budget() -> None:
    budget = 65_536
    with start_server(recovery_enabled=True, recovery_memory_budget=budget) as node:
        peer = node.dial()
        text = json.dumps({"p": "x" * 8000})
        first = {topic: node.server.broadcast(topic, text) for topic in ("a", "b", "c", "d")}
        node.server.broadcast("a", text)
        for topic in ("e", "f", "g"):
            node.server.broadcast(topic, text)
        assert node.server.health_snapshot()["recovery_total_bytes"] <= budget

        def recovers(topic: str) -> bool:
            position = first[topic]
            assert position is not None
            answer = node.server.subscribe_with_recovery(
                peer.conn_id, [topic], recover=True, epoch=position.epoch, offset=position.offset
            )
            return answer["recovered"]

        assert recovers("a"), "used since, and kept"
        assert not recovers("b"), "the oldest is gone"


def test_topics_that_are_only_asked_about_stay_within_the_budget() -> None:
    with start_server(recovery_enabled=True, recovery_memory_budget=65_536) as node:
        peer = node.dial()
        for number in range(1000):
            topic = f"nobody publishes to this one: {number}"
            node.server.subscribe_with_recovery(peer.conn_id, [topic])
            node.server.unsubscribe_connection(peer.conn_id, [topic])
            assert node.server.health_snapshot()["recovery_total_bytes"] <= 65_536


def test_a_subscribed_topic_keeps_its_position_when_its_messages_give_way() -> None:
    with start_server(recovery_enabled=True, recovery_memory_budget=65_536) as node:
        reader, other = node.subscriber(TOPIC), node.dial()
        had = publish(node, range(1, 3))
        for number in range(100):
            node.server.broadcast(f"topic {number}", json.dumps({"p": "x" * 4000}))
        assert not recover(node, other, Position(had.epoch, 1))["recovered"], "its messages are gone"
        assert recover(node, other, had)["recovered"], "its epoch is not"
        publish(node, range(3, 4))
        assert numbers(reader, 3) == [1, 2, 3]
        assert numbers(other, 1) == [3]


def test_each_start_forgets_the_epochs_of_the_last() -> None:
    with start_server(recovery_enabled=True) as node:
        had = publish(node, range(1, 3))
        node.server.stop()
        node.server.start()
        peer = node.dial()
        answer = recover(node, peer, had)
        assert (answer["recovered"], answer["offset"]) == (False, 0)
        assert answer["epoch"] != had.epoch


def test_a_second_recovery_serves_again_from_where_it_says() -> None:
    with start_server(recovery_enabled=True) as node:
        peer = node.dial()
        publish(node, range(1, 5))
        top = publish(node, range(5, 6))
        assert recover(node, peer, Position(top.epoch, 2))["count"] == 3
        assert recover(node, peer, Position(top.epoch, 4))["count"] == 1
        publish(node, range(6, 7))
        seen = [peer.receive_json()["o"] for _ in range(5)]
        assert seen == [3, 4, 5, 5, 6]


def test_recovery_goes_through_the_gate() -> None:
    with start_server(recovery_enabled=True, max_subscriptions_per_connection=1) as node:
        peer = node.dial()
        node.server.set_topic_acl(peer.conn_id, allow=["prices", "news"])
        answer = node.server.subscribe_with_recovery(peer.conn_id, ["secret", "news", "prices"])
        assert list(answer["topics"]) == ["news"]
        assert answer["refused"] == {
            "secret": "the access list does not allow it",
            "prices": "the limit of 1 subscriptions is reached",
        }
        assert not answer["recovered"]
        gone = node.server.subscribe_with_recovery("nobody", ["news"])
        assert gone == {"recovered": False, "topics": {}, "refused": {"news": "the connection is closed"}}


def test_text_that_is_no_object_is_kept_and_replayed_as_it_is() -> None:
    with start_server(recovery_enabled=True) as node:
        peer = node.dial()
        had = node.server.broadcast(TOPIC, message(1))
        assert had is not None
        assert node.server.broadcast(TOPIC, "plain") == Position(had.epoch, 2)
        assert recover(node, peer, had)["count"] == 1
        assert peer.receive() == "plain"


@pytest.mark.parametrize("field", ["tp", "e", "o"])
def test_a_stamp_of_ones_own_is_refused(field: str) -> None:
    with start_server(recovery_enabled=True) as node:
        text = json.dumps({"t": "x", field: 1})
        with pytest.raises(ValueError, match=f'top-level field "{field}"'):
            node.server.broadcast(TOPIC, text)
        with pytest.raises(ValueError, match=f'top-level field "{field}"'):
            node.server.broadcast_many(TOPIC, ["{}", text])
        assert publish(node, range(1)).offset == 1, "of the refused batch nothing was kept"


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"topics": ["a*"]}, ValueError, "'a\\*' is a pattern|\"a\\*\" is a pattern"),
        ({"topics": "a"}, TypeError, "topics must be a list of str"),
        ({"topics": [""]}, ValueError, "at least 1 byte"),
        ({"topics": ["a"], "epoch": "0badcafe"}, ValueError, "epoch and offset belong together"),
        ({"topics": ["a"], "epoch": "0BADCAFE", "offset": 1}, ValueError, "eight hexadecimal digits"),
        ({"topics": ["a"], "epoch": "0badcafe", "offset": -1}, ValueError, "offset must be an integer"),
        (
            {"topics": ["a"], "positions": {}, "epoch": "0badcafe", "offset": 1},
            ValueError,
            "positions exclude epoch and offset",
        ),
        ({"topics": ["a"], "positions": {"a": 7}}, TypeError, "positions must be a dict"),
        ({"topics": ["a"], "positions": {1: ("0badcafe", 1)}}, TypeError, "one of its keys is int"),
        ({"topics": ["a"], "positions": {"a": ("x", 1)}}, ValueError, 'positions\\["a"\\] epoch'),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with start_server(recovery_enabled=True) as node:
        peer = node.dial()
        with pytest.raises(error, match=words):
            node.server.subscribe_with_recovery(peer.conn_id, recover=True, **arguments)
        info = node.server.get_connection_info(peer.conn_id)
        assert info is not None
        assert info["topics"] == []


def test_a_position_is_a_value() -> None:
    position = Position("0badcafe", 7)
    assert position == Position("0badcafe", 7)
    assert position != Position("0badcafe", 8)
    assert hash(position) == hash(Position("0badcafe", 7))
    assert tuple(position) == ("0badcafe", 7)
    assert repr(position) == "Position(epoch='0badcafe', offset=7)"
    again = pickle.loads(pickle.dumps(position))  # noqa: S301
    assert (again, again.copies) == (position, None)
    # Copies play no part in comparisons, and are kept.
    stored = Position("0badcafe", 7, copies=2)
    assert (stored, stored.copies) == (position, 2)
    for kept in pickle.loads(pickle.dumps(stored)), copy.deepcopy(stored):  # noqa: S301
        assert (kept, kept.copies) == (position, 2)
    for wrong in -1, 256:
        with pytest.raises(OverflowError):
            Position("0badcafe", 7, wrong)
    with pytest.raises(ValueError, match="epoch must be eight hexadecimal digits"):
        Position("1", 7)


def test_no_gap_and_no_repeat_however_many_publish_while_clients_come_back() -> None:
    """Four threads publish; a dozen clients drop and recover, each again and again from what it last got."""
    total, publishers = 4000, 4
    with start_server(recovery_enabled=True, recovery_buffer_size=8192, recovery_max_messages=8192) as node:
        first = node.dial()
        epoch = node.server.subscribe_with_recovery(first.conn_id, [TOPIC])["topics"][TOPIC]["epoch"]
        node.server.unsubscribe_connection(first.conn_id)
        assert epoch is not None

        def flood(which: int) -> None:
            for number in range(total // publishers):
                node.server.broadcast(TOPIC, message(which * total + number))

        threads = [threading.Thread(target=flood, args=(which,)) for which in range(publishers)]
        for thread in threads:
            thread.start()
        last = 0
        while last < total:
            connected = len(node.events.of("connect"))
            with Client(node.port, "back-again") as client:
                _, conn_id, _ = node.events.wait("connect", count=connected + 1)[connected]
                answer = node.server.subscribe_with_recovery(
                    conn_id, [TOPIC], recover=True, epoch=epoch, offset=last
                )
                assert answer["recovered"], "everything is kept"
                stays = min(total - last, 97)
                seen = [json.loads(frame.payload)["o"] for frame in client.frames(stays)[:stays]]
                assert seen == list(range(last + 1, last + 1 + stays))
                last += stays
                client.reset()
        for thread in threads:
            thread.join()
        assert node.server.broadcast(TOPIC, "{}") == Position(epoch, total + 1)
