"""Rules decide what clients may have that ask for it themselves."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pydantic
import pytest

from asyncio_server.talk import Talker, one_client, play, until
from loglines import LogLines
from wse_server import Connection, Refusal, Server
from wse_server.rules import Template


def new(**options: Any) -> Server:
    return Server("127.0.0.1", 0, **{"client_subscriptions": True, "client_publish": True} | options)


@pytest.mark.parametrize(
    ("template", "topic", "fields"),
    [
        ("room:{id}", "room:1", {"id": "1"}),
        ("room:{id}", "room:", None),
        ("room:{id}", "room:1:secret", None),
        ("room:{id}", "room:1/secret", None),
        ("room:{id}", "xroom:1", None),
        ("room:{id}", "room:1\n", {"id": "1\n"}),
        ("{kind}:{id}.x", "a.b:c.x", {"kind": "a.b", "id": "c"}),
        ("file/{rest:path}", "file/a/b:c", {"rest": "a/b:c"}),
        ("a.c", "abc", None),
        ("news", "news", {}),
    ],
)
def test_a_template_means_topics_of_its_form(template: str, topic: str, fields: object) -> None:
    assert Template(template).match(topic) == fields


async def publish(client: Talker, topic: str) -> dict[str, Any]:
    """What the client is answered to a publication of its own."""
    await client.say("publish", {"topic": topic, "data": {"t": "x"}}, cid="p")
    while True:
        answer = await client.hear()
        if answer.get("cid") == "p":
            return answer


def test_a_topic_is_had_if_a_rule_allows_it() -> None:
    server = new()

    @server.authorize("room:{room}")
    async def room(connection: Connection, room: int, action: str) -> bool:
        await asyncio.sleep(0)
        if room == 0:
            raise Refusal("room 0 is closed")
        return room < 10 and (action == "subscribe" or room < 5)

    @server.authorize("user:{user}:{kind}", actions=("subscribe",))
    def user(connection: Connection, user: UUID, kind: Literal["mail", "chat"]) -> bool:
        return user.int == 7

    async def story() -> None:
        seven = UUID(int=7)
        async with one_client(server) as client:
            wanted = ["room:1", "room:10", "room:0", "room:x", "room:*", "other", f"user:{seven}:mail"]
            wanted += [f"user:{seven}:x", f"user:{UUID(int=8)}:mail"]
            answer = await client.subscribe(*wanted)
            assert answer["success_topics"] == ["room:1", f"user:{seven}:mail"]
            reasons = {topic: error["message"] for topic, error in answer["errors"].items()}
            assert reasons.pop("room:0") == "room 0 is closed"
            assert reasons.pop("room:*") == "patterns are not allowed here; name each topic"
            assert set(reasons.values()) == {"the server does not allow it"}
            assert (await publish(client, "room:4"))["t"] == "publish"
            for refused in ("room:5", f"user:{seven}:mail", "other"):
                assert (await publish(client, refused))["p"]["code"] == "NOT_ALLOWED"
            assert (await publish(client, "room:0"))["p"]["message"] == "room 0 is closed"

    play(story())


def test_the_constraints_of_a_field_hold() -> None:
    server = new()

    @server.authorize("one:{room}")
    def one(
        connection: Connection, room: Annotated[str, pydantic.StringConstraints(pattern="^[a-z]+$")]
    ) -> bool:
        return True

    @server.authorize("two:{room}")
    def two(connection: Connection, room: Annotated[int, msgspec.Meta(ge=1, le=9)]) -> bool:
        return isinstance(room, int)

    @server.authorize("three:{room}")
    def three(connection: Connection, room: Annotated[int, pydantic.Field(gt=3)]) -> bool:
        return isinstance(room, int)

    async def story() -> None:
        async with one_client(server) as client:
            answer = await client.subscribe(
                "one:a", "one:NO", "two:9", "two:10", "two:x", "three:4", "three:3"
            )
            assert answer["success_topics"] == ["one:a", "two:9", "three:4"]

    play(story())


def test_a_publication_is_asked_for_once_and_a_subscription_each_time() -> None:
    server, asked = new(), []

    @server.authorize("{topic}")
    def rule(connection: Connection, topic: str, action: str) -> bool:
        asked.append((topic, action))
        return True

    async def story() -> None:
        async with one_client(server) as client:
            for _ in range(3):
                await publish(client, "a")
                await client.subscribe("a")
            assert asked == [("a", "publish"), *[("a", "subscribe")] * 3]
            (connection,) = server.connections
            connection.forget_authorizations()
            await publish(client, "a")
            assert asked[-1] == ("a", "publish")

    play(story())


def test_a_rule_that_raises_allows_nothing_and_is_in_the_log() -> None:
    server = new()

    @server.authorize("{topic}")
    def rule(connection: Connection, topic: str) -> bool:
        raise LookupError("a secret")

    async def story() -> str:
        async with one_client(server) as client:
            answer = await client.subscribe("a")
            assert answer["success_topics"] == []
            message: str = answer["errors"]["a"]["message"]
            return message

    with LogLines() as log:
        message = play(story())
        assert message.startswith("it could not be decided, id ")
        (record,) = [it for it in log.records if message.split()[-1] in it.getMessage()]
        assert "LookupError" in log.text
    assert "authorize('{topic}')" in record.getMessage()


def test_only_true_allows() -> None:
    server = new()

    @server.authorize("{topic}")
    def rule(connection: Connection, topic: str) -> Any:
        return {"none": None, "text": "yes", "one": 1, "list": [True]}.get(topic)

    async def story() -> None:
        async with one_client(server) as client:
            assert (await client.subscribe("none", "text", "one", "list"))["success_topics"] == []

    play(story())


def test_what_a_client_says_meanwhile_waits_and_stays_in_order() -> None:
    server, gate, heard = new(), asyncio.Event(), []

    @server.authorize("{topic}")
    async def rule(connection: Connection, topic: str) -> bool:
        await gate.wait()
        return True

    @server.on("it")
    def it(connection: Connection) -> None:
        heard.append("it")

    async def story() -> None:
        async with one_client(server) as client:
            await client.say("subscription_update", {"action": "subscribe", "topics": ["a"]}, cid="1")
            await client.say("publish", {"topic": "a", "data": {"t": "own"}}, cid="2")
            await client.say("it")
            await until(lambda: not server.engine.inbound_queue_depth(), "everything is taken")
            assert heard == []
            gate.set()
            said = [await client.hear() for _ in range(3)]
            assert [(it["t"], it.get("cid")) for it in said] == [
                ("subscription_update", "1"),
                ("own", None),
                ("publish", "2"),
            ]
            await until(lambda: heard == ["it"], "the message arrives")

    play(story())


def test_access_lists_hold_beside_the_rules() -> None:
    server, asked = new(), []

    @server.on_connect
    def limit(connection: Connection) -> None:
        connection.set_acl(allow=["a*"], deny=["ab"])

    @server.authorize("{topic}")
    def rule(connection: Connection, topic: str) -> bool:
        asked.append(topic)
        return topic != "ac"

    async def story() -> None:
        async with one_client(server) as client:
            await until(lambda: bool(server.connections), "the handler has run")
            answer = await client.subscribe("a", "ab", "ac", "b")
            assert answer["success_topics"] == ["a"]
            assert sorted(answer["failed_topics"]) == ["ab", "ac", "b"]
            # What the list refuses is not asked for.
            assert asked == ["a", "ac"]

    play(story())


def test_a_client_that_leaves_while_it_is_asked_for_does_no_harm() -> None:
    server, entered, gate = new(), asyncio.Event(), asyncio.Event()

    @server.authorize("{topic}")
    async def rule(connection: Connection, topic: str) -> bool:
        entered.set()
        await gate.wait()
        return True

    async def story() -> None:
        async with one_client(server) as client:
            await client.say("subscription_update", {"action": "subscribe", "topics": ["a"]})
            await entered.wait()
            (connection,) = server.connections
            # It is not read while it is asked for, so its end is found after the answer.
            client.socket.transport.abort()
            gate.set()
            await until(lambda: server.connection(connection.id) is None, "its end is heard")
            assert server.engine.get_topic_subscriber_count("a") == 0

    play(story())


def test_a_server_that_stops_while_a_rule_waits_ends() -> None:
    server, entered = new(stop_timeout=0.05), asyncio.Event()

    @server.authorize("{topic}")
    async def rule(connection: Connection, topic: str) -> bool:
        entered.set()
        await asyncio.Event().wait()
        return True

    async def story() -> None:
        async with one_client(server) as client:
            await client.say("subscription_update", {"action": "subscribe", "topics": ["a"]})
            await entered.wait()
            # It would wait for the server's part of the goodbye, which does not read it meanwhile.
            client.socket.transport.abort()

    with LogLines() as log:
        play(story())
        log.wait("1 handlers still run")


def test_without_rules_the_engine_decides() -> None:
    server = new()

    async def story() -> None:
        async with one_client(server) as client:
            assert (await client.subscribe("anything", "room:*"))["success_topics"] == ["anything", "room:*"]

    play(story())


def test_a_thousand_topics_at_once_are_one_question() -> None:
    server, asked = new(), []

    @server.authorize("room:{room}")
    def rule(connection: Connection, room: int) -> bool:
        asked.append(room)
        return room % 2 == 0

    async def story() -> None:
        async with one_client(server) as client:
            answer = await client.subscribe(*(f"room:{room}" for room in range(1000)))
            assert len(answer["success_topics"]) == len(answer["failed_topics"]) == 500
            assert asked == list(range(1000))

    play(story())
