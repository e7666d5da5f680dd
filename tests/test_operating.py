"""The README's way to a server without Python code, typed as it stands there, on a machine of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from documents import block
from support import wait_until
from terminals import Machine, Terminal, why_not

SBIN = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "it is possible")


@pytest.fixture
def machine(tmp_path: Path, repository: Path) -> Iterator[Machine]:
    with Machine(tmp_path, repository) as machine:
        yield machine


@pytest.mark.skipif(shutil.which("nginx", path=SBIN) is None, reason="not installed: nginx (nginx-light)")
def test_one_node_behind_nginx_with_tls(machine: Machine) -> None:
    server = machine.terminal(block("README.md", "deploy/nginx/wse.conf", "sh"))
    server.wait_for("is ready on 127.0.0.1:5007")
    listener = machine.terminal(block("README.md", "ca.pem news\n", "sh"))
    listener.wait_for("subscribed")
    machine.terminal(block("README.md", "It works.", "sh")).wait()
    listener.wait_for("It works.")


@pytest.mark.skipif(shutil.which("haproxy", path=SBIN) is None, reason="not installed: haproxy")
@pytest.mark.parametrize("victim", ["node-a", "node-b", "node-c"])
def test_three_nodes_behind_haproxy_of_which_any_may_be_killed(machine: Machine, victim: str) -> None:
    machine.terminal(block("README.md", "haproxy -D", "sh")).wait()
    wait_for_all(machine)
    listener = machine.terminal(block("README.md", "sort -u", "sh"))
    listener.wait_for("subscribed")
    # Somebody who types the next command needs time; a test does not.
    speaker = machine.terminal(block("README.md", "seq 2000", "sh").replace("--rate 100", "--rate 400"))
    heard = machine.clone / "build" / "heard"
    wait_until(lambda: len(heard.read_text().splitlines()) >= 200, "nothing is heard")
    machine.terminal(block("README.md", "kill -9", "sh").replace("node-b", victim)).wait()
    speaker.wait(40)
    shown = listener.wait(20)
    assert shown.split()[-1] == "2000", shown
    assert len(heard.read_text().splitlines()) == 2000


def wait_for_all(machine: Machine) -> Terminal:
    """Waits until all three nodes take clients."""
    nodes = " ".join(f"127.0.0.{number}:5007" for number in (1, 2, 3))
    terminal = machine.terminal(f"until .venv-release/bin/wse health --ready {nodes}; do sleep 0.2; done")
    terminal.wait(30)
    # HAProxy asks them once a second, and finds out a moment later.
    public = "--url wss://localhost/wse --ca build/haproxy/ca.pem"
    machine.terminal(f"until .venv-release/bin/wse pub {public} probe up; do sleep 0.1; done").wait(30)
    return terminal
