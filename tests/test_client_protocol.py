"""What clients do themselves: they subscribe, come back, and publish, and each mistake is answered."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from sockets import Client, client_frame, read_together
from support import Peer, Running, start_server, wait_until
from wire import TEXT, connect

Factory = Callable[..., Running]
Message = dict[str, Any]

NOT_ALLOWED = "the access list does not allow it"
MEGABYTE = 1024 * 1024


@pytest.fixture
def open_to_all(server_factory: Factory) -> Factory:
    """Starts a server that lets clients do everything, with history."""
    return lambda **options: server_factory(
        **{"client_subscriptions": True, "client_publish": True, "recovery_enabled": True} | options
    )


def say(peer: Peer, kind: str, cid: str | None = None, /, **p: Any) -> None:
    message: Message = {"t": kind, "p": p}
    peer.send(message if cid is None else message | {"cid": cid})


def ask(peer: Peer, kind: str, cid: str | None = None, /, **p: Any) -> Message:
    """Sends a command and returns the next message."""
    say(peer, kind, cid, **p)
    return peer.receive_json()


def subscribe(peer: Peer, *topics: str, **more: Any) -> Message:
    """Subscribes and returns the payload of the answer."""
    answer = ask(peer, "subscription_update", action="subscribe", topics=list(topics), **more)
    assert (answer["c"], answer["t"], answer["v"]) == ("WSE", "subscription_update", 1), answer
    p: Message = answer["p"]
    return p


def unsubscribe(peer: Peer, *topics: str) -> Message:
    answer = ask(peer, "subscription_update", action="unsubscribe", topics=list(topics))
    p: Message = answer["p"]
    return p


def publish(running: Running, topic: str, *numbers: int) -> None:
    for n in numbers:
        running.server.broadcast(topic, json.dumps({"t": "n", "p": n}))


def heard(running: Running, peer: Peer) -> list[Message]:
    """What a client has heard up to now: a last message tells when that was everything."""
    running.server.send(peer.conn_id, '{"t":"[end]"}')
    messages: list[Message] = []
    while (message := peer.receive_json())["t"] != "[end]":
        messages.append(message)
    return messages


def numbers(messages: list[Message]) -> list[Any]:
    return [message["p"] for message in messages if message["t"] == "n"]


def is_alive(peer: Peer) -> bool:
    return bool(ask(peer, "ping", timestamp=1)["t"] == "PONG")


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


# ---- Bad input ----

TOO_LONG = "x" * 256
DEEP = "[" * 70 + "]" * 70


def with_p(kind: str, p: str) -> str:
    return f'{{"t":"{kind}","p":{p},"cid":"c"}}'


def in_subscribe(fields: str) -> str:
    return with_p("subscription_update", '{"action":"subscribe","topics":["a","b*"],' + fields + "}")


def in_recovery(value: str) -> str:
    return in_subscribe(f'"recovery":{{"a":{value}}}')


def in_data(data: str) -> str:
    return with_p("publish", f'{{"topic":"a","data":{data}}}')


BAD: list[tuple[str, str, str]] = [
    # What is asked for.
    (with_p("subscription_update", "null"), "INVALID_ACTION", "p must be an object, and is nothing"),
    (with_p("subscription_update", "true"), "INVALID_ACTION", "p must be an object, and is true or false"),
    (with_p("publish", '"x"'), "INVALID_ACTION", "p must be an object, and is a text"),
    (with_p("presence_update", "[]"), "INVALID_ACTION", "p must be an object, and is a list"),
    (with_p("subscription", "{}"), "INVALID_ACTION", "p.action is missing"),
    (
        with_p("subscription_update", '{"action":["subscribe"]}'),
        "INVALID_ACTION",
        "p.action must be a text, and is a list",
    ),
    (
        with_p("subscription_update", '{"action":"SUBSCRIBE"}'),
        "INVALID_ACTION",
        'p.action is "SUBSCRIBE"; "subscribe" and',
    ),
    # Topics.
    (with_p("subscription_update", '{"action":"subscribe"}'), "INVALID_ACTION", "p.topics is missing"),
    (
        with_p("subscription_update", '{"action":"subscribe","topics":{"a":1}}'),
        "INVALID_ACTION",
        "p.topics must be a list, and is an object",
    ),
    (
        with_p("subscription_update", '{"action":"unsubscribe","topics":[null]}'),
        "INVALID_ACTION",
        "p.topics[0] must be a text, and is nothing",
    ),
    (
        with_p("subscription_update", '{"action":"subscribe","topics":["a",""]}'),
        "INVALID_SUBSCRIPTION",
        'p.topics[1] is "": a topic has at least 1 byte',
    ),
    (
        with_p("subscription_update", '{"action":"subscribe","topics":["a\\n"]}'),
        "INVALID_SUBSCRIPTION",
        "a topic has no control characters, this one has U+000A",
    ),
    (
        with_p("subscription_update", f'{{"action":"subscribe","topics":["{TOO_LONG}"]}}'),
        "INVALID_SUBSCRIPTION",
        "a topic has at most 255 bytes of UTF-8, this one has 256",
    ),
    # Recovery.
    (in_subscribe('"recover":"yes"'), "INVALID_ACTION", "p.recover must be true or false, and is a text"),
    (in_subscribe('"recovery":"a"'), "INVALID_ACTION", "p.recovery must be an object, and is a text"),
    (in_recovery("[]"), "INVALID_ACTION", "and is a list"),
    (in_recovery("{}"), "INVALID_ACTION", 'p.recovery["a"] has no epoch'),
    (in_recovery('{"epoch":1,"offset":1}'), "INVALID_ACTION", 'p.recovery["a"] has no epoch'),
    (in_recovery('{"epoch":"x","offset":1}'), "INVALID_ACTION", 'p.recovery["a"] has no epoch'),
    (in_recovery('{"epoch":"deadbeef","offset":"1"}'), "INVALID_ACTION", 'p.recovery["a"] has no offset'),
    (in_recovery('{"epoch":"deadbeef","offset":-1}'), "INVALID_ACTION", 'p.recovery["a"] has no offset'),
    (in_recovery('{"epoch":"deadbeef","offset":1e3}'), "INVALID_ACTION", 'p.recovery["a"] has no offset'),
    (
        in_recovery('{"epoch":"deadbeef","offset":99999999999999999999}'),
        "INVALID_ACTION",
        'p.recovery["a"] has no offset',
    ),
    (
        in_subscribe('"recovery":{"z":{"epoch":"deadbeef","offset":1}}'),
        "INVALID_SUBSCRIPTION",
        'p.recovery names "z", which is not among p.topics',
    ),
    (
        in_subscribe('"recovery":{"b*":{"epoch":"deadbeef","offset":1}}'),
        "INVALID_SUBSCRIPTION",
        'p.recovery names "b*", which is a pattern',
    ),
    # Groups and presence.
    (in_subscribe('"queue_group":7'), "INVALID_ACTION", "p.queue_group must be a text, and is a number"),
    (in_subscribe('"queue_group":""'), "INVALID_SUBSCRIPTION", 'p.queue_group is ""'),
    (in_subscribe('"queue_group":"g","recover":true'), "INVALID_SUBSCRIPTION", "exclude each other"),
    (in_subscribe('"presence":[1]'), "INVALID_ACTION", "p.presence must be an object, and is a list"),
    (with_p("presence_update", "{}"), "INVALID_ACTION", "p.data is missing: it must be an object"),
    (with_p("presence_update", '{"data":"x"}'), "INVALID_ACTION", "p.data must be an object, and is a text"),
    # Publications.
    (with_p("publish", "{}"), "INVALID_ACTION", "p.topic is missing"),
    (with_p("publish", '{"topic":5,"data":{}}'), "INVALID_ACTION", "p.topic must be a text, and is a number"),
    (with_p("publish", '{"topic":"a?","data":{}}'), "INVALID_ACTION", "this is a pattern"),
    (with_p("publish", '{"topic":"a"}'), "INVALID_ACTION", "p.data is missing"),
    (in_data("null"), "INVALID_ACTION", "p.data is missing"),
    (in_data("5"), "INVALID_ACTION", "p.data must be an object, the message, and is a number"),
    (in_data('{"e":"deadbeef"}'), "INVALID_ACTION", 'p.data must not have a field "e"'),
    (in_data('{"\\u0074\\u0070":1}'), "INVALID_ACTION", 'p.data must not have a field "tp"'),
    (in_data('{"c":"WSE"}'), "NOT_ALLOWED", "p.data.c is not for a client to say"),
    (in_data('{"c":null}'), "NOT_ALLOWED", "p.data.c is not for a client to say"),
    (in_data('{"t":"error"}'), "NOT_ALLOWED", 'p.data.t is "error"'),
    (in_data('{"t":"chat","t":"ping","t":"chat"}'), "NOT_ALLOWED", 'p.data.t is "ping"'),
    (in_data('{"type":"subscription_update"}'), "NOT_ALLOWED", 'p.data.type is "subscription_update"'),
    # JSON itself.
    (in_subscribe('"action":"unsubscribe"'), "INVALID_ACTION", 'p has the field "action" twice'),
    ('{"t":"chat","t":"publish","p":{},"cid":"c"}', "INVALID_ACTION", 'the message has the field "t" twice'),
    ('{"t":"publish","p":{},"cid":"c","cid":"d"}', "INVALID_ACTION", 'the message has the field "cid" twice'),
    (
        in_recovery('{"epoch":"deadbeef","offset":NaN}'),
        "INVALID_ACTION",
        "the message is no JSON: expected value at line 1",
    ),
    (in_data('{"x":-Infinity}'), "INVALID_ACTION", "the message is no JSON: "),
    (in_data('{"x":1e400}'), "INVALID_ACTION", "the message is no JSON: number out of range"),
    (in_data('{"x":"\\ud800"}'), "INVALID_ACTION", "the message is no JSON: "),
    (in_data('{"x":"\\x"}'), "INVALID_ACTION", "the message is no JSON: invalid escape"),
    (in_data("{'x':1}"), "INVALID_ACTION", "the message is no JSON: "),
    (in_data('{"x":01}'), "INVALID_ACTION", "the message is no JSON: invalid number"),
    (in_data('{"x":1,}'), "INVALID_ACTION", "the message is no JSON: trailing comma"),
    (in_data(f'{{"x":{DEEP}}}'), "INVALID_ACTION", "the message is nested deeper than 64 levels"),
    (f'{{"t":"ping","p":{DEEP}}}', "INVALID_ACTION", "the message is nested deeper than 64 levels"),
    (f'{{"t":"client_hello","p":{DEEP}}}', "INVALID_ACTION", "the message is nested deeper than 64 levels"),
    ('{"t":"client_hello","p":' + "[" * 100_000, "INVALID_ACTION", "the message is nested deeper than 64"),
    (
        in_data('{"x":' * 100_000 + "1" + "}" * 100_000),
        "INVALID_ACTION",
        "the message is nested deeper than 64",
    ),
    # Sizes.
    (
        in_data("[" + "0," * 400_000 + "0]"),
        "INVALID_ACTION",
        "p.data must be an object, the message, and is a list",
    ),
    (
        with_p("subscription_update", '{"action":"subscribe","topics":[' + '"a",' * 200_000 + '"a"]}'),
        "INVALID_ACTION",
        "p.topics may have at most 1024 items",
    ),
    (
        with_p("subscription_update", '{"action":"' + "x" * 1_000_000 + '"}'),
        "INVALID_ACTION",
        'p.action is "xxxxxxxx',
    ),
    (
        with_p("subscription_update", "{" + ",".join(f'"f{n}":1' for n in range(50_000)) + "}"),
        "INVALID_ACTION",
        "p may have at most 64 fields, and has more",
    ),
    (
        '{"t":"publish","p":{},"cid":"' + "x" * 129 + '"}',
        "INVALID_ACTION",
        "cid must have 1 to 128 bytes, and has 129",
    ),
    ('{"t":"publish","p":{},"cid":{}}', "INVALID_ACTION", "cid must be a text, and is an object"),
]


@pytest.fixture(scope="module")
def lasting() -> Iterator[tuple[Running, Peer]]:
    """One server and one client for the whole table: what one line of it breaks, the next would show."""
    with start_server(client_subscriptions=True, client_publish=True) as running:
        yield running, running.dial()


@pytest.mark.parametrize(("text", "code", "message"), BAD, ids=lambda value: str(value)[:60])
def test_a_mistake_is_answered_with_its_name_and_the_connection_lives(
    lasting: tuple[Running, Peer], text: str, code: str, message: str
) -> None:
    running, peer = lasting
    told = len(running.events.of("msg", "raw"))
    peer.send(text)
    error = peer.receive_json()
    assert (error["c"], error["t"], error["v"]) == ("WSE", "error", 1), error
    assert error["p"]["code"] == code
    assert message in error["p"]["message"]
    assert len(error["p"]["message"]) < 300
    assert error.get("cid") in (None, "c")
    assert is_alive(peer)
    assert running.server.get_connection_info(peer.conn_id)["topics"] == []  # type: ignore[index]
    assert len(running.events.of("msg", "raw")) == told


def test_text_that_is_not_utf8_is_no_message_at_all(open_to_all: Factory) -> None:
    # There the protocol itself is broken: RFC 6455, section 8.1.
    running = open_to_all()
    wire, _ = connect(running)
    with wire:
        wire.send(TEXT, b'{"t":"publish","p":{"topic":"a\xff","data":{}}}')
        assert wire.frame().close[0] == 1007


def test_mistakes_by_the_thousand_are_answered_or_counted_and_harm_nobody(open_to_all: Factory) -> None:
    running = open_to_all(shards=1)
    peer, neighbour = running.dial(), running.dial()
    count = 5000

    def send() -> None:
        for _ in range(count):
            peer.send('{"t":"publish"}')

    sender = threading.Thread(target=send)
    sender.start()
    for _ in range(20):
        assert is_alive(neighbour)
    assert {peer.receive_json()["p"]["code"] for _ in range(count)} == {"INVALID_ACTION"}
    sender.join()
    assert is_alive(peer)


def test_a_client_that_reads_no_answers_is_closed_and_costs_no_more_than_its_limit(
    open_to_all: Factory,
) -> None:
    running = open_to_all(shards=1, max_outbound_queue_bytes=MEGABYTE, rate_limit_capacity=1e6)
    with Client(running.port, "deaf") as deaf:
        ((_, conn_id, _),) = running.events.wait("connect")
        flood = client_frame(b'{"t":"publish"}') * 1000
        with suppress(OSError):
            for _ in range(1000):
                deaf.send_raw(flood)
        wait_until(lambda: conn_id not in running.server.get_connections(), "the end of the deaf client")


def test_a_message_longer_than_any_client_may_be_behind_is_refused(open_to_all: Factory) -> None:
    running = open_to_all(max_outbound_queue_bytes=4096)
    peer = running.dial()
    error = ask(peer, "publish", "7", topic="a", data={"x": "x" * 5000})
    assert (error["cid"], error["p"]["code"]) == ("7", "INVALID_ACTION")
    assert "longer than max_outbound_queue_bytes (4096)" in error["p"]["message"]
