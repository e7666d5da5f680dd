"""`send_event`: the envelope, each id once, every Python type that has a form, and the others."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import math
import sys
import threading
import time
import types
import uuid
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typing_extensions import override

from documents import block, every_block
from support import Peer, Running, wait_until

SECRET = "a secret that has more than thirty-two bytes"
Factory = Callable[..., Running]


class Side(enum.Enum):
    BUY = "buy"
    SELL = ("sell", 2)


class Priority(enum.IntEnum):
    HIGH = 8


class Colour(enum.StrEnum):
    RED = "red"


@dataclasses.dataclass
class Line:
    sku: str
    price: decimal.Decimal


@dataclasses.dataclass(slots=True)
class Order:
    id: uuid.UUID
    lines: list[Line]
    side: Side
    market: ClassVar[str] = "no field"


Point = namedtuple("Point", "x y")


def sent(running: Running, peer: Peer, event: dict[Any, Any]) -> dict[str, Any]:
    """Sends an event and returns the message as the client reads it."""
    queued = running.server.send_event(peer.conn_id, event)
    message = peer.receive()
    assert isinstance(message, str)
    assert queued == len(message.encode())
    answer = json.loads(message)
    assert isinstance(answer, dict)
    return answer


def sent_payload(running: Running, peer: Peer, payload: object) -> object:
    return sent(running, peer, {"t": "x", "p": payload})["p"]


# ---- The envelope ----


def test_what_is_missing_is_filled_in_and_the_order_is_that_of_the_protocol(running: Running) -> None:
    peer = running.dial()
    message = sent(
        running, peer, {"p": {"price": 1.5}, "pri": 10, "t": "tick", "cid": "a", "sig": "s", "extra": [1]}
    )
    assert list(message) == ["c", "t", "id", "ts", "seq", "p", "pri", "cid", "sig", "extra", "v"]
    assert (message["c"], message["t"], message["seq"], message["v"]) == ("U", "tick", 1, 1)
    assert (message["pri"], message["cid"], message["sig"], message["extra"]) == (10, "a", "s", [1])
    assert uuid.UUID(message["id"]).version == 7
    now = datetime.datetime.now(datetime.UTC)
    assert abs((now - datetime.datetime.fromisoformat(message["ts"])).total_seconds()) < 60
    assert sent(running, peer, {"t": "bare"})["p"] == {}


def test_what_is_given_is_kept(running: Running) -> None:
    given = {"c": "WSE", "t": "x", "id": 7, "ts": "then", "seq": 99, "p": None, "v": 2}
    assert sent(running, running.dial(), given) == given


def test_none_in_the_envelope_asks_for_the_filling(running: Running) -> None:
    message = sent(
        running, running.dial(), {"t": "x", "c": None, "id": None, "ts": None, "seq": None, "v": None}
    )
    assert (message["c"], message["seq"], message["v"]) == ("U", 1, 1)
    assert message["id"]
    assert message["ts"]


def test_long_names_become_short_ones_unless_both_are_there(running: Running) -> None:
    peer = running.dial()
    message = sent(running, peer, {"type": "x", "payload": [1]})
    assert (message["t"], message["p"]) == ("x", [1])
    assert "type" not in message
    for event in ({"type": "a", "t": "x"}, {"t": "x", "type": "a"}):
        message = sent(running, peer, event)
        assert (message["t"], message["type"]) == ("x", "a")


@pytest.mark.parametrize(
    ("kind", "category"), [("book_snapshot", "S"), ("snapshot_book", "S"), ("snapshot", "U"), ("x", "U")]
)
def test_snapshots_have_a_category_of_their_own(running: Running, kind: str, category: str) -> None:
    assert sent(running, running.dial(), {"t": kind})["c"] == category


def test_the_numbers_of_a_connection_grow_by_one_whoever_sends(running: Running) -> None:
    peers = [running.dial(), running.dial()]

    def send_many(peer: Peer) -> None:
        for at in range(500):
            running.server.send_event(peer.conn_id, {"t": "x", "p": at})

    threads = [threading.Thread(target=send_many, args=(peer,)) for peer in peers * 2]
    for thread in threads:
        thread.start()
    for peer in peers:
        assert [peer.receive_json()["seq"] for _ in range(1000)] == list(range(1, 1001))
    for thread in threads:
        thread.join()


def test_server_ready_is_the_first_number_where_there_are_tokens(server_factory: Factory) -> None:
    running = server_factory(jwt_secret=SECRET)
    token = running.server.mint_token({"sub": "u", "exp": int(time.time()) + 60})
    peer = running.dial(token=token)
    assert peer.receive_json()["seq"] == 1
    assert sent(running, peer, {"t": "x"})["seq"] == 2


def test_events_keep_their_place_among_other_messages(running: Running) -> None:
    peer = running.subscriber("a")
    for at in range(50):
        running.server.send_event(peer.conn_id, {"t": "x", "p": 3 * at})
        running.server.send(peer.conn_id, json.dumps({"p": 3 * at + 1}))
        running.server.broadcast("a", json.dumps({"p": 3 * at + 2}))
    assert [peer.receive_json()["p"] for _ in range(150)] == list(range(150))


# ---- Each id once ----


def test_an_id_that_was_sent_is_dropped_for_that_connection_only(running: Running) -> None:
    peer, other = running.dial(), running.dial()
    assert running.server.send_event(peer.conn_id, {"t": "x", "id": "a"}) > 0
    assert running.server.send_event(peer.conn_id, {"t": "again", "id": "a"}) == 0
    assert running.server.send_event(other.conn_id, {"t": "x", "id": "a"}) > 0
    assert running.server.send_event(peer.conn_id, {"t": "x", "id": "b"}) > 0
    assert [peer.receive_json()["id"] for _ in range(2)] == ["a", "b"]


def test_a_dropped_event_takes_no_number(running: Running) -> None:
    peer = running.dial()
    for _ in range(3):
        running.server.send_event(peer.conn_id, {"t": "x", "id": "a"})
    running.server.send_event(peer.conn_id, {"t": "x", "id": "b"})
    assert [peer.receive_json()["seq"] for _ in range(2)] == [1, 2]


def test_fifty_thousand_ids_are_remembered_and_no_more(running: Running) -> None:
    peer = running.dial()
    drained = threading.Thread(target=lambda: [peer.receive() for _ in range(50_001)])
    drained.start()
    for at in range(50_000):
        assert running.server.send_event(peer.conn_id, {"t": "x", "id": f"id-{at}"}) > 0
    assert running.server.send_event(peer.conn_id, {"t": "x", "id": "id-0"}) == 0, "still in the window"
    assert running.server.send_event(peer.conn_id, {"t": "x", "id": "one more"}) > 0
    assert running.server.send_event(peer.conn_id, {"t": "x", "id": "id-1"}) == 0
    drained.join()
    assert running.server.send_event(peer.conn_id, {"t": "x", "id": "id-0"}) > 0, "the oldest has left it"


def test_another_connection_in_the_same_place_begins_anew(server_factory: Factory) -> None:
    running = server_factory(shards=1)
    first = running.dial()
    assert running.server.send_event(first.conn_id, {"t": "x", "id": "a"}) > 0
    first.close()
    running.events.wait("disconnect")
    second = running.dial()
    assert running.server.send_event(second.conn_id, {"t": "x", "id": "a"}) > 0
    assert second.receive_json()["seq"] == 1


@pytest.mark.parametrize("conn_id", ["", "nobody", "0" * 28])
def test_nobody_gets_nothing(running: Running, conn_id: str) -> None:
    assert running.server.send_event(conn_id, {"t": "x"}) == 0


def test_a_closed_connection_gets_nothing(running: Running) -> None:
    peer = running.dial()
    peer.close()
    running.events.wait("disconnect")
    wait_until(lambda: running.server.send_event(peer.conn_id, {"t": "x"}) == 0, "the connection is gone")


# ---- Python's types ----


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            datetime.datetime(2026, 1, 31, 23, 59, 59, 999000, datetime.UTC),
            "2026-01-31T23:59:59.999000+00:00",
        ),
        (datetime.datetime(2026, 1, 31), "2026-01-31T00:00:00"),
        (datetime.date(2026, 1, 31), "2026-01-31"),
        (datetime.time(1, 2, 3), "01:02:03"),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (decimal.Decimal("1.10"), "1.10"),
        (decimal.Decimal("NaN"), "NaN"),
        (Side.BUY, "buy"),
        (Side.SELL, ["sell", 2]),
        (Priority.HIGH, 8),
        (Colour.RED, "red"),
        (b"\x00\xff", "00ff"),
        (bytearray(b"\x01"), "01"),
        (memoryview(b"\x02\x03"), "0203"),
        ((1, 2), [1, 2]),
        (Point(1, 2), [1, 2]),
        ({3}, [3]),
        (frozenset([4]), [4]),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (defaultdict(int, a=1), {"a": 1}),
        (2**64, 2**64),
        (-(10**30), -(10**30)),
        (0.1, 0.1),
        (1e300, 1e300),
        (-0.0, 0.0),
        (True, True),
        (None, None),
        ('naïve €😀\u2028\x00\x1f\x7f"\\/', 'naïve €😀\u2028\x00\x1f\x7f"\\/'),
        ({1: "a", Side.BUY: "b", uuid.UUID(int=1): "c"}, {"1": "a", "buy": "b", str(uuid.UUID(int=1)): "c"}),
        (
            Order(uuid.UUID(int=1), [Line("A", decimal.Decimal("2.50"))], Side.BUY),
            {"id": str(uuid.UUID(int=1)), "lines": [{"sku": "A", "price": "2.50"}], "side": "buy"},
        ),
        ([[], {}, [{}]], [[], {}, [{}]]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_type_has_the_form_that_is_written_down(
    running: Running, value: object, expected: object
) -> None:
    assert sent_payload(running, running.dial(), value) == expected


def test_subclasses_of_plain_types_are_what_they_are(running: Running) -> None:
    class Text(str):
        __slots__ = ()

    class Number(int):
        @override
        def __repr__(self) -> str:
            return "not a number"

    class Ratio(float):
        pass

    class Moment(datetime.datetime):
        pass

    payload = {Text("k"): [Text("v"), Number(2**70), Ratio(0.5), Moment(2026, 1, 1)]}
    assert sent_payload(running, running.dial(), payload) == {"k": ["v", 2**70, 0.5, "2026-01-01T00:00:00"]}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(payload=json_values)
def test_what_json_knows_arrives_as_json_would_have_it(
    shared_peer: tuple[Running, Peer], payload: object
) -> None:
    running, peer = shared_peer
    assert sent_payload(running, peer, payload) == json.loads(json.dumps(payload))


@pytest.fixture
def shared_peer(running: Running) -> tuple[Running, Peer]:
    return running, running.dial()


# ---- What has no form ----


class Opaque:
    pass


class Broken:
    """A dataclass by its looks whose field can't be read."""

    @property
    def value(self) -> int:
        raise RuntimeError("no value today")


