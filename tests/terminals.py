"""A machine to try the documents on: its own network, processes and system directories, and terminals on it.

What is installed here is there too. What is written to the directories of `OWN`, bound to ports, started and
killed is gone when the machine is. It takes root, and `unshare` and `nsenter` (util-linux).
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from support import PATIENCE, wait_until

OWN = (
    "/etc/haproxy",
    "/etc/nginx",
    "/etc/ssl",
    "/run",
    "/var/lib/haproxy",
    "/var/log/nginx",
    "/var/lib/nginx",
)
"""Directories that the machine has copies of."""

_BEGIN = """
set -e
mount --make-rprivate /
ip link set lo up
for place in {places}; do
    mkdir -p "{copies}$place"
    cp -a "$place/." "{copies}$place" 2>/dev/null || true
    mount --bind "{copies}$place" "$place"
done
mkdir -p /run/haproxy
touch "{copies}/ready"
exec sleep infinity
"""


@functools.cache
def why_not() -> str:
    """Why there can be no such machine here, or nothing if there can."""
    if os.geteuid() != 0:
        return "a machine of its own takes root"
    missing = [name for name in ("ip", "nsenter", "unshare") if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    tried = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"unshare says: {tried.stderr.strip()}" if tried.returncode else ""


class Machine:
    """A machine whose user has a clone of the repository, with a release built in it.

    Args:
        directory: An empty one, for the clone.
        repository: What the clone has `deploy` of.
    """

    def __init__(self, directory: Path, repository: Path) -> None:
        self.clone = directory / "clone"
        programs = self.clone / ".venv-release" / "bin"
        programs.mkdir(parents=True)
        (self.clone / "deploy").symlink_to(repository / "deploy")
        wse = programs / "wse"
        wse.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m wse_server "$@"\n')
        wse.chmod(0o755)
        self._copies = directory / "copies"
        self._directory = directory
        self._terminals: list[Terminal] = []

    def __enter__(self) -> Self:
        places = " ".join(place for place in OWN if Path(place).is_dir())
        script = _BEGIN.format(places=places, copies=self._copies)
        self._copies.mkdir()
        unshare = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self._holder = subprocess.Popen([*unshare, "sh", "-c", script], stderr=subprocess.DEVNULL)
        wait_until((self._copies / "ready").exists, "the machine does not start")
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text().split()
        self._init = int(children[0])
        return self

    def terminal(self, commands: str) -> Terminal:
        """Opens a terminal and types these commands; the first that fails ends it."""
        terminal = Terminal(self._init, self.clone, commands, self._directory / f"{len(self._terminals)}.txt")
        self._terminals.append(terminal)
        return terminal

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # With its first process everything on the machine ends.
        os.kill(self._init, signal.SIGKILL)
        self._holder.wait(PATIENCE)
        for terminal in self._terminals:
            terminal.process.wait(PATIENCE)
            if kind is not None:
                sys.stdout.write(f"---- {terminal.commands}\n{terminal.output}\n")


class Terminal:
    """Commands that run on a machine."""

    def __init__(self, init: int, directory: Path, commands: str, output: Path) -> None:
        self.commands = commands
        self._output = output
        enter = ["nsenter", "--target", str(init), "--mount", "--net", "--pid", f"--wd={directory}"]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("WSE_")}
        with output.open("w") as sink:
            self.process = subprocess.Popen(
                [*enter, "bash", "-e", "-o", "pipefail", "-c", commands],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env=clean,
            )

    @property
    def output(self) -> str:
        """What it shows so far."""
        return self._output.read_text()

    def wait_for(self, word: str, timeout: float = PATIENCE) -> None:
        """Waits until it shows that."""

        def shown() -> bool:
            found = word in self.output
            assert found or self.process.poll() in {None, 0}, self.output
            return found

        wait_until(shown, f"no {word!r}", timeout)

    def wait(self, timeout: float = PATIENCE) -> str:
        """Waits until the last command has ended well; returns all that it shows."""
        code = self.process.wait(timeout)
        assert code == 0, f"exit code {code}\n{self.output}"
        return self.output
