"""What is replaced without a restart: origins, the keys of tokens, the key of the HTTP API."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import jwt
import pytest

import documents
from http_api import KEY, Worker
from support import HOST, PATIENCE, Peer, Running
from test_jwks import jwk, key_set
from token_corpus import keys
from wire import Wire, request
from wse_server import RustWSEServer, Server, rust_jwt_decode

Factory = Callable[..., Running]
OLD = "the old secret, which has more than thirty-two bytes"
NEW = "the new secret, which has more than thirty-two bytes"
NEWEST = "the newest secret, which has more than thirty-two bytes"
ASYMMETRIC: tuple[Literal["RS256", "ES256", "EdDSA"], ...] = ("RS256", "ES256", "EdDSA")


def status(running: Running, origin: str) -> int:
    """What an upgrade from a page of this origin is answered with; one that is accepted is closed again."""
    with socket.create_connection((HOST, running.port), timeout=PATIENCE) as sock:
        sock.sendall(request("GET", "/wse", {"Origin": origin}))
        return int(sock.makefile("rb").readline().split()[1])


def mint(secret: str, **more: Any) -> str:
    """A token of this user, signed with this secret."""
    return jwt.encode({"sub": "user-1", "exp": int(time.time()) + 60} | more, secret, algorithm="HS256")


def told(running: Running, token: str) -> str:
    """What a client with this token is told first: "server_ready", or the code of the error."""
    with Wire(running.port, headers={"Authorization": f"Bearer {token}"}) as wire:
        first = json.loads(wire.frame().payload)
        return first["t"] if first["t"] == "server_ready" else str(first["p"]["code"])


def refresh(peer: Peer, token: str) -> str:
    """What a connection is told that shows a fresh token: "auth_refresh", or the code of the error."""
    peer.send({"t": "auth_refresh", "p": {"token": token}})
    answer = peer.receive_json()
    return answer["t"] if answer["t"] == "auth_refresh" else str(answer["p"]["code"])


# ---- Origins ----


def test_other_origins_hold_for_upgrades_from_then_on(server_factory: Factory) -> None:
    running = server_factory(allowed_origins=["https://a.example"])
    peer = running.dial(origin="https://a.example")
    running.server.set_allowed_origins(["https://B.example/"])
    assert [status(running, f"https://{name}.example") for name in "ab"] == [403, 101]
    # Who is there stays.
    running.server.send(peer.conn_id, "still here")
    assert peer.receive() == "still here"
    # An empty list lets every page in.
    running.server.set_allowed_origins([])
    assert [status(running, f"https://{name}.example") for name in "ab"] == [101, 101]


def test_no_list_reads_the_variable_again(server_factory: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOWED_ORIGINS", "https://a.example")
    running = server_factory()
    monkeypatch.setenv("ALLOWED_ORIGINS", "https://b.example")
    assert [status(running, f"https://{name}.example") for name in "ab"] == [101, 403]
    running.server.set_allowed_origins(None)
    assert [status(running, f"https://{name}.example") for name in "ab"] == [403, 101]
    running.server.set_allowed_origins(["https://a.example"])
    assert [status(running, f"https://{name}.example") for name in "ab"] == [101, 403]
    monkeypatch.delenv("ALLOWED_ORIGINS")
    running.server.set_allowed_origins(None)
    assert [status(running, f"https://{name}.example") for name in "ab"] == [101, 101]


def test_malformed_origins_change_nothing(server_factory: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    running = server_factory(allowed_origins=["https://a.example"])
    with pytest.raises(ValueError, match=r"allowed_origins must be .*b\.example/path"):
        running.server.set_allowed_origins(["https://b.example/path"])
    with pytest.raises(TypeError, match="allowed_origins must be"):
        running.server.set_allowed_origins("https://b.example")  # type: ignore[arg-type]
    monkeypatch.setenv("ALLOWED_ORIGINS", "b.example")
    with pytest.raises(ValueError, match="ALLOWED_ORIGINS must be"):
        running.server.set_allowed_origins(None)
    assert [status(running, f"https://{name}.example") for name in "ab"] == [101, 403]


def test_what_is_replaced_before_the_start_and_between_two_counts(server_factory: Factory) -> None:
    running = server_factory(allowed_origins=["https://a.example"])
    running.server.stop()
    running.server.set_allowed_origins(["https://b.example"])
    running.server.start()
    assert [status(running, f"https://{name}.example") for name in "ab"] == [403, 101]
    running.server.set_allowed_origins(["https://a.example"])
    running.server.stop()
    running.server.start()
    assert [status(running, f"https://{name}.example") for name in "ab"] == [101, 403]


# ---- Keys of tokens ----


def test_keys_are_rotated_without_a_restart(server_factory: Factory) -> None:
    running = server_factory(jwt_secret=OLD)
    assert [told(running, mint(key)) for key in (OLD, NEW)] == ["server_ready", "AUTH_FAILED"]
    running.server.set_jwt_keys(NEW, OLD)
    assert [told(running, mint(key)) for key in (OLD, NEW)] == ["server_ready", "server_ready"]
    running.server.set_jwt_keys(NEW)
    assert [told(running, mint(key)) for key in (OLD, NEW)] == ["AUTH_FAILED", "server_ready"]


def test_a_live_connection_goes_on_with_its_token_and_renews_it_with_the_new_key(
    server_factory: Factory,
) -> None:
    running = server_factory(jwt_secret=OLD)
    peer = running.dial(token=mint(OLD))
    assert peer.receive_json()["t"] == "server_ready"
    running.server.set_jwt_keys(NEW)
    running.server.send(peer.conn_id, "still here")
    assert peer.receive() == "still here"
    assert refresh(peer, mint(OLD)) == "AUTH_FAILED"
    assert refresh(peer, mint(NEW)) == "auth_refresh"


def test_the_server_signs_with_the_new_secret(server_factory: Factory) -> None:
    running = server_factory(jwt_secret=OLD, jwt_issuer="me", jwt_key_id="k1")
    running.server.set_jwt_keys(NEW, OLD)
    token = running.server.mint_token({"sub": "u", "exp": int(time.time()) + 60})
    assert rust_jwt_decode(token, NEW, issuer="me", key_id="k1") is not None
    assert told(running, token) == "server_ready"


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_a_pair_is_replaced_as_a_pair(
    server_factory: Factory, algorithm: Literal["RS256", "ES256", "EdDSA"]
) -> None:
    one, other = keys(algorithm, "own"), keys(algorithm, "other")
    running = server_factory(jwt_secret=one.verifying, jwt_private_key=one.signing, jwt_algorithm=algorithm)
    claims = {"sub": "u", "exp": int(time.time()) + 60}
    with pytest.raises(ValueError, match="jwt_private_key does not belong to the public key"):
        running.server.set_jwt_keys(other.verifying, private_key=one.signing)
    assert told(running, running.server.mint_token(claims)) == "server_ready"
    old = running.server.mint_token(claims)
    running.server.set_jwt_keys(other.verifying, private_key=other.signing)
    assert told(running, running.server.mint_token(claims)) == "server_ready"
    assert told(running, old) == "AUTH_FAILED"
    # Without a private key there is nothing to sign with, as at construction.
    running.server.set_jwt_keys(one.verifying, other.verifying)
    assert told(running, old) == "server_ready"
    with pytest.raises(RuntimeError, match="no key to sign with"):
        running.server.mint_token(claims)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (("short",), ValueError, "jwt_secret has 5 bytes; allowed: at least 32"),
        ((b"",), ValueError, "jwt_secret"),
        ((NEW, "short"), ValueError, "jwt_previous_secret has 5 bytes"),
        ((NEW, None, NEW), ValueError, "jwt_private_key must be None with jwt_algorithm HS256"),
        ((None,), TypeError, "the key must be bytes or str, got None"),
        ((5,), TypeError, "jwt_secret must be"),
        ((NEW, 5), TypeError, "jwt_previous_secret must be"),
    ],
)
def test_keys_that_can_not_be_used_change_nothing(
    server_factory: Factory, given: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    running = server_factory(jwt_secret=OLD)
    with pytest.raises(error, match=message):
        running.server.set_jwt_keys(*given)
    assert [told(running, mint(key)) for key in (OLD, NEW)] == ["server_ready", "AUTH_FAILED"]


def test_where_there_are_no_keys_to_replace_the_reason_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"set_jwt_keys: authentication is off: .* without jwt_secret"):
        RustWSEServer(HOST, 0).set_jwt_keys(NEW)
    file = tmp_path / "keys.json"
    file.write_text(key_set(jwk("ES256", "own")), encoding="utf-8")
    server = RustWSEServer(HOST, 0, jwks=str(file), jwt_algorithm="ES256")
    with pytest.raises(RuntimeError, match="set_jwt_keys: the keys come from jwks"):
        server.set_jwt_keys(keys("ES256", "own").verifying)


def test_clients_come_in_while_keys_and_origins_are_replaced(server_factory: Factory) -> None:
    running = server_factory(jwt_secret=OLD, allowed_origins=["https://a.example"])
    stopping = threading.Event()

    def replace(which: int) -> int:
        turns = 0
        while not stopping.is_set():
            running.server.set_jwt_keys(*((NEW, OLD) if turns % 2 else (OLD, NEW)))
            running.server.set_allowed_origins(["https://a.example", f"https://{which}-{turns}.example"])
            turns += 1
        return turns

    with ThreadPoolExecutor(4) as threads:
        replacing = [threads.submit(replace, which) for which in range(2)]
        try:
            for _ in range(50):
                assert [told(running, mint(key)) for key in (OLD, NEW)] == ["server_ready", "server_ready"]
                assert status(running, "https://a.example") == 101
        finally:
            stopping.set()
        assert all(turns.result(PATIENCE) > 10 for turns in replacing)


def test_replacing_waits_for_a_start_or_a_stop_and_counts(server_factory: Factory) -> None:
    running = server_factory(jwt_secret=OLD)
    stopping = threading.Event()

    def restart() -> None:
        while not stopping.is_set():
            running.server.stop()
            running.server.start()

    with ThreadPoolExecutor(1) as threads:
        restarting = threads.submit(restart)
        for turn in range(30):
            running.server.set_jwt_keys(*((NEWEST, OLD) if turn % 2 else (OLD, NEW)))
        stopping.set()
        restarting.result(PATIENCE)
    assert [told(running, mint(key)) for key in (OLD, NEW, NEWEST)] == [
        "server_ready",
        "AUTH_FAILED",
        "server_ready",
    ]


# ---- The key of the HTTP API ----


def test_the_key_of_the_api_is_replaced(server_factory: Factory) -> None:
    other = "another-key-of-the-tests-0123456789abcdef"
    running = server_factory(api_key=KEY)
    with Worker(running.port) as before, Worker(running.port, other) as after:
        assert before.get("/api/topics")
        running.server.set_api_key(other)
        assert after.get("/api/topics")
        assert before.refusal("GET", "/api/topics")[0] == 401
    with pytest.raises(ValueError, match=r"api_key must be .* got 5 bytes"):
        running.server.set_api_key("short")
    with pytest.raises(TypeError, match="got None"):
        running.server.set_api_key(None)  # type: ignore[arg-type]
    with Worker(running.port, other) as after:
        assert after.get("/api/topics")
    running.server.stop()
    running.server.start()
    with Worker(running.port, other) as after:
        assert after.get("/api/topics")


def test_an_api_that_is_off_stays_off() -> None:
    with pytest.raises(RuntimeError, match="set_api_key: the HTTP API is off"):
        RustWSEServer(HOST, 0).set_api_key(KEY)


# ---- The page ----


def test_the_guide_rotates_the_key_of_a_server_for_asyncio() -> None:
    server = Server(HOST, 0, jwt_secret=OLD)
    code = documents.block("docs/how-to/authentication.md", "set_jwt_keys")
    space: dict[str, Any] = {"server": server, "new": NEW, "old": OLD}
    exec(code, space)  # noqa: S102 - the page's own example
    token = server.mint_token({"sub": "u", "exp": int(time.time()) + 60})
    assert rust_jwt_decode(token, NEW) is not None
    assert rust_jwt_decode(token, OLD) is None
