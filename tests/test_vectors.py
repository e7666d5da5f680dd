"""The conversations of `spec/vectors/protocol.json` with a running server. Rust replays the rest of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support import Peer, Running, wait_until

Factory = Callable[..., Running]

VECTORS = json.loads((Path(__file__).parent.parent / "spec" / "vectors" / "protocol.json").read_text())


def is_like(pattern: str) -> Callable[[object], bool]:
    return lambda heard: isinstance(heard, str) and re.fullmatch(pattern, heard) is not None


STANDS_FOR: dict[str, Callable[[object], bool]] = {
    "$number": lambda heard: isinstance(heard, (int, float)) and not isinstance(heard, bool),
    "$bool": lambda heard: isinstance(heard, bool),
    "$text": is_like(r".+"),
    "$time": is_like(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"),
    "$epoch": is_like(r"[0-9a-f]{8}"),
}


def name(message: dict[str, Any]) -> tuple[str, str | None]:
    """What tells a message from others that come at the same time."""
    return message["t"], message.get("cid")


class Conversation:
    """One exchange: a client, the program, and what stands for `$epoch`."""

    def __init__(self, running: Running, exchange: dict[str, Any]) -> None:
        self._running = running
        self._exchange = exchange
        self._epoch: str | None = None
        self._told = 0
        self._peer = self._dial()

    def _dial(self) -> Peer:
        peer = self._running.dial()
        if "acl" in self._exchange:
            self._running.server.set_topic_acl(peer.conn_id, **self._exchange["acl"])
        return peer

    def step(self, step: dict[str, Any]) -> None:
        """Does the one thing that a step says."""
        ((what, value),) = step.items()
        match what:
            case "says":
                self._peer.send(json.dumps(value).replace("$epoch", self._epoch or "$epoch"))
            case "hears":
                self.expect(self._peer.receive_json(), value)
            case "hears_in_any_order":
                expected = {name(message): message for message in value}
                heard = {name(message): message for message in [self._peer.receive_json() for _ in value]}
                assert heard.keys() == expected.keys()
                for which, message in heard.items():
                    self.expect(message, expected[which])
            case "publishes":
                self._running.server.broadcast(value["topic"], json.dumps(value["message"]))
            case "application":
                self._told += 1
                assert self._running.events.wait("msg", "raw", count=self._told)[-1][2] == value
            case "reconnects":
                self._peer.close()
                wait_until(lambda: not self._running.server.get_connections(), "the end of the connection")
                self._peer = self._dial()
            case _:
                pytest.fail(f"no such step: {step}")

    def expect(self, heard: object, expected: object) -> None:
        """Compares what was heard with what a vector says, in which some texts stand for what differs."""
        if isinstance(expected, dict):
            assert isinstance(heard, dict), heard
            assert heard.keys() == expected.keys(), f"{heard} for {expected}"
            for name, value in expected.items():
                self.expect(heard[name], value)
        elif isinstance(expected, str) and expected in STANDS_FOR:
            assert STANDS_FOR[expected](heard), f"{heard!r} for {expected}"
            if expected == "$epoch":
                self._epoch = self._epoch or str(heard)
                assert heard == self._epoch
        else:
            assert heard == expected

    def is_over(self) -> None:
        """Nothing more is heard, and the application is told nothing more."""
        self._peer.send("[end]")
        assert len(self._running.events.wait("msg", "raw", count=self._told + 1)) == self._told + 1
        self._running.server.send(self._peer.conn_id, "[end]")
        assert self._peer.receive() == "[end]"


@pytest.mark.parametrize("exchange", VECTORS["exchanges"], ids=lambda exchange: exchange["name"])
def test_the_server_speaks_as_the_vectors_say(server_factory: Factory, exchange: dict[str, Any]) -> None:
    conversation = Conversation(server_factory(**exchange["options"]), exchange)
    for step in exchange["steps"]:
        conversation.step(step)
    conversation.is_over()
