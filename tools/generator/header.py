"""The first lines of every generated file, and the two formatters that make its layout final."""

from __future__ import annotations

import subprocess
from pathlib import Path

COMMAND = "python3 tools/generate.py"


def notice(source: str) -> str:
    """What a reader who opens the file first should know."""
    return f"Generated from {source} by `{COMMAND}`; edit that file and run it again."


def rustfmt(root: Path, text: str) -> str:
    """The text in the layout of rustfmt.toml."""
    command = ["rustfmt", "--edition", "2024", "--config-path", str(root), "--emit", "stdout"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=root, check=False)
    if done.returncode != 0:
        raise SystemExit(f"rustfmt refuses the generated code:\n{done.stderr}")
    return done.stdout
