"""The Rust side of the options: the struct and its table in wse-core, the keyword arguments in wse-py."""

from __future__ import annotations

import json

from .header import notice
from .options import SOURCE, Option

CORE = "crates/wse-core/src/options/generated.rs"
SPEC = "crates/wse-core/src/options/spec.rs"
BINDING = "crates/wse-py/src/options/generated.rs"

FIELD_TYPES = {
    "integer": "usize",
    "bytes": "usize",
    "seconds": "Duration",
    "number": "f64",
    "boolean": "bool",
    "text": "Option<String>",
    "secret": "Option<Secret>",
    "origins": "Option<Vec<String>>",
    "networks": "Vec<IpNet>",
}


def core(options: list[Option]) -> str:
    """The file in wse-core."""
    enums = [option for option in options if option.type == "choice" and not option.rust_path]
    elsewhere = [option for option in options if option.rust_path]
    return "\n".join(
        [
            f"//! {notice(SOURCE)}",
            "",
            "use std::time::Duration;",
            "use ipnet::IpNet;",
            "use super::{Choice, OptionError, Secret, format, range, spec};",
            "",
            *(f"pub use {option.rust_path} as {option.rust_name};" for option in elsewhere),
            "",
            struct(options),
            defaults(options),
            checks(options),
            *(choice_enum(option) for option in enums),
            *(choice_impl(option) for option in elsewhere),
        ]
    )


def field_type(option: Option) -> str:
    """The type of an option's field."""
    return option.rust_name or FIELD_TYPES[option.type]


def doc(text: str, width: int = 104) -> list[str]:
    """Doc comment lines that rustdoc shows as one paragraph."""
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    return [f"/// {text}" for text in [*lines, line]]


def struct(options: list[Option]) -> str:
    """The struct, each field with its whole documentation."""
    lines = [
        "/// What the server was told, one field for each option.",
        "#[derive(Clone, Debug)]",
        "pub struct Options {",
    ]
    for option in options:
        lines += [*doc(option.summary), "///", *doc(option.advice), "///"]
        lines += doc(f"Unit: {option.unit}. Allowed: {option.allowed}.")
        if option.waits:
            lines += ["///", *doc(not_built(option))]
        lines.append(f"pub {option.name}: {field_type(option)},")
    return "\n".join([*lines, "}", ""])


def not_built(option: Option) -> str:
    """What does not exist yet, in a sentence."""
    return " ".join(filter(None, [f"Not built yet: all but {option.built}.", option.for_now]))


def rust_value(option: Option) -> str:
    """The default as Rust."""
    value = option.default
    match option.type:
        case "integer" | "bytes":
            return f"{value:_}"
        case "seconds":
            return duration(value)
        case "number":
            return f"{float(value):_}"
        case "boolean":
            return "true" if value else "false"
        case "choice":
            return f"{option.rust_name}::{variant(str(value))}"
        case "networks":
            return "Vec::new()"
        case "text" if value is not None:
            return f"Some({quoted(str(value))}.to_owned())"
    return "None"


def duration(seconds: float) -> str:
    """A `Duration` to the millisecond."""
    if float(seconds).is_integer():
        return f"Duration::from_secs({int(seconds)})"
    return f"Duration::from_millis({round(seconds * 1000)})"


def quoted(text: str) -> str:
    """A Rust string. JSON writes one alike, as long as there are no control characters."""
    return json.dumps(text, ensure_ascii=False)


def variant(choice: str) -> str:
    """`full` is `Full`, `HS256` is `Hs256` and `EdDSA` is `EdDsa`, as clippy wants acronyms."""
    known = {"EdDSA": "EdDsa"}
    return known.get(choice, choice.capitalize())


def defaults(options: list[Option]) -> str:
    """`Default` for the struct: the only place where defaults are."""
    fields = "\n".join(f"{option.name}: {rust_value(option)}," for option in options)
    return f"impl Default for Options {{ fn default() -> Self {{ Self {{ {fields} }} }} }}\n"


def checks(options: list[Option]) -> str:
    """Each option by itself: its range, its format, and whether the value is built."""
    body = "\n".join(line for option in options for line in check(option))
    return (
        "impl Options {\n"
        "/// Checks each option by itself: range, format, and whether what it asks for is built.\n"
        "pub(super) fn check_each(&self) -> Result<(), OptionError> {\n"
        f"{body}\nOk(())\n}}\n}}\n"
    )


