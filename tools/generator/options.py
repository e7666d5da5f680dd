"""Reads spec/options.toml and refuses a declaration that contradicts itself."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = "spec/options.toml"

INTEGERS = {"integer", "bytes"}
NUMBERS = {"seconds", "number"}
NULLABLE = {"text", "secret", "origins"}
TYPES = INTEGERS | NUMBERS | NULLABLE | {"boolean", "choice", "networks"}
KEYS = {
    "name", "group", "type", "default", "unit", "minimum", "maximum", "choices", "rust_name", "rust_path",
    "format",
    "allowed", "not_built", "for_now", "summary", "advice",
}  # fmt: skip
REQUIRED = {"name", "group", "type", "unit", "summary", "advice"}

Scalar = bool | int | float | str


@dataclass(frozen=True)
class Option:
    """One option as spec/options.toml declares it."""

    name: str
    group: str
    type: str
    unit: str
    summary: str
    advice: str
    allowed: str
    default: Any  # As TOML has it, a list as a tuple; None where there is none.
    minimum: Any  # A number; None for what is no number. The same of `maximum`.
    maximum: Any
    choices: tuple[str, ...]
    rust_name: str | None
    rust_path: str | None
    format: str | None
    not_built: tuple[Scalar, ...]
    not_built_when_set: bool
    for_now: str | None

    @property
    def built(self) -> str:
        """What is allowed until the rest is built, in words."""
        if self.not_built_when_set or self.type == "boolean":
            return python_literal(self.default)
        return one_of(tuple(choice for choice in self.choices if choice not in self.not_built))

    @property
    def waits(self) -> bool:
        """Whether some value asks for what does not exist yet."""
        return bool(self.not_built) or self.not_built_when_set


def load(root: Path) -> list[Option]:
    """All options, in the order of the file."""
    with (root / SOURCE).open("rb") as file:
        tables = tomllib.load(file)["option"]
    options = [parse(table) for table in tables]
    names = [option.name for option in options]
    if len(set(names)) != len(names):
        raise SystemExit(f"{SOURCE}: an option is declared twice")
    return options


def parse(table: dict[str, Any]) -> Option:
    """One option from its table."""
    name = str(table.get("name", "?"))

    def expect(condition: bool, complaint: str) -> None:
        if not condition:
            raise SystemExit(f"{SOURCE}: {name}: {complaint}")

    missing = sorted(REQUIRED - set(table))
    expect(not missing, f"{', '.join(missing)} missing")
    kind = str(table["type"])
    default = table.get("default")
    not_built = table.get("not_built", [])
    expect(set(table) <= KEYS, f"unknown keys {sorted(set(table) - KEYS)}")
    expect(kind in TYPES, f"type {kind!r} is none of {sorted(TYPES)}")
    expect(default is not None or kind in NULLABLE, f"a default is missing, which {kind} needs")
    expect(kind not in INTEGERS | NUMBERS or ("minimum" in table and "maximum" in table), "no range")
    expect(kind != "choice" or ("choices" in table and "rust_name" in table), "no choices or rust_name")
    expect(kind != "choice" or default in table["choices"], "the default is no choice")
    expect("format" not in table or "allowed" in table, "a format needs words for what it allows")
    expect(default not in not_built if isinstance(not_built, list) else True, "the default is not built")

    if isinstance(default, list):
        default = tuple(default)
    option = Option(
        name=name,
        group=str(table["group"]),
        type=kind,
        unit=str(table["unit"]),
        summary=str(table["summary"]),
        advice=" ".join(str(table["advice"]).split()),
        allowed=str(table.get("allowed", "")) or allowed(kind, table),
        default=default,
        minimum=table.get("minimum"),
        maximum=table.get("maximum"),
        choices=tuple(table.get("choices", ())),
        rust_name=table.get("rust_name"),
        rust_path=table.get("rust_path"),
        format=table.get("format"),
        not_built=() if not_built == "set" else tuple(not_built),
        not_built_when_set=not_built == "set",
        for_now=table.get("for_now"),
    )
    if kind in INTEGERS | NUMBERS:
        expect(option.minimum <= default <= option.maximum, "the default is out of range")
    return option


def allowed(kind: str, table: dict[str, Any]) -> str:
    """What a type allows, in the words of an error message: `max_connections must be ...`."""
    low, high = python_literal(table.get("minimum")), python_literal(table.get("maximum"))
    match kind:
        case "integer":
            return f"an integer from {low} to {high}"
        case "bytes":
            return f"an integer of bytes from {low} to {high}"
        case "seconds":
            return f"a number of seconds from {low} to {high}"
        case "number":
            return f"a number from {low} to {high}"
        case "boolean":
            return "True or False"
        case "choice":
            return one_of(tuple(table["choices"]))
        case "text":
            return "non-empty text or None"
        case "secret":
            return "non-empty bytes or text, or None"
    raise SystemExit(f"{SOURCE}: {table['name']}: the type {kind} needs `allowed`")


def one_of(choices: tuple[Scalar, ...]) -> str:
    """`'a'`, or `'a' or 'b'`, or `'a', 'b' or 'c'`."""
    words = [python_literal(choice) for choice in choices]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]


def python_literal(value: object) -> str:
    """A value as a Python programmer writes it; whole floats in the range of integers look like integers."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e12:
        return str(int(value))
    return f"{value:g}" if isinstance(value, float) and abs(value) >= 1e12 else repr(value)
