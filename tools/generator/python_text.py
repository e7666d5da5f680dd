"""Python source in the layout that ruff's formatter leaves alone, without needing ruff."""

from __future__ import annotations

import textwrap

WIDTH = 110


def string(text: str) -> str:
    """A literal in double quotes, or in single ones where that saves escapes."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    escaped = text.replace("\\", "\\\\").replace(quote, "\\" + quote).replace("\n", "\\n")
    return f"{quote}{escaped}{quote}"


def literal(value: object) -> str:
    """A default or a limit as source."""
    if isinstance(value, str):
        return string(value)
    if isinstance(value, bool) or value is None:
        return repr(value)
    if isinstance(value, int):
        return f"{value:_}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, tuple):
        if not value:
            return "()"
        return "(" + ", ".join(literal(item) for item in value) + ("," if len(value) == 1 else "") + ")"
    return repr(value)


def argument(name: str, text: str, indent: int) -> list[str]:
    """`name="text",` on one line, or its text in parentheses over several."""
    pad = " " * indent
    line = f"{pad}{name}={string(text)},"
    if len(line) <= WIDTH:
        return [line]
    room = WIDTH - indent - 4
    return [f"{pad}{name}=(", *(f"{pad}    {part}" for part in parts(text, room)), f"{pad}),"]


def parts(text: str, room: int) -> list[str]:
    """The literals whose concatenation is the text, each at most `room` wide."""
    if len(string(text)) <= room:
        return [string(text)]
    # Every part but the last keeps the space that separates it from the next. Escapes make a part longer than
    # its text, so the width is lowered until all fit.
    for width in range(room - 3, 0, -1):
        lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
        literals = [string(line + " ") for line in lines[:-1]] + [string(lines[-1])]
        if all(len(part) <= room for part in literals):
            return literals
    raise SystemExit(f"a word is too long for a line: {text}")


def docstring(text: str, indent: int) -> list[str]:
    """A docstring: on one line where it fits, else its first sentence and the rest after an empty line."""
    pad = " " * indent
    text = text.replace("\\", "\\\\")
    if len(text) + indent + 6 <= WIDTH and not text.endswith('"'):
        return [f'{pad}"""{text}"""']
    summary, _, rest = text.partition("\n\n")
    lines = wrapped(summary, indent, first=3)
    if rest:
        lines += ["", *(line for part in rest.split("\n\n") for line in [*wrapped(part, indent), ""][:-1])]
    return [f'{pad}"""{lines[0].strip()}', *lines[1:], f'{pad}"""']


def wrapped(text: str, indent: int, first: int = 0) -> list[str]:
    """Lines of a paragraph; `first` columns of the first line are taken."""
    pad = " " * indent
    lines = textwrap.wrap("#" * first + text, WIDTH - indent, break_long_words=False, break_on_hyphens=False)
    return [pad + line for line in [lines[0][first:], *lines[1:]]]
