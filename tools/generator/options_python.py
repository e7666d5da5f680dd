"""The Python side of the options: data, a TypedDict, and the constructor in the native module's stub."""

from __future__ import annotations

from pathlib import Path

from . import python_text
from .header import notice
from .options import SOURCE, Option

PACKAGE = "python/wse_server/options"
ARGUMENTS = "python/wse_server/server_options.py"
STUB = "python/wse_server/_native.pyi"
BEGIN, END = "# <generated options>", "# </generated options>"

PYTHON_TYPES = {
    "integer": "int",
    "bytes": "int",
    "seconds": "float",
    "number": "float",
    "boolean": "bool",
    "text": "str | None",
    "secret": "bytes | str | None",
    "origins": "list[str] | tuple[str, ...] | None",
    "networks": "list[str] | tuple[str, ...]",
}

NEW_STUB = f'''"""The native module: the engine in Rust."""

from typing import Literal, Self, final

__all__ = ["RustWSEServer"]

@final
class RustWSEServer:
    {BEGIN}
    {END}
'''

PACKAGE_HEAD = '''"""The options of the server, as data for tools.

NOTICE
"""

from __future__ import annotations

IMPORTS
from wse_server.server_options import ServerOptions

__all__ = ["OPTIONS", "Option", "ServerOptions"]

'''

OPTION = '''"""What is said of one option.

NOTICE
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Option"]


@dataclass(frozen=True, slots=True)
class Option:
    """One option of the server, for whatever offers or explains it: a command line, a configuration file."""

    name: str
    """The keyword argument."""
    kind: Literal[
        KINDS
    ]
    """What its value is: `bytes` and `integer` are an `int`, `seconds` and `number` a `float`, a `choice` is
    one of `choices`, `text` a `str`, a `secret` is `bytes` or `str` and shown to nobody, `origins` and
    `networks` are lists of `str`."""
    default: bool | int | float | str | tuple[str, ...] | None
    """What holds when it is not given."""
    unit: str
    """What one of it is."""
    allowed: str
    """The values allowed, in the words of the error about all others."""
    minimum: int | float | None
    """The least number allowed; None for what is no number."""
    maximum: int | float | None
    """The greatest number allowed; None for what is no number."""
    choices: tuple[str, ...]
    """The values of a choice; empty for all others."""
    nullable: bool
    """Whether it may be None."""
    for_now: str | None
    """What is not built yet, in a sentence; None if all of it is."""
    group: str
    """The heading under which the reference lists it."""
    summary: str
    """What it is, in a sentence."""
    advice: str
    """How to choose it, and what must hold."""
'''

GROUP_HEAD = '''"""The options of the group GROUP.

NOTICE
"""

from __future__ import annotations

from wse_server.options.option import Option

__all__ = ["OPTIONS"]

'''

ARGUMENTS_HEAD = '''"""The options of the server, as types for checkers.

NOTICE
"""

from __future__ import annotations

from typing import Literal, TypedDict

__all__ = ["ServerOptions"]

'''


def package(options: list[Option]) -> dict[str, str]:
    """The package `wse_server.options`, a module for each group."""
    groups: dict[str, list[Option]] = {}
    for option in options:
        last = next(reversed(groups), None)
        if option.group in groups and option.group != last:
            raise SystemExit(
                f"{SOURCE}: {option.name}: the options of the group {option.group!r} are not together"
            )
        groups.setdefault(option.group, []).append(option)
    files = {f"{PACKAGE}/{module_name(group)}.py": one_group(group, own) for group, own in groups.items()}
    return {f"{PACKAGE}/__init__.py": all_groups(list(groups)), f"{PACKAGE}/option.py": one(options), **files}


def module_name(group: str) -> str:
    """The module of a group."""
    return group.lower().replace(" ", "_")


def all_groups(groups: list[str]) -> str:
    """What the package says."""
    names = [module_name(group) for group in groups]
    imports = ["from wse_server.options import (", *(f"    {name}," for name in sorted(names)), ")"]
    imports.append("from wse_server.options.option import Option")
    head = PACKAGE_HEAD.replace("NOTICE", notice(SOURCE)).replace("IMPORTS", "\n".join(imports))
    lines = [*head.splitlines(), "OPTIONS: tuple[Option, ...] = ("]
    lines += [f"    *{name}.OPTIONS," for name in names]
    return "\n".join([*lines, ")", '"""All options, in the order of the reference."""', ""])


