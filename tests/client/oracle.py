"""The judge of a reader: every message once and in order, or told as a gap with its exact range."""

from __future__ import annotations

from wse_client import Gap, Message, Position


class Oracle:
    """Follows the reader of one topic.

    Args:
        topic: Its name.
    """

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.published: list[Position] = []
        """The truth: all that was published, in order."""
        self._index: dict[Position, int] = {}
        self._after: dict[Position, int] = {}
        """By position, the index of the first publication after it."""
        self._next = 0
        """The first publication that the reader has neither read nor been told of."""
        self.read = 0
        self.told = 0

    def publishes(self, position: Position) -> None:
        """Something was published."""
        assert position not in self._index, f"the truth has {position} twice"
        self._index[position] = len(self.published)
        self.published.append(position)
        self._after[position] = len(self.published)

    def stands(self, position: Position) -> None:
        """The topic stands at a position at which nothing was published: it has a new epoch."""
        self._after[position] = len(self.published)

    def begins_after(self, position: Position) -> None:
        """The reader need not have anything of what was published up to a position."""
        self._next = self._index_after(position)

    def hears(self, item: Message | Gap) -> None:
        """Judges what was read."""
        assert item.topic == self.topic, item
        if isinstance(item, Gap):
            self._hears_gap(item)
            return
        assert item.position is not None
        index = self._index[item.position]
        assert index == self._next, (
            f"{item} is publication {index} of {self.topic!r}, and {self._next} was next: "
            f"{self.published[self._next : self._next + 3]}"
        )
        self._next += 1
        self.read += 1

    def _hears_gap(self, gap: Gap) -> None:
        self.told += 1
        if gap.missed is None:
            # It goes on after `next`, wherever that is; nothing may be told or read twice.
            assert gap.next is not None, gap
            after = self._index_after(gap.next)
            assert after >= self._next, f"{gap} goes back to {after}, and {self._next} was next"
            self._next = after
            return
        assert gap.first is not None, gap
        assert gap.last is not None, gap
        assert gap.missed == gap.last - gap.first + 1, gap
        for offset in range(gap.first, gap.last + 1):
            index = self._index[Position(str(gap.epoch), offset)]
            assert index == self._next, f"{gap} names publication {index}, and {self._next} was next"
            self._next += 1

    def _index_after(self, position: Position) -> int:
        """The index of the first publication after a position, also where nothing was published at it."""
        if position in self._after:
            return self._after[position]
        return self._index.get(Position(position.epoch, position.offset + 1), len(self.published))

    def is_done(self) -> None:
        """Everything was read or told."""
        assert self._next == len(self.published), (
            f"of {self.topic!r} nobody has heard {self.published[self._next :][:5]}"
        )
