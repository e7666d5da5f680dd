"""The server that is measured, through the public API alone, so that it runs on earlier releases too.

Work, chosen by the second argument:

    flood   publish to the topic "bench" as fast as Python can, one message a call
    many    the same with ready strings, by `broadcast_many` where there is one, by a loop over them otherwise
    events  send events to CLIENTS clients in turn as fast as Python can, by `send_event`
    paced   publish RATE messages a second
    sink    count what clients send
    echo    send each text back to where it came from
    idle    do nothing but what keeps connections

Publishing begins when CLIENTS connections are subscribed. The harness talks to the process line by line, JSON
on stdin and stdout: first comes `{"ready": ...}`, then one answer for each request. When stdin ends, so does
the server; nothing is left behind by a harness that was killed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import resource
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from wse_server import RustWSEServer

TOPIC = "bench"
MISSED = "missed"
DRAIN_COUNT = 4096
DRAIN_FEW = 64
DRAIN_TIMEOUT_MS = 50
READY_STRINGS = 256
PUBLISHING = {"flood", "many", "paced"}
ORDER = (
    '{"c":"U","t":"order","p":{"seq":%d,"ts_us":%d,"customer":{"name":"Ada Example",'
    '"mail":"ada@example.org"},"lines":['
    '{"sku":"A-1001","title":"blue notebook, ruled","quantity":2,"price":4.25},'
    '{"sku":"B-2417","title":"fountain pen, medium nib","quantity":1,"price":32.5},'
    '{"sku":"C-0090","title":"ink, royal blue, 50 ml","quantity":3,"price":8.9}],'
    '"note":"please ring twice, the bell is quiet","currency":"EUR","paid":true}}'
)
SHORT = '{"seq":%d,"ts_us":%d,"pad":""}'
TICK = '{"c":"U","t":"tick","p":{"seq":%d,"ts_us":%d,"s":"ES","px":5234.75,"q":2,"pad":""}}'


class Bench:
    """One server and what it does with its clients."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.work: str = arguments.work
        self.clients: int = arguments.clients
        self.rate: float = arguments.rate
        self.filter: str = arguments.pattern
        self.acl: str = arguments.acl
        self.subscribe: bool = arguments.subscribe or self.work in PUBLISHING
        messages = {"order": ORDER, "tick": TICK, "short": SHORT}
        self.message: str = padded(messages[arguments.message], arguments.size)
        self.epoch = ""
        self.members: list[str] = []
        self.counts = {"joins": 0, "connects": 0, "disconnects": 0, "dicts": 0, "texts": 0, "published": 0}
        options: dict[str, Any] = {
            "max_connections": 50_000,
            "rate_limit_capacity": 1e12,
            "rate_limit_refill": 1e12,
            "max_inbound_queue_size": 1 << 20,
        }
        if arguments.recovery:
            options |= {"recovery_enabled": True, "recovery_memory_budget": arguments.budget}
        if arguments.presence:
            options["presence_enabled"] = True
        if arguments.jwt_secret:
            options["jwt_secret"] = arguments.jwt_secret.encode()
        self.server = RustWSEServer("127.0.0.1", arguments.port, **options)

    def start(self, port: int) -> None:
        """Start serving; returns when the port accepts, which the earlier release does not promise."""
        self.server.enable_drain_mode()
        self.server.start()
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        drain = {"sink": self.drain_counting, "echo": self.drain_echoing}.get(
            self.work, self.drain_connections
        )
        threading.Thread(target=drain, daemon=True).start()
        publish = {
            "flood": self.flood,
            "many": self.flood_many,
            "events": self.flood_events,
            "paced": self.pace,
        }.get(self.work)
        if publish:
            threading.Thread(target=publish, daemon=True).start()

    # The three loops differ so that each does nothing that its measurement is not about.

    def drain_connections(self) -> None:
        while True:
            # Few at a time: whoever publishes meanwhile needs the GIL as well.
            for kind, connection, data in self.server.drain_inbound(DRAIN_FEW, DRAIN_TIMEOUT_MS):
                if kind in {"connect", "auth_connect"}:
                    self.counts["connects"] += 1
                    if data == "member=1":
                        self.members.append(connection)
                        continue
                    if str(data).startswith("back"):
                        self.recover(connection)
                    # An attacker says so in its cookie; the one who is greedy wants to be subscribed.
                    elif self.subscribe and not str(data).startswith("hostile"):
                        self.restrict(connection)
                        self.server.subscribe_connection(connection, [self.filter])
                elif kind == "disconnect":
                    self.counts["disconnects"] += 1

    def recover(self, connection: str) -> None:
        """Serve a client that comes back with all that it missed."""
        self.server.subscribe_with_recovery(connection, [MISSED], recover=True, epoch=self.epoch, offset=0)

    def remember(self, messages: int) -> dict[str, Any]:
        """Publish what clients will come back for."""
        position = self.server.broadcast_many(MISSED, [TICK % (seq, 0) for seq in range(messages)])
        assert position is not None
        self.epoch = position.epoch
        return {"position": position.offset}

    def remember_topics(self, topics: int) -> dict[str, Any]:
        """Publish to so many topics, three times, what is more than the budget holds."""
        text = TICK % (0, 0)
        for _ in range(3):
            for number in range(topics):
                self.server.broadcast_local(f"topic:{number:012}:prices", text)
        return {"topics": self.server.health_snapshot()["recovery_topic_count"]}

    def restrict(self, connection: str) -> None:
        """Give a client its access list, which allows the topic and not all of the pattern."""
        if self.acl != "off":
            own = self.counts["connects"] if self.acl == "each" else 0
            self.server.set_topic_acl(connection, ["ben*", f"user:{own}:*"], ["bench:secret*"])

    def drain_counting(self) -> None:
        while True:
            dicts = texts = 0
            for kind, _, data in self.server.drain_inbound(DRAIN_COUNT, DRAIN_TIMEOUT_MS):
                if kind == "msg":
                    dicts += 1
                    if not isinstance(data, dict):
                        raise TypeError(f"a msg event holds {type(data)}")
                elif kind == "raw":
                    texts += 1
            self.counts["dicts"] += dicts
            self.counts["texts"] += texts

    def drain_echoing(self) -> None:
        send = self.server.send
        while True:
            for kind, connection, data in self.server.drain_inbound(DRAIN_COUNT, DRAIN_TIMEOUT_MS):
                if kind == "raw":
                    send(connection, data)

    def wait_for_subscribers(self) -> None:
        while self.server.get_topic_subscriber_count(self.filter) < self.clients:
            time.sleep(0.01)

    def flood(self) -> None:
        self.wait_for_subscribers()
        broadcast, counts, message = self.server.broadcast_local, self.counts, self.message
        for seq in itertools.count():
            broadcast(TOPIC, message % (seq, time.time_ns() // 1000))
            counts["published"] = seq + 1

    def flood_many(self) -> None:
        strings = [TICK % (seq, time.time_ns() // 1000) for seq in range(READY_STRINGS)]
        self.wait_for_subscribers()
        broadcast_many = getattr(self.server, "broadcast_many", None)
        broadcast = self.server.broadcast_local
        while True:
            if broadcast_many:
                broadcast_many(TOPIC, strings)
            else:
                for text in strings:
                    broadcast(TOPIC, text)
            self.counts["published"] += len(strings)

    def flood_events(self) -> None:
        while len(connections := self.server.get_connections()) < self.clients:
            time.sleep(0.01)
        send_event, counts = self.server.send_event, self.counts
        payload = {
            "order": 0,
            "symbol": "ES",
            "side": "buy",
            "price": 5234.75,
            "quantity": 2,
            "filled": 1.5,
            "open": True,
            "note": None,
            "customer": "Ada Example",
            "tags": ["new", "limit"],
        }
        # The same dict with another number each time: making one is no part of what is measured.
        event = {"t": "order_update", "p": payload}
        for number, connection in enumerate(itertools.cycle(connections)):
            payload["order"] = number
            send_event(connection, event)
            counts["published"] = number + 1

    def pace(self) -> None:
        self.wait_for_subscribers()
        start = time.perf_counter()
        for seq in itertools.count():
            self.server.broadcast_local(TOPIC, TICK % (seq, time.time_ns() // 1000))
            self.counts["published"] = seq + 1
            ahead = start + (seq + 1) / self.rate - time.perf_counter()
            if ahead > 0:
                time.sleep(ahead)

    def burst(self, kind: str, messages: int, size: int) -> dict[str, Any]:
        """Send each client `messages` of `size` bytes: all the same by topic, or its own by `send`."""
        body = "x" * (size - 30)
        if kind == "publish":
            for seq in range(messages):
                self.server.broadcast_local(TOPIC, f'{{"c":"U","n":{seq},"x":"{body}"}}')
        else:
            for client, connection in enumerate(self.server.get_connections()):
                for _ in range(messages):
                    self.server.send(connection, f'{{"c":"U","n":{client},"x":"{body}"}}')
        return {"sent": messages}

    def publish_among(self, patterns: int, seconds: float) -> dict[str, float]:
        """Time a publish that the only client hears, by one of so many patterns, or by its topic with 0."""
        (connection,) = self.server.get_connections()
        topic = "room:4711:said"
        others = [f"room:{n}:*" for n in range(10_000, 9_999 + patterns)]
        self.server.subscribe_connection(connection, ["room:4711:*", *others] if patterns else [topic])
        known = time_each(seconds / 2, lambda _: self.server.broadcast_local(topic, "x"))
        # A topic without receivers would cost less: each of these is heard.
        new = time_each(seconds / 2, lambda n: self.server.broadcast_local(f"room:4711:{patterns}:{n}", "x"))
        self.server.unsubscribe_connection(connection)
        return {"known_us": known, "new_us": new}

    def storm(self) -> None:
        """Let all members join one topic at once, and leave it a second later, again and again."""
        while True:
            for member in self.members:
                self.server.subscribe_connection(member, ["crowd"], presence_data={"name": "somebody"})
                self.counts["joins"] += 1
            time.sleep(1)
            for member in self.members:
                self.server.unsubscribe_connection(member, ["crowd"])
            time.sleep(1)

    def begin_storm(self) -> dict[str, float]:
        threading.Thread(target=self.storm, daemon=True).start()
        return {}

    def sends(self) -> dict[str, float]:
        """Tell how many messages were sent, to each client, and in how many writes."""
        lines = dict(
            line.rsplit(" ", 1) for line in self.server.prometheus_metrics().splitlines() if line[0] != "#"
        )
        names = {"messages": "wse_messages_sent_total", "writes": "wse_send_size_bytes_count"}
        return {key: float(lines[name]) for key, name in names.items()}

    def stats(self) -> dict[str, Any]:
        return {
            "at": time.perf_counter(),
            **self.counts,
            "connections": self.server.get_connection_count(),
            "subscribers": self.server.get_topic_subscriber_count(self.filter),
            "inbound_dropped": self.server.inbound_dropped_count(),
        }

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        do = request.pop("do")
        if do == "stats":
            return self.stats()
        if do == "burst":
            return self.burst(**request)
        requests: dict[str, Callable[..., dict[str, Any]]] = {
            "publish_among": self.publish_among,
            "remember": self.remember,
            "remember_topics": self.remember_topics,
            "storm": self.begin_storm,
            "sends": self.sends,
        }
        if do in requests:
            return requests[do](**request)
        raise ValueError(f"unknown request {do!r}; there are 'stats', 'burst', {', '.join(requests)}")


def time_each(seconds: float, call: Callable[[int], object]) -> float:
    """The time of a call in microseconds: the median of hundreds, of which the first does not count."""
    times: list[float] = []
    numbers = itertools.count()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        for number in itertools.islice(numbers, 100):
            call(number)
        times.append((time.perf_counter() - start) * 1e6 / 100)
    return statistics.median(times[1:])


def padded(message: str, size: int) -> str:
    """A message with its pad filled up to so many bytes once its two numbers are in it."""
    missing = size - len(message % (100_000, time.time_ns() // 1000))
    return message.replace('"pad":""', f'"pad":"{"x" * max(0, missing)}"')


def say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("port", type=int)
    parser.add_argument("work", choices=["flood", "many", "events", "paced", "sink", "echo", "idle"])
    parser.add_argument("--clients", type=int, default=1, help="subscribers to wait for before publishing")
    parser.add_argument("--rate", type=float, default=1000, help="messages a second of `paced`")
    parser.add_argument("--subscribe", action="store_true", help="subscribe every client to the topic")
    parser.add_argument("--pattern", default=TOPIC, help="what clients are subscribed to")
    parser.add_argument(
        "--acl", choices=["off", "equal", "each"], default="off", help="access lists of clients"
    )
    parser.add_argument(
        "--message", choices=["tick", "order", "short"], default="tick", help="what `flood` publishes"
    )
    parser.add_argument("--presence", action="store_true", help="track who is in a topic")
    parser.add_argument("--size", type=int, default=0, help="bytes to which a tick is filled up")
    parser.add_argument("--recovery", action="store_true", help="topics have history")
    parser.add_argument("--budget", type=int, default=1 << 28, help="bytes of all histories")
    parser.add_argument("--jwt-secret", default="", help="demand HS256 tokens made with this")
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    bench = Bench(arguments)
    bench.start(arguments.port)
    say({"ready": True, "python": platform.python_version(), "wse-server": version("wse-server")})
    for line in sys.stdin:
        say(bench.answer(json.loads(line)))
    # No clean stop: a server that hangs in one must not keep the harness waiting.
    os._exit(0)


if __name__ == "__main__":
    main()
