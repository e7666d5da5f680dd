"""Installs the wheel into a fresh environment under every CPython of this machine from 3.11 on, and uses it.

    python tools/wheel_smoke.py build/wheels build/client     every interpreter
    python tools/wheel_smoke.py --inside VERSION              what runs in each of those environments

The client inside is a plain socket, so that an environment holds the wheel and what that asks for, and
nothing else: what it forgot to bring or to ask for is missed here. After that comes what `wse-server[cli]`
asks for, with the client's wheel, and the command `wse` is used.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

OLDEST = (3, 11)
NEWEST_TO_LOOK_FOR = (3, 20)
EXPECTED_FILES = (
    "__init__.py",
    "_native.abi3.so",
    "_native.pyi",
    "py.typed",
    "cli/app.py",
    "demo/page.html",
    "static/wse.js",
)
PATIENCE = 10.0


# What is run for every interpreter.


def main() -> int:
    """Returns 0 if the wheel works everywhere, 1 if not or if there is nothing to try it with."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "wheels", nargs="?", type=Path, default=Path("build/wheels"), help="directory with one wheel"
    )
    parser.add_argument(
        "client", nargs="?", type=Path, default=Path("build/client"), help="directory with the client's wheel"
    )
    parser.add_argument("--inside", metavar="VERSION", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        use(options.inside)
        return 0

    (wheel,) = options.wheels.glob("*.whl")
    (client,) = options.client.glob("*.whl")
    version = check_contents(wheel)
    interpreters = sorted(find_interpreters().items())
    failed = 0
    for name, interpreter in interpreters:
        problem = try_wheels(wheel, client, version, interpreter)
        failed += problem is not None
        print(f"{wheel.name} on CPython {name}: {problem or 'works'}", flush=True)
    print(f"{len(interpreters) - failed} passed, {failed} failed")
    return 1 if failed or not interpreters else 0


def check_contents(wheel: Path) -> str:
    """Checks the wheel's tag and files, and returns its version."""
    name, version, python_tag, abi_tag, _ = wheel.stem.split("-")
    assert (name, python_tag, abi_tag) == ("wse_server", "cp311", "abi3"), (
        f"not an abi3 wheel for 3.11: {wheel.name}"
    )
    with zipfile.ZipFile(wheel) as archive:
        files = archive.namelist()
    missing = [file for file in EXPECTED_FILES if f"wse_server/{file}" not in files]
    assert not missing, f"not in the wheel: {missing}"
    stray = [
        file for file in files if not file.startswith(("wse_server/", f"wse_server-{version}.dist-info/"))
    ]
    assert not stray, f"does not belong in the wheel: {stray}"
    return version


def find_interpreters() -> dict[str, Path]:
    """Finds one interpreter for each CPython version from 3.11 on: on the PATH, and among pyenv's."""
    found: dict[str, Path] = {}
    for candidate in candidates():
        probe = (
            "import sys, platform; print(platform.python_implementation(), '%d.%d' % sys.version_info[:2])"
        )
        try:
            answer = subprocess.run(
                [candidate, "-I", "-c", probe], capture_output=True, text=True, check=True, timeout=PATIENCE
            ).stdout.split()
        except (OSError, subprocess.SubprocessError):
            # A shim of pyenv for a version that is not switched on, for example.
            continue
        implementation, version = answer
        if implementation == "CPython" and tuple(map(int, version.split("."))) >= OLDEST:
            found.setdefault(version, candidate)
    return found


def candidates() -> Iterator[Path]:
    """Yields the places where an interpreter may be."""
    yield Path(sys.executable)
    for minor in range(OLDEST[1], NEWEST_TO_LOOK_FOR[1] + 1):
        on_path = shutil.which(f"python3.{minor}")
        if on_path:
            yield Path(on_path)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob("versions/*/bin/python3"), reverse=True)


