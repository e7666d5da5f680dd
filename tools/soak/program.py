"""The process with the server, and a Python program that uses everything the server offers."""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from soak.plan import FLOODED, HOST, Plan
from wse_server import RustWSEServer

BODIES = {20: 500, 200: 500, 2000: 100, 40_000: 6}
"""Sizes of what is published, and how many of a size at most come in one burst."""


class Log:
    """Counts the lines of the engine on their way into a file, and keeps those that must not be."""

    def __init__(self, file: str) -> None:
        self.lines: Counter[str] = Counter()
        self.errors: list[str] = []
        handler = logging.FileHandler(file, mode="w")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        handler.addFilter(self._count)
        logger = logging.getLogger("wse_server")
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)

    def _count(self, record: logging.LogRecord) -> bool:
        self.lines[record.levelname] += 1
        if record.levelno >= logging.ERROR and len(self.errors) < 20:
            self.errors.append(record.getMessage())
        return True


class Program:
    """The program.

    Args:
        log_file: Where the lines of the engine go; the verdict points there.
    """

    def __init__(self, plan: Plan, log_file: str) -> None:
        self._plan = plan
        self._log = Log(log_file)
        self._server = RustWSEServer(HOST, 0, **plan.options())
        self._people: dict[str, str] = {}
        self._events: Counter[str] = Counter()
        self._numbers = dict.fromkeys(("steady", "everyone"), 0)
        self._floods = [0] * FLOODED
        self._pace = 1.0
        self._faults: list[str] = []
        self._over = threading.Event()
        self._busy = threading.Event()
        self._publishers: list[threading.Thread] = []
        self._turns = 0

    def start(self) -> int:
        """Starts the server and returns its port."""
        self._server.enable_drain_mode()
        self._server.start()
        threading.Thread(target=self._drain, name="drain", daemon=True).start()
        return self._server.port

    def _drain(self) -> None:
        while True:
            for kind, conn_id, data in self._server.drain_inbound(1024, 100):
                self._events[kind] += 1
                try:
                    self._hear(kind, conn_id, data)
                except Exception as error:  # noqa: BLE001 - told at the end; the program goes on, as programs do
                    self._fault(f"{kind}: {error!r}")

    def _hear(self, kind: str, conn_id: str, data: Any) -> None:  # noqa: ANN401 - as the event has it
        server = self._server
        if kind == "auth_connect":
            if conn_id in self._people:
                self._fault(f"{conn_id} connected twice")
            self._people[conn_id] = data
        elif kind == "disconnect":
            if self._people.pop(conn_id, None) is None:
                self._fault(f"{conn_id} disconnected without having connected")
        elif kind == "raw":
            if data.startswith("echo "):
                server.send(conn_id, data)
        elif kind == "bin":
            if data.startswith(b"echo "):
                server.send_bytes(conn_id, data)
        else:
            self._obey(conn_id, data["t"], data.get("p"))

    def _obey(self, conn_id: str, name: str, said: Any) -> None:  # noqa: ANN401 - JSON
        server = self._server
        match name:
            case "join":
                server.subscribe_connection(conn_id, said["topics"])
                server.send(conn_id, '{"c":"U","t":"joined"}')
            case "leave":
                server.unsubscribe_connection(conn_id, said["topics"])
            case "leave all":
                server.unsubscribe_connection(conn_id)
            case "kick":
                server.disconnect(conn_id, said["code"], "as you wish")

    def _fault(self, text: str) -> None:
        if len(self._faults) < 20:
            self._faults.append(text)

    def publish(self) -> None:
        """Begins to publish, with the numbers of the steady streams at 1."""
        self._over.clear()
        self._busy.set()
        self._numbers = dict.fromkeys(self._numbers, 0)
        self._turns += 1
        jobs: list[tuple[str, Callable[[random.Random], None], float, float]] = [
            ("steady", self._publish_steady, 0.05, 0.05),
            ("bursts", self._burst, 0.02, 0.4),
            ("hand", self._meddle, 0.01, 0.2),
        ]
        self._publishers = [threading.Thread(target=self._repeat, name=job[0], args=job) for job in jobs]
        for thread in self._publishers:
            thread.start()

    def _repeat(self, name: str, job: Callable[[random.Random], None], least: float, most: float) -> None:
        lots = self._plan.lots(name, self._turns)
        steady = name == "steady"
        while not self._over.wait(lots.uniform(least, most) * (1 if steady else self._pace)):
            if steady or self._busy.is_set():
                try:
                    job(lots)
                except Exception as error:  # noqa: BLE001 - told at the end
                    self._fault(f"{name}: {error!r}")

    def _publish_steady(self, lots: random.Random) -> None:
        self._numbers["steady"] += 1
        self._server.broadcast(
            "steady", f'{{"t":"steady","n":{self._numbers["steady"]},"p":"{"some words " * 20}"}}'
        )
        if lots.random() < 0.1:
            self._numbers["everyone"] += 1
            self._server.broadcast_all(f'{{"t":"everyone","n":{self._numbers["everyone"]}}}')

    def _burst(self, lots: random.Random) -> None:
        topic = min(lots.randrange(FLOODED), lots.randrange(FLOODED))
        size = lots.choice(list(BODIES))
        body = "words that repeat "[: size % 18 or 18] * (size // 18 + 1)
        texts = []
        for _ in range(lots.randint(1, BODIES[size])):
            self._floods[topic] += 1
            texts.append(f'{{"c":"U","t":"flood","s":{topic},"n":{self._floods[topic]},"p":"{body}"}}')
        if lots.random() < 0.3:
            for text in texts[:50]:
                self._server.broadcast(f"crowd.{topic}", text)
            self._floods[topic] -= len(texts[50:])
        else:
            self._server.broadcast_many(f"crowd.{topic}", texts)

    def _meddle(self, lots: random.Random) -> None:
        server = self._server
        everybody = server.get_connections()
        victims = [
            conn_id for conn_id in everybody if self._people.get(conn_id, "healthy").startswith("guest")
        ]
        if not victims:
            return
        conn_id = lots.choice(victims)
        match lots.randrange(12):
            case 0:
                server.disconnect(conn_id, lots.randint(4000, 4099), "by lot")
            case 1:
                server.unsubscribe_connection(conn_id)
            case 2:
                # None of the flooded ones: a reader who had lost it by lot would take it for a hole.
                server.subscribe_connection(conn_id, [f"aside.{lots.randrange(FLOODED)}", "aside.*"])
                server.broadcast(f"aside.{lots.randrange(FLOODED)}", "for a few")
            case 3:
                server.get_connection_info(conn_id)
                server.get_topic_subscriber_count(f"crowd.{lots.randrange(FLOODED)}")
            case 4:
                server.send_bytes(conn_id, bytes(lots.choice([0, 200, 70_000, 1_000_000])))
            case _:
                for _ in range(lots.choice([1, 1, 20])):
                    server.send(conn_id, '{"t":"word","p":"for you alone"}')

    def rest(self) -> None:
        """Leaves the crowd alone until `resume`; the steady streams go on."""
        self._busy.clear()

    def resume(self) -> None:
        """Takes up the crowd again."""
        self._busy.set()

    def hush(self) -> dict[str, int]:
        """Ends publishing and returns the last number of each steady stream."""
        self._over.set()
        for thread in self._publishers:
            thread.join()
        return self._numbers

    def state(self, pace: float) -> dict[str, Any]:
        """Takes the pace and returns what the server and the program know of themselves."""
        self._pace = pace
        return {
            "health": dict(self._server.health_snapshot()),
            "people": len(self._people),
            "events": dict(self._events),
            "faults": self._faults,
            "log": dict(self._log.lines),
            "log_errors": self._log.errors,
        }

    def stop(self) -> None:
        """Stops the server."""
        self._server.stop()


def main(pipe: Connection, plan: Plan, log_file: str) -> None:
    """What the process does."""
    program = Program(plan, log_file)
    while True:
        try:
            method, args = pipe.recv()
            pipe.send(getattr(program, method)(*args))
        except (EOFError, OSError):
            # The driver may have died in the middle of a run.
            program.hush()
            return
