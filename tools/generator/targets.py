"""Which file is made from which declaration."""

from __future__ import annotations

from pathlib import Path

from . import (
    codes,
    codes_markdown,
    codes_python,
    codes_rust,
    options,
    options_markdown,
    options_python,
    options_rust,
)
from .header import rustfmt


def all_files(root: Path) -> dict[str, str]:
    """Every generated file: its path below the root and what it should hold."""
    declared = options.load(root)
    table = codes.load(root)
    return {
        options_rust.CORE: rustfmt(root, options_rust.core(declared)),
        options_rust.BINDING: rustfmt(root, options_rust.binding(declared)),
        options_python.MODULE: options_python.module(declared),
        options_python.STUB: options_python.stub(root, declared),
        options_markdown.PATH: options_markdown.page(declared),
        codes_rust.PATH: rustfmt(root, codes_rust.text(table)),
        codes_python.PATH: codes_python.module(table),
        codes_markdown.PATH: codes_markdown.page(table),
    }
