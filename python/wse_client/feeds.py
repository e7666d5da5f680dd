"""The subscriptions of a client: what is asked of the server for them, and which message is whose."""

from __future__ import annotations

import unicodedata
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ._typing import override
from .errors import SubscriptionError
from .inbox import Inbox, Overflow
from .messages import Message, Position, Presence
from .tracks import Track, is_pattern, regex_of

__all__ = ["Ask", "Feed", "Feeds", "Leave", "check_topic"]

TOPICS_OF_A_COMMAND = 1024
NO_HISTORY = (
    "the server keeps no history (recovery_enabled), so its messages do not say their topic and several "
    "subscriptions can't be told apart: subscribe to all topics with one call"
)


class Feed:
    """A subscription: one or more topics that one reader hears.

    Attributes:
        topics: As they were asked for.
        inbox: What waits for the reader.
        wake_ready: Called when `is_ready` becomes true.
    """

    def __init__(
        self,
        topics: tuple[str, ...],
        inbox: Inbox,
        *,
        queue_group: str | None,
        presence: Mapping[str, Any] | None,
        hears_presence: bool,
        positions: Mapping[str, Position],
    ) -> None:
        self.topics = topics
        self.inbox = inbox
        self.queue_group = queue_group
        self.presence = None if presence is None else dict(presence)
        self.hears_presence = hears_presence
        self.is_ready = False
        """Whether the server has answered for all topics at least once."""
        self.wake_ready: Callable[[], None] | None = None
        self.tracks = {
            topic: Track(topic, inbox, is_shared=queue_group is not None, position=positions.get(topic))
            for topic in topics
        }

    @property
    def has_ended(self) -> bool:
        """Whether nothing comes any more."""
        return self.inbox.has_ended

    def settle(self) -> None:
        """Looks whether the server has answered for all topics."""
        if not self.is_ready and all(track.is_live for track in self.tracks.values()):
            self.is_ready = True
            if self.wake_ready is not None:
                self.wake_ready()

    def end(self, error: Exception | None, *, clear: bool = False) -> None:
        """Ends it; its reader gets what waits, unless it is cleared, and then the error."""
        self.inbox.end(error, clear=clear)
        if self.wake_ready is not None:
            self.wake_ready()

    @override
    def __repr__(self) -> str:
        state = "ended" if self.has_ended else "ready" if self.is_ready else "waiting"
        return f"<Feed {', '.join(map(repr, self.topics))} {state}, {len(self.inbox)} to read>"


class Ask:
    """A command that subscribes topics of a feed."""

    def __init__(self, feed: Feed, topics: tuple[str, ...]) -> None:
        self.feed = feed
        self.topics = topics

    def command(self) -> dict[str, Any]:
        """What it says."""
        positions = {
            topic: track.recoverable for topic, track in self.feed.tracks.items() if topic in self.topics
        }
        known = {topic: position for topic, position in positions.items() if position is not None}
        p: dict[str, Any] = {"action": "subscribe", "topics": list(self.topics)}
        if known:
            p["recover"] = True
            p["recovery"] = {topic: {"epoch": at.epoch, "offset": at.offset} for topic, at in known.items()}
        if self.feed.presence is not None:
            p["presence"] = self.feed.presence
        if self.feed.queue_group is not None:
            p["queue_group"] = self.feed.queue_group
        return {"t": "subscription_update", "p": p}


class Leave:
    """A command that ends subscriptions. Without topics it does nothing but be answered."""

    def __init__(self, topics: tuple[str, ...]) -> None:
        self.topics = topics

    def command(self) -> dict[str, Any]:
        """What it says."""
        return {"t": "subscription_update", "p": {"action": "unsubscribe", "topics": list(self.topics)}}


