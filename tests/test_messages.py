"""What clients say, as Python hears it; and what Python says, as clients hear it."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from support import HOST, PATIENCE, Peer, Running, start_server
from wire import BINARY, TEXT, Frame, Wire, request

Factory = Callable[..., Running]


class Echo:
    """A client that says things, and the events that they become."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self.peer = running.dial()

    def hear(self, *messages: str | bytes) -> list[tuple[str, Any]]:
        """Sends messages and returns the kind and data that each of them arrived with."""
        kinds = ("msg", "raw", "bin")
        known = len(self._running.events.of(*kinds))
        for message in messages:
            self.peer.send(message)
        events = self._running.events.wait(*kinds, count=known + len(messages))[known:]
        assert {conn_id for _, conn_id, _ in events} == {self.peer.conn_id}
        return [(kind, data) for kind, _, data in events]


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    """One client of one server for the many messages of this module."""
    with start_server(max_message_size=1 << 22) as running:
        yield Echo(running)


def same(left: object, right: object) -> bool:
    """Equality that also tells 1 from 1.0 and True, and 0.0 from -0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return repr(left) == repr(right)


# ---- From the client to Python ----


def test_the_three_kinds_of_message(echo: Echo) -> None:
    assert echo.hear('{"t":"chat","p":{"text":"hi"}}', "hello", b"\x00\xff", '["t"]', "12", "", b"") == [
        ("msg", {"t": "chat", "p": {"text": "hi"}}),
        ("raw", "hello"),
        ("bin", b"\x00\xff"),
        ("raw", '["t"]'),
        ("raw", "12"),
        ("raw", ""),
        ("bin", b""),
    ]


def test_a_connection_begins_with_connect_and_ends_with_disconnect(running: Running) -> None:
    cookies = "access_token=abc; theme=dark"
    peer = running.dial(additional_headers={"Cookie": cookies})
    peer.send("text")
    running.events.wait("raw")
    peer.close()
    running.events.wait("disconnect")
    assert running.events.seen == [
        ("connect", peer.conn_id, cookies),
        ("raw", peer.conn_id, "text"),
        ("disconnect", peer.conn_id, None),
    ]
    assert isinstance(peer.conn_id, str)


def test_a_client_without_cookies_has_empty_ones(running: Running) -> None:
    peer = running.dial()
    assert running.events.of("connect") == [("connect", peer.conn_id, "")]


def test_cookies_in_several_headers_and_of_any_bytes_arrive_as_text(running: Running) -> None:
    with socket.create_connection((HOST, running.port), timeout=PATIENCE) as sock:
        sock.sendall(request("GET", "/wse", {}, "Cookie: a=1", "Cookie: b=2; c=3").replace(b"a=1", b"a=\xff"))
        assert running.events.wait("connect")[0][2] == "a=\ufffd; b=2; c=3"


def test_the_last_words_of_a_client_that_goes_without_a_close_are_heard(running: Running) -> None:
    with Wire(running.port) as wire:
        wire.send(TEXT, b"last words")
        wire.socket.shutdown(socket.SHUT_WR)
        running.events.wait("disconnect")
    assert [data for kind, _, data in running.events.seen if kind == "raw"] == ["last words"]


def test_long_names_arrive_as_short_ones(echo: Echo) -> None:
    assert echo.hear(
        '{"type":"chat","payload":{"type":"inner","payload":1}}',
        '{"type":"chat","p":1}',
        '{"t":"short","type":"long","p":1,"payload":2}',
        '{"type":null,"payload":null}',
    ) == [
        ("msg", {"t": "chat", "p": {"type": "inner", "payload": 1}}),
        ("msg", {"t": "chat", "p": 1}),
        ("msg", {"t": "short", "type": "long", "p": 1, "payload": 2}),
        ("msg", {"t": None, "p": None}),
    ]


# JSON as others may write it: any spacing, any escapes, keys of any text, repeated keys.
SPACE = st.sampled_from(["", "", " ", "\n", "\t \r\n"])
CHARACTER = st.one_of(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\'),
    st.sampled_from(
        ['\\"', "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t", "\\u0041", "\\u00e9", "\\u0000"]
    ),
    st.sampled_from(["\\ud83d\\ude00", "\\uFFFF", "e123", "E+999", "1e400"]),
)
STRING = st.lists(CHARACTER, max_size=8).map(lambda characters: '"' + "".join(characters) + '"')
DIGITS = st.integers(min_value=0, max_value=10**25).map(str)
NUMBER = st.one_of(
    st.integers().map(str),
    st.integers(min_value=0, max_value=10**9).map(lambda number: str(number - 10**305)),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.builds("{}.{}".format, st.integers(), DIGITS),
    st.builds(
        "{}.{}{}{}".format,
        st.integers(-9, 9),
        DIGITS,
        st.sampled_from(["e", "E+", "e-"]),
        st.integers(0, 307),
    ),
)


def containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def joined(parts: list[str], space: str) -> str:
        return f"{space},{space}".join(parts)

    arrays = st.builds(
        lambda items, space: f"[{space}{joined(items, space)}{space}]", st.lists(inner, max_size=4), SPACE
    )
    return st.one_of(arrays, objects(inner))


def objects(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def build(members: list[tuple[str, str]], space: str) -> str:
        parts = [f"{key}{space}:{space}{value}" for key, value in members]
        return f"{space}{{{space}" + f"{space},{space}".join(parts) + f"{space}}}{space}"

    key = st.one_of(STRING, st.sampled_from(['"a"', '"a"', '"\\u0061"', '"p"', '"c"']))
    return st.builds(build, st.lists(st.tuples(key, inner), max_size=5), SPACE)


VALUE = st.recursive(
    st.one_of(NUMBER, STRING, st.sampled_from(["null", "true", "false"])), containers, max_leaves=10
)


def expected(text: str) -> dict[str, Any]:
    """What Python's own parser makes of it, with the long names folded."""
    loaded = json.loads(text)
    assert isinstance(loaded, dict)
    for long, short in (("type", "t"), ("payload", "p")):
        if long in loaded and short not in loaded:
            loaded[short] = loaded.pop(long)
    return loaded


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=objects(VALUE))
@example(text='{"x":0.1,"y":-0.0,"z":-0,"w":5e-324,"v":1.7976931348623157e308}')
@example(text='{"big":123456789012345678901234567890123456789012345678901234567890}')
@example(text='{"a":1,"a":2,"b":{"c":1,"c":[2]}}')
@example(text='{"x":2.00000000000000011102230246251565404236316680908203125}')
@example(text='{"x":1e100}')
@example(text='{"x":' + "9" * 310 + "}")
@example(text='{"x":0.' + "1" * 400 + "}")
def test_every_json_object_arrives_as_pythons_json_reads_it(echo: Echo, text: str) -> None:
    ((kind, data),) = echo.hear(text)
    assert kind == "msg", text
    assert same(data, expected(text)), text


