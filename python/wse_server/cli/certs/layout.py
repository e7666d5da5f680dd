"""Where the files of an authority and of its nodes are.

For each node a directory of its own, or one pair for all nodes that mount one directory:

    certs/ca.pem, ca.key                        certs-ca/ca.pem, ca.key
    certs/wse-1/ca.pem, node.pem, node.key      certs/ca.pem, node.pem, node.key
    certs/wse-2/...

What a node mounts never has the authority's key in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wse_server.cli.errors import CliError, ExitCode

__all__ = ["SHARED_NAME", "Place", "authority_of", "places"]

SHARED_NAME = "wse-nodes"
"""The subject of a certificate that several nodes show."""


@dataclass(frozen=True)
class Place:
    """What one node mounts as /etc/wse."""

    directory: Path

    @property
    def ca(self) -> Path:
        """The certificates of the authority."""
        return self.directory / "ca.pem"

    @property
    def certificate(self) -> Path:
        """The node's certificate."""
        return self.directory / "node.pem"

    @property
    def key(self) -> Path:
        """Its key."""
        return self.directory / "node.key"


@dataclass(frozen=True)
class AuthorityPlace:
    """Where the authority is kept."""

    directory: Path

    @property
    def certificate(self) -> Path:
        """Its certificate; with one that takes its place, or gives it up, in the same file."""
        return self.directory / "ca.pem"

    @property
    def key(self) -> Path:
        """Its key."""
        return self.directory / "ca.key"


def authority_of(out: Path, ca: Path | None, *, shared: bool) -> AuthorityPlace:
    """Where the authority of a directory is, or is to be.

    Args:
        out: What `--out` says.
        ca: What `--ca` says.
        shared: Whether nodes mount `out` itself.
    """
    if ca is not None:
        return AuthorityPlace(ca)
    here = AuthorityPlace(out)
    if here.key.exists() or not shared:
        return here
    # `.` has no name that something could be added to.
    named = out if out.name else out.resolve()
    return AuthorityPlace(named.with_name(named.name + "-ca"))


def places(out: Path, names: tuple[str, ...]) -> list[Place]:
    """The nodes whose certificates are in a directory, or those of them with these names.

    Raises:
        CliError: There is none, or none of this name.
    """
    if names:
        found = [Place(out / name) for name in names]
        for place in found:
            if not place.certificate.exists():
                raise CliError(
                    f"{place.certificate}: there is no such file",
                    hint=f"wse certs create --out {out} {place.directory.name}",
                    code=ExitCode.USAGE,
                )
        return found
    directories = [out, *sorted(path for path in out.iterdir() if path.is_dir() and path.name[0] != ".")]
    found = [place for place in map(Place, directories) if place.certificate.exists()]
    if not found:
        raise CliError(
            f"{out}: there is no node.pem in it, nor in a directory of it",
            hint=f"wse certs create --out {out} NAME...",
            code=ExitCode.USAGE,
        )
    return found
