"""Whose signature it is, and of what."""

from __future__ import annotations

from token_corpus.case import Build, Case, bad, good
from token_corpus.mint import Later, Mint, b64


def by(name: str, **claims: Later) -> Build:
    """A token signed with the key of that name."""

    def build(mint: Mint) -> str:
        other = Mint(mint.keys.algorithm, name)
        return other.token(claims=other.claims(**claims))

    return build


def other_payload(mint: Mint) -> str:
    head, _, tail = mint.token().split(".")
    return f"{head}.{b64(mint.claims(sub='admin'))}.{tail}"


def other_header(mint: Mint) -> str:
    _, payload, tail = mint.token().split(".")
    return f"{b64(mint.header(typ='at+jwt'))}.{payload}.{tail}"


def first_letter(mint: Mint) -> str:
    message, tail = mint.token().rsplit(".", 1)
    return f"{message}.{'B' if tail[0] == 'A' else 'A'}{tail[1:]}"


def zeros(mint: Mint) -> str:
    message, _ = mint.token().rsplit(".", 1)
    return f"{message}.{b64(bytes(len(mint.keys.sign(b''))))}"


def previous_key_other_kid(mint: Mint) -> str:
    previous = Mint(mint.keys.algorithm, "previous")
    return previous.token(previous.header(kid="2025"))


CASES: list[Case] = [
    bad("another key", by("another")),
    bad("payload of another token", other_payload),
    bad("header of another token", other_header),
    bad("first letter changed", first_letter),
    bad("signature cut by a group", lambda mint: mint.token()[:-4]),
    bad("signature cut by a letter", lambda mint: mint.token()[:-1]),
    bad("signature with a group more", lambda mint: mint.token() + "AAAA"),
    bad("signature of zeros", zeros),
    bad("signature of one byte", lambda mint: mint.token().rsplit(".", 1)[0] + ".AA"),
    good("previous key", by("previous"), previous_secret="previous"),
    good("current key beside a previous one", by("current"), previous_secret="previous"),
    bad("neither key", by("another"), previous_secret="previous"),
    bad("previous key, expired", by("previous", exp=Later(-90)), previous_secret="previous"),
    bad("previous key, other kid", previous_key_other_kid, previous_secret="previous", key_id="2026"),
]
