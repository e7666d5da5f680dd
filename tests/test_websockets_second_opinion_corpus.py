"""Everything that the fuzzers keep for `receive`, for this server over a socket and for python `websockets`.

Fuzzers look for inputs that behave in new ways, so their corpora are where two readers of RFC 6455 would
differ. The streams end anywhere, in the middle of a frame too; so the client ends its half of the
connection after them, and whatever the server makes of them is there. `difference` names each place where
the two differ on purpose; anywhere else they must agree.

`WSE_CORPUS=fuzz/target/corpus` replays what the last run on this machine has found, instead of what is kept.
"""

from __future__ import annotations

import json
import os
import socket
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from second_opinion import LIMIT, Outcome, messages_of, their_opinion_of_bytes
from support import Running, start_server
from wire import BINARY, CLOSE, CONTINUATION, PONG, TEXT, StreamEndedError, connect

REPOSITORY = Path(__file__).resolve().parent.parent
CORPUS = REPOSITORY / os.environ.get("WSE_CORPUS", "fuzz/corpus")


@pytest.fixture(scope="module")
def ours() -> Iterator[Running]:
    """The server whose opinion is the first one. It takes any number of messages a second."""
    with start_server(max_message_size=LIMIT, rate_limit_capacity=1e9, rate_limit_refill=1e9) as running:
        yield running


def stream_of(data: bytes) -> bytes:
    """The stream in an input of `receive`: behind limit, message to stop at, number of cuts, cuts."""
    return data[3 + data[2] :] if len(data) > 2 else b""


def streams() -> list[bytes]:
    """All streams of the corpus, each once."""
    found = {stream_of(path.read_bytes()) for path in (CORPUS / "receive").iterdir()}
    assert found, f"no corpus in {CORPUS}"
    return sorted(found)


# ---- What both make of a stream ----


OFFER: dict[str, str | None] = {"Sec-WebSocket-Extensions": "permessage-deflate"}


def our_opinion_of_bytes(ours: Running, stream: bytes, *, deflate: bool) -> Outcome:
    """Sends bytes and the end, and tells what the server made of them."""
    outcome = Outcome()
    wire, conn_id = connect(ours, headers=OFFER if deflate else {})
    with wire:
        assert ("sec-websocket-extensions" in wire.headers) == deflate
        wire.send_raw(stream)
        wire.socket.shutdown(socket.SHUT_WR)
        try:
            while True:
                frame = wire.frame()
                if frame.opcode == CLOSE:
                    outcome.closed = frame.close[0] or 1005
                elif frame.opcode == PONG:
                    outcome.pongs.append(frame.payload)
        except StreamEndedError:
            pass
    outcome.messages = messages_of(ours, conn_id)
    return outcome


def as_heard_by_the_application(message: str | bytes) -> list[Any]:
    """What a message is for `drain_inbound`: objects are parsed, some answered by the engine."""
    if not isinstance(message, str):
        return [message]
    for prefix in ("WSE", "S", "U"):
        if message.startswith(prefix + "{"):
            message = message.removeprefix(prefix)
            break
    try:
        parsed = json.loads(message)
    except ValueError:
        return [message]
    if not isinstance(parsed, dict):
        return [message]
    kind = parsed.get("t", parsed.get("type"))
    return [] if kind in ("ping", "pong", "PONG", "client_hello") else [parsed]


def their_opinion_as_heard(stream: bytes, deflate: bool) -> Outcome:
    """The opinion of `websockets`, with messages as the application would be given them."""
    outcome = their_opinion_of_bytes(stream, deflate=deflate)
    outcome.messages = [
        heard for message in outcome.messages for heard in as_heard_by_the_application(message)
    ]
    return outcome


# ---- Where they differ on purpose ----


@dataclass(frozen=True)
class Place:
    """A frame as it lies in a stream."""

    start: int
    first: int
    second: int
    header: int
    """Bytes of its header."""
    missing: int
    """Bytes of it that the stream does not have any more."""
    left: int
    """Bytes that the stream has from its start on."""
    length: int
    """Bytes of its payload, as announced."""

    @property
    def is_control(self) -> bool:
        return bool(self.first & 0x08)


def places(stream: bytes) -> list[Place]:
    """The frames of a stream, whether they are right or wrong."""
    found: list[Place] = []
    at = 0
    while at + 2 <= len(stream):
        first, second = stream[at : at + 2]
        extended = {126: 2, 127: 8}.get(second & 0x7F, 0)
        header = 2 + extended + (4 if second & 0x80 else 0)
        length = second & 0x7F
        if extended:
            length = int.from_bytes(stream[at + 2 : at + 2 + extended].ljust(extended, b"\0"))
        end = at + header + length
        found.append(Place(at, first, second, header, max(0, end - len(stream)), len(stream) - at, length))
        at = end
    return found


LONG_CONTROL = "the length of a control frame has one form"
HALF_A_HEADER = "a length counts when the whole header is there"
AT_ONCE = "what is wrong for certain is refused before the rest has come"
SENSE_FIRST = "what a frame is comes before how long it is"
CODE_FIRST = "in a close frame the code comes before the reason"
BAD_DEFLATE = "what can't be inflated is bad data, not a bad frame"
WHOLE_FIRST = "a compressed message is looked into when all of it is there"
BEHIND_FINAL = "what comes behind a final block is no less a part of the message (RFC 7692, section 7.2.3.4)"
LONGER = "the limit counts what a message is, which may be less than it is compressed"

