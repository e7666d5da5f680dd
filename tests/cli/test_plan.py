"""`wse plan`: within what the deployment guide allows, true to its slopes, and taken by the server."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
import yaml

from command import command, process
from documents import every_block
from wse_server import RustWSEServer
from wse_server.cli.plan import model
from wse_server.cli.plan.advice import Asked, advise
from wse_server.cli.plan.model import MIB, Slopes, Work, needs

GIB = 1 << 30
# Connections, RAM, cores and recovery budget, from the deployment guide.
GUIDE = [
    (1_000, 256 * MIB, 1, 64 * MIB),
    (10_000, 512 * MIB, 2, 128 * MIB),
    (50_000, 2 * GIB, 4, 256 * MIB),
    (100_000, 4 * GIB, 8, 512 * MIB),
    (500_000, 16 * GIB, 16, GIB),
]
ONE_OF_EACH = Slopes(*[1.0] * len(Slopes._fields))


def planned(*arguments: object) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(command("plan", *arguments, "--json").stdout)
    return result


@pytest.mark.parametrize(("connections", "ram", "cores", "budget"), GUIDE)
def test_a_row_of_the_guide_is_kept(connections: int, ram: int, cores: int, budget: int) -> None:
    result = planned("--connections", connections)
    recommended = result["recommended"]
    assert recommended["ram_bytes"] <= ram
    assert result["computed"]["cores"] < cores
    # The guide's last row says "16+".
    assert recommended["cores"] <= cores or cores == 16
    assert recommended["options"]["recovery_memory_budget"] == budget
    assert recommended["descriptors"] > connections


def test_the_slopes_are_those_that_were_measured_and_say_where() -> None:
    data = model.data()
    assert set(data["measured"]) == set(Slopes._fields)
    assert {"commit", "date", "machine", "load_average"} <= data.keys()
    assert min(data["measured"].values()) >= 0
    assert data["measured"]["user_bytes_per_connection"] > 100
    assert data["measured"]["kernel_bytes_per_connection"] > 1000
    assert 0.5 < data["measured"]["memory_per_history_byte"] < 2


def test_needs_are_the_sum_of_what_each_thing_costs() -> None:
    work = Work(connections=100, messages_per_s=10, size=2048, topics=20, history_bytes=5000)
    taken = needs(work, ONE_OF_EACH)
    assert (work.receivers, work.deliveries_per_s) == (5, 50)
    assert (taken.base_bytes, taken.connection_bytes, taken.topic_bytes, taken.history_bytes) == (
        1,
        100,
        20,
        5000,
    )
    assert taken.user_bytes == 5121
    assert taken.bytes == 5121 + 100
    # Ten publications and fifty deliveries, each one for itself and one for each of its two KiB.
    assert taken.cores == pytest.approx((10 + 50) * 3 / 1e6)
    assert taken.connect_s == pytest.approx(100 / 1e6)


def test_more_of_anything_never_needs_less() -> None:
    slopes = model.slopes()
    plain = Asked(connections=5000, messages_per_s=1000, size=500, topics=50, history_s=10)
    least = advise(plain, slopes)
    for more in (
        Asked(connections=6000, messages_per_s=1000, size=500, topics=50, history_s=10),
        Asked(connections=5000, messages_per_s=2000, size=500, topics=50, history_s=10),
        Asked(connections=5000, messages_per_s=1000, size=5000, topics=50, history_s=10),
        Asked(connections=5000, messages_per_s=1000, size=500, topics=50, history_s=100),
    ):
        advice = advise(more, slopes)
        assert advice.needs.bytes >= least.needs.bytes, more
        assert advice.ram_bytes >= least.ram_bytes, more
        assert advice.needs.cores >= least.needs.cores, more


def test_a_history_that_is_asked_for_has_room_for_it() -> None:
    result = planned("--connections", 1000, "--messages", 500, "--topics", 10, "--history", 30)
    options = result["recommended"]["options"]
    # 50 messages a second in each topic for 30 seconds.
    assert options["recovery_buffer_size"] == 2048
    assert options["recovery_memory_budget"] > 500 * 30 * 1024
    assert result["computed"]["history_covers_s"] == pytest.approx(30, rel=0.05)


def test_without_history_there_is_no_budget() -> None:
    result = planned("--connections", 1000, "--history", 0)
    assert result["recommended"]["options"]["recovery_enabled"] is False
    assert "recovery_memory_budget" not in result["recommended"]["options"]
    assert result["computed"]["history_bytes"] == result["computed"]["history_covers_s"] == 0


@pytest.mark.parametrize("connections", [1, 1000, 500_000])
def test_the_server_takes_the_options(connections: int) -> None:
    RustWSEServer("127.0.0.1", 0, **planned("--connections", connections)["recommended"]["options"])


def test_the_options_are_the_same_in_each_form() -> None:
    asked = ("plan", "--connections", 20_000, "--format")
    options = planned("--connections", 20_000)["recommended"]["options"]
    assert tomllib.loads(command(*asked, "toml").stdout) == options
    variables = dict(line.split("=") for line in command(*asked, "env").stdout.split())
    assert variables == {f"WSE_{name.upper()}": str(value).lower() for name, value in options.items()}
    words = command(*asked, "flags").stdout.split()
    assert words[:4] == ["wse", "serve", "--max-connections", "20000"]
    assert "--recovery-enabled" in words


def test_a_container_gets_what_it_needs_and_may_take_what_is_recommended() -> None:
    recommended = planned("--connections", 10_000)["recommended"]
    resources = yaml.safe_load(command("plan", "--connections", 10_000, "--format", "kubernetes").stdout)
    assert resources["resources"] == recommended["kubernetes"]
    assert recommended["kubernetes"]["limits"]["memory"] == f"{recommended['ram_bytes'] // MIB}Mi"
    assert "cpu" not in recommended["kubernetes"]["limits"]


def test_a_plan_for_people_says_what_is_measured_and_what_else_to_look_at() -> None:
    done = process("plan", "--connections", 100_000)
    for words in ("measured", "computed", "LimitNOFILE=", "nf_conntrack_max", "28,000 ports", "limits:"):
        assert words in done.stdout, words
    assert "slopes measured on" in done.stderr
    assert "28,000" not in command("plan", "--connections", 1000).stdout


def test_what_the_page_shows_is_what_one_types() -> None:
    lines = "\n".join(every_block("docs/reference/sizing.md", "console")).split("\n$ ")
    assert len(lines) == 3
    for line in lines:
        words = line.strip().removeprefix("$ ").removeprefix("wse ").removesuffix(" > wse.toml").split()
        assert command(*words).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--connections"),
        (["--connections", "0"], "--connections"),
        (["--connections", "10", "--topics", "11"], "--topics 11"),
        (["--connections", "10", "--size", "0"], "--size"),
        (["--connections", "10", "--format", "xml"], "xml"),
    ],
)
def test_what_cannot_be_meant_is_a_line(arguments: list[str], words: str) -> None:
    assert words in command("plan", *arguments, code=2).stderr
