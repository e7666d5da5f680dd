"""`wse certs` is killed before each of its steps, and what nodes read fits all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from command import command
from wse_server.cli.certs import files, issue
from wse_server.cli.errors import CliError

# Copies a directory, runs a command there and kills it before its first step that changes files; the same
# with the second, and so on, until it comes to its end. Python tells of each step before it is done.
KILLER = """
import itertools, os, shutil, signal, sys
from wse_server.cli import app
import wse_server.cli.certs, wse_server.cli.certs.issue

STEPS = {"os.rename", "os.link", "os.symlink", "os.remove", "os.mkdir", "os.chmod", "os.chown", "os.rmdir"}
template, place, arguments = sys.argv[1], sys.argv[2], sys.argv[3:]
# What a process has written outlives it, synced or not, and to sync is what takes long.
os.fsync = lambda descriptor: None

def run(number, directory):
    done = 0
    def watch(event, details):
        nonlocal done
        if event in STEPS or event == "open" and details[2] & os.O_CREAT:
            done += 1
            if done == number:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)
    sys.argv = ["wse", "certs", arguments[0], "--out", directory, *arguments[1:]]
    app.run()

for number in itertools.count(1):
    directory = f"{place}/{number}"
    shutil.copytree(template, directory, symlinks=True)
    child = os.fork()
    if child == 0:
        try:
            run(number, directory)
        except SystemExit as end:
            sys.stderr.flush()
            os._exit(end.code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status != -signal.SIGKILL:
        sys.exit(status)
"""


def killed(template: Path, place: Path, *arguments: str) -> list[Path]:
    """Runs a command many times, each on a copy of a directory, and returns the copies.

    All but the last are of runs that were killed, each one step further than the one before.
    """
    place.mkdir()
    script = [sys.executable, "-c", KILLER, str(template), str(place), *arguments]
    done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return sorted(place.iterdir(), key=lambda path: int(path.name))


def pair(directory: Path) -> tuple[bytes, bytes]:
    """Key and certificate as a node reads them; they fit, and so does the authority."""
    key, certificate = (directory / "node.key").read_bytes(), (directory / "node.pem").read_bytes()
    read = issue.read_certificates(certificate)[0]
    assert issue.belongs(issue.read_key(key), read)
    assert issue.issued_by(read, issue.read_certificates((directory / "ca.pem").read_bytes())[0])
    return key, certificate


def left_over(directory: Path) -> list[str]:
    return [str(path) for path in directory.rglob("*") if path.name.startswith(".") or path.is_symlink()]


def test_a_change_that_is_killed_leaves_the_old_files_or_the_new_ones(tmp_path: Path) -> None:
    template, another = tmp_path / "template", tmp_path / "another"
    command("certs", "create", "--out", template, "wse-1")
    command("certs", "create", "--out", another, "wse-1")
    old = pair(template / "wse-1")
    runs = killed(template, tmp_path / "runs", "renew", "--force", "--ca", str(another))
    assert len(runs) > 30, "the steps were seen"
    was_old = [pair(run / "wse-1") == old for run in runs]
    assert was_old == sorted(was_old, reverse=True), "from one step on they are the new ones"
    assert was_old[0]
    assert not was_old[-1]
    assert any(left_over(run) for run in runs)
    for run in runs[::3]:
        before = pair(run / "wse-1")
        assert (run / "wse-1/node.key").stat().st_mode & 0o777 == 0o600
        # Whatever was left, the next command puts it in order.
        command("certs", "create", "--out", run, "wse-2")
        assert pair(run / "wse-1") == before
        assert left_over(run) == []


def test_a_first_run_that_is_killed_can_be_done_again(tmp_path: Path) -> None:
    template = tmp_path / "template"
    template.mkdir()
    runs = killed(template, tmp_path / "runs", "create", "wse-1", "wse-2")
    assert len(runs) > 20
    for run in runs[::3]:
        done = {name for name in ("wse-1", "wse-2") if (run / name / "node.pem").exists()}
        kept = {name: pair(run / name) for name in done}
        for key in run.rglob("*.key"):
            assert key.stat().st_mode & 0o777 == 0o600
        missing = {"wse-1", "wse-2"} - done
        next_one = ("create", *sorted(missing)) if missing else ("renew",)
        command("certs", *next_one, "--out", run)
        for name in ("wse-1", "wse-2"):
            assert pair(run / name) == kept.get(name, pair(run / name))
        assert left_over(run) == []


def steps_of(directory: Path) -> Iterator[tuple[str, str]]:
    """Changes a pair, and yields what is asked of the disk: what is synced, and what gets another name."""
    seen: list[tuple[str, str]] = []
    rename, fsync = os.rename, os.fsync

    def see_fsync(descriptor: int) -> None:
        seen.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink().name))
        fsync(descriptor)

    def see_rename(source: Path, target: Path) -> None:
        kind = "rename link" if Path(source).is_symlink() else "rename"
        seen.append((kind, Path(source).name))
        rename(source, target)

    with mock.patch.object(os, "fsync", see_fsync), mock.patch.object(os, "rename", see_rename):
        files.replace_together(directory, {"node.key": b"new key", "node.pem": b"new certificate"})
    yield from seen


@pytest.mark.skipif(sys.platform != "linux", reason="what is synced is read in /proc")
def test_each_step_is_on_the_disk_before_the_next(tmp_path: Path) -> None:
    (tmp_path / "node.key").write_bytes(b"old key")
    (tmp_path / "node.pem").write_bytes(b"old certificate")
    steps = list(steps_of(tmp_path))
    renames = [number for number, (kind, _) in enumerate(steps) if kind != "sync"]
    assert len(renames) == 6, "a link, two files to links, the link to the new pair, two files again"
    for number in renames:
        kind, name = steps[number]
        assert kind == "rename link" or ("sync", name) in steps[:number], "the content before the name"
        assert steps[number + 1] == ("sync", tmp_path.name), "the name before what follows"
    assert (tmp_path / "node.key").read_bytes() == b"new key"
    assert left_over(tmp_path) == []


def test_two_at_once_do_not_meet(tmp_path: Path) -> None:
    command("certs", "create", "--out", tmp_path, "wse-1")
    with files.exclusive(tmp_path):
        done = command("certs", "renew", "--out", tmp_path, "--force", code=1)
    assert "another wse certs is at work there" in done.stderr


def test_without_hard_links_nothing_is_overwritten_either(tmp_path: Path) -> None:
    with mock.patch.object(os, "link", side_effect=PermissionError):
        command("certs", "create", "--out", tmp_path, "wse-1")
        before = pair(tmp_path / "wse-1")
        with pytest.raises(CliError, match="is there already"):
            files.create(tmp_path / "wse-1/node.pem", b"", files.PUBLIC)
    assert pair(tmp_path / "wse-1") == before
    assert left_over(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_who_could_read_a_key_can_read_the_next_one(tmp_path: Path) -> None:
    command("certs", "create", "--out", tmp_path, "wse-1")
    os.chown(tmp_path / "wse-1/node.key", 10001, 10002)
    command("certs", "renew", "--out", tmp_path, "--force")
    now = (tmp_path / "wse-1/node.key").stat()
    assert (now.st_uid, now.st_gid, now.st_mode & 0o777) == (10001, 10002, 0o600)
    assert (tmp_path / "wse-1/node.pem").stat().st_uid == 0
