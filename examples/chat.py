"""A chat room: whoever connects is in it and hears what anybody says."""

import json

from wse_server import RustWSEServer

server = RustWSEServer("127.0.0.1", 5007)
server.enable_drain_mode()
server.start()

try:
    while True:
        for kind, conn_id, data in server.drain_inbound():
            if kind == "connect":
                server.subscribe_connection(conn_id, ["room"])
            elif kind == "msg" and data.get("t") == "say":
                server.broadcast("room", json.dumps({"t": "said", "p": data.get("p")}))
except KeyboardInterrupt:
    server.stop()
