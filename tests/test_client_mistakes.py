"""What clients do wrong: each mistake is answered with its name, and harms nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from commands import ask, is_alive
from sockets import Client, client_frame
from support import Peer, Running, start_server, wait_until
from wire import TEXT, connect

Factory = Callable[..., Running]
NOT_ALLOWED = "the access list does not allow it"
MEGABYTE = 1024 * 1024


@pytest.fixture
def open_to_all(server_factory: Factory) -> Factory:
    """Starts a server that lets clients do everything, with history."""
    return lambda **options: server_factory(
        **{"client_subscriptions": True, "client_publish": True, "recovery_enabled": True} | options
    )


TOO_LONG = "x" * 256
DEEP = "[" * 70 + "]" * 70


def with_p(kind: str, p: str) -> str:
    return f'{{"t":"{kind}","p":{p},"cid":"c"}}'


def in_subscribe(fields: str) -> str:
    return with_p("subscription_update", '{"action":"subscribe","topics":["a","b*"],' + fields + "}")


def in_recovery(value: str) -> str:
    return in_subscribe(f'"recovery":{{"a":{value}}}')


def in_data(data: str) -> str:
    return with_p("publish", f'{{"topic":"a","data":{data}}}')


BAD: list[tuple[str, str, str]] = [
    # What is asked for.
    (with_p("subscription_update", "null"), "INVALID_ACTION", "p must be an object, and is nothing"),
    (with_p("subscription_update", "true"), "INVALID_ACTION", "p must be an object, and is true or false"),
    (with_p("publish", '"x"'), "INVALID_ACTION", "p must be an object, and is a text"),
    (with_p("presence_update", "[]"), "INVALID_ACTION", "p must be an object, and is a list"),
    (with_p("subscription", "{}"), "INVALID_ACTION", "p.action is missing"),
    (
        with_p("subscription_update", '{"action":["subscribe"]}'),
        "INVALID_ACTION",
        "p.action must be a text, and is a list",
    ),
    (
        with_p("subscription_update", '{"action":"SUBSCRIBE"}'),
        "INVALID_ACTION",
        'p.action is "SUBSCRIBE"; "subscribe" and',
    ),
    # Topics.
    (with_p("subscription_update", '{"action":"subscribe"}'), "INVALID_ACTION", "p.topics is missing"),
    (
        with_p("subscription_update", '{"action":"subscribe","topics":{"a":1}}'),
        "INVALID_ACTION",
        "p.topics must be a list, and is an object",
    ),
    (
        with_p("subscription_update", '{"action":"unsubscribe","topics":[null]}'),
        "INVALID_ACTION",
        "p.topics[0] must be a text, and is nothing",
    ),
    (
        with_p("subscription_update", '{"action":"subscribe","topics":["a",""]}'),
        "INVALID_SUBSCRIPTION",
        'p.topics[1] is "": a topic has at least 1 byte',
    ),
    (
        with_p("subscription_update", '{"action":"subscribe","topics":["a\\n"]}'),
        "INVALID_SUBSCRIPTION",
        "a topic has no control characters, this one has U+000A",
    ),
    (
        with_p("subscription_update", f'{{"action":"subscribe","topics":["{TOO_LONG}"]}}'),
        "INVALID_SUBSCRIPTION",
        "a topic has at most 255 bytes of UTF-8, this one has 256",
    ),
    # Recovery.
    (in_subscribe('"recover":"yes"'), "INVALID_ACTION", "p.recover must be true or false, and is a text"),
    (in_subscribe('"recovery":"a"'), "INVALID_ACTION", "p.recovery must be an object, and is a text"),
    (in_recovery("[]"), "INVALID_ACTION", "and is a list"),
    (in_recovery("{}"), "INVALID_ACTION", 'p.recovery["a"] has no epoch'),
    (in_recovery('{"epoch":1,"offset":1}'), "INVALID_ACTION", 'p.recovery["a"] has no epoch'),
    (in_recovery('{"epoch":"x","offset":1}'), "INVALID_ACTION", 'p.recovery["a"] has no epoch'),
    (in_recovery('{"epoch":"deadbeef","offset":"1"}'), "INVALID_ACTION", 'p.recovery["a"] has no offset'),
    (in_recovery('{"epoch":"deadbeef","offset":-1}'), "INVALID_ACTION", 'p.recovery["a"] has no offset'),
    (in_recovery('{"epoch":"deadbeef","offset":1e3}'), "INVALID_ACTION", 'p.recovery["a"] has no offset'),
    (
        in_recovery('{"epoch":"deadbeef","offset":99999999999999999999}'),
        "INVALID_ACTION",
        'p.recovery["a"] has no offset',
    ),
    (
        in_subscribe('"recovery":{"z":{"epoch":"deadbeef","offset":1}}'),
        "INVALID_SUBSCRIPTION",
        'p.recovery names "z", which is not among p.topics',
    ),
    (
        in_subscribe('"recovery":{"b*":{"epoch":"deadbeef","offset":1}}'),
        "INVALID_SUBSCRIPTION",
        'p.recovery names "b*", which is a pattern',
    ),
    # Groups and presence.
    (in_subscribe('"queue_group":7'), "INVALID_ACTION", "p.queue_group must be a text, and is a number"),
    (in_subscribe('"queue_group":""'), "INVALID_SUBSCRIPTION", 'p.queue_group is ""'),
    (in_subscribe('"queue_group":"g","recover":true'), "INVALID_SUBSCRIPTION", "exclude each other"),
    (in_subscribe('"presence":[1]'), "INVALID_ACTION", "p.presence must be an object, and is a list"),
    (with_p("presence_update", "{}"), "INVALID_ACTION", "p.data is missing: it must be an object"),
    (with_p("presence_update", '{"data":"x"}'), "INVALID_ACTION", "p.data must be an object, and is a text"),
    # Publications.
    (with_p("publish", "{}"), "INVALID_ACTION", "p.topic is missing"),
    (with_p("publish", '{"topic":5,"data":{}}'), "INVALID_ACTION", "p.topic must be a text, and is a number"),
    (with_p("publish", '{"topic":"a?","data":{}}'), "INVALID_ACTION", "this is a pattern"),
    (with_p("publish", '{"topic":"a"}'), "INVALID_ACTION", "p.data is missing"),
    (in_data("null"), "INVALID_ACTION", "p.data is missing"),
    (in_data("5"), "INVALID_ACTION", "p.data must be an object, the message, and is a number"),
    (in_data('{"e":"deadbeef"}'), "INVALID_ACTION", 'p.data must not have a field "e"'),
    (in_data('{"\\u0074\\u0070":1}'), "INVALID_ACTION", 'p.data must not have a field "tp"'),
    (in_data('{"c":"WSE"}'), "NOT_ALLOWED", "p.data.c is not for a client to say"),
    (in_data('{"c":null}'), "NOT_ALLOWED", "p.data.c is not for a client to say"),
    (in_data('{"t":"error"}'), "NOT_ALLOWED", 'p.data.t is "error"'),
    (in_data('{"t":"chat","t":"ping","t":"chat"}'), "NOT_ALLOWED", 'p.data.t is "ping"'),
    (in_data('{"type":"subscription_update"}'), "NOT_ALLOWED", 'p.data.type is "subscription_update"'),
    # JSON itself.
    (in_subscribe('"action":"unsubscribe"'), "INVALID_ACTION", 'p has the field "action" twice'),
    ('{"t":"chat","t":"publish","p":{},"cid":"c"}', "INVALID_ACTION", 'the message has the field "t" twice'),
    ('{"t":"publish","p":{},"cid":"c","cid":"d"}', "INVALID_ACTION", 'the message has the field "cid" twice'),
    (
        in_recovery('{"epoch":"deadbeef","offset":NaN}'),
        "INVALID_ACTION",
        "the message is no JSON: expected value at line 1",
    ),
    (in_data('{"x":-Infinity}'), "INVALID_ACTION", "the message is no JSON: "),
    (in_data('{"x":1e400}'), "INVALID_ACTION", "the message is no JSON: number out of range"),
    (in_data('{"x":"\\ud800"}'), "INVALID_ACTION", "the message is no JSON: "),
    (in_data('{"x":"\\x"}'), "INVALID_ACTION", "the message is no JSON: invalid escape"),
    (in_data("{'x':1}"), "INVALID_ACTION", "the message is no JSON: "),
    (in_data('{"x":01}'), "INVALID_ACTION", "the message is no JSON: invalid number"),
    (in_data('{"x":1,}'), "INVALID_ACTION", "the message is no JSON: trailing comma"),
    (in_data(f'{{"x":{DEEP}}}'), "INVALID_ACTION", "the message is nested deeper than 64 levels"),
    (f'{{"t":"ping","p":{DEEP}}}', "INVALID_ACTION", "the message is nested deeper than 64 levels"),
    (f'{{"t":"client_hello","p":{DEEP}}}', "INVALID_ACTION", "the message is nested deeper than 64 levels"),
    ('{"t":"client_hello","p":' + "[" * 100_000, "INVALID_ACTION", "the message is nested deeper than 64"),
    (
        in_data('{"x":' * 100_000 + "1" + "}" * 100_000),
        "INVALID_ACTION",
        "the message is nested deeper than 64",
    ),
    # Sizes.
    (
        in_data("[" + "0," * 400_000 + "0]"),
        "INVALID_ACTION",
        "p.data must be an object, the message, and is a list",
    ),
    (
        with_p("subscription_update", '{"action":"subscribe","topics":[' + '"a",' * 200_000 + '"a"]}'),
        "INVALID_ACTION",
        "p.topics may have at most 1024 items",
    ),
    (
        with_p("subscription_update", '{"action":"' + "x" * 1_000_000 + '"}'),
        "INVALID_ACTION",
        'p.action is "xxxxxxxx',
    ),
    (
        with_p("subscription_update", "{" + ",".join(f'"f{n}":1' for n in range(50_000)) + "}"),
        "INVALID_ACTION",
        "p may have at most 64 fields, and has more",
    ),
    (
        '{"t":"publish","p":{},"cid":"' + "x" * 129 + '"}',
        "INVALID_ACTION",
        "cid must have 1 to 128 bytes, and has 129",
    ),
    ('{"t":"publish","p":{},"cid":{}}', "INVALID_ACTION", "cid must be a text, and is an object"),
]


@pytest.fixture(scope="module")
def lasting() -> Iterator[tuple[Running, Peer]]:
    """One server and one client for the whole table: what one line of it breaks, the next would show."""
    with start_server(client_subscriptions=True, client_publish=True) as running:
        yield running, running.dial()


@pytest.mark.parametrize(("text", "code", "message"), BAD, ids=lambda value: str(value)[:60])
def test_a_mistake_is_answered_with_its_name_and_the_connection_lives(
    lasting: tuple[Running, Peer], text: str, code: str, message: str
) -> None:
    running, peer = lasting
    told = len(running.events.of("msg", "raw"))
    peer.send(text)
    error = peer.receive_json()
    assert (error["c"], error["t"], error["v"]) == ("WSE", "error", 1), error
    assert error["p"]["code"] == code
    assert message in error["p"]["message"]
    assert len(error["p"]["message"]) < 300
    assert error.get("cid") in (None, "c")
    assert is_alive(peer)
    assert running.server.get_connection_info(peer.conn_id)["topics"] == []  # type: ignore[index]
    assert len(running.events.of("msg", "raw")) == told


def test_text_that_is_not_utf8_is_no_message_at_all(open_to_all: Factory) -> None:
    # There the protocol itself is broken: RFC 6455, section 8.1.
    running = open_to_all()
    wire, _ = connect(running)
    with wire:
        wire.send(TEXT, b'{"t":"publish","p":{"topic":"a\xff","data":{}}}')
        assert wire.frame().close[0] == 1007


def test_mistakes_by_the_thousand_are_answered_or_counted_and_harm_nobody(open_to_all: Factory) -> None:
    running = open_to_all(shards=1)
    peer, neighbour = running.dial(), running.dial()
    count = 5000

    def send() -> None:
        for _ in range(count):
            peer.send('{"t":"publish"}')

    sender = threading.Thread(target=send)
    sender.start()
    for _ in range(20):
        assert is_alive(neighbour)
    assert {peer.receive_json()["p"]["code"] for _ in range(count)} == {"INVALID_ACTION"}
    sender.join()
    assert is_alive(peer)


def test_a_client_that_reads_no_answers_is_closed_and_costs_no_more_than_its_limit(
    open_to_all: Factory,
) -> None:
    running = open_to_all(shards=1, max_outbound_queue_bytes=MEGABYTE, rate_limit_capacity=1e6)
    with Client(running.port, "deaf") as deaf:
        ((_, conn_id, _),) = running.events.wait("connect")
        flood = client_frame(b'{"t":"publish"}') * 1000
        with suppress(OSError):
            for _ in range(1000):
                deaf.send_raw(flood)
        wait_until(lambda: conn_id not in running.server.get_connections(), "the end of the deaf client")


def test_a_message_longer_than_any_client_may_be_behind_is_refused(open_to_all: Factory) -> None:
    running = open_to_all(max_outbound_queue_bytes=4096)
    peer = running.dial()
    error = ask(peer, "publish", "7", topic="a", data={"x": "x" * 5000})
    assert (error["cid"], error["p"]["code"]) == ("7", "INVALID_ACTION")
    assert "longer than max_outbound_queue_bytes (4096)" in error["p"]["message"]
