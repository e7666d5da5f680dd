"""`wse token`: tokens to try a server with, and what is wrong with one."""

from __future__ import annotations

import click

from wse_server.cli.token.inspect import inspect
from wse_server.cli.token.mint import mint
from wse_server.cli.token.secret import secret

__all__ = ["token"]


@click.group()
def token() -> None:
    """Mint tokens (JWT), look at them, and make the secret that signs them.

    Keys come from files, from stdin or from the environment, never from the command line: others on the host
    see that.
    """


token.add_command(mint)
token.add_command(inspect)
token.add_command(secret)
