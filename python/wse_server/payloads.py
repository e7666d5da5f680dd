"""Payloads as the types of a program: checked on the way in, turned into JSON on the way out."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, TypeAlias
from uuid import UUID

import msgspec

from wse_server._native import json_text

__all__ = ["InvalidPayloadError", "Validator", "encode", "validator"]

Validator: TypeAlias = Callable[[Any], Any]
"""Turns what a client sent into what a handler wants, or raises InvalidPayloadError."""

DEFAULT_EVENT = "message"
"""The type of a message whose sender names none."""


class InvalidPayloadError(ValueError):
    """A payload is not what its handler wants; `path` says which field of the message it is."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path


# ---- Out ----

# What the engine's own writer knows, and so is left to it.
_NATIVE = (bytes, bytearray, memoryview, datetime, date, time, UUID, Decimal)


def encode(message: object, event: str | None = None) -> str:
    """The JSON text of a message.

    Args:
        message: With a text `t` a whole message, unless `event` is given; anything else is a payload.
        event: The type of the message that carries the payload; None is "message".

    Raises:
        TypeError: Something in it has no JSON form.
        ValueError: As [`json_text`][wse_server._native.json_text].
    """
    if event is None and not (isinstance(message, dict) and isinstance(message.get("t"), str)):
        event = DEFAULT_EVENT
    try:
        return json_text(message, event)
    except TypeError:
        return json_text(plain(message), event)


def plain(value: object) -> Any:
    """The same with models and structs as dicts, wherever they are.

    Raises:
        TypeError: Something in it has no JSON form.
    """
    return msgspec.to_builtins(value, builtin_types=_NATIVE, str_keys=False, enc_hook=_model_fields)


def _model_fields(value: object) -> Any:
    dump = getattr(value, "model_dump", None)
    if _is_model(type(value)) and dump is not None:
        return dump(mode="python")
    raise TypeError(f"an object of type {type(value).__qualname__} has no JSON form")


def _is_model(kind: object) -> bool:
    return isinstance(kind, type) and hasattr(kind, "__pydantic_validator__")


# ---- In ----


def validator(annotation: Any, *, strict: bool = True) -> Validator | None:
    """What checks payloads for a handler whose parameter is annotated so; None lets everything through.

    Args:
        annotation: The type, with constraints in `Annotated` if it has any.
        strict: Whether a text is never taken for a number.

    Raises:
        TypeError: Nothing that a client sends can be of this type, or its constraints are of no known kind.
    """
    if annotation in (inspect.Parameter.empty, Any, object):
        return None
    if annotation is Mapping or annotation is dict:
        return _check_object
    if typing.get_origin(annotation) in (Mapping, dict) and typing.get_args(annotation) == (str, Any):
        return _check_object
    if _is_for_pydantic(annotation):
        return _by_pydantic(annotation)
    return _by_msgspec(annotation, strict)


def _check_object(payload: Any) -> Any:
    if not isinstance(payload, dict):
        raise InvalidPayloadError("p", f"expected an object, got {_json_name(payload)}")
    return payload


def _json_name(value: object) -> str:
    names = {str: "a text", bool: "a boolean", int: "a number", float: "a number", list: "a list"}
    return names.get(type(value), "null")


def _by_msgspec(annotation: Any, strict: bool) -> Validator:
    try:
        found = msgspec.inspect.type_info(annotation)
    except (TypeError, NameError) as error:
        raise TypeError(str(error)) from error
    if isinstance(found, msgspec.inspect.CustomType):
        raise TypeError(
            f"{annotation!r} is nothing that JSON can become; allowed: dict, dataclasses, TypedDict, "
            "NamedTuple, msgspec structs, pydantic models, and what they are made of"
        )

    def check(payload: Any) -> Any:
        try:
            return msgspec.convert(payload, annotation, strict=strict)
        except msgspec.ValidationError as error:
            reason, _, path = str(error).partition(" - at `$")
            raise InvalidPayloadError("p" + path.rstrip("`"), reason) from error

    return check


def _by_pydantic(annotation: Any) -> Validator:
    pydantic = sys.modules["pydantic"]
    adapter = pydantic.TypeAdapter(annotation)

    def check(payload: Any) -> Any:
        try:
            return adapter.validate_python(payload)
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
            raise InvalidPayloadError("p" + "".join(steps), first["msg"]) from error

    return check


def _is_for_pydantic(annotation: Any) -> bool:
    """Whether a pydantic model, or a constraint of pydantic's, is in it; not in the fields of other classes.

    Raises:
        TypeError: It has a constraint that nobody here would check.
    """
    if typing.get_origin(annotation) is Annotated:
        kind, *constraints = typing.get_args(annotation)
        if all(isinstance(it, msgspec.Meta | str) for it in constraints):
            return _is_for_pydantic(kind)
        if "pydantic" not in sys.modules:
            raise TypeError(f"{annotation!r} has constraints that are neither msgspec's nor pydantic's")
        return True
    if _is_model(annotation):
        return not dataclasses.is_dataclass(annotation) or "pydantic" in sys.modules
    return any(_is_for_pydantic(part) for part in typing.get_args(annotation))
