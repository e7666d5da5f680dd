"""Recovery against a plain model: random schedules of everything that can happen to it.

`make recovery-model SCHEDULES=5000` runs so many; a failure prints its seed.
"""

from __future__ import annotations

import os

import pytest

from recovery_model import Schedule

SCHEDULES = int(os.environ.get("WSE_SCHEDULES", "100"))
TOGETHER = 50


@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", range(0, SCHEDULES, TOGETHER))
def test_the_server_says_what_the_model_says(first: int) -> None:
    for seed in range(first, min(first + TOGETHER, SCHEDULES)):
        try:
            Schedule(seed).run()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
