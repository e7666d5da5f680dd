"""Flask tells how the server is, and publishes from its threads."""

from __future__ import annotations

import json
import urllib.request

import support
from examples.conftest import Begin
from wse_client import SyncClient


def test_health_is_told_and_requests_publish(begin: Begin, free_port: int) -> None:
    port = support.free_port()
    begin("flask_health/main.py", "--port", port, "--wse-port", free_port).wait_for_port(port)
    with (
        SyncClient(f"ws://127.0.0.1:{free_port}/wse", proxy=None) as client,
        client.subscribe("news") as news,
    ):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            assert json.load(answer)["connections"] == 1
        request = urllib.request.Request(f"http://127.0.0.1:{port}/say/news/hello", method="POST")
        with urllib.request.urlopen(request, timeout=5) as answer:
            assert json.load(answer) == {"subscribers": 1}
        assert next(news).payload == {"text": "hello"}
