"""Messages as `wse sub` writes them: a line for a person, or a line of JSON."""

from __future__ import annotations

import base64
import datetime
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from wse_client import Gap, Message, Presence

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["as_json", "as_line", "gap_in_words", "painted", "payload_of"]

# What the server adds to a message, beside its type and payload.
_STAMP = {"c", "t", "v", "tp", "e", "o"}
# JSON escapes what is below U+0020. A terminal obeys some of what is above as well.
_OBEYED = re.compile("[\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_LONGEST_COLOURED = 4096


def payload_of(content: dict[str, Any] | str | bytes) -> Any:  # noqa: ANN401 - whatever was published
    """What a message says: its field `p`, else all its fields but those of the protocol."""
    if isinstance(content, bytes):
        return {"base64": base64.b64encode(content).decode()}
    if isinstance(content, str):
        return content
    if "p" in content:
        return content["p"]
    return {name: value for name, value in content.items() if name not in _STAMP}


def as_json(item: Message | Presence, now: datetime.datetime) -> str:
    """A message, or who comes and goes, as one line of JSON.

    Args:
        item: What came.
        now: When it came, in UTC.
    """
    time = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    told: dict[str, Any]
    if isinstance(item, Presence):
        told = {"time": time, "topic": item.topic, "presence": item.kind, "user": item.user_id}
        told["data"] = dict(item.data)
    else:
        at = item.position
        told = {
            "time": time,
            "topic": item.topic,
            "type": item.type,
            "payload": payload_of(item.content),
            "epoch": None if at is None else at.epoch,
            "offset": None if at is None else at.offset,
            "recovered": item.is_recovered,
        }
    return json.dumps(told, ensure_ascii=False)


def as_line(item: Message | Presence, now: datetime.datetime) -> list[tuple[str, str]]:
    """The same for a person: parts of a line, each with its style.

    Args:
        item: What came.
        now: When it came, in local time.
    """
    parts = [(now.strftime("%H:%M:%S.%f")[:-3], "dim")]
    if isinstance(item, Presence):
        came = {"join": ("+", "green"), "leave": ("-", "red"), "update": ("~", "yellow")}
        sign, style = came[item.kind]
        parts += [(item.topic, "cyan"), (f"{sign} {_safe(item.user_id)}", style), (_compact(item.data), "")]
        return parts
    parts.append((item.topic or "?", "cyan"))
    if item.position is not None:
        parts.append((str(item.position), "dim"))
    if item.is_recovered:
        parts.append(("recovered", "yellow"))
    if item.type:
        parts.append((_safe(item.type), "bold"))
    parts.append((_compact(payload_of(item.content)), "json"))
    return parts


def painted(console: Console) -> Callable[[list[tuple[str, str]]], str]:
    """What makes a line of such parts: with colours where the console has them."""
    if not console.is_terminal or console.no_color or console.color_system is None:
        return lambda parts: " ".join(text for text, _ in parts)
    from rich.highlighter import JSONHighlighter
    from rich.text import Text

    json_colours = JSONHighlighter()

    def paint(parts: list[tuple[str, str]]) -> str:
        line = Text(end="")
        for number, (text, style) in enumerate(parts):
            if number:
                line.append(" ")
            if style == "json":
                said = Text(text)
                if len(text) <= _LONGEST_COLOURED:
                    json_colours.highlight(said)
                line.append_text(said)
            else:
                line.append(text, style)
        with console.capture() as captured:
            console.print(line, end="", soft_wrap=True)
        return captured.get()

    return paint


def gap_in_words(gap: Gap) -> str:
    """What is missing, in a line."""
    causes = {
        "server": "this client was slow, or a node took the history with it",
        "not_recovered": "the server no longer keeps what came meanwhile",
        "no_history": "the connection was lost, and there is no history",
        "hole": "no JSON objects",
        "overflow": "this client was slow",
    }
    missed = "messages" if gap.missed is None else f"{gap.missed:,} message{'' if gap.missed == 1 else 's'}"
    where = "" if gap.first is None else f" from {gap.epoch}:{gap.first}"
    until = "" if gap.last is None else f" to {gap.last}"
    return f"gap: {gap.topic or 'this client'}: {missed} missing{where}{until}: {causes[gap.cause.value]}"


def _compact(value: Any) -> str:  # noqa: ANN401 - whatever was published
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=dict)
    except (TypeError, ValueError):
        text = json.dumps(str(value))
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _safe(text: str) -> str:
    """A name from outside: as it is, or as JSON writes it where a terminal might obey it."""
    return text if text.isprintable() else _compact(text)
