"""What `wse top` knows of a node: what it said last, and what that is per second since the time before."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wse_server.cli.address import Address
from wse_server.cli.errors import CliError
from wse_server.cli.exposition import parse
from wse_server.cli.health import Report, look
from wse_server.cli.probe import fetch

if TYPE_CHECKING:
    from wse_server.cli.api import Api

__all__ = ["Node", "Rates", "Sample", "Topic", "Watch", "take_sample", "topics_of"]

_COUNTERS = {
    "messages_in": "wse_messages_received_total",
    "messages_out": "wse_messages_sent_total",
    "bytes_in": "wse_bytes_received_total",
    "bytes_out": "wse_bytes_sent_total",
    "connects": "wse_connections_accepted_total",
    "rejected": "wse_connections_rejected_total",
    "slow_dropped": "wse_slow_client_messages_dropped_total",
    "slow_closed": "wse_slow_consumer_drops_total",
    "cpu": "wse_process_cpu_seconds_total",
}
_MEMORY = "wse_process_resident_memory_bytes"
# Topics whose subscribers are asked for: a page of the API's list.
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Sample:
    """What a node said.

    Attributes:
        at: When, on the monotonic clock.
        report: What it said of its health.
        counters: Counters by our names for them; empty where `/metrics` is not to be had.
        closes: Connections that ended, by close code.
        published: Messages of the busiest topics.
        memory: Bytes of its process that are in memory, None if it does not tell.
        subscribers: Subscribers by topic, None without an API key.
        trouble: What could not be asked for.
    """

    at: float
    report: Report
    counters: dict[str, float] = field(default_factory=dict)
    closes: dict[str, float] = field(default_factory=dict)
    published: dict[str, float] = field(default_factory=dict)
    memory: float | None = None
    subscribers: dict[str, int] | None = None
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Rates:
    """What happened each second between two samples; None where there were not two.

    Attributes:
        seconds: The time between them.
        counters: By our names.
        closes: By close code.
        published: By topic.
    """

    seconds: float
    counters: dict[str, float]
    closes: dict[str, float]
    published: dict[str, float]


@dataclass(frozen=True, slots=True)
class Node:
    """A node as it is shown.

    Attributes:
        address: Where it is.
        sample: What it said last; None if it was not asked yet.
        rates: What happened each second; None if it was not there twice in a row.
    """

    address: Address
    sample: Sample | None = None
    rates: Rates | None = None

    def after(self, sample: Sample) -> Node:
        """The node when it was asked once more."""
        before = self.sample
        if before is None or not before.report.healthy or not sample.report.healthy:
            return Node(self.address, sample)
        seconds = sample.at - before.at
        if seconds <= 0:
            return Node(self.address, sample, self.rates)
        return Node(
            self.address,
            sample,
            Rates(
                seconds,
                _each_second(before.counters, sample.counters, seconds),
                _each_second(before.closes, sample.closes, seconds),
                _each_second(before.published, sample.published, seconds),
            ),
        )


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it is shown.

    Attributes:
        name: Its name.
        rate: Messages each second, None if that is not known yet.
        messages: Messages since it has subscribers.
        subscribers: Subscribers at all nodes that were asked, None where nobody tells.
    """

    name: str
    rate: float | None
    messages: float
    subscribers: int | None


def _each_second(before: dict[str, float], now: dict[str, float], seconds: float) -> dict[str, float]:
    """What was counted each second. A counter that went back has begun anew, as a node does that restarts."""
    rates = {}
    for name, value in now.items():
        first = before.get(name, 0.0)
        rates[name] = (value - first if value >= first else value) / seconds
    return rates


