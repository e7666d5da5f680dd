"""On a connection everything arrives once, in the order of the calls, and subscribed means subscribed."""

from __future__ import annotations

import json
import random
import re
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from server_process import Host, ServerProcess
from sockets import BINARY, CLOSE, TEXT, Client, Frame, read_together, server_frame
from support import PATIENCE, wait_until

PUBLISHERS = "abcd"
SUBSCRIBERS = 50
MESSAGES = 250_000
"""Of each publisher: a million in all, and fifty million deliveries."""


@pytest.fixture
def node() -> Iterator[ServerProcess]:
    # No pings, so that what comes is what was published.
    with ServerProcess(ping_interval=3600.0, idle_timeout=7200.0) as running:
        yield running


# ---- Four publishers ----


def counted(publisher: str) -> list[str]:
    """What a publisher says: its letter and a number of seven digits."""
    return [f"{publisher}{number:07}" for number in range(MESSAGES)]


def publish_from_threads(host: Host, topic: str) -> None:
    """All publish at once: two message by message, two in portions of odd sizes."""

    def one_by_one(publisher: str) -> None:
        for message in counted(publisher):
            host.server.broadcast(topic, message)

    def in_portions(publisher: str) -> None:
        messages = counted(publisher)
        for at in range(0, MESSAGES, 97):
            host.server.broadcast_many(topic, messages[at : at + 97])

    ways: list[Callable[[str], None]] = [one_by_one, in_portions, one_by_one, in_portions]
    start = threading.Barrier(len(PUBLISHERS))

    def run(way: Callable[[str], None], publisher: str) -> None:
        start.wait(PATIENCE)
        way(publisher)

    threads = [threading.Thread(target=run, args=pair) for pair in zip(ways, PUBLISHERS, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.slow
def test_four_publishers_keep_their_order_at_fifty_subscribers(node: ServerProcess) -> None:
    whole = len(server_frame(b"a0000000"))
    expected = {publisher: "".join(counted(publisher)).encode() for publisher in PUBLISHERS}
    patterns = {p: re.compile(b"\x81\x08(" + p.encode() + b"[0-9]{7})") for p in PUBLISHERS}
    seen: dict[str, dict[str, int]] = {}
    rest: dict[str, bytes] = {}

    def take(client: Client, data: bytes) -> bool:
        """Checks what came against what each publisher said next."""
        assert data, f"{client.name} was closed"
        data = rest.pop(client.name, b"") + data
        end = len(data) - len(data) % whole
        rest[client.name] = data[end:]
        at = seen.setdefault(client.name, dict.fromkeys(PUBLISHERS, 0))
        found = 0
        for publisher, pattern in patterns.items():
            part = b"".join(pattern.findall(data[:end]))
            start = at[publisher]
            assert part == expected[publisher][start : start + len(part)], (
                f"{client.name}, {publisher} from {start}"
            )
            at[publisher] += len(part)
            found += len(part)
        assert found == end // whole * 8, f"{client.name} got something that nobody sent"
        return sum(at.values()) == 8 * MESSAGES * len(PUBLISHERS)

    with ExitStack() as open_clients:
        clients = [open_clients.enter_context(Client(node.port, f"s{n}")) for n in range(SUBSCRIBERS)]
        node.subscribe({client.name: ["news"] for client in clients})
        published = node.begin(publish_from_threads, "news")
        read_together(clients, take, timeout=90)
        published.result(PATIENCE)
        # Nothing comes after that: what is sent now comes next.
        node.call("broadcast", "news", "the end")
        for client in clients:
            assert client.frames(1) == [Frame(TEXT, b"the end")]
    assert seen == {client.name: dict.fromkeys(PUBLISHERS, 8 * MESSAGES) for client in clients}


# ---- One connection, spoken to in every way ----

ROUNDS = 12
MIXED_CLIENTS = 6
LARGE = "x" * 40_000


def speak_in_every_way(host: Host, name: str, seed: int) -> list[tuple[int, str]]:
    """Speaks to one connection in all ways at random, closes it, and returns what it said, in order.

    Meanwhile others speak to others on the same shards, so that the connection's messages lie among theirs.
    """
    choice = random.Random(seed)  # noqa: S311 - a test repeats
    server, conn_id = host.server, host.conn_id(name)
    server.subscribe_connection(conn_id, [f"{name}/one", f"{name}/two", f"{name}/p*", "shared"])
    said: list[tuple[int, str]] = []
    for number in range(choice.randrange(500, 1500)):
        text = f"{number}" if choice.random() < 0.97 else f"{number} {LARGE}"
        way = choice.randrange(10)
        match way:
            case 0 | 1:
                server.send(conn_id, text)
            case 2:
                server.send_bytes(conn_id, text.encode())
            case 3 | 4:
                server.broadcast(f"{name}/one", text)
            case 5:
                server.broadcast_local(f"{name}/two", text)
            case 6:
                server.broadcast(f"{name}/p{number}", text)
            case 7:
                several = [f"{text} {part}" for part in range(choice.randrange(1, 5))]
                server.broadcast_many(f"{name}/{choice.choice(['one', 'two', 'pattern'])}", several)
                said += [(TEXT, part) for part in several]
                continue
            case 8:
                # Matches in two ways, and is to arrive once.
                server.subscribe_connection(conn_id, [f"{name}/*"])
                server.broadcast(f"{name}/one", text)
                server.unsubscribe_connection(conn_id, [f"{name}/*"])
            case _:
                # To all, so that the others must be able to tell that it is none of theirs.
                server.broadcast_all(f"{name}: {text}")
                text = f"{name}: {text}"
        said.append((BINARY if way == 2 else TEXT, text))
    server.disconnect(conn_id, 4001, f"after {len(said)}")
    # It is closed: none of this may follow.
    server.send(conn_id, "late")
    server.broadcast(f"{name}/one", "late")
    return said


def test_every_way_to_speak_to_a_connection_keeps_the_order_of_the_calls(node: ServerProcess) -> None:
    for turn in range(ROUNDS):
        with ExitStack() as open_clients:
            names = [f"{turn}-{n}" for n in range(MIXED_CLIENTS)]
            clients = [open_clients.enter_context(Client(node.port, name)) for name in names]
            spoken = [node.begin(speak_in_every_way, name, hash_of(name)) for name in names]
            with ThreadPoolExecutor(len(clients)) as pool:
                read = list(pool.map(Client.frames_to_the_end, clients))
            for client, (*frames, last), speaking in zip(clients, read, spoken, strict=True):
                said = speaking.result(PATIENCE)
                heard = [(opcode, payload.decode()) for opcode, payload in frames]
                mine = [
                    (opcode, text)
                    for opcode, text in heard
                    if ": " not in text or text.startswith(client.name)
                ]
                assert mine == said, first_difference(mine, said)
                assert last.opcode == CLOSE
                assert (last.close_code, last.payload[2:].decode()) == (4001, f"after {len(said)}")


def hash_of(name: str) -> int:
    """A seed that is the same in every run, unlike Python's own hash."""
    return int.from_bytes(name.encode())


def first_difference(heard: list[tuple[int, str]], said: list[tuple[int, str]]) -> str:
    """Names where two lists part, since whole lists say little."""
    at = next(
        (at for at, (a, b) in enumerate(zip(heard, said, strict=False)) if a != b), min(len(heard), len(said))
    )
    short = [
        [(opcode, text[:40]) for opcode, text in side[max(0, at - 2) : at + 3]] for side in (heard, said)
    ]
    return f"at {at} of {len(said)}: heard {short[0]}, said {short[1]}"


def test_json_keeps_its_order_between_messages_that_get_a_category_and_messages_that_have_one(
    node: ServerProcess,
) -> None:
    with Client(node.port, "reader") as client:
        node.subscribe({"reader": ["t"]})
        texts = [json.dumps({"n": n} if n % 3 else {"c": "WSE", "n": n}) for n in range(3000)]
        node.call("broadcast_many", "t", texts)
        frames = client.frames(len(texts))
        assert [json.loads(frame.payload)["n"] for frame in frames] == list(range(3000))
        assert {json.loads(frame.payload)["c"] for frame in frames} == {"U", "WSE"}


# ---- From when and until when ----

CYCLES = 170
RACERS = 12
"""Connections of each cycle: 2,000 subscriptions and as many ends of them race with two publishers."""


class Race:
    """Publishers that count how far they are, before and after each call."""

    def __init__(self, host: Host, topic: str) -> None:
        self.host, self.topic = host, topic
        self.begun = {"a": 0, "b": 0}
        self.done = {"a": 0, "b": 0}
        self.over = threading.Event()
        self._threads = [threading.Thread(target=self._publish, args=(letter,)) for letter in self.begun]
        for thread in self._threads:
            thread.start()

    def _publish(self, letter: str) -> None:
        number = 0
        while not self.over.is_set():
            number += 1
            self.begun[letter] = number
            self.host.server.broadcast(self.topic, f"{letter}{number}")
            self.done[letter] = number

    def moved_on(self, since: dict[str, int]) -> None:
        """Waits until both publishers have finished something that they began after `since`."""
        wait_until(
            lambda: all(self.done[letter] > since[letter] for letter in since), "the publishers stand still"
        )

    def finish(self) -> None:
        """Ends the publishers."""
        self.over.set()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a publisher hangs"


def subscribe_and_unsubscribe(host: Host, names: list[str]) -> list[list[dict[str, int]]]:
    """Lets the connections come and go on a topic with busy publishers.

    Returns, for each cycle, four marks: messages up to the first must not arrive, those after the second must
    up to the third, and those after the fourth must not.
    """
    sys.setswitchinterval(0.0001)
    server = host.server
    ids = [host.conn_id(name) for name in names]
    race = Race(host, "race")
    cycles = []
    for cycle in range(CYCLES):
        pattern = ["race"] if cycle % 2 else ["r?ce"]
        before = dict(race.done)
        for conn_id in ids:
            assert server.subscribe_connection(conn_id, pattern)["subscribed"] == pattern
        after = dict(race.begun)
        race.moved_on(after)
        until = dict(race.done)
        for conn_id in ids:
            server.unsubscribe_connection(conn_id, pattern if cycle % 3 else None)
        latest = dict(race.begun)
        for conn_id in ids:
            server.send(conn_id, f"cycle {cycle}")
        cycles.append([before, after, until, latest])
    race.finish()
    return cycles


@pytest.mark.slow
def test_a_subscription_holds_from_its_answer_until_its_end(node: ServerProcess) -> None:
    with ExitStack() as open_clients:
        names = [f"r{n}" for n in range(RACERS)]
        clients = [open_clients.enter_context(Client(node.port, name)) for name in names]
        racing = node.begin(subscribe_and_unsubscribe, names)
        heard: dict[str, list[bytes]] = {name: [] for name in names}

        last = server_frame(f"cycle {CYCLES - 1}".encode())

        def take(client: Client, data: bytes) -> bool:
            assert data, f"{client.name} was closed"
            heard[client.name].append(data)
            return b"".join(heard[client.name][-2:]).endswith(last)

        read_together(clients, take, timeout=90)
        cycles = racing.result(PATIENCE)
        for name in names:
            check_cycles(name, b"".join(heard[name]), cycles)


def check_cycles(name: str, stream: bytes, cycles: list[list[dict[str, int]]]) -> None:
    """Compares what a connection heard in each cycle with what it had to hear."""
    heard: dict[str, list[int]] = {"a": [], "b": []}
    texts = re.findall(rb"\x81[\x01-\x7d](cycle \d+|[ab]\d+)", stream)
    cycle = 0
    for text in texts:
        if not text.startswith(b"cycle"):
            heard[chr(text[0])].append(int(text[1:]))
            continue
        assert text == f"cycle {cycle}".encode(), f"{name}: {text!r} in place of cycle {cycle}"
        before, after, until, latest = cycles[cycle]
        for letter, numbers in heard.items():
            assert numbers, f"{name}, cycle {cycle}, {letter}: nothing was heard, marks {cycles[cycle]}"
            told = f"{name}, cycle {cycle}, {letter}: {numbers[:3]}...{numbers[-3:]}, marks {cycles[cycle]}"
            assert numbers == list(range(numbers[0], numbers[-1] + 1)), f"lost, doubled or moved: {told}"
            assert before[letter] < numbers[0] <= after[letter] + 1, f"began at the wrong place: {told}"
            assert until[letter] <= numbers[-1] <= latest[letter], f"ended at the wrong place: {told}"
            numbers.clear()
        cycle += 1
    assert cycle == len(cycles), f"{name} heard {cycle} of {len(cycles)} cycles"
