"""Topics with history in a cluster: one order and one position on all nodes, recovery at any of them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from nodes import NodeProcess, address, join, mesh, wait_until_whole
from support import Peer, Running, dial, wait_until
from wse_server import Position

Factory = Callable[..., Running]

TOPIC = "prices"
HISTORY: dict[str, Any] = {"recovery_enabled": True}


def message(number: int) -> str:
    return json.dumps({"t": "tick", "p": {"n": number}})


def publish(node: Running, numbers: range, topic: str = TOPIC) -> Position:
    """Publishes a message for each number, and waits until the last of them is stored."""
    last = None
    for number in numbers:
        wait = "stored" if number == numbers[-1] else "local"
        last = node.server.broadcast(topic, message(number), wait=wait)  # type: ignore[arg-type]
    assert isinstance(last, Position)
    return last


def take(peer: Peer, count: int) -> list[tuple[str, int, int]]:
    """Epoch, offset and number of the next publications. Changes of epoch without loss are passed over."""
    taken: list[tuple[str, int, int]] = []
    while len(taken) < count:
        got = peer.receive_json()
        if got.get("t") == "gap":
            assert got["p"]["missed"] == 0, got
            continue
        taken.append((got["e"], got["o"], got["p"]["n"]))
    return taken


def numbers(peer: Peer, count: int) -> list[int]:
    """The numbers of the next publications, whose offsets must follow each other."""
    taken = take(peer, count)
    assert [offset for _, offset, _ in taken] == list(range(taken[0][1], taken[0][1] + count))
    return [number for _, _, number in taken]


def recover(
    node: Running, position: tuple[str, int] | Position | None, topic: str = TOPIC
) -> tuple[Peer, dict[str, Any]]:
    """A new client of a node that goes on from a position, and what it was answered."""
    peer = node.dial()
    answer = node.server.subscribe_with_recovery(
        peer.conn_id, [topic], recover=True, positions={} if position is None else {topic: position}
    )
    return peer, dict(answer["topics"][topic])


# ---- One order and one position ----


def test_all_nodes_see_one_order_and_the_same_positions(server_factory: Factory) -> None:
    nodes = mesh(server_factory, 3, **HISTORY)
    peers = [node.subscriber(TOPIC) for node in nodes]

    def write(node: Running, first: int) -> None:
        for number in range(first, first + 500):
            node.server.broadcast(TOPIC, message(number))

    threads = [threading.Thread(target=write, args=(node, 1000 * at)) for at, node in enumerate(nodes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = [take(peer, 1500) for peer in peers]
    assert taken[0] == taken[1] == taken[2]
    assert [offset for _, offset, _ in taken[0]] == list(range(1, 1501))
    for at in range(3):
        own = [number for _, _, number in taken[0] if number // 1000 == at]
        assert own == list(range(1000 * at, 1000 * at + 500)), "each publisher's order is kept"


@pytest.mark.parametrize("replicas", [0, 1, 2])
def test_stored_says_where_and_on_how_many_nodes(server_factory: Factory, replicas: int) -> None:
    nodes = mesh(server_factory, 3, cluster={"recovery_replicas": replicas}, **HISTORY)
    peer = nodes[2].subscriber(TOPIC)
    for node in nodes:
        position = node.server.broadcast(TOPIC, message(1), wait="stored")
        assert isinstance(position, Position)
        assert position.copies == replicas + 1
        got = peer.receive_json()
        assert (got["tp"], got["e"], got["o"]) == (TOPIC, position.epoch, position.offset)
        assert node.server.broadcast(TOPIC, message(2)) is None, "another node may stamp it"
        assert peer.receive_json()["o"] == position.offset + 1
    last = nodes[0].server.broadcast_many(TOPIC, [message(n) for n in range(50)], wait="stored")
    assert isinstance(last, Position)
    assert numbers(peer, 50) == list(range(50))
    assert last.offset == 56


def test_a_topic_without_messages_has_the_same_position_on_every_node(server_factory: Factory) -> None:
    nodes = mesh(server_factory, 3, **HISTORY)
    answers = [recover(node, None)[1] for node in nodes]
    assert len({answer["epoch"] for answer in answers}) == 1
    assert {answer["offset"] for answer in answers} == {0}


# ---- Recovery at any node ----


def test_a_client_recovers_at_a_node_that_never_heard_of_the_topic(server_factory: Factory) -> None:
    nodes = mesh(server_factory, 4, **HISTORY)
    first = publish(nodes[0], range(10))
    last = publish(nodes[1], range(10, 100))
    for node in nodes:
        peer, answer = recover(node, first)
        assert answer == {
            "epoch": last.epoch,
            "offset": last.offset,
            "recoverable": True,
            "recovered": True,
            "count": last.offset - 10,
        }
        missed = last.offset - first.offset
        assert take(peer, missed)[-1][:2] == (last.epoch, last.offset)
        last = publish(nodes[2], range(7, 8))
        assert take(peer, 1) == [(last.epoch, last.offset, 7)]


def test_many_who_come_back_to_another_node_ask_its_home_once(server_factory: Factory) -> None:
    nodes = mesh(server_factory, 2, cluster={"recovery_replicas": 0}, **HISTORY)
    first = publish(nodes[0], range(1))
    last = publish(nodes[0], range(1, 101))
    before = [fetches(node) for node in nodes]
    peers = [nodes[at % 2].dial() for at in range(60)]
    for at, peer in enumerate(peers):
        answer = nodes[at % 2].server.subscribe_with_recovery(
            peer.conn_id, [TOPIC], recover=True, epoch=first.epoch, offset=first.offset
        )
        assert answer["recovered"], answer
        assert answer["topics"][TOPIC]["offset"] == last.offset
    for peer in peers:
        assert numbers(peer, 100) == list(range(1, 101))
    assert sum(fetches(node) for node in nodes) - sum(before) <= 1


def fetches(node: Running) -> int:
    page = node.server.prometheus_metrics()
    (line,) = (line for line in page.splitlines() if line.startswith("wse_cluster_fetches_total "))
    return int(line.split()[1])


def test_what_can_not_be_gone_on_from_is_not_recovered(server_factory: Factory) -> None:
    nodes = mesh(server_factory, 3, recovery_buffer_size=16, **HISTORY)
    last = publish(nodes[0], range(100))
    for node in nodes:
        for position in [("00000000", 3), (last.epoch, 5), (last.epoch, 2**64 - 1), ("00000000", 2**63)]:
            peer, answer = recover(node, position)
            assert (answer["recovered"], answer["count"], answer["offset"]) == (False, 0, 100)
            assert answer["epoch"] == last.epoch
            peer.close()
        peer, answer = recover(node, (last.epoch, 90))
        assert (answer["recovered"], answer["count"]) == (True, 10)
        assert numbers(peer, 10) == list(range(90, 100))


def test_a_client_recovers_by_itself_at_any_node(server_factory: Factory) -> None:
    nodes = mesh(server_factory, 3, client_subscriptions=True, **HISTORY)
    first = publish(nodes[0], range(5))
    publish(nodes[0], range(5, 20))
    for node in nodes:
        peer = node.dial()
        command = {"action": "subscribe", "topics": [TOPIC], "recover": True}
        command["recovery"] = {TOPIC: {"epoch": first.epoch, "offset": first.offset}}
        peer.send({"t": "subscription_update", "p": command})
        answer = peer.receive_json()
        while answer["t"] != "subscription_update":
            answer = peer.receive_json()
        recovery = answer["p"]["recovery"][TOPIC]
        assert (recovery["recovered"], recovery["count"]) == (True, 15), recovery
        assert numbers(peer, 15) == list(range(5, 20))


# ---- Patterns, queue groups, this node alone ----


def test_a_pattern_hears_topics_of_all_nodes_from_their_first_message(server_factory: Factory) -> None:
    nodes = mesh(server_factory, 3, **HISTORY)
    peers = [node.subscriber("room.*") for node in nodes]
    topics = [f"room.{at}" for at in range(12)]
    for at, topic in enumerate(topics):
        for number in range(20):
            nodes[at % 3].server.broadcast(topic, message(number))
    for peer in peers:
        got: dict[str, list[int]] = {topic: [] for topic in topics}
        for _ in range(240):
            one = peer.receive_json()
            got[one["tp"]].append(one["o"])
        assert all(offsets == list(range(1, 21)) for offsets in got.values()), got


def test_a_queue_group_of_all_nodes_gets_each_message_once(server_factory: Factory) -> None:
    nodes = mesh(server_factory, 3, **HISTORY)
    members = [node.dial() for node in nodes]
    for node, peer in zip(nodes, members, strict=True):
        answer = node.server.subscribe_connection(peer.conn_id, ["jobs"], queue_group="workers")
        assert answer["confirmed"]
        assert node.server.subscribe_connection(peer.conn_id, ["fence"])["confirmed"]
    for at in range(90):
        publish(nodes[at % 3], range(at, at + 1), "jobs")
    nodes[0].server.broadcast("fence", message(-1))
    got = []
    for peer in members:
        while (number := peer.receive_json()["p"]["n"]) != -1:
            got.append(number)
    assert sorted(got) == list(range(90))


def test_what_is_for_this_node_alone_has_no_stamp(server_factory: Factory) -> None:
    nodes = mesh(server_factory, 2, **HISTORY)
    peers = [node.subscriber(TOPIC) for node in nodes]
    assert nodes[0].server.broadcast_local(TOPIC, message(1)) is None
    publish(nodes[1], range(2, 3))
    assert "o" not in peers[0].receive_json()
    assert numbers(peers[0], 1) == numbers(peers[1], 1) == [2]


def test_what_was_published_before_is_no_part_of_the_clusters_history(server_factory: Factory) -> None:
    nodes = [server_factory(**HISTORY) for _ in range(2)]
    peer = nodes[0].subscriber(TOPIC)
    old = nodes[0].server.broadcast(TOPIC, message(0))
    assert isinstance(old, Position)
    assert peer.receive_json()["o"] == 1
    seed = join(nodes[0].server)
    join(nodes[1].server, seeds=[seed])
    wait_until_whole([node.server for node in nodes])
    gap = peer.receive_json()
    assert (gap["t"], gap["p"]["epoch"], gap["p"]["from"], gap["p"]["missed"]) == ("gap", old.epoch, 2, None)
    last = publish(nodes[1], range(5))
    assert gap["p"]["next_offset"] == 0
    assert numbers(peer, 5) == list(range(5))
    assert last.offset == 5
    _, answer = recover(nodes[1], old)
    assert answer["recovered"] is False


# ---- Leaving ----


def test_a_home_that_stops_hands_its_topics_over(server_factory: Factory) -> None:
    nodes = mesh(server_factory, 3, **HISTORY)
    topics = [f"t{at}" for at in range(30)]
    firsts = {topic: publish(nodes[0], range(1), topic) for topic in topics}
    peers = {topic: nodes[1].subscriber(topic) for topic in topics}
    for topic in topics:
        publish(nodes[1], range(1, 5), topic)
    nodes[2].server.stop()
    wait_until(lambda: nodes[0].server.cluster_peers_count() == 1, "the node that stopped is gone")
    for topic in topics:
        publish(nodes[0], range(5, 9), topic)
        assert numbers(peers[topic], 8) == list(range(1, 9))
        peer, answer = recover(nodes[0], firsts[topic], topic)
        assert answer["recovered"], (topic, answer)
        assert numbers(peer, 8) == list(range(1, 9))


def test_who_stands_where_an_epoch_ended_recovers_at_any_node(server_factory: Factory) -> None:
    nodes = mesh(server_factory, 3, **HISTORY)
    topics = [f"t{at}" for at in range(12)]
    ends = {topic: publish(nodes[0], range(5), topic) for topic in topics}
    heard = {topic: nodes[1].subscriber(topic) for topic in topics[::2]}
    nodes[2].server.stop()
    wait_until(lambda: nodes[0].server.cluster_peers_count() == 1, "the node that stopped is gone")
    for topic in topics:
        publish(nodes[0], range(5, 7), topic)
    late = server_factory(**HISTORY)
    join(late.server, address(nodes[0].server))
    wait_until_whole([node.server for node in (*nodes[:2], late)])
    for node in (*nodes[:2], late):
        for topic in topics:
            peer, answer = recover(node, ends[topic], topic)
            assert (answer["recovered"], answer["count"]) == (True, 2), (topic, answer)
            assert numbers(peer, 2) == [5, 6]
    for peer in heard.values():
        assert numbers(peer, 2) == [5, 6]


# ---- Trouble ----


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_a_node_that_is_killed_takes_nothing_with_it_that_was_stored(victim: int) -> None:
    topics = [f"t{at}" for at in range(12)]
    with ExitStack() as stack:
        nodes: list[NodeProcess] = []
        for _ in range(3):
            seeds = [node.address for node in nodes[:1]]
            cluster = {"seeds": seeds, "heartbeat_interval": 0.2, "dead_after": 2.0}
            nodes.append(stack.enter_context(NodeProcess(cluster, client_subscriptions=True, **HISTORY)))
        wait_until(lambda: all(node.peers_count() == 2 for node in nodes), "all are linked")
        others = [node for at, node in enumerate(nodes) if at != victim]
        peers = [client(stack, node, topics) for node in others]
        stored: dict[str, list[tuple[str, int, int]]] = {topic: [] for topic in topics}
        for number in range(60):
            if number == 30:
                nodes[victim].kill()
            for topic in topics:
                at = others[number % 2].call("broadcast", topic, message(number), wait="stored", timeout=20.0)
                stored[topic].append((at.epoch, at.offset, number))
        for peer in peers:
            assert by_topic(peer, topics, 60) == stored


def client(
    stack: ExitStack,
    node: NodeProcess,
    topics: list[str],
    positions: dict[str, tuple[str, int]] | None = None,
) -> Peer:
    """A client that has subscribed to topics by itself, and goes on from positions where it has some."""
    peer = Peer(dial(node.url), "")
    stack.callback(peer.close)
    recovery = {
        topic: {"epoch": epoch, "offset": offset} for topic, (epoch, offset) in (positions or {}).items()
    }
    command = {"action": "subscribe", "topics": topics, "recover": bool(recovery), "recovery": recovery}
    peer.send({"t": "subscription_update", "p": command})
    while (answer := peer.receive_json(30.0))["t"] != "subscription_update":
        pass
    assert sorted(answer["p"]["success_topics"]) == sorted(topics)
    recovered = answer["p"]["recovery"]
    assert all(recovered[topic]["recovered"] for topic in positions or {}), recovered
    return peer


def by_topic(peer: Peer, topics: list[str], count: int) -> dict[str, list[tuple[str, int, int]]]:
    """So many publications of each topic; a change of epoch must be told, and nothing may be missing."""
    got: dict[str, list[tuple[str, int, int]]] = {topic: [] for topic in topics}
    epochs: dict[str, str] = {}
    while any(len(some) < count for some in got.values()):
        one = peer.receive_json()
        if one.get("t") == "gap":
            assert one["p"]["missed"] == 0, one
            assert one["p"]["epoch"] == epochs[one["p"]["topic"]]
            epochs[one["p"]["topic"]] = one["p"]["next_epoch"]
            continue
        assert epochs.setdefault(one["tp"], one["e"]) == one["e"], "another epoch comes with its words"
        got[one["tp"]].append((one["e"], one["o"], one["p"]["n"]))
    return got


def test_a_rolling_restart_loses_nothing_and_doubles_nothing() -> None:
    topics = [f"t{at}" for at in range(8)]
    with ExitStack() as stack:
        names: list[NodeProcess] = []

        def start(seeds: list[str]) -> NodeProcess:
            cluster = {"seeds": seeds, "heartbeat_interval": 0.2, "dead_after": 3.0}
            return stack.enter_context(NodeProcess(cluster, client_subscriptions=True, **HISTORY))

        for _ in range(3):
            names.append(start([node.address for node in names]))
        wait_until(lambda: all(node.peers_count() == 2 for node in names), "all are linked")
        peer = client(stack, names[0], topics)
        got: dict[str, list[tuple[str, int, int]]] = {topic: [] for topic in topics}
        positions: dict[str, tuple[str, int]] = {}
        number = 0
        for turn in range(3):
            for _ in range(10):
                for topic in topics:
                    names[(turn + 1) % 3].call("broadcast", topic, message(number))
                number += 1
            # The client's node stops while messages are on their way; it goes on elsewhere.
            names[turn].call("stop")
            collect(peer, got, positions)
            others = [node for at, node in enumerate(names) if at != turn]
            wait_until(lambda others=others: all(node.peers_count() == 1 for node in others), "it is gone")  # type: ignore[misc]
            names[turn] = start([node.address for node in others])
            wait_until(lambda: all(node.peers_count() == 2 for node in names), "it is back under a new name")
            peer = client(stack, names[(turn + 1) % 3], topics, positions)
        while any(len(some) < number for some in got.values()):
            note(peer.receive_json(), got, positions)
        for topic in topics:
            assert [number for *_, number in got[topic]] == list(range(number)), topic
            assert [offset for _, offset, _ in got[topic]] == list(range(1, number + 1))


def collect(
    peer: Peer, got: dict[str, list[tuple[str, int, int]]], positions: dict[str, tuple[str, int]]
) -> None:
    """All that comes until the server closes."""
    with suppress(ConnectionClosed):
        while True:
            note(peer.receive_json(), got, positions)


def note(
    one: dict[str, Any], got: dict[str, list[tuple[str, int, int]]], positions: dict[str, tuple[str, int]]
) -> None:
    """A client's book of what it got and where it stands."""
    if one.get("t") == "gap":
        assert one["p"]["missed"] == 0, one
        positions[one["p"]["topic"]] = (one["p"]["next_epoch"], one["p"]["next_offset"])
    elif "o" in one:
        got[one["tp"]].append((one["e"], one["o"], one["p"]["n"]))
        positions[one["tp"]] = (one["e"], one["o"])
