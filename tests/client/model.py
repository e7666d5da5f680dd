"""A server of the protocol in the simplest words, for one client."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable
from typing import Any

from wse_client import Position

KEPT = 6
"""Messages that the model keeps of a topic."""


class Log:
    """The history of one topic: offsets go on when its epoch changes."""

    def __init__(self, epoch: str) -> None:
        self.chain = [(epoch, 0)]
        """Each epoch, with the offset after which it began."""
        self.floor = 0
        """The offset before the oldest entry."""
        self.entries: deque[tuple[Position, str]] = deque()

    @property
    def top(self) -> Position:
        """Where it stands."""
        epoch, began = self.chain[-1]
        return Position(epoch, max(began, self.floor + len(self.entries)))

    def append(self, frame: Callable[[Position], str]) -> Position:
        at = Position(self.top.epoch, self.top.offset + 1)
        self.entries.append((at, frame(at)))
        if len(self.entries) > KEPT:
            self.entries.popleft()
            self.floor += 1
        return at

    def change_epoch(self, epoch: str, *, is_known: bool) -> None:
        """Goes on under another epoch, with its entries or without them."""
        top = self.top.offset
        if not is_known:
            self.chain.clear()
            self.entries.clear()
            self.floor = top
        self.chain.append((epoch, top))

    def after(self, position: Position) -> list[tuple[Position, str]] | None:
        """What follows a position, None where that is not known."""
        ends = [*(began for _, began in self.chain[1:]), self.top.offset]
        for (epoch, began), end in zip(self.chain, ends, strict=True):
            if epoch == position.epoch and max(began, self.floor) <= position.offset <= end:
                return [entry for entry in self.entries if entry[0].offset > position.offset]
        return None


class Model:
    """The server.

    Args:
        published: Told of every publication.
        stands: Told of every new epoch.
        has_history: Whether it numbers messages.
    """

    def __init__(
        self,
        published: Callable[[str, Position], None],
        stands: Callable[[str, Position], None],
        *,
        has_history: bool = True,
    ) -> None:
        self.logs: dict[str, Log] = {}
        self.down: deque[str] = deque()
        """What is on the way to the client."""
        self.subscribed: set[str] = set()
        self.count = 0
        self.heard: list[dict[str, Any]] = []
        """What the client has said on this connection."""
        self._published = published
        self._stands = stands
        self._has_history = has_history
        self._epochs = 0

    # ---- What happens to it ----

    def connected(self) -> None:
        """A client has connected."""
        self.lost()

    def lost(self) -> None:
        """The connection has ended, and what was on the way with it."""
        self.down.clear()
        self.subscribed.clear()
        self.heard.clear()

    def restart(self) -> None:
        """It has started anew: all memory is gone."""
        self.lost()
        self.logs.clear()

    def publish(self, topic: str) -> Position:
        """Somebody publishes the next number."""
        self.count += 1
        body = f'"c":"U","t":"n","p":{self.count}'
        at = self._log(topic).append(lambda at: f'{{"tp":"{topic}","e":"{at.epoch}","o":{at.offset},{body}}}')
        self._published(topic, at)
        if self._hears(topic):
            self.down.append(self._log(topic).entries[-1][1])
        return at

    def fall_behind(self, topic: str) -> None:
        """The client is slow: what is on the way of a topic is dropped and told."""
        waiting = [frame for frame in self.down if json.loads(frame).get("tp") == topic]
        if not waiting:
            return
        first, last = json.loads(waiting[0]), json.loads(waiting[-1])
        if first["e"] != last["e"]:
            return
        self.down = deque(frame for frame in self.down if frame not in waiting)
        p = {"topic": topic, "epoch": first["e"], "from": first["o"], "to": last["o"]}
        self._say("gap", p | {"missed": last["o"] - first["o"] + 1})

    def change_epoch(self, topic: str, *, is_known: bool) -> None:
        """The topic goes on at another home, which has everything or can't know what it has."""
        log = self._log(topic)
        old = log.top
        log.change_epoch(self._new_epoch(), is_known=is_known)
        self._stands(topic, log.top)
        if self._hears(topic):
            if not is_known:
                self.down = deque(frame for frame in self.down if json.loads(frame).get("tp") != topic)
            self._say_epoch(topic, old, log.top, is_known=is_known)

    # ---- What the client says ----

    def handle(self, text: str) -> None:
        """Hears a message of the client and answers it."""
        message = json.loads(text)
        self.heard.append(message)
        p, cid = message.get("p", {}), message.get("cid")
        match message["t"]:
            case "client_hello":
                self._say("server_hello", self._greeting())
            case "subscription_update" if p["action"] == "subscribe":
                self._subscribe(p, cid)
            case "subscription_update":
                self.subscribed.difference_update(p["topics"])
                self._say(
                    "subscription_update", {"action": "unsubscribe", "success_topics": p["topics"]}, cid
                )
            case "publish":
                at = self.publish(p["topic"])
                self._say("publish", {"topic": p["topic"], "epoch": at.epoch, "offset": at.offset}, cid)
            case "ping":
                self._say("PONG", {})

    def _greeting(self) -> dict[str, Any]:
        return {
            "server_version": "model",
            "protocol_version": 1,
            "features": {"recovery": self._has_history},
            "limits": {"max_message_size": 65536, "rate_limit_capacity": 1e9, "rate_limit_refill": 1e9},
            "ping_interval": 25000,
            "connection_id": "model",
        }

    def _subscribe(self, p: dict[str, Any], cid: str | None) -> None:
        recovery: dict[str, Any] = {}
        replays: list[tuple[str, Position, list[tuple[Position, str]]]] = []
        for topic in p["topics"]:
            self.subscribed.add(topic)
            if not self._has_history or is_pattern(topic):
                continue
            log, asked = self._log(topic), p.get("recovery", {}).get(topic)
            had = log.top if asked is None else Position(asked["epoch"], asked["offset"])
            missed = None if asked is None else log.after(had)
            recovery[topic] = {
                "epoch": log.top.epoch,
                "offset": log.top.offset,
                "recovered": missed is not None,
                "count": len(missed or []),
            }
            replays.append((topic, had, missed or []))
        answer = {
            "action": "subscribe",
            "success_topics": p["topics"],
            "failed_topics": [],
            "recovery": recovery,
        }
        self._say("subscription_update", answer, cid)
        for topic, had, missed in replays:
            self._replay(topic, had, missed)

    def _replay(self, topic: str, had: Position, missed: list[tuple[Position, str]]) -> None:
        """Says what was missed, and between the epochs that a new one begins."""
        for at, frame in missed:
            if at.epoch != had.epoch:
                self._say_epoch(topic, had, Position(at.epoch, at.offset - 1), is_known=True)
            self.down.append(frame)
            had = at
        top = self._log(topic).top
        if missed and top.epoch != had.epoch:
            self._say_epoch(topic, had, top, is_known=True)

    def _say_epoch(self, topic: str, old: Position, new: Position, *, is_known: bool) -> None:
        p: dict[str, Any] = {"topic": topic, "epoch": old.epoch, "from": old.offset + 1}
        p |= {"to": old.offset, "missed": 0} if is_known else {"to": None, "missed": None}
        self._say("gap", p | {"next_epoch": new.epoch, "next_offset": new.offset})

    def _say(self, kind: str, p: dict[str, Any], cid: str | None = None) -> None:
        word = {"c": "WSE", "t": kind, "p": p, "v": 1}
        self.down.append(json.dumps(word if cid is None else word | {"cid": cid}))

    # ---- What it knows ----

    def _hears(self, topic: str) -> bool:
        return any(matches(wanted, topic) for wanted in self.subscribed)

    def _log(self, topic: str) -> Log:
        if topic not in self.logs:
            self.logs[topic] = Log(self._new_epoch())
            self._stands(topic, self.logs[topic].top)
        return self.logs[topic]

    def _new_epoch(self) -> str:
        self._epochs += 1
        return f"{self._epochs:08x}"


def is_pattern(topic: str) -> bool:
    return "*" in topic


def matches(wanted: str, topic: str) -> bool:
    return re.fullmatch(re.escape(wanted).replace(r"\*", ".*"), topic) is not None
