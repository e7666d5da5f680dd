"""`wse certs inspect`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from wse_server.cli.certs.authority import read_bytes
from wse_server.cli.errors import CliError, ExitCode
from wse_server.cli.output import out, write_json

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["inspect"]

_SOON = 30
"""Days. Less than that is shown in yellow."""


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path), metavar="[FILE|DIR]...")
@click.option(
    "--ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The authorities that should have signed. Default: ca.pem beside a certificate, or above it.",
)
@click.option(
    "--warn-days",
    type=click.IntRange(min=0),
    default=0,
    metavar="DAYS",
    help="What ends within so many days counts as a problem.",
)
@click.option("--json", "as_json", is_flag=True, help="A list, as JSON.")
def inspect(paths: tuple[Path, ...], ca: Path | None, warn_days: int, as_json: bool) -> None:
    """Show certificates: whose, until when, and whether key and authority fit. Default: those in ./certs.

    Exits with 1 if one has expired or does not fit, or ends within --warn-days.
    """
    given = paths or (Path("certs"),)
    if not given[0].exists():
        raise CliError(f"{given[0]}: there is no such directory", hint="name one", code=ExitCode.USAGE)
    now = dt.datetime.now(dt.UTC)
    shown: list[dict[str, Any]] = []
    for path in given:
        before = len(shown)
        for file in _files(path):
            shown.extend(_shown(file, ca, now, warn_days=warn_days))
        if len(shown) == before:
            raise CliError(f"{path}: there is no certificate in it")
    if as_json:
        write_json(shown)
    else:
        for one in shown:
            for line in _lines(one):
                out().print(line)
    bad = [one for one in shown if one["problems"]]
    if bad:
        first = f"{bad[0]['file']}: {bad[0]['problems'][0]}"
        more = f", and {len(bad) - 1} more certificates with problems" if len(bad) > 1 else ""
        raise CliError(first + more)


def _files(path: Path) -> Iterator[Path]:
    """A file, or the certificates in a directory and in those of its nodes."""
    if not path.is_dir():
        yield path
        return
    for pattern in ("*.pem", "*/*.pem"):
        for file in sorted(path.glob(pattern)):
            # What a change that was cut short has left is not what nodes read.
            is_hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
            if not is_hidden and b"-----BEGIN CERTIFICATE-----" in read_bytes(file):
                yield file


def _shown(file: Path, ca: Path | None, now: dt.datetime, *, warn_days: int) -> list[dict[str, Any]]:
    from cryptography import x509

    from wse_server.cli.certs import issue

    try:
        certificates = issue.read_certificates(read_bytes(file))
        authority_file = ca or _authority_file(file)
        authorities = issue.read_certificates(read_bytes(authority_file)) if authority_file else []
    except issue.UnusableError as error:
        raise CliError(f"{file}: {error}") from None
    result = []
    for number, certificate in enumerate(certificates):
        is_first = number == 0
        problems: list[str] = []
        # In a chain the others are no node's, and each is signed by the next or by the authority.
        signers = [*authorities, *certificates[number + 1 :]]
        key = _key(file, certificates, problems) if is_first else None
        days_left = (certificate.not_valid_after_utc - now).days
        problems += _problems(certificate, now, warn_days)
        if file.name == "ca.pem" and certificate.version is not x509.Version.v1:
            why = issue.why_no_authority(certificate, now)
            problems += [why] if why and why not in problems else []
        by = _signed_by(certificate, signers, authority_file)
        if by is None and authorities:
            problems.append(f"is not signed by an authority of {authority_file}")
        result.append(
            {
                "file": str(file),
                "number": number + 1,
                "subject": certificate.subject.rfc4514_string(),
                "names": [str(name) for name in issue.names_of(certificate)],
                "issuer": certificate.issuer.rfc4514_string(),
                "signed_by": by,
                "version": certificate.version.value + 1,
                "not_before": certificate.not_valid_before_utc.isoformat(),
                "not_after": certificate.not_valid_after_utc.isoformat(),
                "days_left": days_left,
                "key_type": issue.key_kind(certificate.public_key()),
                "key": key,
                "sha256": _fingerprint(certificate),
                "problems": problems,
            }
        )
    return result


def _authority_file(file: Path) -> Path | None:
    directory = file.absolute().parent
    beside = directory.with_name(directory.name + "-ca")
    for place in (directory, directory.parent, beside):
        found = place / "ca.pem"
        if found.exists():
            return found.relative_to(Path.cwd()) if found.is_relative_to(Path.cwd()) else found
    return None


def _signed_by(
    certificate: x509.Certificate, signers: list[x509.Certificate], authority_file: Path | None
) -> str | None:
    """Who has signed it: itself, the file of authorities, or a certificate behind it."""
    from wse_server.cli.certs import issue

    if certificate.issuer == certificate.subject and issue.issued_by(certificate, certificate):
        return "itself"
    for signer in signers:
        if issue.issued_by(certificate, signer):
            return str(authority_file) if authority_file else issue.subject_of(signer)
    return None


def _problems(certificate: x509.Certificate, now: dt.datetime, warn_days: int) -> list[str]:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    ends, begins = certificate.not_valid_after_utc, certificate.not_valid_before_utc
    problems = []
    if now > ends:
        problems.append(f"has expired on {ends:%Y-%m-%d}")
    elif ends - now < dt.timedelta(days=warn_days):
        problems.append(f"ends in {(ends - now).days} days")
    if now < begins:
        problems.append(f"is not valid before {begins:%Y-%m-%d %H:%M} UTC")
    if certificate.version == x509.Version.v1:
        return problems
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.ExtendedKeyUsage):
            allowed = set(extension.value)
            if not {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH} <= allowed:
                problems.append("does not allow both serverAuth and clientAuth, and a node needs both")
    return problems


def _key(file: Path, certificates: list[x509.Certificate], problems: list[str]) -> dict[str, Any] | None:
    """The key beside a certificate: `node.key` beside `node.pem`."""
    from wse_server.cli.certs import issue

    path = file.with_suffix(".key")
    if path == file or not path.exists():
        return None
    mode = path.stat().st_mode & 0o777
    told: dict[str, Any] = {"file": str(path), "mode": f"{mode:04o}", "belongs": None}
    if mode & 0o007:
        problems.append(f"its key {path} has mode {mode:04o}: everybody on this host may use it")
    try:
        content = path.read_bytes()
    except OSError:
        # Whoever only watches may not read keys, and should not.
        return told
    try:
        key = issue.read_key(content)
    except issue.UnusableError as error:
        problems.append(f"its key {path} {error}")
        return told
    told["belongs"] = any(issue.belongs(key, certificate) for certificate in certificates)
    if not told["belongs"]:
        problems.append(f"the key {path} does not belong to it")
    return told


def _fingerprint(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives import hashes

    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def _lines(one: dict[str, Any]) -> Iterator[str]:
    """One certificate, as people read it."""
    title = one["file"] if one["number"] == 1 else f"{one['file']} (certificate {one['number']})"
    yield f"[bold]{escape(title)}[/]"
    days = one["days_left"]
    left = f"{days} days left" if days >= 0 else f"over since {-days} days"
    colour = "red" if days < 0 else "yellow" if days < _SOON else "green"
    begin, end = (one[side][:16].replace("T", " ") for side in ("not_before", "not_after"))
    rows = {
        "subject": escape(one["subject"]),
        "names": escape(", ".join(one["names"]) or "none"),
        "issuer": escape(one["issuer"]),
        "signed by": escape(one["signed_by"] or "nobody known here"),
        "valid": f"{begin} to {end} UTC, [{colour}]{left}[/]",
        "key": escape(_key_words(one)),
        "SHA-256": one["sha256"],
    }
    for name, value in rows.items():
        yield f"  {name:<9}  {value}"
    for problem in one["problems"]:
        yield f"  [bold red]problem[/]    {escape(problem)}"


def _key_words(one: dict[str, Any]) -> str:
    key = one["key"]
    if key is None:
        return str(one["key_type"])
    word = {True: "belongs to it", False: "does not belong to it", None: "is not read"}[key["belongs"]]
    return f"{one['key_type']}; {key['file']} {word}, mode {key['mode']}"
