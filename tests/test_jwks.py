"""Keys that an issuer changes by itself: sets in files and on web servers, read again when need be."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, Self

import jwt
import pytest
from typing_extensions import override

from loglines import LogLines
from support import HOST, Peer, Running, free_port, wait_until
from token_corpus import keys
from wire import Wire
from wse_server import RustWSEServer

Factory = Callable[..., Running]
Algorithm = Literal["RS256", "ES256", "EdDSA"]
ASYMMETRIC: tuple[Algorithm, ...] = ("RS256", "ES256", "EdDSA")
MAKERS: dict[str, Any] = {
    "RS256": jwt.algorithms.RSAAlgorithm,
    "ES256": jwt.algorithms.ECAlgorithm,
    "EdDSA": jwt.algorithms.OKPAlgorithm,
}


def jwk(algorithm: Algorithm, name: str, **more: Any) -> dict[str, Any]:
    """The public key of this name as PyJWT writes it, under its name as `kid`."""
    maker = MAKERS[algorithm]
    public = (
        maker(maker.SHA256).prepare_key(keys(algorithm, name).verifying)
        if algorithm != "EdDSA"
        else (maker().prepare_key(keys(algorithm, name).verifying))
    )
    return dict(maker.to_jwk(public, as_dict=True)) | {"kid": name} | more


def key_set(*jwks: dict[str, Any]) -> str:
    """The text of a set."""
    return json.dumps({"keys": list(jwks)})


def mint(
    name: str, algorithm: Algorithm = "ES256", lasts: float = 600, kid: str | None = "", **more: Any
) -> str:
    """A token by PyJWT, signed with the key of this name; `kid` says so too, unless it is None or another."""
    headers = {} if kid is None else {"kid": kid or name}
    claims = {"sub": "user-1", "exp": time.time() + lasts} | more
    return jwt.encode(claims, keys(algorithm, name).signing, algorithm=algorithm, headers=headers)


def answer(running: Running, token: str) -> str:
    """Connects, and returns the type of the first message, or the code of the error."""
    with Wire(running.port, headers={"Authorization": f"Bearer {token}"}) as wire:
        message = json.loads(wire.frame(20).payload)
        found: str = message["t"] if message["t"] != "error" else message["p"]["code"]
        return found


class Issuer:
    """A web server on a port of its own that serves a set of keys, as `body`, at /keys.

    Attributes:
        body: What it answers; None answers 500.
        asked: How often it was asked.
        hold: While this is clear, answers wait.
    """

    def __init__(self, body: str | None, port: int = 0) -> None:
        self.body = body
        self.asked = 0
        self.redirect: str | None = None
        self.hold = threading.Event()
        self.hold.set()
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the name is given by the library
                issuer.asked += 1
                issuer.hold.wait(20)
                if issuer.redirect is not None:
                    self.send_response(302)
                    self.send_header("Location", issuer.redirect)
                    self.end_headers()
                    return
                body = (issuer.body or "").encode()
                self.send_response(200 if issuer.body is not None else 500)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            @override
            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer((HOST, port), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{HOST}:{self._server.server_address[1]}/keys"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops serving; the port answers nobody any more."""
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """An issuer with one key on P-256, called `one`."""
    with Issuer(key_set(jwk("ES256", "one"))) as issuer:
        yield issuer


# ---- Files ----


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_the_keys_of_one_algorithm_are_taken_from_a_set_of_all(
    server_factory: Factory, tmp_path: Path, algorithm: Algorithm
) -> None:
    file = tmp_path / "keys.json"
    every = [jwk(kind, f"{kind}-{name}") for kind in ASYMMETRIC for name in ("a", "b")]
    file.write_text(key_set({"kty": "oct", "k": "c2VjcmV0"}, *every))
    running = server_factory(jwks=str(file), jwt_algorithm=algorithm)
    for name in ("a", "b"):
        assert answer(running, mint(f"{algorithm}-{name}", algorithm)) == "server_ready"
    assert answer(running, mint(f"{algorithm}-a", algorithm, kid=f"{algorithm}-b")) == "AUTH_FAILED"
    other: Algorithm = "ES256" if algorithm != "ES256" else "EdDSA"
    assert answer(running, mint(f"{other}-a", other)) == "AUTH_FAILED"
    assert answer(running, mint(f"{algorithm}-a", algorithm, kid=None)) == "AUTH_FAILED", "two to choose from"
    assert answer(running, mint(f"{algorithm}-a", algorithm, lasts=-100)) == "AUTH_FAILED"


