"""The version of this package.

Generated from Cargo.toml by `python3 tools/generate.py`; edit that file and run it again.
"""

__version__ = "0.1.0"
