"""Access lists: who may hear which topic, from a token or from the program, while a connection lives."""

from __future__ import annotations

import fnmatch
import itertools
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loglines import LogLines
from support import Peer, Running, wait_until
from wse_server import RustWSEServer

Factory = Callable[..., Running]
SECRET = "a secret that has more than thirty-two bytes"
NOT_ALLOWED = "the access list does not allow it"


def heard(running: Running, peer: Peer) -> list[str]:
    """What a client has heard up to now: a last message tells when that was everything."""
    running.server.send(peer.conn_id, "[end]")
    messages = []
    while (message := peer.receive()) != "[end]":
        assert isinstance(message, str)
        messages.append(message)
    return messages


def publish(running: Running, *topics: str) -> None:
    """Publishes to each of the topics its own name."""
    for topic in topics:
        running.server.broadcast(topic, topic)


def topics_of(running: Running, peer: Peer) -> list[str]:
    info = running.server.get_connection_info(peer.conn_id)
    assert info is not None
    return info["topics"]


# ---- What a list lets through ----


@pytest.mark.parametrize(
    ("allow", "deny", "allowed", "refused"),
    [
        (None, None, ["a", "x.*", "*"], []),
        ([], None, [], ["a", "x.*", "*"]),
        ([], [], [], ["a", "*"]),
        (None, [], ["a", "*"], []),
        (["a", "room:*"], None, ["a", "room:", "room:1", "room:1:*", "*"], ["b", "roo", "a2", "b*"]),
        (["room:?"], None, ["room:1", "room:é", "room:?", "room:*"], ["room:", "room:12", "room:1?"]),
        (None, ["room:secret*"], ["room:1", "room:*", "other"], ["room:secret", "room:secret:*"]),
        (["room:*"], ["room:1"], ["room:2", "room:12", "room:*"], ["room:1", "lobby"]),
        (["a"], ["a"], [], ["a", "*"]),
        (["*"], ["*"], [], ["a", "a.b", "*"]),
    ],
)
def test_deny_wins_over_allow_and_what_is_not_allowed_is_refused(
    running: Running,
    allow: list[str] | None,
    deny: list[str] | None,
    allowed: list[str],
    refused: list[str],
) -> None:
    peer = running.dial()
    assert running.server.set_topic_acl(peer.conn_id, allow, deny) == []
    answer = running.server.subscribe_connection(peer.conn_id, allowed + refused)
    assert answer == {
        "subscribed": allowed,
        "refused": dict.fromkeys(refused, NOT_ALLOWED),
        "confirmed": True,
    }
    assert topics_of(running, peer) == sorted(allowed)


def test_a_refused_topic_is_not_heard(running: Running) -> None:
    peer = running.dial()
    running.server.set_topic_acl(peer.conn_id, deny=["secret"])
    running.server.subscribe_connection(peer.conn_id, ["secret", "open"])
    publish(running, "secret", "open")
    assert heard(running, peer) == ["open"]
    assert running.server.get_topic_subscriber_count("secret") == 0


def test_a_pattern_delivers_its_allowed_part(running: Running) -> None:
    # G10: a pattern never delivers a topic that the access list would not.
    free, one, other = running.subscriber("*"), running.dial(), running.dial()
    running.server.set_topic_acl(one.conn_id, ["room:*"], ["room:secret"])
    running.server.set_topic_acl(other.conn_id, ["user:*"])
    # A publisher that was there before: what it knows of the topics must not outlast the subscription.
    topics = ["room:1", "room:secret", "user:1", "else"]
    publish(running, *topics)
    for peer in (one, other):
        running.server.subscribe_connection(peer.conn_id, ["*", "room:*"])
    assert topics_of(running, one) == ["*", "room:*"]
    assert topics_of(running, other) == ["*"]
    publish(running, *topics)
    running.server.broadcast_many("room:secret", ["a", "b"])
    running.server.broadcast_many("room:1", ["c", "d"])
    assert heard(running, free) == [*topics, *topics, "a", "b", "c", "d"]
    assert heard(running, one) == ["room:1", "c", "d"]
    assert heard(running, other) == ["user:1"]
    assert running.server.get_topic_subscriber_count("*") == 3


