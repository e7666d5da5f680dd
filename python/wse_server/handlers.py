"""Functions of a program that are called for clients: what they take is read once, at registration."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from wse_server.payloads import Validator, validator

__all__ = ["Function", "Handler", "Parameters", "read_parameters"]

Function: TypeAlias = Callable[..., Any]
"""A function, plain or `async`."""

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Handler:
    """One function with what is known of it."""

    function: Function
    label: str
    """What it is called in the log."""
    is_async: bool
    takes_payload: bool
    validate: Validator | None
    ordered: bool = True
    """Whether the connection's next message waits for its end."""

    @classmethod
    def of(cls, function: Function, label: str, *, second: str | None, ordered: bool = True) -> Handler:
        """Reads a function that takes a connection, and perhaps a second thing, which errors call `second`.

        Raises:
            TypeError: It can't be called so; the message names the parameter.
        """
        parameters = read_parameters(function, label)
        takes = "(connection)" if second is None else f"(connection) or (connection, {second})"
        parameters.check_connection(takes)
        more = parameters.positional[1:]
        if second is not None and more:
            payload, more = more[0], more[1:]
        else:
            payload = None
        parameters.check_no_more(more, takes)
        return cls(
            function,
            label,
            parameters.is_async,
            payload is not None,
            parameters.validator_of(payload) if payload is not None and second == "payload" else None,
            ordered,
        )


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of a function as they were declared."""

    label: str
    name: str
    is_async: bool
    positional: list[inspect.Parameter]
    keyword_only: list[inspect.Parameter]
    hints: dict[str, Any]

    def error(self, parameter: str | None, problem: str) -> TypeError:
        """What is wrong with one of them."""
        place = "" if parameter is None else f" parameter {parameter!r}"
        return TypeError(f"{self.label}: {self.name}(){place} {problem}")

    def check_connection(self, takes: str) -> None:
        """The first one is the connection."""
        if not self.positional:
            raise self.error(None, f"takes no parameter; it is called with {takes}")
        first = self.positional[0]
        kind = self.hints.get(first.name, Any)
        if isinstance(kind, type) and kind not in (Any, object) and kind.__name__ != "Connection":
            raise self.error(
                first.name, f"is declared as {kind.__qualname__}, but the connection comes first: {takes}"
            )

    def check_no_more(self, more: list[inspect.Parameter], takes: str) -> None:
        """All others have defaults."""
        for parameter in [*more, *self.keyword_only]:
            if parameter.default is inspect.Parameter.empty:
                raise self.error(parameter.name, f"would get no value; it is called with {takes}")

    def converter_of(self, field: str, kind: object) -> Validator | None:
        """What makes a value of this type of a part of a topic."""
        try:
            return validator(kind, strict=False)
        except TypeError as error:
            raise self.error(field, f"is no type for a part of a topic: {error}") from error

    def validator_of(self, parameter: inspect.Parameter) -> Validator | None:
        """What checks payloads for one of them."""
        try:
            return validator(self.hints.get(parameter.name, inspect.Parameter.empty))
        except TypeError as error:
            raise self.error(parameter.name, f"can get no payload: {error}") from error


def read_parameters(function: Function, label: str) -> Parameters:
    """Reads what a function takes.

    Raises:
        TypeError: It is none, takes any number of parameters, or an annotation names what there is not.
    """
    if not callable(function):
        raise TypeError(f"{label}: {function!r} is no function")
    inner = inspect.unwrap(function)
    while isinstance(inner, functools.partial):
        inner = inner.func
    name = getattr(inner, "__qualname__", type(inner).__qualname__)
    called = inner if inspect.isroutine(inner) else type(inner).__call__
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{label}: {name}() does not tell its parameters") from error
    try:
        hints = typing.get_type_hints(called, include_extras=True)
    except (NameError, TypeError, AttributeError) as error:
        raise TypeError(f"{label}: {name}() has an annotation that can't be read: {error}") from error
    out = Parameters(label, name, inspect.iscoroutinefunction(called), [], [], hints)
    for parameter in signature.parameters.values():
        if parameter.kind in _POSITIONAL:
            out.positional.append(parameter)
        elif parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            out.keyword_only.append(parameter)
        else:
            raise out.error(str(parameter).split(":")[0], "stands for any number; name each that is wanted")
    return out