def test_texts_that_look_like_large_numbers_are_texts(echo: Echo) -> None:
    texts = ["a1e123b4", "5e400", "1E+999", "0" * 400, "3fa85f64-5717-4562-9e999-2c963f66afa6"]
    heard = echo.hear(*(json.dumps({"id": text}) for text in texts))
    assert heard == [("msg", {"id": text}) for text in texts]


def test_ids_of_the_usual_forms_never_turn_a_message_into_text(echo: Echo) -> None:
    ids = [str(uuid.UUID(int=n * 0x1E123_4567_89AB_CDEF_0123 + n)) for n in range(1, 500)]
    heard = echo.hear(*(json.dumps({"t": "x", "p": {"id": name}}) for name in ids))
    assert [kind for kind, _ in heard] == ["msg"] * len(ids)
    assert [data["p"]["id"] for _, data in heard] == ids


@pytest.mark.parametrize(
    "text",
    [
        '{"x":NaN}',
        '{"x":Infinity}',
        '{"x":-Infinity}',
        '{"x":1e999}',
        '{"x":[-1E999]}',
        '{"x":' + "9" * 309 + "e0}",
        '{"x":"\\ud800"}',
        '{"x":"\\udc00\\ud800"}',
        '{"\\ud83d":1}',
        '{"x":"\\ud83d\\u0041"}',
    ],
)
def test_json_that_does_not_survive_a_round_trip_stays_text(echo: Echo, text: str) -> None:
    assert echo.hear(text) == [("raw", text)]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}}",
        '{"a":1,}',
        '{"a":01}',
        '{"a":+1}',
        '{"a":.5}',
        '{"a":1.}',
        "{'a':1}",
        "{a:1}",
        '{"a":1}{"b":2}',
        '{"a":"\\x41"}',
        '{"a":"line\nbreak"}',
        '{"a":tru}',
        '{"a":1} x',
        "\ufeff{}",
        "\x0c{}",
        '{"a":0x10}',
        '{"a":1_000}',
    ],
)
def test_what_is_no_json_stays_text(echo: Echo, text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        json.loads(text)
    assert echo.hear(text) == [("raw", text)]


def test_white_space_around_an_object_is_part_of_json(echo: Echo) -> None:
    assert echo.hear(' \t\r\n{"a":1} \n') == [("msg", {"a": 1})]


def test_objects_may_nest_as_deep_as_people_nest_them(echo: Echo) -> None:
    text = '{"p":' * 100 + "1" + "}" * 100
    assert echo.hear(text) == [("msg", json.loads(text))]


@pytest.mark.parametrize("depth", [1_000, 100_000])
@pytest.mark.parametrize(("left", "right"), [('{"p":', "}"), ("[", "]")])
def test_nesting_without_end_harms_nobody(echo: Echo, depth: int, left: str, right: str) -> None:
    for text in (
        '{"p":' + left * depth + "1" + right * depth + "}",
        '{"p":' + left * depth,
        '{"t":"pingpong","p":' + left * depth + "1" + right * depth + "}",
        '{"t":"hello","p":' + left * depth,
    ):
        assert echo.hear(text, "next") == [("raw", text), ("raw", "next")]


@pytest.mark.parametrize("depth", [65, 1_000, 100_000])
@pytest.mark.parametrize(("left", "right"), [('{"p":', "}"), ("[", "]")])
def test_a_word_of_the_protocol_that_nests_too_deeply_is_answered_with_an_error(
    echo: Echo, depth: int, left: str, right: str
) -> None:
    for word in ("ping", "client_hello"):
        echo.peer.send('{"t":"' + word + '","p":' + left * depth + "1" + right * depth + "}")
        assert echo.hear("next") == [("raw", "next")]
        answer = echo.peer.receive_json()
        assert (answer["t"], answer["p"]["code"]) == ("error", "INVALID_ACTION")
        assert "64" in answer["p"]["message"]


def test_an_integer_that_python_refuses_stays_text(echo: Echo) -> None:
    # int() has a limit of 4300 digits, which guards against quadratic work.
    text = '{"x":' + "7" * 5000 + "}"
    assert echo.hear(text, '{"x":1}') == [("raw", text), ("msg", {"x": 1})]


def test_messages_of_one_client_arrive_in_order_whatever_their_kind(echo: Echo) -> None:
    def message(n: int) -> str | bytes:
        return (f'{{"n":{n}}}', str(n), b"%d" % n)[n % 3]

    heard = echo.hear(*(message(n) for n in range(3000)))
    assert [int(data["n"] if kind == "msg" else data) for kind, data in heard] == list(range(3000))


# ---- From Python to the client: the category ----


def through(running: Running, method: str, peer: Peer) -> Callable[[str | bytes], str | bytes]:
    """Returns a function that says something by this method and tells how it arrived."""
    server = running.server

    def call(message: str | bytes) -> str | bytes:
        match method:
            case "send":
                server.send(peer.conn_id, message)
            case "broadcast":
                server.broadcast("room", message)
            case "broadcast_local":
                server.broadcast_local("room", message)
            case "broadcast_many":
                server.broadcast_many("room", (message,))
            case "broadcast_all":
                server.broadcast_all(message)
        return peer.receive()

    return call


BROADCASTS = ["broadcast", "broadcast_local", "broadcast_many", "broadcast_all"]
Say = Callable[[str | bytes], str | bytes]


@pytest.fixture(params=BROADCASTS)
def publish(running: Running, request: pytest.FixtureRequest) -> Say:
    """Each of the methods that complete a message, with a client that hears it."""
    return through(running, request.param, running.subscriber("room"))


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ('{"t":"tick","p":{}}', '{"c":"U","t":"tick","p":{}}'),
        ("{}", '{"c":"U"}'),
        ('{ "t":"tick"}', '{"c":"U", "t":"tick"}'),
        ('{"t":"book_snapshot","p":1}', '{"c":"S","t":"book_snapshot","p":1}'),
        ('{"t":"a_snapshot_b"}', '{"c":"S","t":"a_snapshot_b"}'),
        ('{"p":1,"t":"snapshot_book"}', '{"c":"S","p":1,"t":"snapshot_book"}'),
        ('{"t":"snapshot"}', '{"c":"U","t":"snapshot"}'),
        ('{"t":"mysnapshot_book"}', '{"c":"U","t":"mysnapshot_book"}'),
        ('{"t":"x","p":{"t":"y_snapshot","c":"S"}}', '{"c":"U","t":"x","p":{"t":"y_snapshot","c":"S"}}'),
        ('{"t":"}\\"{","p":"{\\"c\\":1}"}', '{"c":"U","t":"}\\"{","p":"{\\"c\\":1}"}'),
        (b'{"t":"tick"}', '{"c":"U","t":"tick"}'),
        ('{"t":"é😀"}'.encode(), '{"c":"U","t":"é😀"}'),
    ],
)
def test_a_broadcast_object_gets_its_category_first(publish: Say, said: str | bytes, heard: str) -> None:
    assert publish(said) == heard


