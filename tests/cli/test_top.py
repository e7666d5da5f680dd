"""`wse top`: what it makes of samples, how that fits a screen, and what it does on a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from http_api import KEY
from support import HOST, PATIENCE, Running, start_server, wait_until
from wse_command import COMMAND, called, environment
from wse_server.cli.address import parse_address
from wse_server.cli.errors import CliError, ExitCode
from wse_server.cli.health import Report
from wse_server.cli.top.sampling import Node, Sample, Topic, topics_of
from wse_server.cli.top.view import SORTS, bytes_of, number_of, picture

CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[()][A-Z0-9]")


def sample(
    at: float, *, out: float = 0.0, closes: float = 0.0, healthy: bool = True, **more: object
) -> Sample:
    figures = {"connections": 7, "uptime_secs": 100.0, "cluster_peer_count": 2} if healthy else {}
    trouble = None if healthy else CliError("http://a: connection refused", code=ExitCode.UNREACHABLE)
    state = "ready" if healthy else "unreachable"
    report = Report("http://a", state, healthy, healthy, figures, trouble)
    topics = {"news": out, "sport": out / 2} if healthy else {}
    if not healthy:
        return Sample(at, report)
    counters = {"messages_out": out, "messages_in": 0.0}
    return Sample(at, report, counters, {"1000": closes}, topics, 1e8, **more)  # type: ignore[arg-type]


def shown(
    nodes: list[Node], topics: list[Topic], width: int, height: int | None, sort: str = "rate"
) -> list[str]:
    console = Console(width=width, height=height or 50, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(picture(nodes, topics, width=width, height=height, sort=sort, keys=True))
    return captured.get().splitlines()


# ---- Samples ----


def test_rates_are_what_was_counted_between_two_samples() -> None:
    node = Node(parse_address("a")).after(sample(10.0, out=100.0))
    assert node.rates is None
    node = node.after(sample(12.0, out=150.0, closes=4.0))
    assert node.rates is not None
    assert node.rates.counters["messages_out"] == 25.0
    assert node.rates.closes == {"1000": 2.0}
    assert node.rates.published == {"news": 25.0, "sport": 12.5}


def test_a_node_that_has_begun_anew_counts_from_nothing() -> None:
    node = Node(parse_address("a")).after(sample(10.0, out=100.0)).after(sample(11.0, out=30.0))
    assert node.rates is not None
    assert node.rates.counters["messages_out"] == 30.0


def test_a_node_that_was_away_has_no_rates_until_it_was_asked_twice() -> None:
    node = Node(parse_address("a")).after(sample(10.0, out=1.0)).after(sample(11.0, healthy=False))
    assert node.rates is None
    node = node.after(sample(12.0, out=50.0))
    assert node.rates is None
    assert node.after(sample(13.0, out=60.0)).rates is not None


def test_a_topic_of_several_nodes_has_the_messages_of_one_and_the_subscribers_of_all() -> None:
    nodes = [
        Node(parse_address(name))
        .after(sample(0.0, subscribers={"news": 3, "quiet": 1}))
        .after(sample(1.0, out=out, subscribers={"news": 3, "quiet": 1}))
        for name, out in (("a", 10.0), ("b", 8.0))
    ]
    assert topics_of(nodes) == [
        Topic("news", 10.0, 10.0, 6),
        Topic("quiet", None, 0.0, 2),
        Topic("sport", 5.0, 5.0, None),
    ]


# ---- The picture ----


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 12), st.integers(0, 60)),
    st.tuples(st.integers(50, 250), st.integers(10, 80)),
    st.sampled_from(SORTS),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60),
)
def test_it_fits_the_screen(counts: tuple[int, int], size: tuple[int, int], sort: str, name: str) -> None:
    width, height = size
    address = parse_address("node-with-a-long-name.example.org:5007")
    nodes = [
        Node(address).after(sample(0.0)).after(sample(1.0, out=1e9, closes=1e6, healthy=bool(number % 4)))
        for number in range(counts[0])
    ]
    topics = [Topic(f"{name}{number}", 1.5, number, 10**6) for number in range(counts[1])]
    lines = shown(nodes, topics, width, height, sort)
    assert len(lines) <= height
    assert all(cell_len(line) <= width for line in lines), lines


def test_a_small_screen_shows_what_matters_and_a_large_one_everything() -> None:
    nodes = [
        Node(parse_address("a")).after(sample(0.0)).after(sample(1.0, out=50.0, closes=3.0)),
        Node(parse_address("b")).after(sample(1.0, healthy=False)),
    ]
    small = shown(nodes, topics_of(nodes), 80, 24)
    assert small[0] == "wse top   1 of 2 nodes   7 clients   50 messages out/s   the cluster has 3 nodes"
    assert small[1].split()[:4] == ["NODE", "STATE", "UP", "CLIENTS"]
    assert "MEMORY" in small[1]
    assert small[2].split()[:4] == ["a:5007", "ready", "1m", "7"]
    assert small[2].split()[-2:] == ["95", "MiB"]
    assert small[3].split() == ["b:5007", "unreachable"]
    assert small[4] == "http://a: connection refused"
    assert small[5].strip() == "closes/s  1000: 3"
    assert small[7].split() == ["TOPIC", "MSG/S", "v", "MESSAGES", "SUBSCRIBERS"]
    assert small[8].split() == ["news", "50", "50", "-"]
    assert small[-1] == "q quit   s sort   p pause"
    assert "SLOW LOST/S" in shown(nodes, [], 200, 50)[1]


@pytest.mark.parametrize(
    ("order", "first"), [("rate", "b"), ("messages", "c"), ("subscribers", "a"), ("name", "a")]
)
def test_topics_are_in_the_order_that_is_asked_for(order: str, first: str) -> None:
    topics = [Topic("c", 1.0, 30.0, 1), Topic("b", 5.0, 20.0, None), Topic("a", None, 0.0, 9)]
    lines = shown([Node(parse_address("x"))], topics, 80, None, order)
    title = next(number for number, line in enumerate(lines) if line.startswith("TOPIC"))
    assert lines[title + 1].split()[0] == first


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.04, "0.0"),
        (9.94, "9.9"),
        (9.96, "10"),
        (999.4, "999"),
        (999.6, "1.0k"),
        (5e9, "5.0G"),
        (1e18, "1000000T"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number_of(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (2**30, "1.0 GiB")]
)
def test_bytes_are_short(value: float, text: str) -> None:
    assert bytes_of(value) == text


# ---- Once ----


def test_once_as_json_tells_nodes_and_topics(server_factory: Callable[..., Running], free_port: int) -> None:
    running = server_factory(api_key=KEY)
    running.subscriber("news")
    running.server.broadcast("news", '{"n":1}')
    there, gone = f"{HOST}:{running.port}", f"{HOST}:{free_port}"
    done = called("top", there, gone, "--json", "--interval", "0.1", WSE_API_KEY=KEY)
    assert done.returncode == 0
    told = json.loads(done.stdout)
    first, second = told["nodes"]
    assert (first["status"], first["health"]["connections"], first["error"]) == ("ready", 1, None)
    assert first["per_second"]["messages_out"] >= 0.0
    assert first["memory_bytes"] > 1 << 20
    assert (second["status"], second["per_second"]) == ("unreachable", None)
    assert told["topics"] == [{"topic": "news", "per_second": 0.0, "messages": 1.0, "subscribers": 1}]


def test_once_writes_tables_and_what_could_not_be_asked(server_factory: Callable[..., Running]) -> None:
    running = server_factory(api_key=KEY)
    done = called("top", f"{HOST}:{running.port}", "--once", "--interval", "0.1", "--api-key", "wrong")
    assert done.returncode == 0
    assert f"{HOST}:{running.port} ready" in done.stdout
    assert "401 UNAUTHORIZED" in done.stdout
    assert "SLOW LOST/S" in done.stdout


def test_if_no_node_is_there_it_is_unreachable(free_port: int) -> None:
    done = called("top", f"{HOST}:{free_port}", "--once")
    assert done.returncode == 3
    assert "unreachable" in done.stdout


def test_without_a_terminal_it_says_what_to_ask_for(free_port: int) -> None:
    done = called("top", f"{HOST}:{free_port}")
    assert done.returncode == 2
    assert "--once or --json" in done.stderr


# ---- On a terminal ----


class Terminal:
    """A pseudo terminal with a command on it, and what it was sent."""

    def __init__(self, *arguments: str, columns: int = 80, rows: int = 24) -> None:
        self.master, self._slave = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(self._slave)
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            start_new_session=True,
            env=environment(TERM="xterm-256color"),
        )
        self._sent = ""

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def forget(self) -> None:
        """Looks from now on."""
        self._read()
        self._sent = ""

    def wait_for(self, word: str) -> None:
        """Waits until this word was sent."""
        wait_until(lambda: word in self.text(), f"no {word!r} on the terminal")

    def text(self) -> str:
        self._read()
        return CONTROL.sub("", self._sent)

    def raw(self) -> str:
        self._read()
        return self._sent

    def _read(self) -> None:
        while select.select([self.master], [], [], 0)[0]:
            self._sent += os.read(self.master, 65536).decode("utf-8", "replace")

    def is_as_before(self) -> bool:
        """Whether the terminal has the modes that it had."""
        return termios.tcgetattr(self._slave) == self.before

    def wait(self) -> int:
        """Waits for the end of the command; a terminal that is not read would hold it up."""

        def ended() -> bool:
            self._read()
            return self.process.poll() is not None

        wait_until(ended, "it has not ended")
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)
        os.close(self.master)
        os.close(self._slave)


@contextmanager
def terminal(*arguments: str) -> Iterator[Terminal]:
    screen = Terminal(*arguments)
    try:
        yield screen
    finally:
        screen.close()


def test_on_a_terminal_it_follows_keys_and_sizes_and_leaves_it_as_it_was(running: Running) -> None:
    with terminal("top", f"{HOST}:{running.port}", "--interval", "0.2") as screen:
        screen.wait_for("q quit   s sort   p pause")
        screen.wait_for("MSG/S v")
        assert not screen.is_as_before()
        screen.type("s")
        screen.wait_for("MESSAGES v")
        screen.type("p")
        screen.wait_for("paused")
        assert "SLOW LOST/S" not in screen.text()
        screen.resize(200, 50)
        screen.wait_for("SLOW LOST/S")
        screen.type("q")
        assert screen.wait() == 0
        assert screen.is_as_before()
        # The other screen was left, and the cursor is back.
        assert screen.raw().index("\x1b[?1049h") < screen.raw().rindex("\x1b[?1049l")
        assert screen.raw().rindex("\x1b[?25l") < screen.raw().rindex("\x1b[?25h")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_leave_the_terminal_as_it_was(running: Running, number: int, code: int) -> None:
    with terminal("top", f"{HOST}:{running.port}") as screen:
        screen.wait_for("q quit")
        screen.process.send_signal(number)
        assert screen.wait() == code
        assert screen.is_as_before()
        assert "Traceback" not in screen.text()


def test_a_node_that_dies_is_shown_as_gone_and_comes_back(free_port: int) -> None:
    with terminal("top", f"{HOST}:{free_port}", "--interval", "0.1") as screen:
        screen.wait_for("unreachable")
        with start_server(port=free_port):
            screen.wait_for("1 of 1 nodes")
            screen.forget()
        screen.wait_for("unreachable")
        assert screen.process.poll() is None
