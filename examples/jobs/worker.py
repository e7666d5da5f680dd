"""A worker that tells how far it is, with nothing but Python's library. `server.py` tells the rest."""

import argparse
import json
import os
import socket
import time
import urllib.error
import urllib.request
import uuid
from contextlib import suppress
from typing import Any

URL = os.environ.get("WSE_URL", "http://localhost:5007")


def publish(topic: str, event: str, payload: dict[str, Any]) -> None:
    """Publishes a message.

    Raises:
        urllib.error.HTTPError: The server refuses it; what is wrong stands in the answer.
        urllib.error.URLError: The server can't be reached.
    """
    request = urllib.request.Request(
        f"{URL}/api/publish",
        json.dumps({"topic": topic, "data": {"t": event, "p": payload}}).encode(),
        {"Authorization": f"Bearer {os.environ['WSE_API_KEY']}", "Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=10).close()


class Progress:
    """A job, as others see it.

    Args:
        name: What people call it.
        of: How many steps it has.
    """

    def __init__(self, name: str, of: int) -> None:
        self._job = {"job": str(uuid.uuid4()), "name": name, "worker": socket.gethostname(), "of": of}
        self.tell(0)

    def tell(self, done: int, state: str = "running") -> None:
        """Tells how far it is. A job does not stop because nobody can be told."""
        try:
            publish("jobs", "job.progress", self._job | {"done": done, "state": state})
        except urllib.error.HTTPError as error:
            print(f"not told: {error.code} {error.read().decode()}")
        except urllib.error.URLError as error:
            print(f"not told: {error.reason}")


def main() -> None:
    """Reads the command line and works."""
    parser = argparse.ArgumentParser(description="Does a job and tells how far it is.")
    parser.add_argument("name", nargs="?", default="Resize the photos", help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=0.5, help="for each step (default: %(default)g)")
    parser.add_argument("--fail", action="store_true", help="fail half way")
    options = parser.parse_args()

    with suppress(KeyboardInterrupt):
        work(options.name, options.steps, options.seconds, fail=options.fail)


def work(name: str, steps: int, seconds: float, *, fail: bool) -> None:
    """Pretends to."""
    progress = Progress(name, steps)
    for step in range(1, steps + 1):
        time.sleep(seconds)  # here is your work
        if fail and step * 2 > steps:
            progress.tell(step, "failed")
            return
        progress.tell(step, "done" if step == steps else "running")


if __name__ == "__main__":
    main()
