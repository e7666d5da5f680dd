"""`wse completion`, by the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli.service import environment, wse

# What each shell does when somebody presses Tab after these words; it prints what it offers, one a line.
BASH = """
source ./wse.bash
compopt() { :; }
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
function=$(complete -p wse | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$function" wse
printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """
compdef() { function=$1 }
compadd() { print -rl -- ${(P)@[-1]} }
_describe() { print -rl -- ${${(P)${@[(r)completions*]}}%%:*} }
source ./wse.zsh
words=("$@")
CURRENT=$#
"$function"
"""
FISH = """
source ./wse.fish
complete --do-complete "$argv" | cut --fields 1
"""
SHELLS = {
    "bash": ["--norc", "-ec", BASH, "bash"],
    "zsh": ["-f", "-ec", ZSH, "zsh"],
    "fish": ["--no-config", "--command", FISH],
}


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH on which `wse` is this one."""
    program = tmp_path / "bin/wse"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m wse_server "$@"\n')
    program.chmod(0o755)
    return f"{program.parent}:{os.environ['PATH']}"


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
@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes(
    shell: str, *, words: list[str], some: list[str], none: list[str], path: str, tmp_path: Path
) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed (Debian: apt-get install {shell})")
    (tmp_path / f"wse.{shell}").write_text(wse("completion", shell).out)
    done = subprocess.run(
        [program, *SHELLS[shell], *words],
        env=environment({"PATH": path, "HOME": str(tmp_path)}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    offered = done.stdout.split()
    assert set(some) <= set(offered)
    assert not set(none) & set(offered)


def test_an_unknown_shell_is_told_which_there_are() -> None:
    done = wse("completion", "tcsh")
    assert done.code == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in done.err
