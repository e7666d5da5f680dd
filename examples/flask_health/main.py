"""A Flask application that says how the WebSocket server beside it is.

    pip install wse-server flask
    python examples/flask_health/main.py            then curl http://localhost:8000/health

The server needs no event loop and no thread of yours: clients subscribe by themselves. It lives in one
process; behind gunicorn start one worker with threads (`-w 1 --threads 8`). WSE answers `GET /health` on its
own port as well, which is all that a balancer needs.
"""

import argparse

from flask import Flask, Response, jsonify

from wse_server import RustWSEServer


def make(server: RustWSEServer) -> Flask:
    """Makes the application for a server."""
    app = Flask(__name__)

    @app.route("/health")
    def health() -> Response:
        return jsonify(server.health_snapshot())

    @app.route("/say/<topic>/<text>", methods=["POST"])
    def say(topic: str, text: str) -> Response:
        """Any method may be called from any thread, so a request may publish."""
        server.broadcast(topic, app.json.dumps({"t": "said", "p": {"text": text}}))
        return jsonify({"subscribers": server.get_topic_subscriber_count(topic)})

    return app


def main() -> None:
    """Reads the command line and serves."""
    parser = argparse.ArgumentParser(description="Health over Flask.")
    parser.add_argument("--port", type=int, default=8000, help="of Flask (default: %(default)s)")
    parser.add_argument("--wse-port", type=int, default=5007, help="of the WebSocket (default: %(default)s)")
    options = parser.parse_args()
    server = RustWSEServer("127.0.0.1", options.wse_port, client_subscriptions=True)
    server.start()
    try:
        make(server).run(host="127.0.0.1", port=options.port)
    finally:
        server.stop()


if __name__ == "__main__":
    main()
