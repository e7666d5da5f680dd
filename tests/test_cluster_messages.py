"""A message goes to the subscribers of all nodes: once, in its publisher's order, and to no other."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable

import pytest

from nodes import instance, join, linked, mesh, numbers, until, wait_until_whole
from support import Peer, Running, wait_until

Factory = Callable[..., Running]

END = "end"


def member(node: Running, group: str, topic: str = "jobs") -> Peer:
    """A client in a queue group, which also hears the topic `fence`."""
    peer = node.dial()
    answer = node.server.subscribe_connection(peer.conn_id, [topic], queue_group=group)
    assert answer == {"subscribed": [topic], "refused": {}, "confirmed": True}
    assert node.server.subscribe_connection(peer.conn_id, ["fence"])["confirmed"]
    return peer


def done(publisher: Running, *members: Peer) -> list[list[str | bytes]]:
    """What each member has got of what this node has published so far."""
    publisher.server.broadcast("fence", END)
    return [until(one, END) for one in members]


# ---- Topics and patterns ----


def test_what_any_node_publishes_reaches_the_subscribers_of_all_once_and_in_its_order(
    server_factory: Factory,
) -> None:
    nodes = mesh(server_factory, 3)
    peers = [node.subscriber("news") for node in nodes for _ in range(2)]
    for publisher in nodes:
        for message in [*numbers(300), END]:
            assert publisher.server.broadcast("news", message) is None
        for peer in peers:
            assert until(peer, END) == numbers(300)


def test_publishers_on_all_nodes_at_once_keep_their_orders(server_factory: Factory) -> None:
    nodes = mesh(server_factory, 3)
    peers = [node.subscriber("news") for node in nodes]

    def publish(node: Running, name: str) -> None:
        for number in range(2000):
            node.server.broadcast("news", f"{name} {number}")

    threads = [
        threading.Thread(target=publish, args=(node, name)) for node, name in zip(nodes, "abc", strict=True)
    ]
    for thread in threads:
        thread.start()
    for peer in peers:
        got: dict[str, list[str]] = {"a": [], "b": [], "c": []}
        for _ in range(6000):
            name, number = str(peer.receive()).split()
            got[name].append(number)
        assert got == dict.fromkeys("abc", numbers(2000))
    for thread in threads:
        thread.join()
    for node in nodes:
        node.server.broadcast("news", END)
    assert all(peer.receive() == END for peer in peers for _ in nodes), "nothing comes twice"


def test_batches_and_single_messages_keep_the_order_of_the_calls(server_factory: Factory) -> None:
    first, second = mesh(server_factory, 2)
    peer = second.subscriber("news")
    first.server.broadcast("news", "before")
    first.server.broadcast_many("news", numbers(5000))
    first.server.broadcast_many("news", [])
    first.server.broadcast("news", b"after")
    first.server.broadcast("news", END)
    assert until(peer, END) == ["before", *numbers(5000), "after"]


def test_a_message_looks_the_same_on_all_nodes(server_factory: Factory) -> None:
    first, second = mesh(server_factory, 2)
    peers = [first.subscriber("news"), second.subscriber("news")]
    for message in ('{"t":"x","p":1}', '{"c":"S","t":"x"}', "no JSON", '"text"', "", "äöü 👍", "x" * 200_000):
        first.server.broadcast("news", message)
        here, there = (peer.receive() for peer in peers)
        assert here == there
        assert message[1:] in str(there)


def test_patterns_hear_what_other_nodes_publish_and_each_connection_once(server_factory: Factory) -> None:
    first, second, third = mesh(server_factory, 3)
    room, both, other = second.subscriber("room:*"), third.subscriber("room:*"), third.subscriber("lobby")
    third.server.subscribe_connection(both.conn_id, ["room:1", "r*"])
    for message in ("1", "2"):
        first.server.broadcast("room:1", message)
        first.server.broadcast("room:2", message)
    first.server.broadcast("lobby", "3")
    first.server.broadcast("room:1", END)
    for peer in (room, both):
        assert until(peer, END) == ["1", "1", "2", "2"]
    assert other.receive() == "3"


def test_a_local_broadcast_stays_on_its_node(server_factory: Factory) -> None:
    first, second = mesh(server_factory, 2)
    here, there = first.subscriber("news"), second.subscriber("news")
    first.server.broadcast_local("news", "for us")
    first.server.broadcast("news", END)
    assert until(here, END) == ["for us"]
    assert until(there, END) == []


def test_what_a_client_publishes_crosses_and_nobody_gets_it_twice(server_factory: Factory) -> None:
    first, second, third = mesh(server_factory, 3, client_publish=True)
    author, here, there, far = (
        first.subscriber("room"),
        first.subscriber("room"),
        second.subscriber("r*"),
        third.subscriber("room"),
    )
    for number in range(50):
        author.send({"t": "publish", "p": {"topic": "room", "data": {"t": "chat", "p": number}}})
    audience = [author, here, there, far]
    for peer in audience:
        assert [peer.receive_json()["p"] for _ in range(50)] == list(range(50))
    first.server.broadcast("room", END)
    assert all(peer.receive() == END for peer in audience)


def test_who_is_subscribed_before_its_node_joins_is_heard_of(server_factory: Factory) -> None:
    first, second = server_factory(), server_factory()
    peers = [second.subscriber("news"), second.subscriber("n*"), second.dial()]
    second.server.subscribe_connection(peers[2].conn_id, ["news"], queue_group="g")
    join(second.server, seeds=[join(first.server)])
    wait_until_whole([first.server, second.server])
    first.server.broadcast("news", "hello")
    assert [peer.receive() for peer in peers] == ["hello"] * 3


def test_what_is_said_in_the_moment_in_which_two_nodes_count_each_other_arrives(
    server_factory: Factory,
) -> None:
    # Each knows nothing yet of what the other has subscribers of, and sends it everything until it does.
    first = server_factory()
    for topic in numbers(300):
        first.server.subscribe_connection(first.dial().conn_id, [topic], timeout=0)
    listener = first.subscriber("news")
    seed = join(first.server)
    for turn in numbers(12):
        newcomer = server_factory()
        heard = newcomer.subscriber("news")
        join(newcomer.server, seeds=[seed])
        while not newcomer.server.cluster_peers_count():
            pass
        newcomer.server.broadcast("news", f"newcomer {turn}")
        name = instance(newcomer.server)
        while name not in linked(first.server):
            pass
        first.server.broadcast("news", f"first {turn}")
        # What each says itself is heard beside it.
        assert {listener.receive(), listener.receive()} == {f"newcomer {turn}", f"first {turn}"}
        assert {heard.receive(), heard.receive()} == {f"newcomer {turn}", f"first {turn}"}
        newcomer.server.stop()


def test_the_last_subscriber_that_leaves_takes_the_bytes_along(server_factory: Factory) -> None:
    first, second, third = mesh(server_factory, 3)
    stays, leaves = second.subscriber("news"), third.subscriber("news")
    body = secrets.token_hex(5000)

    def publish() -> dict[str, int]:
        """Bytes that each of the others received while a megabyte was published."""
        before = [node.server.health_snapshot()["cluster_bytes_received"] for node in (second, third)]
        for _ in range(100):
            first.server.broadcast("news", body)
        first.server.broadcast("news", END)
        assert len(until(stays, END)) == 100
        after = [node.server.health_snapshot()["cluster_bytes_received"] for node in (second, third)]
        return {"second": after[0] - before[0], "third": after[1] - before[1]}

    publish()
    assert len(until(leaves, END)) == 100
    third.server.unsubscribe_connection(leaves.conn_id)

    def sends_one() -> bool:
        before = first.server.health_snapshot()["cluster_messages_sent"]
        first.server.broadcast("news", "?")
        assert stays.receive() == "?"
        return first.server.health_snapshot()["cluster_messages_sent"] == before + 1

    wait_until(sends_one, "the first node knows")
    received = publish()
    assert received["second"] > 400_000, "half of it, as digits are compressed"
    assert received["third"] < 20_000, "nothing but heartbeats"


# ---- Queue groups ----


def test_members_on_two_nodes_share_what_a_third_publishes(server_factory: Factory) -> None:
    first, second, third = mesh(server_factory, 3)
    members = [member(second, "g"), member(second, "g"), member(third, "g")]
    for number in numbers(600):
        first.server.broadcast("jobs", number)
    got = done(first, *members)
    assert sorted(int(job) for jobs in got for job in jobs) == list(range(600)), "each job once"
    assert all(len(jobs) >= 100 for jobs in got), f"all have work: {[len(jobs) for jobs in got]}"
    assert all(jobs == sorted(jobs, key=int) for jobs in got), "in order"


def test_members_where_it_is_published_go_first(server_factory: Factory) -> None:
    nodes = mesh(server_factory, 2)
    members = [member(node, "g") for node in nodes]
    for publisher, own in zip(nodes, members, strict=True):
        publisher.server.broadcast_many("jobs", numbers(200))
        got = done(publisher, *members)
        assert [len(jobs) for jobs in got] == [200 if one is own else 0 for one in members]


def test_groups_of_a_topic_and_its_subscribers_each_get_every_message(server_factory: Factory) -> None:
    first, second, third = mesh(server_factory, 3)
    g, h, plain = member(second, "g"), member(third, "h"), third.subscriber("jobs")
    third.server.subscribe_connection(plain.conn_id, ["fence"])
    for number in numbers(100):
        first.server.broadcast("jobs", number)
    assert done(first, g, h, plain) == [numbers(100)] * 3


@pytest.mark.parametrize("how", ["unsubscribes", "disconnects"])
def test_when_the_member_here_goes_the_one_there_does_the_work(server_factory: Factory, how: str) -> None:
    first, second = mesh(server_factory, 2)
    here, there = member(first, "g"), member(second, "g")
    first.server.broadcast("jobs", "for here")
    assert done(first, here, there) == [["for here"], []]
    if how == "unsubscribes":
        first.server.unsubscribe_connection(here.conn_id, ["jobs"])
    else:
        here.close()
        first.events.wait("disconnect")
    wait_until(lambda: first.server.get_queue_group_info("jobs") == {}, "it is gone")
    first.server.broadcast_many("jobs", numbers(50))
    assert done(first, there) == [numbers(50)]


def test_a_group_without_members_anywhere_loses_its_messages_alone(
    server_factory: Factory,
) -> None:
    first, second = mesh(server_factory, 2)
    one = member(second, "g")
    second.server.unsubscribe_connection(one.conn_id, ["jobs"])
    first.server.broadcast("jobs", "for nobody")
    assert done(first, one) == [[]]
    second.server.subscribe_connection(one.conn_id, ["jobs"], queue_group="g")
    first.server.broadcast("jobs", "for one")
    assert done(first, one) == [["for one"]]
