"""`wse sub`: what it writes, where it goes on, and how it ends."""

from __future__ import annotations

import array
import datetime
import fcntl
import json
import os
import re
import signal
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from rich.console import Console

from support import HOST, PATIENCE, Running, wait_until
from wse_client import Disconnected, Gap, GapCause, Message, Position, Presence
from wse_command import COMMAND, Spoken, called, environment, speaking
from wse_server import rust_jwt_encode
from wse_server.cli.shown import as_json, as_line, gap_in_words, painted
from wse_server.cli.sub import _Notes

SECRET = b"a-secret-of-the-tests-0123456789ab"
NOON = datetime.datetime(2026, 1, 2, 12, 0, 0, 123456, tzinfo=datetime.UTC)


@pytest.fixture
def open_server(server_factory: Callable[..., Running]) -> Running:
    """A server whose clients subscribe, with history."""
    return server_factory(client_subscriptions=True, recovery_enabled=True, presence_enabled=True)


def url(running: Running) -> str:
    return f"{HOST}:{running.port}"


def publish(running: Running, topic: str, *numbers: int) -> list[str]:
    """Publishes numbers and returns their positions."""
    found = [running.server.broadcast(topic, json.dumps({"t": "n", "p": number})) for number in numbers]
    return [f"{at.epoch}:{at.offset}" for at in found if at is not None]


def payloads(lines: list[str]) -> list[object]:
    return [json.loads(line)["payload"] for line in lines]


# ---- What is written ----


def test_json_has_a_line_with_everything_for_each_message(open_server: Running) -> None:
    with speaking("sub", "news", "room:*", "--json", "--count", "2", "--url", url(open_server)) as command:
        command.wait_err("subscribed to news, room:*")
        [at] = publish(open_server, "news", 1)
        open_server.server.broadcast("room:7", '{"text": "hello"}')
        assert command.wait() == 0
    first, second = map(json.loads, command.out)
    assert datetime.datetime.fromisoformat(first.pop("time")).utcoffset() == datetime.timedelta(0)
    epoch, offset = at.split(":")
    assert first == {
        "topic": "news",
        "type": "n",
        "payload": 1,
        "epoch": epoch,
        "offset": int(offset),
        "recovered": False,
    }
    assert (second["topic"], second["type"], second["payload"]) == ("room:7", "", {"text": "hello"})


def test_a_person_gets_a_line_with_time_topic_position_and_payload(open_server: Running) -> None:
    with speaking("sub", "news", "--count", "1", "--url", url(open_server)) as command:
        command.wait_err("subscribed to news")
        [at] = publish(open_server, "news", 1)
        assert command.wait() == 0
    assert re.fullmatch(rf"\d\d:\d\d:\d\d\.\d\d\d news {at} n 1", command.out[0]), command.out


def test_who_comes_and_goes_is_told_where_it_is_asked_for(open_server: Running) -> None:
    with speaking("sub", "room", "--json", "--presence", "--url", url(open_server)) as command:
        command.wait_err("subscribed to room")
        peer = open_server.dial()
        open_server.server.subscribe_connection(peer.conn_id, ["room"], presence_data={"name": "Ann"})
        told = json.loads(command.wait_out(1)[0])
        assert (told["topic"], told["presence"], told["user"], told["data"]) == (
            "room",
            "join",
            peer.conn_id,
            {"name": "Ann"},
        )
        peer.close()
        assert json.loads(command.wait_out(2)[1])["presence"] == "leave"


# ---- Where it begins ----


