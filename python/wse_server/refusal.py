"""How a handler says no."""

from __future__ import annotations

from wse_server.codes import ErrorCode

__all__ = ["Refusal"]


class Refusal(Exception):  # noqa: N818 - it is no error of the program
    """Raised by a handler or a rule: the client is told why it does not get what it asked for.

    Nothing is logged, for a client that asks for too much is no fault of the server.

    Args:
        message: What the client is told.
        code: One of [`ErrorCode`][wse_server.ErrorCode], or a word of your own.
    """

    def __init__(self, message: str, code: ErrorCode | str = ErrorCode.NOT_ALLOWED) -> None:
        super().__init__(message)
        self.message = message
        self.code = str(code)