TAIL = b"\x00\x00\xff\xff"
"""What is put behind each compressed message before it is inflated (RFC 7692, section 7.2.2)."""


def difference(stream: bytes, here: Outcome, there: Outcome, deflate: bool) -> str | None:
    """Names the reason for which two opinions of a stream may differ, None if there is none."""
    frames = places(stream)
    long_control = next((f for f in frames if f.is_control and f.second & 0x7F in (126, 127)), None)
    if here.closed == 1002 and long_control is not None:
        before = their_opinion_as_heard(stream[: long_control.start], deflate)
        if before == Outcome(here.messages, here.pongs, None):
            return LONG_CONTROL
    if deflate and (reason := difference_of_compressed(stream, here, there, frames)) is not None:
        return reason
    if (here.messages, here.pongs) != (there.messages, there.pongs) or not frames:
        return None
    reasons: dict[tuple[int | None, int | None], str | None] = {
        (1002, 1009): SENSE_FIRST,
        (1002, 1007): CODE_FIRST,
        (None, 1009): HALF_A_HEADER if frames[-1].left < frames[-1].header else None,
    }
    if there.closed is None and 0 < frames[-1].missing <= LIMIT + 14:
        whole = their_opinion_as_heard(stream + bytes(frames[-1].missing), deflate)
        if whole.closed == here.closed or (here.closed, whole.closed) == (1002, 1009):
            return AT_ONCE
    return reasons.get((here.closed, there.closed))


def difference_of_compressed(stream: bytes, here: Outcome, there: Outcome, frames: list[Place]) -> str | None:
    """Names the reason if it lies in the first compressed message of which the two think differently."""
    for message in compressed_messages(stream, frames):
        before = their_opinion_as_heard(stream[: message.start], deflate=True)
        known = len(before.messages)
        if not here.messages[:known] == before.messages == there.messages[:known]:
            return None
        if message.goes_on_behind_a_final_block():
            return BEHIND_FINAL
        if there.messages == before.messages and there.closed in (1002, 1007, 1009):
            if message.length > LIMIT and there.closed == 1009:
                return LONGER
            if message.is_fragmented and here.closed != there.closed:
                return WHOLE_FIRST
            if (here.messages, here.pongs, here.closed) == (there.messages, there.pongs, 1007):
                return BAD_DEFLATE
    return None


@dataclass
class Compressed:
    """A compressed message as it lies in a stream, or as much of it as there is."""

    start: int
    payload: bytes = b""
    length: int = 0
    """Bytes of its longest frame, as announced."""
    is_fragmented: bool = False

    def goes_on_behind_a_final_block(self) -> bool:
        """Whether something stands behind a final block, if only a part of the tail."""
        inflater = zlib.decompressobj(-15)
        try:
            inflater.decompress(self.payload + TAIL)
        except zlib.error:
            return False
        return inflater.eof and inflater.unused_data != TAIL


def compressed_messages(stream: bytes, frames: list[Place]) -> list[Compressed]:
    """The compressed messages of a stream."""
    found: list[Compressed] = []
    is_open = False
    for frame in frames:
        opcode, fin = frame.first & 0x0F, bool(frame.first & 0x80)
        if opcode in (TEXT, BINARY):
            is_open = bool(frame.first & 0x40)
            if is_open:
                found.append(Compressed(frame.start, is_fragmented=not fin))
        elif opcode != CONTINUATION:
            continue
        if is_open:
            masked = stream[frame.start + frame.header : frame.start + frame.left]
            key = stream[frame.start + frame.header - 4 :][:4]
            found[-1].payload += bytes(byte ^ key[at % 4] for at, byte in enumerate(masked[: frame.length]))
            found[-1].length = max(found[-1].length, frame.length)
            is_open = not fin
    return found


def check(ours: Running, stream: bytes, *, deflate: bool) -> str | None:
    """Asks both and fails unless they agree or differ on purpose; returns the purpose."""
    here = our_opinion_of_bytes(ours, stream, deflate=deflate)
    there = their_opinion_as_heard(stream, deflate)
    if here == there:
        return None
    reason = difference(stream, here, there, deflate)
    assert reason is not None, f"{stream!r}:\nhere  {here}\nthere {there}"
    return reason


def test_every_stream_of_the_corpus(ours: Running) -> None:
    reasons = {check(ours, stream, deflate=False) for stream in streams()}
    assert None in reasons, "most streams mean the same to both"
    assert reasons - {None} == {LONG_CONTROL, HALF_A_HEADER, AT_ONCE, SENSE_FIRST, CODE_FIRST}


def test_every_stream_of_the_corpus_where_messages_may_be_compressed(ours: Running) -> None:
    reasons = {check(ours, stream, deflate=True) for stream in streams()}
    assert None in reasons, "most streams mean the same to both"


# Two streams that the fuzzer found, one after the other, cut and with a byte changed.
@given(data=st.data())
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_streams_grown_from_the_corpus(ours: Running, data: st.DataObject) -> None:
    known = streams()
    stream = bytearray()
    for _ in range(data.draw(st.integers(1, 2), label="streams")):
        stream += data.draw(st.sampled_from(known), label="stream")
    for _ in range(data.draw(st.integers(0, 2), label="changes")):
        if stream:
            at = data.draw(st.integers(0, len(stream) - 1), label="place")
            stream[at] = data.draw(st.integers(0, 255), label="byte")
    length = data.draw(st.integers(0, len(stream)), label="length")
    check(ours, bytes(stream[:length]), deflate=data.draw(st.booleans(), label="deflate"))
