"""The life of a token on a live connection: the warning, the end, and fresh tokens in between."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

import jwt
import pytest

from loglines import LogLines
from support import Peer, Running, wait_until
from token_corpus import ALGORITHMS, keys
from wire import TEXT, Wire

SECRET = "a secret that has more than thirty-two bytes"
OTHER = "another secret that has more than thirty-two"
LEEWAY = 30
Factory = Callable[..., Running]


def mint(lasts: float = 60, key: str | bytes = SECRET, algorithm: str = "HS256", **more: Any) -> str:
    """A token made by PyJWT that expires in so many seconds; `kid` goes into its header."""
    headers = {"kid": more.pop("kid")} if "kid" in more else None
    claims = {"sub": "user-1", "exp": time.time() + lasts} | more
    return jwt.encode(claims, key, algorithm=algorithm, headers=headers)


def enter(running: Running, token: str) -> Peer:
    """Connects with a token and reads the greeting."""
    peer = running.dial(token=token)
    assert peer.receive_json()["t"] == "server_ready"
    return peer


def refresh(peer: Peer, token: object) -> dict[str, Any]:
    """Sends a fresh token and returns the answer."""
    peer.send({"t": "auth_refresh", "p": {"token": token}})
    return peer.receive_json()


def accepted(answer: dict[str, Any]) -> int:
    """Checks that a token was taken and returns the seconds it has."""
    assert list(answer) == ["c", "t", "p", "v"]
    assert (answer["c"], answer["t"], answer["v"]) == ("WSE", "auth_refresh", 1), answer
    assert list(answer["p"]) == ["expires_in"]
    seconds: int = answer["p"]["expires_in"]
    return seconds


def refused(answer: dict[str, Any]) -> tuple[str, str]:
    """Checks that a token was not taken and returns code and message."""
    assert (answer["c"], answer["t"]) == ("WSE", "error"), answer
    return answer["p"]["code"], answer["p"]["message"]


def is_alive(running: Running, peer: Peer) -> bool:
    """Whether the application still hears this client, and it the application."""
    known = len(running.events.of("msg"))
    peer.send({"t": "still", "p": "here"})
    event = running.events.wait("msg", count=known + 1)[known]
    running.server.send(peer.conn_id, '{"t":"and you"}')
    return event == ("msg", peer.conn_id, {"t": "still", "p": "here"}) and peer.receive_json() == {
        "t": "and you"
    }


@pytest.fixture
def guarded(server_factory: Factory) -> Running:
    """A server that asks for tokens signed with `SECRET`."""
    return server_factory(jwt_secret=SECRET)


# ---- The warning and the end ----


def test_a_short_token_is_warned_of_half_way(guarded: Running) -> None:
    began = time.time()
    peer = enter(guarded, mint(3))
    warning = peer.receive_json()
    waited = time.time() - began
    assert (warning["c"], warning["t"], warning["v"]) == ("WSE", "token_expiring", 1)
    assert warning["p"] == {"expires_in": 1}
    assert 1.4 < waited < 2.9, waited
    assert is_alive(guarded, peer)


def test_a_connection_ends_at_exp_and_the_leeway_with_a_word_and_4401(guarded: Running) -> None:
    ends = time.time() + 3
    peer = enter(guarded, mint(3 - LEEWAY))
    assert peer.receive_json()["p"] == {"expires_in": 0}
    assert is_alive(guarded, peer)
    assert refused(peer.receive_json()) == ("AUTH_FAILED", "token expired")
    late = time.time() - ends
    assert peer.close_code() == 4401
    assert -0.1 < late < 2, late
    assert guarded.events.wait("disconnect") == [("disconnect", peer.conn_id, None)]
    assert guarded.server.get_connection_count() == 0


def test_a_client_that_never_stops_talking_ends_too(guarded: Running) -> None:
    with Wire(guarded.port, headers={"Authorization": f"Bearer {mint(2 - LEEWAY)}"}) as wire:
        deadline = time.monotonic() + 15
        # Until the server has hung up: it reads on for a while, and what is sent after that meets a reset.
        with suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() < deadline:
                wire.send(TEXT, b'{"t":"pong"}')
            pytest.fail("the server goes on reading")
    assert guarded.events.wait("disconnect")[0][0] == "disconnect"


def test_the_application_may_be_slow_and_the_token_ends_all_the_same(server_factory: Factory) -> None:
    running = server_factory(drain=False, jwt_secret=SECRET, max_inbound_queue_size=1)
    running.server.stop()
    running.server.enable_drain_mode()
    running.server.start()
    with Wire(running.port, headers={"Authorization": f"Bearer {mint(2 - LEEWAY)}"}) as wire:
        # The queue of one event is full with the greeting of this very client, so nothing of it is read.
        wire.send(TEXT, b'{"t":"hello"}')
        assert wire.close_frame() == (4401, "token expired")


def test_clients_without_tokens_are_never_warned(running: Running) -> None:
    peer = running.dial()
    peer.send({"t": "ping", "p": {"timestamp": 1}})
    assert peer.receive_json()["t"] == "PONG"


# ---- A fresh token ----


def test_a_fresh_token_takes_the_place_of_the_old_one(guarded: Running) -> None:
    peer = enter(guarded, mint(2 - LEEWAY))
    assert peer.receive_json()["t"] == "token_expiring"
    assert accepted(refresh(peer, mint(3600.9))) == 3600
    # Past the end of the first token: a second client that came with the same life is gone by now.
    other = enter(guarded, mint(3 - LEEWAY))
    assert other.close_code() == 4401
    assert is_alive(guarded, peer)


def test_a_fresh_token_that_ends_sooner_counts_as_well(guarded: Running) -> None:
    peer = enter(guarded, mint(3600))
    assert accepted(refresh(peer, mint(3 - LEEWAY))) == 0
    assert peer.receive_json()["p"] == {"expires_in": 0}
    assert peer.close_code() == 4401


def test_fresh_tokens_reach_no_application(guarded: Running) -> None:
    peer = enter(guarded, mint())
    accepted(refresh(peer, mint()))
    refused(refresh(peer, "junk"))
    refused(refresh(peer, None))
    assert is_alive(guarded, peer)
    assert [event for event in guarded.events.of("msg", "raw") if "auth_refresh" in repr(event)] == []
    info = guarded.server.get_connection_info(peer.conn_id)
    assert info is not None
    assert info["user_id"] == "user-1"


BAD: dict[str, tuple[Callable[[], object], str, str]] = {
    "forged": (lambda: mint(60, OTHER), "AUTH_FAILED", "invalid token"),
    "expired": (lambda: mint(-100), "AUTH_FAILED", "token expired"),
    "not yet": (lambda: mint(nbf=time.time() + 100), "AUTH_FAILED", "token not yet valid"),
    "another user": (lambda: mint(sub="user-2"), "AUTH_FAILED", "another user"),
    "user in other letters": (lambda: mint(sub="User-1"), "AUTH_FAILED", "another user"),
    "no exp": (lambda: jwt.encode({"sub": "user-1"}, SECRET), "AUTH_FAILED", "invalid token"),
    "alg none": (
        lambda: jwt.encode({"sub": "user-1", "exp": 9e9}, "", algorithm="none"),
        "AUTH_FAILED",
        "invalid token",
    ),
    "junk": (lambda: "a.b.c", "AUTH_FAILED", "invalid token"),
    "long": (lambda: "x" * 9000, "AUTH_FAILED", "invalid token"),
    "empty": (lambda: "", "AUTH_FAILED", "invalid token"),
    "no text": (lambda: 7, "INVALID_ACTION", "p.token"),
    "none at all": (lambda: None, "INVALID_ACTION", "p.token"),
    "a list": (lambda: [mint()], "INVALID_ACTION", "p.token"),
}


@pytest.mark.parametrize(("make", "code", "message"), BAD.values(), ids=BAD)
def test_a_bad_fresh_token_changes_nothing(
    guarded: Running, make: Callable[[], object], code: str, message: str
) -> None:
    peer = enter(guarded, mint(4))
    answer = refused(refresh(peer, make()))
    assert answer[0] == code
    assert message in answer[1]
    # Alive, and under the old token: its warning comes.
    assert is_alive(guarded, peer)
    assert peer.receive_json()["t"] == "token_expiring"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_fresh_tokens_with_every_algorithm(
    server_factory: Factory, algorithm: Literal["HS256", "RS256", "ES256", "EdDSA"]
) -> None:
    now, before, stranger = keys(algorithm), keys(algorithm, "other"), keys(algorithm, "third")
    running = server_factory(
        jwt_secret=now.verifying,
        jwt_previous_secret=before.verifying,
        jwt_algorithm=algorithm,
        jwt_key_id="k1",
    )
    peer = enter(running, mint(60, before.signing, algorithm, kid="k1"))
    assert accepted(refresh(peer, mint(600.9, now.signing, algorithm, kid="k1"))) == 600
    assert accepted(refresh(peer, mint(60.9, before.signing, algorithm, kid="k1"))) == 60
    assert refused(refresh(peer, mint(600, stranger.signing, algorithm, kid="k1")))[0] == "AUTH_FAILED"
    assert refused(refresh(peer, mint(600, now.signing, algorithm, kid="k2")))[0] == "AUTH_FAILED"


def test_issuer_and_audience_hold_for_fresh_tokens(server_factory: Factory) -> None:
    running = server_factory(jwt_secret=SECRET, jwt_issuer="my-app", jwt_audience="my-api")
    peer = enter(running, mint(iss="my-app", aud="my-api"))
    assert accepted(refresh(peer, mint(90.9, iss="my-app", aud=["my-api"]))) == 90
    assert refused(refresh(peer, mint(90, iss="my-app")))[0] == "AUTH_FAILED"


def test_without_tokens_auth_refresh_is_the_applications_own_word(running: Running) -> None:
    peer = running.dial()
    message = {"t": "auth_refresh", "p": {"token": mint()}}
    peer.send(message)
    assert running.events.wait("msg") == [("msg", peer.conn_id, message)]


# ---- What it may cost ----


def test_fresh_tokens_are_four_at_once_and_the_fifth_is_told_when(guarded: Running) -> None:
    peer = enter(guarded, mint())
    token = mint(600)
    for _ in range(40):
        peer.send({"t": "auth_refresh", "p": {"token": token}})
    for _ in range(4):
        accepted(peer.receive_json())
    limited = peer.receive_json()["p"]
    assert limited["code"] == "RATE_LIMITED"
    assert 0 < limited["retry_after"] <= 0.5
    wait_until(lambda: guarded.server.health_snapshot()["rate_limited"] > 20, "the rest to be counted")
    assert is_alive_after_limits(peer)


def is_alive_after_limits(peer: Peer) -> bool:
    """Whether the client is heard, and hears, when the answers to its flood are past."""
    peer.send({"t": "ping", "p": {"timestamp": "end"}})
    while True:
        answer = peer.receive_json()
        if answer["t"] == "PONG":
            return True
        # What a limit lets pass meanwhile is answered as ever.
        assert answer["t"] == "auth_refresh" or answer["p"]["code"] == "RATE_LIMITED"


def test_fresh_tokens_count_for_the_rate_limit(server_factory: Factory) -> None:
    running = server_factory(jwt_secret=SECRET, rate_limit_capacity=2.0, rate_limit_refill=0.001)
    peer = enter(running, mint())
    for _ in range(3):
        peer.send({"t": "auth_refresh", "p": {"token": mint(600)}})
    seen = [peer.receive_json() for _ in range(4)]
    assert [message["t"] for message in seen].count("auth_refresh") == 2
    assert seen[-1]["p"]["code"] == "RATE_LIMITED"


def test_no_fresh_token_reaches_the_log(guarded: Running) -> None:
    with LogLines() as log:
        peer = enter(guarded, mint())
        tokens = [mint(60, OTHER), mint(sub="nobodys-business"), mint(600)]
        for token in tokens:
            refresh(peer, token)

        def told() -> bool:
            # A line in five seconds at most, and another test may just have had it.
            refresh(peer, tokens[0])
            return "a fresh token was refused" in log.text

        wait_until(told, "a line about a refused token")
        guarded.server.stop()
        log.wait("stopped")
        said = log.text
    for token in [*tokens, "nobodys-business"]:
        for part in token.split("."):
            assert part not in said


def test_refused_fresh_tokens_are_counted(guarded: Running) -> None:
    peer = enter(guarded, mint())
    for token in ("junk", mint(sub="user-2")):
        refused(refresh(peer, token))
    assert guarded.server.health_snapshot()["auth_failures"] == 2


def test_the_old_prefix_and_the_long_names_are_understood(guarded: Running) -> None:
    peer = enter(guarded, mint())
    peer.send("WSE" + json.dumps({"type": "auth_refresh", "payload": {"token": mint(90.9)}}))
    assert accepted(peer.receive_json()) == 90
