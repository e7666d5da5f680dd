"""Publishes a tick ten times a second from one thread while another one handles who comes and goes.

A client chooses what it hears: `{"t": "watch", "p": {"topics": ["ticks.even"]}}`. A topic may be a pattern,
such as `ticks.*`.
"""

import itertools
import json
import threading

from wse_server import RustWSEServer

server = RustWSEServer("127.0.0.1", 5007, max_outbound_queue_bytes=1_048_576)
server.enable_drain_mode()
server.start()
ended = threading.Event()


def publish() -> None:
    for number in itertools.count(1):
        if ended.wait(0.1):
            return
        topic = "ticks.even" if number % 2 == 0 else "ticks.odd"
        server.broadcast(topic, json.dumps({"t": "tick", "p": {"n": number}}))


publisher = threading.Thread(target=publish)
publisher.start()
try:
    while True:
        for kind, conn_id, data in server.drain_inbound():
            match kind, data:
                case "msg", {"t": "watch", "p": {"topics": list(topics)}}:
                    try:
                        server.subscribe_connection(conn_id, topics)
                    except (TypeError, ValueError) as error:
                        # Topics come from outside here, and a malformed one raises an error that says why.
                        server.send(conn_id, json.dumps({"t": "refused", "p": {"why": str(error)}}))
                    else:
                        server.send(conn_id, json.dumps({"t": "watching", "p": {"topics": topics}}))
except KeyboardInterrupt:
    ended.set()
    publisher.join()
    server.stop()
