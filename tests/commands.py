"""What clients do themselves, in tests: a command, its answer, and what a client has heard."""

from __future__ import annotations

import json
from typing import Any

from support import Peer, Running

Message = dict[str, Any]


def say(peer: Peer, kind: str, cid: str | None = None, /, **p: Any) -> None:
    message: Message = {"t": kind, "p": p}
    peer.send(message if cid is None else message | {"cid": cid})


def ask(peer: Peer, kind: str, cid: str | None = None, /, **p: Any) -> Message:
    """Sends a command and returns the next message."""
    say(peer, kind, cid, **p)
    return peer.receive_json()


def subscribe(peer: Peer, *topics: str, **more: Any) -> Message:
    """Subscribes and returns the payload of the answer."""
    answer = ask(peer, "subscription_update", action="subscribe", topics=list(topics), **more)
    assert (answer["c"], answer["t"], answer["v"]) == ("WSE", "subscription_update", 1), answer
    p: Message = answer["p"]
    return p


def unsubscribe(peer: Peer, *topics: str) -> Message:
    answer = ask(peer, "subscription_update", action="unsubscribe", topics=list(topics))
    p: Message = answer["p"]
    return p


def publish(running: Running, topic: str, *numbers: int) -> None:
    for n in numbers:
        running.server.broadcast(topic, json.dumps({"t": "n", "p": n}))


def heard(running: Running, peer: Peer) -> list[Message]:
    """What a client has heard up to now: a last message tells when that was everything."""
    running.server.send(peer.conn_id, '{"t":"[end]"}')
    messages: list[Message] = []
    while (message := peer.receive_json())["t"] != "[end]":
        messages.append(message)
    return messages


def numbers(messages: list[Message]) -> list[Any]:
    return [message["p"] for message in messages if message["t"] == "n"]


def is_alive(peer: Peer) -> bool:
    return bool(ask(peer, "ping", timestamp=1)["t"] == "PONG")
