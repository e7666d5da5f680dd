"""`wse rolling-restart`: the nodes of a cluster one after the other, and everybody's share at the end."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Sequence

import click

from wse_server.cli.errors import CliError, ExitCode
from wse_server.cli.nodes import Node, node_options, reached, read_options
from wse_server.cli.output import err, write_line
from wse_server.cli.rebalance import clients_of, spread

__all__ = ["rolling_restart"]

_POLL = 0.2
_FIELDS = ("url", "host", "port")


@click.command("rolling-restart")
@click.argument("urls", metavar="URL URL...", nargs=-1, required=True)
@click.option(
    "--restart",
    "command",
    required=True,
    metavar="COMMAND",
    help="What restarts a node: SIGTERM, a new process. {host}, {port} and {url} stand for the node.",
)
@click.option(
    "--settle",
    type=click.FloatRange(min=0),
    default=3.0,
    show_default=True,
    metavar="SECONDS",
    help="Time for the balancer to find out that a node is back, and for the cluster to give it topics.",
)
@click.option(
    "--within-seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a node may take, from the command's end until it is linked with all others.",
)
@click.option("--rate", type=click.IntRange(min=1), default=50, show_default=True, metavar="N",
              help="Clients that are moved in a second, at most.")  # fmt: skip
@click.option("--no-rebalance", is_flag=True, help="Leave clients where they are at the end.")
@node_options
@click.pass_context
def rolling_restart(
    context: click.Context,
    /,
    urls: tuple[str, ...],
    command: str,
    settle: float,
    within_seconds: float,
    rate: int,
    no_rebalance: bool,
    **_how: object,
) -> int:
    """Restarts all nodes of a cluster, one after the other, then rebalances.

    URLs are all nodes, not the proxy in front. Before each restart all must be ready and linked with each
    other, so that nothing has only one copy; else it stops there.

    Exits with 1 if a node does not come back as it should, 3 if one can't be reached, 4 if it refuses the
    key.
    """
    words = _words(command)
    with reached(urls, read_options(context)) as nodes:
        for node in nodes:
            node.check_key()
        for node in nodes:
            missing = _missing(nodes)
            if missing is not None:
                raise CliError(f"{missing}: {node.url} was not touched", hint="wse health tells of each node")
            _restart(node, words)
            began = time.monotonic()
            while (missing := _missing(nodes)) is not None:
                if time.monotonic() - began > within_seconds:
                    raise CliError(f"{missing}, {within_seconds:g} s after {node.url} was restarted")
                time.sleep(_POLL)
            err().print(f"{node.url} is back")
            time.sleep(settle)
        if not no_rebalance:
            spread(nodes, rate=rate, within=0.05)
        counts = clients_of(nodes)
    for node, count in zip(nodes, counts, strict=True):
        write_line(f"{node.url}: {count:,} connections")
    return 0


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise CliError(f"--restart {command!r}: {error}", code=ExitCode.USAGE) from None
    if not any(f"{{{field}}}" in word for word in words for field in _FIELDS):
        raise CliError(
            f"--restart {command!r} does the same for all nodes",
            hint="{host}, {port} or {url} stand for the node, as in: ssh {host} sudo systemctl restart wse",
            code=ExitCode.USAGE,
        )
    return words


def _restart(node: Node, words: Sequence[str]) -> None:
    """Runs the command for a node, and sees that another process is there afterwards, or none yet."""
    values = {"url": node.url, "host": node.address.host, "port": str(node.address.port)}
    filled = []
    for word in words:
        for field, value in values.items():
            word = word.replace(f"{{{field}}}", value)  # noqa: PLW2901
        filled.append(word)
    err().print(f"{node.url}: {shlex.join(filled)}")
    node.close()
    began = time.monotonic()
    try:
        done = subprocess.run(filled, check=False)  # noqa: S603 - the operator's own command
    except OSError as error:
        raise CliError(f"{filled[0]}: {error.strerror}", code=ExitCode.USAGE) from None
    if done.returncode != 0:
        raise CliError(
            f"the command for {node.url} ended with {done.returncode}",
            hint="the nodes after it were not touched",
        )
    report = node.look()
    if report.trouble is None and float(report.figures["uptime_secs"]) > time.monotonic() - began:
        raise CliError(
            f"{node.url} runs as before: the command has not restarted it",
            hint="the command must return when the old process has ended, as systemctl restart does",
        )


def _missing(nodes: Sequence[Node]) -> str | None:
    """What keeps the cluster from being whole."""
    for node in nodes:
        report = node.look()
        if report.trouble is not None:
            return str(report.trouble)
        if not report.ready:
            return f"{node.url} is {report.state}"
        peers = int(report.figures["cluster_peer_count"])
        if peers < len(nodes) - 1:
            return f"{node.url} is linked with {peers} of {len(nodes) - 1} other nodes"
    return None
