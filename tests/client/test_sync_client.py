"""The client for programs without asyncio."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from client.conftest import Factory
from support import wait_until
from wse_client import ClosedError, Connected, Gap, SubscriptionError, SyncClient

HERE: dict[str, Any] = {"proxy": None}


def test_it_subscribes_publishes_and_ends(serving: Factory) -> None:
    server = serving()
    with SyncClient(server.url, **HERE) as client:
        with client.subscribe("a") as heard:
            at = client.publish("a", {"t": "n", "p": 1})
            server.server.broadcast("a", '{"t":"n","p":2}')
            assert [next(heard).payload, heard.receive(10).payload] == [1, 2]
            assert at is not None
            assert heard.positions["a"].offset == at.offset + 1
            with pytest.raises(TimeoutError):
                heard.receive(0.01)
        assert list(heard) == []
        with pytest.raises(ClosedError):
            heard.receive(1)
    assert not [each for each in threading.enumerate() if each.name == "wse-client"]
    with pytest.raises(RuntimeError, match="not open"):
        client.publish("a", {"t": "n"})


def test_messages_of_no_subscription_are_read_apart(serving: Factory) -> None:
    server = serving()
    with SyncClient(server.url, **HERE) as client:
        client.send({"t": "mine"})
        ((_, conn_id, _),) = server.events.wait("msg")
        server.server.send(conn_id, '{"t":"yours","p":5}')
        assert next(client.messages()).payload == 5


@pytest.mark.usefixtures("soon")
def test_gaps_are_told_by_the_thread_that_reads(serving: Factory) -> None:
    server = serving(recovery_buffer_size=4)
    told: list[tuple[str, Gap]] = []
    with SyncClient(server.url, **HERE) as client:
        heard = client.subscribe("a", on_gap=lambda gap: told.append((threading.current_thread().name, gap)))
        heard.ready()
        assert client.connection is not None
        first = client.connection.connection_id
        server.server.disconnect(first, 4408)
        for n in range(20):
            server.server.broadcast("a", json.dumps({"t": "n", "p": n}))
        wait_until(lambda: server.server.get_connection_info(first) is None, "the first connection has ended")
        wait_until(lambda: server.server.get_topic_subscriber_count("a") == 1, "it is back")
        server.server.broadcast("a", '{"t":"n","p":20}')
        assert heard.receive(10).payload == 20
    ((name, gap),) = told
    assert (name, gap.first, gap.last) == ("MainThread", 1, 20)


def test_callbacks_may_use_the_client(serving: Factory) -> None:
    server = serving()
    published = threading.Event()

    def come(_event: Connected) -> None:
        client.publish("a", {"t": "here"})
        published.set()

    client = SyncClient(server.url, on_connect=come, **HERE)
    with client:
        assert published.wait(10)


def test_errors_are_those_of_the_other_client(serving: Factory) -> None:
    server = serving()
    with SyncClient(server.url, **HERE) as client:
        client.subscribe("a")
        with pytest.raises(ValueError, match="control characters"):
            client.subscribe("a\n")
        assert client.connection is not None
        server.server.set_topic_acl(client.connection.connection_id, deny=["b"])
        refused = client.subscribe("b")
        with pytest.raises(SubscriptionError):
            refused.ready()


def test_many_threads_may_use_one_client(serving: Factory) -> None:
    server = serving()
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            with client.subscribe(name) as heard:
                for n in range(50):
                    client.publish(name, {"t": "n", "p": n})
                assert [heard.receive(10).payload for _ in range(50)] == list(range(50))
        except BaseException as error:  # noqa: BLE001 - told by the test
            failures.append(error)

    with SyncClient(server.url, **HERE) as client:
        threads = [threading.Thread(target=work, args=[f"topic-{n}"]) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert failures == []
