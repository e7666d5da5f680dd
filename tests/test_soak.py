"""The soak itself: a short one holds, and what it concludes from figures is right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from soak import verdict
from soak.plan import Plan
from soak.verdict import Trend


@pytest.mark.slow
def test_nothing_is_left_of_clients_of_every_kind(repository: Path, tmp_path: Path) -> None:
    command = ["-m", "soak", "--minutes", "0.25", "--clients", "100", "--cpu", "0.4", "--out", tmp_path]
    soak = subprocess.run(
        [sys.executable, *map(str, command)],
        env=os.environ | {"PYTHONPATH": str(repository / "tools")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=110,
        check=False,
    )
    assert soak.returncode == 0, soak.stdout
    (report,) = (json.loads(path.read_text()) for path in tmp_path.glob("*.json"))
    assert all(check["holds"] for check in report["checks"])
    assert report["end"]["connections_accepted"] > 100
    (picture,) = tmp_path.glob("*.svg")
    ElementTree.parse(picture)  # noqa: S314 - a file of our own


def test_growth_is_told_from_noise() -> None:
    lots = Plan(60, 7, 100, 0.5, "shared").lots("noise")
    times = [60.0 * number for number in range(28)]
    level = [50e6 + lots.gauss(0, 1e6) for _ in times]
    growing = [value + at * 5e3 for value, at in zip(level, times, strict=True)]
    steady, _ = verdict.no_growth("it", times, level, 1680)
    leaking, trend = verdict.no_growth("it", times, growing, 1680)
    assert steady.holds
    assert not leaking.holds
    assert trend is not None
    assert trend.points == 14
    assert 3e3 < trend.slope < 7e3


def test_noise_seldom_looks_like_growth() -> None:
    lots = Plan(60, 8, 100, 0.5, "shared").lots("noise")
    times = [float(number) for number in range(14)]
    alarms = sum(
        Trend.of(times, [lots.random() for _ in times]).probability < verdict.SIGNIFICANCE
        for _ in range(2000)
    )
    # A hundredth of them, by the meaning of the probability, with three standard deviations on either side.
    assert 6 <= alarms <= 34


def test_values_that_do_not_move_are_no_growth() -> None:
    assert Trend.of([1.0, 2.0, 3.0], [5.0, 5.0, 5.0]) == Trend(3, 0.0, 1.0)
    assert Trend.of([], []) == Trend(0, 0.0, 1.0)


def test_memory_that_stays_is_found() -> None:
    assert verdict.memory(40_000_000, 41_000_000, margin=1_000_000).holds
    assert not verdict.memory(40_000_000, 41_000_001, margin=1_000_000).holds
    assert Plan(1800, 1, 240, 0.6, "shared").margin < Plan(15, 1, 240, 0.6, "shared").margin


def test_the_same_seed_gives_the_same_lots() -> None:
    plan = Plan(60, 3, 100, 0.5, "shared")
    assert plan.lots("crowd", 1).random() == plan.lots("crowd", 1).random()
    assert plan.lots("crowd", 1).random() != plan.lots("crowd", 2).random()
    assert plan.options()["idle_timeout"] < plan.tide
