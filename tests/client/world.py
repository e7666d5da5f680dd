"""A client and a model of a server, a wire between them that can be cut, and a clock moved by hand."""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any

from client.model import Model
from client.oracle import Oracle
from wse_client import Gap, Message, Position
from wse_client.actions import Dial, HangUp, State
from wse_client.feeds import Feed
from wse_client.options import checked
from wse_client.outbox import Publication, Stage
from wse_client.session import Session

URL = "ws://model/wse"


class World:
    """The world.

    Args:
        seed: Of the client's delays.
        has_history: Whether the server numbers messages.
        options: Of the client.
    """

    def __init__(self, seed: int = 0, *, has_history: bool = True, **options: Any) -> None:
        self.now = 1000.0
        self.session = Session(checked([URL], options), Random(seed))  # noqa: S311 - delays are no secret
        self.oracles: dict[str, Oracle] = {}
        self.model = Model(self._published, self._stands, has_history=has_history)
        self.up: deque[str] = deque()
        """What is on the way to the server."""
        self.feeds: dict[str, Feed] = {}
        self.publications: list[Publication] = []
        self.dialled: list[Dial] = []
        self.hung_up: list[HangUp] = []
        self.events: list[Any] = []
        self.is_connected = False
        self.refuses = False
        """Whether attempts to connect fail."""
        self.session.open(self.now)
        self.settle()

    def _published(self, topic: str, position: Position) -> None:
        self.oracle(topic).publishes(position)

    def _stands(self, topic: str, position: Position) -> None:
        self.oracle(topic).stands(position)

    def oracle(self, topic: str) -> Oracle:
        """The judge of a topic."""
        return self.oracles.setdefault(topic, Oracle(topic))

    def settle(self) -> None:
        """Does what the session wants done, as its driver would."""
        while (action := self.session.poll_action()) is not None:
            if isinstance(action, Dial):
                self.dialled.append(action)
                self._dial()
            elif isinstance(action, HangUp):
                self.hung_up.append(action)
                self._forget()
        while (event := self.session.poll_event()) is not None:
            self.events.append(event)
        while (frame := self.session.poll_transmit(self.now)) is not None:
            assert isinstance(frame, str)
            self.up.append(frame)

    def _dial(self) -> None:
        if self.refuses:
            self.session.handle_dial_error(self.now, "nobody listens")
            return
        self.model.connected()
        self.is_connected = True
        self.session.handle_dialled(self.now)

    def _forget(self) -> None:
        self.is_connected = False
        self.up.clear()
        self.model.lost()

    def is_in(self, state: State) -> bool:
        """Whether the client is in a state."""
        return self.session.state is state

    # ---- What may happen ----

    def subscribe(self, topic: str, **arguments: Any) -> Feed:
        """The application subscribes."""
        feed = self.feeds[topic] = self.session.subscribe([topic], **arguments)
        self.settle()
        return feed

    def unsubscribe(self, topic: str) -> None:
        """The application has enough."""
        self.session.unsubscribe(self.feeds.pop(topic))
        self.settle()

    def publish(self, topic: str, *, resend: bool = False) -> None:
        """The client publishes."""
        self.publications.append(self.session.publish(topic, {"t": "n"}, resend=resend))
        self.settle()

    def carry_up(self, count: int = 1_000_000) -> None:
        """The wire carries so many messages to the server."""
        for _ in range(min(count, len(self.up))):
            self.model.handle(self.up.popleft())

    def carry_down(self, count: int = 1_000_000) -> None:
        """The wire carries so many messages to the client."""
        while count and self.model.down and self.is_connected:
            count -= 1
            self.session.handle_frame(self.now, self.model.down.popleft())
            self.settle()

    def cut(self, code: int | None = None) -> None:
        """The connection ends, and what is on the way is lost."""
        if self.is_connected:
            self._forget()
            self.session.handle_lost(self.now, code, "")
            self.settle()

    def restart(self) -> None:
        """The server starts anew."""
        self.cut(1012)
        self.model.restart()

    def pass_time(self, seconds: float) -> None:
        """Time passes, and what becomes due is done at its time."""
        end = self.now + seconds
        while (due := self.session.poll_timeout()) is not None and due <= end:
            self.now = max(self.now, due)
            self.session.handle_timeout(self.now)
            self.settle()
        self.now = end

    def read(self, topic: str, count: int = 1_000_000) -> list[Message | Gap]:
        """The application reads so many items, each of which is judged."""
        items: list[Message | Gap] = []
        while len(items) < count and (item := self.feeds[topic].inbox.take()) is not None:
            assert isinstance(item, Message | Gap)
            items.append(item)
            self.oracle(topic).hears(item)
        return items

    def calm_down(self) -> None:
        """Nothing happens any more but what is due, until all is carried and read."""
        self.carry_all()
        for topic in self.feeds:
            self.read(topic)

    def carry_all(self) -> None:
        """The wire carries everything, for as long as it takes a client to come back."""
        for _ in range(120):
            self.pass_time(1.0)
            while self.up or self.model.down:
                self.carry_up()
                self.carry_down()
        assert self.session.state is State.OPEN
        assert not self.up
        assert not self.model.down

    def judge(self) -> None:
        """Everything that was published was read or told, and what was said has come to its end."""
        for topic in self.feeds:
            self.oracle(topic).is_done()
        for publication in self.publications:
            assert publication.stage is Stage.DONE, publication
            if publication.error is None:
                assert any(publication.position in oracle.published for oracle in self.oracles.values())
        assert self.session.outbox.bytes == 0
