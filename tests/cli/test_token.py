"""`wse token`: what it mints is let in, what it says of a token is what servers say, and it keeps secrets."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

import support
from command import command, process
from nodes import Factory
from token_corpus import keys
from token_corpus.mint import Algorithm

SECRET = "0123456789abcdef0123456789abcdef"
CLAIMS = {"sub": "ann", "exp": 4102444800}


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file with a secret, as an editor leaves it."""
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    return file


def mint(*arguments: object, **more: Any) -> str:
    return command("token", "mint", "--sub", "ann", *arguments, **more).stdout.strip()


# ---- Minting ----


def test_a_server_lets_the_token_in_and_hears_what_it_may(server_factory: Factory, secret: Path) -> None:
    options = (
        "--issuer",
        "us",
        "--audience",
        "them",
        "--key-id",
        "7",
        "--allow",
        "room:*",
        "--deny",
        "room:x",
    )
    token = mint("--secret-file", secret, *options)
    running = server_factory(jwt_secret=SECRET, jwt_issuer="us", jwt_audience="them", jwt_key_id="7")
    client = support.dial(running.url, token=token)
    try:
        (_, conn_id, user) = running.events.wait("auth_connect")[0]
        assert user == "ann"
        assert sorted(running.server.subscribe_connection(conn_id, ["room:a", "room:x", "b"])["refused"]) == [
            "b",
            "room:x",
        ]
    finally:
        client.close()


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_the_kind_of_a_key_says_the_algorithm(tmp_path: Path, algorithm: Algorithm) -> None:
    pair = keys(algorithm, "one")
    (tmp_path / "private.pem").write_bytes(pair.signing)
    (tmp_path / "public.pem").write_bytes(pair.verifying)
    token = mint("--private-key", tmp_path / "private.pem")
    assert jwt.decode(token, pair.verifying, algorithms=[algorithm])["sub"] == "ann"
    shown = command("token", "inspect", token, "--public-key", tmp_path / "public.pem", "--json").stdout
    assert json.loads(shown)["verified"] is True


def test_claims_are_json_or_text_and_the_times_are_as_asked(secret: Path) -> None:
    given = ["admin=true", "n=7", 'id="7"', "name=Ann B", "of=[1, 2]", "x=NaN", "empty="]
    options = [part for claim in given for part in ("--claim", claim)]
    before = int(time.time())
    told = json.loads(mint("--secret-file", secret, "--exp", "1h30m", "--json", *options))
    claims = jwt.decode(told["token"], SECRET, algorithms=["HS256"])
    assert claims == told["claims"]
    assert {name: claims[name] for name in ("admin", "n", "id", "name", "of", "x", "empty")} == {
        "admin": True,
        "n": 7,
        "id": "7",
        "name": "Ann B",
        "of": [1, 2],
        "x": "NaN",
        "empty": "",
    }
    assert claims["exp"] - claims["iat"] == 5400
    assert before <= claims["iat"] <= time.time()


def test_keys_come_from_files_stdin_and_the_variables_of_the_server(tmp_path: Path, secret: Path) -> None:
    pair = keys("ES256", "one")
    (tmp_path / "private.pem").write_bytes(pair.signing)
    tokens = [
        process("token", "mint", "--sub", "ann", "--secret-file", "-", stdin=SECRET + "\n").stdout.strip(),
        mint(env={"WSE_JWT_SECRET": SECRET}),
        mint(env={"WSE_JWT_SECRET_FILE": str(secret)}),
    ]
    for token in tokens:
        assert jwt.decode(token, SECRET, algorithms=["HS256"])["sub"] == "ann"
    server = {"WSE_JWT_SECRET": pair.verifying.decode(), "WSE_JWT_ALGORITHM": "ES256", "WSE_JWT_ISSUER": "us"}
    token = mint(env=server | {"WSE_JWT_PRIVATE_KEY_FILE": str(tmp_path / "private.pem")})
    assert jwt.decode(token, pair.verifying, algorithms=["ES256"], issuer="us")["sub"] == "ann"
    assert "verified: a server" in command("token", "inspect", token, env=server).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--exp", "soon"], "no length of time"),
        (["--exp", "0"], "more than nothing"),
        (["--exp", "9999999d"], "after the year 9999"),
        (["--allow", ""], "is no topic"),
        (["--deny", "a\nb"], "is no topic"),
        (["--claim", "x"], "allowed is NAME=VALUE"),
        (["--claim", "sub=bob"], "the claim is there already"),
        (["--claim", "x=1", "--claim", "x=2"], "the claim is there already"),
        (["--algorithm", "none"], "--algorithm"),
        (["--algorithm", "ES256"], "--secret-file"),
        (["--private-key", "x"], "are two keys"),
        (["--secret", SECRET], "No such option"),
    ],
)
def test_what_would_be_refused_is_not_minted(secret: Path, arguments: list[str], words: str) -> None:
    done = command("token", "mint", "--sub", "ann", "--secret-file", secret, *arguments, code=2)
    assert words in done.stderr
    assert done.stdout == ""
    assert SECRET not in done.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "it is empty"),
        ("too short", "at least 32"),
        ("x" * 70_000, "more than 65536 bytes"),
        ("-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----", "can't be read"),
    ],
)
def test_a_key_that_can_not_work_is_named_by_its_file(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "key").write_text(content)
    done = command("token", "mint", "--sub", "ann", "--secret-file", tmp_path / "key", code=2)
    assert words in done.stderr
    assert str(tmp_path / "key") in done.stderr


