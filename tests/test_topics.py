"""Topics and patterns: who hears what, once each, and what is refused."""

from __future__ import annotations

import fnmatch
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support import Peer, Running, wait_until
from wse_server import RustWSEServer

Factory = Callable[..., Running]


def heard(running: Running, *peers: Peer) -> list[list[str]]:
    """What each of them has heard up to now: a last message to all of them tells when that was everything."""
    running.server.broadcast_all("[end]")
    everything = []
    for peer in peers:
        messages = []
        while (message := peer.receive()) != "[end]":
            assert isinstance(message, str)
            messages.append(message)
        everything.append(messages)
    return everything


def publish(running: Running, *topics: str) -> None:
    """Publishes to each of the topics its own name."""
    for topic in topics:
        running.server.broadcast(topic, topic)


# ---- Who hears what ----


def test_subscribers_hear_their_topic_and_nothing_else(running: Running) -> None:
    a, b, both, none = (
        running.subscriber("a"),
        running.subscriber("b"),
        running.subscriber("a"),
        running.dial(),
    )
    running.server.subscribe_connection(both.conn_id, ["b"])
    publish(running, "a", "b", "c", "A", "a ")
    assert heard(running, a, b, both, none) == [["a"], ["b"], ["a", "b"], []]


@pytest.mark.parametrize(
    ("pattern", "hit", "miss"),
    [
        ("prices.*", ["prices.", "prices.eur", "prices.a.b"], ["prices", "price.eur", "xprices.a"]),
        ("*", ["a", "a.b", "é"], []),
        ("*.eur", [".eur", "a.eur", "a.b.eur"], ["eur", "a.eur.b", "a.euro"]),
        ("a*c*e", ["ace", "abcde", "acce", "a.c.c.e"], ["ac", "aec", "abcd", "ace."]),
        ("room:?", ["room:1", "room:é", "room:😀", "room:*"[:-1] + "x"], ["room:", "room:12"]),
        ("?", ["a", "é", "😀"], ["ab"]),
        ("a?*", ["ab", "a.b.c"], ["a"]),
        ("**", ["a", "ab"], []),
        ("[ab]*", ["[ab]", "[ab]c"], ["a", "b", "ab"]),
        ("a.b*", ["a.b", "a.bc"], ["axb"]),
    ],
)
def test_patterns(running: Running, pattern: str, hit: list[str], miss: list[str]) -> None:
    before, after = running.subscriber(pattern), running.dial()
    publish(running, *hit, *miss)
    # A pattern counts also for topics that were published before it came.
    running.server.subscribe_connection(after.conn_id, [pattern])
    publish(running, *hit, *miss)
    assert heard(running, before, after) == [hit * 2, hit]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    patterns=st.lists(st.text("ab.*?é", min_size=1, max_size=5), min_size=1, max_size=4),
    topics=st.lists(st.text("ab.é", min_size=1, max_size=5), min_size=1, max_size=4),
)
def test_patterns_mean_what_they_mean_in_a_shell(
    shared: Shared, patterns: list[str], topics: list[str]
) -> None:
    server, peer = shared.running.server, shared.peer
    server.subscribe_connection(peer.conn_id, patterns)
    publish(shared.running, *topics)
    expected = [topic for topic in topics if any(fnmatch.fnmatchcase(topic, pattern) for pattern in patterns)]
    assert heard(shared.running, peer) == [expected]
    server.unsubscribe_connection(peer.conn_id)
    publish(shared.running, *topics)
    assert heard(shared.running, peer) == [[]]


