"""Three segments of canonical base64url, two of them a JSON object."""

from __future__ import annotations

import base64
import string

from token_corpus.case import Build, Case, bad, claims_text, good, header_text
from token_corpus.mint import Mint, b64

PADDING = "RFC 7515 section 2: base64url without padding, so that a token has one spelling"
TOO_LONG = "8 KiB is more than an honest token needs, and a limit on what a stranger may have checked"
BYTE_ORDER_MARK = "RFC 8259 section 8.1: JSON that is sent has no byte order mark in front"
TOO_DEEP = "nothing that nests deeper than 127 levels is read, so that no stack is at stake"


def changed(change: str) -> Build:
    """A good token T with something around or inside it: M is its message, S its signature."""

    def build(mint: Mint) -> str:
        token = mint.token()
        message, signature = token.rsplit(".", 1)
        return (
            change.replace("T", token)
            if "T" in change
            else change.replace("M", message).replace("S", signature)
        )

    return build


def padded(text: str) -> str:
    """The text as a segment with padding, which it needs because of the spaces added to it."""
    text += " " * ((2 - len(text.encode())) % 3)
    return base64.urlsafe_b64encode(text.encode()).decode()


def signature_padded(mint: Mint) -> str:
    token = mint.token()
    return token + "=" * (-len(token.rsplit(".", 1)[1]) % 4)


def trailing_bits(mint: Mint) -> str:
    """The same bytes in another spelling: a bit set that the last letter of the signature throws away."""
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    token = mint.token()
    assert len(token.rsplit(".", 1)[1]) % 4 in {2, 3}
    return token[:-1] + alphabet[alphabet.index(token[-1]) + 1]


def other_alphabet(mint: Mint) -> str:
    payload = b64(mint.claims(sub="??>>??>>"))
    assert "_" in payload or "-" in payload
    return mint.signed(f"{b64(mint.header())}.{payload.replace('-', '+').replace('_', '/')}")


def of_length(length: int) -> Build:
    """A token of exactly this length, by way of its claims and, for what base64 skips, of its header."""

    def build(mint: Mint) -> str:
        for kid in ("", "k", "kk", "kkk"):
            header = mint.header(kid=kid)
            about = (length - len(mint.token(header))) * 3 // 4
            for size in range(about - 20, about):
                token = mint.token(header, mint.claims(pad="x" * size))
                if len(token) == length:
                    return token
        raise AssertionError(length)

    return build


CASES: list[Case] = [
    good("plain", lambda mint: mint.token()),
    good("header with spaces and line ends", header_text(' {\n"alg" : "ALG" }\n')),
    good("payload with spaces and line ends", claims_text(' {\n"sub" : "u" , "exp" : EXP }\n')),
    good("names written with escapes", claims_text(r'{"\u0073ub":"u","exp":EXP}')),
    bad("empty", changed("")),
    bad("dots only", changed("..")),
    bad("no signature", changed("M")),
    bad("empty signature", changed("M.")),
    bad("empty payload", lambda mint: mint.signed(f"{b64(mint.header())}.")),
    bad("empty header", lambda mint: mint.signed(f".{b64(mint.claims())}")),
    bad("four segments", changed("M.S.S")),
    bad("five segments", changed("M.M.S")),
    bad("dot behind", changed("T.")),
    bad("dot in front", changed(".T")),
    bad("signature padded", signature_padded, PADDING),
    bad("header padded", lambda mint: mint.signed(f"{padded(mint.header())}.{b64(mint.claims())}"), PADDING),
    bad("payload padded", lambda mint: mint.signed(f"{b64(mint.header())}.{padded(mint.claims())}"), PADDING),
    bad("wrongly padded", changed("M.S===")),
    bad("space in front", changed(" M.S")),
    bad("space behind", changed("M.S ")),
    bad("line end behind", changed("M.S\n")),
    bad("line end before the signature", changed("M\n.S")),
    bad("line end that is signed", lambda mint: mint.signed(f"{b64(mint.header())}\n.{b64(mint.claims())}")),
    bad("NUL behind", changed("M.S\0")),
    bad("scheme in front", changed("Bearer M.S")),
    bad("in quotes", changed('"M.S"')),
    bad("letter outside ASCII", changed("M.Sé")),
    bad("the other alphabet", other_alphabet),
    bad("trailing bits", trailing_bits),
    good("of 8192 bytes", of_length(8192)),
    bad("of 8193 bytes", of_length(8193), TOO_LONG),
    bad("header is a list", header_text("[]")),
    bad("header is text", header_text('"ALG"')),
    bad("header is no JSON", header_text("{ALG}")),
    bad("header is two objects", header_text('{"alg":"ALG"}{}')),
    bad("header is not UTF-8", header_text(b'{"alg":"\xff"}')),
    bad("payload is a list", claims_text("[]")),
    bad("payload is null", claims_text("null")),
    bad("payload is no JSON", claims_text("{sub}")),
    bad("payload is two objects", claims_text('{"sub":"u","exp":EXP}{}')),
    bad("payload has a byte order mark", claims_text('\ufeff{"sub":"u","exp":EXP}'), BYTE_ORDER_MARK),
    bad(
        "payload is not UTF-8",
        lambda mint: mint.token(claims=mint.claims(sub="X").encode().replace(b"X", b"\xff")),
    ),
    bad(
        "payload nests 300 deep",
        claims_text('{"sub":"u","exp":EXP,"x":' + "[" * 300 + "]" * 300 + "}"),
        TOO_DEEP,
    ),
]
