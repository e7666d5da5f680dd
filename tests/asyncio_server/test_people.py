"""Who comes, who goes, and what a program knows of them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from asyncio_server.talk import dial, one_client, play, until
from wse_server import Connection, Refusal, Server, ServerEvent

SECRET = "a secret that has more than thirty-two bytes"


def new(**options: Any) -> Server:
    return Server("127.0.0.1", 0, **options)


def bearer(server: Server, **claims: object) -> dict[str, str]:
    token = server.mint_token({"sub": "ann", "exp": time.time() + 3600, **claims})
    return {"Authorization": f"Bearer {token}"}


def test_a_connection_comes_before_its_messages_and_goes_after_them() -> None:
    server, told = new(), []

    @server.on_connect
    async def first(connection: Connection) -> None:
        await asyncio.sleep(0.01)
        connection.attributes["told"] = ["first"]

    @server.on_connect
    def second(connection: Connection) -> None:
        connection.attributes["told"].append("second")

    @server.on("it")
    async def it(connection: Connection, payload: int) -> None:
        await asyncio.sleep(0.001)
        connection.attributes["told"].append(payload)

    @server.on_disconnect
    async def bye(connection: Connection) -> None:
        told.extend(connection.attributes["told"])
        told.append("bye")

    async def story() -> None:
        async with one_client(server) as client:
            for number in range(10):
                await client.say("it", number)
        assert told == ["first", "second", *range(10), "bye"]

    play(story())


def test_claims_and_user_id_come_with_the_token_and_go_on_with_a_fresh_one() -> None:
    server = new(jwt_secret=SECRET)

    @server.on("who")
    def who(connection: Connection) -> dict[str, Any]:
        return {"user": connection.user_id, "role": connection.claims["role"], "cookies": connection.cookies}

    async def story() -> None:
        async with server, await dial(server, additional_headers=bearer(server, role="reader")) as client:
            assert (await client.hear())["t"] == "server_ready"
            await client.say("who")
            assert (await client.hear("who"))["p"] == {"user": "ann", "role": "reader", "cookies": {}}
            fresh = server.mint_token({"sub": "ann", "exp": time.time() + 3600, "role": "writer"})
            await client.say("auth_refresh", {"token": fresh})
            await client.say("who")
            assert (await client.hear("who"))["p"]["role"] == "writer"
            (connection,) = server.connections
            assert repr(connection).endswith(" of 'ann'>")

    play(story())


def test_cookies_are_told_where_no_tokens_are() -> None:
    server = new()

    async def story() -> None:
        cookies = {"Cookie": "a=1; b=x=y; broken; c="}
        async with server, await dial(server, additional_headers=cookies):
            await until(lambda: bool(server.connections), "it has come")
            (connection,) = server.connections
            assert connection.cookies == {"a": "1", "b": "x=y", "c": ""}
            assert (connection.user_id, connection.claims) == (None, {})

    play(story())


def test_a_handler_of_connections_may_refuse_and_may_fail() -> None:
    server = new()

    @server.on_connect
    async def door(connection: Connection) -> None:
        if "key" not in connection.cookies:
            raise Refusal("where is your key?")
        raise LookupError

    async def story() -> None:
        async with one_client(server) as client:
            assert (await client.hear_error())["message"] == "where is your key?"
        async with one_client(server, additional_headers={"Cookie": "key=1"}) as client:
            assert (await client.hear_error())["code"] == "HANDLER_ERROR"

    play(story())


def test_events_tell_everything_in_order() -> None:
    server = new(presence_enabled=True)

    @server.on("known")
    def known(connection: Connection) -> None: ...

    async def listen(heard: list[ServerEvent]) -> None:
        async for event in server.events():
            heard.append(event)  # noqa: PERF401 - it is looked at meanwhile

    async def story() -> None:
        heard: list[ServerEvent] = []
        async with server:
            listener = asyncio.create_task(listen(heard))
            await asyncio.sleep(0)
            async with await dial(server) as client:
                await until(lambda: len(heard) == 1, "it has come")
                connection = heard[0].connection
                assert connection is not None
                await connection.subscribe("room", presence={"name": "Ann"})
                await client.say("known", 1)
                await client.say("unknown", 2)
                await client.socket.send("text")
                await client.socket.send(b"bytes")
            await until(lambda: heard[-1].kind == "disconnect", "it has gone")
        # The server's end is theirs.
        await listener
        assert all(event.connection is connection for event in heard)
        assert [event.kind for event in heard] == [
            "connect",
            "presence_join",
            "message",
            "message",
            "text",
            "binary",
            "presence_leave",
            "disconnect",
        ]
        assert heard[1].data == {"topic": "room", "user_id": connection.id, "data": {"name": "Ann"}}
        assert [heard[2].data, heard[4].data] == [{"t": "known", "p": 1}, "text"]

    play(story())


def test_subscriptions_and_presence_by_the_program() -> None:
    server = new(presence_enabled=True, recovery_enabled=True)

    @server.on_connect
    async def enter(connection: Connection) -> None:
        result = await connection.subscribe(["room", "news:*"], presence={"n": 1})
        assert result == {"subscribed": ["room", "news:*"], "refused": {}, "confirmed": True}

    @server.on("leave")
    async def leave(connection: Connection, payload: str | None) -> None:
        await connection.unsubscribe(payload)

    @server.on("back")
    async def back(connection: Connection, payload: dict[str, Any]) -> Any:
        return await connection.recover({"room": (payload["epoch"], payload["offset"])})

    async def story() -> None:
        async with one_client(server) as client:
            await until(lambda: server.presence_stats("room")["num_users"] == 1, "it is present")
            (connection,) = server.connections
            await connection.update_presence({"n": 2})
            assert server.presence("room")[connection.id]["data"] == {"n": 2}
            position = await server.publish("room", {"x": 1})
            assert position is not None
            await server.publish("news:1", {"x": 2}, event="news")
            assert (await client.hear("message"))["p"] == {"x": 1}
            assert (await client.hear("news"))["p"] == {"x": 2}
            await client.say("back", {"epoch": position.epoch, "offset": 0})
            assert (await client.hear("message"))["o"] == 1
            assert (await client.hear("back"))["p"]["recovered"] is True
            await client.say("leave", "room")
            await until(lambda: server.presence("room") == {}, "it has left")
            await client.say("leave", None)
            await until(lambda: server.health()["topics"] == 0, "it hears nothing")

    play(story())


def test_everybody_can_be_told_something() -> None:
    server = new()

    async def story() -> None:
        async with one_client(server) as one, await dial(server) as two:
            await until(lambda: len(server.connections) == 2, "both are there")
            await server.send_all({"x": 1}, "news")
            for client in (one, two):
                assert (await client.hear())["p"] == {"x": 1}

    play(story())
