"""`wse token inspect`."""

from __future__ import annotations

import base64
import binascii
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

import click
from rich.markup import escape

from wse_server.cli.errors import CliError, ExitCode
from wse_server.cli.output import out, write_json
from wse_server.cli.token.keys import Key, algorithm_of, checking_key, expectations
from wse_server.cli.token.times import LAST_DATE, moment, words

__all__ = ["inspect"]

_MAX_BYTES = 8192
_LEEWAY = 30


@dataclass(frozen=True)
class _Token:
    """A token, read, with nothing of it checked."""

    text: str
    header: dict[str, Any]
    claims: dict[str, Any]


@dataclass(frozen=True)
class _Expected:
    """What is asked of it."""

    algorithm: str
    issuer: str | None
    audience: str | None
    key_id: str | None


@click.command()
@click.argument("text", metavar="[TOKEN]", default="-")
@click.option(
    "--secret-file",
    metavar="FILE",
    help="The secret of HS256; - is stdin. [WSE_JWT_SECRET_FILE, WSE_JWT_SECRET]",
)
@click.option("--public-key", metavar="FILE", help="The key of RS256, ES256, EdDSA (PEM); - is stdin.")
@expectations
@click.option("--json", "as_json", is_flag=True, help="All of it as JSON.")
def inspect(
    text: str,
    secret_file: str | None,
    public_key: str | None,
    issuer: str | None,
    audience: str | None,
    key_id: str | None,
    algorithm: str | None,
    as_json: bool,
) -> None:
    """Show what a token says, when it ends, and whether a server with this key would let it in.

    Without TOKEN, or with -, it is read from stdin. Without a key nothing is verified, and only the dates
    decide. Exits with 4 if a server would refuse it.
    """
    if text == "-" and "-" in {secret_file, public_key}:
        raise CliError(
            "both the token and the key from stdin", hint="name a file for one", code=ExitCode.USAGE
        )
    token = _read(text)
    now = time.time()
    key = checking_key(secret_file, public_key)
    if key is None:
        problem = _late(token.claims, now)
    else:
        problem = _verify(
            token, key, _Expected(algorithm or algorithm_of(key), issuer, audience, key_id), now
        )
    times: dict[str, str] = {
        name: _when(name, token.claims[name], now) for name in ("iat", "nbf", "exp") if name in token.claims
    }
    verified = None if key is None else problem is None
    if as_json:
        told = {"header": token.header, "claims": token.claims, "times": times}
        write_json(told | {"verified": verified, "problem": problem})
    else:
        _print(token, times, verified, problem)
    if problem is not None:
        raise CliError(f"a server refuses this token: {problem}", code=ExitCode.REFUSED)


def _read(text: str) -> _Token:
    """Takes a token apart.

    Raises:
        CliError: It is none. The message has no part of it.
    """
    if text == "-":
        if sys.stdin.isatty():
            raise CliError(
                "there is no token", hint="wse token inspect TOKEN, or a pipe", code=ExitCode.USAGE
            )
        text = sys.stdin.read(_MAX_BYTES + 2)
    text = text.strip().removeprefix("Bearer ")
    if len(text) > _MAX_BYTES:
        raise CliError(f"it has more than the {_MAX_BYTES} bytes that a server reads", code=ExitCode.REFUSED)
    segments = text.split(".")
    if len(segments) != 3:
        what = f"a token has three parts with dots between them, this has {len(segments)}"
        raise CliError(what, code=ExitCode.REFUSED)
    return _Token(text, _object(segments[0], "header"), _object(segments[1], "payload"))


def _object(segment: str, what: str) -> dict[str, Any]:
    try:
        raw = base64.b64decode(segment + "=" * (-len(segment) % 4), altchars=b"-_", validate=True)
        value = json.loads(raw)
    except (binascii.Error, ValueError, RecursionError):
        raise CliError(f"the {what} of the token is no JSON in base64url", code=ExitCode.REFUSED) from None
    if not isinstance(value, dict):
        raise CliError(f"the {what} of the token is no object", code=ExitCode.REFUSED)
    return value


