"""The command line of `wse plan`."""

from __future__ import annotations

import click

from wse_server.cli.errors import CliError, ExitCode
from wse_server.cli.output import err, out, write_json, write_line

__all__ = ["plan"]

_FORMS = ("text", "toml", "flags", "env", "kubernetes")


@click.command(short_help="what so many connections need")
@click.option(
    "--connections", type=click.IntRange(1, 10_000_000), required=True, metavar="N", help="Clients."
)
@click.option(
    "--messages",
    type=click.FloatRange(0),
    metavar="M",
    help="Messages published a second, by all together. [one of each client]",
)
@click.option(
    "--size",
    type=click.IntRange(1, 1 << 24),
    default=1024,
    show_default=True,
    metavar="BYTES",
    help="Of a message.",
)
@click.option(
    "--topics",
    type=click.IntRange(1),
    metavar="T",
    help="Topics that the clients are divided among; each hears one. [one of each client]",
)
@click.option(
    "--history",
    type=click.FloatRange(0, 86_400),
    metavar="SECONDS",
    help="How old a message may be that clients recover; 0 for none. [what the guide's budget holds]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMS),
    default="text",
    show_default=True,
    help="Everything, or only the options, or only the resources of a container.",
)
@click.option("--json", "as_json", is_flag=True, help="The whole as one line of JSON.")
def plan(
    connections: int,
    messages: float | None,
    size: int,
    topics: int | None,
    history: float | None,
    form: str,
    as_json: bool,
) -> None:
    """Says what so many connections and messages need: memory, cores, open files, options.

    It computes from slopes that were measured before (docs/reference/sizing.md), and says which figure is
    which. Nothing is connected to and nothing is measured now; `wse bench` does that.
    """
    from wse_server.cli.plan import model, show
    from wse_server.cli.plan.advice import Asked, advise

    if topics is not None and topics > connections:
        raise CliError(
            f"--topics {topics:,} is more than --connections {connections:,}",
            hint="topics that nobody hears cost nothing but their history",
            code=ExitCode.USAGE,
        )
    data = model.data()
    asked = Asked(
        connections=connections, messages_per_s=messages, size=size, topics=topics, history_s=history
    )
    advice = advise(asked, model.slopes(data))
    if as_json:
        write_json(show.as_json(advice, data))
        return
    only = {
        "toml": show.toml,
        "flags": show.flags,
        "env": show.environment,
        "kubernetes": show.kubernetes,
    }.get(form)
    if only is not None:
        write_line(only(advice).rstrip("\n"))
        return
    out().print(show.table(advice))
    for title, text in (
        ("wse.toml", show.toml(advice)),
        ("the same as a command", show.flags(advice)),
        ("Kubernetes", show.kubernetes(advice)),
    ):
        write_line(f"\n{title}:\n\n" + "".join(f"    {line}\n" for line in text.splitlines()).rstrip("\n"))
    write_line("")
    for note in advice.notes:
        write_line(f"- {note}")
    err().print(f"\n{show.measured_in_words(data)}", markup=False)
