"""Fixtures of the client's tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from support import Running
from wse_client import retry
from wse_client.codes import CloseInfo, close_info

Factory = Callable[..., Running]


@pytest.fixture
def serving(server_factory: Factory) -> Factory:
    """Starts a server that lets clients do everything, with history."""
    return lambda **options: server_factory(
        **{"client_subscriptions": True, "client_publish": True, "recovery_enabled": True} | options
    )


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets clients come back twenty times as fast as the table says: the rest is as it is."""

    def sooner(code: int) -> CloseInfo:
        info = close_info(code)
        return dataclasses.replace(info, min_ms=info.min_ms // 20, max_ms=info.max_ms // 20)

    monkeypatch.setattr(retry, "close_info", sooner)
    monkeypatch.setattr(retry, "BACKOFF_MAX_MS", 1000)
