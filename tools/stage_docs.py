#!/usr/bin/env python3
"""Brings together the pages that Sphinx builds.

python tools/stage_docs.py DIRECTORY    which is made anew
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from pages.stage import stage

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Writes the pages."""
    destination = Path(sys.argv[1])
    shutil.rmtree(destination, ignore_errors=True)
    stage(ROOT, destination)
    return 0


if __name__ == "__main__":
    sys.exit(main())
