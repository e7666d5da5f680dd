"""What the commands that talk to a server share: where it is, by what right, and what went wrong."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click
from click.core import ParameterSource

from wse_server.cli.address import Address, local_address, parse_address
from wse_server.cli.errors import CliError, ExitCode

__all__ = [
    "Secret",
    "api_key_options",
    "ca_option",
    "in_words",
    "of_websocket",
    "secret",
    "server_address",
    "tls_context",
    "token_options",
]

F = TypeVar("F", bound=Callable[..., Any])

# A word of the client's reason, what it means, and what to do about it.
_NOT_REACHED = (
    (
        "ConnectionRefusedError",
        "connection refused",
        "nothing listens there: is the server started, and on this port?",
    ),
    ("gaierror", "no such host", "look at the name, and at the DNS of this machine"),
    (
        "SSLCertVerificationError",
        "its certificate is not trusted",
        "--ca FILE names the authority that signed it",
    ),
    ("SSLError", "TLS failed", "does this port speak TLS?"),
    ("InvalidMessage", "what answers does not speak HTTP", "is this the port of the server?"),
    (
        "attempt_timeout",
        "no answer in time",
        "a firewall that drops, or a server that is stuck; --timeout gives it more",
    ),
)


# ---- Where ----


def ca_option(command: F) -> F:
    """`--ca`."""
    return click.option(
        "--ca",
        envvar="WSE_CA",
        show_envvar=True,
        type=click.Path(),
        metavar="FILE",
        help="PEM file with the authorities to trust, instead of those of the system.",
    )(command)


def server_address(url: str | None) -> Address:
    """The server that is meant: the one given, or that of this machine.

    Raises:
        CliError: This is no address, with exit code 2.
    """
    return parse_address(url) if url else local_address()


def tls_context(ca: str | None) -> ssl.SSLContext:
    """How certificates are checked.

    Args:
        ca: PEM file with the authorities to trust; those of the system if None.

    Raises:
        CliError: The file is not there, or has no certificate; exit code 2.
    """
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        why = "no certificate in PEM is in it" if isinstance(error, ssl.SSLError) else error.strerror
        raise CliError(f"--ca {ca}: {why}", code=ExitCode.USAGE) from None


# ---- By what right ----


def token_options(command: F) -> F:
    """`--token` and `--token-file`, with their variables."""
    return _secret_options("token", "WSE_TOKEN", "Token to connect with.")(command)


def api_key_options(command: F) -> F:
    """`--api-key` and `--api-key-file`, with their variables."""
    return _secret_options("api-key", "WSE_API_KEY", "Key of the HTTP API.")(command)


def _secret_options(name: str, variable: str, summary: str) -> Callable[[F], F]:
    def decorate(command: F) -> F:
        of_file = click.option(
            f"--{name}-file",
            envvar=f"{variable}_FILE",
            show_envvar=True,
            type=click.Path(),
            metavar="FILE",
            help="File with it. Other users of a machine see what is on command lines.",
        )
        itself = click.option(f"--{name}", envvar=variable, show_envvar=True, metavar="TEXT", help=summary)
        return itself(of_file(command))

    return decorate


class Secret(NamedTuple):
    """A token or key.

    Attributes:
        text: It, None if none was given.
        is_typed: Whether it was on the command line rather than in the environment.
        file: The file it is from.
    """

    text: str | None
    is_typed: bool
    file: str | None

    def again(self, option: str) -> str:
        """It as its file has it now, for a program that runs for longer than a token lasts."""
        return self.text or "" if self.file is None else _checked(_content(self.file, option), option)


def secret(context: click.Context, name: str) -> Secret:
    """The token or key that was given. What is on the command line counts before any variable.

    Args:
        context: The command.
        name: Its parameter, `token` or `api_key`.

    Raises:
        CliError: It was given twice, its file can't be read, or it is no secret; exit code 2.
    """
    option = "--" + name.replace("_", "-")
    variable = f"WSE_{name.upper()}"
    for source, names in (
        (ParameterSource.COMMANDLINE, f"{option} and {option}-file"),
        (ParameterSource.ENVIRONMENT, f"{variable} and {variable}_FILE"),
    ):
        given = [
            each
            for each in (name, f"{name}_file")
            if context.params[each] and context.get_parameter_source(each) is source
        ]
        if len(given) == 2:
            raise CliError(f"{names} are both given", hint="leave one of them", code=ExitCode.USAGE)
        if given:
            value: str = context.params[given[0]]
            file = None if given[0] == name else value
            text = _checked(value if file is None else _content(file, option), option)
            return Secret(text, source is ParameterSource.COMMANDLINE, file)
    return Secret(None, False, None)


def _checked(text: str, option: str) -> str:
    if not (text and text.isascii() and text.isprintable()) or " " in text:
        raise CliError(f"{option} must be visible ASCII characters without spaces", code=ExitCode.USAGE)
    return text


def _content(path: str, option: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise CliError(f"{option}-file {path}: {why}", code=ExitCode.USAGE) from None


# ---- What went wrong with a WebSocket ----


def of_websocket(error: Exception, url: str, *, has_token: bool) -> CliError:
    """What `wse_client` has raised, as an error of one line.

    Args:
        error: What it has raised.
        url: Where to.
        has_token: Whether a token was given.
    """
    from wse_client import AuthenticationError, ClosedError, ConnectError, RefusedError

    if isinstance(error, AuthenticationError):
        why = f"the token is refused: {error.reason}" if has_token else f"it wants a token: {error.reason}"
        hint = "wse token inspect tells what is in it" if has_token else "give one by --token or WSE_TOKEN"
        return CliError(f"{url}: {why}", hint=hint, code=ExitCode.REFUSED)
    if isinstance(error, RefusedError):
        return _of_refusal(error.code, str(error), error.retry_after)
    if isinstance(error, ConnectError):
        return _of_attempt(error.reason)
    if isinstance(error, ClosedError):
        code = ExitCode.REFUSED if error.code == 4403 else ExitCode.FAILED
        return CliError(f"{url}: the connection was closed: {error}", code=code)
    return CliError(f"{url}: {error}")


def in_words(reason: str) -> str:
    """Why there is no connection, in words of the command line where it has some.

    Args:
        reason: What `wse_client` says.
    """
    return next((words for sign, words, _ in _NOT_REACHED if sign in reason), reason)


def _of_refusal(code: str, told: str, retry_after: float | None) -> CliError:
    hints = {
        "NOT_ALLOWED": "the token's wse_topics say what it may hear and publish to",
        "RATE_LIMITED": f"again after {retry_after:g} s" if retry_after else "again later, and less often",
    }
    is_passing = code in {"RATE_LIMITED", "SERVER_ERROR"}
    return CliError(told, hint=hints.get(code), code=ExitCode.FAILED if is_passing else ExitCode.REFUSED)


def _of_attempt(reason: str) -> CliError:
    """A connection that was not made. The client tells of it in words, which begin with the URL."""
    answered = re.search(r"the upgrade was answered (\d{3})", reason)
    if answered is None:
        url = reason.partition(": ")[0]
        for sign, words, hint in _NOT_REACHED:
            if sign in reason:
                return CliError(f"{url}: {words}", hint=hint, code=ExitCode.UNREACHABLE)
        return CliError(reason, code=ExitCode.UNREACHABLE)
    status = int(answered[1])
    if status in {401, 403}:
        return CliError(
            reason, hint="the server, or a proxy in front, lets nobody in so", code=ExitCode.REFUSED
        )
    if status in {502, 503, 504}:
        hint = "it is full or being emptied, or a proxy has no server behind it; wse health tells"
        return CliError(reason, hint=hint, code=ExitCode.UNREACHABLE)
    return CliError(reason, hint="not a WSE server, or another path: the usual one is /wse")
