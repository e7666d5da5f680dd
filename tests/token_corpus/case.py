"""One case of the corpus, and short ways to write it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from token_corpus.mint import Algorithm, Mint

Build = Callable[[Mint], str]


@dataclass(frozen=True)
class Case:
    """A token, and whether a server with these options accepts it."""

    name: str
    accepted: bool
    build: Build
    stricter: str = ""
    """Why this server refuses what PyJWT accepts. A case whose reason is gone fails."""
    algorithm: Algorithm | None = None
    """The only algorithm for which this case means anything."""
    options: dict[str, Any] = field(default_factory=dict)
    """Arguments of `rust_jwt_decode`; `previous_secret` is the name of a key."""


def good(name: str, build: Build, *, algorithm: Algorithm | None = None, **options: Any) -> Case:
    return Case(name, accepted=True, build=build, algorithm=algorithm, options=options)


def bad(
    name: str, build: Build, stricter: str = "", *, algorithm: Algorithm | None = None, **options: Any
) -> Case:
    return Case(name, accepted=False, build=build, stricter=stricter, algorithm=algorithm, options=options)


def header(**changes: Any) -> Build:
    """Good claims under a header with these changes."""
    return lambda mint: mint.token(header=mint.header(**changes))


def claims(**changes: Any) -> Build:
    """A good header over claims with these changes."""
    return lambda mint: mint.token(claims=mint.claims(**changes))


def header_text(text: str | bytes) -> Build:
    """Good claims under exactly this header; ALG stands for the algorithm."""
    if isinstance(text, bytes):
        return lambda mint: mint.token(header=text)
    return lambda mint: mint.token(header=text.replace("ALG", mint.keys.algorithm))


def claims_text(text: str) -> Build:
    """A good header over exactly this payload; EXP stands for a good date."""
    return lambda mint: mint.token(claims=text.replace("EXP", str(mint.now + 3600)))


DUPLICATE = "RFC 7519 section 4: readers differ on which of two equal names counts, so here neither does"
NOT_JSON = "RFC 8259 has no NaN, no infinity and no lone surrogate"
