"""Presence in tests: who comes as whom, and what the program and the subscribers have heard of it."""

from __future__ import annotations

import time
from typing import Any

import jwt

from support import Peer, Running

SECRET = "a secret that has more than thirty-two bytes"
News = tuple[str, str, Any]
"""What a subscriber hears of presence: the word, the user, the data."""


def user(running: Running, name: str) -> Peer:
    """A client with a token of that user."""
    token = jwt.encode({"sub": name, "exp": int(time.time()) + 600}, SECRET, algorithm="HS256")
    # What is not read keeps no test waiting for the end of its client.
    peer = running.dial(token=token, close_timeout=0.1)
    assert peer.receive_json()["t"] == "server_ready"
    return peer


def show(running: Running, peer: Peer, data: dict[str, Any], *topics: str) -> None:
    """Subscribes a client with presence data."""
    answer = running.server.subscribe_connection(peer.conn_id, list(topics), presence_data=data)
    assert answer["subscribed"] == list(topics)


def told(running: Running, peer: Peer, topic: str | None = None) -> list[Any]:
    """What a client has heard up to now, presence as `News` (of one topic, or of all with their topics)."""
    running.server.send(peer.conn_id, '{"t":"end"}')
    heard: list[Any] = []
    while (message := peer.receive_json())["t"] != "end":
        if message["t"].startswith("presence_"):
            assert message["c"] == "WSE"
            assert set(message["p"]) == {"topic", "user_id", "data"}
            p = message["p"]
            news = (message["t"].removeprefix("presence_"), p["user_id"], p["data"])
            heard.append((p["topic"], *news) if topic is None else news)
            assert topic in (None, p["topic"])
        else:
            heard.append(message["t"])
    return heard


def by_topic(heard: list[Any]) -> dict[str, list[Any]]:
    """What happened in each topic, to somebody: between topics there is no order."""
    topics: dict[str, list[Any]] = {}
    for topic, word, _, data in heard:
        topics.setdefault(topic, []).append((word, data))
    return topics


def events(running: Running) -> list[tuple[str, str, str, Any]]:
    """What the program was told of presence so far: the word, the topic, the user, the data."""
    kinds = ("presence_join", "presence_leave")
    return [
        (kind.removeprefix("presence_"), data["topic"], data["user_id"], data["data"])
        for kind, _, data in running.events.of(*kinds)
    ]