def _verify(token: _Token, key: Key, expected: _Expected, now: float) -> str | None:
    """What a server with these options refuses it for; None if it lets it in."""
    from wse_server import rust_jwt_decode

    algorithm: Any = expected.algorithm
    try:
        whole = rust_jwt_decode(
            token.text, key.content, algorithm, expected.issuer, expected.audience, key_id=expected.key_id
        )
        bare = rust_jwt_decode(token.text, key.content, algorithm) if whole is None else whole
    except ValueError as error:
        raise CliError(f"{key.source}: {error}", code=ExitCode.USAGE) from None
    if whole is not None:
        return None
    if bare is not None:
        return _unexpected(token, expected)
    if token.header.get("alg") != expected.algorithm:
        return f"its algorithm is {token.header.get('alg')!r}, not {expected.algorithm}"
    late = _late(token.claims, now)
    if late is not None:
        return late
    sub = token.claims.get("sub")
    if not isinstance(sub, str) or not sub:
        return "sub, the user's id, is missing or no text"
    return "it is not signed with this key, or its form is not that of a token"


def _unexpected(token: _Token, expected: _Expected) -> str:
    """Which of the things that were asked for it lacks; that it is one of them is known."""
    if expected.key_id is not None and token.header.get("kid") != expected.key_id:
        return f"its key id is {token.header.get('kid')!r}, not {expected.key_id!r}"
    if expected.issuer is not None and token.claims.get("iss") != expected.issuer:
        return f"its issuer is {token.claims.get('iss')!r}, not {expected.issuer!r}"
    return f"its audience is {token.claims.get('aud')!r}, not {expected.audience!r}"


def _late(claims: dict[str, Any], now: float) -> str | None:
    """What is wrong with its dates."""
    exp = _date(claims.get("exp"))
    if exp is None:
        return "exp is missing or no date: seconds since 1970, until the year 9999"
    if now > exp + _LEEWAY:
        return f"it has expired {words(now - exp)} ago"
    if "nbf" not in claims:
        return None
    nbf = _date(claims["nbf"])
    if nbf is None:
        return "nbf is no date: seconds since 1970"
    return f"it is not valid for another {words(nbf - now)}" if now < nbf - _LEEWAY else None


def _date(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LAST_DATE:
        return value
    return None


def _when(name: str, claim: object, now: float) -> str:
    """A date of a token in words."""
    date = _date(claim)
    if date is None:
        return "no date: seconds since 1970, until the year 9999"
    ahead = date - now
    if name == "exp":
        side = f"expires in {words(ahead)}" if ahead > 0 else f"expired {words(ahead)} ago"
    elif name == "nbf":
        side = f"not valid for another {words(ahead)}" if ahead > 0 else f"valid since {words(ahead)}"
    else:
        side = f"issued {words(ahead)} ago" if ahead <= 0 else f"issued {words(ahead)} from now"
    return f"{moment(date)} ({side})"


def _print(token: _Token, times: dict[str, str], verified: bool | None, problem: str | None) -> None:
    for title, value in (("header", token.header), ("claims", token.claims)):
        out().print(f"[bold]{title}[/]")
        for line in json.dumps(value, indent=2, ensure_ascii=False).split("\n"):
            out().print(f"  {escape(_printable(line))}")
    out().print("[bold]times[/]")
    for name, when in times.items():
        out().print(f"  {name}  {when}")
    if verified is None:
        state = "[yellow]not verified[/]: no key was given"
    elif verified:
        state = "[green]verified[/]: a server with this key lets it in"
    else:
        state = f"[red]refused[/]: {escape(str(problem))}"
    out().print(state)


def _printable(text: str) -> str:
    """What strangers wrote into a token must not steer the terminal."""
    return "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in text)
