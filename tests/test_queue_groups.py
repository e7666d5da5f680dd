"""Queue groups: each message of a topic goes to one live member of each group."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from forms import MSGPACK, Sealed, unpack
from sockets import RESET
from support import Peer, Running, wait_until
from workers import BODY, Reader, crowd, lost, numbers, waiting

Factory = Callable[..., Running]


@pytest.fixture(params=[1, 2], ids=["one shard", "two shards"])
def running(server_factory: Factory, request: pytest.FixtureRequest) -> Running:
    """A server whose members are on one I/O thread or on two."""
    return server_factory(shards=request.param)


def member(running: Running, group: str, *topics: str) -> Peer:
    """A client that is a member of a group of each of the topics."""
    peer = running.dial(close_timeout=0.1)
    answer = running.server.subscribe_connection(peer.conn_id, list(topics), queue_group=group)
    assert answer == {"subscribed": list(topics), "refused": {}, "confirmed": True}
    return peer


def heard(running: Running, peer: Peer) -> list[str]:
    """What a client has got up to now."""
    running.server.send(peer.conn_id, "[end]")
    messages = []
    while (message := peer.receive()) != "[end]":
        assert isinstance(message, str)
        messages.append(message)
    return messages


# ---- One member each ----


def test_each_message_goes_to_one_member_in_turn_and_in_order(running: Running) -> None:
    peers = [member(running, "workers", "jobs") for _ in range(4)]
    for text in numbers(40):
        running.server.broadcast("jobs", text)
    got = [heard(running, peer) for peer in peers]
    assert [len(some) for some in got] == [10, 10, 10, 10]
    assert all(some == sorted(some, key=int) for some in got)
    assert sorted((text for some in got for text in some), key=int) == numbers(40)


def test_many_at_once_are_shared_like_one_by_one(running: Running) -> None:
    peers = [member(running, "workers", "jobs") for _ in range(3)]
    running.server.broadcast_many("jobs", numbers(3000))
    got = [heard(running, peer) for peer in peers]
    assert [len(some) for some in got] == [1000] * 3
    assert all(some == sorted(some, key=int) for some in got)
    assert sorted((text for some in got for text in some), key=int) == numbers(3000)


def test_publishers_in_many_threads_share_a_group_exactly(running: Running) -> None:
    peers = [member(running, "workers", "jobs") for _ in range(5)]

    def publish(publisher: int) -> None:
        for number in range(300):
            running.server.broadcast("jobs", f"{publisher}:{number}")

    threads = [threading.Thread(target=publish, args=(publisher,)) for publisher in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got = [heard(running, peer) for peer in peers]
    for some in got:
        for publisher in range(4):
            mine = [int(text.split(":")[1]) for text in some if text.startswith(f"{publisher}:")]
            assert mine == sorted(mine), "a member gets what one publisher said in its order"
    everything = Counter(text for some in got for text in some)
    assert everything == Counter(f"{publisher}:{number}" for publisher in range(4) for number in range(300))
    assert {len(some) for some in got} == {240}


def test_subscribers_and_every_group_get_each_message(running: Running) -> None:
    plain, pattern = running.subscriber("jobs"), running.subscriber("j*")
    first = [member(running, "first", "jobs") for _ in range(2)]
    second = [member(running, "second", "jobs") for _ in range(3)]
    for text in numbers(12):
        running.server.broadcast("jobs", text)
    assert heard(running, plain) == numbers(12)
    assert heard(running, pattern) == numbers(12)
    for group, share in ((first, 6), (second, 4)):
        got = [heard(running, peer) for peer in group]
        assert [len(some) for some in got] == [share] * len(group)
        assert sorted((text for some in got for text in some), key=int) == numbers(12)


def test_who_is_a_member_and_subscribed_as_well_gets_each_message_once(running: Running) -> None:
    both, only = member(running, "g", "jobs"), member(running, "g", "jobs")
    running.server.subscribe_connection(both.conn_id, ["jobs", "j*"])
    for text in numbers(20):
        running.server.broadcast("jobs", text)
    assert heard(running, both) == numbers(20)
    assert len(heard(running, only)) == 10


def test_a_member_of_two_groups_gets_each_message_once(running: Running) -> None:
    peer = member(running, "first", "jobs")
    running.server.subscribe_connection(peer.conn_id, ["jobs"], queue_group="second")
    for text in numbers(20):
        running.server.broadcast("jobs", text)
    assert heard(running, peer) == numbers(20)


def test_groups_of_other_topics_are_other_groups(running: Running) -> None:
    peer, other = member(running, "g", "a", "b"), member(running, "g", "a")
    for topic in ("a", "b", "c"):
        running.server.broadcast_many(topic, [f"{topic}{number}" for number in range(4)])
    assert Counter(text[0] for text in heard(running, peer)) == {"a": 2, "b": 4}
    assert Counter(text[0] for text in heard(running, other)) == {"a": 2}


# ---- Coming and going ----


def test_info_and_counts_say_who_is_a_member(running: Running) -> None:
    server = running.server
    assert server.get_queue_group_info("jobs") == {}
    peers = [member(running, group, "jobs") for group in ("a", "a", "b")]
    server.subscribe_connection(peers[0].conn_id, ["jobs"], queue_group="a")
    assert server.get_queue_group_info("jobs") == {"a": 2, "b": 1}
    assert server.get_topic_subscriber_count("jobs") == 0, "members are no subscribers"
    server.subscribe_connection(peers[0].conn_id, ["jobs"])
    info = server.get_connection_info(peers[0].conn_id)
    assert info is not None
    assert info["topics"] == ["jobs"]
    server.unsubscribe_connection(peers[0].conn_id, ["jobs"])
    assert server.get_queue_group_info("jobs") == {"a": 1, "b": 1}
    assert server.get_topic_subscriber_count("jobs") == 0
    peers[1].close()
    running.events.wait("disconnect")
    assert server.get_queue_group_info("jobs") == {"b": 1}
    server.unsubscribe_connection(peers[2].conn_id)
    assert server.get_queue_group_info("jobs") == {}
    with pytest.raises(ValueError, match="pattern"):
        server.get_queue_group_info("jobs*")


def test_whoever_comes_takes_part_and_whoever_leaves_does_not(running: Running) -> None:
    first = member(running, "g", "jobs")
    running.server.broadcast_many("jobs", numbers(4))
    second = member(running, "g", "jobs")
    running.server.broadcast_many("jobs", numbers(4, 4))
    running.server.unsubscribe_connection(first.conn_id, ["jobs"])
    running.server.broadcast_many("jobs", numbers(4, 8))
    got = heard(running, first), heard(running, second)
    assert got[0][:4] == numbers(4)
    assert len(got[0]) == 6
    assert got[1][-4:] == numbers(4, 8)
    assert sorted(got[0] + got[1], key=int) == numbers(12)


def test_a_group_that_ends_and_begins_anew_misses_nothing_in_between(running: Running) -> None:
    spare = member(running, "other", "jobs")
    keeper: list[str] = []
    for round_ in range(30):
        peer = member(running, "g", "jobs")
        running.server.broadcast_many("jobs", numbers(3, round_ * 3))
        running.server.unsubscribe_connection(peer.conn_id)
        keeper += heard(running, peer)
        peer.close()
    assert keeper == numbers(90)
    assert heard(running, spare) == numbers(90)


def test_the_access_list_is_asked_for_members_too(running: Running) -> None:
    peer = running.dial()
    running.server.set_topic_acl(peer.conn_id, allow=["open"])
    answer = running.server.subscribe_connection(peer.conn_id, ["open", "shut"], queue_group="g")
    assert answer["refused"] == {"shut": "the access list does not allow it"}
    assert running.server.set_topic_acl(peer.conn_id, allow=[]) == ["open"]
    assert running.server.get_queue_group_info("open") == {}


def test_memberships_count_as_subscriptions(server_factory: Factory) -> None:
    running = server_factory(max_subscriptions_per_connection=2)
    peer = member(running, "g", "a", "b")
    answer = running.server.subscribe_connection(peer.conn_id, ["a"], queue_group="h")
    assert answer["refused"] == {"a": "the limit of 2 subscriptions is reached"}


def test_a_topic_has_64_groups_and_no_more(running: Running) -> None:
    peer = running.dial()
    for number in range(64):
        running.server.subscribe_connection(peer.conn_id, ["jobs"], queue_group=f"g{number}")
    answer = running.server.subscribe_connection(peer.conn_id, ["jobs"], queue_group="one more")
    assert answer["refused"] == {"jobs": "the topic has 64 queue groups already"}
    running.server.broadcast("jobs", "once")
    assert heard(running, peer) == ["once"]


@pytest.mark.parametrize(
    ("topics", "group", "words"),
    [
        (["jobs", "j*"], "g", r"j\*.*a queue group is of a topic"),
        (["jobs"], "", "queue_group must have 1-255 bytes"),
        (["jobs"], "x" * 256, "with 256 bytes"),
        (["jobs"], "a\nb", "without control characters"),
    ],
)
def test_what_can_be_no_group_is_an_error(
    running: Running, topics: list[str], group: str, words: str
) -> None:
    peer = running.dial()
    with pytest.raises(ValueError, match=words):
        running.server.subscribe_connection(peer.conn_id, topics, queue_group=group)
    assert running.server.get_queue_group_info("jobs") == {}


def test_a_member_is_not_present(server_factory: Factory) -> None:
    running = server_factory(presence_enabled=True)
    peer = running.dial()
    with pytest.raises(ValueError, match="presence_data and queue_group exclude each other"):
        running.server.subscribe_connection(peer.conn_id, ["jobs"], presence_data={}, queue_group="g")
    guest = running.dial()
    running.server.subscribe_connection(peer.conn_id, ["jobs"], queue_group="g")
    running.server.subscribe_connection(guest.conn_id, ["jobs"], presence_data={})
    assert heard(running, peer) == [], "news of who is there are for subscribers"


# ---- With history, and by clients themselves ----


def test_topics_with_history_have_groups_whose_members_hear_what_is_published(
    server_factory: Factory,
) -> None:
    running = server_factory(recovery_enabled=True)
    peers = [member(running, "g", "jobs") for _ in range(2)]
    for number in range(10):
        running.server.broadcast("jobs", json.dumps({"t": "job", "p": number}))
    got = [[json.loads(text) for text in heard(running, peer)] for peer in peers]
    assert [len(some) for some in got] == [5, 5]
    assert sorted(message["p"] for some in got for message in some) == list(range(10))
    assert all(message["o"] == message["p"] + 1 for some in got for message in some)


def test_clients_may_share_topics_themselves(server_factory: Factory) -> None:
    running = server_factory(client_subscriptions=True)
    peers = [running.dial() for _ in range(2)]
    for peer in peers:
        p = {"action": "subscribe", "topics": ["jobs"], "queue_group": "g"}
        peer.send({"t": "subscription_update", "p": p})
        assert peer.receive_json()["p"]["success_topics"] == ["jobs"]
    running.server.broadcast_many("jobs", numbers(10))
    assert [len(heard(running, peer)) for peer in peers] == [5, 5]
    mores: list[dict[str, Any]] = [{"topics": ["j*"]}, {"presence": {}}]
    for more in mores:
        p = {"action": "subscribe", "topics": ["jobs"], "queue_group": "g"} | more
        peers[0].send({"t": "subscription_update", "p": p})
        error = peers[0].receive_json()
        assert (error["t"], error["p"]["code"]) == ("error", "INVALID_SUBSCRIPTION")


# ---- Members that are slow, and members that die ----


def test_members_that_are_not_backed_up_go_first(running: Running) -> None:
    with crowd(running, "g", "jobs", fast=2, stuck=2) as members:
        reader = Reader([client for client, _ in members["fast"]])
        for number in range(2000):
            running.server.broadcast("jobs", f"{number} {BODY}")
            if number % 10 == 9:
                wait_until(lambda: all(waiting(running, one) == 0 for _, one in members["fast"]), "read")
        # Two megabytes and more would wait for each of them if it had its turns.
        for _, conn_id in members["stuck"]:
            assert waiting(running, conn_id) < 200_000
        for client, _ in members["stuck"]:
            client.reset()
        running.events.wait("disconnect", count=2)
        got = reader.finish(running, members["fast"])
    assert len(got) == len(set(got)), "nothing is done twice"
    assert len(got) > 1000, "all but what two kernels had taken"
    assert lost(running) <= 2


def test_what_a_dead_member_had_not_begun_to_get_goes_to_another(running: Running) -> None:
    with crowd(running, "g", "jobs", stuck=1) as members:
        ((stuck, conn_id),) = members["stuck"]
        total = 600
        for number in range(total):
            running.server.broadcast("jobs", f"{number} {BODY}")
        info = running.server.get_connection_info(conn_id)
        assert info is not None
        assert info["queued_bytes"] > 1_000_000, "most of it waits in the server"
        waiting = info["queued_bytes"] // (len(BODY) + 8)
        with crowd(running, "g", "jobs", fast=2) as others:
            reader = Reader([client for client, _ in others["fast"]])
            stuck.reset()
            running.events.wait("disconnect")
            got = reader.finish(running, others["fast"])
            assert len(got) >= waiting - 1
            assert got == list(range(total - len(got), total)), "all but what the kernel had begun to send"
            assert lost(running) <= 1, "at most the one that was cut in two"


def test_without_another_member_what_is_left_is_lost_and_counted(running: Running) -> None:
    with crowd(running, "g", "jobs", stuck=1) as members:
        ((stuck, conn_id),) = members["stuck"]
        for number in range(300):
            running.server.broadcast("jobs", f"{number} {BODY}")
        info = running.server.get_connection_info(conn_id)
        assert info is not None
        waiting = info["queued_bytes"] // (len(BODY) + 8)
        assert waiting > 10
        stuck.reset()
        running.events.wait("disconnect")
        wait_until(lambda: lost(running) >= waiting, "it is counted")
        assert lost(running) <= waiting + 2
    running.server.broadcast("jobs", "for nobody")
    assert running.server.get_queue_group_info("jobs") == {}


@pytest.mark.parametrize("shards", [1, 2])
def test_the_backlog_of_a_member_that_is_too_slow_goes_to_another_first(
    server_factory: Factory, shards: int
) -> None:
    running = server_factory(max_outbound_queue_bytes=1_000_000, shards=shards)
    with crowd(running, "g", "jobs", stuck=1) as members:
        ((_, conn_id),) = members["stuck"]
        # As much as it may be behind, nearly.
        number = 0
        while True:
            running.server.broadcast("jobs", f"{number} {BODY}")
            number += 1
            info = running.server.get_connection_info(conn_id)
            assert info is not None
            if info["queued_bytes"] > 900_000:
                break
        with crowd(running, "g", "jobs", fast=1) as others:
            reader = Reader([client for client, _ in others["fast"]])
            # Something that is its own takes it over the limit: its work goes, its connection stays.
            for _ in range(30):
                running.server.send(conn_id, BODY)
            wait_until(lambda: reader.count() > 50, "the other does its work", 30)
            assert conn_id in running.server.get_connections()
            info = running.server.get_connection_info(conn_id)
            assert info is not None
            assert info["queued_bytes"] < 600_000
            got = reader.finish(running, others["fast"])
            assert got == list(range(got[0], number)), "from where the kernel had begun to the end, in order"
            assert lost(running) == 0


def test_a_member_whose_work_nobody_can_take_is_closed_for_being_too_slow(server_factory: Factory) -> None:
    running = server_factory(max_outbound_queue_bytes=300_000)
    with crowd(running, "g", "jobs", stuck=1) as members:
        ((stuck, _),) = members["stuck"]
        for number in range(1000):
            running.server.broadcast("jobs", f"{number} {BODY}")
        running.events.wait("disconnect", timeout=30)
        wait_until(lambda: lost(running) > 10, "what it held is counted")
        stuck.frames_to_the_end(30)
        assert stuck.ended in (4408, RESET)


def test_nothing_is_lost_while_members_come_and_go(running: Running) -> None:
    """A keeper stays, others come and unsubscribe in a graceful way: each message is done once."""
    keeper = member(running, "g", "jobs")
    stop = threading.Event()
    published = 0

    def publish() -> None:
        nonlocal published
        while not stop.is_set():
            running.server.broadcast("jobs", str(published))
            published += 1

    thread = threading.Thread(target=publish)
    thread.start()
    guests = []
    for _ in range(30):
        guest = member(running, "g", "jobs")
        running.server.unsubscribe_connection(guest.conn_id)
        guests.append(guest)
    stop.set()
    thread.join()
    got = [text for peer in [keeper, *guests] for text in heard(running, peer)]
    assert len(got) == published
    assert set(got) == set(numbers(published))
    assert lost(running) == 0


# ---- Members that want messages in another form ----


def numbered(message: dict[str, Any]) -> int:
    assert message["c"] == "U"
    number = message["p"]["n"]
    assert isinstance(number, int)
    return number


def test_each_member_gets_its_messages_in_its_form(running: Running) -> None:
    plain, packed, sealed = running.dial(), running.dial(query=MSGPACK), Sealed(running)
    for conn_id in (plain.conn_id, packed.conn_id, sealed.conn_id):
        running.server.subscribe_connection(conn_id, ["jobs"], queue_group="g")
        running.server.subscribe_connection(conn_id, ["jobs"], queue_group="h")
    for number in range(30):
        running.server.broadcast("jobs", json.dumps({"t": "job", "p": {"n": number}}))
    running.server.broadcast_all('{"t":"end","p":{"n":-1}}')
    receive: list[Callable[[], dict[str, Any]]] = [
        plain.receive_json,
        lambda: unpack(packed.receive()),
        sealed.receive_json,
    ]
    got = [list(iter(lambda one=one: numbered(one()), -1)) for one in receive]  # type: ignore[misc]
    assert sum(len(some) for some in got) >= 30
    assert {number for some in got for number in some} == set(range(30))
    assert all(len(some) == len(set(some)) for some in got), "a turn in both groups is one message"


@pytest.mark.parametrize("form", ["packed", "sealed"])
def test_what_was_made_for_one_member_is_made_anew_for_another(running: Running, form: str) -> None:
    if form == "sealed":
        peer = Sealed(running, running.dial(close_timeout=0.1)).peer
    else:
        peer = running.dial(query=MSGPACK, close_timeout=0.1)
    running.server.subscribe_connection(peer.conn_id, ["jobs"], queue_group="g")
    total = 1000
    for number in range(total):
        message = {"t": "job", "p": {"n": number, "body": BODY}}
        running.server.broadcast("jobs", json.dumps(message))
    assert waiting(running, peer.conn_id) > 500_000
    heir = member(running, "g", "jobs")
    raw = peer.socket.socket
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.shutdown(socket.SHUT_RDWR)
    running.events.wait("disconnect")
    got = [json.loads(text) for text in heard(running, heir)]
    assert all(message["p"]["body"] == BODY for message in got)
    numbers_got = [numbered(message) for message in got]
    assert len(numbers_got) > 50
    assert numbers_got == list(range(total - len(got), total))
    assert lost(running) <= 1