def test_a_token_without_kid_is_taken_where_there_is_one_key(server_factory: Factory, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(key_set(jwk("EdDSA", "one")))
    running = server_factory(jwks=str(file), jwt_algorithm="EdDSA", jwt_issuer="my-app")
    assert answer(running, mint("one", "EdDSA", kid=None, iss="my-app")) == "server_ready"
    assert answer(running, mint("two", "EdDSA", kid=None, iss="my-app")) == "AUTH_FAILED"
    assert answer(running, mint("one", "EdDSA", kid=None)) == "AUTH_FAILED"


def test_a_file_that_has_changed_is_read_when_a_token_asks_for_it(
    server_factory: Factory, tmp_path: Path
) -> None:
    file = tmp_path / "keys.json"
    file.write_text(key_set(jwk("ES256", "one")))
    running = server_factory(jwks=str(file), jwt_algorithm="ES256")
    file.write_text(key_set(jwk("ES256", "two")))
    assert answer(running, mint("one")) == "server_ready"
    assert answer(running, mint("two")) == "server_ready"
    # It was withdrawn with the change.
    assert answer(running, mint("one")) == "AUTH_FAILED"


def test_a_file_that_was_spoiled_leaves_the_keys_as_they_are(server_factory: Factory, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(key_set(jwk("ES256", "one")))
    with LogLines() as log:
        running = server_factory(jwks=str(file), jwt_algorithm="ES256")
        file.write_text("{half a fi")
        assert answer(running, mint("two")) == "AUTH_FAILED"
        log.wait("those read before stay")
    assert answer(running, mint("one")) == "server_ready"


def test_a_file_that_is_not_there_or_not_a_set_is_told_at_the_start(tmp_path: Path) -> None:
    def start(jwks: Path) -> None:
        RustWSEServer(HOST, 0, jwks=str(jwks), jwt_algorithm="ES256").start()

    with pytest.raises(FileNotFoundError, match="nowhere"):
        start(tmp_path / "nowhere.json")
    with pytest.raises(OSError, match="jwks"):
        start(tmp_path)
    file = tmp_path / "keys.json"
    for text, word in [
        ("", "JWK Set"),
        ("[]", "JWK Set"),
        ('{"keys": []}', "without keys"),
        (key_set(jwk("RS256", "one")), "ES256"),
        (key_set(jwk("ES256", "one", use="enc")), "use"),
    ]:
        file.write_text(text)
        with pytest.raises(ValueError, match=word) as caught:
            start(file)
        assert str(file) in str(caught.value)
    file.write_text(" " * 300_000)
    with pytest.raises(OSError, match="262144"):
        start(file)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"jwt_algorithm": "HS256"}, "jwt_algorithm"),
        ({"jwt_secret": keys("ES256").verifying}, "jwt_secret"),
        ({"jwt_previous_secret": keys("ES256").verifying}, "jwt_previous_secret"),
        ({"jwt_private_key": keys("ES256").signing}, "jwt_private_key"),
        ({"jwks": ""}, "jwks"),
        ({"jwks": "ftp://issuer.example/keys"}, "jwks"),
        ({"jwks": "https://"}, "jwks"),
        ({"jwks": "https:///keys"}, "jwks"),
        ({"jwks": "https://issuer.example/a key"}, "jwks"),
    ],
)
def test_options_that_contradict_a_set_are_refused(options: dict[str, Any], name: str) -> None:
    every = {"jwks": "keys.json", "jwt_algorithm": "ES256"} | options
    with pytest.raises(ValueError, match=rf"^{name}\b") as caught:
        RustWSEServer(HOST, 0, **every)
    assert "PRIVATE" not in str(caught.value)


def test_a_server_with_a_set_mints_nothing() -> None:
    server = RustWSEServer(HOST, 0, jwks="keys.json", jwt_algorithm="ES256")
    with pytest.raises(RuntimeError, match="no key to sign with"):
        server.mint_token({"sub": "user-1", "exp": 1})


# ---- Web servers ----


def test_a_new_key_is_fetched_when_the_first_token_names_it(server_factory: Factory, issuer: Issuer) -> None:
    running = server_factory(jwks=issuer.url, jwt_algorithm="ES256")
    assert issuer.asked == 1
    for _ in range(5):
        assert answer(running, mint("one")) == "server_ready"
    assert issuer.asked == 1, "a key that is known asks for nothing"
    issuer.body = key_set(jwk("ES256", "one"), jwk("ES256", "two"))
    began = time.monotonic()
    assert answer(running, mint("two")) == "server_ready"
    assert time.monotonic() - began < 3
    assert issuer.asked == 2
    assert answer(running, mint("one")) == "server_ready"


def test_many_who_wait_for_a_key_cost_one_request(server_factory: Factory, issuer: Issuer) -> None:
    running = server_factory(jwks=issuer.url, jwt_algorithm="ES256")
    issuer.body = key_set(jwk("ES256", "two"))
    issuer.hold.clear()
    answers: list[str] = []
    token = mint("two")
    threads = [threading.Thread(target=lambda: answers.append(answer(running, token))) for _ in range(20)]
    for thread in threads:
        thread.start()
    wait_until(lambda: issuer.asked == 2, "the request")
    # Others are served meanwhile.
    assert answer(running, mint("one")) == "server_ready"
    issuer.hold.set()
    for thread in threads:
        thread.join()
    assert answers == ["server_ready"] * 20
    assert issuer.asked <= 3


