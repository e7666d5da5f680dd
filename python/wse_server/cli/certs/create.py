"""`wse certs create`."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wse_server.cli.certs import files
from wse_server.cli.certs.authority import load, make, note, read_bytes
from wse_server.cli.certs.layout import SHARED_NAME, AuthorityPlace, Place, authority_of
from wse_server.cli.certs.names import BadNameError, Node, parse_nodes
from wse_server.cli.errors import CliError, ExitCode
from wse_server.cli.output import write_json, write_line

if TYPE_CHECKING:
    from wse_server.cli.certs.issue import Authority, PrivateKey

__all__ = ["create", "new_ca", "out_option"]

out_option = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("certs"),
    show_default=True,
    help="Where the certificates are.",
)

_DIRECTORY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*")


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@out_option
@click.option(
    "--shared",
    is_flag=True,
    help="One certificate with all names, in DIR itself, for nodes that mount the same directory.",
)
@click.option(
    "--san",
    "more",
    multiple=True,
    metavar="NAME=HOST,HOST...",
    help="More names and addresses by which a node is dialled. May be given again.",
)
@click.option(
    "--ca",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where ca.pem and ca.key are, or are to be. Default: DIR; with --shared DIR-ca.",
)
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    default=365,
    show_default=True,
    metavar="DAYS",
    help="How long certificates are valid.",
)
@click.option(
    "--ca-days",
    type=click.IntRange(1, 36500),
    default=3652,
    show_default=True,
    metavar="DAYS",
    help="The same of a new authority.",
)
@click.option("--force", is_flag=True, help="Take the place of certificates and keys that are there.")
@click.option("--json", "as_json", is_flag=True, help="Tell what was made as JSON.")
def create(
    names: tuple[str, ...],
    out: Path,
    shared: bool,
    more: tuple[str, ...],
    ca: Path | None,
    days: int,
    ca_days: int,
    force: bool,
    as_json: bool,
) -> None:
    """Make certificates for nodes, and the authority that signs them if there is none.

    \b
    Each NAME is a node and the name by which others dial it:
      wse-1                                    the name alone
      wse-1=wse-1.example.com,10.0.0.1         a directory wse-1, and these names
      '*.wse.default.svc.cluster.local'        with --shared: every pod of a StatefulSet

    Each node gets DIR/NAME with ca.pem, node.pem and node.key, to be mounted as /etc/wse. With --shared
    they lie in DIR itself, one certificate for all nodes. ca.key signs new members; no node needs it.
    """  # noqa: D301 - click reads \b as "keep the lines"
    try:
        nodes = parse_nodes(names, more)
    except BadNameError as error:
        raise CliError(str(error), hint="see wse certs create --help", code=ExitCode.USAGE) from None
    targets = _targets(out, nodes, shared=shared)
    now = dt.datetime.now(dt.UTC)
    authority_place = authority_of(out, ca, shared=shared)
    with files.exclusive(out):
        if not force:
            _refuse_to_overwrite(out, targets)
        authority, is_new = _authority(authority_place, days=ca_days, now=now)
        made = [_make(place, node, authority, authority_place, days=days, now=now) for place, node in targets]
    ends = authority.certificate.not_valid_after_utc
    if as_json:
        write_json({"ca": {"file": str(authority_place.certificate), "new": is_new}, "nodes": made})
    else:
        state = "new" if is_new else "kept"
        write_line(f"{authority_place.certificate}: {state} authority, until {ends:%Y-%m-%d}")
        for one in made:
            write_line(f"{one['file']}: {', '.join(one['names'])}, until {one['not_after'][:10]}")
    if is_new:
        note(f"keep {authority_place.key} where no node and no image has it: it makes members")
    elif shared and authority_place.directory == out:
        note(f"nodes that mount {out} have {authority_place.key}, too: move it away, and name it with --ca")
    if ends < now + dt.timedelta(days=days):
        note(f"no certificate outlives its authority, which ends on {ends:%Y-%m-%d}")


def new_ca(place: Place, authority: AuthorityPlace) -> dict[str, bytes]:
    """What of the authority has to change with a node's pair; writes what the node does not have at all."""
    if place.directory == authority.directory:
        return {}
    content = read_bytes(authority.certificate)
    if not place.ca.exists():
        files.create(place.ca, content, files.PUBLIC)
    elif place.ca.read_bytes() != content:
        note(f"{place.ca} is now that of {authority.certificate}")
        return {place.ca.name: content}
    return {}


def _targets(out: Path, nodes: list[Node], *, shared: bool) -> list[tuple[Place, Node]]:
    if shared:
        names = dict.fromkeys(name for node in nodes for name in node.names)
        return [(Place(out), Node(SHARED_NAME, tuple(names)))]
    for node in nodes:
        if not _DIRECTORY.fullmatch(node.name):
            raise CliError(
                f"{node.name!r} is no name for a directory",
                hint="NAME=HOST,HOST... gives it one, and --shared makes one certificate for all names",
                code=ExitCode.USAGE,
            )
    return [(Place(out / node.name), node) for node in nodes]


def _refuse_to_overwrite(out: Path, targets: list[tuple[Place, Node]]) -> None:
    there = [place for place, _ in targets if place.certificate.exists()]
    if not there:
        return
    raise CliError(
        f"{', '.join(str(place.certificate) for place in there)}: a certificate is there already",
        hint=f"nothing was changed. wse certs renew --out {out} makes new ones with the same names, --force "
        "takes their place",
        code=ExitCode.USAGE,
    )


def _authority(place: AuthorityPlace, *, days: int, now: dt.datetime) -> tuple[Authority, bool]:
    if place.certificate.exists():
        return load(place, now), False
    files.make_directory(place.directory)
    return make(place, days=days, now=now), True


def _make(
    place: Place, node: Node, authority: Authority, origin: AuthorityPlace, *, days: int, now: dt.datetime
) -> dict[str, Any]:
    """Makes one node's files, the certificate last: it is what others take for a sign that all is there."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from wse_server.cli.certs import issue

    files.make_directory(place.directory)
    key = _unfinished_key(place) or issue.make_key()
    certificate = authority.issue(node.name, node.names, key, days=days, now=now)
    pem = certificate.public_bytes(Encoding.PEM)
    changes = new_ca(place, origin)
    had_certificate, had_key = place.certificate.exists(), place.key.exists()
    if not had_key:
        files.create(place.key, issue.key_pem(key), files.PRIVATE)
    if had_certificate:
        changes[place.certificate.name] = pem
        if had_key:
            changes[place.key.name] = issue.key_pem(key)
    files.replace_together(place.directory, changes)
    if not had_certificate:
        files.create(place.certificate, pem, files.PUBLIC)
    return {
        "name": node.name,
        "names": [str(name) for name in node.names],
        "file": str(place.certificate),
        "key": str(place.key),
        "not_after": certificate.not_valid_after_utc.isoformat(),
    }


def _unfinished_key(place: Place) -> PrivateKey | None:
    """The key of a node without a certificate: of a run that was cut short, or one that was brought along."""
    from wse_server.cli.certs import issue

    if not place.key.exists() or place.certificate.exists():
        return None
    try:
        key = issue.read_key(read_bytes(place.key))
    except issue.UnusableError as error:
        raise CliError(f"{place.key}: {error}") from None
    note(f"{place.key} was there without a certificate: the certificate is for it")
    return key
