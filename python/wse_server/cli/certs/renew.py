"""`wse certs renew`."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wse_server.cli.certs import files
from wse_server.cli.certs.authority import load, note, read_bytes
from wse_server.cli.certs.create import new_ca, out_option
from wse_server.cli.certs.layout import Place, authority_of, places
from wse_server.cli.errors import CliError, ExitCode
from wse_server.cli.output import write_json, write_line

if TYPE_CHECKING:
    from cryptography import x509

    from wse_server.cli.certs.issue import Authority, PrivateKey

__all__ = ["renew"]


@dataclass(frozen=True)
class _Node:
    """A node with the certificate that it has."""

    place: Place
    certificate: x509.Certificate
    key: PrivateKey

    def days_left(self, now: dt.datetime) -> int:
        """Whole days until it ends; negative when it has."""
        return (self.certificate.not_valid_after_utc - now).days


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@out_option
@click.option(
    "--ca",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where ca.pem and ca.key are. Default: DIR, or DIR-ca.",
)
@click.option(
    "--before",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    metavar="DAYS",
    help="Renew what ends within so many days.",
)
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    default=365,
    show_default=True,
    metavar="DAYS",
    help="How long the new ones are valid.",
)
@click.option(
    "--force", is_flag=True, help="Renew all, however long they last and whoever has signed the old ones."
)
@click.option("--keep-key", is_flag=True, help="New certificates for the keys that are there.")
@click.option("--json", "as_json", is_flag=True, help="Tell what was done as JSON.")
def renew(
    names: tuple[str, ...],
    out: Path,
    ca: Path | None,
    before: int,
    days: int,
    force: bool,
    keep_key: bool,
    as_json: bool,
) -> None:
    """Make new certificates, with the same names, for nodes whose certificates end soon.

    All nodes in DIR, or those named. Key and certificate change at one moment, so a node that starts
    meanwhile finds a pair. Running nodes go on with what they have until they are told to reload.
    """
    if not out.is_dir():
        raise CliError(f"{out}: there is no such directory", code=ExitCode.USAGE)
    now = dt.datetime.now(dt.UTC)
    with files.exclusive(out):
        found = places(out, names)
        # DIR-ca is what `create --shared` makes; that there is a certificate in DIR itself shows that it did.
        origin = authority_of(out, ca, shared=found[0].directory == out)
        authority = load(origin, now)
        nodes = [_read(place, authority, force=force) for place in found]
        due = [node for node in nodes if force or node.days_left(now) < before]
        done: list[dict[str, object]] = []
        for node in nodes:
            if node in due:
                changed = new_ca(node.place, origin)
                new = _renew(node, authority, changed, days=days, keep_key=keep_key, now=now)
                done.append(_told(node.place, new, now, renewed=True))
            else:
                done.append(_told(node.place, node.certificate, now, renewed=False))
    if as_json:
        write_json({"nodes": done})
    else:
        for one in done:
            word = "renewed" if one["renewed"] else "kept"
            write_line(
                f"{one['file']}: {word}, until {str(one['not_after'])[:10]} ({one['days_left']} days left)"
            )
    if due:
        files_of = ", ".join(str(node.place.directory) for node in due)
        note(
            f"running nodes with the files of {files_of} take the new ones on SIGHUP to wse serve "
            "(docker compose kill -s HUP, systemctl reload); copy them first to hosts that have copies"
        )
    ends = authority.certificate.not_valid_after_utc
    if ends < now + dt.timedelta(days=days):
        is_due = ends < now + dt.timedelta(days=2 * before)
        more = ": it is time for a new one" if is_due else ""
        note(f"no certificate outlives its authority, which ends on {ends:%Y-%m-%d}{more}")


def _read(place: Place, authority: Authority, *, force: bool) -> _Node:
    """Reads what a node has, and whether that can be renewed as it is."""
    from wse_server.cli.certs import issue

    try:
        certificate = issue.read_certificates(read_bytes(place.certificate))[0]
    except issue.UnusableError as error:
        raise CliError(f"{place.certificate}: {error}") from None
    if not issue.names_of(certificate):
        raise CliError(
            f"{place.certificate}: there are no names in it that a new one could have",
            hint="wse certs create --force gives it names",
        )
    if not place.key.exists():
        raise CliError(
            f"{place.key}: there is no such file", hint="wse certs create --force makes a new pair"
        )
    try:
        key = issue.read_key(read_bytes(place.key))
    except issue.UnusableError as error:
        raise CliError(f"{place.key}: {error}") from None
    if not force and not issue.issued_by(certificate, authority.certificate):
        raise CliError(
            f"{place.certificate} was issued by another authority",
            hint="--force has this one issue it, and the others must know both authorities then",
        )
    return _Node(place, certificate, key)


def _renew(
    node: _Node,
    authority: Authority,
    changed: dict[str, bytes],
    *,
    days: int,
    keep_key: bool,
    now: dt.datetime,
) -> x509.Certificate:
    """Makes a certificate and puts it in its place, together with what else has changed there."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from wse_server.cli.certs import issue

    key = node.key if keep_key else issue.make_key()
    subject, names = issue.subject_of(node.certificate), issue.names_of(node.certificate)
    certificate = authority.issue(subject, names, key, days=days, now=now)
    pem = certificate.public_bytes(Encoding.PEM)
    changes = changed | {node.place.certificate.name: pem}
    if not keep_key:
        changes[node.place.key.name] = issue.key_pem(key)
    files.replace_together(node.place.directory, changes)
    return certificate


def _told(
    place: Place, certificate: x509.Certificate, now: dt.datetime, *, renewed: bool
) -> dict[str, object]:
    ends = certificate.not_valid_after_utc
    return {
        "file": str(place.certificate),
        "renewed": renewed,
        "not_after": ends.isoformat(),
        "days_left": (ends - now).days,
    }
