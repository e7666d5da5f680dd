"""`wse sub`: what is published to topics, as it comes."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import select
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wse_server.cli.connecting import (
    ca_option,
    in_words,
    of_websocket,
    secret,
    server_address,
    token_options,
)
from wse_server.cli.errors import CliError, ExitCode
from wse_server.cli.output import err, out

if TYPE_CHECKING:
    from collections.abc import Callable

    from wse_client import Connected, Disconnected, Gap, Message, Position, Presence, Subscription, Trouble
    from wse_server.cli.client import Background

__all__ = ["sub"]

# What waits for a terminal that is slower than the topic. Beyond it the server sees a slow client.
_BUFFER = 4 << 20
_BATCH = 256
# How often it is looked at whether anybody still reads, and how often positions are kept.
_LOOK = 1.0


@click.command()
@click.argument("topics", metavar="TOPIC...", nargs=-1, required=True)
@click.option(
    "--url",
    "urls",
    multiple=True,
    envvar="WSE_URL",
    show_envvar=True,
    help="The server; more than one where several may be used. Default: that of this machine.",
)
@token_options
@click.option("--json", "is_json", is_flag=True, help="One line of JSON for each message.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after so many messages.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="End after so long; with --count that is a failure.",
)
@click.option(
    "--from",
    "positions",
    multiple=True,
    metavar="[TOPIC=]EPOCH:OFFSET",
    help="Begin after this message of a topic with history.",
)
@click.option(
    "--recover",
    "kept",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Keep in FILE how far it came, and go on from there the next time.",
)
@click.option("--presence", is_flag=True, help="Tell also who comes and goes.")
@click.option("--queue-group", metavar="NAME", help="Share the messages with the members of this group.")
@click.option(
    "--connect-timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the first connection, and the answer of the server, may take.",
)
@click.option("--quiet", "-q", is_flag=True, help="Tell nothing of connections; of gaps still.")
@ca_option
@click.pass_context
def sub(
    context: click.Context,
    /,
    topics: tuple[str, ...],
    urls: tuple[str, ...],
    is_json: bool,
    count: int | None,
    timeout: float | None,
    positions: tuple[str, ...],
    kept: str | None,
    presence: bool,
    queue_group: str | None,
    connect_timeout: float,
    quiet: bool,
    ca: str | None,
    **_secrets: str | None,
) -> int:
    """Show what is published to topics, until Ctrl-C.

    TOPIC may be a pattern, in which * stands for any characters and ? for one; quote it. The server must let
    clients subscribe (client_subscriptions).

    A connection that is lost comes back, and goes on where it was where the topic has a history. That, and
    what is missing, is told on standard error.
    """
    from wse_server.cli.client import Background, need_client

    need_client()
    from wse_client import ClientError

    token = secret(context, "token")
    addresses = [server_address(url) for url in urls] or [server_address(None)]
    begin = _positions(topics, positions, kept)
    notes = _Notes(quiet=quiet)
    background = Background(
        addresses,
        token=token.text if token.file is None else lambda: token.again("--token"),
        ca=ca,
        patience=connect_timeout,
        on_connect=notes.connected,
        on_disconnect=notes.disconnected,
        on_trouble=notes.trouble,
        receive_buffer_bytes=_BUFFER,
    )
    wanted: dict[str, Any] = {
        "positions": begin or None,
        "queue_group": queue_group,
        "on_presence": (lambda _: None) if presence else None,
    }
    with background:
        try:
            subscription = background.run(_subscribe(background, topics, wanted, connect_timeout))
            notes.subscribed(topics)
            follower = _Follower(background, subscription, is_json=is_json, kept=kept)
            is_done = follower.follow(count, timeout)
        except TimeoutError as error:
            raise CliError(f"{addresses[0].websocket}: {error}") from None
        except ValueError as error:
            raise CliError(str(error), code=ExitCode.USAGE) from None
        except ClientError as error:
            has_token = token.text is not None
            raise of_websocket(error, addresses[0].websocket, has_token=has_token) from None
    if not is_done and count is not None:
        raise CliError(f"{follower.seen:,} of {count:,} messages within {timeout:g} s")
    return ExitCode.OK


async def _subscribe(
    background: Background, topics: tuple[str, ...], wanted: dict[str, Any], patience: float
) -> Subscription:
    subscription = background.client.subscribe(*topics, on_gap=lambda _: None, **wanted)
    await subscription.ready(patience)
    return subscription


# ---- Following ----


class _Follower:
    """Writes what a subscription yields.

    It runs in the main thread, where Ctrl-C ends it in the midst of a write that a terminal does not take.
    """

    def __init__(
        self, background: Background, subscription: Subscription, *, is_json: bool, kept: str | None
    ) -> None:
        self.seen = 0
        self._background = background
        self._subscription = subscription
        self._line = _lines_of_json() if is_json else _lines_for_people()
        self._kept = kept
        self._kept_at = time.monotonic()

    def follow(self, count: int | None, timeout: float | None) -> bool:
        """Goes on until there were so many messages, or the time is over.

        Returns:
            Whether there were so many messages.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while count is None or self.seen < count:
                wait = _LOOK if deadline is None else min(_LOOK, deadline - time.monotonic())
                if wait <= 0:
                    return False
                # No more than are wanted: what is taken and not shown would be lost to `--recover`.
                limit = _BATCH if count is None else min(_BATCH, count - self.seen)
                try:
                    items = self._background.run(self._take(limit, wait))
                except TimeoutError:
                    if _nobody_reads():
                        raise BrokenPipeError from None
                else:
                    self._write(items)
                self._keep(_LOOK)
        except StopAsyncIteration:
            return False
        else:
            return True
        finally:
            self._keep(0.0)

    async def _take(self, limit: int, wait: float) -> list[Message | Gap | Presence]:
        async with asyncio.timeout(wait):
            return await self._subscription.take(limit)

    def _write(self, items: list[Message | Gap | Presence]) -> None:
        from wse_client import Gap, Message
        from wse_server.cli.shown import gap_in_words

        lines: list[str] = []
        for item in items:
            if isinstance(item, Gap):
                self._flush(lines)
                err().print(f"[yellow]{_escaped(gap_in_words(item))}[/]")
            else:
                lines.append(self._line(item))
                self.seen += isinstance(item, Message)
        self._flush(lines)
        for item in items:
            self._subscription.note(item)

    @staticmethod
    def _flush(lines: list[str]) -> None:
        if not lines:
            return
        try:
            sys.stdout.write("\n".join(lines) + "\n")
            sys.stdout.flush()
        except KeyboardInterrupt:
            # What nobody takes would be tried once more at exit, and hold that up.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise
        lines.clear()

    def _keep(self, after: float) -> None:
        """Keeps the positions, at most once in so many seconds.

        They are of what was written: after a crash some of that may come again, and nothing is left out.
        """
        if self._kept is None or time.monotonic() - self._kept_at < after:
            return
        self._kept_at = time.monotonic()
        positions = {topic: str(position) for topic, position in self._subscription.positions.items()}
        path = Path(self._kept)
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            beside.write_text(json.dumps(positions, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
            beside.replace(path)
        except OSError as error:
            raise CliError(f"--recover {path}: {error.strerror}") from None


def _lines_of_json() -> Callable[[Message | Presence], str]:
    from wse_server.cli.shown import as_json

    return lambda item: as_json(item, datetime.datetime.now(datetime.UTC))


def _lines_for_people() -> Callable[[Message | Presence], str]:
    from wse_server.cli.shown import as_line, painted

    paint = painted(out())
    return lambda item: paint(as_line(item, datetime.datetime.now().astimezone()))


def _nobody_reads() -> bool:
    """Whether standard output is a pipe that was closed at its other end. Writing would say so, and later."""
    try:
        if not stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode):
            return False
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError, AttributeError):
        return False


