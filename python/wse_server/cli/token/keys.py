"""Where the keys of tokens come from: a file, stdin or the environment, and never the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from wse_server.cli.errors import CliError, ExitCode

__all__ = ["ALGORITHMS", "Key", "algorithm_of", "checking_key", "expectations", "signing_key"]

ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")

_LONGEST = 65_536
_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Key:
    """A key, with the place that it came from, for errors."""

    content: bytes
    source: str


def expectations(command: _Command) -> _Command:
    """The options that say what a server asks of tokens, by the names and variables that it has for them."""
    options = [
        click.option(
            "--issuer", envvar="WSE_JWT_ISSUER", metavar="TEXT", help="The claim iss. [WSE_JWT_ISSUER]"
        ),
        click.option(
            "--audience", envvar="WSE_JWT_AUDIENCE", metavar="TEXT", help="The claim aud. [WSE_JWT_AUDIENCE]"
        ),
        click.option(
            "--key-id",
            envvar="WSE_JWT_KEY_ID",
            metavar="TEXT",
            help="The kid of the header. [WSE_JWT_KEY_ID]",
        ),
        click.option(
            "--algorithm",
            envvar="WSE_JWT_ALGORITHM",
            type=click.Choice(ALGORITHMS, case_sensitive=False),
            metavar="|".join(ALGORITHMS),
            help="Default: what the key is for. [WSE_JWT_ALGORITHM]",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def signing_key(secret_file: str | None, private_key: str | None, algorithm: str | None) -> Key | None:
    """The key that was given for signing, else the one that a server with this environment signs with.

    Raises:
        CliError: There are two, or one can't be read.
    """
    named = _named(secret_file, "--secret-file", private_key, "--private-key")
    if named is not None or algorithm == "HS256":
        return named or _of_environment("WSE_JWT_SECRET")
    private = _of_environment("WSE_JWT_PRIVATE_KEY")
    return private or (_of_environment("WSE_JWT_SECRET") if algorithm is None else None)


def checking_key(secret_file: str | None, public_key: str | None) -> Key | None:
    """The key that was given for checking, else the one that a server with this environment checks with."""
    return _named(secret_file, "--secret-file", public_key, "--public-key") or _of_environment(
        "WSE_JWT_SECRET"
    )


def algorithm_of(key: Key) -> str:
    """What a key is for.

    Raises:
        CliError: It is for nothing that a server accepts.
    """
    if b"-----BEGIN" not in key.content:
        return "HS256"
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

    try:
        if b"PRIVATE KEY-----" in key.content:
            found: object = load_pem_private_key(key.content, None)
        else:
            found = load_pem_public_key(key.content)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CliError(f"{key.source}: the key can't be read: {error}", code=ExitCode.USAGE) from None
    if isinstance(found, rsa.RSAPrivateKey | rsa.RSAPublicKey):
        return "RS256"
    if isinstance(found, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        return "ES256"
    if isinstance(found, ed25519.Ed25519PrivateKey | ed25519.Ed25519PublicKey):
        return "EdDSA"
    raise CliError(f"{key.source}: no algorithm for tokens has such a key", code=ExitCode.USAGE)


def _named(first: str | None, first_option: str, second: str | None, second_option: str) -> Key | None:
    if first is not None and second is not None:
        raise CliError(
            f"{first_option} and {second_option} are two keys", hint="give one", code=ExitCode.USAGE
        )
    if first is not None:
        return _of_file(first, first_option)
    return None if second is None else _of_file(second, second_option)


def _of_environment(variable: str) -> Key | None:
    """The key in a variable, or in the file that a variable names."""
    content, file = os.environ.get(variable), os.environ.get(f"{variable}_FILE")
    if content is not None and file is not None:
        raise CliError(f"{variable} and {variable}_FILE are both set", hint="unset one", code=ExitCode.USAGE)
    if file is not None:
        return _of_file(file, f"{variable}_FILE")
    return None if content is None else _key(content.encode("utf-8", "surrogateescape"), variable)


def _of_file(path: str, source: str) -> Key:
    try:
        if path == "-":
            content = sys.stdin.buffer.read(_LONGEST + 1)
        else:
            with Path(path).open("rb") as file:
                content = file.read(_LONGEST + 1)
    except OSError as error:
        raise CliError(f"{source}: {path} can't be read: {error.strerror}", code=ExitCode.USAGE) from None
    return _key(content, f"{source} {path}")


def _key(content: bytes, source: str) -> Key:
    if len(content) > _LONGEST:
        raise CliError(f"{source}: more than {_LONGEST} bytes are no key", code=ExitCode.USAGE)
    # Editors and `echo` end a file with a line feed, which is no part of the secret. So `wse serve` reads it.
    content = content.rstrip(b"\r\n")
    if not content:
        raise CliError(f"{source}: it is empty", code=ExitCode.USAGE)
    return Key(content, source)
