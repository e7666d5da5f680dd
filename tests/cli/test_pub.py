"""`wse pub`: what is published, by which way, and what it says when it is refused."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from http_api import KEY
from support import HOST, PATIENCE, Peer, Running
from wse_command import called, speaking, wse
from wse_server import rust_jwt_encode
from wse_server.cli.errors import CliError
from wse_server.cli.lines import batches
from wse_server.cli.pub import message_of

SECRET = b"a-secret-of-the-tests-0123456789ab"


@pytest.fixture
def open_server(server_factory: Callable[..., Running]) -> Running:
    """A server with everything that publishing may use."""
    return server_factory(api_key=KEY, recovery_enabled=True, client_publish=True, client_subscriptions=True)


def url(running: Running) -> str:
    return f"{HOST}:{running.port}"


def payload(peer: Peer) -> object:
    return peer.receive_json()["p"]


# ---- Ways ----


def test_with_a_key_it_goes_over_http_and_tells_the_position(open_server: Running) -> None:
    peer = open_server.subscriber("news")
    done = wse("pub", "news", "hello", "--url", url(open_server), WSE_API_KEY=KEY)
    assert done.returncode == 0
    heard = peer.receive_json()
    assert (heard["t"], heard["p"]) == ("message", {"text": "hello"})
    assert done.stdout == f"{heard['e']}:{heard['o']}\n"
    assert done.stderr == (
        f"published 1 message to news over the HTTP API of http://{url(open_server)}, 1 copy\n"
    )


def test_without_one_it_goes_as_a_client(open_server: Running) -> None:
    peer = open_server.subscriber("news")
    done = called("pub", "news", "hello", "--url", url(open_server), "--event", "note")
    assert done.returncode == 0
    heard = peer.receive_json()
    assert (heard["t"], heard["p"]) == ("note", {"text": "hello"})
    assert done.stdout == f"{heard['e']}:{heard['o']}\n"
    assert done.stderr == f"published 1 message to news as a client of ws://{url(open_server)}/wse\n"


def test_what_is_on_the_command_line_counts_before_the_environment(
    server_factory: Callable[..., Running], tmp_path: Path
) -> None:
    running = server_factory(jwt_secret=SECRET, client_publish=True, api_key=KEY)
    token = rust_jwt_encode({"sub": "ann", "exp": 2**32}, SECRET)
    (tmp_path / "token").write_text(f"{token}\n")
    done = called(
        "pub", "news", "x", "--url", url(running), "--token-file", str(tmp_path / "token"), WSE_API_KEY=KEY
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert "as a client" in done.stderr


def test_a_key_may_be_in_a_file(open_server: Running, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    done = called(
        "pub",
        "news",
        "x",
        "-q",
        "--wait",
        "stored",
        WSE_API_KEY_FILE=str(tmp_path / "key"),
        WSE_URL=url(open_server),
    )
    assert (done.returncode, done.stderr) == (0, "")


# ---- Lines ----


@pytest.mark.parametrize("key", [(), ("--api-key", KEY)])
def test_lines_are_messages_in_their_order(open_server: Running, key: tuple[str, ...]) -> None:
    peer = open_server.subscriber("n")
    lines = "".join(f"{number}\n\n" for number in range(3000)) + "end"
    done = wse("pub", "n", "-", "--url", url(open_server), *key, stdin=lines)
    assert done.returncode == 0
    texts = [peer.receive_json()["p"]["text"] for _ in range(3001)]
    assert texts == [*map(str, range(3000)), "end"]
    assert done.stderr.startswith("published 3,001 messages to n ")
    assert done.stdout.endswith(":3001\n")
    assert done.stdout.count("\n") == 1


def test_a_line_goes_out_as_soon_as_it_is_there(open_server: Running) -> None:
    peer = open_server.subscriber("log")
    with speaking("pub", "log", "--url", url(open_server), piped=True) as command:
        for number in range(3):
            command.say(f"line {number}\n")
            assert payload(peer) == {"text": f"line {number}"}
        assert command.interrupt() == 130
        command.wait_err(" messages to log as a client ")


def test_a_line_that_is_no_json_ends_it_after_those_before(open_server: Running) -> None:
    peer = open_server.subscriber("n")
    done = wse(
        "pub", "n", "--json", "--url", url(open_server), stdin='{"p": 1}\n{"p": 2}\n{"p": \n{"p": 4}\n'
    )
    assert [payload(peer), payload(peer)] == [1, 2]
    assert done.returncode == 2
    assert "line 3: the message is no JSON: " in done.stderr
    assert "published 2 messages" in done.stderr


def test_a_message_may_be_said_often_and_slowly(open_server: Running) -> None:
    peer = open_server.subscriber("n")
    done = called("pub", "n", "x", "--count", "5", "--rate", "50", "--url", url(open_server))
    assert done.returncode == 0
    assert [payload(peer) for _ in range(5)] == [{"text": "x"}] * 5


# ---- Refused ----


def test_a_wrong_key_is_refused_with_the_reason_of_the_server(open_server: Running) -> None:
    done = called("pub", "news", "x", "--url", url(open_server), "--api-key", "wrong")
    assert done.returncode == 4
    assert "401 UNAUTHORIZED: the API needs its key" in done.stderr
    assert "hint: " in done.stderr


def test_a_server_without_the_api_says_so(running: Running) -> None:
    done = called("pub", "news", "x", "--url", url(running), "--api-key", KEY)
    assert done.returncode == 4
    assert "there is no HTTP API" in done.stderr


@pytest.mark.parametrize("key", [(), ("--api-key", KEY)])
def test_a_pattern_is_refused_by_both_ways(open_server: Running, key: tuple[str, ...]) -> None:
    done = called("pub", "news*", "x", "--url", url(open_server), *key)
    assert (done.returncode, done.stdout) == (4, "")
    assert "this is a pattern" in done.stderr


def test_a_client_without_a_token_is_told_that_it_takes_one(server_factory: Callable[..., Running]) -> None:
    running = server_factory(jwt_secret=SECRET, client_publish=True)
    missing = called("pub", "news", "x", "--url", url(running))
    wrong = called("pub", "news", "x", "--url", url(running), "--token", "abc")
    assert (missing.returncode, wrong.returncode) == (4, 4)
    assert "it wants a token: AUTH_REQUIRED" in missing.stderr
    assert "the token is refused: AUTH_FAILED" in wrong.stderr


def test_a_token_that_does_not_allow_the_topic_is_refused(server_factory: Callable[..., Running]) -> None:
    running = server_factory(jwt_secret=SECRET, client_publish=True)
    token = rust_jwt_encode({"sub": "ann", "exp": 2**32, "wse_topics": {"allow": ["room:*"]}}, SECRET)
    done = called("pub", "news", "x", "--url", url(running), WSE_TOKEN=token)
    assert done.returncode == 4
    assert "NOT_ALLOWED" in done.stderr
    assert "wse_topics" in done.stderr


def test_a_server_that_lets_no_client_publish_does_not_answer(running: Running) -> None:
    done = called("pub", "news", "x", "--url", url(running), "--timeout", "0.3")
    assert done.returncode == 1
    assert "client_publish" in done.stderr


@pytest.mark.parametrize("key", [(), ("--api-key", KEY)])
def test_where_nothing_listens_it_is_unreachable(free_port: int, key: tuple[str, ...]) -> None:
    done = called("pub", "news", "x", "--url", f"{HOST}:{free_port}", *key)
    assert done.returncode == 3
    assert "connection refused\n  hint: nothing listens there" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["news", "[1]", "--json"], "must be a JSON object"),
        (["news", "{", "--json"], "is no JSON"),
        (["news", "x", "--wait", "stored"], "--wait stored needs an API key"),
        (["news", "x", "--api-key", KEY, "--token", "t"], "are both given"),
        (
            ["news", "x", "--api-key", KEY, "--api-key-file", "f"],
            "--api-key and --api-key-file are both given",
        ),
        (["news", "x", "--token-file", "/nowhere/token"], "No such file or directory"),
        (["news", "x", "--token", "a b"], "visible ASCII"),
        (
            ["news", "x", "--url", "https://127.0.0.1:1", "--ca", "/nowhere/ca.pem"],
            "--ca /nowhere/ca.pem: No such",
        ),
        (["news", "--count", "3"], "--count is for a message that is given"),
    ],
)
def test_a_mistake_of_the_command_line_is_told_before_anything_is_done(
    arguments: list[str], said: str
) -> None:
    done = called("pub", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


# ---- Parts ----


def test_json_is_published_as_it_is_written() -> None:
    assert message_of(' {"p": 1.00, "p": 12345678901234567890} ', None, is_json=True) == (
        '{"p": 1.00, "p": 12345678901234567890}'
    )
    assert json.loads(message_of(" [1, 2] ", "list", is_json=True)) == {"t": "list", "p": [1, 2]}


@pytest.mark.parametrize("text", ["", "NaN", '{"p": Infinity}', "{'p': 1}", "[" * 100_000])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(CliError, match="no JSON"):
        message_of(text, None, is_json=True)


@contextmanager
def piped(content: bytes) -> Iterator[int]:
    """A pipe in which this comes."""
    reading, writing = os.pipe()

    def write() -> None:
        with suppress(BrokenPipeError), os.fdopen(writing, "wb") as pipe:
            pipe.write(content)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        yield reading
    finally:
        os.close(reading)
        writer.join(PATIENCE)


@pytest.mark.parametrize("content", [b"", b"\n", b"a", b"a\n", b"a\r\n\nb", b"x" * 200_000 + b"\ny\n"])
def test_lines_are_cut_as_everybody_cuts_them(content: bytes) -> None:
    expected = (
        [line.removesuffix(b"\r") for line in content.removesuffix(b"\n").split(b"\n")] if content else []
    )
    with piped(content) as descriptor:
        found = list(batches(descriptor, most_lines=2, most_bytes=1000))
    assert [line for batch in found for line in batch] == expected
    assert all(0 < len(batch) <= 2 for batch in found)


def test_a_line_without_an_end_is_refused() -> None:
    with piped(b"x" * (17 << 20)) as descriptor, pytest.raises(CliError, match="longer than 16 MiB"):
        list(batches(descriptor, most_lines=10, most_bytes=1000))
