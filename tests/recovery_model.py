"""What recovery promises, said as plainly as can be: lists of messages, and who must get which of them."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

from sockets import TEXT, Client, parse_frames
from support import PATIENCE, start_server, wait_until
from wse_server import Position

TOPICS = ("a", "b", "c")
BUDGET = 131_072
TTL = 0.25
"""Seconds that a message stays, in the schedules in which messages expire."""


@dataclass
class Kept:
    """A message as the model keeps it."""

    offset: int
    text: str
    published: tuple[float, float]
    """The times before and after the call."""


@dataclass
class Log:
    """One topic."""

    epoch: str
    top: int = 0
    kept: list[Kept] = field(default_factory=list)


@dataclass
class Reader:
    """A client, what it must have got by the end, and where it stands when it does."""

    client: Client
    conn_id: str
    expects: dict[str, list[str]] = field(default_factory=dict)
    """The messages of each topic that it is subscribed to, or was."""
    hears: set[str] = field(default_factory=set)


class Schedule:
    """One random story on a server of its own; `run` fails where the server says something else."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311
        self.expires = self.random.random() < 0.1
        self.size = self.random.choice([1, 4, 16, 64])
        self.most = self.random.choice([3, 500])
        self.logs: dict[str, Log] = {}
        self.readers: list[Reader] = []
        self.places: dict[str, list[Position]] = {topic: [] for topic in TOPICS}
        """Positions that somebody once had."""
        self.number = 0
        self.node = start_server(
            shards=2,
            recovery_enabled=True,
            recovery_buffer_size=self.size,
            recovery_max_messages=self.most,
            recovery_memory_budget=BUDGET,
            recovery_ttl=TTL if self.expires else 300.0,
        )

    def run(self) -> None:
        with self.node:
            try:
                for _ in range(self.random.randint(10, 40)):
                    self.step()
                self.finish()
            finally:
                for reader in self.readers:
                    reader.client.close()

    def step(self) -> None:
        steps = [self.publish] * 6 + [self.publish_many] * 2 + [self.come] * 3 + [self.ask_again] * 2
        steps += [self.drop] * 2 + [self.leave, self.evict]
        steps += [self.restart] if self.random.random() < 0.2 else []
        steps += [self.expire] if self.expires else []
        self.random.choice(steps)()

    # ---- What happens ----

    def publish(self) -> None:
        topic = self.random.choice(TOPICS)
        text = self.message()
        before = time.monotonic()
        position = self.node.server.broadcast(topic, text)
        assert position is not None
        self.append(topic, position, [text], (before, time.monotonic()))

    def publish_many(self) -> None:
        topic = self.random.choice(TOPICS)
        texts = [self.message() for _ in range(self.random.randint(1, 20))]
        before = time.monotonic()
        position = self.node.server.broadcast_many(topic, texts)
        assert position is not None
        self.append(topic, position, texts, (before, time.monotonic()))

    def come(self) -> None:
        known = len(self.node.events.of("connect"))
        client = Client(self.node.port, "reader")
        _, conn_id, _ = self.node.events.wait("connect", count=known + 1)[known]
        self.readers.append(Reader(client, conn_id))
        self.subscribe(self.readers[-1])

    def ask_again(self) -> None:
        if self.readers:
            self.subscribe(self.random.choice(self.readers))

    def drop(self) -> None:
        """A client goes away, whatever was on its way to it."""
        if self.readers:
            reader = self.readers.pop(self.random.randrange(len(self.readers)))
            reader.client.reset()
            server = self.node.server
            wait_until(lambda: server.get_connection_info(reader.conn_id) is None, "a client that stays")

    def leave(self) -> None:
        if self.readers:
            reader = self.random.choice(self.readers)
            topic = self.random.choice(TOPICS)
            self.node.server.unsubscribe_connection(reader.conn_id, [topic])
            reader.hears.discard(topic)

    def evict(self) -> None:
        """Others need the whole budget: unused topics lose their epoch, the others their messages."""
        for number in range(24):
            self.node.server.broadcast(f"other {number}", '{"p":"' + "x" * 8000 + '"}')
        for topic, log in list(self.logs.items()):
            if any(topic in reader.hears for reader in self.readers):
                log.kept.clear()
            else:
                del self.logs[topic]

    def restart(self) -> None:
        self.node.server.stop()
        for reader in self.readers:
            reader.client.close()
        self.readers.clear()
        self.logs.clear()
        self.node.server.start()

    def expire(self) -> None:
        time.sleep(TTL * 1.1)

    # ---- What must follow ----

    def message(self) -> str:
        self.number += 1
        return f'{{"t":"m","n":{self.number},"p":"{"x" * self.random.choice([0, 0, 10, 300])}"}}'

    def append(self, topic: str, last: Position, texts: list[str], when: tuple[float, float]) -> None:
        log = self.logs.get(topic)
        if log is None:
            log = self.logs[topic] = Log(last.epoch)
            assert all(place.epoch != last.epoch for place in self.places[topic]), "an epoch came back"
        assert last == Position(log.epoch, log.top + len(texts))
        for text in texts:
            log.top += 1
            log.kept.append(Kept(log.top, text, when))
            for reader in self.readers:
                if topic in reader.hears:
                    reader.expects[topic].append(self.stamped(topic, log.epoch, log.top, text))
        self.places[topic].append(last)
        del log.kept[: -self.size]

    def stamped(self, topic: str, epoch: str, offset: int, text: str) -> str:
        return f'{{"tp":"{topic}","e":"{epoch}","o":{offset},"c":"U",{text[1:]}'

    def subscribe(self, reader: Reader) -> None:
        topic = self.random.choice(TOPICS)
        place = self.pick_place(topic)
        before = time.monotonic()
        answer = self.node.server.subscribe_with_recovery(
            reader.conn_id, [topic], recover=True, positions={topic: place} if place else {}
        )["topics"][topic]
        after = time.monotonic()
        assert answer["recoverable"]
        assert answer["epoch"] is not None
        assert answer["offset"] is not None
        log = self.logs.setdefault(topic, Log(answer["epoch"]))
        assert (answer["epoch"], answer["offset"]) == (log.epoch, log.top)
        self.places[topic].append(Position(log.epoch, log.top))
        allowed = self.outcomes(log, place, (before, after))
        outcome = log.kept[len(log.kept) - answer["count"] :] if answer["recovered"] else None
        assert outcome in allowed, (place, log.epoch, log.top, self.size, answer)
        missed = outcome or []
        assert answer["count"] == len(missed)
        stream = reader.expects.setdefault(topic, [])
        stream += [self.stamped(topic, log.epoch, each.offset, each.text) for each in missed]
        reader.hears.add(topic)

    def pick_place(self, topic: str) -> Position | None:
        """A position that somebody had, mostly; sometimes none, or one that nobody can have had."""
        places = self.places[topic]
        lot = self.random.random()
        if lot < 0.15 or not places:
            return None
        place = places[-1] if lot < 0.6 else self.random.choice(places)
        shift = self.random.choice([0, 0, 0, -1, -2, -5, 1, 7])
        return Position(place.epoch, max(0, place.offset + shift))

    def outcomes(
        self, log: Log, place: Position | None, asked: tuple[float, float]
    ) -> list[list[Kept] | None]:
        """What may be replayed, None for no recovery: one of them, or both where the clock decides."""
        if place is None or place.epoch != log.epoch or place.offset > log.top:
            return [None]
        after = [kept for kept in log.kept if kept.offset > place.offset]
        if len(after) < log.top - place.offset or len(after) > self.most:
            return [None]
        if not self.expires or not after:
            return [after]
        oldest = after[0].published
        expired = asked[0] - oldest[1] > TTL + 0.002
        lives = asked[1] - oldest[0] < TTL - 0.002
        return [None] if expired else [after] if lives else [after, None]

    def finish(self) -> None:
        """Everybody has got exactly what was for them, in the order of each topic."""
        for topic in TOPICS:
            text = self.message()
            position = self.node.server.broadcast(topic, text)
            assert position is not None
            now = time.monotonic()
            self.append(topic, position, [text], (now, now))
        for reader in self.readers:
            wanted = sum(len(stream) for stream in reader.expects.values())
            got: dict[str, list[str]] = {topic: [] for topic in reader.expects}
            frames = reader.client.frames(wanted, PATIENCE)
            reader.client.socket.setblocking(False)
            try:
                extra, _ = parse_frames(reader.client.read_now(1 << 20))
            except BlockingIOError:
                extra = []
            for frame in frames + extra:
                assert frame.opcode == TEXT, frame
                text = frame.payload.decode()
                got[text[7]].append(text)
            assert got == reader.expects