def itself() -> dict[str, Any]:
    loop: dict[str, Any] = {}
    loop["a"] = [loop]
    return loop


def nested(levels: int) -> object:
    value: object = 0
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("event", "error", "where"),
    [
        (
            {"t": "x", "p": {"a": [1, Opaque()]}},
            TypeError,
            r'event\["p"\]\["a"\]\[1\] is of type Opaque; allowed: str,',
        ),
        ({"t": "x", "p": Line(sku=Opaque(), price=1)}, TypeError, r'event\["p"\]\.sku is of type Opaque'),  # type: ignore[arg-type]
        ({"t": "x", "p": Line}, TypeError, r'event\["p"\] is of type type'),
        ({"t": "x", "p": 1j}, TypeError, r'event\["p"\] is of type complex'),
        ({"t": "x", "p": datetime.timedelta(1)}, TypeError, r'event\["p"\] is of type timedelta'),
        ({"t": "x", "p": {None: 1}}, TypeError, r'event\["p"\] has a key of type NoneType; allowed: str'),
        ({"t": "x", "p": {True: 1}}, TypeError, r'event\["p"\] has a key of type bool'),
        ({"t": "x", "p": {1.5: 1}}, TypeError, r'event\["p"\] has a key of type float'),
        ({"t": "x", "p": [math.nan]}, ValueError, r'event\["p"\]\[0\] is NaN, which JSON has not'),
        ({"t": "x", "p": -math.inf}, ValueError, r'event\["p"\] is -inf'),
        ({"t": "x", "p": "\ud800"}, ValueError, r'event\["p"\] has a lone surrogate'),
        ({"t": "x", "p": {"\ud800": 1}}, ValueError, r"has a lone surrogate"),
        ({"t": "x", "p": {1: "a", "1": "b"}}, ValueError, r'event\["p"\] has two keys that both become "1"'),
        ({"t": "x", "p": nested(64)}, ValueError, r"nests too deep.*at most 64 levels"),
        ({"t": "x", "p": itself()}, ValueError, r"nests too deep, or an object contains itself"),
        ({"t": "x", "p": 10**5000}, ValueError, r'event\["p"\] is an int too large'),
        ({"t": 7}, TypeError, r'event\["t"\] is no text'),
        ({"t": None}, TypeError, r'event\["t"\] is no text'),
        ({"p": {}}, ValueError, r"event has no type; allowed: a dict with a text 't'"),
        ({}, ValueError, r"event has no type"),
        ([("t", "x")], TypeError, r"event must be a dict, not list"),
        ('{"t":"x"}', TypeError, r"event must be a dict, not str"),
        (None, TypeError, r"event must be a dict, not NoneType"),
    ],
)
def test_what_has_no_form_is_refused_with_its_place(
    running: Running, event: dict[Any, Any], error: type[Exception], where: str
) -> None:
    peer = running.dial()
    with pytest.raises(error, match=where):
        running.server.send_event(peer.conn_id, event)
    assert sent(running, peer, {"t": "next"})["seq"] == 1, "nothing was sent, and no number was taken"


