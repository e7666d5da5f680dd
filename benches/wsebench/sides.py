"""The servers that are compared: this build, the earlier release, the floor, and perhaps another build."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent
BUILD = ROOT / "build" / "bench"
EARLIER_VENV = ROOT / "build" / "bench-earlier"
EARLIER = "wse-server==2.5.1"
EARLIER_PYTHON = "3.12"
C_FLAGS = ["-O2", "-std=gnu17", "-Wall"]


class MissingError(Exception):
    """A side cannot be measured here; the message says what is missing and how to get it."""


@dataclass
class Side:
    """One of the servers. `name` is `ours`, `earlier`, `floor` or `baseline`."""

    name: str
    program: list[str]
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def is_floor(self) -> bool:
        return self.name == "floor"


def build_programs() -> tuple[Path, Path]:
    """Compile the load clients and the floor server if their sources are newer. Returns where they are.

    Raises:
        MissingError: there is no C compiler, or it refuses the sources.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        raise MissingError("no C compiler (cc, gcc or clang) for benches/load; Debian: apt-get install gcc")
    BUILD.mkdir(parents=True, exist_ok=True)
    load = HERE / "load"
    sources = {
        "wsload": [load / f"{name}.c" for name in ("wsload", "messages", "latency", "options", "proc")],
        "floor": [load / "floor.c"],
        "hostile": [load / "hostile.c", load / "proc.c"],
        "pingpong": [load / "pingpong.c"],
        "chat": [load / f"{name}.c" for name in ("chat", "latency", "proc")],
    }
    newest = max(path.stat().st_mtime for path in load.iterdir())
    for name, files in sources.items():
        target = BUILD / name
        if target.exists() and target.stat().st_mtime > newest:
            continue
        command = [compiler, *C_FLAGS, "-o", str(target), *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MissingError(f"{compiler} refused benches/load:\n{done.stderr}")
    return BUILD / "wsload", BUILD / "floor"


def _find_python(version: str) -> str | None:
    """A CPython of this version: from PATH, or among those of pyenv."""
    candidates = [shutil.which(f"python{version}")]
    candidates += [
        str(path) for path in sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    ]
    # A pyenv shim is on PATH even when it has nothing to run.
    for candidate in candidates:
        if candidate and _prints(candidate, "import sys; print('%d.%d' % sys.version_info[:2])") == version:
            return candidate
    return None


def _prints(python: str, code: str) -> str | None:
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _server(name: str, python: Path | str) -> Side:
    code = (
        "import platform, importlib.metadata as m, wse_server;"
        "print(m.version('wse-server'), platform.python_version())"
    )
    printed = _prints(str(python), code)
    if not printed:
        raise MissingError(f"{python} cannot import wse_server")
    release, interpreter = printed.split()
    return Side(name, [str(python), str(HERE / "server.py")], {"wse-server": release, "python": interpreter})


def ours(python: str | None) -> Side:
    """This build: under the given interpreter, else the one with the release wheel, else the development one.

    Raises:
        MissingError: it is built nowhere.
    """
    if python:
        return _server("ours", python)
    # .venv comes last: it may hold a build with assertions, which is slower.
    for candidate in (ROOT / ".venv-release/bin/python", Path(sys.executable), ROOT / ".venv/bin/python"):
        if candidate.exists():
            try:
                return _server("ours", candidate)
            except MissingError:
                continue
    raise MissingError(
        "wse_server is not built: run `make build-release`, or name an interpreter with --ours"
    )


def baseline(python: str) -> Side:
    return _server("baseline", python)


def earlier(python: str | None) -> Side:
    """The earlier release from PyPI, in an environment of its own that is made on first use.

    Raises:
        MissingError: there is no interpreter of the right version, or the release cannot be installed.
    """
    inside = EARLIER_VENV / "bin" / "python"
    if inside.exists():
        try:
            return _server("earlier", inside)
        except MissingError:
            shutil.rmtree(EARLIER_VENV)
    python = python or _find_python(EARLIER_PYTHON)
    if not python:
        raise MissingError(
            f"no Python {EARLIER_PYTHON} for {EARLIER}; install one or name one with --earlier-python"
        )
    for command in (
        [python, "-m", "venv", str(EARLIER_VENV)],
        [str(inside), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", EARLIER],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MissingError(f"{' '.join(command)} failed:\n{done.stderr.strip()[-400:]}")
    return _server("earlier", inside)


def floor(program: Path) -> Side:
    return Side("floor", [str(program)], {"compiler": " ".join(C_FLAGS[:2])})
