"""Where a subscription stands in one topic: what comes once more is dropped, what is missing is told."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any

from .inbox import Inbox
from .messages import Gap, GapCause, Message, Position

__all__ = ["Track", "is_pattern", "regex_of"]

TOPICS_OF_A_PATTERN = 10_000
"""Topics whose positions a pattern remembers; those that were silent for longest are forgotten first."""
GAP_BYTES = 64


def is_pattern(topic: str) -> bool:
    """Whether a topic stands for several."""
    return "*" in topic or "?" in topic


class Track:
    """A topic, or pattern, of a subscription.

    Args:
        topic: Its name.
        inbox: Where its messages go.
        is_shared: Whether it is heard as a member of a queue group, where offsets have holes by design.
        position: The last message that the application has; None to begin with the next one.
    """

    def __init__(self, topic: str, inbox: Inbox, *, is_shared: bool, position: Position | None) -> None:
        self.topic = topic
        self.position = position
        """The last message that was given to the reader's inbox."""
        self.began: Position | None = position
        """Where the subscription began."""
        self.is_live = False
        """Whether the server has answered on this connection.

        What comes before that comes again, or is told as a gap.
        """
        self.stood: Position | None = None
        """The last message of the topic when the server answered on this connection."""
        self.is_shared = is_shared
        self.is_pattern = is_pattern(topic)
        self._inbox = inbox
        self._was_live = False
        self._regex = regex_of(topic) if self.is_pattern else None
        self._heard: OrderedDict[str, Position] = OrderedDict()
        self._fresh: set[str] = set()
        """Topics of the pattern that were heard on this connection."""

    def matches(self, topic: str) -> bool:
        """Whether a message of this topic is meant for it."""
        return self.topic == topic if self._regex is None else self._regex.fullmatch(topic) is not None

    @property
    def recoverable(self) -> Position | None:
        """The position to go on from; None where the server can't be asked for that."""
        return None if self.is_pattern or self.is_shared else self.position

    def lost(self) -> None:
        """The connection has ended."""
        self.is_live = False
        self._fresh.clear()

    # What the server answers.

    def answered(self, recovery: dict[str, Any] | None) -> None:
        """The server has subscribed it; `recovery` is what the answer says of its position, if anything."""
        asked, was_live = self.recoverable, self._was_live
        self.is_live = self._was_live = True
        self.stood = None
        if recovery is None:
            self.position = None
            if (was_live or asked is not None) and not self.is_shared:
                self._tell(Gap(self.topic, GapCause.NO_HISTORY))
            return
        self.stood = stands = Position(str(recovery["epoch"]), int(recovery["offset"]))
        if asked is None:
            self.position = stands
            self.began = self.began or stands
        elif recovery.get("recovered") is not True:
            self.position = stands
            self._tell(between(self.topic, GapCause.NOT_RECOVERED, asked, stands))
        elif recovery.get("count") == 0:
            self.position = stands

    # What comes.

    def offer(self, message: Message, size: int) -> None:
        """Takes a message of a topic that it matches."""
        if not self.is_live:
            return
        at = message.position
        if at is None or message.topic is None or self.is_shared:
            self._inbox.push(message, size)
            return
        known = self._known(message.topic) if self.is_pattern else self.position
        if known is not None:
            is_of_epoch = known.epoch == at.epoch
            if is_of_epoch and at.offset <= known.offset:
                return
            is_next = is_of_epoch and at.offset == known.offset + 1
            if not is_next and self._must_follow(message.topic):
                before = Position(at.epoch, at.offset - 1)
                self._tell(between(message.topic, GapCause.HOLE, known, before))
        if self.is_pattern:
            self._set(message.topic, at)
        else:
            self.position = at
            stood = self.stood
            message.is_recovered = stood is not None and stood.epoch == at.epoch and at.offset <= stood.offset
        self._inbox.push(message, size)

    def gap(self, p: dict[str, Any]) -> None:
        """Hears from the server what does not come."""
        if not self.is_live:
            return
        topic, epoch, missed = str(p["topic"]), p.get("epoch"), p.get("missed")
        if epoch is None:
            self._tell(Gap(topic, GapCause.SERVER, missed=missed))
            return
        first, last = int(p["from"]), p.get("to")
        after = next_position(p)
        known = self._known(topic)
        if known is None or self.is_shared:
            known = Position(str(epoch), first - 1)
        if missed is None:
            after = after or known
            gap = Gap(topic, GapCause.SERVER, None, known.epoch, known.offset + 1, None, after)
        elif known.epoch != epoch:
            # It is about a numbering that this client has not heard of: what came before it is lost as well.
            after = after or Position(str(epoch), int(last or first))
            gap = Gap(topic, GapCause.SERVER, None, known.epoch, known.offset + 1, None, after)
        else:
            # Of what is said to be missing the client may have a part, and miss more before it.
            end = Position(str(epoch), max(int(last or first - 1), known.offset))
            gap = between(topic, GapCause.SERVER, known, end)
            after = after or end
        self._set(topic, after)
        if gap.missed != 0:
            self._tell(gap)

    def _known(self, topic: str) -> Position | None:
        return self._heard.get(topic) if self.is_pattern else self.position

    def _must_follow(self, topic: str) -> bool:
        """Whether the next message has to follow the last: not where nobody was listening in between."""
        return not self.is_pattern or topic in self._fresh

    def _set(self, topic: str, position: Position) -> None:
        if not self.is_pattern:
            self.position = position
            return
        self._heard[topic] = position
        self._heard.move_to_end(topic)
        self._fresh.add(topic)
        if len(self._heard) > TOPICS_OF_A_PATTERN:
            forgotten, _ = self._heard.popitem(last=False)
            self._fresh.discard(forgotten)

    def _tell(self, gap: Gap) -> None:
        self._inbox.push(gap, GAP_BYTES)


def between(topic: str, cause: GapCause, had: Position, stands: Position) -> Gap:
    """The gap of a client that had one position and stands at another."""
    if had.epoch != stands.epoch or stands.offset < had.offset:
        return Gap(topic, cause, None, had.epoch, had.offset + 1, None, stands)
    return Gap(topic, cause, stands.offset - had.offset, had.epoch, had.offset + 1, stands.offset, stands)


def next_position(p: dict[str, Any]) -> Position | None:
    """Where a topic goes on, if a `gap` says that it goes on elsewhere."""
    if p.get("next_epoch") is None:
        return None
    return Position(str(p["next_epoch"]), int(p["next_offset"]))


def regex_of(pattern: str) -> re.Pattern[str]:
    """What a pattern means: `*` any run of characters, `?` one."""
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.compile("".join(parts), re.DOTALL)
