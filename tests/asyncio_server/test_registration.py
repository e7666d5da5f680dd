"""What is registered wrongly is told at once, with the name of what is wrong."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from asyncio_server.talk import play
from wse_server import Connection, Server


@dataclass
class Payload:
    a: int


class Opaque:
    """Nothing that JSON could become."""


def new() -> Server:
    return Server("127.0.0.1", 0, client_subscriptions=True)


async def nothing() -> None: ...
async def too_many(connection: Connection, payload: dict[str, Any], more: int) -> None: ...
async def keyword_only(connection: Connection, *, more: int) -> None: ...
async def any_number(connection: Connection, *args: object) -> None: ...
async def any_keyword(connection: Connection, **kwargs: object) -> None: ...
async def payload_first(payload: Payload) -> None: ...
async def opaque(connection: Connection, payload: Opaque) -> None: ...
async def unknown(connection: Connection, payload: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (nothing, r"on\('it'\): nothing\(\) takes no parameter; it is called with \(connection\) or"),
        (too_many, r"too_many\(\) parameter 'more' would get no value; it is called with \(connection\) or"),
        (keyword_only, "parameter 'more' would get no value"),
        (any_number, r"parameter '\*args' stands for any number"),
        (any_keyword, r"parameter '\*\*kwargs' stands for any number"),
        (payload_first, r"parameter 'payload' is declared as Payload, but the connection comes first"),
        (opaque, "parameter 'payload' can get no payload: .*Opaque.* is nothing that JSON can become"),
        (unknown, "has an annotation that can't be read: name 'Missing' is not defined"),
        ("text", "'text' is no function"),
    ],
)
def test_a_handler_that_could_not_be_called_is_refused(function: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        new().on("it")(function)


@pytest.mark.parametrize("register", [Server.on_connect, Server.on_disconnect])
def test_those_of_connections_take_the_connection_alone(register: Callable[[Server, Any], Any]) -> None:
    def two(connection: Connection, other: int) -> None: ...

    with pytest.raises(TypeError, match=r"parameter 'other' would get no value; .* \(connection\)$"):
        register(new(), two)


def test_what_runs_in_the_background_is_async_and_takes_nothing() -> None:
    async def takes(room: str) -> None: ...

    with pytest.raises(TypeError, match=r"background: .*takes\(\) parameter 'room' would get no value"):
        new().background(takes)
    with pytest.raises(TypeError, match=r"background: .*lambda.*\(\) is not async"):
        new().background(lambda: None)
    assert new().background(nothing) is nothing


def test_what_has_defaults_is_left_alone() -> None:
    server = new()

    def handler(
        connection: Connection, payload: dict[str, Any], more: int = 3, *, other: str = "x"
    ) -> None: ...

    assert server.on("it")(handler) is handler


def test_methods_partials_and_objects_are_functions_too() -> None:
    class Room:
        async def said(self, connection: Connection, payload: Payload) -> None: ...

        def __call__(self, connection: Connection) -> None: ...

    def three(number: int, connection: Connection, payload: dict[str, Any]) -> None: ...

    server = new()
    server.on("a")(Room().said)
    server.on("b")(Room())
    server.on("c")(functools.partial(three, 3))


@pytest.mark.parametrize("event", [None, 3, nothing])
def test_an_event_has_a_name(event: Any) -> None:
    with pytest.raises(TypeError, match=r"on\(\) takes the type of an event, a str"):
        new().on(event)


def test_what_is_there_already_is_not_replaced() -> None:
    server = new()

    def handler(connection: Connection) -> None: ...

    for register, what in ((server.on("it"), "'it'"), (server.on_text, "text"), (server.on_binary, "binary")):
        register(handler)
        with pytest.raises(ValueError, match=f"there is a handler for {what}"):
            register(handler)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("room:{", "has a '{' that belongs to no"),
        ("room:}", "has a '}' that belongs to no"),
        ("room:*", r"has a '\*' that belongs to no"),
        ("room:{}", "has a field ''"),
        ("room:{1}", "has a field '1'"),
        ("{a}:{a}", "has the field 'a' twice"),
        ("{a:int}", "of kind 'int'; allowed: 'path'"),
    ],
)
def test_a_template_that_is_malformed_is_refused(template: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        new().authorize(template)(lambda connection: True)


def test_a_rule_takes_the_fields_of_its_template() -> None:
    server = new()

    def without(connection: Connection) -> bool:
        return True

    def other(connection: Connection, room: str, other: str) -> bool:
        return True

    def wrong(connection: Connection, room: Opaque) -> bool:
        return True

    with pytest.raises(TypeError, match="parameter 'room' is missing, a field of the template"):
        server.authorize("{room}")(without)
    with pytest.raises(TypeError, match="parameter 'other' would get no value"):
        server.authorize("{room}")(other)
    with pytest.raises(TypeError, match=r"parameter 'room' is no type for a part of a topic: .*Opaque"):
        server.authorize("{room}")(wrong)
    with pytest.raises(ValueError, match=re.escape("actions has 'write'; allowed: 'subscribe', 'publish'")):
        server.authorize("{room}", actions=("write",))(lambda connection, room: True)  # type: ignore[arg-type]


def test_a_rule_needs_clients_that_do_something_themselves() -> None:
    with pytest.raises(ValueError, match=r"authorize\('a'\) .* needs client_subscriptions=True"):
        Server("127.0.0.1", 0).authorize("a")
    with pytest.raises(TypeError, match=r"authorize\(\) takes a template of topics"):
        new().authorize(nothing)  # type: ignore[arg-type]


def test_nothing_is_registered_while_the_server_runs() -> None:
    server = new()

    def handler(connection: Connection) -> None: ...

    async def story() -> None:
        async with server:
            for register in (server.on("it"), server.on_connect, server.on_disconnect, server.on_text):
                with pytest.raises(RuntimeError, match="comes before the server is started"):
                    register(handler)
            with pytest.raises(RuntimeError, match="comes before the server is started"):
                server.authorize("a")(handler)

    play(story())


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("max_running_handlers", 0, ValueError),
        ("max_running_handlers", True, TypeError),
        ("max_waiting_messages", "1", TypeError),
        ("slow_step", -1, ValueError),
        ("stop_timeout", float("nan"), ValueError),
        ("stop_timeout", None, TypeError),
        ("max_conections", 1, TypeError),
        ("max_connections", 0, ValueError),
    ],
)
def test_options_are_checked_with_their_names(option: str, value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=option):
        Server("127.0.0.1", 0, **{option: value})  # type: ignore[arg-type]


def test_the_signature_of_the_class_is_known() -> None:
    assert list(inspect.signature(Server).parameters) == [
        "host",
        "port",
        "cluster",
        "max_running_handlers",
        "max_waiting_messages",
        "slow_step",
        "stop_timeout",
        "options",
    ]
