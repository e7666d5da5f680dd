"""What a node holds of the topics of others, and how soon it has it: five nodes with 100,000 topics each.

All in one process, so that the memory of all is one figure. Says `topics` and key=value pairs.
"""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path

from websockets.sync.client import connect

from wse_server import RustWSEServer

NODES, TOPICS = 5, 100_000


def resident() -> int:
    gc.collect()
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def start() -> RustWSEServer:
    server = RustWSEServer("127.0.0.1", 0)
    server.enable_drain_mode()
    server.start()
    return server


def join(server: RustWSEServer, *seeds: str) -> str:
    server.connect_cluster(peers=[], seeds=list(seeds), cluster_port=0)
    identity = server.cluster_identity()
    assert identity is not None
    return identity["address"]


def knows_all(server: RustWSEServer) -> bool:
    """Whether it knows where nobody listens: until then it sends a message everywhere."""
    before = server.health_snapshot()["cluster_messages_sent"]
    server.broadcast("nobody listens here", "x")
    time.sleep(0.002)
    return server.health_snapshot()["cluster_messages_sent"] == before


def wait_to_know(servers: list[RustWSEServer], peers: int) -> float:
    """Seconds from links with all to knowledge of all."""
    while any(server.cluster_peers_count() < peers for server in servers):
        time.sleep(0.002)
    begin = time.perf_counter()
    while not all(knows_all(server) for server in servers):
        time.sleep(0.002)
    return time.perf_counter() - begin


def main() -> None:
    nodes = [start() for _ in range(NODES)]
    clients = [connect(f"ws://127.0.0.1:{node.port}/wse", compression=None) for node in nodes]
    for number, node in enumerate(nodes):
        while not (connections := node.get_connections()):
            time.sleep(0.01)
        topics = [f"topic:{number}:{at:016}" for at in range(TOPICS)]
        for at in range(0, TOPICS, 1000):
            node.subscribe_connection(connections[0], topics[at : at + 1000])
    before = resident()
    seed = join(nodes[0])
    for node in nodes[1:]:
        join(node, seed)
    wait_to_know(nodes, NODES - 1)
    time.sleep(3)
    added = resident() - before
    late = start()
    join(late, seed)
    seconds = wait_to_know([late], NODES)
    # Each node also lists its own topics for the others: about 70 bytes each.
    remote = added / (NODES * (NODES - 1) * TOPICS)
    print(f"topics bytes={remote:.1f} resync_ms={seconds * 1000:.1f}", flush=True)
    for client in clients:
        client.socket.close()


if __name__ == "__main__":
    main()
    os._exit(0)