# ---- Where to begin ----


def _positions(topics: tuple[str, ...], given: tuple[str, ...], kept: str | None) -> dict[str, Position]:
    """Where to begin, by topic: what is kept in a file, and what is given, which counts before it."""
    begin: dict[str, Position] = {}
    if kept is not None and Path(kept).exists():
        try:
            told = json.loads(Path(kept).read_text(encoding="utf-8"))
            begin = {topic: _position(text) for topic, text in told.items() if topic in topics}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            why = getattr(error, "strerror", None) or "it has no positions of wse sub"
            raise CliError(f"--recover {kept}: {why}", code=ExitCode.USAGE) from None
    for text in given:
        topic, mark, position = text.rpartition("=")
        if not mark and len(topics) > 1:
            raise CliError(f"--from {text}: of which topic?", hint=f"{topics[0]}={text}", code=ExitCode.USAGE)
        try:
            begin[topic if mark else topics[0]] = _position(position)
        except ValueError:
            raise CliError(
                f"--from {text}: it must be EPOCH:OFFSET", hint="as wse pub prints it", code=ExitCode.USAGE
            ) from None
    for topic in begin:
        if topic not in topics or "*" in topic or "?" in topic:
            raise CliError(
                f"--from: {topic} is none of the topics, or a pattern, which has no position",
                code=ExitCode.USAGE,
            )
    return begin


def _position(text: str) -> Position:
    from wse_client import Position

    epoch, _, offset = text.partition(":")
    if len(epoch) != 8 or not all(digit in "0123456789abcdef" for digit in epoch) or not offset.isdecimal():
        raise ValueError(text)
    return Position(epoch, int(offset))


# ---- What is told beside the messages ----


class _Notes:
    """Notes about the connection, on standard error."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def subscribed(self, topics: tuple[str, ...]) -> None:
        """Everything that is published from now on comes."""
        self._say(f"subscribed to {', '.join(topics)}", "dim")

    def connected(self, event: Connected) -> None:
        """A connection stands."""
        if event.is_return:
            self._say(f"connected again to {event.url}", "green")

    def disconnected(self, event: Disconnected) -> None:
        """A connection has ended, or an attempt to come back has failed."""
        code = "" if event.code is None else f" ({event.code})"
        again = "" if event.retry_in is None else f"; again in {event.retry_in:.1f} s"
        self._say(f"no connection to {event.url}: {in_words(event.reason)}{code}{again}", "yellow")

    def trouble(self, event: Trouble) -> None:
        """Something went wrong, and the connection goes on."""
        self._say(f"{event.code}: {event.message}", "yellow")

    def _say(self, text: str, style: str) -> None:
        if not self._quiet:
            err().print(_escaped(text), style=style)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape("".join(letter if letter.isprintable() else "\ufffd" for letter in text))
