"""One client, as handlers see it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from wse_server._typing import override
from wse_server.payloads import plain
from wse_server.types import ConnectionInfo, RecoveryResult, SubscribeResult

if TYPE_CHECKING:
    from wse_server._native import Position, RustWSEServer
    from wse_server.waiting import Waiting

__all__ = ["Connection"]

_LOGGER = logging.getLogger("wse_server")


class Connection:
    """A client that is connected, or was until a moment ago: then what is sent to it goes nowhere.

    There is one object for each connection, so that `attributes` may hold what the program wants to remember
    of it.
    """

    __slots__ = (
        "__weakref__",
        "_busy",
        "_claims",
        "_cookies",
        "_engine",
        "_held",
        "_id",
        "_is_open",
        "_jobs",
        "_lined_up",
        "_task",
        "_waiting",
        "attributes",
    )

    attributes: dict[str, Any]
    """For the program: whatever it wants to keep with the connection. Empty at first."""

    def __init__(
        self, engine: RustWSEServer, waiting: Waiting, conn_id: str, claims: dict[str, Any], cookies: str
    ) -> None:
        self._engine = engine
        self._waiting = waiting
        self._id = conn_id
        self._claims = claims
        self._cookies = cookies
        self._is_open = True
        self.attributes = {}
        # The dispatcher's: what is to be done for it, in order.
        self._jobs: deque[Any] = deque()
        self._busy = False
        self._lined_up = False
        self._held = False
        self._task: Any = None

    @property
    def id(self) -> str:
        """Its name, unique for all time, such as `get_connections` lists."""
        return self._id

    @property
    def user_id(self) -> str | None:
        """The `sub` of its token; None where no tokens are checked."""
        return self._claims.get("sub")

    @property
    def claims(self) -> Mapping[str, Any]:
        """All claims of its token, of the last one it has shown; empty where no tokens are checked."""
        return self._claims

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies of its upgrade request by name, as sent; not told where tokens are checked."""
        pairs = (pair.partition("=") for pair in self._cookies.split(";"))
        return {name.strip(): value.strip() for name, equals, value in pairs if equals}

    @property
    def is_open(self) -> bool:
        """Whether its end has not been heard of yet."""
        return self._is_open

    def info(self) -> ConnectionInfo | None:
        """What the engine knows of it: address, topics, queued bytes and so on; None once it is closed."""
        return self._engine.get_connection_info(self._id)

    # ---- Sending ----

    async def send(self, message: object, event: str | None = None) -> None:
        """Sends a message to this client alone.

        Args:
            message: A dict with a text `t` is a whole message, unless `event` is given; anything else is a
                payload: what JSON knows, dataclasses, pydantic models, msgspec structs, datetime, UUID and
                the like.
            event: The type of the message that carries the payload; None is "message".

        Raises:
            TypeError: Something in it has no JSON form.
            ValueError: A number is not finite, or the message is longer than max_outbound_queue_bytes.
        """
        if event is None and isinstance(message, dict) and isinstance(message.get("t"), str):
            whole = message
        else:
            whole = {"t": "message" if event is None else event, "p": message}
        try:
            self._engine.send_event(self._id, whole)
        except TypeError:
            self._engine.send_event(self._id, plain(whole))

    async def send_text(self, text: str) -> None:
        """Sends text as it is."""
        self._engine.send(self._id, text)

    async def send_bytes(self, data: bytes) -> None:
        """Sends a binary message."""
        self._engine.send_bytes(self._id, data)

    # ---- Topics ----

    async def subscribe(
        self,
        topics: str | list[str] | tuple[str, ...] | AbstractSet[str],
        *,
        presence: dict[str, Any] | None = None,
        queue_group: str | None = None,
        timeout: float = 1.0,
    ) -> SubscribeResult:
        """Subscribes it to a topic or pattern, or several; what is published afterwards comes.

        Args:
            topics: One or more; `*` in one is any run of characters, `?` one.
            presence: Makes its user present in the topics with these data, seen by their subscribers.
            queue_group: Makes it a member of this group of each topic: each message goes to one member.
            timeout: Seconds to wait, in a cluster, until all other nodes know.

        Returns:
            `subscribed`, `refused` with reasons, and `confirmed`, as
            [`subscribe_connection`][wse_server.RustWSEServer.subscribe_connection].

        Raises:
            TypeError, ValueError: As there.
        """
        names = [topics] if isinstance(topics, str) else topics
        return await self._waiting.call(
            self._engine.subscribe_connection, self._id, names, presence, queue_group, timeout
        )

    async def recover(self, positions: Mapping[str, Position | tuple[str, int]]) -> RecoveryResult:
        """Subscribes it to topics with history, each from the last message that it has.

        Args:
            positions: {topic: position of the last message}.

        Returns:
            As [`subscribe_with_recovery`][wse_server.RustWSEServer.subscribe_with_recovery].

        Raises:
            TypeError, ValueError: As there.
        """
        return await self._waiting.call(
            self._engine.subscribe_with_recovery, self._id, list(positions), True, None, None, positions
        )

    async def unsubscribe(
        self, topics: str | list[str] | tuple[str, ...] | AbstractSet[str] | None = None
    ) -> None:
        """Ends subscriptions, all of them without `topics`. What was published before still comes."""
        self._engine.unsubscribe_connection(self._id, [topics] if isinstance(topics, str) else topics)

    async def update_presence(self, data: dict[str, Any]) -> None:
        """Shows something else to the others, in every topic in which its user is present by it."""
        self._engine.update_presence(self._id, data)

    def set_acl(self, allow: list[str] | None = None, deny: list[str] | None = None) -> list[str]:
        """Gives it an access list; the subscriptions that it no longer allows end, and are returned.

        Args:
            allow: Topics and patterns; None is everything, an empty list nothing.
            deny: Topics and patterns that are not allowed whatever `allow` says.
        """
        return self._engine.set_topic_acl(self._id, allow, deny)

    def forget_authorizations(self) -> None:
        """Lets the rules be asked again before it publishes to a topic that they allowed before."""
        self._engine.forget_authorizations(self._id)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Closes it, behind everything that was sent to it before.

        What the codes mean to clients is in the reference.
        """
        self._engine.disconnect(self._id, code, reason)

    @override
    def __repr__(self) -> str:
        user = "" if self.user_id is None else f" of {self.user_id!r}"
        return f"<Connection {self._id}{user}{'' if self._is_open else ' closed'}>"


def refuse(connection: Connection, code: str, message: str, **more: object) -> None:
    """Tells a client what is wrong with what it sent.

    `more` goes beside the message, but for `cid`, which names what the error is about.
    """
    cid = more.pop("cid", None)
    timestamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    told = {"code": code, "message": message, **more, "timestamp": timestamp}
    error: dict[str, Any] = {"c": "WSE", "t": "error", "p": told}
    if isinstance(cid, str):
        error["cid"] = cid
    try:
        connection._engine.send_event(connection._id, error)
    except (TypeError, ValueError) as problem:
        # The words of a refusal are the program's: what is wrong with them must not harm anybody else.
        _LOGGER.error("an error for %r could not be told: %s", connection, problem)


def answer(connection: Connection, event: str, value: object, cid: object) -> None:
    """Gives a client what its handler returned."""
    message: dict[str, Any] = {"t": event, "p": value}
    if isinstance(cid, str):
        message["cid"] = cid
    try:
        connection._engine.send_event(connection._id, message)
    except TypeError:
        connection._engine.send_event(connection._id, plain(message))
