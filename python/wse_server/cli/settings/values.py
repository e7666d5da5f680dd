"""From text, or from what TOML has, to a value."""

from __future__ import annotations

import re
from collections.abc import Callable

from wse_server.cli.settings.declaration import LISTS, Default, Setting

__all__ = ["Wrong", "of_text", "of_toml"]

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})

_SIZE = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?)\s*([A-Za-z]*)")
_SIZES = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)},
}
_TIME = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)\s*")
_TIMES = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}

Scalar = bool | int | float | str


class Wrong(Exception):  # noqa: N818 - it is no error of the program
    """A value is not allowed. The message says so without a name in front."""


def of_text(setting: Setting, text: str) -> Default:
    """The value that a flag or a variable has.

    Raises:
        Wrong: It is not allowed.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Wrong("is no UTF-8") from None
    if setting.kind in LISTS:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if setting.kind == "secret":
        if not text:
            raise Wrong("is empty: a forgotten key must not open the door")
        return text
    text = text.strip()
    if not text:
        # There is no other word for None, which is what switches off what has a default.
        if setting.nullable and setting.default is not None:
            return None
        raise Wrong(f"is empty; it must be {setting.allowed}")
    if setting.kind in {"file", "text"}:
        return text
    if setting.kind == "boolean":
        return _boolean(text)
    return _SCALARS[setting.kind](setting, text)


def of_toml(setting: Setting, value: object) -> Default:
    """The value that a TOML file has.

    Raises:
        Wrong: It is not allowed.
    """
    if isinstance(value, str):
        return of_text(setting, value)
    if setting.kind in LISTS and isinstance(value, list) and all(isinstance(part, str) for part in value):
        return tuple(value)
    if isinstance(value, bool):
        if setting.kind == "boolean":
            return value
    elif isinstance(value, int) and setting.kind in {"bytes", "integer"}:
        return _in_range(setting, value, repr(value))
    elif isinstance(value, int | float) and setting.kind in {"number", "seconds"}:
        return _in_range(setting, float(value), repr(value))
    shown = "" if setting.kind == "secret" else f", got {value!r}"
    raise Wrong(f"must be {setting.allowed}{shown}")


def _wrong(setting: Setting, text: str, more: str = "") -> Wrong:
    return Wrong(f"must be {setting.allowed}, got {text!r}{more}")


def _in_range(setting: Setting, number: int | float, text: str) -> int | float:
    least, most = setting.minimum, setting.maximum
    # A NaN is in no range.
    if (least is not None and not number >= least) or (most is not None and not number <= most):
        raise Wrong(f"must be {setting.allowed}, got {text}")
    return number


def _boolean(text: str) -> bool:
    word = text.lower()
    if word not in _TRUE | _FALSE:
        raise Wrong(f"must be true or false (1, yes, on or 0, no, off), got {text!r}")
    return word in _TRUE


def _integer(setting: Setting, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise _wrong(setting, text) from None
    return int(_in_range(setting, number, text))


def _number(setting: Setting, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise _wrong(setting, text) from None
    return float(_in_range(setting, number, text))


def _bytes(setting: Setting, text: str) -> int:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise _wrong(setting, text, "; sizes such as 64MiB and 64MB are understood")
    digits, unit = found[1], found[2].lower()
    if unit in set("kmgt"):
        raise _wrong(
            setting, text, f": say {digits}{unit.upper()}iB (1024) or {digits}{unit.upper()}B (1000)"
        )
    if unit not in _SIZES:
        raise _wrong(setting, text, "; sizes such as 64MiB and 64MB are understood")
    try:
        number = int(float(digits) * _SIZES[unit]) if "." in digits else int(digits) * _SIZES[unit]
    except (OverflowError, ValueError):
        raise _wrong(setting, text) from None
    return int(_in_range(setting, number, text))


def _seconds(setting: Setting, text: str) -> float:
    try:
        return float(_in_range(setting, float(text), text))
    except ValueError:
        pass
    if not re.fullmatch(f"(?:{_TIME.pattern})+", text):
        raise _wrong(setting, text, "; durations such as 500ms, 30s, 5m and 1h30m are understood")
    seconds = sum(float(count) * _TIMES[unit] for count, unit in _TIME.findall(text))
    return float(_in_range(setting, seconds, text))


def _choice(setting: Setting, text: str) -> str:
    for choice in setting.choices:
        if choice.lower() == text.lower():
            return choice
    raise _wrong(setting, text)


def _app(setting: Setting, text: str) -> str:
    module, colon, name = text.partition(":")
    parts = (*module.split("."), *name.split("."))
    if not colon or not all(part.isidentifier() for part in parts):
        raise _wrong(setting, text)
    return text


_SCALARS: dict[str, Callable[[Setting, str], Scalar]] = {
    "app": _app,
    "bytes": _bytes,
    "choice": _choice,
    "integer": _integer,
    "number": _number,
    "seconds": _seconds,
}
