"""Writes the seeds of the fuzzer, `corpus/TARGET/NAME.seed`: so it need not guess a handshake.

Each target's first comment says how it reads its input; here the same is written. Run it after changing it:

    python3 fuzz/seeds.py
"""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "corpus"

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
FIN = 0x80


def frame(opcode: int, payload: bytes, *, fin: bool = True, mask: bytes = bytes(4)) -> bytes:
    """A client's frame. The mask is zero unless given: so the fuzzer sees the payload that it changes."""
    first = bytes([(FIN if fin else 0) | opcode])
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return first + length + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def deflated(payload: bytes, *, final: bool = False, level: int = 6, bits: int = 15) -> bytes:
    """A message as permessage-deflate sends it, or as a stream that says itself that it is over."""
    compressor = zlib.compressobj(level, wbits=-bits)
    data = compressor.compress(payload) + compressor.flush(zlib.Z_FINISH if final else zlib.Z_SYNC_FLUSH)
    return data if final else data.removesuffix(b"\0\0\xff\xff")


def compressed(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """A client's frame with RSV1."""
    first, *rest = frame(opcode, payload, fin=fin)
    return bytes([first | 0x40, *rest])


def receive() -> dict[str, bytes]:
    """Limit (8: compressed, 16: with a context), message to stop at, cuts (top bit: pause), stream."""

    def case(*parts: bytes, limit: int = 4, stop_at: int = 0, cuts: tuple[int, ...] = (6,)) -> bytes:
        return bytes([limit, stop_at, len(cuts), *cuts]) + b"".join(parts)

    pause = 0x80
    text = frame(TEXT, "naïve €😀".encode())
    return {
        "text": case(text, frame(PING, b"?"), text),
        "masked": case(
            frame(TEXT, b"hello", mask=b"\x37\xfa\x21\x3d"), frame(BINARY, bytes(range(40)), mask=b"abcd")
        ),
        "fragments": case(
            frame(TEXT, "é".encode()[:1], fin=False), frame(PING, b"p"), frame(0, "é".encode()[1:]), text
        ),
        "pauses": case(
            text, text, frame(PONG, b""), frame(BINARY, b"x" * 60), cuts=(pause | 9, 2, pause | 70)
        ),
        "paused-fragments": case(
            frame(BINARY, b"ab", fin=False), frame(0, b"", fin=False), frame(0, b"c"), text, cuts=(pause | 2,)
        ),
        "long": case(frame(BINARY, b"0123456789" * 30), limit=4, cuts=(99, pause | 127)),
        "doubling": case(frame(BINARY, b"." * 3300), limit=5, cuts=(99,)),
        "close": case(frame(CLOSE, b"\x03\xe8bye"), text),
        "bad-close": case(text, frame(CLOSE, b"\x03")),
        "bad-utf8": case(frame(TEXT, b"ok\xff" + b"x" * 20)),
        "too-large": case(frame(BINARY, b"12345", fin=False), frame(0, b"x" * 14), limit=1),
        "unmasked": case(b"\x81\x02hi"),
        "reserved-bit": case(b"\xc1\x82\0\0\0\0hi"),
        "continuation": case(frame(0, b"lonely")),
        "stop": case(text, text, text, stop_at=2, cuts=(pause | 5,)),
        "long-form-of-a-ping": case(text, b"\x89\xfe\0\1\0\0\0\0?"),
        "half-a-header": case(text, b"\x82\xff\0\0\1\0\0\0\0\0"),
        "half-a-frame": case(text, b"\xc2\x85\0\0"),
        "two-faults": case(text, b"\xa2\xfe\x7f\xff\0\0\0\0"),
        "compressed": case(compressed(TEXT, deflated("naïve €".encode() * 9)), text, limit=12),
        "compressed-fragments": case(
            compressed(TEXT, deflated(b"abc" * 50)[:5], fin=False),
            frame(PING, b"p"),
            frame(0, deflated(b"abc" * 50)[5:]),
            limit=20,
            cuts=(3, pause | 20),
        ),
        "compressed-bomb": case(compressed(BINARY, deflated(bytes(100_000))), limit=15),
        "compressed-no-text": case(compressed(TEXT, deflated(b"ok\xff")), limit=12),
        "compressed-garbage": case(compressed(BINARY, b"\xff\xff\xff"), limit=12),
        "compressed-continuation": case(frame(TEXT, b"a", fin=False), compressed(0, b"b"), limit=12),
        "two-faults-in-a-close": case(text, frame(CLOSE, b"\x03\xed\xff")),
    }


def frames() -> dict[str, bytes]:
    """Limit, step, deflate, frames: kind (opcode, 0x10 final, 0x20 no mask, 0xc0 fault), length, payload."""
    pool = 0
    short_text, first, middle, last = 0x13, 0x03, 0x00, 0x10
    wrong, squeezed = 0xC0, 0x80
    plain, deflate = 0, 1
    return {
        "text": bytes([4, 2, plain, short_text, 5, pool, 0x15, 8, pool]),
        "fragments": bytes([4, 1, plain, first, 3, pool, middle, 2, pool, 7, 1, pool, last, 8, pool]),
        "control": bytes([4, 0, plain, 7, 27, 8, 0, pool, 6, 30, 0x03, 0xE8]),
        "control-too-long": bytes([4, 2, plain, 7, 28]),
        "big": bytes([6, 5, plain, 0x15, 26, 0x15, 25]),
        "too-large": bytes([2, 3, plain, first, 27, last, 1, pool]),
        "long-form": bytes([4, 2, plain, wrong | short_text, 5, pool, 4]),
        "reserved": bytes([4, 2, plain, wrong | short_text, 5, pool, 0, 3]),
        "compressed": bytes([4, 2, deflate, squeezed | short_text, 5, pool, squeezed | 0x15, 8, pool]),
        "compressed-fragments": bytes([4, 1, deflate, squeezed | first, 9, pool, 7, 1, pool, last, 8, pool]),
        "compressed-unasked": bytes([4, 1, plain, wrong | short_text, 5, pool, 0, 4]),
        "unmasked": bytes([4, 2, plain, wrong | short_text, 5, pool, 2]),
    }


GOOD = {
    "Host": "x",
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def upgrade() -> dict[str, bytes]:
    """A choice (1: changes follow, 2: the path counts, 4: the origin counts), then a request or changes."""

    def request(choice: int = 0, line: str = "GET /wse HTTP/1.1", **more: str) -> bytes:
        headers = GOOD | {name.replace("_", "-"): value for name, value in more.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return bytes([choice]) + f"{line}\r\n{lines}\r\n".encode()

    return {
        "good": request(),
        "path": request(2, "GET /wse?format=msgpack HTTP/1.1"),
        "origin": request(6, Origin="https://A.test:443"),
        "token": request(Sec_WebSocket_Protocol="wse, bearer.aaaa.bbbb.cccc"),
        "subprotocols": request(Sec_WebSocket_Protocol="b@d, chat, superchat"),
        "old": request(Sec_WebSocket_Version="8"),
        "body": request(Content_Length="5"),
        "bare-lines": request().replace(b"\r\n", b"\n"),
        "folded": request().replace(b"keep-alive, ", b"keep-alive,\r\n "),
        "partial": request()[:60],
        "plain": b"\0GET /health HTTP/1.0\r\n\r\n",
        "tls": b"\0\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "many": b"\0GET / HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n",
        "no-change": bytes([1, 0, 0]),
        "change-line": bytes([3, 1, 0, 4, 2]),
        "change-origin": bytes([7, 2, 8, 1, 10, 3, 1]),
        "change-key": bytes([1, 3, 4, 4, 11, 9, 2, 3]),
        "compression": request(8, Sec_WebSocket_Extensions="permessage-deflate; server_max_window_bits=10"),
        "change-compression": bytes([9, 2, 11, 1, 11, 2]),
        "change-twice": bytes([1, 2, 6, 1, 7, 2]),
    }


# Operations of `connection`, each with its argument.
ARRIVE, ALL_ARRIVES, SOCKET_TAKES, ROOM = 0, bytes([4]), 5, 7
PUBLISH, CLOSE_HERE, NETWORK = 8, 10, 11


def connection() -> dict[str, bytes]:
    """Message limit, outbound limit, how the client begins, operations, what it says."""

    def play(*operations: bytes, says: bytes = b"", limit: int = 3, outbound: int = 1, raw: int = 0) -> bytes:
        all_of_them = b"".join(operations)
        return bytes([limit, outbound, raw, len(all_of_them)]) + all_of_them + says

    def step(operation: int, *arguments: int) -> bytes:
        return bytes([operation, *arguments])

    room, wide = step(ROOM, 200), step(SOCKET_TAKES, 255)
    text, ping = frame(TEXT, "naïve €😀".encode()), frame(PING, b"?")
    cut = frame(TEXT, b"two ", fin=False) + ping + frame(0, b"parts")
    word = frame(TEXT, b'{"t":"ping","p":{"timestamp":12}}')
    closing = frame(CLOSE, b"\x03\xe8bye")
    return {
        "echo": play(room, wide, ALL_ARRIVES, says=text + ping + word + closing),
        "piecemeal": play(
            room, wide, ALL_ARRIVES, step(ARRIVE, 3), step(ARRIVE, 9), says=cut + text + closing
        ),
        "no-room": play(wide, ALL_ARRIVES, room, step(ROOM, 1), step(ROOM, 1), says=text * 3 + ping),
        "slow-reader": play(
            room,
            step(SOCKET_TAKES, 20),
            ALL_ARRIVES,
            step(PUBLISH, 2, 0, 1),
            step(PUBLISH, 1, 0, 3),
            step(SOCKET_TAKES, 9),
            wide,
            says=ping * 4,
            outbound=2,
        ),
        "too-slow": play(
            room, step(SOCKET_TAKES, 30), ALL_ARRIVES, *[step(PUBLISH, 1, 0, 3)] * 6, wide, says=text
        ),
        "closed-here": play(room, wide, ALL_ARRIVES, step(CLOSE_HERE, 3), says=text + closing),
        "closed-in-a-message": play(
            room,
            wide,
            step(ARRIVE, 200),
            step(CLOSE_HERE, 0),
            ALL_ARRIVES,
            says=frame(BINARY, b"x" * 900) + closing,
        ),
        "violation": play(
            room, step(SOCKET_TAKES, 30), ALL_ARRIVES, wide, says=ping * 3 + b"\x83\x80\0\0\0\0" + text
        ),
        "too-large": play(room, wide, ALL_ARRIVES, says=text + frame(BINARY, b"12345") * 9, limit=1),
        "half-closed": play(room, ALL_ARRIVES, step(NETWORK, 0), wide, says=text),
        "plain": play(wide, ALL_ARRIVES, says=b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", raw=1),
        "shared": play(
            room,
            wide,
            ALL_ARRIVES,
            step(PUBLISH, 2, 0, 3),
            says=compressed(TEXT, deflated(b"ab" * 99)) + closing,
            raw=2 | 8,
        ),
        "full": play(
            room,
            step(SOCKET_TAKES, 40),
            ALL_ARRIVES,
            step(PUBLISH, 2, 0, 3),
            step(PUBLISH, 2, 1, 2),
            wide,
            step(PUBLISH, 3, 0, 1),
            says=compressed(TEXT, deflated(b"ab" * 99)) * 2,
            raw=4 | 8,
            outbound=2,
        ),
        "small-window": play(room, wide, ALL_ARRIVES, step(PUBLISH, 3, 0, 1), raw=2 | 16, outbound=2),
        "compressed-no-room": play(
            wide, step(ROOM, 1), ALL_ARRIVES, room, says=compressed(TEXT, deflated(b"ab" * 99)) * 3, raw=4 | 8
        ),
        "no-http": play(
            ALL_ARRIVES, step(SOCKET_TAKES, 10), step(NETWORK, 0), wide, says=b"\x16\x03\x01", raw=1
        ),
    }


def deflate() -> dict[str, bytes]:
    """A choice (1: the server's side, 2: with a context, then a window), limit, lengths, messages."""

    def case(choice: int, *messages: bytes, limit: int = 3, lengths: tuple[int, ...] = ()) -> bytes:
        return bytes([choice, limit, len(lengths), *lengths]) + b"".join(messages)

    words = b'{"t":"tick","p":{"bid":1.07215}}' * 20
    noise = b"".join(hashlib.sha256(bytes([at])).digest() for at in range(48))
    return {
        "one": case(0, deflated(words)),
        "stored": case(0, deflated(words, level=0)),
        "final": case(0, deflated(words, final=True)),
        "two-streams": case(0, deflated(b"a" * 30, final=True), deflated(b"b" * 30, final=True)),
        "small-window": case(0, deflated(words, bits=9)),
        "too-large": case(0, deflated(bytes(5000))),
        "exactly": case(0, deflated(bytes(1000))),
        "nothing": case(0, b"\0", limit=0),
        "garbage": case(0, b"\xff\xff\xff\xff"),
        "too-far-back": case(0, deflated(words)[40:]),
        "with-a-context": case(2, deflated(words) * 2, lengths=(len(deflated(words)) // 4,)),
        "send": case(1, words),
        "send-with-a-context": case(3, words, limit=9, lengths=(50,)),
        "send-small-window": case(1, words, bytes(range(256)), limit=30),
        "send-larger-window": case(1 | 2 << 2, words, noise, limit=30),
        "send-noise": case(1, noise, limit=0),
        "send-noise-with-a-context": case(3, noise, noise, words, limit=0, lengths=(149,)),
    }


def proxy_header() -> dict[str, bytes]:
    """0 and bytes from the network, or 1 and the description of a header."""

    def binary(command: int, family: int, payload: bytes = b"") -> bytes:
        length = len(payload).to_bytes(2, "big")
        return b"\0\r\n\r\n\0\r\nQUIT\n" + bytes([command, family]) + length + payload

    addresses = bytes([203, 0, 113, 9, 10, 0, 0, 1, 0xDC, 4, 1, 0xBB])
    # Its checksum is that of these very bytes.
    checked = addresses + b"\x03\0\x04" + bytes.fromhex("5713d3fc")
    return {
        "line": b"\0PROXY TCP4 203.0.113.9 10.0.0.1 56324 443\r\nGET / HTTP/1.1\r\n",
        "line-v6": b"\0PROXY TCP6 2001:db8::7 ::ffff:10.0.0.1 1 65535\r\n",
        "line-unknown": b"\0PROXY UNKNOWN ffff\r\n",
        "line-too-long": b"\0PROXY UNKNOWN " + b"f" * 100,
        "binary": binary(0x21, 0x11, addresses),
        "binary-v6": binary(0x21, 0x21, bytes(range(36)) + b"\x04\0\x02ab"),
        "binary-unix": binary(0x21, 0x31, b"/" * 216),
        "binary-checked": binary(0x21, 0x11, checked),
        "local": binary(0x20, 0, b"whatever"),
        "unspecified": binary(0x21, 0),
        "torn-tlv": binary(0x21, 0x11, addresses + b"\x04\0\x09a"),
        "described-line": b"\1\0\1" + bytes(range(60)),
        "described-binary": b"\1\2\0" + bytes(range(90)),
    }


def http_api() -> dict[str, bytes]:
    """What the rest is (chunks, a body, a query, a head), a choice, then the bytes."""
    key = b"0123456789abcdef0123456789abcdef"
    head = b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer " + key + b"\r\n"
    return {
        "chunks": b"\0\x04" + b'3\r\nabc\r\n0A;name="x y"\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\nGET',
        "chunks-too-many": b"\0\xff" + b"64\r\n" + b"x" * 100 + b"\r\nc9\r\n",
        "chunks-broken": b"\0\0" + b"1\r\na\n",
        "publish": b'\x01\0{"topic":"a\\u002fb","data":{"t":"x","p":[1]},"wait":"stored","timeout":0.5}',
        "publish-wrong": b'\x01\0{"topic":"a*","data":{"tp":1},"x":null,"topic":1}',
        "publish-many": b'\x01\x01{"messages":[{"topic":"a","data":{}},{"data":{"e":1},"topic":"b"}]}',
        "disconnect": b'\x01\x02{"user_id":"u","code":4001,"reason":"bye"}',
        "refresh": b'\x01\x03{"connection_id":"c","allow":["a*"],"deny":["ab"]}',
        "presence": b"\x02\0topic=a%2Fb+c%C3%A9&after=x&limit=7",
        "history": b"\x02\x01topic=a&since_epoch=0123abcd&since_offset=7&limit=1000",
        "topics": b"\x02\x02pattern=a*&after=&limit=1",
        "connections": b"\x02\x03user_id=u&after=0123456789ab0123456789abcdef",
        "head": b"\x03\0POST /api/publish" + head + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        "head-chunked": b"\x03\0POST /api/publish_many" + head + b"Transfer-Encoding: chunked\r\n\r\n",
        "head-get": b"\x03\0GET /api/topics?limit=1" + head + b"X-API-Key: " + key + b"\r\n\r\n",
        "head-no-key": b"\x03\0GET /api/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n",
    }


def forwarded() -> dict[str, bytes]:
    """Whether the peer is a proxy (1), then lines: X-Real-IP behind `!`, else X-Forwarded-For."""
    return {
        "one": b"\x01203.0.113.9",
        "chain": b"\x01198.51.100.1, 203.0.113.9:5555, 10.0.0.2\n[2001:db8:1::2]:80 ,::ffff:10.0.0.3",
        "all-trusted": b"\x0110.0.0.3, 10.0.0.2",
        "unknown": b"\x01198.51.100.1, unknown, 10.0.0.2",
        "empty": b"\x01198.51.100.1,, 10.0.0.2\n",
        "real": b"\x01!203.0.113.9",
        "real-twice": b"\x01!203.0.113.9\n!203.0.113.9",
        "stranger": b"\x00198.51.100.1\n!198.51.100.1",
    }


def topic() -> dict[str, bytes]:
    """A pattern, a line break, a topic."""
    return {
        "exact": b"prices.EURUSD\nprices.EURUSD",
        "star": b"prices.*\nprices.a.b",
        "stars": b"*a*b*?c*\nxxabyybzzc",
        "question": "room:??\nroom:é€".encode(),
        "backtrack": b"a*a*a*a*b\naaaaaaaaaaaaaaaa",
        "control": "a\u0085b\t\n\u007f".encode(),
        "long": ("é" * 128 + "\n" + "x" * 255).encode(),
    }


JSON = {
    "update": b'{"t":"tick","p":{"a":[1,2.5e-3,null,true]}}',
    "snapshot": b'{"t":"book_snapshot","id":"x"}',
    "snapshot-first": b'{ "p" : "\\"}" , "t" : "snapshot_book" }',
    "own-category": b'{"t":"x","c":"WSE"}',
    "category-first": b'{"c":"U","t":"x"}',
    "empty": b" {} ",
    "nested": b'{"p":{"c":1,"t":"x_snapshot","d":[{"e":"]}"}]}}',
    "escapes": b'{"\\u0063":"\\ud83d\\ude00","k\\"":"\\\\"}',
    "duplicates": b'{"t":"a","t":"b_snapshot"}',
    "list": b'["t","ping"]',
    "type-list": b'{"t":["x"],"p":1}',
    "type-object": b'{"t":{"a":"x_snapshot"},"type":"snapshot"}',
    "type-escaped": b'{"t":"a\\u005fsnapshot"}',
    "trailing": b'{"t":1} tail',
    "broken": b'{"t":"pong",',
    "deep": b'{"a":' + b"[" * 140 + b"]" * 140 + b"}",
}


def command() -> dict[str, bytes]:
    """A message, perhaps with an old prefix."""
    return JSON | {
        "ping": b'{"t":"ping","p":{"timestamp":1795448941607}}',
        "ping-long-names": b'WSE{"type":"ping","payload":{"timestamp":"2026-01-31T00:00:00Z"}}',
        "pong": b'U{"c":"WSE","t":"PONG"}',
        "hello": b'{"p":{"protocol_version":3,"features":{}},"t":"client_hello"}',
        "two-types": b'{"type":"ping","t":"chat"}',
        "subscribe": b'{"t":"subscription_update","p":{"action":"subscribe","topics":["a","b.*","a"],"recover":true,'
        b'"recovery":{"a":{"epoch":"deadbeef","offset":7}},"presence":{"x":1}},"cid":"7"}',
        "subscribe-in-a-group": b'{"t":"subscription","p":{"action":"subscribe","topics":["a"],"queue_group":"g"}}',
        "unsubscribe": b'{"type":"subscription_update","payload":{"action":"unsubscribe","topics":["a"]}}',
        "publish": b'{"t":"publish","cid":"7","p":{"topic":"a","data":{"t":"chat","c":"U","p":{"n":1}}}}',
        "publish-forged": b'{"t":"publish","p":{"topic":"a","data":{"t":"gap","c":"WSE","tp":"a","o":1}}}',
        "presence": b'{"t":"presence_update","p":{"data":{"status":"away"}}}',
        "deep-data": b'{"t":"publish","p":{"topic":"a","data":{"x":' + b"[" * 62 + b"]" * 62 + b"}}}",
        "twice": b'{"t":"publish","p":{"topic":"a","topic":"b","data":{}},"p":{}}',
        "hello-with-a-key": b'{"t":"client_hello","p":{"features":{"compression":true},'
        b'"encryption_public_key":"BPg="}}',
    }


def msgpack() -> dict[str, bytes]:
    """Twice the limit and msgpack, or an odd byte and JSON."""
    room, json = b"\xfe", b"\x01"
    a = b"\x81\xa1a"
    return {f"json-{name}": json + text for name, text in JSON.items()} | {
        "words": room + b"\x83\xa1a\xc0\xa1b\xc2\xa1c\xc3",
        "numbers": room
        + a
        + b"\x9a\x7f\xff\xcc\x80\xcd\1\0\xce\0\1\0\0\xcf\1\0\0\0\0\0\0\0\xd0\x80\xd1\x80\0"
        b"\xd2\x80\0\0\0\xd3\x80\0\0\0\0\0\0\0",
        "floats": room + a + b"\x92\xca\x3f\0\0\0\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a",
        "texts": room + a + b'\x93\xa3\xe2\x82\xac\xd9\2"\\\xda\0\1\n',
        "bytes": room + a + b"\x91\xc4\3\0\xab\xff",
        "lists": room + a + b"\x92\xdc\0\1\xc0\xdd\0\0\0\0",
        "maps": room + a + b"\x92\xde\0\1\xa0\x80\xdf\0\0\0\0",
        "timestamps": room
        + a
        + b"\x93\xd6\xff\0\0\0\1\xd7\xff\0\0\0\4\0\0\0\1\xc7\x0c\xff\0\0\3\xe8"
        + b"\xff" * 8,
        "nan": room + a + b"\xcb\x7f\xf8\0\0\0\0\0\0",
        "deep": room + a * 63 + b"\x80",
        "too-deep": room + a * 64 + b"\x80",
        "announces-much": room + b"\xdf\xff\xff\xff\xff\xa1a",
        "grows": b"\x20" + a + b"\xd9\x10" + b"\1" * 16,
    }


CLAIMS = (
    b'{"sub":"u1","exp":1900000100,"iss":"me","aud":["you"],"nbf":1900000000,"wse_topics":{"allow":["a.*"]}}'
)


def jwt() -> dict[str, bytes]:
    """Claims, which the target signs; or the lines of Cookie, Authorization and Sec-WebSocket-Protocol."""
    return {
        "claims": CLAIMS,
        "minimal": b'{"sub":"u","exp":1900000001}',
        "expired": b'{"sub":"u","exp":1899999970}',
        "wrong-types": b'{"sub":7,"exp":"soon","aud":{},"nbf":null}',
        "far": b'{"sub":"u","exp":1e300}',
        "duplicates": b'{"sub":"a","sub":"b","exp":1900000001}',
        "none": b"eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1IiwiZXhwIjoxOTAwMDAwMDAxfQ.",
        "cookie": b'a=b; access_token="x.y.z"; access_token=x.y.z\n\n',
        "bearer": b"\nBearer  x.y.z\n",
        "subprotocol": b"\n\nwse, bearer.x.y.z",
    }


def conn_id() -> dict[str, bytes]:
    """The number of the run in eight bytes, then text or a number."""
    run = bytes.fromhex("00000123456789ab")
    return {
        "place": run + b"0000000100000002",
        "whole": run + b"0123456789abff00000100000002",
        "high-bits": bytes.fromhex("ffff0123456789ab") + b"ffffffffffffffff",
        "number": run + bytes.fromhex("0700000500000009"),
        "upper-case": run + b"00000001000000FF",
    }


def operations() -> dict[str, dict[str, bytes]]:
    """Short plays for the targets that read operations; the fuzzer finds the others soon."""
    push_all, push_part = bytes([4, 0, 1, 0, 4]), bytes([5, 1, 1, 1, 2])
    schedule, cancel, advance = 0, 3, 4
    return {
        "outbox": {
            "push-and-send": push_all + bytes([1, 3]) + push_part + bytes([1, 255]),
            "cut": push_all + push_part + bytes([2, 7, 0]) + push_part + bytes([0]),
            "large": bytes([4, 3, 1, 0, 3, 1, 9, 1, 254, 0]) + push_all,
        },
        "wheel": {
            "in-order": bytes(
                [0, 0, 0, 0, schedule, 1, 40, 0, schedule, 2, 60, 0, advance, 50, 0, advance, 90, 0]
            ),
            "cancelled": bytes([9, 0, 0, 0, schedule, 1, 40, 0, cancel, 1, advance, 100, 0]),
            "far": bytes([0, 1, 0, 0, schedule, 250, 0xB0, 4, advance, 0, 2, advance, 0xB0, 4]),
        },
        "history": {
            "publish-and-recover": bytes([2, 255, 255, 0, 9, 1, 1, 20, 1, 9, 5, 4, 0, 255, 0, 255, 255]),
            "wait-and-heal": bytes([1, 50, 0, 0, 9, 1, 4, 255, 3, 1, 20, 1, 7, 9, 99, 0, 5, 8, 0, 9, 0]),
        },
        # Entries come and go, frames arrive or are lost, a stranger says SUB.
        "interest": {
            "come-and-go": bytes([0, 0, 6, 3, 0, 4, 6, 3, 4, 0, 6, 3]),
            "lost": bytes([0, 0, 6, 3, 6, 3, 0, 1, 10, 1, 0, 2, 6, 3, 6, 3, 11, 12, 0, 9]),
            "stranger": bytes([14, 0, 5, 1, 1, 0, 1, 97, 0, 0, 6, 3]),
        },
        # The same for users: topic, user, connection, data, what and at which node; a stranger says PRESENCE_SNAPSHOT.
        "cluster_presence": {
            "come-and-go": bytes(
                [0, 0, 1, 0, 1, 1, 1, 6, 3, 0, 0, 1, 0, 2, 1, 0, 6, 3, 0, 0, 1, 0, 0, 3, 1, 6, 3]
            ),
            "lost": bytes([0, 0, 1, 0, 1, 1, 1, 9, 1, 0, 1, 2, 1, 2, 1, 1, 11, 40, 0, 6, 3, 6, 3, 10]),
            "stranger": bytes([14, 1, 21, 1, 0, 1, 0, 1, 1, 116, 1, 117, 1, *([0] * 8), 2, 123, 125, 6, 3]),
        },
        "keyed": {"grow": bytes(range(70)), "grow-and-shrink": bytes([*range(60), *range(160, 220), 255, 3])},
        "rate": {
            "burst": bytes([3, 2, 0, 0, 0, 0, 255, 255, 210, 255]),
            "steady": bytes([1, 0, 7, 0, 0, 0, *([5] * 40)]),
        },
    }


def link_frames() -> dict[str, bytes]:
    """Limit (2), frames until admitted, piece, 1 and the stream; or 0 and frames to be put together, as the target says."""

    def node_frame(kind: int, topic: bytes, payload: bytes, *, flags: int = 0) -> bytes:
        sizes = len(topic).to_bytes(2, "little") + len(payload).to_bytes(4, "little")
        return bytes([kind, flags]) + sizes + topic + payload

    def stream(*parts: bytes, limit: int = 1000, admitted_after: int = 1, piece: int = 3) -> bytes:
        return limit.to_bytes(2, "little") + bytes([admitted_after, piece, 1]) + b"".join(parts)

    # A frame of zstd with one block: 300 times one byte.
    repeated = bytes.fromhex("28b52ffd 60 2c00 630900 78")
    hello = node_frame(1, b"", b"hello")
    message = node_frame(0x14, "tópico".encode(), b"{}")
    return {
        "messages": stream(hello, message, message),
        "compressed": stream(hello, node_frame(0x14, b"t", (300).to_bytes(4, "little") + repeated, flags=1)),
        "too-early": stream(node_frame(0x14, b"t", (300).to_bytes(4, "little") + repeated, flags=1)),
        "bomb": stream(hello, node_frame(0x14, b"t", (9).to_bytes(4, "little") + repeated, flags=1)),
        "beyond-the-limit": stream(hello, node_frame(0x14, b"", bytes(40)), limit=4),
        "not-text": stream(hello, node_frame(0x14, b"\xff", b"")),
        "cut": stream(hello, message[:11]),
        "put-together": bytes([232, 3, 0, 200, 0]) + bytes([20, 3, 120, 44, 1, 1, 20, 0, 120, 9, 0, 0]),
    }


def certificate() -> dict[str, bytes]:
    """1 and a certificate; or 0 (of version 1) or 2 (of version 3) and steps that spoil a good one, as the target says."""
    good = Path(__file__).resolve().parent.parent / "crates/wse-link/fixtures"
    return {
        "version-1": b"\1" + (good / "v1.der").read_bytes(),
        "version-3": b"\1" + (good / "v3.der").read_bytes(),
        "authority": b"\1" + (good / "ca.der").read_bytes(),
        "another-key": bytes([0, 180, 0, 0, 7]),
        "cut": bytes([2, 100, 0, 3, 0]),
        "twice": bytes([0, 4, 0, 2, 200, 1, 0, 0, 0x82]),
    }


def seeds() -> dict[str, dict[str, bytes]]:
    """All seeds: target, name, bytes."""
    return {
        "receive": receive(),
        "frames": frames(),
        "upgrade": upgrade(),
        "connection": connection(),
        "deflate": deflate(),
        "proxy_header": proxy_header(),
        "http_api": http_api(),
        "forwarded": forwarded(),
        "topic": topic(),
        "category": JSON,
        "command": command(),
        "msgpack": msgpack(),
        "jwt": jwt(),
        "conn_id": conn_id(),
        "link_frames": link_frames(),
        "certificate": certificate(),
        **operations(),
    }


def main() -> None:
    """Writes them all and removes those that are no longer wanted."""
    wanted = {
        CORPUS / target / f"{name}.seed": data
        for target, all_of_it in seeds().items()
        for name, data in all_of_it.items()
    }
    for path in set(CORPUS.glob("*/*.seed")) - wanted.keys():
        path.unlink()
    for path, data in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


if __name__ == "__main__":
    main()
