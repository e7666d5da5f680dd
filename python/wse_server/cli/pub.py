"""`wse pub`: publishes a message, or each line of standard input."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, NamedTuple, NoReturn, Protocol, Self

import click

from wse_server.cli.address import Address
from wse_server.cli.connecting import (
    api_key_options,
    ca_option,
    of_websocket,
    secret,
    server_address,
    token_options,
)
from wse_server.cli.errors import CliError, ExitCode
from wse_server.cli.output import err, write_line

__all__ = ["message_of", "pub"]

# A batch of publish_many: at most 10,000 messages and 8 MiB. Less is as quick and is answered sooner.
_MOST_LINES = 5000
_MOST_BYTES = 1 << 20
_STDIN = 0


# ---- What is published ----


def message_of(text: str, event: str | None, *, is_json: bool) -> str:
    """The message that is published, as JSON.

    Args:
        text: What was given.
        event: The type, field `t`.
        is_json: Whether the text is JSON. With a type it is the payload, without one the whole message.

    Raises:
        CliError: It is no JSON, or no object where it is the whole message; exit code 2.
    """
    if not is_json:
        return json.dumps({"t": event or "message", "p": {"text": text}}, ensure_ascii=False)
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise CliError(f"the message is no JSON: {why}", code=ExitCode.USAGE) from None
    if event is not None:
        return f'{{"t":{json.dumps(event, ensure_ascii=False)},"p":{text.strip()}}}'
    if not isinstance(value, dict):
        raise CliError(
            "the message must be a JSON object",
            hint='for example {"t": "note", "p": 1}; with --event NAME any JSON is its payload',
            code=ExitCode.USAGE,
        )
    return text.strip()


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not of JSON")


def _messages(
    message: str | None, count: int, event: str | None, *, is_json: bool, most: int
) -> Iterator[list[str]]:
    """Batches of what is published: a message some times over, or the lines of standard input."""
    if message is not None:
        one = message_of(message, event, is_json=is_json)
        most = max(1, min(most, _MOST_BYTES // len(one)))
        for start in range(0, count, most):
            yield [one] * min(most, count - start)
        return
    from wse_server.cli.lines import batches

    number = 0
    for lines in batches(_STDIN, most_lines=most, most_bytes=_MOST_BYTES):
        batch: list[str] = []
        for line in lines:
            number += 1
            try:
                text = line.decode()
                if text.strip():
                    batch.append(message_of(text, event, is_json=is_json))
            except (UnicodeDecodeError, CliError) as error:
                why = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
                # What came before it is published: a pipe can't be read twice.
                if batch:
                    yield batch
                raise CliError(f"line {number}: {why}", code=ExitCode.USAGE) from None
        if batch:
            yield batch


# ---- Two ways to publish ----


class _Published(NamedTuple):
    """Where the last of some messages stands, if its topic has a history, and how many nodes have it."""

    position: str | None
    copies: int | None = None


class _Publisher(Protocol):
    """A way to publish. Ends with the `with` block."""

    way: str

    def publish(self, topic: str, messages: list[str]) -> _Published: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _OverHttp:
    """Publishes over the HTTP API: to every topic, whatever clients may do."""

    def __init__(self, address: Address, key: str, *, wait: str, timeout: float, ca: str | None) -> None:
        from wse_server.cli.api import Api

        self.way = f"over the HTTP API of {address.http}"
        self._api = Api(address, key, timeout=timeout, ca=ca)
        self._wait = timeout if wait == "stored" else 0.0
        self._more = f',"wait":"stored","timeout":{timeout:g}' if wait == "stored" else ""

    def publish(self, topic: str, messages: list[str]) -> _Published:
        named = f'{{"topic":{json.dumps(topic)},"data":'
        if len(messages) == 1:
            answer = self._api.post("/api/publish", f"{named}{messages[0]}{self._more}}}", wait=self._wait)
        else:
            items = ",".join(f"{named}{message}}}" for message in messages)
            body = f'{{"messages":[{items}]{self._more}}}'
            answer = self._api.post("/api/publish_many", body, wait=self._wait)["topics"][-1]
        epoch, offset = answer.get("epoch"), answer.get("offset")
        return _Published(f"{epoch}:{offset}" if epoch is not None else None, answer.get("copies"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._api.close()


class _AsClient:
    """Publishes as a client does."""

    def __init__(self, address: Address, token: str | None, *, timeout: float, ca: str | None) -> None:
        from wse_server.cli.client import Background

        self.way = f"as a client of {address.websocket}"
        self._address = address
        self._has_token = token is not None
        self._timeout = timeout
        self._background = Background(
            [address],
            token=token,
            ca=ca,
            patience=timeout,
            # Room for a batch, with what its messages are wrapped in.
            publish_queue_bytes=128 << 20,
            on_trouble=lambda _: None,
        )

    def publish(self, topic: str, messages: list[str]) -> _Published:
        return self._background.run(self._publish(topic, [json.loads(message) for message in messages]))

    async def _publish(self, topic: str, messages: list[dict[str, Any]]) -> _Published:
        # All are on their way before the first is answered. Tasks begin in the order in which they were made.
        publish, timeout = self._background.client.publish, self._timeout
        sent = [publish(topic, message, timeout=timeout) for message in messages]
        positions = await asyncio.gather(*sent, return_exceptions=True)
        for number, position in enumerate(positions):
            if isinstance(position, BaseException):
                raise self._error(position, number)
        last = positions[-1]
        return _Published(None if last is None else str(last))

    def _error(self, error: BaseException, number: int) -> BaseException:
        if not isinstance(error, Exception):
            return error
        if isinstance(error, TimeoutError):
            return CliError(
                f"{self._address.websocket}: {error}",
                hint="does the server let clients publish (client_publish)? --api-key publishes without that",
            )
        told = of_websocket(error, self._address.websocket, has_token=self._has_token)
        if number:
            return CliError(f"{told} (message {number + 1} of this batch)", hint=told.hint, code=told.code)
        return told

    def __enter__(self) -> Self:
        self._background.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._background.__exit__(kind, error, trace)


# ---- The command ----


@click.command()
@click.argument("topic")
@click.argument("message", required=False)
@click.option("--url", envvar="WSE_URL", show_envvar=True, help="The server. Default: that of this machine.")
@api_key_options
@token_options
@click.option("--event", metavar="TYPE", help='Type of the message, field "t". Default: message.')
@click.option(
    "--json", "is_json", is_flag=True, help="The message is JSON: an object, or with --event a payload."
)
@click.option(
    "--wait",
    type=click.Choice(["local", "stored"]),
    default="local",
    show_default=True,
    help="What to wait for; stored needs an API key.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, max=300, min_open=True),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long connecting, and storing, may take.",
)
@click.option("--count", type=click.IntRange(min=1), default=1, help="Publish the message so many times.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Messages a second at most.")
@click.option("--quiet", "-q", is_flag=True, help="Tell nothing but positions and errors.")
@ca_option
@click.pass_context
def pub(
    context: click.Context,
    /,
    topic: str,
    message: str | None,
    url: str | None,
    event: str | None,
    is_json: bool,
    wait: str,
    timeout: float,
    count: int,
    rate: float | None,
    quiet: bool,
    ca: str | None,
    **_secrets: str | None,
) -> None:
    """Publish a message to a topic.

    Without MESSAGE, or with -, each line of standard input that is not empty is one. A text is published as
    {"t": "message", "p": {"text": ...}}.

    With an API key it goes over the HTTP API; otherwise as a client does, which the server must allow
    (client_publish). The position of the last message is printed where the topic has a history.
    """
    if message in {None, "-"}:
        message = None
        if os.isatty(_STDIN):
            raise CliError(
                "there is no message", hint="give it after the topic, or pipe lines in", code=ExitCode.USAGE
            )
        if count != 1:
            raise CliError("--count is for a message that is given", code=ExitCode.USAGE)
    most = _MOST_LINES if rate is None else max(1, min(_MOST_LINES, int(rate / 10)))
    batches = _messages(message, count, event, is_json=is_json, most=most)
    # A message that is wrong is told before anybody is called.
    first = next(batches, []) if message is not None else []
    publisher = _choose(context, url, wait=wait, timeout=timeout, ca=ca)
    published, last = 0, _Published(None)
    started = time.monotonic()
    try:
        with publisher:
            for batch in _paced([first] if first else [], batches, rate):
                last = publisher.publish(topic, batch)
                published += len(batch)
    finally:
        if not quiet and (published or message is None):
            _tell(publisher.way, topic, published, last, time.monotonic() - started)
    if last.position is not None:
        write_line(last.position)


def _choose(
    context: click.Context, url: str | None, *, wait: str, timeout: float, ca: str | None
) -> _Publisher:
    """The way to publish: what is on the command line decides before what is in the environment."""
    key, token = secret(context, "api_key"), secret(context, "token")
    if key.is_typed and token.is_typed:
        raise CliError(
            "an API key and a token are both given",
            hint="a key publishes over HTTP, a token as a client: leave one of them",
            code=ExitCode.USAGE,
        )
    address = server_address(url)
    if key.text is not None and not token.is_typed:
        return _OverHttp(address, key.text, wait=wait, timeout=timeout, ca=ca)
    if wait == "stored":
        raise CliError(
            "--wait stored needs an API key",
            hint="a client is told the position, and not who holds the message",
            code=ExitCode.USAGE,
        )
    return _AsClient(address, token.text, timeout=timeout, ca=ca)


def _paced(first: list[list[str]], batches: Iterator[list[str]], rate: float | None) -> Iterator[list[str]]:
    """The batches, so that not more messages go out than the rate allows."""
    due = time.monotonic()
    for source in (first, batches):
        for batch in source:
            if rate is not None:
                now = time.monotonic()
                if due > now:
                    time.sleep(due - now)
                # A pipe that was silent for a while has not saved up anything.
                due = max(due, now) + len(batch) / rate
            yield batch


def _tell(way: str, topic: str, published: int, last: _Published, seconds: float) -> None:
    what = f"published {published:,} message{'' if published == 1 else 's'} to {topic} {way}"
    if published > 1 and seconds > 0:
        what += f", {published / seconds:,.0f}/s"
    if last.copies is not None:
        what += f", {last.copies} {'copy' if last.copies == 1 else 'copies'}"
    err().print(what, markup=False, style="dim")
