"""One node of a cluster that is measured, by the public API alone, as the earlier release has it.

    node.py listen PORT CLUSTER_PORT [PEER...]            subscribes each client to the topic "bench"
    node.py publish PORT CLUSTER_PORT [PEER...] RATE      publishes, RATE a second; 0: at full speed

Says `ready` when its ports accept and `meets N` when it has N peers; `go` on stdin starts publishing.
The node ends when stdin does.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from typing import Any

from wse_server import RustWSEServer

TOPIC = "bench"
TICK = '{"c":"U","t":"tick","p":{"seq":%d,"ts_us":%d,"s":"ES","px":5234.75,"q":2,"pad":"xxxxxxxxxx"}}'


def subscribe_all(server: RustWSEServer) -> None:
    while True:
        for kind, connection, _ in server.drain_inbound(256, 50):
            if kind in {"connect", "auth_connect"}:
                server.subscribe_connection(connection, [TOPIC])


def publish(server: RustWSEServer, rate: float) -> None:
    start = time.perf_counter()
    for seq in itertools.count():
        server.broadcast(TOPIC, TICK % (seq, time.time_ns() // 1000))
        if rate:
            ahead = start + (seq + 1) / rate - time.perf_counter()
            if ahead > 0:
                time.sleep(ahead)


def main() -> None:
    role, port, cluster_port, *peers = sys.argv[1:]
    rate = float(peers.pop()) if role == "publish" else 0.0
    limits: dict[str, Any] = {"rate_limit_capacity": 1e12, "rate_limit_refill": 1e12}
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
            threading.Thread(target=publish, args=[server, rate], daemon=True).start()


if __name__ == "__main__":
    main()
