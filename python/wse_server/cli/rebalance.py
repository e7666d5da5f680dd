"""`wse rebalance`: clients move from nodes that have too many, until all nodes have their share.

Clients stay where they are. So after a rolling restart the node that came back last has none, until enough of
them have come anew. This sends a part of the others' clients away, each with the code that means "come back,
elsewhere", and the balancer gives them to the node with the fewest.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import click

from wse_server.cli.errors import CliError
from wse_server.cli.nodes import Node, node_options, reached, read_options
from wse_server.cli.output import err, write_json, write_line
from wse_server.codes import CloseCode

__all__ = ["portions", "rebalance", "spread", "surplus"]

_REASON = "moving to another node"
# Seconds between two portions, and after which those of a portion that have not come back are not waited for.
_TURN = 1.0
_RETURN = 10.0
_POLL = 0.1
# Portions without success after which there is no sense in more.
_FUTILE = 3


def surplus(counts: Sequence[int], within: float) -> list[int]:
    """How many clients each node has too many; all zero if the shares are even enough.

    Args:
        counts: Clients of each node.
        within: What a share may differ from the even one, as a part of it. One client is always allowed.
    """
    fair = sum(counts) / len(counts)
    allowed = max(1.0, within * fair)
    if all(abs(count - fair) <= allowed for count in counts):
        return [0] * len(counts)
    return [max(0, count - math.ceil(fair)) for count in counts]


def portions(too_many: Sequence[int], at_most: int) -> list[int]:
    """How many clients of each node go now: at most so many in all, of each as its surplus is."""
    total = sum(too_many)
    if total <= at_most:
        return list(too_many)
    exact = [each * at_most / total for each in too_many]
    chosen = [math.floor(each) for each in exact]
    by_rest = sorted(range(len(exact)), key=lambda index: chosen[index] - exact[index])
    for index in by_rest[: at_most - sum(chosen)]:
        chosen[index] += 1
    return chosen


@click.command()
@click.argument("urls", metavar="URL URL...", nargs=-1, required=True)
@click.option(
    "--rate",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    metavar="N",
    help="Clients that are moved in a second, at most.",
)
@click.option(
    "--within",
    type=click.FloatRange(min=0, max=1),
    default=0.05,
    show_default=True,
    metavar="PART",
    help="What a node's share may differ from the even one, as a part of it.",
)
@click.option("--dry-run", is_flag=True, help="Say who has too many, and move nobody.")
@click.option("--json", "as_json", is_flag=True, help="The result as one line of JSON.")
@node_options
@click.pass_context
def rebalance(
    context: click.Context,
    /,
    urls: tuple[str, ...],
    rate: int,
    within: float,
    dry_run: bool,
    as_json: bool,
    **_how: object,
) -> int:
    """Moves clients until all nodes have their share.

    URLs are all nodes of the cluster, not the proxy in front: http://10.0.0.1:5007 and so on. The balancer
    must give new clients to the node with the fewest connections, and clients must come back after close
    code 4300.

    Exits with 1 if that leads nowhere, 3 if a node can't be reached, 4 if it refuses the key.
    """
    with reached(urls, read_options(context)) as nodes:
        for node in nodes:
            node.check_key()
        counts = clients_of(nodes)
        if dry_run:
            moved = sum(surplus(counts, within))
        else:
            moved = spread(nodes, rate=rate, within=within)
            counts = clients_of(nodes)
    shares = [{"url": node.url, "connections": count} for node, count in zip(nodes, counts, strict=True)]
    if as_json:
        write_json({"to_move" if dry_run else "moved": moved, "nodes": shares})
        return 0
    for share in shares:
        write_line(f"{share['url']}: {share['connections']:,} connections")
    write_line(f"{moved:,} clients {'would be moved' if dry_run else 'were moved'}")
    return 0


def clients_of(nodes: Sequence[Node]) -> list[int]:
    """How many clients each node has.

    Raises:
        CliError: One can't be reached, or takes no clients now.
    """
    counts = []
    for node in nodes:
        report = node.look()
        if report.trouble is not None:
            raise report.trouble
        if not report.ready:
            raise CliError(
                f"{node.url} is {report.state}",
                hint="clients are moved when all nodes take them",
            )
        counts.append(int(report.figures["connections"]))
    return counts


def spread(
    nodes: Sequence[Node], *, rate: int, within: float, sleep: Callable[[float], None] = time.sleep
) -> int:
    """Moves clients in portions until the shares are even, and returns how many it moved.

    Those that have been connected for the longest time go first, so nobody is moved twice in a row.

    Args:
        nodes: All nodes.
        rate: Clients in a second, at most.
        within: As `surplus`.
        sleep: Waits.

    Raises:
        CliError: A node can't be reached or takes nobody, or moving leads nowhere.
    """
    counts = clients_of(nodes)
    lists: dict[int, list[str]] = {}
    moved = futile = 0
    while any(too_many := surplus(counts, within)):
        began = time.monotonic()
        for index, number in enumerate(portions(too_many, rate)):
            if not number:
                continue
            lists[index] = lists.get(index) or node_list(nodes[index])
            moved += _send_away(nodes[index], lists[index], number)
        before = counts
        counts = _when_back(nodes, sum(before), sleep)
        left, were = sum(surplus(counts, within)), sum(too_many)
        err().print(f"{' + '.join(f'{count:,}' for count in counts)} clients, {left:,} to be moved")
        futile = 0 if left < were and sum(counts) >= sum(before) - len(nodes) else futile + 1
        if futile == _FUTILE:
            raise _nowhere(moved, sum(before), sum(counts))
        if left:
            sleep(max(0.0, began + _TURN - time.monotonic()))
    return moved


def node_list(node: Node) -> list[str]:
    """The connections of a node, the newest first: they are taken from the end."""
    return node.connections()[::-1]


def _send_away(node: Node, listed: list[str], number: int) -> int:
    sent = 0
    while sent < number and listed:
        sent += node.send_away(listed.pop(), CloseCode.DRAIN, _REASON)
    return sent


def _when_back(nodes: Sequence[Node], total: int, sleep: Callable[[float], None]) -> list[int]:
    """The shares as soon as there are as many clients as before, or when those who are late are given up."""
    deadline = time.monotonic() + _RETURN
    while True:
        counts = clients_of(nodes)
        if sum(counts) >= total or time.monotonic() > deadline:
            return counts
        sleep(_POLL)


def _nowhere(moved: int, before: int, now: int) -> CliError:
    if now < before:
        return CliError(
            f"{before - now:,} of the last clients have not come back within {_RETURN:g} s",
            hint="clients must come back after close code 4300; is the balancer there?",
        )
    return CliError(
        f"{moved:,} clients were moved, and the shares are as uneven as before",
        hint="the balancer must give new clients to the node with the fewest, and not to the one they had",
    )