def one(options: list[Option]) -> str:
    """What is said of an option."""
    kinds = sorted({option.type for option in options})
    told = ", ".join(python_text.string(kind) for kind in kinds)
    return OPTION.replace("NOTICE", notice(SOURCE)).replace("KINDS", told)


def one_group(group: str, options: list[Option]) -> str:
    """The module of a group."""
    head = GROUP_HEAD.replace("NOTICE", notice(SOURCE)).replace("GROUP", group)
    lines = [*head.splitlines(), "OPTIONS: tuple[Option, ...] = ("]
    for option in options:
        lines += entry(option)
    return "\n".join([*lines, ")", '"""In the order of the reference."""', ""])


def arguments(options: list[Option]) -> str:
    """The module `wse_server.server_options`."""
    head = ARGUMENTS_HEAD.replace("NOTICE", notice(SOURCE))
    return "\n".join([*head.splitlines(), "", *typed_dict(options), ""])


def typed_dict(options: list[Option]) -> list[str]:
    """The keyword arguments as a type."""
    lines = [
        "class ServerOptions(TypedDict, total=False):",
        '    """The keyword arguments of a server. Each may be left out."""',
        "",
    ]
    for option in options:
        lines.append(f"    {option.name}: {python_type(option)}")
        lines += python_text.docstring(f"{option.summary}\n\n{facts(option)}", 4)
    return lines


def python_type(option: Option) -> str:
    """The annotation of an option."""
    if option.type == "choice":
        return f"Literal[{', '.join(python_text.string(choice) for choice in option.choices)}]"
    return PYTHON_TYPES[option.type]


def facts(option: Option) -> str:
    """Default, unit, range, and what is not built yet."""
    default = python_text.literal(option.default)
    text = f"Default: {default}. Unit: {option.unit}. Allowed: {option.allowed}."
    return f"{text} {for_now(option)}" if option.waits else text


def for_now(option: Option) -> str:
    """What is not built yet, in a sentence or two."""
    return " ".join(filter(None, [f"Not built yet: for now it must be {option.built}.", option.for_now]))


def entry(option: Option) -> list[str]:
    """An option's entry in the table."""
    simple = {
        "name": option.name,
        "kind": option.type,
        "default": option.default,
        "unit": option.unit,
    }
    limits = {
        "minimum": option.minimum,
        "maximum": option.maximum,
        "choices": option.choices,
        "nullable": option.type in {"text", "secret", "origins"},
    }
    lines = ["    Option("]
    lines += [f"        {name}={python_text.literal(value)}," for name, value in simple.items()]
    lines += python_text.argument("allowed", option.allowed, 8)
    lines += [f"        {name}={python_text.literal(value)}," for name, value in limits.items()]
    if option.waits:
        lines += python_text.argument("for_now", for_now(option), 8)
    else:
        lines.append("        for_now=None,")
    for name in ("group", "summary", "advice"):
        lines += python_text.argument(name, getattr(option, name), 8)
    return [*lines, "    ),"]


def stub(root: Path, options: list[Option]) -> str:
    """The stub with its region written anew; all else in the file is written by hand."""
    file = root / STUB
    text = file.read_text(encoding="utf-8") if file.exists() else NEW_STUB
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{STUB}: the lines {BEGIN} and {END} are missing")
    return "\n".join([head + BEGIN, f"    # {notice(SOURCE)}", *constructor(options), f"    {END}{tail}"])


def constructor(options: list[Option]) -> list[str]:
    """`__new__`, which is what PyO3 makes of a constructor, with every option as a keyword argument."""
    lines = ["    def __new__(", "        cls,", "        host: str,", "        port: int,", "        *,"]
    for option in options:
        default = python_text.literal(option.default)
        lines.append(f"        {option.name}: {python_type(option)} = {default},")
    lines += [
        "    ) -> Self:",
        '        """Checks the options. Nothing is opened before `start`.',
        "",
        "        Args:",
        '            host: Address to listen on, such as "0.0.0.0" for all of IPv4.',
        "            port: Port to listen on; 0 lets the kernel choose one.",
    ]
    for option in options:
        first, *more = python_text.wrapped(f"{option.name}: {option.summary}", 12)
        lines += [first, *("    " + line for line in more)]
    return [
        *lines,
        "",
        "        Raises:",
        "            TypeError: There is no such option, or its value has another type.",
        "            ValueError: The value is not allowed, or two options do not go together.",
        "            NotImplementedError: The value asks for something that is not built yet.",
        '        """',
    ]