@pytest.mark.parametrize(
    "said",
    [
        '{"c":"WSE","t":"mine"}',
        '{"t":"x","c":"S"}',
        '{"t":"x" , "c" : null}',
        '{"p":{"a":[1,{"b":2}]},"c":"U"}',
        "plain text",
        '["t"]',
        '"text"',
        "12",
        "",
        "{broken",
        '{"t":"x"} and more',
    ],
)
def test_what_has_a_category_or_is_no_object_passes_untouched(publish: Say, said: str) -> None:
    assert publish(said) == said
    assert publish(said.encode()) == said


JSON_VALUE: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def test_nothing_else_of_a_broadcast_changes(running: Running) -> None:
    say = through(running, "broadcast", running.subscriber("room"))

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        message=st.dictionaries(
            st.sampled_from(["t", "p", "c", "id", "cc", "C"]) | st.text(max_size=3), JSON_VALUE
        ),
        indent=st.sampled_from([None, 1]),
        ascii_only=st.booleans(),
    )
    def holds(message: dict[str, Any], indent: int | None, ascii_only: bool) -> None:
        said = json.dumps(message, indent=indent, ensure_ascii=ascii_only)
        try:
            said.encode()
        except UnicodeEncodeError:
            return
        heard = say(said)
        assert isinstance(heard, str)
        if "c" in message:
            assert heard == said
            return
        members = json.loads(heard, object_pairs_hook=list)
        kind = message.get("t")
        snapshot = isinstance(kind, str) and ("_snapshot" in kind or kind.startswith("snapshot_"))
        assert members[0] == ("c", "S" if snapshot else "U")
        assert members[1:] == json.loads(said, object_pairs_hook=list)

    holds()


