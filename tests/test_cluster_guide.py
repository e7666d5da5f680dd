"""The page for operators: its program runs as it stands, and its commands are those that the tests use."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

import support
from certificates import MAKE_CA, MAKE_NODE
from documents import block
from nodes import until


def test_three_nodes_run_the_program_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = block("docs/how-to/cluster.md", "WSE_SEEDS")
    program = tmp_path / "node.py"
    program.write_text("import logging\nlogging.basicConfig(level=logging.INFO)\n" + code)
    ports = [(support.free_port(), support.free_port()) for _ in range(3)]
    monkeypatch.setenv("WSE_SEEDS", ",".join(f"{support.HOST}:{port}" for _, port in ports[:2]))
    monkeypatch.setenv("WSE_CLUSTER_SECRET", "a secret of the whole cluster")
    with ExitStack() as stack:
        nodes = []
        for port, cluster_port in ports:
            monkeypatch.setenv("WSE_PORT", str(port))
            monkeypatch.setenv("WSE_CLUSTER_PORT", str(cluster_port))
            nodes.append(stack.enter_context(support.Program(program)))
        peers = []
        for node, (port, _) in zip(nodes, ports, strict=True):
            node.wait_for_port(port)
            peers.append(support.Peer(support.dial(f"ws://{support.HOST}:{port}/wse"), ""))
            stack.callback(peers[-1].close)
        for node in nodes:
            support.wait_until(lambda node=node: node.output.count("linked with node") == 2, "linked")  # type: ignore[misc]
        # The program subscribes a client some time after it has connected, and the others learn of it then.
        for number, speaker in enumerate(peers):
            for listener in peers:
                repeat_until_heard(speaker, listener, f"here {number}")
        for number, speaker in enumerate(peers):
            speaker.send(f"hello {number}")
            for listener in peers:
                before = until(listener, f"hello {number}")
                assert all(str(message).startswith("here ") for message in before), before


def repeat_until_heard(speaker: support.Peer, listener: support.Peer, message: str) -> None:
    """Sends a message until the listener has received one of them."""

    def is_heard() -> bool:
        speaker.send(message)
        try:
            while listener.receive(0.2) != message:
                pass
        except TimeoutError:
            return False
        return True

    support.wait_until(is_heard, f"{message!r} is heard")


def test_the_commands_for_certificates_are_those_of_the_tests() -> None:
    assert block("docs/how-to/cluster.md", "openssl", "bash") == MAKE_CA + MAKE_NODE
