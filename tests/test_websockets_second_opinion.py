"""The same frames for this server and for the protocol of python `websockets`, which must agree.

Where the two differ on purpose, a test of its own says so and why; the streams drawn at random keep away
from those places, or correct the other's opinion by name. `test_websockets_second_opinion_upgrade.py` does
the same for requests, `test_websockets_second_opinion_corpus.py` for whatever the fuzzers have found.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.protocol import State
from websockets.server import ServerProtocol

from second_opinion import LIMIT, Outcome, our_opinion, their_opinion
from support import Running, start_server
from wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, client_frame, close_payload, connect

# A drawn stream is one connection to a server that all of them share, and takes a few milliseconds.
DRAWN = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def ours() -> Iterator[Running]:
    """The server whose opinion is the first one."""
    with start_server(max_message_size=LIMIT) as running:
        yield running


# ---- Frames: streams ----


def written(opcode: int, payload: bytes, *, fin: bool, reserved: int, masked: bool, form: int) -> bytes:
    """Returns a frame whose length is written in `form` bytes: 0 for the shortest way, else 2 or 8."""
    if form == 0 or not masked:
        return client_frame(opcode, payload, fin=fin, reserved=reserved, masked=masked)
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    length = struct.pack(">BH", 0xFE, len(payload)) if form == 2 else struct.pack(">BQ", 0xFF, len(payload))
    return bytes([first]) + length + bytes(4) + payload


# No braces: a JSON object would reach the application as a dict, and some are answered by the engine itself.
TEXTS = st.text(st.characters(exclude_characters="{}", exclude_categories=["Cs"]), max_size=40).map(
    str.encode
)
# What begins so means something to this server: zlib streams, sealed messages, msgpack.
BYTES = (
    st.binary(max_size=40)
    .map(lambda data: data.replace(b"{", b"("))
    .filter(lambda data: data[:2] not in {b"C:", b"E:", b"M:"})
)
CUT_TEXTS = st.builds(lambda text, cut: text[:cut], TEXTS, st.integers(0, 40))
CODES = st.sampled_from([1000, 1001, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 4000, 4999])
BAD_CODES = st.sampled_from([0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
# A close frame has one fault at most: which of two is named is a matter of taste.
CLOSINGS = (
    st.just(b"")
    | st.just(b"\x03")
    | st.builds(close_payload, CODES, st.text(max_size=20).filter(str.isprintable).map(str.encode) | BYTES)
    | st.builds(close_payload, BAD_CODES, TEXTS)
)


def frames(
    opcodes: st.SearchStrategy[int], payloads: st.SearchStrategy[bytes], flaws: bool
) -> st.SearchStrategy[bytes]:
    """Frames of these kinds; with `flaws`, now and then one that breaks a rule of its own."""
    seldom = st.integers(0, 40)
    return st.builds(
        lambda opcode, payload, fin, unmasked, reserved, form: written(
            opcode,
            payload,
            fin=fin or (opcode >= 8 and not (flaws and unmasked == 7)),
            reserved=reserved if flaws and 0 < reserved < 8 else 0,
            masked=not (flaws and unmasked == 3),
            form=form if opcode < 8 else 0,
        ),
        opcodes,
        payloads,
        st.booleans(),
        seldom,
        seldom,
        st.sampled_from([0, 0, 0, 2, 8]),
    )


def streams(flaws: bool) -> st.SearchStrategy[bytes]:
    """Streams of frames, in any order."""
    data = frames(
        st.sampled_from([TEXT, TEXT, BINARY, CONTINUATION, CONTINUATION]), TEXTS | CUT_TEXTS | BYTES, flaws
    )
    control = frames(st.sampled_from([PING, PING, PONG]), BYTES, flaws)
    unknown = frames(st.sampled_from([3, 4, 5, 6, 7, 11, 12, 13, 14, 15]), BYTES, flaws)
    closing = frames(st.just(CLOSE), CLOSINGS, False)
    kinds = [data] * 8 + [control] * 3 + ([unknown, closing] if flaws else [])
    return st.lists(st.one_of(kinds), max_size=12).map(b"".join)


@given(data=st.data())
@DRAWN
def test_frames_in_any_order(ours: Running, data: st.DataObject) -> None:
    stream = data.draw(streams(flaws=True), label="stream")
    assert our_opinion(ours, stream) == their_opinion(stream)


def fragmented(message: tuple[int, bytes, list[int], bytes]) -> bytes:
    """Returns a good message in fragments, with a ping before the last of them."""
    opcode, payload, cuts, ping = message
    places = [0, *sorted(cut for cut in set(cuts) if cut < len(payload)), len(payload)]
    parts = [payload[a:b] for a, b in itertools.pairwise(places)]
    out = [
        client_frame(opcode if i == 0 else CONTINUATION, p, fin=i == len(parts) - 1)
        for i, p in enumerate(parts)
    ]
    out.insert(-1, client_frame(PING, ping))
    return b"".join(out)


MESSAGES = st.one_of(
    st.tuples(st.just(TEXT), TEXTS, st.lists(st.integers(1, 40), max_size=4), BYTES),
    st.tuples(st.just(BINARY), BYTES, st.lists(st.integers(1, 40), max_size=4), BYTES),
)


@given(data=st.data())
@DRAWN
def test_good_messages_in_fragments(ours: Running, data: st.DataObject) -> None:
    messages = data.draw(st.lists(MESSAGES, max_size=6), label="messages")
    stream = b"".join(fragmented(message) for message in messages)
    outcome = our_opinion(ours, stream)
    assert outcome == their_opinion(stream)
    assert outcome.messages == [text.decode() if opcode == TEXT else text for opcode, text, _, _ in messages]
    assert outcome.closed is None


@given(data=st.data())
@DRAWN
def test_sizes_around_the_limit(ours: Running, data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.sampled_from([0, 1, 125, 126, 499, 500, 501, 999, 1000, 1001]), max_size=5))
    finals = data.draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes)))
    stream, inside = b"", False
    for size, fin in zip(sizes, finals, strict=True):
        stream += client_frame(CONTINUATION if inside else BINARY, b"x" * size, fin=fin)
        inside = not fin
    # A ping is no part of the message: see `test_a_ping_is_no_part_of_a_message`.
    if inside:
        stream += client_frame(CONTINUATION)
    assert our_opinion(ours, stream) == their_opinion(stream)


# ---- Frames: where the opinions differ on purpose ----


@pytest.mark.parametrize(
    ("stream", "here", "there"),
    [
        pytest.param(
            client_frame(CLOSE, close_payload(1005, b"\xff")),
            1002,
            1007,
            id="of two faults in a close frame the code is seen first, as it stands first",
        ),
        pytest.param(
            b"\x82\xff" + (1 << 63).to_bytes(8) + bytes(4),
            1002,
            1009,
            id="a length with its highest bit set is forbidden before it is long (section 5.2)",
        ),
        pytest.param(
            client_frame(TEXT, b"x", fin=False) + client_frame(TEXT, b"y" * (LIMIT + 1)),
            1002,
            1009,
            id="a message inside another is out of place before it is long",
        ),
        pytest.param(
            client_frame(PING, b"z" * (LIMIT + 1)),
            1002,
            1009,
            id="a control frame has a limit of its own (section 5.5)",
        ),
    ],
)
def test_of_two_faults_another_is_named(ours: Running, stream: bytes, here: int, there: int) -> None:
    assert our_opinion(ours, stream).closed == here
    assert their_opinion(stream).closed == there


def test_a_ping_is_no_part_of_a_message(ours: Running) -> None:
    stream = (
        client_frame(BINARY, b"x" * LIMIT, fin=False) + client_frame(PING, b"?") + client_frame(CONTINUATION)
    )
    assert our_opinion(ours, stream) == Outcome(messages=[b"x" * LIMIT], pongs=[b"?"])
    assert their_opinion(stream) == Outcome(closed=1009), "websockets has begun to agree"


def test_the_length_of_a_control_frame_has_one_form(ours: Running) -> None:
    # "The minimal number of bytes MUST be used" (section 5.2). Both forgive a longer form in data
    # frames; a control frame is refused here by its first two bytes, which announce more than 125.
    stream = b"\x89\xfe\x00\x01" + bytes(4) + b"?"
    assert our_opinion(ours, stream).closed == 1002
    assert their_opinion(stream) == Outcome(pongs=[b"?"]), "websockets has begun to agree"


def test_a_close_between_fragments_is_answered(ours: Running) -> None:
    stream = client_frame(TEXT, b"never", fin=False) + client_frame(CLOSE, close_payload(1001))
    assert our_opinion(ours, stream) == Outcome(closed=1001)
    protocol = ServerProtocol(state=State.OPEN)
    protocol.receive_data(stream)
    assert protocol.close_sent is not None
    assert protocol.close_sent.code == 1002, "websockets has begun to agree"


# What is wrong for certain is refused at once, not only when the rest of the frame has come.
@pytest.mark.parametrize(
    ("begun", "code"),
    [
        (b"\xc1\x85", 1002),
        (b"\x83\x80", 1002),
        (b"\x89\xfe", 1002),
        (b"\x09\x80", 1002),
        (b"\x80\x80" + bytes(4), 1002),
        (b"\x81\x8a" + bytes(4) + b"ok\xff", 1007),
    ],
    ids=["reserved bit", "unknown opcode", "long ping", "fragmented ping", "continuation", "no UTF-8"],
)
def test_half_a_frame_is_enough_to_refuse_it(ours: Running, begun: bytes, code: int) -> None:
    wire, _ = connect(ours)
    with wire:
        wire.send_raw(begun)
        assert wire.close_frame()[0] == code
