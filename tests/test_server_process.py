"""The host of jobs in another process, where its events come late, as on a machine that is busy."""

from __future__ import annotations

import threading
from typing import Any

import netns
from server_process import Host
from support import HOST, wait_until


class Late:
    """A server whose events are told only while `gate` is open."""

    def __init__(self, server: Any, gate: threading.Event) -> None:  # noqa: ANN401 - it stands for one
        self._server = server
        self._gate = gate

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as the server
        return getattr(self._server, name)

    def drain_inbound(self, *args: Any) -> Any:  # noqa: ANN401 - as the server
        events = self._server.drain_inbound(*args)
        if events:
            self._gate.wait()
        return events


def test_a_client_that_comes_again_under_its_name_is_not_taken_for_the_one_before() -> None:
    host, gate = Host(HOST, 0, {}), threading.Event()
    server = host.server
    try:
        host.server = Late(server, gate)  # type: ignore[assignment]
        gate.set()
        host.drain()
        netns._listen(host, "ear", "t", {})
        netns._hang_up(host, "ear")
        first = host.conn_id("ear")
        host.wait("disconnect", 1, 10)
        gate.clear()
        again = threading.Thread(target=netns._listen, args=(host, "ear", "t", {}))
        again.start()
        # It has connected, and nobody was told.
        wait_until(lambda: server.get_connection_count() == 1, "it is there")
        again.join(0.2)
        assert again.is_alive(), f"it waits for its own connection, and does not take {first}"
        gate.set()
        again.join(10)
        assert host.conn_id("ear") != first
        server.broadcast("t", "once")
        wait_until(lambda: netns._heard(host, "ear") == ["once"], "it hears")
        netns._hang_up(host, "ear")
    finally:
        gate.set()
        server.stop()
