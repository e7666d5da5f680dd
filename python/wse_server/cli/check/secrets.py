"""Secrets that can be guessed, or read by others."""

from __future__ import annotations

import math
import re
import stat
from collections import Counter
from pathlib import Path

from wse_server.cli.settings import BY_NAME, Deployment, Finding
from wse_server.cli.settings.problems import warning

__all__ = ["look", "weakness"]

# What stands in examples, and what people think of first. No random key has any of these in it.
_WORDS = (
    "secret", "password", "passwort", "passphrase", "changeme", "change-me", "change_me", "replace",
    "example", "default", "qwerty", "letmein", "insecure", "development", "123456", "testing", "private",
)  # fmt: skip
_PEM = b"-----BEGIN"
# A key of 32 hexadecimal digits has 128 bits; what a count of its letters tells of it is a little less.
_LEAST_BITS = 90
_RANDOM = "openssl rand -hex 32 makes a good one"


def look(deployment: Deployment) -> list[Finding]:
    """What is said of the secrets that were given."""
    resolution = deployment.resolution
    findings = []
    for name, value in resolution.values.items():
        if BY_NAME[name].kind != "secret" or not value.is_given:
            continue
        key = value.value if isinstance(value.value, bytes) else str(value.value).encode()
        why = None if _PEM in key else weakness(key)
        if why is not None:
            findings.append(warning(name, value.source, f"{name} is weak: {why}", _RANDOM))
        if value.source == BY_NAME[name].flag:
            message = f"{name} is seen by everybody who lists the processes of this machine"
            instead = f"{BY_NAME[name].flag}-file or {BY_NAME[name].variable}_FILE"
            findings.append(warning(name, value.source, message, instead))
        if value.file is not None:
            findings += readable_by_others(name, value.source, value.file)
    return findings


def weakness(key: bytes) -> str | None:
    """Why a key can be guessed; None if nothing speaks for it."""
    text = key.decode("utf-8", "replace").lower()
    word = next((word for word in _WORDS if word in text), None)
    if word is not None:
        return f"it has the word {word!r} in it, as examples do"
    if (key + key).find(key, 1) < len(key):
        return "it repeats itself"
    bits = _bits(key)
    if bits < _LEAST_BITS:
        return f"it has about {bits:.0f} bits, by its letters; {_LEAST_BITS} are the least"
    if re.fullmatch(r"[a-z]+([ ._-]+[a-z]+)+[!.?]?", text) and len(text) < 48:
        return "it is made of words"
    return None


def _bits(key: bytes) -> float:
    """How much there is to guess at the most, by how often each letter comes."""
    counts = Counter(key).values()
    return -sum(count * math.log2(count / len(key)) for count in counts)


def readable_by_others(name: str, source: str, file: Path) -> list[Finding]:
    """What is said of a file with a secret that everybody on the machine may read."""
    try:
        mode = file.stat().st_mode
    except OSError:
        return []
    if not mode & stat.S_IROTH:
        return []
    message = f"{file} can be read by every user of this machine (mode {stat.S_IMODE(mode):04o})"
    return [warning(name, source, message, "chmod o-rwx, or defaultMode: 0440 of a Kubernetes volume")]
