"""Messages of clients in the hands of a program."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, TypedDict
from uuid import UUID

import msgspec
import pydantic
import pytest
import websockets

from asyncio_server.talk import dial, one_client, play, until
from loglines import LogLines
from wse_server import Connection, Refusal, Server


class Colour(StrEnum):
    RED = "red"


@dataclass
class Inner:
    id: UUID
    colours: list[Colour] = field(default_factory=list)


@dataclass
class Chat:
    room: str
    inner: Inner
    count: int = 1


class Struct(msgspec.Struct):
    room: str
    at: datetime


class Model(pydantic.BaseModel):
    room: str
    count: int = pydantic.Field(ge=0, default=0)
    parts: list[int] = []


class Typed(TypedDict):
    room: str


ID = UUID("00000000-0000-0000-0000-000000000007")


def new() -> Server:
    return Server("127.0.0.1", 0)


@pytest.mark.parametrize(
    ("annotation", "payload", "expected"),
    [
        (dict, {"a": 1}, {"a": 1}),
        (dict[str, Any], {"a": None}, {"a": None}),
        (Any, [1, "two"], [1, "two"]),
        (list[int], [1, 2], [1, 2]),
        (int | None, None, None),
        (Typed, {"room": "a", "more": 1}, {"room": "a"}),
        (
            Chat,
            {"room": "a", "inner": {"id": str(ID), "colours": ["red"]}},
            Chat("a", Inner(ID, [Colour.RED])),
        ),
        (Struct, {"room": "a", "at": "2026-01-02T03:04:05Z"}, None),
        (Model, {"room": "a", "count": 3}, Model(room="a", count=3)),
        (list[Model], [{"room": "a"}], [Model(room="a")]),
    ],
)
def test_a_payload_is_what_its_handler_declares(annotation: Any, payload: object, expected: object) -> None:
    server, got = new(), []

    async def handler(connection: Connection, payload: object) -> None:
        got.append(payload)

    handler.__annotations__["payload"] = annotation
    server.on("it")(handler)

    async def story() -> None:
        async with one_client(server) as client:
            await client.say("it", payload)
            await until(lambda: bool(got), "the handler is called")

    play(story())
    if annotation is Struct:
        assert isinstance(got[0], Struct)
        assert got[0].at.year == 2026
    else:
        assert got == [expected]


@pytest.mark.parametrize(
    ("annotation", "payload", "path", "reason"),
    [
        (Chat, {"room": 1, "inner": {"id": str(ID)}}, "p.room", "Expected `str`, got `int`"),
        (Chat, {"room": "a", "inner": {"id": "x"}}, "p.inner.id", "Invalid UUID"),
        (Chat, {"room": "a", "inner": {"id": str(ID), "colours": ["red", "x"]}}, "p.inner.colours[1]", "'x'"),
        (Chat, {"room": "a"}, "p", "`inner`"),
        (Chat, ["a"], "p", "Expected `object`, got `array`"),
        (Struct, {"room": "a", "at": 3}, "p.at", "datetime"),
        (Model, {"room": "a", "parts": [1, "x"]}, "p.parts[1]", "valid integer"),
        (Model, {"room": "a", "count": -1}, "p.count", "greater than or equal to 0"),
        (dict, "text", "p", "expected an object, got a text"),
        (Annotated[int, msgspec.Meta(ge=3)], 2, "p", "Expected `int` >= 3"),
        (Annotated[str, pydantic.StringConstraints(max_length=3)], "long", "p", "at most 3 characters"),
        (list[Annotated[int, pydantic.Field(ge=3)]], [3, 2], "p[1]", "greater than or equal to 3"),
        (dict[str, int], {"a": "x"}, "p[...]", "Expected `int`"),
    ],
)
def test_a_payload_that_does_not_fit_is_answered_with_the_path_of_the_field(
    annotation: Any, payload: object, path: str, reason: str
) -> None:
    server = new()

    async def handler(connection: Connection, payload: object) -> None:
        raise AssertionError(payload)

    handler.__annotations__["payload"] = annotation
    server.on("it")(handler)

    async def story() -> dict[str, Any]:
        async with one_client(server) as client:
            return await client.ask("it", payload, cid="7")

    answer = play(story())
    assert (answer["t"], answer["cid"]) == ("error", "7")
    assert answer["p"]["code"] == "INVALID_ACTION"
    assert answer["p"]["path"] == path
    assert answer["p"]["message"].startswith(f"{path}: ")
    assert reason in answer["p"]["message"]


def test_what_a_handler_returns_goes_back_with_the_cid_of_the_message() -> None:
    server = new()

    @server.on("add")
    async def add(connection: Connection, payload: list[int]) -> int:
        return sum(payload)

    @server.on("model")
    def model(connection: Connection) -> Model:
        return Model(room="a")

    @server.on("nothing")
    def nothing(connection: Connection) -> None: ...

    async def story() -> None:
        async with one_client(server) as client:
            answer = await client.ask("add", [1, 2], cid="x")
            assert (answer["t"], answer["p"], answer["cid"]) == ("add", 3, "x")
            await client.say("nothing")
            answer = await client.ask("model")
            assert (answer["t"], answer["p"]) == ("model", {"room": "a", "count": 0, "parts": []})
            assert "cid" not in answer

    play(story())


def test_a_refusal_is_told_and_not_logged() -> None:
    server = new()

    @server.on("it")
    async def it(connection: Connection, payload: dict[str, Any]) -> None:
        if payload:
            raise Refusal("not you", code="MY_CODE")
        raise Refusal("not now")

    async def story() -> None:
        async with one_client(server) as client:
            assert (await client.ask("it", {}))["p"]["code"] == "NOT_ALLOWED"
            error = (await client.ask("it", {"a": 1}))["p"]
            assert (error["code"], error["message"]) == ("MY_CODE", "not you")

    with LogLines() as log:
        play(story())
    assert "not you" not in log.text


@pytest.mark.parametrize("is_async", [True, False])
def test_a_handler_that_raises_is_answered_with_the_id_that_is_in_the_log(is_async: bool) -> None:
    server = new()

    def fails(connection: Connection) -> None:
        raise LookupError("a secret of the program")

    async def fails_later(connection: Connection) -> None:
        await asyncio.sleep(0)
        fails(connection)

    server.on("it")(fails_later if is_async else fails)

    async def story() -> dict[str, Any]:
        async with one_client(server) as client:
            error = await client.ask("it", cid="c")
            assert error["cid"] == "c"
            # The connection goes on.
            assert (await client.ask("it"))["t"] == "error"
            payload: dict[str, Any] = error["p"]
            return payload

    with LogLines() as log:
        error = play(story())
        (record,) = [it for it in log.records if error["id"] in it.getMessage()]
    assert error["code"] == "HANDLER_ERROR"
    assert "secret" not in str(error)
    assert record.levelno == logging.ERROR
    assert "LookupError: a secret of the program" in log.text
    assert "on('it')" in record.getMessage()


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ('{"t": "nope", "cid": "c"}', "there is no event 'nope'"),
        ('{"t": ["x"]}', "a message has a type"),
        ("{}", "a message has a type"),
        ("plain", "no text that is no JSON object"),
        (b"\x00\x01", "no binary messages"),
    ],
)
def test_what_nobody_handles_is_an_invalid_action(sent: str | bytes, message: str) -> None:
    server = new()

    async def story() -> dict[str, Any]:
        async with one_client(server) as client:
            await client.socket.send(sent)
            return await client.hear_error()

    error = play(story())
    assert error["code"] == "INVALID_ACTION"
    assert message in error["message"]


@pytest.mark.parametrize("is_async", [True, False])
def test_a_refusal_that_cannot_be_told_harms_nobody_else(is_async: bool) -> None:
    server = new()

    def refuses(connection: Connection) -> None:
        raise Refusal("\ud800")

    async def refuses_later(connection: Connection) -> None:
        refuses(connection)

    server.on("bad")(refuses_later if is_async else refuses)

    @server.on("good")
    def good(connection: Connection) -> int:
        return 1

    async def story() -> None:
        async with one_client(server) as client:
            for _ in range(3):
                await client.say("bad")
            assert (await client.ask("good"))["p"] == 1

    with LogLines() as log:
        play(story())
        log.wait("could not be told", count=3)


def test_text_and_bytes_have_handlers_of_their_own() -> None:
    server = new()
    got: list[object] = []

    @server.on_text
    async def text(connection: Connection, text: str) -> None:
        got.append(text)

    @server.on_binary
    def binary(connection: Connection, data: bytes) -> None:
        got.append(data)

    async def story() -> None:
        async with one_client(server) as client:
            await client.socket.send("[1]")
            await client.socket.send(b"\x00\x01")
            await until(lambda: len(got) == 2, "both arrived")

    play(story())
    assert got == ["[1]", b"\x00\x01"]


def test_messages_of_a_connection_are_handled_one_after_the_other() -> None:
    server, done, gate = new(), [], asyncio.Event()

    @server.on("slow")
    async def slow(connection: Connection) -> None:
        await gate.wait()
        done.append("slow")

    @server.on("quick")
    def quick(connection: Connection) -> None:
        done.append("quick")

    async def story() -> None:
        async with one_client(server) as client, await dial(server) as other:
            await client.say("slow")
            await client.say("quick")
            await client.say("nope")
            # Another connection does not wait for this one.
            await other.say("quick")
            await until(lambda: done == ["quick"], "the other one is handled")
            gate.set()
            # Also what is refused comes in its turn.
            assert "nope" in (await client.hear_error())["message"]
            assert done == ["quick", "slow", "quick"]

    play(story())


def test_handlers_that_need_no_order_run_beside_each_other() -> None:
    server, done, gate = new(), [], asyncio.Event()

    @server.on("slow", ordered=False)
    async def slow(connection: Connection) -> None:
        await gate.wait()
        done.append("slow")

    @server.on("quick")
    async def quick(connection: Connection) -> None:
        done.append("quick")

    async def story() -> None:
        async with one_client(server) as client:
            for event in ("slow", "quick", "slow", "quick"):
                await client.say(event)
            await until(lambda: done == ["quick", "quick"], "the quick ones are handled")
            gate.set()
            await until(lambda: len(done) == 4, "the slow ones are handled too")

    play(story())


def test_a_handler_does_not_see_the_context_of_another() -> None:
    server, seen = new(), []
    variable = contextvars.ContextVar("variable", default=0)

    def it(connection: Connection) -> None:
        seen.append(variable.get())
        variable.set(variable.get() + 1)

    server.on("plain")(it)

    @server.on("task")
    async def task(connection: Connection) -> None:
        await asyncio.sleep(0)
        it(connection)

    async def story() -> None:
        # That of whoever started the server is what all of them begin with.
        variable.set(7)
        async with one_client(server) as client:
            for event in ("plain", "task", "task", "plain", "task"):
                await client.say(event)
            await until(lambda: len(seen) == 5, "all are handled")

    play(story())
    assert seen == [7] * 5


def test_a_message_to_one_client_is_whole_or_a_payload() -> None:
    server = new()

    @server.on("it")
    async def it(connection: Connection) -> None:
        await connection.send({"t": "whole", "p": 1, "pri": 3})
        await connection.send({"x": 1})
        await connection.send({"t": "time"}, "tick")
        await connection.send(Chat("a", Inner(ID)), "chat")
        await connection.send([Model(room="b")])
        await connection.send_text("plain")
        await connection.send_bytes(b"\x01")
        with pytest.raises(TypeError, match="object"):
            await connection.send(object())

    async def story() -> None:
        async with one_client(server) as client:
            await client.say("it")
            heard = [await client.hear() for _ in range(5)]
            assert [(message["t"], message["p"]) for message in heard] == [
                ("whole", 1),
                ("message", {"x": 1}),
                ("tick", {"t": "time"}),
                ("chat", {"room": "a", "inner": {"id": str(ID), "colours": []}, "count": 1}),
                ("message", [{"room": "b", "count": 0, "parts": []}]),
            ]
            assert heard[0]["pri"] == 3
            assert await client.socket.recv() == "plain"
            assert await client.socket.recv() == b"\x01"

    play(story())


def test_a_closed_connection_is_told_apart_and_sending_to_it_does_nothing() -> None:
    server, gone = new(), []

    @server.on_disconnect
    async def left(connection: Connection) -> None:
        await connection.send({"x": 1})
        gone.append(connection)

    @server.on("end")
    async def end(connection: Connection) -> None:
        await connection.close(4403, "go away")

    async def story() -> None:
        async with one_client(server) as client:
            (connection,) = server.connections
            assert server.connection(connection.id) is connection
            assert connection.info() is not None
            await client.say("end")
            with pytest.raises(websockets.ConnectionClosed):
                await client.hear()
            assert client.socket.close_code == 4403
            await until(lambda: bool(gone), "the handler is called")
            assert gone == [connection]
            assert not connection.is_open
            assert re.fullmatch(r"<Connection \w+ closed>", repr(connection))
            await until(lambda: server.connection(connection.id) is None, "it is forgotten")
            assert connection.info() is None

    play(story())