class Shared:
    """One client of one server for many examples."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.peer = running.dial()


@pytest.fixture
def shared(running: Running) -> Shared:
    return Shared(running)


def test_a_connection_that_matches_several_ways_hears_each_message_once(running: Running) -> None:
    every = running.subscriber("a.b")
    running.server.subscribe_connection(every.conn_id, ["a.b", "a.*", "*.b", "a?b", "*"])
    exact = running.subscriber("a.b")
    running.server.subscribe_connection(exact.conn_id, ["a.b"])
    publish(running, "a.b", "a.c", "x.b", "y")
    running.server.broadcast_many("a.b", ["1", "2"])
    assert heard(running, every, exact) == [["a.b", "a.c", "x.b", "y", "1", "2"], ["a.b", "1", "2"]]


def test_a_message_for_all_reaches_each_once_whatever_its_topics(running: Running) -> None:
    peers = [running.subscriber("a"), running.subscriber("*"), running.dial()]
    running.server.broadcast_all('{"c":"U","n":1}')
    assert heard(running, *peers) == [['{"c":"U","n":1}']] * 3


def test_what_is_published_after_the_call_arrives(running: Running) -> None:
    # G4: no message is missed between the answer of subscribe and the first publication.
    peer = running.dial()
    for n in range(300):
        running.server.subscribe_connection(peer.conn_id, [f"t{n}"])
        running.server.broadcast(f"t{n}", str(n))
    assert heard(running, peer) == [[str(n) for n in range(300)]]


def test_topics_are_text_of_any_kind(running: Running) -> None:
    for topic in ("x", "x" * 255, "é" * 127, " ", "a b", "/a/b", "user:42", "😀", "{x", '"'):
        peer = running.subscriber(topic)
        publish(running, topic)
        assert heard(running, peer) == [[topic]]
        peer.close()


def test_publishing_where_nobody_listens_does_nothing(running: Running) -> None:
    peer = running.dial()
    publish(running, "nobody", "nobody")
    running.server.broadcast_many("nobody", ["x"] * 1000)
    assert heard(running, peer) == [[]]
    assert running.server.health_snapshot()["topics"] == 0


# ---- The answer of subscribe, and the counts ----


def test_topics_given_together_are_subscribed_together(running: Running) -> None:
    peer = running.dial()
    topics = ["b", "a.*", "a", "b"]
    answer = running.server.subscribe_connection(peer.conn_id, topics)
    assert answer == {"subscribed": topics, "refused": {}, "confirmed": True}
    info = running.server.get_connection_info(peer.conn_id)
    assert info is not None
    assert info["topics"] == ["a", "a.*", "b"]
    assert running.server.subscribe_connection(peer.conn_id, []) == {
        "subscribed": [],
        "refused": {},
        "confirmed": True,
    }


def test_any_collection_of_topics_will_do(running: Running) -> None:
    peer = running.dial()
    collections: list[Any] = [
        ("a", "b"),
        {"a", "b"},
        frozenset("ab"),
        dict.fromkeys("ab").keys(),
        iter(["a", "b"]),
    ]
    for topics in collections:
        assert set(running.server.subscribe_connection(peer.conn_id, topics)["subscribed"]) == {"a", "b"}
        running.server.unsubscribe_connection(peer.conn_id, ("a", "b"))
        assert running.server.get_topic_subscriber_count("a") == 0


def test_subscribers_are_counted(running: Running) -> None:
    server = running.server
    peers = [running.subscriber("a") for _ in range(5)]
    server.subscribe_connection(peers[0].conn_id, ["a", "*", "b"])
    counts = {topic: server.get_topic_subscriber_count(topic) for topic in ("a", "b", "*", "c", "a.*")}
    assert counts == {"a": 5, "b": 1, "*": 1, "c": 0, "a.*": 0}
    assert server.health_snapshot()["topics"] == 2
    server.unsubscribe_connection(peers[0].conn_id, ["a"])
    assert server.get_topic_subscriber_count("a") == 4
    peers[1].close()
    wait_until(lambda: server.get_topic_subscriber_count("a") == 3, "one less by its leaving")
    server.disconnect(peers[2].conn_id)
    wait_until(lambda: server.get_topic_subscriber_count("a") == 2, "one less by disconnect")
    for peer in peers:
        server.unsubscribe_connection(peer.conn_id)
    wait_until(lambda: server.health_snapshot()["topics"] == 0, "no topic left")


def test_unsubscribing_some_leaves_the_others(running: Running) -> None:
    peer = running.dial()
    running.server.subscribe_connection(peer.conn_id, ["a", "b", "c.*", "d"])
    running.server.unsubscribe_connection(peer.conn_id, ["a", "c.*", "never subscribed"])
    publish(running, "a", "b", "c.x", "d")
    assert heard(running, peer) == [["b", "d"]]


def test_unsubscribing_a_topic_does_not_end_a_pattern_that_means_it(running: Running) -> None:
    peer = running.dial()
    running.server.subscribe_connection(peer.conn_id, ["a.b", "a.*"])
    running.server.unsubscribe_connection(peer.conn_id, ["a.b"])
    publish(running, "a.b")
    assert heard(running, peer) == [["a.b"]]
    running.server.unsubscribe_connection(peer.conn_id, ["a.*"])
    publish(running, "a.b")
    assert heard(running, peer) == [[]]


def test_unsubscribing_from_everything(running: Running) -> None:
    peer, other = running.dial(), running.subscriber("a")
    running.server.subscribe_connection(peer.conn_id, ["a", "b", "*"])
    running.server.unsubscribe_connection(peer.conn_id)
    publish(running, "a", "b", "c")
    assert heard(running, peer, other) == [[], ["a"]]
    running.server.unsubscribe_connection(other.conn_id, [])
    publish(running, "a")
    assert heard(running, other) == [["a"]]


def test_what_was_published_before_unsubscribing_still_arrives(running: Running) -> None:
    peer = running.dial()
    for n in range(200):
        running.server.subscribe_connection(peer.conn_id, ["t"])
        running.server.broadcast("t", str(n))
        running.server.unsubscribe_connection(peer.conn_id, ["t"])
        running.server.broadcast("t", "no")
    assert heard(running, peer) == [[str(n) for n in range(200)]]


def test_two_threads_that_change_one_connection_do_not_lose_each_others_topics(running: Running) -> None:
    peer = running.dial()

    def work(name: str) -> None:
        for n in range(300):
            running.server.subscribe_connection(peer.conn_id, [f"{name}{n}", f"{name}{n}.*"])
            running.server.unsubscribe_connection(peer.conn_id, [f"{name}{n}.*"])

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    info = running.server.get_connection_info(peer.conn_id)
    assert info is not None
    assert info["topics"] == sorted(f"{name}{n}" for name in "ab" for n in range(300))
    topics = [f"{name}{n}" for name in "ab" for n in range(300)]
    publish(running, *topics)
    assert heard(running, peer) == [topics]


# ---- Limits and mistakes ----


def test_no_more_subscriptions_than_allowed(server_factory: Factory) -> None:
    running = server_factory(max_subscriptions_per_connection=3)
    peer, other = running.dial(), running.dial()
    answer = running.server.subscribe_connection(peer.conn_id, ["a", "b*", "c", "d", "a", "e"])
    assert answer["subscribed"] == ["a", "b*", "c", "a"]
    assert set(answer["refused"]) == {"d", "e"}
    assert "3" in answer["refused"]["d"]
    publish(running, "a", "bx", "c", "d", "e")
    assert heard(running, peer) == [["a", "bx", "c"]]
    # One that goes makes room for another, and each connection has its own.
    running.server.unsubscribe_connection(peer.conn_id, ["b*"])
    assert running.server.subscribe_connection(peer.conn_id, ["d"])["subscribed"] == ["d"]
    assert running.server.subscribe_connection(other.conn_id, ["a", "b", "c"])["refused"] == {}


MALFORMED = ["", "x" * 256, "é" * 128, "a\nb", "a\x00", "\x7f", "a\u0085b", "\t"]


@pytest.mark.parametrize("topic", MALFORMED)
def test_a_malformed_topic_is_refused_and_named(running: Running, topic: str) -> None:
    peer = running.dial()
    server = running.server
    calls: list[Callable[[], object]] = [
        lambda: server.subscribe_connection(peer.conn_id, ["good", topic]),
        lambda: server.unsubscribe_connection(peer.conn_id, [topic]),
        lambda: server.get_topic_subscriber_count(topic),
        lambda: server.broadcast(topic, "x"),
        lambda: server.broadcast_local(topic, "x"),
        lambda: server.broadcast_many(topic, ["x"]),
    ]
    shown = json.dumps(topic[:60], ensure_ascii=False)[1:-1] if topic.isprintable() else ""
    for call in calls:
        with pytest.raises(ValueError, match="topic") as caught:
            call()
        assert shown in str(caught.value)
        # The message is one line, whatever the topic.
        assert "\n" not in str(caught.value)
    # All or nothing.
    assert server.get_topic_subscriber_count("good") == 0


def test_a_topic_with_a_lone_surrogate_is_a_value_error(running: Running) -> None:
    peer = running.dial()
    server = running.server
    calls: list[Callable[[], object]] = [
        lambda: server.subscribe_connection(peer.conn_id, ["\ud800"]),
        lambda: server.broadcast("\ud800", "x"),
        lambda: server.get_topic_subscriber_count("\ud800"),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"surrogate"):
            call()


@pytest.mark.parametrize("pattern", ["a.*", "*", "room:?"])
def test_publishing_to_a_pattern_is_refused(running: Running, pattern: str) -> None:
    running.subscriber(pattern)
    server = running.server
    calls: list[Callable[[], object]] = [
        lambda: server.broadcast(pattern, "x"),
        lambda: server.broadcast_local(pattern, "x"),
        lambda: server.broadcast_many(pattern, ["x"]),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="pattern") as caught:
            call()
        assert pattern in str(caught.value)


@pytest.mark.parametrize("topics", ["news", b"news", 5, None, [5], ["a", None], [b"a"], [["a"]]])
def test_topics_must_be_a_list_of_texts(running: Running, topics: object) -> None:
    peer = running.dial()
    wrong: Any = topics
    with pytest.raises(TypeError, match="topics must be a list of str"):
        running.server.subscribe_connection(peer.conn_id, wrong)
    if topics is not None:
        with pytest.raises(TypeError, match="topics must be a list of str"):
            running.server.unsubscribe_connection(peer.conn_id, wrong)
    assert running.server.health_snapshot()["topics"] == 0


def test_a_closed_or_unknown_connection_is_refused_for_every_topic(running: Running) -> None:
    gone = running.dial()
    gone.close()
    running.events.wait("disconnect")
    for conn_id in (gone.conn_id, "nobody", "", "0" * 28, "é" * 14, gone.conn_id.upper() + "x"):
        answer = running.server.subscribe_connection(conn_id, ["a", "b.*"])
        assert answer["subscribed"] == []
        assert set(answer["refused"]) == {"a", "b.*"}
        assert all(answer["refused"].values())
        running.server.unsubscribe_connection(conn_id, ["a"])
        running.server.unsubscribe_connection(conn_id)
    assert running.server.get_topic_subscriber_count("a") == 0
    # A mistake is one also when nobody is there.
    with pytest.raises(ValueError, match="topic"):
        running.server.subscribe_connection("nobody", [""])


def test_an_id_of_another_server_is_unknown(server_factory: Factory) -> None:
    one, two = server_factory(), server_factory()
    stranger = one.dial()
    member = two.dial()
    assert two.server.subscribe_connection(stranger.conn_id, ["a"])["subscribed"] == []
    two.server.send(stranger.conn_id, "x")
    two.server.disconnect(stranger.conn_id)
    assert two.server.get_connection_info(stranger.conn_id) is None
    assert heard(two, member) == [[]]
    assert heard(one, stranger) == [[]]


def test_subscribing_without_a_running_server_is_harmless() -> None:
    server = RustWSEServer("127.0.0.1", 0)
    answer = server.subscribe_connection("nobody", ["a"])
    assert (answer["subscribed"], set(answer["refused"])) == ([], {"a"})
    server.unsubscribe_connection("nobody")
    assert server.get_topic_subscriber_count("a") == 0


def test_subscribing_need_not_wait(running: Running) -> None:
    peer = running.dial()
    assert running.server.subscribe_connection(peer.conn_id, ["a"], None, None, 0)["confirmed"] is True


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf")])
def test_a_timeout_that_is_no_time_is_refused(running: Running, timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        running.server.subscribe_connection("x", ["a"], timeout=timeout)
    with pytest.raises(ValueError, match="timeout"):
        running.server.broadcast("a", "x", timeout=timeout)


def test_publish_levels_of_a_single_node(running: Running) -> None:
    peer = running.subscriber("a")
    running.server.broadcast("a", "1", wait="local")
    running.server.broadcast("a", "2", wait="stored", timeout=0)
    assert heard(running, peer) == [["1", "2"]]
    wrong: Any = "everywhere"
    with pytest.raises(ValueError, match="wait") as caught:
        running.server.broadcast("a", "x", wait=wrong)
    assert "everywhere" in str(caught.value)
    assert "stored" in str(caught.value)
