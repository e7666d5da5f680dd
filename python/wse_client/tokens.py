"""The token of a client: when the next one is needed, and whether there is any sense in trying this one."""

from __future__ import annotations

import base64
import binascii
import json

__all__ = ["Tokens", "expiry_of"]

LEAST = 1.0
"""Seconds between two fetches, however short a token lives."""


class Tokens:
    """What is known of the token.

    Args:
        token: A token that never changes, if there is one.
        is_provided: Whether another one can be asked for.
        margin: Seconds before its end at which a token is replaced; half of its life where that is less.
    """

    def __init__(self, token: str | None, *, is_provided: bool, margin: float) -> None:
        self.current = token
        self.is_provided = is_provided
        self.is_refused = False
        """Whether the server has refused the current one."""
        self.renew_at: float | None = None
        """When a fresh one is due, on the clock of `now`; None where nobody knows or nobody can give one."""
        self._margin = margin

    def must_be_fetched(self, now: float) -> bool:
        """Whether a fresh token has to be fetched before the client connects."""
        if not self.is_provided:
            return False
        is_due = self.renew_at is not None and now >= self.renew_at
        return self.current is None or self.is_refused or is_due

    def take(self, now: float, unix: float, token: str) -> bool:
        """Takes a fresh token. False if it is the one that was refused."""
        if self.is_refused and token == self.current:
            return False
        self.current = token
        self.is_refused = False
        expires = expiry_of(token)
        self.renew_at = None
        if expires is not None:
            self.expires_in(now, expires - unix)
        return True

    def expires_in(self, now: float, seconds: float) -> None:
        """Hears how long the current token still counts."""
        if self.is_provided:
            self.renew_at = now + max(seconds - self._margin, seconds / 2, LEAST)

    def fetch_again_at(self, when: float) -> None:
        """Puts off the next fresh token, when one could not be had."""
        self.renew_at = when


def expiry_of(token: str) -> float | None:
    """The end of a JSON Web Token in seconds since 1970, None where it says none.

    Whether the token is genuine is for the server to say.
    """
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error):
        return None
    expires = claims.get("exp") if isinstance(claims, dict) else None
    return float(expires) if isinstance(expires, int | float) else None
