"""The codes as Rust."""

from __future__ import annotations

from .codes import RECONNECT, SOURCE, Close, Codes, sender
from .header import notice

PATH = "crates/wse-core/src/protocol/codes.rs"


def text(codes: Codes) -> str:
    """The file in wse-core."""
    return "\n".join(
        [f"//! {notice(SOURCE)}", "", errors(codes), closes(codes), reconnect(codes)],
    )


def variant(name: str) -> str:
    """`AUTH_REQUIRED` is `AuthRequired`."""
    return "".join(word.capitalize() for word in name.split("_"))


def errors(codes: Codes) -> str:
    """The enum of errors."""
    variants = "\n".join(
        f"/// {error.meaning}\n///\n/// {error.advice}\n{variant(error.name)}," for error in codes.errors
    )
    everything = ", ".join(f"Self::{variant(error.name)}" for error in codes.errors)
    names = "\n".join(f'Self::{variant(error.name)} => "{error.name}",' for error in codes.errors)
    by_code = {close.code: variant(close.name) for close in codes.closes}
    closing = "\n".join(
        f"Self::{variant(error.name)} => Some(CloseCode::{by_code[error.close]}),"
        for error in codes.errors
        if error.close is not None
    )
    return f"""
/// What an `error` message says in its field `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {{ {variants} }}

impl ErrorCode {{
/// All of them, in the order of the reference.
pub const ALL: &'static [Self] = &[{everything}];

/// The text on the wire.
#[must_use]
pub const fn as_str(self) -> &'static str {{ match self {{ {names} }} }}

/// The code with which the server then closes; None where the connection goes on.
#[must_use]
pub const fn close(self) -> Option<CloseCode> {{ match self {{ {closing} _ => None }} }}
}}
"""


def closes(codes: Codes) -> str:
    """The enum of closes."""
    variants = "\n".join(
        f"/// {close.meaning} Sent by {sender(close)}.\n///\n/// {close.advice}\n"
        f"{variant(close.name)} = {close.code},"
        for close in codes.closes
    )
    everything = ", ".join(f"Self::{variant(close.name)}" for close in codes.closes)
    names = "\n".join(f'Self::{variant(close.name)} => "{close.name}",' for close in codes.closes)
    parse = "\n".join(f"{close.code} => Some(Self::{variant(close.name)})," for close in codes.closes)
    answers = "\n".join(f"Self::{variant(close.name)} => {answer(close)}," for close in codes.closes)
    return f"""
/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CloseCode {{ {variants} }}

impl CloseCode {{
/// All of them, the lowest first.
pub const ALL: &'static [Self] = &[{everything}];

/// The number on the wire.
#[must_use]
pub const fn code(self) -> u16 {{ self as u16 }}

/// The name, as the reference spells it.
#[must_use]
pub const fn as_str(self) -> &'static str {{ match self {{ {names} }} }}

/// The code of that number; None if the table does not have it.
#[must_use]
pub const fn from_code(code: u16) -> Option<Self> {{ match code {{ {parse} _ => None }} }}

/// Whether a client comes back, and after how long.
#[must_use]
pub const fn reconnect(self) -> Reconnect {{ match self {{ {answers} }} }}
}}
"""


def answer(close: Close) -> str:
    """What a client does after one code."""
    kind = RECONNECT[close.reconnect]
    if kind == "Never":
        return "Reconnect::Never"
    return f"Reconnect::{kind} {{ min_ms: {close.min_ms:_}, max_ms: {close.max_ms:_} }}"


def reconnect(codes: Codes) -> str:
    """What a client does after a close."""
    backoff = codes.backoff
    unknown = Close(
        0, "", (), backoff.unknown_reconnect, "", "", backoff.unknown_min_ms, backoff.unknown_max_ms
    )
    return f"""
/// Whether a client comes back after a close.
///
/// The first attempt is made after a random time between `min_ms` and `max_ms`; both grow by
/// [`FACTOR`](Self::FACTOR) with each further attempt, up to [`MAX_MS`](Self::MAX_MS).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconnect {{
/// It stays away until a person wants it.
Never,
/// It comes back.
Backoff {{
/// The least wait of the first attempt, in milliseconds.
min_ms: u32,
/// The longest wait of the first attempt, in milliseconds.
max_ms: u32,
}},
/// It comes back with another token, and stays away with the same.
NewToken {{
/// The least wait of the first attempt, in milliseconds.
min_ms: u32,
/// The longest wait of the first attempt, in milliseconds.
max_ms: u32,
}},
}}

impl Reconnect {{
/// How much longer each further attempt waits.
pub const FACTOR: f64 = {float(backoff.factor)};
/// The longest wait between two attempts, in milliseconds.
pub const MAX_MS: u32 = {backoff.max_ms:_};
/// What holds for a code that the table does not have.
pub const UNKNOWN: Self = {answer(unknown).replace("Reconnect::", "Self::")};

/// What holds for any number that a close frame can carry.
#[must_use]
pub const fn after(code: u16) -> Self {{ match CloseCode::from_code(code) {{
Some(code) => code.reconnect(),
None => Self::UNKNOWN,
}} }}
}}
"""