def test_sixty_four_levels_are_not_too_deep(running: Running) -> None:
    assert sent_payload(running, running.dial(), nested(63)) == nested(63)


def test_an_error_of_the_programs_own_comes_through(running: Running) -> None:
    class Bad(enum.Enum):
        A = 1

        @property
        @override
        def value(self) -> int:
            raise RuntimeError("no value today")

    with pytest.raises(RuntimeError, match="no value today"):
        running.server.send_event(running.dial().conn_id, {"t": "x", "p": Bad.A})


def test_a_message_longer_than_any_queue_is_refused(server_factory: Factory) -> None:
    running = server_factory(max_outbound_queue_bytes=65_536)
    with pytest.raises(ValueError, match="max_outbound_queue_bytes = 65536"):
        running.server.send_event(running.dial().conn_id, {"t": "x", "p": "y" * 65_536})


def test_a_threshold_is_a_number_of_bytes(running: Running) -> None:
    with pytest.raises(ValueError, match="compression_threshold must be at least 0 bytes, got -1"):
        running.server.send_event(running.dial().conn_id, {"t": "x"}, compression_threshold=-1)


def test_a_flood_of_events_waits_for_the_reader_and_loses_none(server_factory: Factory) -> None:
    running = server_factory(max_outbound_queue_bytes=64 << 20)
    peer = running.dial()
    count, filler = 20_000, "x" * 1000

    def send_all() -> None:
        for at in range(count):
            assert running.server.send_event(peer.conn_id, {"t": "x", "p": [at, filler]}) > 1000

    sender = threading.Thread(target=send_all)
    sender.start()
    assert [peer.receive_json()["seq"] for _ in range(count)] == list(range(1, count + 1))
    sender.join()


def test_the_example_of_the_document_does_what_it_says(running: Running) -> None:
    program = block("docs/how-to/encodings.md", "def tell(")
    shown = json.loads(every_block("docs/how-to/encodings.md", "json")[0])
    module = types.ModuleType("example")
    sys.modules[module.__name__] = module  # where dataclasses look for annotations
    exec(program, module.__dict__)  # noqa: S102  (the page is ours)
    peer = running.dial()
    module.tell(running.server, peer.conn_id)
    heard = peer.receive_json()
    assert list(heard) == list(shown)
    assert heard | {"ts": shown["ts"]} == shown
