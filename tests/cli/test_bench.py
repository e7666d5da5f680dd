"""`wse bench`: each mode finds what it looks for, and what can't be measured is said in a line."""

from __future__ import annotations

import json
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import wse_server
from command import command
from documents import block
from support import HOST, PATIENCE, free_port, wait_until
from wse_server import RustWSEServer
from wse_server.cli.bench import machine
from wse_server.cli.bench.result import quantile

SECRET = "a secret that has more than thirty-two bytes"
KEY = "an-api-key-of-more-than-thirty-two-characters"
QUICK = ("--seconds", "0.4", "--json")


def bench(*arguments: object, code: int = 0) -> dict[str, Any]:
    """The result of a measurement."""
    result: dict[str, Any] = json.loads(command("bench", *arguments, *QUICK, code=code).stdout)
    return result


def served(**options: Any) -> RustWSEServer:
    """A started server."""
    server = RustWSEServer(HOST, free_port(), **options)
    server.start()
    return server


def test_connect_counts_every_client_and_times_its_handshake() -> None:
    result = bench("connect", "--clients", 150, "--concurrency", 20)
    figures = result["figures"]
    assert figures["connected"] == 150
    assert figures["connects_per_s"] == pytest.approx(150 / figures["took_s"], rel=0.01)
    assert 0 < figures["handshake_p50_ms"] <= figures["handshake_p99_ms"] <= figures["took_s"] * 1000
    assert figures["server_cpu_per_connect_us"] > 0
    assert sum(count for _, count in result["durations_ns"]["handshake"]) == 150


def test_a_result_says_what_was_measured_where_and_when() -> None:
    result = bench("connect", "--clients", 5)
    assert result["mode"] == "connect"
    assert result["own_server"]
    assert result["version"] == wse_server.__version__
    assert result["date"].startswith("20")
    assert {"cpu", "cpus", "memory_bytes", "system", "python", "load_average"} <= result["machine"].keys()
    assert result["options"]["clients"] == 5
    assert result["problems"] == []


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_idle_tells_memory_of_each_client_in_the_server_and_in_the_kernel() -> None:
    result = bench("idle", "--clients", 1000, "--topics", 3)
    figures = result["figures"]
    assert figures["connected"] == 1000
    assert figures["server_rss_bytes"] > 5e6
    assert 0 < figures["user_bytes_per_client"] < 20_000
    assert figures.get("kernel_bytes_per_client", 3000) > 500
    assert result["series"]["points"]


def test_echo_times_round_trips_through_a_handler() -> None:
    figures = bench("echo", "--clients", 5)["figures"]
    assert figures["round_trips"] > 50
    assert 0 < figures["round_trip_p50_ms"] <= figures["round_trip_max_ms"]


def test_fanout_delivers_to_everybody_without_a_loss() -> None:
    result = bench("fanout", "--clients", 60, "--topics", 3, "--size", 300)
    figures = result["figures"]
    assert result["problems"] == []
    assert figures["deliveries"] > figures["published_per_s"]
    assert figures["delivered_mb_per_s"] * 1e6 / figures["deliveries_per_s"] == pytest.approx(300, abs=30)


def test_latency_keeps_its_rate() -> None:
    result = bench("latency", "--clients", 10, "--rate", 200)
    figures = result["figures"]
    assert result["problems"] == []
    assert figures["published_per_s"] == pytest.approx(200, rel=0.2)
    assert figures["deliveries_per_s"] == pytest.approx(2000, rel=0.2)
    assert 0 < figures["latency_p50_ms"] <= figures["latency_p99_ms"] <= figures["latency_p99.9_ms"]


def test_a_server_of_ones_own_is_measured_with_a_token_and_published_to_by_its_api() -> None:
    server = served(jwt_secret=SECRET, client_subscriptions=True, api_key=KEY)
    try:
        token = server.mint_token({"sub": "bench", "exp": int(time.time()) + 600})
        url = f"ws://{HOST}:{server.port}/wse"
        result = bench("latency", url, "--token", token, "--api-key", KEY, "--clients", 5, "--rate", 100)
        assert not result["own_server"]
        assert result["problems"] == []
        assert result["figures"]["deliveries_per_s"] == pytest.approx(500, rel=0.3)
        assert KEY not in json.dumps(result)
        assert token not in json.dumps(result)
        assert bench("connect", url, "--token", token, "--clients", 5)["figures"]["connected"] == 5
        # Without a token it is told who is not let in, and without the key who may not publish.
        refused = command("bench", "connect", url, "--token", "a.b.c", "--clients", 5, code=4).stderr
        assert "AUTH_FAILED (5)" in refused
        silent = command("bench", "fanout", url, "--token", token, "--clients", 5, *QUICK, code=4).stderr
        assert "takes no publications" in silent
    finally:
        server.stop()


def test_tokens_come_from_a_file_and_are_shown_in_turn(tmp_path: Path) -> None:
    server = served(jwt_secret=SECRET)
    try:
        expires = int(time.time()) + 600
        tokens = [server.mint_token({"sub": f"user-{number}", "exp": expires}) for number in range(3)]
        file = tmp_path / "tokens"
        file.write_text("\n".join([*tokens, "a.b.c"]) + "\n")
        done = command(
            "bench",
            "connect",
            f"{HOST}:{server.port}",
            "--token-file",
            file,
            "--clients",
            8,
            "--json",
            code=1,
        )
        assert json.loads(done.stdout)["figures"]["connected"] == 6
        assert "2 of 8 connections failed: AUTH_FAILED (2)" in done.stderr
    finally:
        server.stop()


