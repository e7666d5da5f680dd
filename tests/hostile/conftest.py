"""The process that attacks, shared by the tests of a run."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest

from hostile.stage import attackers_pool


@pytest.fixture(scope="session")
def pool() -> Iterator[ProcessPoolExecutor]:
    """The process that the attacks run in."""
    with attackers_pool() as attackers:
        yield attackers