def check(option: Option) -> list[str]:
    """The lines that check one option."""
    field, spec = f"self.{option.name}", f"&{constant(option)}"
    lines = []
    match option.type:
        case "integer" | "bytes":
            lines.append(f"range::integer({spec}, {field}, {option.minimum:_}, {option.maximum:_})?;")
        case "seconds":
            low, high = duration(option.minimum), duration(option.maximum)
            lines.append(f"range::seconds({spec}, {field}, {low}, {high})?;")
        case "number":
            lines.append(f"range::number({spec}, {field}, {option.minimum:_}, {option.maximum:_})?;")
        case "text":
            lines.append(f"format::{option.format or 'text'}({spec}, {field}.as_deref())?;")
        case "secret":
            function = "api_key" if option.format == "api_key" else "secret"
            lines.append(f"format::{function}({spec}, {field}.as_ref())?;")
        case "origins":
            lines.append(f"format::{option.format}_are_right({spec}, {field}.as_deref())?;")
    for value in option.not_built:
        asked = field if value is True else f"{field} == {option.rust_name}::{variant(str(value))}"
        shown = quoted(repr(value))
        lines.append(f"if {asked} {{ return Err({spec[1:]}.not_built({shown})); }}")
    if option.not_built_when_set:
        match option.type:
            case "secret":
                lines.append(f'if {field}.is_some() {{ return Err({spec[1:]}.not_built("a secret")); }}')
            case _:
                refusal = f"return Err({spec[1:]}.not_built(range::text(value)));"
                lines.append(f"if let Some(value) = &{field} {{ {refusal} }}")
    return lines


def constant(option: Option) -> str:
    """The name of an option's entry in the table."""
    return f"spec::{option.name.upper()}"


def choice_enum(option: Option) -> str:
    """The enum of a choice."""
    name = option.rust_name
    variants = "\n".join(
        f"/// `{choice!r}`.\n" + ("#[default]\n" if choice == option.default else "") + f"{variant(choice)},"
        for choice in option.choices
    )
    arms = "\n".join(f"Self::{variant(choice)} => {quoted(choice)}," for choice in option.choices)
    everything = ", ".join(f"Self::{variant(choice)}" for choice in option.choices)
    documentation = "\n".join([*doc(option.summary), "///", *doc(option.advice)])
    return f"""
{documentation}
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum {name} {{ {variants} }}

impl {name} {{
/// The name, as Python spells it.
#[must_use]
pub const fn as_str(self) -> &'static str {{ match self {{ {arms} }} }}
}}

impl Choice for {name} {{
const ALL: &'static [Self] = &[{everything}];
fn as_str(self) -> &'static str {{ self.as_str() }}
}}
"""


def choice_impl(option: Option) -> str:
    """The same for an enum that is written by hand."""
    name = option.rust_name
    everything = ", ".join(f"Self::{variant(choice)}" for choice in option.choices)
    return f"""
impl Choice for {name} {{
const ALL: &'static [Self] = &[{everything}];
fn as_str(self) -> &'static str {{ self.as_str() }}
}}
"""


def specs(options: list[Option]) -> str:
    """The file with what messages and tools say about each option."""
    entries = "\n".join(
        f"/// `{option.name}`\npub const {option.name.upper()}: OptionSpec = OptionSpec {{ "
        f"name: {quoted(option.name)}, default: {quoted(shown_default(option))}, "
        f"unit: {quoted(option.unit)}, allowed: {quoted(option.allowed)}, "
        f"built: {quoted(option.built if option.waits else '')}, "
        f"secret: {'true' if option.type == 'secret' else 'false'} }};"
        for option in options
    )
    table = ",".join(option.name.upper() for option in options)
    return f"""//! {notice(SOURCE)}
//!
//! Each option's entry by its name.

use super::OptionSpec;

/// All options, in the order of the reference.
pub const OPTIONS: &[OptionSpec] = &[{table}];

{entries}
"""


def shown_default(option: Option) -> str:
    """The default as the reference shows it."""
    return "()" if option.default == () else repr(option.default)


def binding(options: list[Option]) -> str:
    """The file in wse-py: which converter fills which field."""
    arms = "\n".join(
        f"{quoted(option.name)} => options.{option.name} = "
        f"convert::{converter(option)}(&{constant(option)}, value)?,"
        for option in options
    )
    return f"""//! {notice(SOURCE)}

use pyo3::prelude::*;
use wse_core::options::{{Options, spec}};

use super::convert;

/// Converts one keyword argument and puts it where it belongs. False means that there is no such option.
pub(super) fn set(options: &mut Options, name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {{
match name {{
{arms}
_ => return Ok(false),
}}
Ok(true)
}}
"""


def converter(option: Option) -> str:
    """The function that converts a Python value of this type."""
    return "integer" if option.type == "bytes" else option.type