def test_its_own_server_has_the_key_that_it_is_given_and_none_from_the_environment() -> None:
    assert bench("fanout", "--clients", 5, "--api-key", KEY)["options"]["api_key"]
    done = command("bench", "fanout", "--clients", 5, *QUICK, env={"WSE_API_KEY": KEY})
    assert not json.loads(done.stdout)["options"]["api_key"]


def test_clients_that_do_not_get_in_are_counted_by_reason_and_the_rest_is_measured() -> None:
    server = served(max_connections=30)
    try:
        done = command("bench", "connect", f"{HOST}:{server.port}", "--clients", 50, code=1)
        assert "20 of 50 connections failed: HTTP 503 (20)" in done.stderr
        assert "30" in done.stdout
        full = command("bench", "echo", f"{HOST}:{server.port}", "--clients", 2, "--seconds", "0.3", code=1)
        assert "gives back nothing" in full.stderr
    finally:
        server.stop()


def test_a_server_that_goes_away_meanwhile_ends_the_measurement() -> None:
    server = served()
    running = start("idle", f"{HOST}:{server.port}", "--clients", "20", "--seconds", "60")
    try:
        wait_until(lambda: server.get_connection_count() == 20, "the clients are there")
    finally:
        server.stop()
    _, errors = running.communicate(timeout=PATIENCE)
    assert running.returncode == 1
    assert "connections have ended: closed with 1012 (20)" in errors


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "wse_server", "bench", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_ctrl_c_ends_it_at_once_and_its_server_with_it() -> None:
    running = start("idle", "--clients", "50", "--seconds", "60")

    def server() -> int:
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        return int(children[0]) if children else 0

    pid = wait_until(server, "its server has started")
    wait_until(lambda: len(list(Path(f"/proc/{pid}/fd").iterdir())) > 50, "the clients are there")
    os.killpg(running.pid, signal.SIGINT)
    output, errors = running.communicate(timeout=PATIENCE)
    assert (running.returncode, output) == (130, "")
    assert "Traceback" not in errors
    assert not Path(f"/proc/{pid}").exists()


def test_what_is_drawn_may_be_svg(tmp_path: Path) -> None:
    svg = tmp_path / "two.svg"
    command("bench", "connect", "--clients", 5, "--plot", svg)
    assert "<svg" in svg.read_text()
    assert svg.read_text().rstrip().endswith("</svg>")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fly"], "'fly' is not one of"),
        (["connect", "--clients", "0"], "--clients"),
        (["connect", "--rate", "5"], "connect has no rate"),
        (["fanout", "--topics", "0"], "fanout needs a topic"),
        (["latency", "--rate", "0"], "latency is measured at a rate"),
        (["echo", "--seconds", "0"], "echo takes time"),
        (["idle", "--clients", "1"], "--clients 2 at least"),
        (["connect", "wss://localhost"], "speaks no TLS"),
        (["connect", "ftp://localhost"], "no address of a server"),
        (["connect", "localhost:1", "--pid", "4194304"], "no such process"),
        (["connect", "--source-addresses", "0"], "allowed are 1 to"),
        (["connect", "--source-addresses", "here"], "no IP address"),
        (["connect", "--plot", "x.gif"], ".png or .svg"),
        (["connect", "--plot", "no/such/x.png"], "no directory"),
        (["fanout", "--api-key", "a b"], "--api-key"),
        (["connect", "--token", "a b"], "no token has"),
        (["connect", "--token-file", "no/such"], "--token-file no/such: No such file"),
    ],
)
def test_what_cannot_be_meant_is_a_line_and_nothing_is_tried(arguments: list[str], words: str) -> None:
    done = command("bench", *arguments, code=2)
    assert words in done.stderr
    assert done.stdout == ""


def test_without_a_server_it_says_so() -> None:
    assert (
        "refused (2)" in command("bench", "connect", f"{HOST}:{free_port()}", "--clients", 2, code=3).stderr
    )


def test_too_few_descriptors_are_noticed_before_anything_is_tried() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY or hard > 900_000:
        pytest.skip("this process may open as many files as it likes")
    errors = command("bench", "connect", "--clients", hard, code=2).stderr
    assert f"and {hard:,} are allowed" in errors
    assert f"ulimit -n {hard + machine.SPARE_DESCRIPTORS}" in errors


def test_without_matplotlib_a_picture_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "wse-server[plot]" in command("bench", "connect", "--plot", "x.png", code=2).stderr


def test_what_the_page_shows_is_what_one_types() -> None:
    lines = block("docs/how-to/benchmarks.md", "bench connect", "console").splitlines()
    assert len(lines) == 5
    for line in lines:
        words = (
            line.removeprefix("$ wse ").replace("--seconds 2", "--seconds 0.2").replace("5000", "500").split()
        )
        assert command(*words).stdout.startswith(words[1])


def test_the_page_s_result_is_json_beside_a_picture(tmp_path: Path) -> None:
    line = block("docs/how-to/benchmarks.md", "--plot latency.png", "console")
    shell = line.removeprefix("$ wse ").replace("--seconds 2", "--seconds 0.2")
    done = subprocess.run(
        ["/bin/sh", "-c", f"{shlex.quote(sys.executable)} -m wse_server {shell}"],
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert json.loads((tmp_path / "latency.json").read_text())["mode"] == "latency"
    assert (tmp_path / "latency.png").stat().st_size > 10_000


def test_a_quantile_is_the_least_that_enough_did_not_exceed() -> None:
    histogram = [(1_000_000, 98), (5_000_000, 1), (9_000_000, 1)]
    assert [quantile(histogram, share) for share in (0.5, 0.98, 0.99, 1.0)] == [1.0, 1.0, 5.0, 9.0]
