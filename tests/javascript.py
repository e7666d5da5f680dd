"""The JavaScript client in a process of Node.js, driven by a test: see `examples/probe.mjs`."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support import PATIENCE

NODE = shutil.which("node")
PROBE = Path(__file__).with_name("examples") / "probe.mjs"

Told = dict[str, Any]
"""What the client told: `event` and its details."""


@cache
def command() -> list[str]:
    """What runs Node.js with WebSockets; empty where there is no Node.js that has them."""
    if NODE is None:
        return []
    script = "process.exit(typeof WebSocket === 'undefined' ? 1 : 0)"
    for options in ([], ["--experimental-websocket"]):
        if subprocess.run([NODE, *options, "-e", script], capture_output=True, check=False).returncode == 0:
            return [NODE, *options]
    return []


class Probe:
    """A client. What it tells stays in `told`, in order; `wait` goes on behind what it last returned.

    Args:
        soon: Whether it comes back twenty times as fast as the table of close codes says.
    """

    def __init__(self, *, soon: bool = True) -> None:
        self.told: list[Told] = []
        self._seen = 0
        self._arrived = threading.Condition()
        self._process = subprocess.Popen(
            [*command(), str(PROBE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, name="probe", daemon=True)
        self._reader.start()
        if soon:
            self.do("soon")

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                try:
                    told = json.loads(line)
                except ValueError:
                    told = {"event": "printed", "text": line.rstrip("\n")}
                with self._arrived:
                    self.told.append(told)
                    self._arrived.notify_all()

    def do(self, deed: str, **details: Any) -> None:
        """Tells the client what to do."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": deed, **details}) + "\n")
        self._process.stdin.flush()

    def wait(self, event: str, **details: Any) -> Told:
        """Waits for the next event of this kind with these details, and returns it."""

        def find() -> bool:
            for number in range(self._seen, len(self.told)):
                told = self.told[number]
                if told["event"] == event and all(told.get(key) == value for key, value in details.items()):
                    self._seen = number + 1
                    return True
            return False

        with self._arrived:
            found = self._arrived.wait_for(find, PATIENCE)
            assert found, f"no {event} {details} within {PATIENCE} s, but {self.told[self._seen :]}"
            return self.told[self._seen - 1]

    def of(self, event: str) -> list[Told]:
        """All that was told so far of this kind."""
        with self._arrived:
            return [told for told in self.told if told["event"] == event]

    def heard(self, count: int) -> list[Any]:
        """Waits until `count` messages of subscriptions came in all, and returns their payloads."""
        with self._arrived:
            enough = self._arrived.wait_for(
                lambda: sum(told["event"] == "heard" for told in self.told) >= count, PATIENCE
            )
            assert enough, f"{count} messages: {self.told}"
        return [told["payload"] for told in self.of("heard")]

    def open(self, *urls: str, **how: Any) -> Told:
        """Makes the client and waits until it is connected."""
        self.do("open", urls=list(urls), **how)
        return self.wait("state", state="open")

    def subscribe(self, name: str, *topics: str, **handlers: Any) -> None:
        """Subscribes, and waits until the server has answered."""
        self.do("subscribe", name=name, topics=list(topics), **handlers)
        self.wait("ready", name=name)

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.kill()
        self._process.wait()
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._reader.join(PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