def test_a_message_to_one_client_is_sent_as_it_is(running: Running) -> None:
    say = through(running, "send", running.dial())
    for said in ('{"t":"tick"}', "{}", "text", '{"t":"a_snapshot"}', ""):
        assert say(said) == said
        assert say(said.encode()) == said


def test_text_goes_in_text_frames_and_bytes_in_binary_frames(running: Running) -> None:
    server = running.server
    with Wire(running.port) as wire:
        ((_, conn_id, _),) = running.events.wait("connect")
        server.subscribe_connection(conn_id, ["room"])
        server.send(conn_id, b"text")
        server.send_bytes(conn_id, b'{"t":1}')
        server.broadcast_all_bytes(b"\xff{}")
        server.broadcast("room", b"[1]")
        server.broadcast_all("x")
        assert [wire.frame() for _ in range(5)] == [
            Frame(TEXT, b"text"),
            Frame(BINARY, b'{"t":1}'),
            Frame(BINARY, b"\xff{}"),
            Frame(TEXT, b"[1]"),
            Frame(TEXT, b"x"),
        ]


@pytest.mark.parametrize("method", [*BROADCASTS, "send"])
@pytest.mark.parametrize("message", [b"\xff", b'{"t":"\xed\xa0\x80"}', "\ud800", '{"t":"\udfff"}'])
def test_text_that_has_no_utf8_is_refused(running: Running, method: str, message: str | bytes) -> None:
    peer = running.subscriber("room")
    say = through(running, method, peer)
    with pytest.raises(ValueError, match=r"UTF-8"):
        say(message)
    assert say("[next]") == "[next]"


def test_one_bad_message_keeps_all_of_a_batch_from_being_sent(running: Running) -> None:
    peer = running.subscriber("room")
    with pytest.raises(ValueError, match="UTF-8"):
        running.server.broadcast_many("room", ("good", b"\xff", "good"))
    wrong: Any = ["good", 5]
    with pytest.raises(TypeError, match="int"):
        running.server.broadcast_many("room", wrong)
    running.server.broadcast_many("room", ("first", b"second"))
    assert [peer.receive(), peer.receive()] == ["first", "second"]


@pytest.mark.parametrize("method", [*BROADCASTS, "send"])
@pytest.mark.parametrize("message", [None, 5, 1.5, {"t": "x"}, ["x"], bytearray(b"x")])
def test_a_message_of_another_type_is_refused_by_name(running: Running, method: str, message: object) -> None:
    say = through(running, method, running.subscriber("room"))
    with pytest.raises(TypeError, match=type(message).__name__):
        say(message)  # type: ignore[arg-type]  # the mistake


def test_a_message_that_no_client_could_hold_is_refused(server_factory: Factory) -> None:
    running = server_factory(max_outbound_queue_bytes=65536)
    peer = running.subscriber("room")
    server = running.server
    long = "x" * 65537
    calls: list[Callable[[], object]] = [
        lambda: server.send(peer.conn_id, long),
        lambda: server.send_bytes(peer.conn_id, long.encode()),
        lambda: server.broadcast("room", long),
        lambda: server.broadcast_local("room", long),
        lambda: server.broadcast_many("room", ["short", long]),
        lambda: server.broadcast_all(long),
        lambda: server.broadcast_all_bytes(long.encode()),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="max_outbound_queue_bytes") as caught:
            call()
        assert "65536" in str(caught.value)
    server.broadcast("room", long[:60_000])
    assert peer.receive() == long[:60_000]
