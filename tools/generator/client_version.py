"""The version of the client: that of the server, declared once in the workspace's Cargo.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path

from .header import notice

SOURCE = "Cargo.toml"
PATH = "python/wse_client/_version.py"


def module(root: Path) -> str:
    """The module `wse_client._version`."""
    declared = tomllib.loads((root / SOURCE).read_text(encoding="utf-8"))
    version = declared["workspace"]["package"]["version"]
    return f'''"""The version of this package.

{notice(SOURCE)}
"""

__version__ = "{version}"
'''