def take_sample(address: Address, *, timeout: float, ca: str | None, api: Api | None) -> Sample:
    """Asks a node for everything. It never fails: what can't be had is told in the sample.

    Args:
        address: The node.
        timeout: Seconds for each answer.
        ca: PEM file with the authorities to trust; those of the system if None.
        api: Its HTTP API, where there is a key.
    """
    report = look(address, timeout=timeout, ca=ca)
    now = time.monotonic()
    if not report.healthy:
        return Sample(now, report)
    counters: dict[str, float] = {}
    closes: dict[str, float] = {}
    published: dict[str, float] = {}
    memory, trouble = None, None
    subscribers: dict[str, int] | None = None
    names = {metric: name for name, metric in _COUNTERS.items()}
    try:
        page = fetch(address, "/metrics", timeout=timeout, ca=ca)
        now = time.monotonic()
        if page.status != 200:
            trouble = f"/metrics answered {page.status}"
        for name, labels, value in parse(page.body.decode("utf-8", "replace") if page.status == 200 else ""):
            if not math.isfinite(value):
                continue
            if name in names:
                counters[names[name]] = value
            elif name == "wse_closes_total":
                closes[labels.get("code", "")] = value
            elif name == "wse_topic_messages_total":
                published[labels.get("topic", "")] = value
            elif name == _MEMORY:
                # 0 is told where the system does not tell it.
                memory = value or None
        if api is not None:
            answer = api.get(f"/api/topics?limit={_PAGE}")
            subscribers = {
                str(topic["topic"]): int(topic["subscribers"]) + int(topic.get("group_members", 0))
                for topic in answer["topics"]
            }
    except CliError as error:
        trouble = str(error)
    except (KeyError, TypeError, ValueError) as error:
        trouble = f"/api/topics can't be understood: {error!r}"
    return Sample(now, report, counters, closes, published, memory, subscribers, trouble)


def topics_of(nodes: Sequence[Node]) -> list[Topic]:
    """The topics of all nodes.

    A message is counted at each node where somebody hears its topic. So of several nodes the one with the
    most has the number of messages, and the sum would count them several times.

    Args:
        nodes: The nodes.
    """
    rates: dict[str, float] = {}
    messages: dict[str, float] = {}
    subscribers: dict[str, int] = {}
    asked = False
    for node in nodes:
        sample = node.sample
        if sample is None:
            continue
        for name, count in sample.published.items():
            messages[name] = max(messages.get(name, 0.0), count)
        if node.rates is not None:
            for name, rate in node.rates.published.items():
                rates[name] = max(rates.get(name, 0.0), rate)
        if sample.subscribers is not None:
            asked = True
            for name, number in sample.subscribers.items():
                subscribers[name] = subscribers.get(name, 0) + number
    return [
        Topic(name, rates.get(name), messages.get(name, 0.0), subscribers.get(name) if asked else None)
        for name in sorted(messages.keys() | subscribers.keys())
    ]


class Watch:
    """Asks nodes again and again, each in a thread of its own, so that a dead one delays no other.

    Args:
        addresses: The nodes.
        interval: Seconds between two questions.
        ca: PEM file with the authorities to trust; those of the system if None.
        key: The key of their HTTP API, if there is one.
    """

    def __init__(
        self, addresses: Sequence[Address], *, interval: float, ca: str | None, key: str | None
    ) -> None:
        self._interval = interval
        # A node that does not answer is told of soon, and one that is slow gets its time.
        self._timeout = min(max(interval, 1.0), 5.0)
        self._ca = ca
        self._key = key
        self._nodes = [Node(address) for address in addresses]
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._news = 0
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begins to ask, until it is stopped."""
        self._start(None)

    def ask_twice(self) -> None:
        """Asks each node twice, and waits for that. One that is not reached is not asked again."""
        self._start(2)
        for thread in self._threads:
            thread.join()

    def _start(self, times: int | None) -> None:
        self._threads = [
            threading.Thread(target=self._ask, args=[number, times], name=f"node-{number}", daemon=True)
            for number in range(len(self._nodes))
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Asks no more. Threads that wait for an answer end when it is there."""
        self._stopped.set()

    def nodes(self) -> tuple[list[Node], int]:
        """The nodes as they are now, and a number that is another one when something has changed."""
        with self._lock:
            return list(self._nodes), self._news

    def _ask(self, number: int, times: int | None) -> None:
        address = self._nodes[number].address
        with self._api(address) as api:
            due = time.monotonic()
            while not self._stopped.is_set():
                sample = take_sample(address, timeout=self._timeout, ca=self._ca, api=api)
                with self._lock:
                    self._nodes[number] = self._nodes[number].after(sample)
                    self._news += 1
                if times is not None:
                    times -= 1
                    if times == 0 or not sample.report.healthy:
                        return
                due = max(due + self._interval, time.monotonic())
                self._stopped.wait(due - time.monotonic())

    def _api(self, address: Address) -> Any:  # noqa: ANN401 - an Api, or a context with None
        from contextlib import nullcontext

        if self._key is None:
            return nullcontext()
        from wse_server.cli.api import Api

        return Api(address, self._key, timeout=self._timeout, ca=self._ca)
