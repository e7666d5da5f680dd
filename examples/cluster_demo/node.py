"""One node of the demo. `__main__.py` starts it, tells it what to publish, and reads what it prints."""

import json
import os
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

from wse_server import PublishTimeout, RustWSEServer

TOPIC = "numbers"


def main() -> None:
    """Serves until the standard input ends: then whoever started it is gone, or wants it to stop."""
    port, cluster_port, settings = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    server = RustWSEServer(
        "127.0.0.1",
        port,
        client_subscriptions=True,
        recovery_enabled=True,
        recovery_buffer_size=4096,  # messages a second, times the seconds that a page may be away
        recovery_max_messages=4096,
    )
    server.add_static("/", "text/html; charset=utf-8", Path(__file__).with_name("page.html").read_bytes())
    server.add_static(
        "/wse.js", "text/javascript", files("wse_server").joinpath("static/wse.js").read_bytes()
    )
    server.add_static("/nodes.json", "application/json", json.dumps(settings["ports"]))
    server.set_callbacks(ignore, on_message, ignore)
    server.start()
    server.connect_cluster(
        peers=[],
        seeds=settings["seeds"],
        cluster_port=cluster_port,
        cluster_secret=os.environ["WSE_CLUSTER_SECRET"],
        recovery_replicas=1,  # each message is kept by two nodes, so any one of them may die
    )
    tell("listening")
    for line in sys.stdin:
        try:
            position = server.broadcast(TOPIC, line.strip(), wait="stored", timeout=5.0)
        except PublishTimeout:
            tell("unknown")
        else:
            tell("stored", copies=position.copies if position else 1, peers=server.cluster_peers_count())
    server.stop()


def on_message(_conn_id: str, data: dict[str, Any] | str | bytes) -> None:
    """The page asks for the death of a node."""
    match data:
        case {"t": "demo.kill", "p": {"node": int(node)}}:
            tell("kill", node=node)


def ignore(*_: str) -> None:
    """Who comes and goes does not matter here."""


def tell(what: str, **details: Any) -> None:
    """Prints one line at once: callbacks and the main thread do it, each line in one piece."""
    sys.stdout.write(json.dumps({"what": what} | details) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