class Feeds:
    """All subscriptions of a client."""

    def __init__(self) -> None:
        self.full: set[Inbox] = set()
        """Inboxes because of which the connection should not be read."""
        self._feeds: dict[Feed, None] = {}
        self._exact: dict[str, tuple[Feed, Track]] = {}
        self._patterns: dict[str, tuple[Feed, Track]] = {}
        self._asks: deque[Ask] = deque()
        self._to_leave: dict[str, None] = {}
        self._leaving: dict[str, int] = {}
        """Topics whose end was sent and is not answered: their messages belong to nobody."""
        self._is_up = False
        self._has_history = True

    def __iter__(self) -> Iterator[Feed]:
        return iter(self._feeds)

    def __len__(self) -> int:
        return len(self._feeds)

    # What the application wants.

    def add(
        self,
        topics: Sequence[str],
        *,
        limit: int,
        overflow: Overflow,
        queue_group: str | None = None,
        presence: Mapping[str, Any] | None = None,
        hears_presence: bool = False,
        positions: Mapping[str, Position] | None = None,
    ) -> Feed:
        """Makes a subscription. Nothing is made where an argument is wrong."""
        wanted = tuple(dict.fromkeys(topics))
        positions = dict(positions or {})
        self._check(wanted, queue_group, presence, positions)
        inbox = Inbox(limit, overflow, self.full)
        feed = Feed(
            wanted,
            inbox,
            queue_group=queue_group,
            presence=presence,
            hears_presence=hears_presence,
            positions=positions,
        )
        self._feeds[feed] = None
        for topic, track in feed.tracks.items():
            (self._patterns if track.is_pattern else self._exact)[topic] = (feed, track)
            self._to_leave.pop(topic, None)
        if self._is_up:
            self._ask(feed)
        return feed

    def _check(
        self,
        topics: tuple[str, ...],
        queue_group: str | None,
        presence: Mapping[str, Any] | None,
        positions: Mapping[str, Position],
    ) -> None:
        if not topics:
            raise ValueError("a subscription needs at least one topic")
        for topic in topics:
            check_topic(topic)
            if topic in self._exact or topic in self._patterns:
                raise ValueError(
                    f"{topic!r} is subscribed already; end that subscription first, or share its messages"
                )
            if queue_group is not None and is_pattern(topic):
                raise ValueError(
                    f"a queue group is of topics, and {topic!r} is a pattern (it has '*' or '?')"
                )
        if queue_group is not None and not 1 <= len(queue_group.encode()) <= 255:
            raise ValueError(f"a queue group has 1 to 255 bytes, and {queue_group[:40]!r} has not")
        if queue_group is not None and (presence is not None or positions):
            raise ValueError("a queue group can't be combined with presence or positions")
        for topic in positions:
            if topic not in topics or is_pattern(topic):
                raise ValueError(
                    f"a position needs to be of a topic of the subscription, and {topic!r} is none"
                )

    def remove(self, feed: Feed, error: Exception | None = None, *, clear: bool = False) -> None:
        """Ends a subscription."""
        if feed not in self._feeds:
            return
        del self._feeds[feed]
        for topic, track in feed.tracks.items():
            (self._patterns if track.is_pattern else self._exact).pop(topic, None)
            if self._is_up:
                self._to_leave[topic] = None
        self._asks = deque(ask for ask in self._asks if ask.feed is not feed)
        feed.end(error, clear=clear)

    # What goes to the server.

    def up(self, *, has_history: bool, limit: int) -> None:
        """A connection stands: everything is asked for.

        Args:
            has_history: Whether the server numbers messages.
            limit: Bytes that a command may have.
        """
        self._is_up = True
        self._has_history = has_history
        self._limit = limit
        for feed in list(self):
            self._ask(feed)

    def down(self) -> None:
        """The connection has ended."""
        self._is_up = False
        self._asks.clear()
        self._to_leave.clear()
        self._leaving.clear()
        for feed in self:
            for track in feed.tracks.values():
                track.lost()

    def _ask(self, feed: Feed) -> None:
        if not self._has_history and feed is not next(iter(self)):
            return self.remove(feed, SubscriptionError(feed.topics, "NO_HISTORY", NO_HISTORY))
        for topics in self._in_commands(feed.topics):
            self._asks.append(Ask(feed, topics))
        return None

    def _in_commands(self, topics: Iterable[str]) -> Iterator[tuple[str, ...]]:
        """Divides topics into commands that the server takes."""
        part: list[str] = []
        size = 0
        for topic in topics:
            # Twice: in the list and with its position. Each quotation mark in it may need a backslash.
            cost = 4 * len(topic.encode()) + 80
            if part and (len(part) == TOPICS_OF_A_COMMAND or size + cost > self._limit // 2):
                yield tuple(part)
                part, size = [], 0
            part.append(topic)
            size += cost
        yield tuple(part)

    @property
    def has_command(self) -> bool:
        """Whether there is something to say to the server."""
        return bool(self._to_leave or self._asks)

    def poll_command(self) -> Ask | Leave | None:
        """Returns the next command."""
        if self._to_leave:
            topics = tuple(self._to_leave)[:TOPICS_OF_A_COMMAND]
            for topic in topics:
                del self._to_leave[topic]
                self._leaving[topic] = self._leaving.get(topic, 0) + 1
            return Leave(topics)
        return self._asks.popleft() if self._asks else None

    # What the server answers.

    def asked(self, ask: Ask, p: Mapping[str, Any]) -> None:
        """Takes the answer to a command that subscribes."""
        if ask.feed not in self._feeds:
            return None
        errors = p.get("errors") or {}
        refused = tuple(topic for topic in ask.topics if topic in p.get("failed_topics", ()))
        if refused:
            error = errors.get(refused[0]) or {}
            code, detail = (
                str(error.get("code", "NOT_ALLOWED")),
                str(error.get("message", "the server did not say why")),
            )
            return self.remove(ask.feed, SubscriptionError(refused, code, detail))
        for topic in ask.topics:
            ask.feed.tracks[topic].answered(p.get("recovery", {}).get(topic))
        ask.feed.settle()
        return None

    def refused(self, ask: Ask, code: str, detail: str) -> None:
        """Takes an error as the answer to a command that subscribes."""
        self.remove(ask.feed, SubscriptionError(ask.topics, code, detail))

    def ask_again(self, command: Ask | Leave) -> None:
        """Asks again for what the server did not hear."""
        if isinstance(command, Leave):
            self.left(command)
            wanted = self._exact.keys() | self._patterns.keys()
            self._to_leave.update(dict.fromkeys(topic for topic in command.topics if topic not in wanted))
        elif command.feed in self._feeds:
            self._asks.append(command)

    def left(self, leave: Leave) -> None:
        """Takes the answer to a command that ends subscriptions."""
        for topic in leave.topics:
            count = self._leaving.get(topic, 0) - 1
            if count > 0:
                self._leaving[topic] = count
            else:
                self._leaving.pop(topic, None)

    # What comes.

    def offer(self, message: Message, size: int) -> bool:
        """Gives a message to whom it belongs. False if that is nobody."""
        topic = message.topic
        if topic is None:
            return self._offer_without_topic(message, size)
        if not self._patterns and (exact := self._exact.get(topic)) is not None:
            feed, track = exact
            track.offer(message, size)
            if feed.inbox.has_ended:
                self._end_if_full(feed)
            return True
        found = False
        for feed, track in self._heard_by(topic):
            track.offer(message, size)
            found = True
            self._end_if_full(feed)
        return found or any(is_meant(left, topic) for left in self._leaving)

    def _offer_without_topic(self, message: Message, size: int) -> bool:
        if self._has_history or not self._feeds:
            return False
        feed = next(iter(self))
        if isinstance(message.content, dict) and len(feed.topics) == 1 and not is_pattern(feed.topics[0]):
            message.topic = feed.topics[0]
        feed.inbox.push(message, size)
        self._end_if_full(feed)
        return True

    def gap(self, p: dict[str, Any]) -> None:
        """Takes the server's word for `gap`."""
        for feed, track in self._heard_by(str(p["topic"])):
            track.gap(p)
            self._end_if_full(feed)

    def presence(self, presence: Presence, size: int) -> None:
        """Takes the server's word on a user."""
        for feed, _ in self._heard_by(presence.topic):
            if feed.hears_presence:
                feed.inbox.push(presence, size)
                self._end_if_full(feed)

    def _heard_by(self, topic: str) -> list[tuple[Feed, Track]]:
        """Each subscription that hears the topic, once: by its own name rather than by a pattern."""
        exact = self._exact.get(topic)
        if not self._patterns:
            return [] if exact is None else [exact]
        found = {} if exact is None else {exact[0]: exact[1]}
        for feed, track in self._patterns.values():
            if feed not in found and track.matches(topic):
                found[feed] = track
        return list(found.items())

    def _end_if_full(self, feed: Feed) -> None:
        """An inbox ends itself where its reader fell behind; then the server is told."""
        if feed.inbox.has_ended:
            self.remove(feed, feed.inbox.error)


def is_meant(left: str, topic: str) -> bool:
    """Whether the end of `left` covers messages of `topic`."""
    return left == topic or (is_pattern(left) and regex_of(left).fullmatch(topic) is not None)


def check_topic(topic: str) -> None:
    """Refuses what is no topic and no pattern.

    Raises:
        TypeError: It is no text.
        ValueError: It is empty, has more than 255 bytes of UTF-8, or control characters.
    """
    if not isinstance(topic, str):
        raise TypeError(f"a topic is a str, and this is {type(topic).__name__}")
    size = len(topic.encode())
    if not 1 <= size <= 255:
        raise ValueError(f"a topic has 1 to 255 bytes, and {topic[:40]!r} has {size}")
    control = next((c for c in topic if unicodedata.category(c) == "Cc"), None)
    if control is not None:
        raise ValueError(f"a topic has no control characters, and {topic[:40]!r} has U+{ord(control):04X}")
