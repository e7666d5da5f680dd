"""What clients do themselves: they subscribe, come back, and publish, where they may."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from commands import Message, ask, heard, is_alive, numbers, publish, say, subscribe, unsubscribe
from sockets import Client, client_frame, read_together
from support import Peer, Running, wait_until

Factory = Callable[..., Running]
NOT_ALLOWED = "the access list does not allow it"


@pytest.fixture
def open_to_all(server_factory: Factory) -> Factory:
    """Starts a server that lets clients do everything, with history."""
    return lambda **options: server_factory(
        **{"client_subscriptions": True, "client_publish": True, "recovery_enabled": True} | options
    )


# ---- Subscribing ----


def test_a_client_hears_what_it_asked_for_and_nothing_else(open_to_all: Factory) -> None:
    running = open_to_all(recovery_enabled=False)
    peer = running.dial()
    assert subscribe(peer, "a", "room:*") == {
        "action": "subscribe",
        "success_topics": ["a", "room:*"],
        "failed_topics": [],
        "recovery": {},
    }
    for topic, n in (("a", 1), ("b", 2), ("room:1", 3), ("room", 4), ("a", 5)):
        publish(running, topic, n)
    assert numbers(heard(running, peer)) == [1, 3, 5]
    assert running.server.get_topic_subscriber_count("a") == 1
    assert unsubscribe(peer, "a", "never")["success_topics"] == ["a", "never"]
    publish(running, "a", 6)
    publish(running, "room:2", 7)
    assert numbers(heard(running, peer)) == [7]
    assert running.server.get_topic_subscriber_count("a") == 0


def test_the_application_is_told_nothing_of_it(open_to_all: Factory) -> None:
    running = open_to_all()
    peer = running.dial()
    subscribe(peer, "a")
    say(peer, "publish", topic="a", data={"t": "n"})
    say(peer, "subscription_update", action="leave")
    say(peer, "mine", x=1)
    assert running.events.wait("msg", "raw", "bin") == [("msg", peer.conn_id, {"t": "mine", "p": {"x": 1}})]


def test_what_was_published_before_the_answer_is_not_heard_and_all_after_is(open_to_all: Factory) -> None:
    # While somebody publishes without a pause nothing is missing after the position that the answer tells.
    running = open_to_all(recovery_buffer_size=16)
    peer = running.dial()
    stop = threading.Event()

    def publish_on() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            publish(running, "a", n)

    publisher = threading.Thread(target=publish_on)
    publisher.start()
    try:
        for _ in range(20):
            say(peer, "subscription_update", action="subscribe", topics=["a"])
            while (answer := peer.receive_json())["t"] == "n":
                pass
            position = answer["p"]["recovery"]["a"]["offset"]
            offsets = [peer.receive_json()["o"] for _ in range(5)]
            assert offsets == list(range(position + 1, position + 6))
            say(peer, "subscription_update", action="unsubscribe", topics=["a"])
            while peer.receive_json()["t"] == "n":
                pass
    finally:
        stop.set()
        publisher.join()


def test_answers_come_in_the_order_of_the_commands(open_to_all: Factory) -> None:
    running = open_to_all()
    peer = running.dial()
    for n in range(50):
        say(peer, "subscription_update", f"{n}-in", action="subscribe", topics=["a"])
        say(peer, "publish", f"{n}-pub", topic="a", data={"t": "n", "p": n})
        say(peer, "publish", f"{n}-bad", topic="*", data={})
        say(peer, "subscription_update", f"{n}-out", action="unsubscribe", topics=["a"])
    said = [peer.receive_json() for _ in range(250)]
    assert [message.get("cid", message["p"]) for message in said] == [
        name for n in range(50) for name in (f"{n}-in", n, f"{n}-pub", f"{n}-bad", f"{n}-out")
    ]


def test_a_topic_is_named_once_however_often_it_is_asked_for(open_to_all: Factory) -> None:
    running = open_to_all()
    peer = running.dial()
    assert subscribe(peer, "a", "b", "a")["success_topics"] == ["a", "b"]
    assert subscribe(peer, "a")["success_topics"] == ["a"]
    publish(running, "a", 1)
    assert numbers(heard(running, peer)) == [1]


def test_nothing_asked_is_nothing_done(open_to_all: Factory) -> None:
    peer = open_to_all().dial()
    assert subscribe(peer) == {
        "action": "subscribe",
        "success_topics": [],
        "failed_topics": [],
        "recovery": {},
    }


def test_many_topics_in_one_command(open_to_all: Factory) -> None:
    running = open_to_all()
    peer = running.dial()
    topics = [f"{n:0>255}" for n in range(1024)]
    answer = subscribe(peer, *topics)
    assert answer["success_topics"] == topics
    assert list(answer["recovery"]) == topics
    publish(running, topics[-1], 1)
    assert numbers(heard(running, peer)) == [1]
    error = ask(peer, "subscription_update", action="subscribe", topics=[*topics, "one more"])
    assert error["p"]["message"] == "p.topics may have at most 1024 items, and has more"


# ---- Coming back ----


def positions(answer: Message) -> Message:
    return {topic: {"epoch": at["epoch"], "offset": at["offset"]} for topic, at in answer["recovery"].items()}


def test_a_client_that_comes_back_is_sent_what_it_missed_and_goes_on(open_to_all: Factory) -> None:
    running = open_to_all()
    peer = running.dial()
    at = positions(subscribe(peer, "a", "b", "idle"))
    publish(running, "a", 1)
    publish(running, "b", 10)
    last = heard(running, peer)
    for message in last:
        at[message["tp"]] = {"epoch": message["e"], "offset": message["o"]}
    peer.close()
    publish(running, "a", 2, 3)
    back = running.dial()
    answer = subscribe(back, "a", "b", "idle", recover=True, recovery=at)
    assert {
        topic: (it["recovered"], it["count"], it["offset"]) for topic, it in answer["recovery"].items()
    } == {
        "a": (True, 2, 3),
        "b": (True, 0, 1),
        "idle": (True, 0, 0),
    }
    publish(running, "a", 4)
    publish(running, "idle", 20)
    missed = heard(running, back)
    assert numbers(missed) == [2, 3, 4, 20]
    assert [message["o"] for message in missed] == [2, 3, 4, 1]


def test_a_position_that_is_not_kept_any_more_is_not_recovered(open_to_all: Factory) -> None:
    running = open_to_all(recovery_buffer_size=4)
    peer = running.dial()
    at = positions(subscribe(peer, "a"))
    peer.close()
    publish(running, "a", *range(20))
    back = running.dial()
    answer = subscribe(back, "a", recover=True, recovery=at)["recovery"]["a"]
    assert (answer["recovered"], answer["count"], answer["offset"]) == (False, 0, 20)
    publish(running, "a", 20)
    assert numbers(heard(running, back)) == [20]


@pytest.mark.parametrize("offset", [7, 2**64 - 1])
def test_a_position_that_never_was_is_not_recovered(open_to_all: Factory, offset: int) -> None:
    running = open_to_all()
    peer = running.dial()
    epoch = subscribe(peer, "a")["recovery"]["a"]["epoch"]
    at = {"a": {"epoch": epoch, "offset": offset}}
    assert subscribe(peer, "a", recovery=at)["recovery"]["a"]["recovered"] is False


def test_patterns_beside_a_recovery_are_subscribed_and_have_no_position(open_to_all: Factory) -> None:
    running = open_to_all()
    peer = running.dial()
    at = positions(subscribe(peer, "a"))
    answer = subscribe(peer, "a", "b.*", recover=True, recovery=at)
    assert answer["success_topics"] == ["a", "b.*"]
    assert list(answer["recovery"]) == ["a"]


def test_without_history_there_are_no_positions(open_to_all: Factory) -> None:
    running = open_to_all(recovery_enabled=False)
    peer = running.dial()
    answer = subscribe(peer, "a", recover=True, recovery={"a": {"epoch": "deadbeef", "offset": 1}})
    assert (answer["success_topics"], answer["recovery"]) == (["a"], {})


def test_a_second_subscription_is_served_again_from_its_position(open_to_all: Factory) -> None:
    running = open_to_all()
    peer = running.dial()
    at = positions(subscribe(peer, "a"))
    publish(running, "a", 1, 2)
    assert numbers(heard(running, peer)) == [1, 2]
    answer = subscribe(peer, "a", recovery=at)["recovery"]["a"]
    assert (answer["recovered"], answer["count"]) == (True, 2)
    publish(running, "a", 3)
    assert numbers(heard(running, peer)) == [1, 2, 3]


# ---- Publishing ----


def test_what_a_client_publishes_reaches_all_who_hear_the_topic(open_to_all: Factory) -> None:
    running = open_to_all(recovery_enabled=False)
    one, other = running.dial(), running.dial()
    subscribe(one, "a")
    subscribe(other, "*")
    data = {"t": "chat", "p": {"text": "é€😀"}, "id": "mine"}
    say(one, "publish", "7", topic="a", data=data)
    assert one.receive_json() == {"c": "U", **data}
    assert one.receive_json() == {"c": "WSE", "t": "publish", "cid": "7", "p": {"topic": "a"}, "v": 1}
    assert other.receive_json() == {"c": "U", **data}
    say(one, "publish", topic="a", data={"t": "book_snapshot"})
    assert other.receive_json() == {"c": "S", "t": "book_snapshot"}
    assert heard(running, one) == [{"c": "S", "t": "book_snapshot"}]


def test_with_history_it_is_stamped_and_the_answer_says_how(open_to_all: Factory) -> None:
    running = open_to_all()
    peer = running.dial()
    first = ask(peer, "publish", "1", topic="a", data={"t": "n", "p": 1})
    publish(running, "a", 2)
    second = ask(peer, "publish", "2", topic="a", data={"t": "n", "p": 3})
    epoch = first["p"]["epoch"]
    assert (first["p"], second["p"]) == (
        {"topic": "a", "epoch": epoch, "offset": 1},
        {"topic": "a", "epoch": epoch, "offset": 3},
    )
    subscribe(peer, "a", recovery={"a": {"epoch": epoch, "offset": 0}})
    assert [(message["e"], message["o"], message["p"]) for message in heard(running, peer)] == [
        (epoch, 1, 1),
        (epoch, 2, 2),
        (epoch, 3, 3),
    ]


def test_what_is_published_is_sent_as_it_was_written(open_to_all: Factory) -> None:
    running = open_to_all()
    peer = running.dial()
    subscribe(peer, "a")
    peer.send(
        '{"t":"publish","p":{"topic":"a",'
        '"data":{ "t" : "x", "big":12345678901234567890123, "\\u00e9":1.50 }}}'
    )
    message = peer.receive()
    assert isinstance(message, str)
    assert message.endswith(',"c":"U", "t" : "x", "big":12345678901234567890123, "\\u00e9":1.50 }')


def test_publications_of_one_client_keep_their_order(open_to_all: Factory) -> None:
    running = open_to_all(shards=2)
    listeners = [running.dial() for _ in range(4)]
    for listener in listeners:
        subscribe(listener, "a")
    speaker = running.dial()
    for n in range(2000):
        say(speaker, "publish", topic="a", data={"t": "n", "p": n})
    for listener in listeners:
        messages = [listener.receive_json() for _ in range(2000)]
        assert numbers(messages) == list(range(2000))
        assert [message["o"] for message in messages] == list(range(1, 2001))


@pytest.mark.parametrize("recovery", [True, False])
def test_who_publishes_faster_than_it_can_be_sent_waits_and_loses_nothing(
    open_to_all: Factory, recovery: bool
) -> None:
    # Sixteen megabytes through inboxes of 64 KiB, in 16 messages to a read.
    running = open_to_all(
        shards=2, recovery_enabled=recovery, rate_limit_capacity=1e6, recovery_buffer_size=8
    )
    listeners = [running.dial() for _ in range(4)]
    for listener in listeners:
        subscribe(listener, "a")
    speaker, neighbour = running.dial(), running.dial()
    text = "x" * 4000
    count = 4000

    def speak() -> None:
        for n in range(count):
            say(speaker, "publish", topic="a", data={"t": "n", "p": n, "text": text})

    def listen(listener: Peer) -> None:
        wrong.extend(n for n in range(count) if listener.receive_json(30)["p"] != n)

    wrong: list[int] = []
    threads = [
        threading.Thread(target=speak),
        *(threading.Thread(target=listen, args=[it]) for it in listeners),
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert is_alive(neighbour)
        threads[-1].join(0.05)
    assert wrong == []
    assert ask(speaker, "publish", "last", topic="b", data={})["cid"] == "last"


@pytest.mark.slow
def test_who_publishes_to_a_slow_reader_is_not_read_meanwhile_and_the_reader_is_not_cut(
    open_to_all: Factory,
) -> None:
    # The reader takes four megabytes a second, the speaker would give ten times that; 16 MiB may wait.
    running = open_to_all(recovery_enabled=False, slow_client="close", rate_limit_capacity=1e9)
    seconds, rate = 4.0, 4e6
    blob = client_frame(json.dumps({"t": "publish", "p": {"topic": "a", "data": {"x": "x" * 8000}}}).encode())
    received = len(b'{"c":"U","x": ""}') + 8000 + 4
    with Client(running.port, "reader") as reader, Client(running.port, "speaker") as speaker:
        running.events.wait("connect", count=2)
        reader.send(json.dumps({"t": "subscription_update", "p": {"action": "subscribe", "topics": ["a"]}}))
        answer = json.loads(reader.frames(1)[0].payload)
        assert answer["p"]["success_topics"] == ["a"]
        neighbour = running.dial()
        sent = had = 0
        spoken = threading.Event()

        def speak() -> None:
            nonlocal sent
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                speaker.send_raw(blob, timeout=30)
                sent += 1
            # The last one comes when the sum is known.
            sent += 1
            spoken.set()
            speaker.send_raw(blob, timeout=30)

        def all_is_there(_: Client, data: bytes) -> bool:
            nonlocal had
            assert data, f"the reader was closed after {had} bytes"
            had += len(data)
            return spoken.is_set() and had == sent * received

        thread = threading.Thread(target=speak)
        thread.start()
        try:
            read_together([reader], all_is_there, timeout=60, rate=rate, rate_for=seconds + 1)
        finally:
            thread.join()
        assert is_alive(neighbour)
        assert sent * received > seconds * rate / 2


# ---- Who may ----


def test_the_access_list_decides_on_both(open_to_all: Factory) -> None:
    running = open_to_all()
    peer = running.dial()
    running.server.set_topic_acl(peer.conn_id, ["room:*"], ["room:secret"])
    answer = subscribe(peer, "room:1", "room:secret", "other", "room:*")
    assert answer["success_topics"] == ["room:1", "room:*"]
    assert answer["failed_topics"] == ["room:secret", "other"]
    assert answer["errors"] == {
        topic: {"code": "NOT_ALLOWED", "message": NOT_ALLOWED} for topic in ("room:secret", "other")
    }
    assert list(answer["recovery"]) == ["room:1"], "nothing is said of topics that may not be heard"
    publish(running, "room:secret", 1)
    publish(running, "room:2", 2)
    assert numbers(heard(running, peer)) == [2]
    for topic in ("room:secret", "other"):
        error = ask(peer, "publish", "7", topic=topic, data={"t": "n", "p": 3})
        assert (error["t"], error["cid"]) == ("error", "7")
        assert (error["p"]["code"], error["p"]["message"]) == ("NOT_ALLOWED", NOT_ALLOWED)
    assert ask(peer, "publish", "8", topic="room:3", data={"t": "n", "p": 4})["t"] == "n"
    assert peer.receive_json()["cid"] == "8"


def test_a_recovery_of_what_may_not_be_heard_replays_nothing(open_to_all: Factory) -> None:
    running = open_to_all()
    peer = running.dial()
    at = positions(subscribe(peer, "a"))
    publish(running, "a", 1)
    heard(running, peer)
    running.server.set_topic_acl(peer.conn_id, ["b"])
    assert peer.receive_json()["p"]["topics"] == ["a"]
    answer = subscribe(peer, "a", recovery=at)
    assert (answer["failed_topics"], answer["recovery"]) == (["a"], {})
    assert heard(running, peer) == []


def test_the_limit_of_subscriptions_holds_for_clients_too(open_to_all: Factory) -> None:
    running = open_to_all(max_subscriptions_per_connection=2)
    peer = running.dial()
    answer = subscribe(peer, "a", "b", "c")
    assert (answer["success_topics"], answer["failed_topics"]) == (["a", "b"], ["c"])
    assert answer["errors"]["c"]["message"] == "the limit of 2 subscriptions is reached"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, ["subscription_update", "subscription", "publish", "presence_update"]),
        ({"client_subscriptions": True}, ["publish"]),
        ({"client_publish": True}, ["subscription_update", "subscription", "presence_update"]),
        ({"client_subscriptions": True, "client_publish": True}, []),
    ],
)
def test_what_clients_may_not_do_themselves_reaches_the_application(
    server_factory: Factory, options: dict[str, Any], told: list[str]
) -> None:
    running = server_factory(**options)
    peer = running.dial()
    for kind in ("subscription_update", "subscription", "publish", "presence_update"):
        say(peer, kind, action="subscribe", topics=["a"])
    peer.send({"t": "end"})
    events = running.events.wait("msg", count=len(told) + 1)
    assert [data["t"] for _, _, data in events] == [*told, "end"]


def test_commands_count_as_messages(open_to_all: Factory) -> None:
    running = open_to_all(rate_limit_capacity=10, rate_limit_refill=0.01)
    peer = running.dial()
    for _ in range(20):
        say(peer, "publish", topic="a", data={"t": "n"})
    kinds = [peer.receive_json()["t"], peer.receive_json()["p"]["code"]]
    assert kinds == ["rate_limit_warning", "RATE_LIMITED"]
    wait_until(lambda: running.server.health_snapshot()["rate_limited"] == 10, "10 refused")
