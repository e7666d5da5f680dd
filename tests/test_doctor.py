"""Both commands say plainly what is missing, on machines that are made here to lack it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SHELL = shutil.which("sh") or "/bin/sh"
MAKE = shutil.which("make")


class Machine:
    """A directory of commands that is all the PATH there is."""

    def __init__(self, directory: Path, repository: Path) -> None:
        self._directory = directory
        self._repository = repository
        self.reports("cargo", "cargo 1.95.0")
        self.reports("rustc", "rustc 1.95.0 (59807616e 2026-04-14)")
        self.reports("cc", "cc 12")
        self.reports("python3", "")

    def reports(self, command: str, text: str, status: int = 0) -> None:
        """Installs a command that prints `text` whatever it is asked, and ends with `status`."""
        path = self._directory / command
        path.write_text(f"#!{SHELL}\necho '{text}'\nexit {status}\n")
        path.chmod(0o755)

    def lacks(self, *commands: str) -> None:
        """Removes commands."""
        for command in commands:
            (self._directory / command).unlink()

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs a command of the real machine in the repository, with nothing but this machine's PATH."""
        return subprocess.run(
            command,
            cwd=self._repository,
            env={"PATH": str(self._directory), **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def doctor(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Asks what is missing."""
        return self.run(SHELL, "tools/doctor.sh", **environment)


@pytest.fixture
def machine(tmp_path: Path, repository: Path) -> Machine:
    return Machine(tmp_path, repository)


def test_nothing_is_said_when_all_is_there(machine: Machine) -> None:
    result = machine.doctor()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_bare_machine_hears_everything_at_once(machine: Machine) -> None:
    machine.lacks("cargo", "rustc", "cc", "python3")
    result = machine.doctor()
    assert result.returncode == 1
    assert "missing: Rust 1.95.0 (no 'cargo' and 'rustc' on the PATH)" in result.stdout
    assert "missing: a C compiler (no 'cc' on the PATH)" in result.stdout
    assert "missing: Python 3.11 or later" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("command", "said"), [("cargo", "Rust 1.95.0"), ("rustc", "Rust 1.95.0"), ("cc", "C compiler")]
)
def test_one_thing_missing_is_the_one_thing_said(machine: Machine, command: str, said: str) -> None:
    machine.lacks(command)
    result = machine.doctor()
    assert result.returncode == 1
    assert result.stdout.count("missing:") == 1
    assert said in result.stdout


@pytest.mark.parametrize(
    ("version", "status"), [("1.94.1", 1), ("0.99.0", 1), ("1.95.0", 0), ("1.100.0", 0), ("2.0.0", 0)]
)
def test_an_old_compiler_is_named_with_its_version(machine: Machine, version: str, status: int) -> None:
    machine.reports("rustc", f"rustc {version} (abcdef 2026-01-01)")
    result = machine.doctor()
    assert result.returncode == status
    assert (f"missing: Rust 1.95.0 (found {version})" in result.stdout) == bool(status)


def test_a_toolchain_that_cannot_start_is_said(machine: Machine) -> None:
    machine.reports("rustc", "error: toolchain '1.95.0' is not installed", status=1)
    assert "'rustc --version' fails" in machine.doctor().stdout


def test_a_python_that_is_too_old_is_passed_over_for_a_newer_one(machine: Machine) -> None:
    machine.reports("python3", "", status=1)
    assert "missing: Python 3.11 or later" in machine.doctor().stdout
    machine.reports("python3.12", "")
    assert machine.doctor().returncode == 0
    assert machine.run(SHELL, "tools/doctor.sh", "--python").stdout.strip().endswith("/python3.12")


def test_a_python_that_is_named_is_the_one_that_counts(machine: Machine) -> None:
    result = machine.doctor(PYTHON="/nowhere/python3")
    assert result.returncode == 1
    assert "(tried: /nowhere/python3)" in result.stdout


@pytest.mark.skipif(MAKE is None, reason="no make")
@pytest.mark.parametrize("target", ["run", "test"])
def test_both_commands_stop_at_once_and_say_it(machine: Machine, target: str) -> None:
    machine.lacks("cc")
    result = machine.run(str(MAKE), "--no-print-directory", target)
    assert result.returncode != 0
    assert "missing: a C compiler" in result.stdout
    assert "WSE cannot be built until then." in result.stdout
    assert "====" not in result.stdout, "a step was begun all the same"
