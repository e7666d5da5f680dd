"""One node of a cluster that is measured, by the public API alone, as the earlier release has it.

    node.py listen PORT CLUSTER_PORT [PEER...]            subscribes each client to the topic "bench"
    node.py publish PORT CLUSTER_PORT [PEER...] RATE      publishes, RATE a second; 0: at full speed
    node.py store PORT CLUSTER_PORT [PEER...] SECONDS     waits until messages are stored: one, then many
    node.py watch PORT CLUSTER_PORT [PEER...] SECONDS     stores in a dozen topics: how long at the worst

Says `ready` when its ports accept and `meets N` when it has N peers; `go` on stdin starts publishing.
With NODE_HISTORY set topics have histories: then `find` on stdin names a topic whose home is another node,
and `topic NAME` is the one that clients get. `miss N` publishes so many messages to come back for and says
where they begin, `back TOPIC EPOCH OFFSET` has clients go on from there, `look` says what the node holds and
how often it asked for what it lacks, `stop` stops it. The node ends when stdin does.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from typing import Any

from wse_server import RustWSEServer

TOPIC = ["bench"]
BACK: list[tuple[str, int]] = []
MANY = 64
DOZEN = [f"watched{number}" for number in range(12)]
TICK = '{"c":"U","t":"tick","p":{"seq":%d,"ts_us":%d,"s":"ES","px":5234.75,"q":2,"pad":"xxxxxxxxxx"}}'


def subscribe_all(server: RustWSEServer) -> None:
    while True:
        for kind, connection, _ in server.drain_inbound(256, 50):
            if kind in {"connect", "auth_connect"}:
                if BACK:
                    epoch, offset = BACK[0]
                    server.subscribe_with_recovery(
                        connection, [TOPIC[0]], recover=True, epoch=epoch, offset=offset
                    )
                else:
                    server.subscribe_connection(connection, [TOPIC[0]])


def publish(server: RustWSEServer, rate: float) -> None:
    start = time.perf_counter()
    for seq in itertools.count():
        server.broadcast(TOPIC[0], TICK % (seq, time.time_ns() // 1000))
        if rate:
            ahead = start + (seq + 1) / rate - time.perf_counter()
            if ahead > 0:
                time.sleep(ahead)


def metric(server: RustWSEServer, name: str) -> int:
    page = server.prometheus_metrics()
    (line,) = (line for line in page.splitlines() if line.startswith(f"{name} "))
    return int(line.split()[1])


def takeovers(server: RustWSEServer) -> int:
    return metric(server, "wse_cluster_takeovers_total")


def find_topic(server: RustWSEServer) -> str:
    """A topic whose home is another node."""
    for number in itertools.count():
        before = takeovers(server)
        server.broadcast(f"bench{number}", TICK % (0, 0), wait="stored")
        if takeovers(server) == before:
            return f"bench{number}"
    raise AssertionError("numbers do not end")


def store(server: RustWSEServer, seconds: float) -> None:
    """How long it takes until one message is stored, and how many are in a second if many are published."""
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        server.broadcast(TOPIC[0], TICK % (0, 0), wait="stored")
        taken.append(time.perf_counter() - start)
    taken.sort()
    batch, count = [TICK % (number, 0) for number in range(MANY)], 0
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        server.broadcast_many(TOPIC[0], batch, wait="stored")
        count += MANY
    rate = count / (time.perf_counter() - start)
    p50, p99 = (taken[int(len(taken) * part)] * 1e6 for part in (0.5, 0.99))
    print(f"stored p50_us={p50:.1f} p99_us={p99:.1f} per_s={rate:.0f}", flush=True)


def watch(server: RustWSEServer, seconds: float) -> None:
    """How long the longest of all messages waited until it was stored."""
    worst, count, end = 0.0, 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        for topic in DOZEN:
            start = time.perf_counter()
            server.broadcast(topic, TICK % (count, 0), wait="stored", timeout=60.0)
            worst, count = max(worst, time.perf_counter() - start), count + 1
    print(f"watched worst_ms={worst * 1000:.2f} stored={count}", flush=True)


def miss(server: RustWSEServer, count: int) -> None:
    """Publishes what clients will come back for."""
    before = server.broadcast(TOPIC[0], TICK % (0, 0), wait="stored")
    server.broadcast_many(TOPIC[0], [TICK % (number, 0) for number in range(count)], wait="stored")
    assert before is not None
    print(f"missed {TOPIC[0]} {before.epoch} {before.offset}", flush=True)


def look(server: RustWSEServer) -> None:
    held = server.health_snapshot()["recovery_total_bytes"]
    print(f"holds bytes={held} fetches={metric(server, 'wse_cluster_fetches_total')}", flush=True)


def obey(server: RustWSEServer, role: str, rate: float) -> None:
    """Does what stdin says."""
    for line in sys.stdin:
        command, *words = line.split()
        if command == "go":
            work = {"store": store, "watch": watch}.get(role, publish)
            threading.Thread(target=work, args=[server, rate], daemon=True).start()
        elif command == "find":
            for topic in DOZEN if role == "watch" else []:
                server.broadcast(topic, TICK % (0, 0), wait="stored")
            TOPIC[0] = find_topic(server)
            print(f"topic {TOPIC[0]}", flush=True)
        elif command == "topic":
            TOPIC[0] = words[0]
        elif command == "miss":
            miss(server, int(words[0]))
        elif command == "back":
            TOPIC[0], BACK[:] = words[0], [(words[1], int(words[2]))]
            print("waits", flush=True)
        elif command == "look":
            look(server)
        elif command == "stop":
            server.stop()


def main() -> None:
    role, port, cluster_port, *peers = sys.argv[1:]
    rate = float(peers.pop()) if role != "listen" else 0.0
    limits: dict[str, Any] = {"rate_limit_capacity": 1e12, "rate_limit_refill": 1e12}
    if os.environ.get("NODE_HISTORY"):
        limits["recovery_enabled"] = True
    server = RustWSEServer("127.0.0.1", int(port), max_connections=20_000, **limits)
    server.enable_drain_mode()
    server.start()
    if int(cluster_port):
        server.connect_cluster(peers=peers, cluster_port=int(cluster_port))
    threading.Thread(target=subscribe_all, args=[server], daemon=True).start()
    print("ready", flush=True)
    if peers:
        while server.cluster_peers_count() < len(peers):
            time.sleep(0.01)
        print(f"meets {len(peers)}", flush=True)
    obey(server, role, rate)


if __name__ == "__main__":
    main()