def test_invented_kids_are_refused_and_bother_the_issuer_rarely(
    server_factory: Factory, issuer: Issuer
) -> None:
    running = server_factory(jwks=issuer.url, jwt_algorithm="ES256", handshake_timeout=2)
    began = time.monotonic()
    for number in range(4):
        assert answer(running, mint("one", kid=f"invented-{number}")) == "AUTH_FAILED"
    waited = time.monotonic() - began
    assert waited < 4 * 2.0 + 5, "none waits longer than handshake_timeout"
    assert issuer.asked <= 2 + waited / 5
    assert answer(running, mint("one")) == "server_ready"
    assert running.server.health_snapshot()["auth_failures"] == 4


def test_an_issuer_that_fails_leaves_the_keys_as_they_are(server_factory: Factory, issuer: Issuer) -> None:
    running = server_factory(jwks=issuer.url, jwt_algorithm="ES256", handshake_timeout=2)
    issuer.body = None
    with LogLines() as log:
        assert answer(running, mint("two")) == "AUTH_FAILED"
        (line,) = log.wait("those read before stay")
    assert "500" in line.getMessage()
    assert answer(running, mint("one")) == "server_ready"


def test_who_waits_for_an_issuer_that_hangs_is_refused_in_time_and_stop_does_not_wait(
    server_factory: Factory, issuer: Issuer
) -> None:
    running = server_factory(jwks=issuer.url, jwt_algorithm="ES256", handshake_timeout=1)
    issuer.hold.clear()
    assert answer(running, mint("two")) == "AUTH_FAILED"
    assert answer(running, mint("one")) == "server_ready"
    began = time.monotonic()
    running.server.stop()
    assert time.monotonic() - began < 3


def test_a_fresh_token_of_an_unknown_key_is_told_to_come_again(
    server_factory: Factory, issuer: Issuer
) -> None:
    running = server_factory(jwks=issuer.url, jwt_algorithm="ES256")
    peer = running.dial(token=mint("one"))
    assert peer.receive_json()["t"] == "server_ready"
    issuer.body = key_set(jwk("ES256", "two"))

    def refresh(peer: Peer) -> dict[str, Any]:
        peer.send({"t": "auth_refresh", "p": {"token": mint("two")}})
        return peer.receive_json()

    first = refresh(peer)["p"]
    assert first["code"] == "AUTH_FAILED"
    assert "not known yet" in first["message"]
    wait_until(lambda: refresh(peer)["t"] == "auth_refresh", "the new key")
    assert issuer.asked == 2


def test_a_web_server_that_starts_late_is_waited_for(server_factory: Factory) -> None:
    port = free_port()
    late: list[Issuer] = []
    failed = threading.Event()

    def begin() -> None:
        failed.wait(0.5)
        late.append(Issuer(key_set(jwk("ES256", "one")), port))

    thread = threading.Thread(target=begin)
    thread.start()
    try:
        running = server_factory(jwks=f"http://{HOST}:{port}/keys", jwt_algorithm="ES256")
        assert answer(running, mint("one")) == "server_ready"
    finally:
        thread.join()
        late[0].close()


def test_a_web_server_that_is_not_there_is_told_after_some_seconds() -> None:
    port = free_port()
    server = RustWSEServer(HOST, 0, jwks=f"http://user:hush@{HOST}:{port}/keys?k=hush", jwt_algorithm="ES256")
    began = time.monotonic()
    with pytest.raises(OSError, match="jwks") as caught:
        server.start()
    assert 4 < time.monotonic() - began < 12
    assert f"http://{HOST}:{port}/keys" in str(caught.value)
    assert "hush" not in str(caught.value)
    assert not server.is_running()


def test_redirects_are_followed_but_not_for_ever(server_factory: Factory, issuer: Issuer) -> None:
    with Issuer(None) as other:
        other.redirect = issuer.url
        running = server_factory(jwks=other.url, jwt_algorithm="ES256")
        assert answer(running, mint("one")) == "server_ready"
        other.redirect = other.url
        asked = other.asked
        running.server.stop()
        with pytest.raises(OSError, match="redirects"):
            running.server.start()
        assert other.asked > asked


def test_an_answer_without_end_is_cut(issuer: Issuer) -> None:
    issuer.body = key_set(jwk("ES256", "one")) + " " * 300_000
    with pytest.raises(OSError, match="262144"):
        RustWSEServer(HOST, 0, jwks=issuer.url, jwt_algorithm="ES256").start()


def test_a_server_that_is_started_again_reads_again(server_factory: Factory, issuer: Issuer) -> None:
    running = server_factory(jwks=issuer.url, jwt_algorithm="ES256")
    running.server.stop()
    issuer.body = key_set(jwk("ES256", "two"))
    running.server.start()
    assert answer(running, mint("two")) == "server_ready"
    assert issuer.asked == 2
