"""Which file is made from which declaration."""

from __future__ import annotations

from pathlib import Path

from . import (
    cli_markdown,
    client_version,
    codes,
    codes_markdown,
    codes_python,
    codes_rust,
    openapi_markdown,
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
    python_codes = codes_python.module(table)
    files = {
        options_rust.CORE: rustfmt(root, options_rust.core(declared)),
        options_rust.SPEC: rustfmt(root, options_rust.specs(declared)),
        options_rust.BINDING: rustfmt(root, options_rust.binding(declared)),
        **options_python.package(declared),
        options_python.ARGUMENTS: options_python.arguments(declared),
        options_python.STUB: options_python.stub(root, declared),
        options_markdown.PATH: options_markdown.page(declared),
        codes_rust.PATH: rustfmt(root, codes_rust.text(table)),
        **dict.fromkeys(codes_python.PATHS, python_codes),
        client_version.PATH: client_version.module(root),
        codes_markdown.PATH: codes_markdown.page(table),
        openapi_markdown.PATH: openapi_markdown.page(root),
    }
    command_line = cli_markdown.page(root)
    return files if command_line is None else {**files, cli_markdown.PATH: command_line}
