"""`wse certs`: the certificates by which the nodes of a cluster know each other."""

from __future__ import annotations

import click

from wse_server._typing import override
from wse_server.cli.certs.create import create
from wse_server.cli.certs.inspect import inspect
from wse_server.cli.certs.renew import renew
from wse_server.cli.errors import CliError

__all__ = ["certs"]


class _Group(click.Group):
    """Commands that work on files, and say in a line why they can't."""

    @override
    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            raise CliError(f"{place}{error.strerror or error}") from None


@click.group(cls=_Group)
def certs() -> None:
    """Make, renew and look at the certificates of nodes.

    Whoever holds a certificate of the authority is a member of the cluster. So keep ca.key where no node is.
    """


certs.add_command(create)
certs.add_command(renew)
certs.add_command(inspect)
