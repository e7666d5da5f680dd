#!/usr/bin/env python3
"""Writes what is generated from the declarations in spec/, or says what is stale.

    python3 tools/generate.py            write
    python3 tools/generate.py --check    print the stale files and exit with 1 if there are any

It needs rustfmt, which comes with the Rust toolchain. For the page on the command line it needs the built
package and click; without them that page is left alone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from generator import targets

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Writes or checks, and returns the exit status."""
    parser = argparse.ArgumentParser(description="Write what is generated from spec/, or say what is stale.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is stale")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to work on (default: this one)")
    arguments = parser.parse_args()

    stale = []
    for path, text in targets.all_files(arguments.root).items():
        file = arguments.root / path
        if file.exists() and file.read_text(encoding="utf-8") == text:
            continue
        stale.append(path)
        if not arguments.check:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")

    for path in stale:
        print(f"stale: {path}" if arguments.check else f"written: {path}")
    if stale and arguments.check:
        print("run: python3 tools/generate.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
