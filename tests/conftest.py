"""Fixtures that any test may ask for. The classes behind them are in `support.py`."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import presence
import support
from hosts import network, start
from http_api import api, worker

__all__ = ["api", "network", "start", "worker"]


@pytest.fixture(autouse=True)
def reserved_ports() -> Iterator[None]:
    """Keeps the ports of `support.free_port` until the test is over."""
    yield
    support.release_ports()


@pytest.fixture
def server_factory() -> Iterator[Callable[..., support.Running]]:
    """Starts servers with the options given and stops them all when the test is over."""
    with ExitStack() as running:
        yield lambda **options: running.enter_context(support.start_server(**options))


@pytest.fixture
def running(server_factory: Callable[..., support.Running]) -> support.Running:
    """A server with default options, in drain mode."""
    return server_factory()


@pytest.fixture
def users(server_factory: Callable[..., support.Running]) -> support.Running:
    """A server with presence whose clients have tokens: `presence.user` makes one."""
    return server_factory(presence_enabled=True, jwt_secret=presence.SECRET)


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on, kept from all others until the test is over."""
    return support.free_port()


@pytest.fixture(scope="session")
def repository() -> Path:
    """The directory with the README."""
    return Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    """Lets the programs that tests start be interrupted, also where the suite runs in the background.

    A shell without job control starts such a command with SIGINT ignored, and what is ignored is inherited.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
