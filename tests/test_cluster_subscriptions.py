"""A subscription that is confirmed holds on all nodes, and one that is not says so."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from nodes import NodeProcess, address, linked, mesh
from support import Running, wait_until

Factory = Callable[..., Running]

PATIENT: dict[str, Any] = {"heartbeat_interval": 2.0, "dead_after": 60.0}
"""Nobody is counted out within a test."""


def test_what_another_node_publishes_right_after_the_answer_arrives(server_factory: Factory) -> None:
    nodes = mesh(server_factory, 3)
    peers = [node.dial() for node in nodes]
    for number in range(300):
        at = number % 3
        node, peer, topic = nodes[at], peers[at], f"round {number}"
        answer = node.server.subscribe_connection(peer.conn_id, [topic])
        assert answer == {"subscribed": [topic], "refused": {}, "confirmed": True}
        for other in (nodes[(at + 1) % 3], nodes[(at + 2) % 3]):
            other.server.broadcast(topic, topic)
            assert peer.receive() == topic


@pytest.mark.parametrize("what", ["a pattern", "a queue group"])
def test_patterns_and_queue_groups_hold_as_well(server_factory: Factory, what: str) -> None:
    nodes = mesh(server_factory, 3)
    peers = [node.dial() for node in nodes]
    for number in range(100):
        at = number % 3
        node, peer, topic = nodes[at], peers[at], f"round:{number}"
        if what == "a pattern":
            answer = node.server.subscribe_connection(peer.conn_id, [f"*:{number}"])
        else:
            answer = node.server.subscribe_connection(peer.conn_id, [topic], queue_group="g")
        assert answer["confirmed"]
        nodes[(at + 1) % 3].server.broadcast(topic, topic)
        assert peer.receive() == topic


def test_a_topic_that_comes_and_goes_holds_each_time_it_comes(server_factory: Factory) -> None:
    first, second = mesh(server_factory, 2)
    peer = first.dial()
    for number in range(300):
        assert first.server.subscribe_connection(peer.conn_id, ["t"])["confirmed"]
        second.server.broadcast("t", str(number))
        assert peer.receive() == str(number)
        first.server.unsubscribe_connection(peer.conn_id, ["t"])


def test_many_topics_given_together_are_confirmed_together(server_factory: Factory) -> None:
    first, second = mesh(server_factory, 2)
    peer = first.dial()
    topics = [f"t{number}" for number in range(2000)]
    assert first.server.subscribe_connection(peer.conn_id, topics)["confirmed"]
    for topic in topics:
        second.server.broadcast(topic, topic)
    assert [peer.receive() for _ in topics] == topics


def test_a_client_that_subscribes_itself_hears_the_other_node_after_the_answer(
    server_factory: Factory,
) -> None:
    first, second = mesh(server_factory, 2, client_subscriptions=True)
    peer = first.dial()
    for number in range(200):
        for topic, wanted in ((f"t{number}", f"t{number}"), (f"p{number}:x", f"p{number}:*")):
            peer.send({"t": "subscription_update", "p": {"action": "subscribe", "topics": [wanted]}})
            assert peer.receive_json()["p"]["success_topics"] == [wanted]
            second.server.broadcast(topic, topic)
            assert peer.receive() == topic


def test_without_an_answer_of_a_peer_a_subscription_is_active_here_and_not_confirmed(
    server_factory: Factory,
) -> None:
    (first,) = mesh(server_factory, 1, cluster=PATIENT)
    with NodeProcess(PATIENT | {"seeds": [address(first.server)]}) as other:
        wait_until(lambda: linked(first.server) == {other.name}, "two nodes")
        wait_until(lambda: other.peers_count() == 1, "two nodes")
        peer = first.dial()
        with other.stopped():
            began = time.monotonic()
            answer = first.server.subscribe_connection(peer.conn_id, ["t"], timeout=0.3)
            took = time.monotonic() - began
            assert answer == {"subscribed": ["t"], "refused": {}, "confirmed": False}
            assert 0.3 <= took < 2
            first.server.broadcast("t", "here")
            assert peer.receive() == "here"
            second = first.dial()
            answer = first.server.subscribe_connection(second.conn_id, ["t"], timeout=0.1)
            assert not answer["confirmed"], "not the first, and still nobody has answered"
        assert first.server.subscribe_connection(peer.conn_id, ["t"], timeout=10)["confirmed"]
        other.call("broadcast", "t", "there")
        assert peer.receive() == "there"


def test_timeout_0_does_not_wait(server_factory: Factory) -> None:
    (first,) = mesh(server_factory, 1, cluster=PATIENT)
    with NodeProcess(PATIENT | {"seeds": [address(first.server)]}) as other:
        wait_until(lambda: linked(first.server) == {other.name}, "two nodes")
        peer = first.dial()
        with other.stopped():
            began = time.monotonic()
            for number in range(50):
                answer = first.server.subscribe_connection(peer.conn_id, [f"t{number}"], timeout=0)
                assert answer == {"subscribed": [f"t{number}"], "refused": {}, "confirmed": False}
            assert time.monotonic() - began < 1
        assert first.server.subscribe_connection(peer.conn_id, ["last"], timeout=10)["confirmed"]
        answer = first.server.subscribe_connection(peer.conn_id, ["last", "t0"], timeout=0)
        assert answer["confirmed"], "what everybody knows needs no wait"


def test_a_peer_that_dies_meanwhile_is_waited_for_no_longer(server_factory: Factory) -> None:
    (first,) = mesh(server_factory, 1, cluster=PATIENT)
    with NodeProcess(PATIENT | {"seeds": [address(first.server)]}) as other:
        wait_until(lambda: linked(first.server) == {other.name}, "two nodes")
        peer = first.dial()
        with other.stopped():
            assert not first.server.subscribe_connection(peer.conn_id, ["t"], timeout=0.1)["confirmed"]
        other.kill()
        began = time.monotonic()
        assert first.server.subscribe_connection(peer.conn_id, ["u"], timeout=30)["confirmed"]
        assert time.monotonic() - began < 5
