"""`wse token secret`."""

from __future__ import annotations

import secrets
from pathlib import Path

import click

from wse_server.cli.certs import files
from wse_server.cli.errors import CliError
from wse_server.cli.output import write_line

__all__ = ["secret"]


@click.command()
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A new file for it, which only you can read.",
)
def secret(out: Path | None) -> None:
    """Make a secret for HS256, the HTTP API or a cluster: 256 random bits, 64 letters and digits."""
    made = secrets.token_hex(32)
    if out is None:
        write_line(made)
        return
    try:
        files.create(out, made.encode() + b"\n", files.PRIVATE)
    except OSError as error:
        raise CliError(f"{out}: {error.strerror}") from None
    write_line(str(out))
