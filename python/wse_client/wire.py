"""What is in a frame: JSON, msgpack, zlib, sealed messages. Nothing here knows what a message means."""

from __future__ import annotations

import json
import zlib
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit, urlunsplit

__all__ = ["Content", "Format", "Wire", "WireError", "with_format"]

Content = dict[str, Any] | str | bytes
"""A JSON object, other text, or the application's bytes."""

Format = Literal["json", "msgpack"]

DECODER = json.JSONDecoder()
BLANKS = " \t\r\n"

COMPRESS_FROM = 1024
"""Characters of JSON from which on a message is worth the time that zlib takes."""


class WireError(ValueError):
    """A frame that no server of this protocol sends."""


class Sealing(Protocol):
    """What a key exchange gives."""

    def seal(self, plain: bytes) -> bytes: ...

    def open(self, sealed: bytes) -> bytes: ...


class Wire:
    """Reads and writes the frames of one connection.

    Args:
        form: What the server was asked for by the URL.
        is_zlib: Whether `C:` frames were asked for.
        limit: Bytes that a message may have after inflation.
    """

    def __init__(self, form: Format, *, is_zlib: bool, limit: int) -> None:
        self.cipher: Sealing | None = None
        """Set once keys were exchanged: nothing goes or comes in clear from there on."""
        self.may_compress = False
        """Whether the server said that it reads `C:`."""
        self._is_msgpack = form == "msgpack"
        self._is_zlib = is_zlib
        self._limit = limit

    def read(self, frame: str | bytes) -> Content:
        """Returns what is in a frame.

        Raises:
            WireError: The frame is damaged, too large, or in clear after the exchange of keys.
        """
        if self.cipher is None:
            return text_of(frame) if isinstance(frame, str) else self._read_binary(frame)
        if isinstance(frame, str) or frame[:2] != b"E:":
            raise WireError("a message in clear after keys were exchanged")
        try:
            plain = self.cipher.open(frame[2:])
        except ValueError as error:
            raise WireError(str(error)) from None
        try:
            return text_of(plain.decode())
        except UnicodeDecodeError:
            return plain

    def _read_binary(self, frame: bytes) -> Content:
        mark = frame[:2]
        if mark == b"M:" and self._is_msgpack:
            return unpacked(frame[2:])
        if mark == b"C:" and self._is_zlib:
            return text_of(self._inflated(frame[2:]))
        if frame[:1] == b"{":
            try:
                content = text_of(frame.decode())
            except UnicodeDecodeError:
                return frame
            return content if isinstance(content, dict) else frame
        return frame

    def _inflated(self, packed: bytes) -> str:
        stream = zlib.decompressobj()
        try:
            plain = stream.decompress(packed, self._limit + 1)
        except zlib.error as error:
            raise WireError(f"a compressed message can't be inflated: {error}") from None
        if len(plain) > self._limit:
            raise WireError(f"a compressed message has more than max_message_size, {self._limit} bytes")
        if not stream.eof or stream.unused_data:
            raise WireError("a compressed message is cut, or something follows it")
        try:
            return plain.decode()
        except UnicodeDecodeError:
            raise WireError("a compressed message is no text") from None

    def write(self, content: Content) -> str | bytes:
        """Returns the frame of a message, which is neither compressed nor sealed yet.

        Raises:
            TypeError, ValueError: JSON can't say it: a value of another type, NaN, half of a surrogate pair.
        """
        if not isinstance(content, dict):
            return content
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()  # Refuses halves of surrogate pairs, which would end the connection.
        if self._is_msgpack and (packed := packed_of(text)) is not None:
            return b"M:" + packed
        return text

    def packed(self, frame: str | bytes) -> str | bytes:
        """Returns a frame as it goes out: compressed and sealed, where that was agreed."""
        if (
            self.may_compress
            and isinstance(frame, str)
            and len(frame) >= COMPRESS_FROM
            and frame.startswith("{")
        ):
            frame = b"C:" + zlib.compress(frame.encode())
        if self.cipher is None:
            return frame
        return b"E:" + self.cipher.seal(frame.encode() if isinstance(frame, str) else frame)


def text_of(text: str) -> dict[str, Any] | str:
    """A JSON object, or the text as it is."""
    if text.startswith("{"):
        # The rule, and the one that has to be fast: `json.loads` looks for blanks on both sides.
        try:
            content, end = DECODER.raw_decode(text)
        except (ValueError, RecursionError):
            return text
        return content if end == len(text) or not text[end:].strip(BLANKS) else text
    if not text[:64].lstrip(BLANKS).startswith("{"):
        return text
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return content if isinstance(content, dict) else text


def unpacked(packed: bytes) -> dict[str, Any]:
    """The object in a msgpack message."""
    import msgpack  # type: ignore[import-untyped] # noqa: PLC0415 - asked for only by who has it

    try:
        content = msgpack.unpackb(packed)
    except (ValueError, msgpack.UnpackException) as error:
        raise WireError(f"a msgpack message can't be read: {error or type(error).__name__}") from None
    if not isinstance(content, dict):
        raise WireError(f"a msgpack message must be a map, and is {type(content).__name__}")
    return content


def packed_of(text: str) -> bytes | None:
    """The msgpack of an object in JSON, None if it has what msgpack can't say: integers beyond 64 bits."""
    import msgpack  # noqa: PLC0415

    try:
        # Of the text rather than of what it was made from: keys that are no text have become text there.
        packed = msgpack.packb(json.loads(text))
    except (OverflowError, ValueError):
        return None
    return packed if isinstance(packed, bytes) else None


def with_format(url: str, form: Format) -> str:
    """The URL at which a server speaks this form."""
    if form == "json":
        return url
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=f"{parts.query}&format={form}".lstrip("&")))