def test_whoever_subscribes_later_does_not_widen_what_others_hear(running: Running) -> None:
    guarded = running.dial()
    running.server.set_topic_acl(guarded.conn_id, deny=["a.secret"])
    running.server.subscribe_connection(guarded.conn_id, ["a.*"])
    free = running.subscriber("a.*")
    exact = running.subscriber("a.secret")
    publish(running, "a.secret", "a.open")
    assert heard(running, guarded) == ["a.open"]
    assert heard(running, free) == ["a.secret", "a.open"]
    running.server.unsubscribe_connection(free.conn_id, ["a.*"])
    publish(running, "a.secret", "a.open")
    running.server.unsubscribe_connection(guarded.conn_id, ["a.*"])
    publish(running, "a.open")
    assert heard(running, guarded) == ["a.open"]
    assert heard(running, free) == []
    assert heard(running, exact) == ["a.secret", "a.secret"]
    assert topics_of(running, guarded) == []
    assert running.server.get_topic_subscriber_count("a.*") == 0


class Guarded:
    """Two clients of one server for many examples."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.peers = [running.dial(), running.dial()]


@pytest.fixture
def guarded(running: Running) -> Guarded:
    return Guarded(running)


FILTER = st.text("ab*?é", min_size=1, max_size=4)
LIST = st.none() | st.lists(FILTER, max_size=3)


def meant(patterns: list[str] | None, topic: str) -> bool:
    return any(fnmatch.fnmatchcase(topic, pattern) for pattern in patterns or [])


def allows(acl: tuple[list[str] | None, list[str] | None], topic: str) -> bool:
    allow, deny = acl
    return (allow is None or meant(allow, topic)) and not meant(deny, topic)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    filters=st.lists(FILTER, min_size=1, max_size=4, unique=True),
    acls=st.lists(st.tuples(LIST, LIST), min_size=1, max_size=4),
    topics=st.lists(st.text("abé", min_size=1, max_size=4), min_size=1, max_size=5),
)
def test_nothing_is_heard_but_what_is_allowed_and_all_of_that(
    guarded: Guarded,
    filters: list[str],
    acls: list[tuple[list[str] | None, list[str] | None]],
    topics: list[str],
) -> None:
    server = guarded.running.server
    peer, free = guarded.peers
    server.subscribe_connection(free.conn_id, filters)
    server.set_topic_acl(peer.conn_id)
    for acl in acls:
        server.subscribe_connection(peer.conn_id, filters)
        before = topics_of(guarded.running, peer)
        ended = server.set_topic_acl(peer.conn_id, *acl)
        assert sorted(topics_of(guarded.running, peer) + ended) == before
        publish(guarded.running, *topics)
        said = heard(guarded.running, peer)
        if ended:
            error = json.loads(said.pop(0))
            assert error["p"]["code"] == "NOT_ALLOWED"
            assert error["p"]["topics"] == ended
        assert said == [topic for topic in topics if meant(before, topic) and allows(acl, topic)]
        assert heard(guarded.running, free) == [topic for topic in topics if meant(filters, topic)]
    for one in guarded.peers:
        server.unsubscribe_connection(one.conn_id)
    publish(guarded.running, *topics)
    assert [heard(guarded.running, one) for one in guarded.peers] == [[], []]
    assert server.health_snapshot()["topics"] == 0


# ---- The claim of a token ----


def token(**more: object) -> str:
    return jwt.encode({"sub": "user-1", "exp": int(time.time()) + 60, **more}, SECRET, algorithm="HS256")


def ready(running: Running, **claims: object) -> Peer:
    """A client with these claims that was told `server_ready`."""
    peer = running.dial(token=token(**claims))
    assert peer.receive_json()["t"] == "server_ready"
    return peer


@pytest.mark.parametrize(
    ("claim", "subscribed"),
    [
        ({"allow": ["a", "b.*"]}, ["a", "b.x", "*"]),
        ({"allow": ["a", "b.*"], "deny": ["b.x"]}, ["a", "*"]),
        ({"deny": ["a"]}, ["b.x", "c", "*"]),
        ({"allow": []}, []),
        ({"allow": ["*"], "deny": []}, ["a", "b.x", "c", "*"]),
    ],
)
def test_the_claim_of_a_token_sets_the_list(
    server_factory: Factory, claim: dict[str, list[str]], subscribed: list[str]
) -> None:
    running = server_factory(jwt_secret=SECRET)
    peer = ready(running, wse_topics=claim)
    answer = running.server.subscribe_connection(peer.conn_id, ["a", "b.x", "c", "*"])
    assert answer["subscribed"] == subscribed
    # The program has the last word.
    running.server.set_topic_acl(peer.conn_id)
    assert running.server.subscribe_connection(peer.conn_id, ["a", "b.x", "c", "*"])["refused"] == {}


@pytest.mark.parametrize(
    "claim",
    [
        None,
        True,
        7,
        "*",
        [],
        ["*"],
        {},
        {"allow": None},
        {"allow": "*"},
        {"allow": ["*", 1]},
        {"allow": ["*"], "deny": None},
        {"allow": ["*"], "deny": [""]},
        {"allow": ["*"], "also": ["*"]},
        {"alow": ["*"]},
        {"Deny": ["a"]},
        {"allow": ["*", "a\nb"]},
        {"allow": ["x" * 256, "*"]},
    ],
    ids=json.dumps,
)
def test_a_malformed_claim_allows_nothing(server_factory: Factory, claim: object) -> None:
    # G10: closed by default.
    running = server_factory(jwt_secret=SECRET)
    peer = ready(running, wse_topics=claim)
    answer = running.server.subscribe_connection(peer.conn_id, ["a", "*"])
    assert answer["subscribed"] == []
    assert answer["refused"] == {"a": NOT_ALLOWED, "*": NOT_ALLOWED}
    publish(running, "a")
    assert heard(running, peer) == []


def test_the_log_says_what_is_wrong_with_a_claim(server_factory: Factory) -> None:
    running = server_factory(jwt_secret=SECRET)
    with LogLines() as lines:

        def told() -> list[str]:
            # At most one such line comes in five seconds, and another test may have caused the last.
            ready(running, wse_topics={"alow": ["*"]}).close()
            return [line for line in lines.lines if "wse_topics" in line]

        line = wait_until(told, "a line about the claim")[0]
    assert line.startswith("WARNING")
    assert "malformed" in line
    assert "'allow'" in line


def test_without_a_claim_everything_is_allowed(server_factory: Factory) -> None:
    running = server_factory(jwt_secret=SECRET)
    peer = ready(running)
    assert running.server.subscribe_connection(peer.conn_id, ["a", "*"])["refused"] == {}


def test_the_next_client_does_not_inherit_the_list_of_the_last(running: Running) -> None:
    first = running.dial()
    running.server.set_topic_acl(first.conn_id, allow=[])
    first.close()
    running.events.wait("disconnect")
    second = running.dial()
    assert running.server.subscribe_connection(second.conn_id, ["a"])["refused"] == {}
    # The list of one that is gone is gone, also when the number of its place is used again.
    assert running.server.set_topic_acl(first.conn_id, allow=[]) == []
    assert running.server.subscribe_connection(second.conn_id, ["b"])["refused"] == {}


# ---- A change while the connection lives ----


def test_narrowing_ends_what_is_no_longer_allowed_and_says_so(running: Running) -> None:
    peer, other = running.dial(), running.dial()
    topics = ["a", "b", "room:*", "user:*"]
    for each in (peer, other):
        running.server.subscribe_connection(each.conn_id, topics)
    publish(running, "a")
    ended = running.server.set_topic_acl(peer.conn_id, ["b", "room:1", "room:2"], ["room:2"])
    assert ended == ["a", "user:*"]
    publish(running, "a", "b", "room:1", "room:2", "room:3", "user:1")
    first, error, *rest = heard(running, peer)
    assert first == "a", "what was published before arrives"
    told = json.loads(error)
    assert list(told) == ["c", "t", "p", "v"]
    assert (told["c"], told["t"], told["v"]) == ("WSE", "error", 1)
    assert told["p"]["code"] == "NOT_ALLOWED"
    assert told["p"]["topics"] == ["a", "user:*"]
    assert told["p"]["count"] == 2
    assert rest == ["b", "room:1"]
    assert topics_of(running, peer) == ["b", "room:*"]
    assert heard(running, other) == ["a", "a", "b", "room:1", "room:2", "room:3", "user:1"]
    assert running.server.get_topic_subscriber_count("a") == 1


def test_of_many_ended_subscriptions_some_are_named(running: Running) -> None:
    peer = running.dial()
    topics = [f"t{n:03}" + "x" * 200 for n in range(100)]
    running.server.subscribe_connection(peer.conn_id, topics)
    assert running.server.set_topic_acl(peer.conn_id, allow=[]) == topics
    told = peer.receive_json()
    assert told["p"]["topics"] == topics[:16]
    assert told["p"]["count"] == 100


def test_what_changes_nothing_says_nothing(running: Running) -> None:
    peer = running.dial()
    running.server.subscribe_connection(peer.conn_id, ["a", "b.*"])
    for acl in ((None, None), (["*"], None), (None, ["c"]), (["a", "b.*"], ["c"])):
        assert running.server.set_topic_acl(peer.conn_id, *acl) == []
        publish(running, "a", "b.1")
        assert heard(running, peer) == ["a", "b.1"]


def test_widening_lets_a_pattern_hear_more(running: Running) -> None:
    peer = running.dial()
    running.server.set_topic_acl(peer.conn_id, ["a.1"])
    running.server.subscribe_connection(peer.conn_id, ["a.*"])
    lists = (
        [["a.1"], ["a.1"]],
        [["a.1", "a.2"], ["a.1", "a.2"]],
        [None, ["a.1", "a.2", "a.3"]],
        [["a.3"], ["a.3"]],
    )
    for allow, expected in lists:
        running.server.set_topic_acl(peer.conn_id, allow)
        publish(running, "a.1", "a.2", "a.3")
        assert heard(running, peer) == expected


def test_a_pattern_that_stays_misses_nothing_while_its_list_changes(running: Running) -> None:
    peer = running.dial()
    running.server.subscribe_connection(peer.conn_id, ["a.*"])
    lists: list[tuple[list[str] | None, list[str] | None]] = [
        (None, None),
        (None, ["a.secret"]),
        (["a.open", "a.x"], None),
        (["*"], ["a.s*"]),
    ]
    # So long that publishers wait for room: the list changes between their look at the topic and their turn.
    publishers, count, pad = 4, 100, "x" * 30_000

    def tell(publisher: int) -> None:
        for n in range(count):
            running.server.broadcast("a.open", f"{publisher} {n} {pad}")

    threads = [threading.Thread(target=tell, args=(publisher,)) for publisher in range(publishers)]
    for thread in threads:
        thread.start()
    for acl in itertools.cycle(lists):
        assert running.server.set_topic_acl(peer.conn_id, *acl) == []
        if not any(thread.is_alive() for thread in threads):
            break
    for thread in threads:
        thread.join()
    said = [message.split() for message in heard(running, peer)]
    for publisher in range(publishers):
        assert [int(n) for who, n, _ in said if int(who) == publisher] == list(range(count))


def test_what_is_published_after_a_list_was_narrowed_is_not_heard(running: Running) -> None:
    peer = running.dial()
    stop = threading.Event()
    narrowed = itertools.count()
    last = 0

    def tell() -> None:
        while not stop.is_set():
            running.server.broadcast("a.x", f"x{last}")

    thread = threading.Thread(target=tell)
    thread.start()
    for _ in range(200):
        running.server.set_topic_acl(peer.conn_id)
        running.server.subscribe_connection(peer.conn_id, ["a.*"])
        running.server.set_topic_acl(peer.conn_id, deny=["a.x"])
        last = next(narrowed) + 1
        running.server.broadcast("a.x", f"after {last}")
        running.server.broadcast("a.y", "y")
    stop.set()
    thread.join()
    said = heard(running, peer)
    assert said.count("y") == 200
    assert not [message for message in said if message.startswith("after")]


def test_a_limit_of_subscriptions_counts_a_part_as_one(server_factory: Factory) -> None:
    running = server_factory(max_subscriptions_per_connection=2)
    peer = running.dial()
    running.server.set_topic_acl(peer.conn_id, deny=["a.secret"])
    answer = running.server.subscribe_connection(peer.conn_id, ["a.secret", "a.*", "a.*", "b"])
    assert answer["subscribed"] == ["a.*", "a.*", "b"]
    assert set(answer["refused"]) == {"a.secret"}


# ---- Wrong calls ----


@pytest.mark.parametrize("name", ["allow", "deny"])
@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ("a", TypeError, "must be a list of str, not str"),
        (b"a", TypeError, "must be a list of str, not bytes"),
        (7, TypeError, "must be a list of str, not int"),
        (["a", 7], TypeError, "one of them is int"),
        (["a", ""], ValueError, "at least 1 byte"),
        (["a\n"], ValueError, "no control characters"),
        (["x" * 256], ValueError, "at most 255 bytes"),
    ],
)
def test_a_malformed_list_raises_and_changes_nothing(
    running: Running, name: str, value: object, error: type[Exception], words: str
) -> None:
    peer = running.subscriber("a")
    wrong: dict[str, Any] = {name: value}
    with pytest.raises(error, match=f"^{name} .*{words}"):
        running.server.set_topic_acl(peer.conn_id, **wrong)
    publish(running, "a")
    assert heard(running, peer) == ["a"]


def test_a_connection_that_is_none_is_no_error(running: Running) -> None:
    assert running.server.set_topic_acl("nobody", []) == []
    assert RustWSEServer("127.0.0.1", 0).set_topic_acl("nobody", deny=["*"]) == []
