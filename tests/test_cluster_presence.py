"""Presence in a cluster: who is in a topic, as the program and the subscribers of each node see it."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import jwt
import pytest

from server_process import Host, ServerProcess
from sockets import Client, Frame
from support import Peer, Running, wait_until

Factory = Callable[..., Running]
SECRET = "a secret that has more than thirty-two bytes"
QUICK: dict[str, Any] = {"heartbeat_interval": 0.2, "dead_after": 1.0}
"""For tests in which a node dies. The others keep the defaults, so that a busy machine kills nobody."""
News = tuple[str, str, str, Any]
"""What is told of presence: the topic, the word, the user, the data."""
TRUTH: dict[str, Any] = {"presence_enabled": True, "jwt_secret": SECRET}


def node(factory: Factory, *seeds: str, cluster: dict[str, Any] | None = None, **options: Any) -> Running:
    """A server with presence whose clients have tokens, in a cluster with these others."""
    running = factory(**(TRUTH | options))
    connect(running.server, *seeds, **(cluster or {}))
    return running


def connect(server: Any, *seeds: str, **cluster: Any) -> None:  # noqa: ANN401
    """Makes a server a node that asks these others for the rest."""
    server.connect_cluster([], seeds=list(seeds), cluster_port=0, **cluster)


def address(server: Any) -> str:  # noqa: ANN401
    """Where a node listens for others."""
    return str(server.cluster_identity()["address"])


def peers(running: Running) -> int:
    """How many others a node counts."""
    return int(running.server.health_snapshot()["cluster_peer_count"])


def nodes(factory: Factory, count: int, **cluster: Any) -> list[Running]:
    """Nodes of one cluster, each linked with all others."""
    first = node(factory, cluster=cluster)
    seed = address(first.server)
    all_of_them = [first, *(node(factory, seed, cluster=cluster) for _ in range(count - 1))]
    wait_until(lambda: all(peers(one) == count - 1 for one in all_of_them), "the cluster is whole")
    return all_of_them


def token(name: str) -> str:
    """What a client shows to be a user."""
    return jwt.encode({"sub": name, "exp": int(time.time()) + 600}, SECRET, algorithm="HS256")


def user(running: Running, name: str) -> Peer:
    """A client of that user."""
    peer = running.dial(token=token(name), close_timeout=0.1)
    assert peer.receive_json()["t"] == "server_ready"
    return peer


def looker(running: Running, *topics: str) -> Peer:
    """A client that listens and is not seen."""
    peer = user(running, "looker")
    running.server.subscribe_connection(peer.conn_id, list(topics))
    return peer


def show(running: Running, peer: Peer, data: dict[str, Any], *topics: str) -> None:
    """Subscribes a client with presence data."""
    answer = running.server.subscribe_connection(peer.conn_id, list(topics), presence_data=data)
    assert answer["subscribed"] == list(topics)


def next_news(peer: Peer) -> News:
    """What a listener hears next, which must be of presence."""
    message = peer.receive_json()
    p = message["p"]
    return p["topic"], message["t"].removeprefix("presence_"), p["user_id"], p["data"]


def news_until(peer: Peer, last: tuple[str, str, str]) -> list[News]:
    """What a listener hears up to some news, without them: the topic, the word, the user."""
    heard = []
    while (news := next_news(peer))[:3] != last:
        heard.append(news)
    return heard


def events(running: Running) -> list[tuple[str, str, str, str]]:
    """What the program was told of presence so far: the word, the topic, the user, the connection."""
    kinds = ("presence_join", "presence_leave")
    return [
        (kind.removeprefix("presence_"), data["topic"], data["user_id"], conn_id)
        for kind, conn_id, data in running.events.of(*kinds)
    ]


def wait_for_users(running: Running, topic: str, *names: str, timeout: float = 10.0) -> None:
    """Waits until exactly these users are in a topic, as a node sees it."""
    wait_until(
        lambda: sorted(running.server.presence(topic)) == sorted(names), f"{names} in {topic}", timeout
    )


def serve_users(host: Host, seed: str, cluster: dict[str, Any]) -> None:
    """Job of a node in a process of its own: it joins the cluster."""
    connect(host.server, seed, **cluster)


def show_in_process(host: Host, name: str) -> None:
    """Job: shows a client that was named by a cookie in "room"."""
    host.server.subscribe_connection(host.conn_id(name), ["room"], presence_data={"of": name})


# ---- Coming and going ----


def test_joins_updates_and_leaves_are_heard_once_on_every_node(server_factory: Factory) -> None:
    cluster = nodes(server_factory, 3)
    lookers = [looker(one, "room") for one in cluster]
    ann = user(cluster[0], "ann")
    show(cluster[0], ann, {"n": 1}, "room")
    for ear in lookers:
        assert next_news(ear) == ("room", "join", "ann", {"n": 1})
    cluster[0].server.update_presence(ann.conn_id, {"n": 2})
    for ear in lookers:
        assert next_news(ear) == ("room", "update", "ann", {"n": 2})
    for one in cluster:
        assert one.server.presence("room") == {"ann": {"data": {"n": 2}, "connections": 1}}
    ann.close()
    for ear in lookers:
        assert next_news(ear) == ("room", "leave", "ann", {"n": 2})
    bob = user(cluster[0], "bob")
    show(cluster[0], bob, {}, "room")
    for ear in lookers:
        assert news_until(ear, ("room", "join", "bob")) == [], "each was told once"
    for one in cluster:
        assert one.server.presence_stats("room") == {"num_users": 1, "num_connections": 1}


def test_a_user_at_two_nodes_is_one_user(server_factory: Factory) -> None:
    cluster = nodes(server_factory, 3)
    first, second, third = cluster
    lookers = [looker(one, "room") for one in cluster]
    at_first = user(first, "ann")
    show(first, at_first, {"n": 1}, "room")
    for ear in lookers:
        assert next_news(ear) == ("room", "join", "ann", {"n": 1})
    at_second = user(second, "ann")
    show(second, at_second, {"n": 2}, "room")
    for ear in lookers:
        assert next_news(ear) == ("room", "update", "ann", {"n": 2}), (
            "she is there already, and shows the newest"
        )
    both = {"ann": {"data": {"n": 2}, "connections": 2}}
    wait_until(lambda: all(one.server.presence("room") == both for one in cluster), "both connections count")
    for one in cluster:
        assert one.server.presence_stats("room") == {"num_users": 1, "num_connections": 2}
    at_first.close()
    one_left = {"num_users": 1, "num_connections": 1}
    wait_until(lambda: all(one.server.presence_stats("room") == one_left for one in cluster), "one is left")
    at_second.close()
    for ear in lookers:
        word = next_news(ear)
        assert word == ("room", "leave", "ann", {"n": 2})
    for one in cluster:
        one.events.wait("presence_leave")
        assert one.server.presence("room") == {}
    own = [events(first), events(second), events(third)]
    assert own[0] == [("join", "room", "ann", at_first.conn_id), ("leave", "room", "ann", "")]
    assert own[1] == [("join", "room", "ann", ""), ("leave", "room", "ann", at_second.conn_id)]
    assert own[2] == [("join", "room", "ann", ""), ("leave", "room", "ann", "")], "programs hear of all nodes"


def test_a_node_that_joins_late_sees_who_was_there_before(server_factory: Factory) -> None:
    first = node(server_factory)
    ann = user(first, "ann")
    rooms = [f"room:{number}" for number in range(500)]
    show(first, ann, {"there": "before"}, *rooms)
    late = server_factory(**TRUTH)
    ear = looker(late, "room:*")
    bob = user(late, "bob")
    show(late, bob, {"of": "late"}, "room:0")
    assert next_news(ear)[:3] == ("room:0", "join", "bob")
    connect(late.server, address(first.server))
    heard = [next_news(ear) for _ in rooms]
    assert sorted(heard) == sorted((room, "join", "ann", {"there": "before"}) for room in rooms)
    for one in (first, late):
        wait_for_users(one, "room:0", "ann", "bob")
        wait_for_users(one, "room:499", "ann")
        health = one.server.health_snapshot()
        assert (health["presence_topics"], health["presence_total_users"]) == (500, 501), "of all nodes"
    assert "wse_presence_users 501" in late.server.prometheus_metrics()


def test_what_listeners_hear_adds_up_to_who_is_there_on_every_node(server_factory: Factory) -> None:
    cluster = nodes(server_factory, 3)
    lookers = [looker(one, "*") for one in cluster]
    clients = [[user(one, f"user-{number}") for number in range(3)] for one in cluster]

    def come_and_go(at: int) -> None:
        luck = random.Random(at)  # noqa: S311
        server = cluster[at].server
        for number in range(200):
            peer = luck.choice(clients[at])
            topics = luck.choice([["a"], ["b"], ["a", "b"]])
            match luck.randrange(4):
                case 0:
                    server.unsubscribe_connection(peer.conn_id, topics)
                case 1:
                    server.update_presence(peer.conn_id, {"n": number, "at": at})
                case _:
                    server.subscribe_connection(peer.conn_id, topics, presence_data={"n": number, "at": at})

    threads = [threading.Thread(target=come_and_go, args=(at,)) for at in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # The last word of each node on each topic: when all have come, so has all that was said before.
    last = {"z-0", "z-1", "z-2"}
    for name, one in zip(sorted(last), cluster, strict=True):
        show(one, user(one, name), {}, "a", "b")
    wait_until(
        lambda: all(last <= set(one.server.presence(topic)) for topic in "ab" for one in cluster), "the end"
    )
    truth = {topic: cluster[0].server.presence(topic) for topic in ("a", "b")}
    for one in cluster:
        assert {topic: one.server.presence(topic) for topic in ("a", "b")} == truth
    for ear in lookers:
        seen: dict[str, dict[str, Any]] = {"a": {}, "b": {}}
        while not all(last <= set(seen[topic]) for topic in seen):
            topic, word, who, data = next_news(ear)
            assert (who in seen[topic]) == (word != "join"), f"{word} of {who} in {topic}"
            if word == "leave":
                assert seen[topic].pop(who) == data
            else:
                seen[topic][who] = data
        for topic, people in truth.items():
            assert seen[topic] == {who: it["data"] for who, it in people.items()}


# ---- Nodes that go ----


def test_with_a_killed_node_its_users_leave_everywhere_and_nobody_else(server_factory: Factory) -> None:
    first, second = nodes(server_factory, 2, **QUICK)
    ann, bob = user(first, "ann"), user(second, "bob")
    show(first, ann, {"of": "first"}, "room")
    show(second, bob, {}, "room")
    with ExitStack() as clients:
        dying = ServerProcess(presence_enabled=True)
        dying.do(serve_users, address(first.server), QUICK)
        names = ["eve", "joe", "zoe"]
        for name in names:
            clients.enter_context(Client(dying.port, name))
            dying.do(show_in_process, name)
        there = [dying.conn_id(name) for name in names]
        for one in (first, second):
            wait_for_users(one, "room", "ann", "bob", *there)
        lookers = [looker(one, "room") for one in (first, second)]
        os.kill(dying.pid, signal.SIGKILL)
        for ear in lookers:
            left = [next_news(ear) for _ in names]
            assert sorted(left) == sorted(
                ("room", "leave", conn, {"of": name}) for conn, name in zip(there, names, strict=True)
            )
        for one in (first, second):
            assert sorted(one.server.presence("room")) == ["ann", "bob"]
        show(first, user(first, "last"), {}, "room")
        for ear in lookers:
            assert news_until(ear, ("room", "join", "last")) == [], "each left once"
        for one in (first, second):
            gone = [(word, who, conn) for word, _, who, conn in events(one) if who in there]
            assert sorted(gone) == sorted((word, who, "") for word in ("join", "leave") for who in there)
        dying.close()


def test_with_a_stopped_node_its_users_leave_and_come_back_with_the_next(server_factory: Factory) -> None:
    first, second = nodes(server_factory, 2)
    seed = address(first.server)
    third = node(server_factory, seed)
    ann = user(third, "ann")
    show(third, ann, {"life": 1}, "room")
    lookers = [looker(one, "room") for one in (first, second)]
    for one in (first, second):
        wait_for_users(one, "room", "ann")
    third.server.stop()
    lookers_heard = [news_until(ear, ("room", "leave", "ann")) for ear in lookers]
    assert all(heard in ([], [("room", "join", "ann", {"life": 1})]) for heard in lookers_heard)
    for one in (first, second):
        assert one.server.presence("room") == {}
    third.server.start()
    connect(third.server, seed)
    show(third, user(third, "ann"), {"life": 2}, "room")
    for ear in lookers:
        assert next_news(ear) == ("room", "join", "ann", {"life": 2})


def test_a_silence_shorter_than_death_makes_nobody_leave(server_factory: Factory) -> None:
    patient = {"heartbeat_interval": 0.5, "dead_after": 8.0}
    (first,) = nodes(server_factory, 1, **patient)
    with ServerProcess(presence_enabled=True) as still, ExitStack() as clients:
        still.do(serve_users, address(first.server), patient)
        for name in ("eve", "joe"):
            clients.enter_context(Client(still.port, name))
        still.do(show_in_process, "eve")
        eve, joe = still.conn_id("eve"), still.conn_id("joe")
        wait_for_users(first, "room", eve)
        ear = looker(first, "room")
        os.kill(still.pid, signal.SIGSTOP)
        try:
            wait_until(lambda: peers(first) == 0, "it is missed")
            assert list(first.server.presence("room")) == [eve]
        finally:
            os.kill(still.pid, signal.SIGCONT)
        still.do(show_in_process, "joe")
        assert next_news(ear) == ("room", "join", joe, {"of": "joe"}), "the first that was told since"
        wait_for_users(first, "room", eve, joe)


def test_a_node_that_was_taken_for_dead_has_its_users_again(server_factory: Factory) -> None:
    (first,) = nodes(server_factory, 1, **QUICK)
    with ServerProcess(presence_enabled=True) as still, ExitStack() as clients:
        still.do(serve_users, address(first.server), QUICK)
        clients.enter_context(Client(still.port, "eve"))
        still.do(show_in_process, "eve")
        eve = still.conn_id("eve")
        ear = looker(first, "room")
        wait_for_users(first, "room", eve)
        news_before = [("room", "join", eve, {"of": "eve"})]
        os.kill(still.pid, signal.SIGSTOP)
        try:
            assert news_until(ear, ("room", "leave", eve)) in ([], news_before)
            assert first.server.presence("room") == {}
        finally:
            os.kill(still.pid, signal.SIGCONT)
        assert next_news(ear) == ("room", "join", eve, {"of": "eve"})


# ---- Much at a time, and nodes without ----


def test_of_many_updates_other_nodes_hear_some_in_order_and_the_last(server_factory: Factory) -> None:
    first, second = nodes(server_factory, 2)
    ear = looker(second, "room")
    ann = user(first, "ann")
    show(first, ann, {"n": 0}, "room")
    assert next_news(ear) == ("room", "join", "ann", {"n": 0})
    count = 5000
    for number in range(1, count + 1):
        first.server.update_presence(ann.conn_id, {"n": number})
    shown = [0]
    while shown[-1] != count:
        topic, word, who, data = next_news(ear)
        assert (topic, word, who) == ("room", "update", "ann")
        shown.append(data["n"])
    assert shown == sorted(set(shown)), "none comes twice, and none is older than the one before"
    assert second.server.presence("room") == {"ann": {"data": {"n": count}, "connections": 1}}


@pytest.mark.parametrize("size", [20, 3000])
def test_a_storm_of_2000_joins_on_one_node_is_heard_on_all(server_factory: Factory, size: int) -> None:
    cluster = nodes(server_factory, 3)
    rooms = [f"room:{number:04}" for number in range(2000)]
    with ExitStack() as stack:
        ears = []
        for one in cluster:
            ear = stack.enter_context(Client(one.port, f"ear; access_token={token('looker')}"))
            conn_id = one.events.wait("auth_connect")[0][1]
            one.server.subscribe_connection(conn_id, ["room:*"])
            ears.append(ear)
        ann = user(cluster[0], "ann")
        data = {"text": "x" * size}
        show(cluster[0], ann, data, *rooms)
        show(cluster[0], ann, data, "room:end")
        for ear in ears:
            heard: list[str] = []
            while not heard or heard[-1] != "room:end":
                heard.extend(topic for topic in map(joined_topic, ear.take(60)) if topic)
            assert sorted(heard) == [*rooms, "room:end"], "each once"
        for one in cluster:
            assert one.server.health_snapshot()["presence_total_users"] == 2001
        ann.close()
        wait_until(
            lambda: all(one.server.health_snapshot()["presence_topics"] == 0 for one in cluster),
            "all have left",
            30,
        )
        for one in cluster:
            one.events.wait("presence_leave", count=2001, timeout=30)
            assert len(events(one)) == 2 * 2001, "the programs were told of each once"


def joined_topic(frame: Frame) -> str | None:
    """The topic that somebody joined, by what a listener was told."""
    message = json.loads(frame.payload)
    return str(message["p"]["topic"]) if message["t"] == "presence_join" else None


def test_a_node_without_presence_ignores_what_others_tell_of_it(server_factory: Factory) -> None:
    first, second = nodes(server_factory, 2)
    without = node(server_factory, address(first.server), presence_enabled=False)
    wait_until(lambda: peers(without) == 2, "the cluster is whole")
    listener = looker(without, "room")
    show(first, user(first, "ann"), {}, "room")
    wait_for_users(second, "room", "ann")

    def ignored() -> int:
        return int(without.server.health_snapshot()["cluster_unknown_message_types"])

    wait_until(ignored, "the frames are counted")
    assert without.server.presence("room") == {}
    first.server.broadcast("room", "hello")
    assert listener.receive() == "hello", "nothing of presence came before it, and the link stands"
    assert peers(without) == 2
    assert second.server.health_snapshot()["cluster_unknown_message_types"] == 0