def try_wheels(wheel: Path, client: Path, version: str, interpreter: Path) -> str | None:
    """Installs and uses the wheels in a fresh environment. Returns what went wrong, or None."""
    with tempfile.TemporaryDirectory(prefix="wse-wheel-") as directory:
        python = Path(directory) / "bin" / "python"
        wse = Path(directory) / "bin" / "wse"
        install = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            # No dependency of ours may have to be built.
            "--only-binary=:all:",
        ]
        # What is run, what it exits with, and a word that it says.
        commands: list[tuple[list[str | Path], int, str]] = [
            ([interpreter, "-m", "venv", directory], 0, ""),
            ([python, *install, wheel.resolve()], 0, ""),
            # -I: neither the sources beside this script nor the environment of the caller may help.
            ([python, "-I", Path(__file__).resolve(), "--inside", version], 0, ""),
            ([wse, "--version"], 2, "pip install 'wse-server[cli]'"),
            ([python, *install, f"{wheel.resolve()}[cli]", client.resolve()], 0, ""),
            ([wse, "--version"], 0, version),
            ([wse, "certs", "create", "--out", "certs", "node-1"], 0, "certs/node-1/node.pem"),
            ([wse, "check", "--seeds", "node-1:9999", "--tls-dir", "certs/node-1"], 0, "no problems"),
            # It starts a server of its own, and is its clients.
            ([wse, "bench", "echo", "--seconds", "0.5", "--clients", "5"], 0, "round trips"),
        ]
        for command, code, word in commands:
            result = subprocess.run(
                command, capture_output=True, text=True, check=False, cwd=directory, timeout=120
            )
            if result.returncode != code or word not in result.stdout + result.stderr:
                return f"exit status {result.returncode} of {command[1:]}\n{result.stdout}{result.stderr}"
    return None


# What is run inside.


def use(version: str) -> None:
    """Starts a server, exchanges a message with one client, and stops it."""
    import wse_server  # noqa: PLC0415 (there is none outside)

    assert Path(wse_server.__file__).is_relative_to(sys.prefix), wse_server.__file__
    assert metadata.version("wse-server") == version, metadata.version("wse-server")

    server = wse_server.RustWSEServer("127.0.0.1", 0)
    server.enable_drain_mode()
    server.start()
    port = server.port
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
            upgrade(client, port)
            kind, conn_id, _ = next_event(server)
            assert kind == "connect", kind
            client.sendall(masked_text(b'{"t":"hello","p":{"n":1}}'))
            event = next_event(server)
            assert event == ("msg", conn_id, {"t": "hello", "p": {"n": 1}}), event
            server.send(conn_id, "welcome")
            frame = read_exactly(client, 9)
            assert frame == b"\x81\x07welcome", frame
    finally:
        server.stop()
    assert not server.is_running()


def upgrade(client: socket.socket, port: int) -> None:
    """Makes a WebSocket of the connection; the key and its answer are those of RFC 6455, section 1.3."""
    request = (
        f"GET /wse HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    client.sendall(request.encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += read_exactly(client, 1)
    assert answer.startswith(b"HTTP/1.1 101 "), answer
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer, answer


def masked_text(payload: bytes) -> bytes:
    """Frames a short text as a client must: masked (RFC 6455, section 5.3)."""
    mask = b"\x12\x34\x56\x78"
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes([0x81, 0x80 | len(payload)]) + mask + masked


def next_event(server: object) -> tuple[str, str, object]:
    """Waits for the next event."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        events: list[tuple[str, str, object]] = server.drain_inbound(1, 1000)  # type: ignore[attr-defined]
        if events:
            return events[0]
    raise AssertionError(f"no event within {PATIENCE} s")


def read_exactly(client: socket.socket, count: int) -> bytes:
    """Reads this many bytes."""
    received = b""
    while len(received) < count:
        chunk = client.recv(count - len(received))
        assert chunk, f"the connection ended after {received!r}"
        received += chunk
    return received


if __name__ == "__main__":
    sys.exit(main())
