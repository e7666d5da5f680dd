"""HS256 tokens, made here so that every side is sent the very same ones."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path

SECRET = "a-secret-of-the-benchmark-and-nothing-else"
LIFETIME_S = 24 * 3600


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(subject: str) -> str:
    now = int(time.time())
    header = _encode(b'{"alg":"HS256","typ":"JWT"}')
    claims = _encode(json.dumps({"sub": subject, "iat": now, "exp": now + LIFETIME_S}).encode())
    signed = f"{header}.{claims}"
    return f"{signed}.{_encode(hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest())}"


def write_headers(path: Path, first: int, count: int) -> Path:
    """A file for WSLOAD_HEADERS that gives each client a user of its own."""
    lines = [f"Cookie: access_token={token(f'user-{n:06d}')}\n" for n in range(first, first + count)]
    path.write_text("".join(lines))
    return path
