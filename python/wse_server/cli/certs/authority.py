"""The authority: the one that is there, checked, or a new one."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from wse_server.cli.certs import files
from wse_server.cli.certs.layout import AuthorityPlace
from wse_server.cli.errors import CliError
from wse_server.cli.output import err

if TYPE_CHECKING:
    from wse_server.cli.certs.issue import Authority

__all__ = ["load", "make", "note", "read_bytes"]

_NAME = "WSE CA"


def load(place: AuthorityPlace, now: dt.datetime) -> Authority:
    """Reads an authority and checks that it can sign.

    Raises:
        CliError: What is wrong with it.
    """
    from wse_server.cli.certs import issue

    for path, other in ((place.certificate, place.key), (place.key, place.certificate)):
        if not path.exists():
            raise CliError(
                f"{path} is not there, but {other} is"
                if other.exists()
                else f"{path} and {other.name} are not there",
                hint="--ca DIR names the directory with ca.pem and ca.key",
            )
    try:
        key = issue.read_key(read_bytes(place.key))
    except issue.UnusableError as error:
        raise CliError(f"{place.key}: {error}") from None
    try:
        certificates = issue.read_certificates(read_bytes(place.certificate))
    except issue.UnusableError as error:
        raise CliError(f"{place.certificate}: {error}") from None
    its = [certificate for certificate in certificates if issue.belongs(key, certificate)]
    if not its:
        raise CliError(
            f"{place.key} does not belong to the certificate in {place.certificate}",
            hint="an authority is both files, from the same run",
        )
    problem = issue.why_no_authority(its[0], now)
    if problem is not None:
        raise CliError(
            f"{place.certificate}: the certificate {problem}",
            hint="a new authority takes a new directory: --out or --ca",
        )
    if place.key.stat().st_mode & 0o077:
        mode = place.key.stat().st_mode & 0o777
        note(f"{place.key} has mode {mode:04o}; whoever reads it can make members: chmod 600 {place.key}")
    return issue.Authority(its[0], key)


def make(place: AuthorityPlace, *, days: int, now: dt.datetime) -> Authority:
    """Makes an authority. The key is written first: by the certificate others see that there is one."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from wse_server.cli.certs import issue

    if place.key.exists():
        note(f"{place.key} was there without a certificate: the certificate is for it")
        try:
            key = issue.read_key(read_bytes(place.key))
        except issue.UnusableError as error:
            raise CliError(f"{place.key}: {error}") from None
    else:
        key = issue.make_key()
        files.create(place.key, issue.key_pem(key), files.PRIVATE)
    authority = issue.make_authority(key, _NAME, days=days, now=now)
    files.create(place.certificate, authority.certificate.public_bytes(Encoding.PEM), files.PUBLIC)
    return authority


def read_bytes(path: Path) -> bytes:
    """Reads a file.

    Raises:
        CliError: It can't be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise CliError(f"{path}: can't be read: {error.strerror}") from None


def note(text: str) -> None:
    """Tells something that is no result."""
    err().print(f"[yellow]note:[/] {escape(text)}")
