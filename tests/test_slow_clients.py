"""A client that reads too slowly loses its backlog, not its connection, and is told what it missed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from sockets import Client, Frame
from support import PATIENCE, Running, start_server, wait_until

LIMIT = 65_536
SMALL_BUFFER = 4096
TOPIC = "prices"
PAD = "x" * 1000


def message(number: int, pad: str = PAD) -> str:
    return json.dumps({"t": "tick", "n": number, "pad": pad})


@contextmanager
def stalled_client(
    topics: list[str], *, receive_buffer: int = SMALL_BUFFER, **options: Any
) -> Iterator[tuple[Running, Client, str]]:
    """A server, and a client of these topics that does not read until the test does."""
    options = {"max_outbound_queue_bytes": LIMIT, "shards": 1} | options
    with start_server(**options) as node, Client(node.port, "slow", receive_buffer=receive_buffer) as client:
        ((_, conn_id, _),) = node.events.wait("connect")
        node.server.subscribe_connection(conn_id, topics)
        yield node, client, conn_id


def health(node: Running, name: str) -> int:
    value = node.server.health_snapshot()[name]  # type: ignore[literal-required]
    assert isinstance(value, int)
    return value


def publish_until_behind(node: Running, topic: str = TOPIC, *, start: int = 1) -> int:
    """Publishes numbered messages until a client has fallen behind; the number after the last."""
    before, number = health(node, "slow_client_backlogs"), start
    while health(node, "slow_client_backlogs") == before:
        for _ in range(20):
            node.server.broadcast(topic, message(number))
            number += 1
        assert number < 500_000, "nobody falls behind"
    return number


def parsed(frames: list[Frame]) -> list[dict[str, Any]]:
    return [json.loads(frame.payload) for frame in frames]


def read_until(client: Client, last: int) -> list[dict[str, Any]]:
    """Everything up to the message with this number."""
    seen: list[dict[str, Any]] = []
    while all(each.get("n") != last for each in seen[-200:]):
        frames = client.take(PATIENCE)
        assert frames or client.ended is None, f"ended with {client.ended}"
        seen += parsed(frames)
    return seen


def check_story(seen: list[dict[str, Any]], top: int) -> tuple[int, int]:
    """Every offset is there once, in order, or in a gap told before it; how many came, how many did not."""
    expected, missed = 1, 0
    for each in seen:
        if each["t"] == "gap":
            gap = each["p"]
            assert (gap["topic"], gap["from"]) == (TOPIC, expected), gap
            assert gap["missed"] == gap["to"] - gap["from"] + 1 > 0
            missed += gap["missed"]
            expected = gap["to"] + 1
        else:
            assert (each["o"], each["n"]) == (expected, expected), "in order, once, without a hole"
            expected += 1
    assert expected == top + 1
    return top - missed, missed


def test_with_history_the_backlog_is_replayed_and_nothing_is_missing() -> None:
    history = {"recovery_enabled": True, "recovery_buffer_size": 16_384, "recovery_memory_budget": 1 << 26}
    with stalled_client([TOPIC], **history, max_outbound_queue_bytes=1 << 20) as (node, client, _):
        top = publish_until_behind(node) - 1
        assert health(node, "slow_clients") == 1
        seen = read_until(client, top)
        came, missed = check_story(seen, top)
        # Half of the limit is replayed, and the rest of what was dropped is told.
        assert came > 0
        assert missed < top // 2 + 600
        wait_until(lambda: health(node, "slow_clients") == 0, "it is well again")
        node.server.broadcast(TOPIC, message(top + 1))
        assert read_until(client, top + 1)[-1]["o"] == top + 1
        assert client.ended is None


def test_what_fits_is_replayed_whole() -> None:
    """What was dropped is less than half of the limit, so all of it comes again."""
    with stalled_client([TOPIC], recovery_enabled=True, recovery_buffer_size=4096) as (node, client, _):
        big = json.dumps({"t": "big", "pad": "x" * 60_000})
        number = 1
        # Large messages fill the socket; small ones are what is dropped.
        while health(node, "slow_client_backlogs") == 0:
            node.server.broadcast("other", big)
            node.server.subscribe_connection(client_id(node), ["other"])
            number += 1
            assert number < 1000
        for number in range(1, 21):
            node.server.broadcast(TOPIC, message(number))
        seen = [each for each in read_until(client, 20) if each.get("tp") == TOPIC]
        assert [each["o"] for each in seen] == list(range(1, 21))


def client_id(node: Running) -> str:
    ((_, conn_id, _),) = node.events.of("connect")
    return conn_id


def test_what_the_history_no_longer_holds_is_told_exactly() -> None:
    with stalled_client([TOPIC], recovery_enabled=True, recovery_buffer_size=16) as (node, client, _):
        top = publish_until_behind(node) - 1
        came, missed = check_story(read_until(client, top), top)
        assert missed > 0
        assert health(node, "slow_client_messages_replayed") <= 16
        assert health(node, "slow_client_gaps") == 1
        assert health(node, "slow_client_messages_dropped") >= missed
        assert health(node, "slow_consumer_drops") == 0, "nobody was closed"
        assert came + missed == top


def test_a_client_that_falls_behind_again_and_again_is_told_each_time() -> None:
    with stalled_client([TOPIC], recovery_enabled=True, recovery_buffer_size=64) as (node, client, _):
        top, seen = 0, []
        for _ in range(6):
            top = publish_until_behind(node, start=top + 1) - 1
            # It reads until it is served again, and stalls with that on its way.
            while health(node, "slow_clients"):
                seen += parsed(client.take())
        node.server.broadcast(TOPIC, message(top + 1))
        seen += read_until(client, top + 1)
        _, missed = check_story(seen, top + 1)
        assert missed > 0
        assert health(node, "slow_client_backlogs") >= 6


def test_the_policy_gap_tells_and_does_not_replay() -> None:
    options: dict[str, Any] = {"recovery_enabled": True, "recovery_buffer_size": 4096, "slow_client": "gap"}
    with stalled_client([TOPIC], **options) as (node, client, _):
        top = publish_until_behind(node) - 1
        # What comes when it reads again is live.
        seen = parsed(client.take())
        while not any(each["t"] == "gap" for each in seen):
            seen += parsed(client.take())
        node.server.broadcast(TOPIC, message(top + 1))
        seen += read_until(client, top + 1)
        _, missed = check_story(seen, top + 1)
        assert missed >= health(node, "slow_client_messages_dropped") - 1
        assert health(node, "slow_client_messages_replayed") == 0


@pytest.mark.parametrize("policy", ["heal", "gap"])
def test_without_history_the_client_learns_how_many_it_missed(policy: str) -> None:
    with stalled_client([TOPIC], slow_client=policy) as (node, client, _):
        top = publish_until_behind(node) - 1
        seen = parsed(client.take())
        while not any(each["t"] == "gap" for each in seen):
            seen += parsed(client.take())
        node.server.broadcast(TOPIC, message(top + 1))
        seen += read_until(client, top + 1)
        gaps = [each["p"] for each in seen if each["t"] == "gap"]
        numbers = [each["n"] for each in seen if each["t"] == "tick"]
        assert [set(gap) for gap in gaps] == [{"topic", "missed"}] * len(gaps)
        assert len(numbers) + sum(gap["missed"] for gap in gaps) == top + 1
        assert numbers == sorted(set(numbers)), "in order, once"


def test_a_pattern_is_told_which_topics_it_missed_something_of() -> None:
    with stalled_client(["room:*"], recovery_enabled=True) as (node, client, _):
        number = 1
        while health(node, "slow_client_backlogs") == 0:
            node.server.broadcast("room:a", message(number))
            node.server.broadcast("room:b", message(number))
            number += 1
        seen = parsed(client.take())
        while sum(each["t"] == "gap" for each in seen) < 2:
            seen += parsed(client.take())
        gaps = [each["p"] for each in seen if each["t"] == "gap"]
        assert gaps == [{"topic": "room:a", "missed": None}, {"topic": "room:b", "missed": None}]
        node.server.broadcast("room:c", message(number))
        assert read_until(client, number)[-1]["tp"] == "room:c"


def test_what_was_sent_to_the_client_alone_survives_its_backlog() -> None:
    with stalled_client([TOPIC], recovery_enabled=True, recovery_buffer_size=16) as (node, client, conn_id):
        said = 0
        while health(node, "slow_client_backlogs") == 0:
            node.server.broadcast(TOPIC, json.dumps({"t": "pad", "pad": PAD}))
            if said < 40:
                node.server.send(conn_id, json.dumps({"t": "direct", "n": said}))
                said += 1
        node.server.send(conn_id, json.dumps({"t": "direct", "n": said}))
        seen = read_until(client, said)
        assert [each["n"] for each in seen if each["t"] == "direct"] == list(range(said + 1))


def test_too_much_for_one_client_alone_closes_it_under_each_policy() -> None:
    for policy in ("heal", "gap", "close"):
        with stalled_client([TOPIC], recovery_enabled=True, slow_client=policy) as (node, client, conn_id):
            while health(node, "slow_consumer_drops") == 0:
                node.server.send(conn_id, message(1))
            client.frames_to_the_end()
            assert client.ended == 4408


def test_the_policy_close_closes() -> None:
    with stalled_client([TOPIC], recovery_enabled=True, slow_client="close") as (node, client, _):
        while health(node, "slow_consumer_drops") == 0:
            node.server.broadcast(TOPIC, message(1))
        client.frames_to_the_end()
        assert client.ended == 4408
        assert health(node, "slow_client_backlogs") == 0


def test_the_others_miss_nothing_and_a_slow_client_costs_no_copies() -> None:
    with stalled_client([TOPIC], recovery_enabled=True, recovery_buffer_size=64) as (node, client, _):
        with Client(node.port, "quick") as quick:
            conn_id = node.events.wait("connect", count=2)[1][1]
            node.server.subscribe_connection(conn_id, [TOPIC])
            seen: list[dict[str, Any]] = []
            number = 1
            while health(node, "slow_client_backlogs") == 0 or number < 2000:
                node.server.broadcast(TOPIC, message(number))
                number += 1
                seen += parsed(quick.frames(1))
            seen += read_until(quick, number - 1) if seen[-1]["n"] != number - 1 else []
            assert [each["o"] for each in seen] == list(range(1, number))
            assert health(node, "outbound_queued_bytes") <= 2 * LIMIT, "what it missed is not held for it"
        check_story(read_until(client, number - 1), number - 1)


def test_a_slow_client_that_goes_away_is_counted_no_more() -> None:
    with stalled_client([TOPIC], recovery_enabled=True) as (node, client, _):
        publish_until_behind(node)
        assert health(node, "slow_clients") == 1
        client.reset()
        node.events.wait("disconnect")
        wait_until(lambda: health(node, "slow_clients") == 0, "a client that is gone lags")


def test_all_together_stay_under_the_total_and_none_is_closed() -> None:
    """Each on a topic of its own, so that nothing is shared, and each far below what one may be behind."""
    total = 4 << 20
    options: dict[str, Any] = {
        "max_outbound_queue_bytes": total,
        "max_outbound_total_bytes": total,
        "shards": 2,
    }
    with start_server(**options) as node, ExitStack() as stack:
        clients = [
            stack.enter_context(Client(node.port, str(n), receive_buffer=SMALL_BUFFER)) for n in range(8)
        ]
        names = [data.partition("=")[2] for _, _, data in node.events.wait("connect", count=len(clients))]
        ids = [conn_id for _, conn_id, _ in node.events.of("connect")]
        for name, conn_id in zip(names, ids, strict=True):
            node.server.subscribe_connection(conn_id, [name])
        while health(node, "slow_clients") < len(clients):
            for name in names:
                node.server.broadcast_many(name, [PAD] * 64)
            # An answer of each shard comes after all that was published before.
            for conn_id in ids:
                assert node.server.get_connection_info(conn_id), "it was closed"
            assert health(node, "outbound_queued_bytes") <= total + (1 << 20)
        assert health(node, "slow_consumer_drops") == 0
        for client in clients:
            while not any(b'"t":"gap"' in frame.payload for frame in client.take()):
                pass
            node.server.broadcast(client.name, "last")
            assert client.frames_until(b"last")[-1].payload == b"last", "it goes on"
