"""A server with few file descriptors in a process of its own; it prints its health for every line it gets."""

from __future__ import annotations

import json
import resource
import sys

from wse_server import RustWSEServer

descriptors = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
server = RustWSEServer("127.0.0.1", 0, max_connections=10_000)
server.start()
print(server.port)
for _ in sys.stdin:
    print(json.dumps(server.health_snapshot()))
server.stop()
