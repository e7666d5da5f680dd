"""Measure messages that go through one hop of a cluster, beside the same without and the earlier release.

python3 benches/hop.py                 everything, a few minutes
python3 benches/hop.py --only flood    some of: flood, latency, idle, history, stored, failover, back, topics

Two cores are needed: the publisher's node and the clients on one, the node with the subscribers on the other.
With history there are three nodes, the home of the topic is not the publisher's, and one replica holds what
is delivered. failover: one of three nodes is killed, stopped or frozen while another stores messages in a
dozen topics, or has been killed and stores them itself when it is back. back: a thousand clients go on from a
position at a node that has nothing of the topic. topics: five nodes with 100,000 topics each, what that costs
and how soon a sixth knows all.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from wsebench import proc, sides
from wsebench.process import Child, DiedError, pairs

NODE = Path(__file__).resolve().parent / "node.py"
PUBLISHER_CPU, SUBSCRIBERS_CPU = 0, 1
SUBSCRIBERS = 100
NODES = 12
BACK, MISSED = 1000, 100
RATE = 1000.0


class Node(Child):
    """A node in a process of its own, on one core."""

    def __init__(self, python: str, cpu: int, role: str, *rest: str) -> None:
        self.port, self.rest = proc.free_port(), rest
        # What runs from a script's directory finds its modules first: an installed build is what is measured.
        super().__init__([python, "-P", str(NODE), role, str(self.port), *rest], cpu)

    def expect(self, word: str, timeout: float = 30) -> None:
        line = self.line(timeout)
        if not line.startswith(word):
            raise DiedError(f"{self.name} said {line!r} instead of {word!r}")

    def go(self) -> None:
        self.tell("go")

    def tell(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()


@contextmanager
def pair(python: str, rate: float, *, hop: bool) -> Iterator[tuple[Node, Node]]:
    """The node that publishes and the one with the subscribers; without a hop one node is both."""
    with ExitStack() as stack:
        if not hop:
            node = stack.enter_context(Node(python, SUBSCRIBERS_CPU, "publish", "0", str(rate)))
            node.expect("ready")
            yield node, node
            return
        first, second = proc.free_port(), proc.free_port()
        listener = Node(python, SUBSCRIBERS_CPU, "listen", str(first), f"127.0.0.1:{second}")
        stack.enter_context(listener)
        publisher = Node(python, PUBLISHER_CPU, "publish", str(second), f"127.0.0.1:{first}", str(rate))
        stack.enter_context(publisher)
        for node in (listener, publisher):
            node.expect("ready")
        for node in (listener, publisher):
            node.expect("meets")
        yield publisher, listener


@contextmanager
def history() -> Iterator[None]:
    """Nodes that are started in the block keep histories."""
    os.environ["NODE_HISTORY"] = "1"
    try:
        yield
    finally:
        del os.environ["NODE_HISTORY"]


@contextmanager
def several(python: str, role: str, argument: float, count: int = 3) -> Iterator[list[Node]]:
    """A publisher and nodes that listen, with histories."""
    ports = [proc.free_port() for _ in range(count)]
    addresses = [f"127.0.0.1:{port}" for port in ports]
    with ExitStack() as stack:
        with history():
            publisher = Node(python, PUBLISHER_CPU, role, str(ports[0]), *addresses[1:], str(argument))
            nodes = [stack.enter_context(publisher)]
            for at in range(1, count):
                others = [address for address in addresses if address != addresses[at]]
                node = Node(python, SUBSCRIBERS_CPU, "listen", str(ports[at]), *others)
                nodes.append(stack.enter_context(node))
        for word in ("ready", "meets"):
            for node in nodes:
                node.expect(word)
        publisher.tell("find")
        topic = publisher.line(60)
        nodes[1].tell(topic)
        yield nodes


@contextmanager
def three(python: str, role: str, argument: float) -> Iterator[tuple[Node, Node]]:
    """A publisher and a node with subscribers of a topic whose home is the third node, or the second."""
    with several(python, role, argument) as (publisher, listener, _):
        yield publisher, listener


@dataclass
class Bench:
    """What a run was asked for."""

    wsload: Path
    seconds: float
    python: str
    earlier: str | None

    def load(self, mode: str, clients: int, rate: float, *, hop: bool, python: str = "") -> dict[str, float]:
        """What clients receive from the node with the subscribers."""
        with pair(python or self.python, rate, hop=hop) as (publisher, listener):
            return self.load_from(publisher, listener, mode, clients)

    def load_from(self, publisher: Node, listener: Node, mode: str, clients: int) -> dict[str, float]:
        where = ["127.0.0.1", str(listener.port), "/wse"]
        command = [str(self.wsload), mode, *where, str(clients), str(self.seconds), "", ""]
        environment = {"WSLOAD_SEQ": "1", "WSLOAD_WINDOW": "64", "WSLOAD_SRVPID": str(listener.pid)}
        with Child(command, PUBLISHER_CPU, environment) as child:
            child.line(60)
            publisher.go()
            return pairs(child.line(self.seconds + 60))

    def flood(self) -> dict[str, float]:
        """Deliveries a second to a hundred subscribers."""
        hop = self.load("fanout", SUBSCRIBERS, 0, hop=True)["frames_per_s"]
        without = self.load("fanout", SUBSCRIBERS, 0, hop=False)["frames_per_s"]
        row = {"hop": hop, "without": without, "ratio to without": hop / without}
        if self.earlier:
            try:
                result = self.load("fanout", SUBSCRIBERS, 0, hop=True, python=self.earlier)
                row |= {"earlier": result["frames_per_s"], "ratio to earlier": hop / result["frames_per_s"]}
            except (DiedError, KeyError, ZeroDivisionError) as error:
                print(f"the earlier release: {error}", file=sys.stderr)
        return row

    def latency(self) -> dict[str, float]:
        """Microseconds from the publisher to one subscriber, and what a raw socket takes."""
        loads = {"hop": self.load("latency", 1, RATE, hop=True)}
        loads["without"] = self.load("latency", 1, RATE, hop=False)
        command = [str(sides.BUILD / "pingpong"), "100", "5000", "1000"]
        raw = pairs(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        row: dict[str, float] = {}
        for key in ("p50", "p99"):
            row |= {f"{name} {key}": result[f"{key}_ms"] * 1000 for name, result in loads.items()}
            row[f"added {key}"] = row[f"hop {key}"] - row[f"without {key}"]
            row[f"raw {key}"] = raw[f"{key}_us"]
        row["added p50 to raw"] = row["added p50"] / row["raw p50"]
        return row

    def history(self) -> dict[str, float]:
        """Deliveries a second of a topic with history to a hundred subscribers."""
        with three(self.python, "publish", 0) as (publisher, listener):
            hop = self.load_from(publisher, listener, "fanout", SUBSCRIBERS)["frames_per_s"]
        row = {"history": hop}
        if self.earlier:
            result = self.load("fanout", SUBSCRIBERS, 0, hop=True, python=self.earlier)
            row |= {"earlier without": result["frames_per_s"], "ratio": hop / result["frames_per_s"]}
        return row

    def stored(self) -> dict[str, float]:
        """Microseconds until a message is stored, and how many a second if many are published at once."""
        with three(self.python, "store", self.seconds) as (publisher, _):
            publisher.go()
            said = pairs(publisher.line(2 * self.seconds + 60))
        command = [str(sides.BUILD / "pingpong"), "100", "5000", "1000"]
        raw = pairs(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        row = {
            "p50": said["p50_us"],
            "p99": said["p99_us"],
            "a second": said["per_s"],
            "raw p50": raw["p50_us"],
        }
        return row | {"p50 to raw": row["p50"] / row["raw p50"]}

    def failover(self) -> dict[str, float]:
        """Milliseconds that the longest message waited to be stored while a node went, one way or another."""
        row = {}
        for how, seconds in (("killed", 3.0), ("stopped", 3.0), ("frozen", 14.0)):
            with several(self.python, "watch", seconds) as (publisher, _, goes):
                publisher.go()
                time.sleep(1)
                if how == "stopped":
                    goes.tell("stop")
                else:
                    goes.process.send_signal(signal.SIGKILL if how == "killed" else signal.SIGSTOP)
                row[how] = pairs(publisher.line(seconds + 90))["worst_ms"]
                if how == "frozen":
                    goes.process.send_signal(signal.SIGCONT)
        row["returned"] = self.returned(4.0)
        return row

    def returned(self, seconds: float) -> float:
        """The same of messages at a node that was killed and has come back."""
        with several(self.python, "watch", 0) as (_, _, goes):
            goes.process.kill()
            goes.process.wait()
            with history(), Node(self.python, SUBSCRIBERS_CPU, "watch", *goes.rest, str(seconds)) as again:
                for word in ("ready", "meets"):
                    again.expect(word)
                again.go()
                return pairs(again.line(seconds + 90))["worst_ms"]

    def back(self) -> dict[str, float]:
        """Milliseconds until a thousand clients have what they missed of a topic new to their node."""
        with several(self.python, "publish", 0, count=4) as (publisher, *others):
            publisher.tell(f"miss {MISSED}")
            said = publisher.line(60).split()

            def look(node: Node) -> dict[str, float]:
                node.tell("look")
                return pairs(node.line(30))

            node = min(others, key=lambda node: look(node)["bytes"])
            before = look(node)
            node.tell(" ".join(["back", *said[1:]]))
            node.expect("waits")
            command = [
                str(self.wsload),
                "recover",
                "127.0.0.1",
                str(node.port),
                "/wse",
                str(BACK),
                "60",
                "",
                "",
            ]
            environment = {"WSLOAD_EXPECT": str(MISSED), "WSLOAD_WINDOW": "256"}
            with Child(command, PUBLISHER_CPU, environment) as child:
                child.line(60)
                delivered = child.line(90)
            if not delivered.startswith("delivered"):
                raise DiedError(f"not all came back: {delivered}")
            after = look(node)
        fetches = after["fetches"] - before["fetches"]
        return {
            "recovered": pairs(delivered)["after_s"] * 1000,
            "fetches": fetches,
            "held before": before["bytes"],
        }

    def topics(self) -> dict[str, float]:
        """Bytes for each topic of another node, its own listing included; milliseconds of a resync."""
        command = [self.python, "-P", str(NODE.with_name("interests.py"))]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return pairs(said)

    def idle(self) -> dict[str, float]:
        """Percent of a core that each of a dozen nodes needs for its links."""
        seconds = max(10.0, 2 * self.seconds)
        ports = [proc.free_port() for _ in range(NODES)]
        with ExitStack() as stack:
            nodes = []
            for number, port in enumerate(ports):
                peers = [f"127.0.0.1:{other}" for other in ports if other != port]
                nodes.append(stack.enter_context(Node(self.python, number % 2, "listen", str(port), *peers)))
            for word in ("ready", "meets"):
                for node in nodes:
                    node.expect(word)
            time.sleep(1)
            before = [proc.cpu_seconds(node.pid) for node in nodes]
            time.sleep(seconds)
            after = [proc.cpu_seconds(node.pid) for node in nodes]
        used = [100 * (end - start) / seconds for start, end in zip(before, after, strict=True)]
        return {"worst node": max(used), "mean": statistics.mean(used)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--only", default="flood,latency,idle,history,stored,failover,back,topics")
    parser.add_argument(
        "--ours", default=sys.executable, metavar="PYTHON", help="interpreter with this build"
    )
    parser.add_argument("--earlier", metavar="PYTHON", help="interpreter with the earlier release")
    given = parser.parse_args()
    wsload, _ = sides.build_programs()
    bench = Bench(wsload, given.seconds, given.ours, given.earlier)
    rows: dict[str, list[dict[str, float]]] = {}
    for number in range(given.rounds):
        for name in given.only.split(","):
            row = getattr(bench, name)()
            print(
                f"round {number + 1}  {name}",
                {key: round(value, 2) for key, value in row.items()},
                flush=True,
            )
            rows.setdefault(name, []).append(row)
    print(f"\nMedians of {given.rounds} rounds of {given.seconds:g} s on {json.dumps(proc.machine())}")
    for name, all_of_it in rows.items():
        for key in all_of_it[0]:
            values = sorted(row[key] for row in all_of_it if key in row)
            print(
                f"{name:8} {key:20} {statistics.median(values):14,.2f}  ({values[0]:,.2f}..{values[-1]:,.2f})"
            )


if __name__ == "__main__":
    if len(os.sched_getaffinity(0)) < 2 or not shutil.which("cc"):
        sys.exit("two cores and a C compiler are needed")
    main()
