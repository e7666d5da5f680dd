"""One node of a cluster that is measured, by the public API alone, as the earlier release has it.

    node.py listen PORT CLUSTER_PORT [PEER...]            subscribes each client to the topic "bench"
    node.py publish PORT CLUSTER_PORT [PEER...] RATE      publishes, RATE a second; 0: at full speed
    node.py store PORT CLUSTER_PORT [PEER...] SECONDS     waits until messages are stored: one, then many

Says `ready` when its ports accept and `meets N` when it has N peers; `go` on stdin starts publishing.
With NODE_HISTORY set topics have histories: then `find` on stdin names a topic whose home is another node,
and `topic NAME` is the one that clients get.
The node ends when stdin does.
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
MANY = 500
TICK = '{"c":"U","t":"tick","p":{"seq":%d,"ts_us":%d,"s":"ES","px":5234.75,"q":2,"pad":"xxxxxxxxxx"}}'


def subscribe_all(server: RustWSEServer) -> None:
    while True:
        for kind, connection, _ in server.drain_inbound(256, 50):
            if kind in {"connect", "auth_connect"}:
                server.subscribe_connection(connection, [TOPIC[0]])


def publish(server: RustWSEServer, rate: float) -> None:
    start = time.perf_counter()
    for seq in itertools.count():
        server.broadcast(TOPIC[0], TICK % (seq, time.time_ns() // 1000))
        if rate:
            ahead = start + (seq + 1) / rate - time.perf_counter()
            if ahead > 0:
                time.sleep(ahead)


def takeovers(server: RustWSEServer) -> float:
    page = server.prometheus_metrics()
    (line,) = (line for line in page.splitlines() if line.startswith("wse_cluster_takeovers_total "))
    return float(line.split()[1])


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
    for line in sys.stdin:
        if line.strip() == "go":
            work = store if role == "store" else publish
            threading.Thread(target=work, args=[server, rate], daemon=True).start()
        elif line.strip() == "find":
            TOPIC[0] = find_topic(server)
            print(f"topic {TOPIC[0]}", flush=True)
        elif line.startswith("topic "):
            TOPIC[0] = line.split()[1]


if __name__ == "__main__":
    main()
