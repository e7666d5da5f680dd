"""Programs as a container engine runs them, on machines that have none.

A container is: a root that nothing can be written to, with what is mounted into it; process number 1 of its
own process namespace; a user without a name, no capability, and no way to one; an environment that begins
empty; the network of a host of `netns`, and the names that it is told. All of that is made with `unshare`,
`mount`, `chroot` and `setpriv`, as engines make it. What is in the root is what this machine has, and not an
image.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import resource
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from typing_extensions import override

import netns
from documents import ROOT
from support import Program, wait_until

NODE_USER = "10001:10001"
"""The user of the Dockerfile."""

# Above the root of this machine lies a layer with these files. It must be on a file system of its own.
LAYERS = Path("/dev/shm")  # noqa: S108 - a directory of the system's, in which `mkdtemp` makes one

SETUP = """\
set -e
mount -t overlay overlay -o lowerdir={layer}:/ {root}
mount -t proc proc {root}/proc
mount --rbind /dev {root}/dev
{mounts}
hostname {hostname}
{limits}
exec chroot {root} setpriv --reuid {user} --regid {group} {groups} \\
    --bounding-set=-all --inh-caps=-all --no-new-privs env -i --chdir={directory} {environment} {command}
"""


@functools.cache
def why_not() -> str:
    """Why this machine can run no such container, or nothing if it can."""
    reason = netns.why_not()
    if reason:
        return reason
    missing = [name for name in ("chroot", "setpriv", "unshare") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} of util-linux and coreutils are not installed"
    if not LAYERS.is_dir():
        return f"there is no {LAYERS} for layers"
    with Container(["cat", "/proc/1/comm"]) as container:
        status = container.wait()
    return "" if status == 0 else f"this machine mounts no overlays: {container.output}"


class Container(Program):
    """One container, which is gone at the end of the `with` block, by SIGKILL if it still runs.

    Args:
        command: What it runs.
        enter: What goes before a command that is to run on a host of a network: `Network.enter`.
        environment: Its variables, besides PATH.
        mounts: Directory or file of it -> directory or file of this machine. Nothing can be written there.
        files: File of it -> its text, for files of the engine's such as /etc/hosts. Those that are to change
            are mounts.
        tmpfs: Directories that can be written to.
        user: Number of the user and of the group.
        groups: Further groups.
        hostname: Its name.
        directory: Where the command runs.
        descriptors: How many files and sockets it may have open; None for as many as this process.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        enter: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        mounts: Mapping[str, Path] | None = None,
        files: Mapping[str, str] | None = None,
        tmpfs: Sequence[str] = ("/tmp",),  # noqa: S108 - one of its own
        user: str = NODE_USER,
        groups: Sequence[str] = (),
        hostname: str = "container",
        directory: str = "/app",
        descriptors: int | None = None,
    ) -> None:
        self._layer = Path(tempfile.mkdtemp(prefix="wse-layer-", dir=LAYERS))
        self._root = Path(tempfile.mkdtemp(prefix="wse-root-"))
        self._lay(mounts or {}, files or {}, [*tmpfs, directory])
        ours = [f"{Path(sys.executable).parent}", *os.environ["PATH"].split(":")]
        variables = {"PATH": ":".join(ours)} | dict(environment or {})
        number, _, group = user.partition(":")
        # A container's engine may allow more than it has itself; this machine need not.
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        setup = SETUP.format(
            layer=self._layer,
            root=self._root,
            mounts="\n".join(self._mounts(mounts or {}, tmpfs)),
            hostname=shlex.quote(hostname),
            limits="" if descriptors is None else f"ulimit -n {min(descriptors, most)}",
            user=number,
            group=group or number,
            groups=f"--groups {','.join(groups)}" if groups else "--clear-groups",
            directory=directory,
            environment=shlex.join(f"{name}={value}" for name, value in variables.items()),
            command=shlex.join(command),
        )
        # `Program` starts a Python, with -u before all else.
        launcher = self._layer / "launcher"
        unshare = "unshare --mount --pid --fork --uts --ipc"
        launcher.write_text(f"#!/bin/sh\nexec {shlex.join(enter)} {unshare} sh -c {shlex.quote(setup)}\n")
        launcher.chmod(0o755)
        super().__init__(python=str(launcher))

    @property
    @override
    def pid(self) -> int:
        """The number of its process 1, outside."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return int(wait_until(lambda: children.read_text().split(), "the container has begun")[0])

    @override
    def send_signal(self, signum: signal.Signals) -> None:
        if self._process.poll() is None:
            os.kill(self.pid, signum)

    def kill(self) -> None:
        """Ends it as nothing announces it."""
        self.send_signal(signal.SIGKILL)
        self.wait()

    @override
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # With process 1 all of it ends. (`--kill-child` does not outlive the change of the user.)
        self.send_signal(signal.SIGKILL)
        self.wait()
        shutil.rmtree(self._layer, ignore_errors=True)
        with suppress(OSError):
            self._root.rmdir()

    # How its root is made.

    def _lay(self, mounts: Mapping[str, Path], files: Mapping[str, str], directories: Sequence[str]) -> None:
        """Makes what this machine lacks: places to mount at, and the files that an engine writes.

        Directories that only root may enter are open in the layer, where Python lies in one of them.
        """
        self._layer.chmod(0o755)
        above = [str(parent) for place in interpreter() for parent in reversed(place.parents)]
        for place in [*above, "/proc", "/dev", *directories]:
            self._directory(place)
        for target, source in mounts.items():
            if source.is_dir():
                self._directory(target)
            else:
                self._file(target, "")
        for target, text in {"/etc/nsswitch.conf": "hosts: files dns\n", **files}.items():
            self._file(target, text)

    def _directory(self, place: str) -> Path:
        made = self._layer / place.lstrip("/")
        made.mkdir(parents=True, exist_ok=True, mode=0o755)
        return made

    def _file(self, place: str, text: str) -> None:
        file = self._directory(str(Path(place).parent)) / Path(place).name
        file.write_text(text)
        file.chmod(0o644)

    def _mounts(self, mounts: Mapping[str, Path], tmpfs: Sequence[str]) -> list[str]:
        lines = [f"mount -t tmpfs -o mode=1777 tmpfs {self._root}{place}" for place in tmpfs]
        # What is tested may itself lie in one of them, as a clone under /tmp does.
        for needed in (ROOT, Path(sys.prefix)):
            if any(needed.is_relative_to(place) for place in tmpfs):
                place = shlex.quote(f"{self._root}{needed}")
                lines.append(f"mkdir -p {place}")
                lines.append(f"mount --bind {shlex.quote(str(needed))} {place}")
                lines.append(f"mount -o remount,bind,ro {place}")
        for target, source in mounts.items():
            place = shlex.quote(f"{self._root}{target}")
            lines.append(f"mount --bind {shlex.quote(str(source))} {place}")
            lines.append(f"mount -o remount,bind,ro {place}")
        return lines


def interpreter() -> list[Path]:
    """Where this Python lies, and the packages that it is to find."""
    found = [Path(sys.base_prefix).resolve(), Path(sys.prefix)]
    for package in ("wse_server", "click"):
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        found.append(Path(spec.origin).parent)
    return found


class NameServer(Program):
    """A DNS server on a host: dnsmasq, which knows the names that it is told and no others.

    Args:
        folder: A directory for its file of names.
        address: Where it listens.
        enter: What goes before a command that is to run on the host.
    """

    def __init__(self, folder: Path, address: str, enter: Sequence[str]) -> None:
        self._names = folder / f"names-{address}-{enter[-1]}"
        self._names.write_text("")
        launcher = folder / f"dnsmasq-{address}-{enter[-1]}"
        options = [
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--bind-interfaces",
            "--user=root",
            "--pid-file",
            "--log-facility=-",
            # Who knows a name asks again; nobody else knows any.
            "--local-ttl=1",
            "--address=/#/",
            f"--listen-address={address}",
            f"--addn-hosts={self._names}",
        ]
        launcher.write_text(f"#!/bin/sh\nexec {shlex.join([*enter, 'dnsmasq', *options])}\n")
        launcher.chmod(0o755)
        super().__init__(python=str(launcher))
        self._known = 0
        self._wait_until_read()

    def tell(self, names: Mapping[str, Sequence[str]]) -> None:
        """Replaces all that it knows: name -> its addresses."""
        lines = [f"{address} {name}\n" for name, addresses in names.items() for address in addresses]
        self._names.write_text("".join(lines))
        self.send_signal(signal.SIGHUP)
        self._wait_until_read()

    @override
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # It does not mind a Ctrl-C.
        self.stop(signal.SIGTERM)

    def _wait_until_read(self) -> None:
        def is_read() -> bool:
            return sum(f"read {self._names}" in line for line in list(self.lines)) > self._known

        wait_until(is_read, "the names are read")
        self._known += 1


def without_dnsmasq() -> str:
    """Why there is no server of names here, or nothing if there is."""
    return "" if shutil.which("dnsmasq") else "dnsmasq is not installed (Debian: dnsmasq-base)"
