"""The commands of the pages on certificates and on tokens do what the pages say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from certificates import Files
from documents import block
from nodes import Factory, address, join, wait_until_whole
from support import Running


def typed(commands: str, directory: Path) -> str:
    """Runs what stands after `$ `, line by line, and returns what it prints."""
    lines = "\n".join(line.removeprefix("$ ") for line in commands.splitlines())
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/sh", "-e", "-c", lines],
        cwd=directory,
        env={"PATH": path, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_the_commands_for_nodes_make_what_the_page_shows(tmp_path: Path) -> None:
    create = block("docs/how-to/certificates.md", "wse-2=wse-2,10.0.0.2", "console")
    assert "wse-2, 10.0.0.2" in typed(create, tmp_path)
    assert names_in(tmp_path / "certs") == ["ca.key", "ca.pem", "wse-1", "wse-2", "wse-3"]
    renew = block("docs/how-to/certificates.md", "$ wse certs renew --out certs\n", "console")
    assert typed(renew, tmp_path).count(": kept, until") == 3
    look = block("docs/how-to/certificates.md", "$ wse certs inspect certs\n", "console")
    assert typed(look, tmp_path).count("SHA-256") == 7
    watch = block("docs/how-to/certificates.md", "--warn-days", "console")
    assert typed(watch, tmp_path)


def test_the_commands_for_one_directory_keep_the_authoritys_key_out_of_it(tmp_path: Path) -> None:
    typed(block("docs/how-to/certificates.md", "--shared wse-1", "console"), tmp_path)
    pods = block("docs/how-to/certificates.md", "--shared '*.wse", "console")
    assert "*.wse.default.svc.cluster.local" in typed(pods, tmp_path)
    for mounted in ("certs", "wse-tls"):
        assert names_in(tmp_path / mounted) == ["ca.pem", "node.key", "node.pem"]
        assert names_in(tmp_path / f"{mounted}-ca") == ["ca.key", "ca.pem"]


def test_an_authority_is_changed_and_nobody_is_cut_off(
    server_factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("wse-1", "wse-2", "wse-3")
    make = block("docs/how-to/certificates.md", "wse-2=wse-2,10.0.0.2", "console")
    typed(make.replace("wse-2,10.0.0.2", "wse-2"), tmp_path)
    files = {name: files_of(tmp_path / "certs" / name) for name in names}
    running: list[Running] = []

    def arrive(name: str) -> None:
        node = server_factory()
        join(node.server, *(address(one.server) for one in running[:1]), **files[name].arguments)
        running.append(node)
        wait_until_whole([one.server for one in running])

    for name in names:
        arrive(name)
    for commands in (
        block("docs/how-to/certificates.md", "$ wse certs create --out new", "console"),
        block("docs/how-to/certificates.md", "$ wse certs renew --out certs --ca new", "console"),
        block("docs/how-to/certificates.md", "$ cp new/wse-1/ca.pem", "console"),
    ):
        typed(commands, tmp_path)
        for number, name in enumerate(names):
            # One after the other, with new links in the middle: old and new must understand each other.
            mine = files[name]
            running[number].server.reload_cluster_tls(mine.cert, mine.key, mine.ca)
            if number == 1:
                arrive(name)
                running.pop().close()
                wait_until_whole([one.server for one in running])
    assert files["wse-1"].ca.read_bytes() == (tmp_path / "new/wse-1/ca.pem").read_bytes()
    assert all(one.server.health_snapshot()["cluster_reconnect_count"] == 0 for one in running)
    assert "kept authority" in typed("$ wse certs create --out certs wse-4", tmp_path), (
        "the new one is in its place"
    )


def files_of(directory: Path) -> Files:
    """The three files of a node."""
    return Files(directory / "ca.pem", directory / "node.pem", directory / "node.key")


def test_the_commands_for_tokens_say_that_the_token_is_good(tmp_path: Path) -> None:
    shown = typed(block("docs/how-to/authentication.md", "wse token mint", "console"), tmp_path)
    assert '"room:*"' in shown
    assert "expires in 15 min" in shown
    assert "verified" in shown
