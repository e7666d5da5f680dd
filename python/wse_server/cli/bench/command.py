"""The command line of `wse bench`."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import click

from wse_server.cli.address import parse_address
from wse_server.cli.bench import machine
from wse_server.cli.bench.settings import MODES, Mode, Settings, defaults
from wse_server.cli.connecting import api_key_options, secret
from wse_server.cli.errors import CliError, ExitCode
from wse_server.cli.output import err, out, say_error, write_json

__all__ = ["bench"]

_MOST_LOOPBACK_ADDRESSES = 250


@click.command(short_help="measure a server")
@click.argument("mode", type=click.Choice(MODES))
@click.argument("url", required=False)
@click.option(
    "--clients",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help="Connections. [2000 connect and idle, 1000 fanout, 100 echo and latency]",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, 86_400),
    metavar="S",
    help="How long it is measured. [5; latency 10; connect 0, then it holds them so long]",
)
@click.option(
    "--rate",
    type=click.FloatRange(0),
    metavar="R",
    help="fanout, latency: messages published per second; 0 is as fast as the server takes them. "
    "[fanout 0, latency 100]",
)
@click.option(
    "--size",
    type=click.IntRange(1, 1 << 20),
    default=100,
    show_default=True,
    metavar="BYTES",
    help="Of a message.",
)
@click.option(
    "--topics",
    type=click.IntRange(0, 100_000),
    metavar="T",
    help="Topics, to which clients and messages go in turn; 0: clients subscribe to nothing. "
    "[fanout, latency 1; connect, idle 0]",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 10_000),
    default=256,
    show_default=True,
    metavar="N",
    help="Connects under way at the same time.",
)
@click.option(
    "--connect-timeout",
    type=click.FloatRange(0, 600, min_open=True),
    default=10.0,
    show_default=True,
    metavar="S",
    help="How long a client may take to be ready.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    metavar="N",
    help="Of the load generator's clients. One is enough for most servers.",
)
@click.option(
    "--token",
    "tokens",
    multiple=True,
    envvar="WSE_TOKEN",
    show_envvar=True,
    metavar="JWT",
    help="Token that the clients show; several are shown in turn.",
)
@click.option(
    "--token-file",
    envvar="WSE_TOKEN_FILE",
    show_envvar=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File with them, one a line.",
)
@api_key_options
@click.option(
    "--source-addresses",
    metavar="N|IP,IP,...",
    help="Addresses that the clients come from, in turn: N of 127.0.0.1, 127.0.0.2, ..., or your own, "
    "each with about 28,000 ports. [as many as they need, for a server on loopback]",
)
@click.option(
    "--pid",
    type=click.IntRange(1),
    help="The server's process, for its memory and CPU. Found by itself on this machine, if it may be seen.",
)
@click.option("--json", "as_json", is_flag=True, help="The result as one line of JSON.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw durations and rates, as FILE.png or FILE.svg.",
)
@click.pass_context
def bench(context: click.Context, /, mode: Mode, url: str | None, **asked: Any) -> int:
    """Measures a server.

    \b
    connect   a storm of connects: how many per second, and how long a handshake takes
    idle      connections that do nothing: memory of each, in the server and in the kernel
    echo      round trips through a handler; a server at URL must give back messages of type "bench"
    fanout    one publisher, many subscribers: deliveries per second
    latency   messages at a steady rate, timed from the moment at which each was meant to go

    Without URL it starts a server of its own on this machine and measures that. Else it connects to URL
    (ws://, http:// or HOST:PORT) and nowhere else; fanout and latency take client_subscriptions and
    client_publish there, or --api-key instead of the latter. Load tests are for your own servers.

    The load generator runs on this machine too: leave it cores. Everything ends with Ctrl-C. Exits with 1 if
    connections failed or messages were lost, and shows the figures all the same.
    """  # noqa: D301 - click takes the character \b for "leave these lines as they are"
    from wse_server.cli.bench import plot
    from wse_server.cli.bench.modes import measure
    from wse_server.cli.bench.report import table
    from wse_server.cli.bench.session import progressing
    from wse_server.cli.bench.target import check_ports, target

    file, as_json = asked.pop("plot"), asked.pop("as_json")
    for name in ("api_key", "api_key_file"):
        del asked[name]
    settings = _settings(mode, url, asked, _api_key(context, url))
    if file is not None:
        plot.check(file)
    machine.need_descriptors(settings.clients)
    with target(settings) as server, progressing() as bar:
        check_ports(server, settings)
        result = measure(settings, server, bar)
    if as_json:
        write_json(result.as_json())
    else:
        out().print(table(result))
    for note in result.notes:
        err().print(f"note: {note}", markup=False)
    for problem in result.problems:
        say_error(CliError(problem))
    if file is not None:
        plot.draw(result, file)
        err().print(f"{file} is drawn", markup=False)
    return ExitCode.FAILED if result.problems else ExitCode.OK


def _api_key(context: click.Context, url: str | None) -> str | None:
    """The key to publish with. One from the environment is meant for another server than its own."""
    key = secret(context, "api_key")
    return key.text if url is not None or key.is_typed else None


def _tokens(given: tuple[str, ...], file: Path | None) -> tuple[str, ...]:
    if file is None:
        tokens = given
    else:
        try:
            tokens = given + tuple(file.read_text(encoding="utf-8").split())
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            raise CliError(f"--token-file {file}: {why}", code=ExitCode.USAGE) from None
    if any(not (token.isascii() and token.isprintable()) or " " in token for token in tokens):
        raise CliError("a token has characters that no token has", code=ExitCode.USAGE)
    return tokens


def _settings(mode: Mode, url: str | None, asked: dict[str, Any], api_key: str | None) -> Settings:
    sources = _sources(asked.pop("source_addresses"))
    tokens = _tokens(asked.pop("tokens"), asked.pop("token_file"))
    given = {name: value for name, value in asked.items() if value is not None}
    settings = Settings(
        mode=mode,
        address=None if url is None else parse_address(url),
        sources=sources,
        tokens=tokens,
        api_key=api_key,
        **(defaults(mode) | given),
    )
    if mode in {"fanout", "latency"} and not settings.topics:
        raise CliError(f"{mode} needs a topic: --topics 1", code=ExitCode.USAGE)
    if mode in {"connect", "idle", "echo"} and settings.rate:
        raise CliError(f"{mode} has no rate; latency and fanout have one", code=ExitCode.USAGE)
    if mode == "idle" and settings.clients < 2:
        raise CliError("idle compares few clients with many: --clients 2 at least", code=ExitCode.USAGE)
    if settings.seconds == 0 and mode in {"echo", "fanout", "latency"}:
        raise CliError(f"{mode} takes time: --seconds 5", code=ExitCode.USAGE)
    return settings


def _sources(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    if text.isascii() and text.isdigit():
        count = int(text)
        if not 1 <= count <= _MOST_LOOPBACK_ADDRESSES:
            raise CliError(
                f"--source-addresses {text}: allowed are 1 to {_MOST_LOOPBACK_ADDRESSES}, or addresses",
                code=ExitCode.USAGE,
            )
        return tuple(f"127.0.0.{number}" for number in range(1, count + 1))
    sources = tuple(part.strip() for part in text.split(","))
    for source in sources:
        try:
            ipaddress.ip_address(source)
        except ValueError:
            raise CliError(f"--source-addresses: {source!r} is no IP address", code=ExitCode.USAGE) from None
    return sources
