"""The reference page of the codes."""

from __future__ import annotations

import textwrap

from .codes import SOURCE, Close, Codes, sender
from .header import notice

PATH = "docs/reference/codes.md"

INTRODUCTION = """
What the server says when something is wrong. In Python the same table is `wse_server.codes`.

## Errors

An error is a message, `{"c":"WSE","t":"error","p":{"code":...,"message":...,"timestamp":...},"v":1}`. The
connection goes on, except where a close code stands in the last column.
"""

RECONNECT = {"no": "no", "yes": "yes", "new token": "with another token"}


def page(codes: Codes) -> str:
    """The whole page."""
    lines = ["# Error and close codes", "", f"<!-- {notice(SOURCE)} -->", *INTRODUCTION.splitlines(), ""]
    lines += ["| code | what happened | what the client does | close |", "|---|---|---|---|"]
    lines += [
        f"| `{error.name}` | {error.meaning} | {error.advice} | {error.close or ''} |"
        for error in codes.errors
    ]
    lines += ["", "## Closes", "", *textwrap.wrap(closing(codes), 110), ""]
    lines += [
        "| code | name | sent by | come back | first attempt | what happened | what the client does |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [row(close) for close in codes.closes]
    return "\n".join([*lines, ""])


def closing(codes: Codes) -> str:
    """How a client uses the table of closes."""
    backoff = codes.backoff
    return (
        "A close frame carries one of these. A client that comes back waits a random time within the range "
        'in the column "first attempt", so that thousands of clients do not come at once; each further '
        f"attempt multiplies both ends by {backoff.factor:g}, up to {backoff.max_ms // 1000} seconds, and "
        "the count starts again once a connection has been ready. An application may close with codes of its "
        "own between 3000 and 4999; after one that is not in this table a client comes back after "
        f"{span(backoff.unknown_min_ms, backoff.unknown_max_ms)}."
    )


def row(close: Close) -> str:
    """A line of the table of closes."""
    comes_back = RECONNECT[close.reconnect]
    wait = "" if close.reconnect == "no" else span(close.min_ms, close.max_ms)
    cells = [str(close.code), f"`{close.name}`", sender(close), comes_back, wait, close.meaning, close.advice]
    return f"| {' | '.join(cells)} |"


def span(low_ms: int, high_ms: int) -> str:
    """`0.5 to 3 s`."""
    return f"{low_ms / 1000:g} to {high_ms / 1000:g} s"
