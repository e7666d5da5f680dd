"""What can go wrong, as exceptions. All are `ClientError`s."""

from __future__ import annotations

__all__ = [
    "AuthenticationError",
    "ClientError",
    "ClosedError",
    "ConnectError",
    "DroppedError",
    "FellBehindError",
    "OutcomeUnknownError",
    "QueueFullError",
    "RefusedError",
    "SubscriptionError",
]


class ClientError(Exception):
    """Anything that this package raises beyond `TypeError`, `ValueError` and `TimeoutError`."""


class ClosedError(ClientError):
    """The client is closed and does not come back by itself.

    Attributes:
        code: The close code that ended it, from the server or given to `close`; None where no connection was
            there to be closed.
        reason: Why, in words.
    """

    def __init__(self, reason: str, code: int | None = None) -> None:
        super().__init__(reason if code is None else f"{reason} (close code {code})")
        self.code = code
        self.reason = reason


class AuthenticationError(ClosedError):
    """The server refuses the token, and there is no other to try."""


class ConnectError(ClosedError):
    """No server could be reached, or none of them is one that this client can use."""


class RefusedError(ClientError):
    """The server did not do what was asked. The connection goes on.

    Attributes:
        code: One of `ErrorCode`, or a text that this release does not know.
        detail: The server's words: what was wrong and what is allowed.
        retry_after: Seconds after which the same may be asked again; None where the server does not say.
    """

    def __init__(self, what: str, code: str, detail: str, retry_after: float | None = None) -> None:
        super().__init__(f"{what}: {code}: {detail}")
        self.code = code
        self.detail = detail
        self.retry_after = retry_after


class SubscriptionError(RefusedError):
    """A subscription was refused, when it was made or when the client came back.

    Attributes:
        topics: The topics that were refused. The others of the same subscription have ended with them.
    """

    def __init__(self, topics: tuple[str, ...], code: str, detail: str) -> None:
        super().__init__(f"no subscription to {', '.join(map(repr, topics))}", code, detail)
        self.topics = topics


class FellBehindError(ClientError):
    """Messages came faster than they were read, and the subscription has `overflow="error"`."""


class QueueFullError(ClientError):
    """There is no room for what should be sent: `publish_queue_bytes` wait already."""


class DroppedError(ClientError):
    """A publication made room for newer ones before it was sent: `publish_overflow="drop_oldest"`."""


class OutcomeUnknownError(ClientError):
    """The connection was lost between a command and its answer: it was done, or it was not."""
