"""The client for asyncio against the server itself."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from typing import Any

import pytest

from client.conftest import Factory
from support import Running, free_port, run, wait_until
from wse_client import (
    AuthenticationError,
    Client,
    ClosedError,
    Connected,
    ConnectError,
    Disconnected,
    Gap,
    GapCause,
    Message,
    Position,
    Presence,
    RefusedError,
    Subscription,
    SubscriptionError,
    Trouble,
)
from wse_server import rust_jwt_encode

SECRET = b"a secret that has more than thirty-two bytes"
HERE: dict[str, Any] = {"proxy": None}


def token(user: str = "ann", life: float = 3600, **claims: Any) -> str:
    return rust_jwt_encode({"sub": user, "exp": int(time.time() + life)} | claims, SECRET)


def publish(running: Running, topic: str, *numbers: int) -> None:
    for n in numbers:
        running.server.broadcast(topic, json.dumps({"t": "n", "p": n}))


async def take(subscription: Subscription, count: int) -> list[Any]:
    async with asyncio.timeout(10):
        return [(await anext(subscription)).payload for _ in range(count)]


def test_messages_come_in_order_and_publications_tell_where_they_stand(serving: Factory) -> None:
    server = serving()

    async def scenario() -> None:
        async with Client(server.url, **HERE) as client:
            async with client.subscribe("prices") as prices:
                at = await client.publish("prices", {"t": "n", "p": 1})
                publish(server, "prices", 2)
                assert await take(prices, 2) == [1, 2]
                assert at is not None
                assert prices.positions == {"prices": Position(at.epoch, 2)}
            await asyncio.to_thread(
                wait_until, lambda: server.server.get_topic_subscriber_count("prices") == 0, "unsubscribed"
            )
            assert repr(client) == f"<Client {server.url} open, 0 subscriptions>"
        assert client.is_closed

    run(scenario())


def test_a_loop_over_a_subscription_is_all_it_takes(serving: Factory) -> None:
    server = serving()

    async def scenario() -> None:
        async with Client(server.url, **HERE) as client:
            # What is published without being waited for comes after the subscription was asked for.
            async for message in client.subscribe("prices"):
                assert message.payload == 7
                break
            else:
                pytest.fail("it ended")

    async def publisher() -> None:
        await asyncio.to_thread(
            wait_until, lambda: server.server.get_topic_subscriber_count("prices") == 1, "subscribed"
        )
        publish(server, "prices", 7)

    async def both() -> None:
        await asyncio.gather(scenario(), publisher())

    run(both())


def test_a_subscription_that_nobody_holds_ends(serving: Factory) -> None:
    server = serving()

    async def scenario() -> None:
        async with Client(server.url, **HERE) as client:
            subscription = client.subscribe("prices")
            await subscription.ready()
            assert server.server.get_topic_subscriber_count("prices") == 1
            del subscription
            gc.collect()
            await asyncio.to_thread(
                wait_until, lambda: server.server.get_topic_subscriber_count("prices") == 0, "unsubscribed"
            )
            assert client.is_connected

    run(scenario())


@pytest.mark.parametrize(
    "options",
    [
        {"format": "msgpack"},
        {"compression": "zlib"},
        {"compression": "deflate"},
        {"encryption": True},
        {"encryption": True, "compression": "zlib", "format": "msgpack"},
    ],
    ids=lambda options: "-".join(str(value) for value in options.values()),
)
def test_every_form_carries_the_same(serving: Factory, options: dict[str, Any]) -> None:
    server = serving()
    payload = {"text": "naïve €😀" * 300, "numbers": [1, 2.5, None, True, -(2**63)]}

    async def scenario() -> None:
        async with Client(server.url, **HERE, **options) as client, client.subscribe("a") as heard:
            await client.publish("a", {"t": "n", "p": payload})
            assert await take(heard, 1) == [payload]
            await client.send({"t": "mine", "p": payload})
            ((_, conn_id, said),) = await asyncio.to_thread(server.events.wait, "msg")
            assert said == {"t": "mine", "p": payload}
            server.server.send_event(conn_id, {"t": "yours", "p": payload})
            async for message in client:
                assert (message.type, message.payload) == ("yours", payload)
                break
            server.server.send_bytes(conn_id, b"\x00\xff")
            assert (await anext(client.messages())).content == b"\x00\xff"

    run(scenario())


@pytest.mark.usefixtures("soon")
def test_what_was_missed_while_away_comes_before_what_is_new(serving: Factory) -> None:
    server = serving()
    events: list[Any] = []

    async def scenario() -> None:
        client = Client(server.url, on_connect=events.append, on_disconnect=events.append, **HERE)
        async with client, client.subscribe("a") as heard:
            publish(server, "a", 1)
            assert await take(heard, 1) == [1]
            assert client.connection is not None
            server.server.disconnect(client.connection.connection_id, 4408, "too slow")
            publish(server, "a", 2, 3)
            assert await take(heard, 2) == [2, 3]
            publish(server, "a", 4)
            assert await take(heard, 1) == [4]
        kinds = [type(event) for event in events]
        assert kinds == [Connected, Disconnected, Connected]
        assert (events[1].code, events[2].is_return) == (4408, True)

    run(scenario())


@pytest.mark.usefixtures("soon")
def test_what_can_not_be_recovered_is_told_with_its_range(serving: Factory) -> None:
    server = serving(recovery_buffer_size=4)
    gaps: list[Gap] = []

    async def tell(gap: Gap) -> None:
        await asyncio.sleep(0)
        gaps.append(gap)

    async def scenario() -> None:
        async with Client(server.url, on_gap=tell, **HERE) as client, client.subscribe("a") as heard:
            publish(server, "a", 1)
            assert await take(heard, 1) == [1]
            assert client.connection is not None
            server.server.disconnect(client.connection.connection_id, 4408)
            publish(server, "a", *range(2, 21))
            await asyncio.to_thread(
                wait_until, lambda: server.server.get_topic_subscriber_count("a") == 1, "it is back"
            )
            publish(server, "a", 21)
            assert await take(heard, 1) == [21]
            (gap,) = gaps
            assert (gap.cause, gap.first, gap.last, gap.missed) == (GapCause.NOT_RECOVERED, 2, 20, 19)

    run(scenario())


def test_another_process_goes_on_from_kept_positions(serving: Factory) -> None:
    server = serving()

    async def scenario() -> None:
        async with Client(server.url, **HERE) as client, client.subscribe("a", "b") as heard:
            publish(server, "a", 1)
            assert await take(heard, 1) == [1]
            kept = heard.positions
        publish(server, "a", 2)
        publish(server, "b", 3)
        async with Client(server.url, **HERE) as client, client.subscribe("a", "b", positions=kept) as heard:
            assert sorted(await take(heard, 2)) == [2, 3]

    run(scenario())


def test_a_reader_that_waits_holds_up_the_connection_and_loses_nothing(serving: Factory) -> None:
    server = serving(recovery_buffer_size=8192, recovery_max_messages=8192)
    count = 4000
    text = "x" * 2000

    async def scenario() -> None:
        async with (
            Client(server.url, receive_buffer_bytes=100_000, **HERE) as client,
            client.subscribe("a") as heard,
        ):
            await asyncio.to_thread(
                lambda: [
                    server.server.broadcast("a", json.dumps({"t": "n", "p": n, "x": text}))
                    for n in range(count)
                ]
            )
            most = 0
            numbers = []
            async for message in heard:
                most = max(most, heard.waiting)
                numbers.append(message.payload)
                if len(numbers) == count:
                    break
            assert numbers == list(range(count))
            assert most < 60, "more waited than the buffer allows"

    run(scenario())


def test_users_come_change_and_go(serving: Factory) -> None:
    server = serving(presence_enabled=True, jwt_secret=SECRET)
    seen: list[Presence] = []

    async def scenario() -> None:
        async with (
            Client(server.url, token=token("bob"), **HERE) as bob,
            bob.subscribe("room", on_presence=seen.append) as heard,
        ):
            async with (
                Client(server.url, token=token("ann"), **HERE) as ann,
                ann.subscribe("room", presence={"name": "Ann"}),
            ):
                await ann.update_presence({"name": "Ann", "status": "away"})
            publish(server, "room", 1)
            assert await take(heard, 1) == [1]
            kinds = [(each.kind, each.user_id, dict(each.data)) for each in seen]
            away = {"name": "Ann", "status": "away"}
            assert kinds[:2] == [("join", "ann", {"name": "Ann"}), ("update", "ann", away)]
            assert bob.connection is not None
            assert bob.connection.user_id == "bob"

    run(scenario())


def test_work_is_shared_in_a_queue_group(serving: Factory) -> None:
    server = serving()

    async def scenario() -> None:
        async with Client(server.url, **HERE) as one, Client(server.url, **HERE) as two:
            members = [one.subscribe("jobs", queue_group="w"), two.subscribe("jobs", queue_group="w")]
            for member in members:
                await member.ready()
            publish(server, "jobs", *range(10))
            done = [await take(member, 5) for member in members]
            assert sorted([*done[0], *done[1]]) == list(range(10))

    run(scenario())


def test_refusals_name_the_reason(serving: Factory) -> None:
    server = serving(jwt_secret=SECRET)
    allowed = token(wse_topics={"allow": ["room:*"]})

    async def scenario() -> None:
        async with Client(server.url, token=allowed, **HERE) as client:
            with pytest.raises(SubscriptionError, match=r"'secret'.*NOT_ALLOWED"):
                await client.subscribe("secret").ready()
            with pytest.raises(RefusedError, match="NOT_ALLOWED"):
                await client.publish("secret", {"t": "n"})
            assert await client.publish("room:1", {"t": "n"}) is not None

    run(scenario())


def test_a_bad_token_ends_it_with_the_servers_words(serving: Factory) -> None:
    server = serving(jwt_secret=SECRET)

    async def scenario() -> None:
        for wrong in (None, token(life=-100), "nonsense"):
            with pytest.raises(AuthenticationError, match=r"AUTH_(REQUIRED|FAILED)"):
                await Client(server.url, token=wrong, **HERE).open()

    run(scenario())


@pytest.mark.usefixtures("soon")
def test_tokens_are_renewed_on_the_living_connection(serving: Factory) -> None:
    server = serving(jwt_secret=SECRET)
    given: list[str] = []
    losses: list[object] = []

    def provide() -> str:
        given.append(token(life=4 if len(given) < 2 else 3600))
        return given[-1]

    async def scenario() -> None:
        client = Client(server.url, token=provide, on_disconnect=losses.append, token_margin=60.0, **HERE)
        async with client:
            await asyncio.to_thread(wait_until, lambda: len(given) == 3, "renewed twice", 20)
            assert client.is_connected
        assert losses == []

    run(scenario())


@pytest.mark.usefixtures("soon")
def test_the_next_url_is_tried_where_one_does_not_answer(serving: Factory) -> None:
    server = serving()
    dead = f"ws://127.0.0.1:{free_port()}/wse"
    failures: list[Disconnected] = []

    async def scenario() -> None:
        async with Client(dead, server.url, on_disconnect=failures.append, **HERE) as client:
            assert client.connection is not None
            assert client.connection.url == server.url
        assert [failure.url for failure in failures] == [dead]

    run(scenario())


@pytest.mark.usefixtures("soon")
def test_a_drain_moves_clients_to_the_other_server(serving: Factory) -> None:
    one, other = serving(), serving()

    async def scenario() -> None:
        async with Client(one.url, other.url, **HERE) as client:
            arrived = asyncio.create_task(asyncio.to_thread(other.events.wait, "connect"))
            await asyncio.to_thread(one.server.drain, timeout=1)
            await arrived
            async with client.subscribe("a") as heard:
                publish(other, "a", 1)
                assert await take(heard, 1) == [1]

    run(scenario())


def test_no_server_is_an_error_that_names_the_last_failure() -> None:
    async def scenario() -> None:
        url = f"ws://127.0.0.1:{free_port()}/wse"
        with pytest.raises(ConnectError, match=r"open_timeout, 0\.5 s; last: ws://.*ConnectionRefused"):
            await Client(url, open_timeout=0.5, **HERE).open()

    run(scenario())


def test_a_server_that_does_not_serve_this_path_is_told_at_once(serving: Factory) -> None:
    server = serving(path="/wse")

    async def scenario() -> None:
        with pytest.raises(ConnectError, match="404"):
            await Client(server.url + "x", **HERE).open()

    run(scenario())


def test_an_end_that_the_server_wants_is_raised_by_the_loop(serving: Factory) -> None:
    server = serving()

    async def scenario() -> None:
        async with Client(server.url, **HERE) as client, client.subscribe("a") as heard:
            assert client.connection is not None
            server.server.disconnect(client.connection.connection_id, 4403, "not here")
            with pytest.raises(ClosedError, match="not here"):
                await take(heard, 1)

    run(scenario())


def test_a_server_without_client_subscriptions_is_named_as_the_reason(running: Running) -> None:
    async def scenario() -> None:
        async with Client(running.url, **HERE) as client:
            with pytest.raises(TimeoutError, match="client_subscriptions"):
                await client.subscribe("a").ready(timeout=0.3)

    run(scenario())


def test_callbacks_that_fail_harm_nobody(serving: Factory, caplog: pytest.LogCaptureFixture) -> None:
    server = serving()

    def fail(_event: object) -> None:
        raise RuntimeError("mine")

    async def scenario() -> None:
        async with Client(server.url, on_connect=fail, on_trouble=fail, **HERE) as client:
            await client.publish("a", {"t": "n"})
            await client.publish("*", {"t": "n"}, wait=False)
            await client.flush()
        assert "mine" in caplog.text

    run(scenario())


def test_what_goes_wrong_unasked_is_told(serving: Factory) -> None:
    server = serving()
    troubles: list[Trouble] = []

    async def scenario() -> None:
        async with Client(server.url, on_trouble=troubles.append, **HERE) as client:
            await client.publish("*", {"t": "n"}, wait=False)
            await client.flush()
        (trouble,) = troubles
        assert trouble.code == "INVALID_ACTION"
        assert "publish to '*'" in trouble.message

    run(scenario())


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"urls": []}, ValueError, "at least one URL"),
        ({"urls": ["http://x/"]}, ValueError, "ws:// or wss://"),
        ({"form": "json"}, TypeError, "no option 'form'"),
        ({"format": "xml"}, ValueError, "json, msgpack"),
        ({"ping_interval": 0}, ValueError, r"at least 0\.001"),
        ({"publish_queue_bytes": 1.5}, TypeError, "an int"),
        ({"token": 5}, TypeError, "token must be a str"),
        ({"on_gap": 5}, TypeError, "callable"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    urls = arguments.pop("urls", ["ws://x/"])
    with pytest.raises(error, match=words):
        Client(*urls, **arguments)


def test_secrets_are_not_shown() -> None:
    client = Client("ws://x/", token="hidden", headers={"Cookie": "hidden"})
    assert "hidden" not in repr(client) + repr(client.options)


def test_messages_show_what_matters() -> None:
    message = Message({"t": "tick", "p": {"ES": 1}, "id": "7"}, "prices", Position("5f3a09c1", 42))
    assert repr(message) == "<Message 'prices' 5f3a09c1:42 'tick' {'ES': 1}>"
    assert (message.id, message.timestamp, message.is_snapshot) == ("7", None, False)
