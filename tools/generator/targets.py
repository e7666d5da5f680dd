"""Which file is made from which declaration."""

from __future__ import annotations

from pathlib import Path

from . import codes, codes_rust, options, options_rust
from .header import rustfmt


def all_files(root: Path) -> dict[str, str]:
    """Every generated file: its path below the root and what it should hold."""
    declared = options.load(root)
    table = codes.load(root)
    return {
        options_rust.CORE: rustfmt(root, options_rust.core(declared)),
        codes_rust.PATH: rustfmt(root, codes_rust.text(table)),
        options_rust.BINDING: rustfmt(root, options_rust.binding(declared)),
    }
