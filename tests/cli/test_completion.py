"""`wse completion`, by the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli.service import environment, wse

BASH = shutil.which("bash")
OTHERS = [("zsh", "-n"), ("fish", "--no-execute")]

# What readline does when somebody presses Tab after these words.
PRESS_TAB = """
source ./wse.bash
compopt() { :; }
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
function=$(complete -p wse | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$function" wse
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH on which `wse` is this one."""
    program = tmp_path / "bin/wse"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m wse_server "$@"\n')
    program.chmod(0o755)
    return f"{program.parent}:{os.environ['PATH']}"


@pytest.mark.skipif(BASH is None, reason="bash is not installed (Debian: apt-get install bash)")
@pytest.mark.parametrize(
    ("words", "some", "none"),
    [
        (["wse", "ser"], ["serve"], ["check"]),
        (["wse", ""], ["serve", "check", "completion", "health"], []),
        (["wse", "serve", "--jwt-al"], ["--jwt-algorithm"], ["--jwt-issuer"]),
        (["wse", "serve", "--slow-client", ""], ["heal", "gap", "close"], ["--port"]),
        (["wse", "check", "--no-rec"], ["--no-recovery-enabled"], []),
        (["wse", "completion", "f"], ["fish"], ["bash"]),
    ],
)
def test_bash_completes(
    words: list[str], some: list[str], none: list[str], path: str, tmp_path: Path
) -> None:
    (tmp_path / "wse.bash").write_text(wse("completion", "bash").out)
    done = subprocess.run(
        [str(BASH), "--norc", "-ec", PRESS_TAB, "bash", *words],
        env=environment({"PATH": path}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    offered = done.stdout.split()
    assert set(some) <= set(offered)
    assert not set(none) & set(offered)


@pytest.mark.parametrize(("shell", "only_read"), OTHERS)
def test_other_shells_take_the_script(shell: str, only_read: str, tmp_path: Path) -> None:
    script = wse("completion", shell).out
    assert "_WSE_COMPLETE" in script
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed (Debian: apt-get install {shell})")
    (tmp_path / "script").write_text(script)
    done = subprocess.run(
        [program, only_read, tmp_path / "script"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_shell_is_told_which_there_are() -> None:
    done = wse("completion", "tcsh")
    assert done.code == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in done.err
