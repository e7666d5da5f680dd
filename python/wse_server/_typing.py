"""What type checkers know from `typing_extensions`, which need not be installed where programs run."""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["override"]

if TYPE_CHECKING:
    from typing_extensions import override
else:

    def override(method: object) -> object:
        """Marks a method that replaces one of a base class."""
        return method