def test_it_begins_after_a_position(open_server: Running) -> None:
    positions = publish(open_server, "news", *range(5))
    done = called(
        "sub", "news", "--from", positions[1], "--count", "3", "--json", "-q", "--url", url(open_server)
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert payloads(done.stdout.splitlines()) == [2, 3, 4]
    assert [json.loads(line)["recovered"] for line in done.stdout.splitlines()] == [True] * 3


def test_it_goes_on_where_it_was_the_last_time(open_server: Running, tmp_path: Path) -> None:
    kept = str(tmp_path / "positions.json")
    arguments = ["sub", "a", "b", "--recover", kept, "--json", "-q", "--url", url(open_server), "--count"]
    with speaking(*arguments[:-2], url(open_server), "--count", "2", "--timeout", "10") as command:
        wait_until(lambda: open_server.server.get_topic_subscriber_count("b") == 1, "it is there")
        publish(open_server, "a", 1)
        publish(open_server, "b", 2)
        assert command.wait() == 0
    publish(open_server, "a", 3)
    publish(open_server, "b", 4)
    publish(open_server, "a", 5)
    assert payloads(command.out) == [1, 2]
    done = called(*arguments, "2")
    again = called(*arguments, "1")
    found = payloads([*done.stdout.splitlines(), *again.stdout.splitlines()])
    assert sorted(map(str, found)) == ["3", "4", "5"]
    assert set(json.loads(Path(kept).read_text())) == {"a", "b"}
    assert [path.name for path in tmp_path.iterdir()] == ["positions.json"]


def test_what_is_not_kept_any_more_is_told_as_a_gap(open_server: Running) -> None:
    publish(open_server, "news", 1)
    done = called(
        "sub", "news", "--from", "00000000:7", "--timeout", "0.2", "--json", "--url", url(open_server)
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert "gap: news: messages missing from 00000000:8: the server no longer keeps" in done.stderr


def test_it_comes_back_and_goes_on_without_a_gap(open_server: Running) -> None:
    with speaking("sub", "news", "--json", "--url", url(open_server)) as command:
        command.wait_err("subscribed to news")
        publish(open_server, "news", 1)
        command.wait_out(1)
        [(_, conn_id, _)] = open_server.events.wait("connect")
        open_server.server.disconnect(conn_id, 4300, "test")
        command.wait_err("test (4300); again in ")
        publish(open_server, "news", 2)
        command.wait_err("connected again to ")
        assert payloads(command.wait_out(2)) == [1, 2]
        assert [json.loads(line)["recovered"] for line in command.out] == [False, True]
        assert not [line for line in command.err if "gap" in line]


# ---- How it ends ----


def test_ctrl_c_ends_it_with_130_and_nothing_to_say(open_server: Running) -> None:
    with speaking("sub", "news", "-q", "--url", url(open_server)) as command:
        wait_until(lambda: open_server.server.get_topic_subscriber_count("news") == 1, "it is there")
        assert command.interrupt() == 130
    assert [line for line in command.err if line] == []
    assert command.out == []


def test_a_pipe_that_is_closed_ends_it_quietly(open_server: Running) -> None:
    pipeline = f"{' '.join(COMMAND)} sub news --url {url(open_server)} -q | head -1; echo ${{PIPESTATUS[0]}}"
    with subprocess.Popen(
        ["bash", "-c", pipeline],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        spoken = Spoken(process)
        wait_until(lambda: open_server.server.get_topic_subscriber_count("news") == 1, "it is there")
        publish(open_server, "news", 1)
        # Nothing more is published: that nobody reads is seen without a write.
        assert spoken.wait() == 0
    assert spoken.out[0].endswith(" n 1")
    assert spoken.out[1:] == ["141"]
    assert spoken.err == []


def test_a_pipe_that_breaks_in_the_midst_of_a_message_ends_it_quietly(open_server: Running) -> None:
    reading, writing = os.pipe()
    with subprocess.Popen(
        [*COMMAND, "sub", "news", "-q", "--url", url(open_server)],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        os.close(writing)
        spoken = Spoken(process)
        try:
            wait_until(lambda: open_server.server.get_topic_subscriber_count("news") == 1, "it is there")
            # More than a pipe holds: it is in the midst of a write when its reader goes.
            open_server.server.broadcast("news", json.dumps({"t": "n", "p": "x" * 200_000}))
            os.read(reading, 100)
            os.close(reading)
            assert spoken.wait() == 141
        finally:
            process.kill()
    assert spoken.err == []


def test_ctrl_c_ends_it_also_where_nobody_takes_what_it_writes(open_server: Running) -> None:
    with subprocess.Popen(
        [*COMMAND, "sub", "news", "-q", "--url", url(open_server)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        try:
            wait_until(lambda: open_server.server.get_topic_subscriber_count("news") == 1, "it is there")
            open_server.server.broadcast("news", json.dumps({"t": "n", "p": "x" * 200_000}))
            assert process.stdout is not None
            process.stdout.read(100)
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 130
        finally:
            process.kill()


def test_fewer_messages_than_wanted_are_a_failure(open_server: Running) -> None:
    done = called("sub", "news", "--count", "3", "--timeout", "0.2", "--url", url(open_server))
    assert done.returncode == 1
    assert "0 of 3 messages within 0.2 s" in done.stderr


def test_a_reader_that_stands_still_costs_little_memory(server_factory: Callable[..., Running]) -> None:
    open_server = server_factory(client_subscriptions=True, max_outbound_queue_bytes=1 << 20)
    message = json.dumps({"t": "n", "p": "x" * 10_000})
    with subprocess.Popen(
        [*COMMAND, "sub", "big", "--json", "--url", url(open_server)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        try:
            wait_until(lambda: open_server.server.get_topic_subscriber_count("big") == 1, "it is there")
            open_server.server.broadcast("big", message)
            before = memory(process.pid)
            sent = [-1]

            def it_stands_still() -> bool:
                """A megabyte more was published, and nothing of it went to the reader."""
                for _ in range(100):
                    open_server.server.broadcast("big", message)
                health = open_server.server.health_snapshot()
                sent.append(health["bytes_sent"])
                return (
                    health["slow_clients"] == 1
                    and sent[-1] == sent[-2]
                    and waiting_in(process.stdout) > 60_000
                )

            wait_until(it_stands_still, "nobody reads what it writes, and it reads no more")
            assert memory(process.pid) - before < 20 << 20
        finally:
            process.kill()
            process.communicate()


def waiting_in(pipe: IO[str] | None) -> int:
    """Bytes of a pipe that nobody has read."""
    assert pipe is not None
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def memory(pid: int) -> int:
    """Bytes of a process that are in memory."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) * 1024


# ---- Refused ----


def test_a_topic_that_is_not_allowed_is_refused(server_factory: Callable[..., Running]) -> None:
    running = server_factory(jwt_secret=SECRET, client_subscriptions=True)
    token = rust_jwt_encode({"sub": "ann", "exp": 2**32, "wse_topics": {"allow": ["room:*"]}}, SECRET)
    refused = called("sub", "news", "--url", url(running), WSE_TOKEN=token)
    missing = called("sub", "news", "--url", url(running))
    assert (refused.returncode, missing.returncode) == (4, 4)
    assert "no subscription to 'news': NOT_ALLOWED" in refused.stderr
    assert "it wants a token" in missing.stderr


def test_a_server_whose_clients_may_not_subscribe_is_told_of(running: Running) -> None:
    done = called("sub", "news", "--connect-timeout", "0.3", "--url", url(running))
    assert done.returncode == 1
    assert "client_subscriptions" in done.stderr


def test_where_nothing_listens_it_is_unreachable_at_once(free_port: int) -> None:
    done = called("sub", "news", "--url", f"{HOST}:{free_port}")
    assert done.returncode == 3
    assert f"ws://{HOST}:{free_port}/wse: connection refused" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a", "b", "--from", "00000000:1"], "of which topic?"),
        (["a", "--from", "b=00000000:1"], "none of the topics"),
        (["a*", "--from", "00000000:1"], "a pattern"),
        (["a", "--from", "1"], "must be EPOCH:OFFSET"),
        (["a", "--recover", "/dev/null"], "has no positions"),
        (["a", "--recover", "/proc"], "is a directory"),
    ],
)
def test_a_mistake_of_the_command_line_is_told_before_anything_is_done(
    arguments: list[str], said: str
) -> None:
    done = called("sub", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


# ---- Parts ----


def test_a_terminal_is_not_given_what_it_obeys() -> None:
    content = {"t": "\x1b[2J", "p": "\x1b]0;x\x07\x9b1m\u202e"}
    message = Message(content, "news", Position("00000000", 1))
    line = painted(Console(force_terminal=False))(as_line(message, NOON))
    assert line == '12:00:00.123 news 00000000:1 "\\u001b[2J" "\\u001b]0;x\\u0007\\u009b1m\\u202e"'


def test_colours_are_there_on_a_terminal_alone() -> None:
    message = Message({"t": "n", "p": [1]}, "news", Position("00000000", 1))
    terminal = Console(force_terminal=True, color_system="standard", no_color=False)
    plain = painted(Console(force_terminal=False))(as_line(message, NOON))
    coloured = painted(terminal)(as_line(message, NOON))
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain == "12:00:00.123 news 00000000:1 n [1]"


@pytest.mark.parametrize(
    ("content", "payload"),
    [
        ({"t": "n", "p": None}, None),
        ({"c": "U", "tp": "a", "e": "00000000", "o": 1, "x": 2}, {"x": 2}),
        ("text", "text"),
        (b"\x00\xff", {"base64": "AP8="}),
    ],
)
def test_json_says_whatever_was_published(content: dict[str, object] | str | bytes, payload: object) -> None:
    told = json.loads(as_json(Message(content), NOON))
    assert told["payload"] == payload
    assert told["time"] == "2026-01-02T12:00:00.123Z"


def test_gaps_and_presence_are_told_in_a_line() -> None:
    gap = Gap("news", GapCause.OVERFLOW, 1, "00000000", 5, 5)
    assert gap_in_words(gap) == "gap: news: 1 message missing from 00000000:5 to 5: this client was slow"
    parts = as_line(Presence("leave", "room", "ann\n", {"a": 1}), NOON)
    assert [text for text, _ in parts] == ["12:00:00.123", "room", '- "ann\\n"', '{"a":1}']


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("ConnectionRefusedError: [Errno 111] Connect call failed ('127.0.0.1', 1)", "connection refused"),
        (
            "the upgrade was answered 503 Service Unavailable",
            "the upgrade was answered 503 Service Unavailable",
        ),
    ],
)
def test_a_connection_that_fails_is_told_of_in_words(
    reason: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _Notes(quiet=False).disconnected(Disconnected("ws://a/wse", None, reason, 1.26))
    assert capsys.readouterr().err == f"no connection to ws://a/wse: {said}; again in 1.3 s\n"