def test_without_a_key_it_says_where_one_may_be() -> None:
    done = command("token", "mint", "--sub", "ann", code=2)
    assert "--secret-file FILE" in done.stderr
    assert "wse token secret" in done.stderr
    both = {"WSE_JWT_SECRET": SECRET, "WSE_JWT_SECRET_FILE": "x"}
    assert "are both set" in command("token", "mint", "--sub", "ann", code=2, env=both).stderr


# ---- Looking ----


def test_inspect_tells_all_of_a_token(secret: Path) -> None:
    token = mint("--secret-file", secret, "--exp", "1h", "--key-id", "7")
    done = process("token", "inspect", "--secret-file", secret, stdin=token + "\n")
    assert '"kid": "7"' in done.stdout
    assert "expires in 60 min" in done.stdout
    assert "verified: a server with this key lets it in" in done.stdout
    assert "not verified: no key was given" in command("token", "inspect", token).stdout


def signed(claims: dict[str, Any], key: str = SECRET, **header: Any) -> str:
    return jwt.encode(claims, key, algorithm="HS256", headers=header)


NOW = int(time.time())
REFUSED = {
    "another key": (signed(CLAIMS, "another" * 8), "not signed with this key"),
    "expired": (signed({"sub": "ann", "exp": NOW - 7200}), "it has expired 2 h ago"),
    "not yet": (signed(CLAIMS | {"nbf": NOW + 86400 * 3}), "not valid for another 3 days"),
    "no end": (signed({"sub": "ann"}), "exp is missing"),
    "milliseconds": (signed({"sub": "ann", "exp": 4102444800_000}), "exp is missing or no date"),
    "nobody": (signed({"exp": 4102444800}), "sub, the user's id, is missing"),
    "another algorithm": (jwt.encode(CLAIMS, SECRET * 2, algorithm="HS512"), "its algorithm is 'HS512'"),
    "another issuer": (
        signed(CLAIMS | {"iss": "them", "aud": "a"}, kid="k"),
        "its issuer is 'them', not 'us'",
    ),
    "another audience": (signed(CLAIMS | {"iss": "us"}, kid="k"), "its audience is None, not 'a'"),
    "another kid": (signed(CLAIMS | {"iss": "us", "aud": "a"}), "its key id is None, not 'k'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_token_that_a_server_refuses_is_refused_with_the_reason(secret: Path, case: str) -> None:
    token, words = REFUSED[case]
    asked = (
        ("--issuer", "us", "--audience", "a", "--key-id", "k") if "another i" in case or "aud" in case else ()
    )
    asked = ("--issuer", "us", "--audience", "a", "--key-id", "k") if case == "another kid" else asked
    done = command("token", "inspect", token, "--secret-file", secret, "--json", *asked, code=4)
    assert words in done.stderr
    told = json.loads(done.stdout)
    assert told["verified"] is False
    assert words in told["problem"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense", "three parts with dots between them, this has 1"),
        ("a.b.c", "header of the token is no JSON"),
        ("e30.W10.x", "payload of the token is no object"),
        ("a." * 5000, "more than the 8192 bytes"),
        ("", "three parts"),
    ],
)
def test_what_is_no_token_is_refused_and_not_repeated(text: str, words: str) -> None:
    done = command("token", "inspect", code=4, stdin=text)
    assert words in done.stderr
    assert not text or text not in done.stderr


def test_an_expired_token_is_refused_without_a_key_too() -> None:
    assert "it has expired" in command("token", "inspect", REFUSED["expired"][0], code=4).stderr


def test_what_stands_in_a_token_does_not_steer_the_terminal() -> None:
    done = command("token", "inspect", signed(CLAIMS | {"x": "\x1b[2J\x9b2J\u202e[bold]"}))
    assert not any(letter in done.stdout for letter in "\x1b\x9b\u202e")
    assert "[bold]" in done.stdout


# ---- A secret ----


def test_a_secret_is_random_and_long_and_its_file_is_ones_own(tmp_path: Path) -> None:
    made = {command("token", "secret").stdout.strip() for _ in range(3)}
    assert len(made) == 3
    assert {len(bytes.fromhex(one)) for one in made} == {32}
    file = tmp_path / "secret"
    assert command("token", "secret", "--out", file).stdout.strip() == str(file)
    assert file.stat().st_mode & 0o777 == 0o600
    content = file.read_text()
    assert "is there already" in command("token", "secret", "--out", file, code=2).stderr
    assert file.read_text() == content
    assert "No such file or directory" in command("token", "secret", "--out", tmp_path / "a/b", code=1).stderr
    assert mint("--secret-file", file)
