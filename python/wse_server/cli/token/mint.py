"""`wse token mint`."""

from __future__ import annotations

import json
import time
import unicodedata
from typing import Any, NoReturn

import click

from wse_server.cli.errors import CliError, ExitCode
from wse_server.cli.output import write_json, write_line
from wse_server.cli.token.keys import algorithm_of, expectations, signing_key
from wse_server.cli.token.times import LAST_DATE, parse_duration

__all__ = ["mint"]

_MAX_TOPIC_BYTES = 255


@click.command()
@click.option("--sub", required=True, metavar="USER", help="Whose it is: the user's id.")
@click.option(
    "--exp", default="1h", show_default=True, metavar="TIME", help="How long it is good: 90s, 15m, 1h, 7d."
)
@click.option(
    "--secret-file",
    metavar="FILE",
    help="The secret of HS256; - is stdin. [WSE_JWT_SECRET_FILE, WSE_JWT_SECRET]",
)
@click.option(
    "--private-key",
    metavar="FILE",
    help="The key of RS256, ES256, EdDSA (PEM); - is stdin. [WSE_JWT_PRIVATE_KEY_FILE, WSE_JWT_PRIVATE_KEY]",
)
@expectations
@click.option(
    "--allow",
    multiple=True,
    metavar="TOPIC",
    help="A topic or pattern that it lets hear. May be given again.",
)
@click.option(
    "--deny", multiple=True, metavar="TOPIC", help="The same for what it does not. It wins over --allow."
)
@click.option(
    "--claim",
    "claims",
    multiple=True,
    metavar="NAME=VALUE",
    help="Another claim. VALUE is JSON, else it is text. May be given again.",
)
@click.option("--json", "as_json", is_flag=True, help="The token with its claims and algorithm, as JSON.")
def mint(
    sub: str,
    exp: str,
    secret_file: str | None,
    private_key: str | None,
    issuer: str | None,
    audience: str | None,
    key_id: str | None,
    algorithm: str | None,
    allow: tuple[str, ...],
    deny: tuple[str, ...],
    claims: tuple[str, ...],
    as_json: bool,
) -> None:
    """Mint a token that a server with the same key lets in, and print it.

    Without --allow and --deny it may hear every topic.
    """
    if not sub:
        raise CliError("--sub is empty, and a server refuses a token without a user", code=ExitCode.USAGE)
    payload = _payload(sub, exp, issuer, audience, allow, deny)
    for text in claims:
        name, value = _claim(text)
        if name in payload:
            raise CliError(f"--claim {name}: the claim is there already", code=ExitCode.USAGE)
        payload[name] = value
    key = signing_key(secret_file, private_key, algorithm)
    if key is None:
        raise CliError(
            "there is no key to sign with",
            hint="--secret-file FILE, --private-key FILE, or the variables of wse serve; "
            "wse token secret makes a secret",
            code=ExitCode.USAGE,
        )
    from wse_server import rust_jwt_encode

    chosen: Any = algorithm or algorithm_of(key)
    try:
        token = rust_jwt_encode(payload, key.content, chosen, key_id)
    except ValueError as error:
        raise CliError(f"{key.source}: {error}", code=ExitCode.USAGE) from None
    if as_json:
        write_json({"token": token, "algorithm": chosen, "claims": payload})
    else:
        write_line(token)


def _payload(
    sub: str,
    exp: str,
    issuer: str | None,
    audience: str | None,
    allow: tuple[str, ...],
    deny: tuple[str, ...],
) -> dict[str, Any]:
    now = int(time.time())
    try:
        end = now + parse_duration(exp)
    except ValueError as error:
        raise CliError(f"--exp: {error}", code=ExitCode.USAGE) from None
    if end > LAST_DATE:
        raise CliError(f"--exp {exp}: a server refuses dates after the year 9999", code=ExitCode.USAGE)
    payload: dict[str, Any] = {"sub": sub, "iat": now, "exp": int(end)}
    if issuer is not None:
        payload["iss"] = issuer
    if audience is not None:
        payload["aud"] = audience
    lists = {"allow": allow, "deny": deny}
    topics = {name: [_topic(text) for text in texts] for name, texts in lists.items() if texts}
    if topics:
        payload["wse_topics"] = topics
    return payload


def _topic(text: str) -> str:
    """A topic or pattern. A server takes a malformed one for a list that allows nothing."""
    if (
        not text
        or len(text.encode("utf-8", "surrogatepass")) > _MAX_TOPIC_BYTES
        or any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in text)
    ):
        raise CliError(
            f"{text!r} is no topic: 1 to 255 bytes of UTF-8 without control characters", code=ExitCode.USAGE
        )
    return text


def _claim(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise CliError(
            f"--claim {text!r}: allowed is NAME=VALUE",
            hint="for example --claim admin=true",
            code=ExitCode.USAGE,
        )
    try:
        return name, json.loads(value, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return name, value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
