"""A client for WSE servers that comes back by itself, and tells what it missed.

For asyncio::

    from wse_client import Client

    async with Client("wss://ws.example.com/wse") as client:
        async for message in client.subscribe("prices"):
            print(message.topic, message.payload)

[`SyncClient`][wse_client.SyncClient] is the same for programs without asyncio. The protocol without any input
or output is in [`wse_client.session`][wse_client.session.Session].
"""

from ._version import __version__
from .client import Client
from .codes import CloseCode, ErrorCode
from .errors import (
    AuthenticationError,
    ClientError,
    ClosedError,
    ConnectError,
    DroppedError,
    FellBehindError,
    OutcomeUnknownError,
    QueueFullError,
    RefusedError,
    SubscriptionError,
)
from .events import Connected, Disconnected, Trouble
from .messages import Gap, GapCause, Message, Position, Presence
from .options import ClientOptions
from .subscription import Subscription
from .sync import SyncClient, SyncSubscription

__all__ = [
    "AuthenticationError",
    "Client",
    "ClientError",
    "ClientOptions",
    "CloseCode",
    "ClosedError",
    "ConnectError",
    "Connected",
    "Disconnected",
    "DroppedError",
    "ErrorCode",
    "FellBehindError",
    "Gap",
    "GapCause",
    "Message",
    "OutcomeUnknownError",
    "Position",
    "Presence",
    "QueueFullError",
    "RefusedError",
    "Subscription",
    "SubscriptionError",
    "SyncClient",
    "SyncSubscription",
    "Trouble",
    "__version__",
]
