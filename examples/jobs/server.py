"""The progress of jobs, live in a page. Workers tell it over HTTP, from any language and any machine.

    export WSE_API_KEY=$(openssl rand -hex 32)
    python examples/jobs/server.py                          this; then open the page that it prints
    python examples/jobs/worker.py "Resize the photos"      a worker that needs nothing but Python
    bash examples/jobs/worker.sh "Copy the backup"          and one that needs nothing but curl

There is no code for the messages: workers publish with `POST /api/publish`, pages subscribe by themselves,
and one that was away is sent what it missed. Each report tells all about its job, so a page that opens later
knows all jobs that run with their next reports.
"""

import argparse
import os
import secrets
import signal
import threading
from importlib.resources import files
from pathlib import Path

from wse_server import RustWSEServer


def make(port: int, api_key: str) -> RustWSEServer:
    """Makes the server."""
    server = RustWSEServer(
        "127.0.0.1",
        port,
        api_key=api_key,
        client_subscriptions=True,
        recovery_enabled=True,
        recovery_buffer_size=1024,
        recovery_max_messages=1024,
    )
    page = Path(__file__).with_name("page.html").read_text()
    server.add_static("/", "text/html; charset=utf-8", page)
    server.add_static("/wse.js", "text/javascript", files("wse_server").joinpath("static/wse.js").read_text())
    return server


def main() -> None:
    """Reads the command line and serves until Ctrl-C or SIGTERM."""
    # First of all: a Ctrl-C in the middle of an import can get lost.
    ended = threading.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: ended.set())
    parser = argparse.ArgumentParser(description="Shows the progress of jobs.")
    parser.add_argument("--port", type=int, default=5007, help="default: %(default)s")
    options = parser.parse_args()
    api_key = os.environ.get("WSE_API_KEY")
    if api_key is None:
        api_key = secrets.token_hex(32)
        print(f"export WSE_API_KEY={api_key}")

    server = make(options.port, api_key)
    server.start()
    print(f"http://localhost:{options.port}/", flush=True)
    ended.wait()
    server.stop()


if __name__ == "__main__":
    main()
