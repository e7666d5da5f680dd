"""What this server and the protocol of python `websockets` make of the same bytes, to be compared.

`websockets` keeps its reading of RFC 6455 apart from any socket (`ServerProtocol`), so it can be asked what
it makes of a stream of frames. What was accepted, what was answered and the code of the end are compared.
"""

from __future__ import annotations

import codecs
import json
from dataclasses import dataclass, field
from typing import Any

import websockets.frames
from websockets.exceptions import ProtocolError
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.protocol import State
from websockets.server import ServerProtocol

from support import Running
from wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, client_frame, connect

LIMIT = 1000
"""Bytes of the largest message of the server that is asked."""

END = b"the stream ends here"
"""What a ping after each stream carries: its pong says that all before it was understood."""


@dataclass
class Outcome:
    """What came of a stream."""

    messages: list[Any] = field(default_factory=list)
    pongs: list[bytes] = field(default_factory=list)
    closed: int | None = None
    """The code of the server's close frame, 1005 if it has none, None if the connection stays open."""


# ---- This server ----


def our_opinion(ours: Running, stream: bytes) -> Outcome:
    """Sends a stream of whole frames to the server and tells what came of it."""
    outcome = Outcome()
    wire, conn_id = connect(ours)
    with wire:
        wire.send_raw(stream + client_frame(PING, END))
        while outcome.closed is None:
            frame = wire.frame()
            if frame.opcode == CLOSE:
                outcome.closed = frame.close[0] or 1005
                wire.expect_end()
            elif frame.payload == END:
                break
            elif frame.opcode == PONG:
                outcome.pongs.append(frame.payload)
            else:
                assert json.loads(frame.payload)["t"] == "error", "the only thing that is said unasked"
    outcome.messages = messages_of(ours, conn_id)
    return outcome


def messages_of(ours: Running, conn_id: str) -> list[Any]:
    """Waits until a connection has ended and returns the messages that the application was given."""
    gone = len(ours.events.of("disconnect"))
    while not any(event[1] == conn_id for event in ours.events.of("disconnect")):
        gone = len(ours.events.wait("disconnect", count=gone + 1))
    return [data for _, whose, data in ours.events.of("msg", "raw", "bin") if whose == conn_id]


# ---- websockets ----


def their_opinion(stream: bytes) -> Outcome:
    """Hands a stream of whole frames to `websockets` and tells what came of it."""
    return their_opinion_of_bytes(stream + client_frame(PING, END))


def their_opinion_of_bytes(stream: bytes, *, deflate: bool = False) -> Outcome:
    """Hands bytes to `websockets`, which need not end where a frame does, and tells what came of them.

    With `deflate`, permessage-deflate was agreed on, without contexts.
    """
    protocol = ServerProtocol(state=State.OPEN, max_size=LIMIT)
    if deflate:
        protocol.extensions = [PerMessageDeflate(True, True, 15, 15)]
    protocol.receive_data(stream)
    outcome = Outcome()
    reader = MessageReader()
    for event in protocol.events_received():
        assert isinstance(event, websockets.frames.Frame)
        if event.opcode == PING and event.data != END:
            outcome.pongs.append(bytes(event.data))
        try:
            outcome.messages.extend(reader.take(event))
        except UnicodeDecodeError:
            outcome.closed = 1007
            return outcome
    if protocol.close_sent is not None:
        outcome.closed = protocol.close_sent.code
    if is_close_between_fragments(protocol):
        assert protocol.close_rcvd is not None
        outcome.closed = protocol.close_rcvd.code
    return outcome


def is_close_between_fragments(protocol: ServerProtocol) -> bool:
    """Whether `websockets` failed for a reason that is none here.

    Control frames may stand between fragments (section 5.4), and a client that gives a message up closes so:
    its code is answered. `websockets` answers 1002.
    """
    return isinstance(protocol.parser_exc, ProtocolError) and "incomplete fragmented" in str(
        protocol.parser_exc
    )


class MessageReader:
    """Puts fragments together, which `websockets` leaves to its connections. Text is checked part by part."""

    def __init__(self) -> None:
        self._parts: list[str | bytes] = []
        self._text: codecs.IncrementalDecoder | None = None

    def take(self, frame: websockets.frames.Frame) -> list[str | bytes]:
        """Returns the message that ends with this frame, or nothing."""
        data = bytes(frame.data)
        if frame.opcode not in (TEXT, BINARY, CONTINUATION):
            return []
        if frame.opcode != CONTINUATION:
            self._parts = []
            self._text = codecs.getincrementaldecoder("utf-8")() if frame.opcode == TEXT else None
        self._parts.append(data if self._text is None else self._text.decode(data, frame.fin))
        if not frame.fin:
            return []
        parts: Any = self._parts
        return ["".join(parts) if self._text is not None else b"".join(parts)]
