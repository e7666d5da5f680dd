"""Signatures from the type stub of the native module, for names whose own signatures have no types."""

from __future__ import annotations

import ast
import re
from pathlib import Path

# More keywords than this are a table's matter: those of `RustWSEServer` are in the reference of options.
MANY = 12
PRIVATE = re.compile(r"\b_[A-Z]\w+")


def read(stub: Path) -> dict[str, tuple[str, str | None]]:
    """Maps `name` and `Class.name` to the parameters (without self) and the type that is returned."""
    module = ast.parse(stub.read_text(encoding="utf-8"))
    aliases = {
        node.target.id: ast.unparse(node.value)
        for node in module.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None
    }
    found = {}
    for node in module.body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = signature(node, aliases)
        elif isinstance(node, ast.ClassDef):
            for member in node.body:
                if isinstance(member, ast.FunctionDef) and is_called(member):
                    name = node.name if member.name == "__new__" else f"{node.name}.{member.name}"
                    found[name] = signature(member, aliases)
    return found


def is_called(member: ast.FunctionDef) -> bool:
    """Whether it is no property, and not called with a table of options."""
    return not member.decorator_list and len(member.args.kwonlyargs) <= MANY


def signature(function: ast.FunctionDef, aliases: dict[str, str]) -> tuple[str, str | None]:
    """The parameters in brackets, and the type that is returned, with the stub's private names spelt out."""

    def spelt(node: ast.AST) -> str:
        return PRIVATE.sub(lambda name: aliases.get(name[0], name[0]), ast.unparse(node))

    for listed in (function.args.posonlyargs, function.args.args):
        listed[:] = [argument for argument in listed if argument.arg not in {"self", "cls"}]
    returned = None if function.name == "__new__" else function.returns
    return f"({spelt(function.args)})", None if returned is None else spelt(returned)
