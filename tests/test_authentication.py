"""Tokens on real connections: where they may stand, who is let in, what the others are told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Literal

import jwt
import pytest
from websockets.exceptions import ConnectionClosed

from loglines import LogLines
from support import Running, dial, wait_until
from token_corpus import ALGORITHMS, keys
from wire import TEXT, Wire
from wse_server import RustWSEServer, rust_jwt_decode, rust_jwt_encode

SECRET = "a secret that has more than thirty-two bytes"
OTHER = "another secret that has more than thirty-two"
Factory = Callable[..., Running]
Headers = dict[str, str | None]
Algorithm = Literal["HS256", "RS256", "ES256", "EdDSA"]


def claims(**more: Any) -> dict[str, Any]:
    """Good claims; None among the arguments leaves one out."""
    every = {"sub": "user-1", "exp": int(time.time()) + 60} | more
    return {name: value for name, value in every.items() if value is not None}


def mint(secret: str = SECRET, kid: str | None = None, **more: Any) -> str:
    """A token for these claims, made by PyJWT."""
    return jwt.encode(claims(**more), secret, algorithm="HS256", headers={"kid": kid} if kid else None)


def bearer(token: str) -> Headers:
    return {"Authorization": f"Bearer {token}"}


def cookie(token: str, name: str = "access_token") -> Headers:
    return {"Cookie": f"theme=dark; {name}={token}; lang=en"}


def pair(token: str) -> Headers:
    return {"Sec-WebSocket-Protocol": f"wse, bearer.{token}"}


def admitted(running: Running, headers: Headers, path: str = "/wse") -> str:
    """Connects, and returns the user that both the client and the application were told of."""
    known = len(running.events.of("auth_connect"))
    with Wire(running.port, path, headers) as wire:
        ready = json.loads(wire.frame().payload)
        assert ready["t"] == "server_ready", ready
        details = ready["p"]["details"]
        event = running.events.wait("auth_connect", count=known + 1)[known]
        assert event == ("auth_connect", details["connection_id"], details["user_id"])
        user: str = details["user_id"]
        return user


def refused(running: Running, headers: Headers, path: str = "/wse") -> str:
    """Connects, checks all that a client without a good token is told, and returns the code of the error."""
    with Wire(running.port, path, headers) as wire:
        frame = wire.frame()
        assert frame.opcode == TEXT
        error = json.loads(frame.payload)
        assert list(error) == ["c", "t", "p", "v"]
        assert (error["c"], error["t"], error["v"]) == ("WSE", "error", 1)
        assert set(error["p"]) == {"code", "message", "timestamp"}
        assert error["p"]["message"]
        code, _ = wire.frame().close
        assert code == 4401
        answer: str = error["p"]["code"]
        return answer


@pytest.fixture
def guarded(server_factory: Factory) -> Running:
    """A server that asks for tokens signed with `SECRET`."""
    return server_factory(jwt_secret=SECRET)


# ---- Where a token may stand ----


@pytest.mark.parametrize("place", [cookie, bearer, pair])
def test_a_good_token_is_accepted_in_each_place(guarded: Running, place: Callable[[str], Headers]) -> None:
    assert admitted(guarded, place(mint())) == "user-1"
    assert refused(guarded, place(mint(OTHER))) == "AUTH_FAILED"


def test_the_scheme_of_the_header_has_no_case(guarded: Running) -> None:
    for scheme in ("bearer", "BEARER", "Bearer"):
        assert admitted(guarded, {"Authorization": f"{scheme} {mint()}"}) == "user-1"


def test_the_subprotocol_pair_is_answered_with_wse_and_never_with_the_token(guarded: Running) -> None:
    for offer in (f"wse, bearer.{mint()}", f"bearer.{mint()},wse", f"chat, wse, bearer.{mint()}"):
        with Wire(guarded.port, headers={"Sec-WebSocket-Protocol": offer}) as wire:
            assert wire.headers["sec-websocket-protocol"] == "wse"
    with dial(guarded.url, subprotocols=["wse", f"bearer.{mint()}"]) as client:
        assert client.subprotocol == "wse"
        assert json.loads(client.recv(5))["t"] == "server_ready"


def test_a_refused_subprotocol_pair_is_answered_in_band_too(guarded: Running) -> None:
    # A browser that got no subprotocol would report a failed connection and never show the reason.
    client = dial(guarded.url, subprotocols=["wse", f"bearer.{mint(OTHER)}"])
    assert client.subprotocol == "wse"
    assert json.loads(client.recv(5))["p"]["code"] == "AUTH_FAILED"
    with pytest.raises(ConnectionClosed) as closed:
        client.recv(5)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401


def test_a_token_without_wse_beside_it_is_no_offer(guarded: Running) -> None:
    with Wire(guarded.port, headers={"Sec-WebSocket-Protocol": f"bearer.{mint()}"}) as wire:
        assert "sec-websocket-protocol" not in wire.headers
        assert json.loads(wire.frame().payload)["p"]["code"] == "AUTH_REQUIRED"


def test_the_first_place_decides(guarded: Running) -> None:
    good, bad = mint(sub="good"), mint(OTHER)
    assert refused(guarded, cookie(bad) | bearer(good) | pair(good)) == "AUTH_FAILED"
    assert admitted(guarded, cookie(good) | bearer(bad) | pair(bad)) == "good"
    assert refused(guarded, bearer(bad) | pair(good)) == "AUTH_FAILED"
    assert admitted(guarded, bearer(good) | pair(bad)) == "good"
    assert admitted(guarded, cookie(mint(sub="cookie")) | bearer(mint(sub="header"))) == "cookie"
    # Other cookies and other schemes are no tokens.
    assert admitted(guarded, bearer(good) | {"Cookie": "access_token2=x; session=y"}) == "good"
    assert admitted(guarded, pair(good) | {"Authorization": "Basic dXNlcjpwYXNz"}) == "good"


def test_the_cookie_has_the_name_that_was_configured(server_factory: Factory) -> None:
    renamed = server_factory(jwt_secret=SECRET, jwt_cookie_name="sid")
    assert admitted(renamed, cookie(mint(), "sid")) == "user-1"
    assert refused(renamed, cookie(mint())) == "AUTH_REQUIRED"
    without = server_factory(jwt_secret=SECRET, jwt_cookie_name=None)
    assert refused(without, cookie(mint())) == "AUTH_REQUIRED"
    assert admitted(without, cookie("junk") | bearer(mint())) == "user-1"


def test_a_token_in_the_address_counts_for_nothing(guarded: Running) -> None:
    # Addresses end up in the logs of proxies.
    assert refused(guarded, {}, f"/wse?token={mint()}&access_token={mint()}") == "AUTH_REQUIRED"


# ---- Who is refused, and what follows ----


def test_a_client_without_a_token_is_told_and_the_application_hears_nothing(guarded: Running) -> None:
    for headers in ({}, {"Cookie": "theme=dark"}, {"Authorization": "Basic dXNlcjpwYXNz"}):
        assert refused(guarded, dict(headers)) == "AUTH_REQUIRED"
    # An empty token is a bad one, not none.
    assert refused(guarded, {"Authorization": "Bearer "}) == "AUTH_FAILED"
    assert refused(guarded, {"Cookie": "access_token="}) == "AUTH_FAILED"
    admitted(guarded, bearer(mint()))
    guarded.events.wait("disconnect")
    assert [kind for kind, _, _ in guarded.events.seen] == ["auth_connect", "disconnect"]
    assert guarded.server.get_connection_count() == 0
    assert guarded.server.get_connections() == []
    assert guarded.server.health_snapshot()["auth_failures"] == 5


def strict_mint(secret: str = SECRET, kid: str | None = "2026", **more: Any) -> str:
    """A token that has everything the server of `strict` asks for, but for what is given here."""
    return mint(secret, kid, **({"iss": "my-app", "aud": "my-api"} | more))


def signed_otherwise(algorithm: str, key: bytes | str) -> str:
    every = claims(iss="my-app", aud="my-api")
    return jwt.encode(every, key, algorithm=algorithm, headers={"kid": "2026"})


BAD: dict[str, Callable[[], str]] = {
    "another key": lambda: strict_mint(OTHER),
    "expired": lambda: strict_mint(exp=int(time.time()) - 40),
    "no exp": lambda: strict_mint(exp=None),
    "exp as text": lambda: strict_mint(exp="4102444800"),
    "not yet valid": lambda: strict_mint(nbf=int(time.time()) + 90),
    "no sub": lambda: strict_mint(sub=None),
    "empty sub": lambda: strict_mint(sub=""),
    "no issuer": lambda: strict_mint(iss=None),
    "another issuer": lambda: strict_mint(iss="my-app2"),
    "no audience": lambda: strict_mint(aud=None),
    "other audiences": lambda: strict_mint(aud=["other", "my-api2"]),
    "no kid": lambda: strict_mint(kid=None),
    "another kid": lambda: strict_mint(kid="2025"),
    "alg none": lambda: signed_otherwise("none", ""),
    "another alg": lambda: signed_otherwise("RS256", keys("RS256").signing),
    "no token at all": lambda: "x",
    "two segments": lambda: "e30.e30",
    "text that is no ASCII": lambda: "é.é.é",
    "longer than 8 KiB": lambda: strict_mint(padding="x" * 7000),
}


@pytest.fixture
def strict(server_factory: Factory) -> Running:
    """A server that checks everything a token can carry."""
    return server_factory(jwt_secret=SECRET, jwt_issuer="my-app", jwt_audience="my-api", jwt_key_id="2026")


def test_a_token_that_has_everything_is_accepted(strict: Running) -> None:
    assert admitted(strict, bearer(strict_mint())) == "user-1"
    assert admitted(strict, bearer(strict_mint(aud=["other", "my-api"]))) == "user-1"
    # Thirty seconds for clocks that differ.
    assert admitted(strict, bearer(strict_mint(exp=int(time.time()) - 20))) == "user-1"
    assert admitted(strict, bearer(strict_mint(nbf=int(time.time()) + 20))) == "user-1"


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_token_is_refused(strict: Running, bad: Callable[[], str]) -> None:
    assert refused(strict, bearer(bad())) == "AUTH_FAILED"
    assert admitted(strict, bearer(strict_mint())) == "user-1"
    assert len(strict.events.of("auth_connect")) == 1
    assert strict.server.health_snapshot()["auth_failures"] == 1


def test_what_a_refused_client_says_is_heard_by_nobody(guarded: Running) -> None:
    with Wire(guarded.port) as wire:
        for _ in range(50):
            wire.send(TEXT, b'{"t":"let me in"}')
        guarded.server.broadcast_all('{"t":"for members"}')
        frames = [wire.frame(), wire.frame()]
        assert b"AUTH_REQUIRED" in frames[0].payload
        assert frames[1].close[0] == 4401
    with Wire(guarded.port, headers=bearer(mint())) as wire:
        wire.send(TEXT, b'{"t":"thanks"}')
        (event,) = guarded.events.wait("msg", "raw")
        assert event[2] == {"t": "thanks"}


def test_refused_clients_take_no_place(server_factory: Factory) -> None:
    running = server_factory(jwt_secret=SECRET, max_connections=1)
    for _ in range(5):
        assert refused(running, {}) == "AUTH_REQUIRED"
    assert admitted(running, bearer(mint())) == "user-1"


def test_expired_and_invalid_are_told_apart_and_no_more(guarded: Running) -> None:
    def message(token: str) -> str:
        with Wire(guarded.port, headers=bearer(token)) as wire:
            text: str = json.loads(wire.frame().payload)["p"]["message"]
            return text

    assert "expired" in message(mint(exp=int(time.time()) - 100))
    # Which of the rules stopped a forger is not for him to know.
    assert len({message(mint(OTHER)), message("x"), message(mint(sub=None))}) == 1


def test_the_user_is_the_subject_whatever_its_letters(guarded: Running) -> None:
    for subject in ("Zoë 😀", 'a"b\\c', "x" * 500, " "):
        assert admitted(guarded, bearer(mint(sub=subject))) == subject


def test_with_tokens_the_application_gets_the_user_and_not_the_cookies(guarded: Running) -> None:
    token = mint()
    admitted(guarded, cookie(token))
    assert token not in repr(guarded.events.seen)


def test_without_a_secret_tokens_are_not_looked_at(running: Running) -> None:
    with Wire(running.port, headers=bearer("junk") | cookie("junk")):
        ((_, _, cookies),) = running.events.wait("connect")
        assert cookies == "theme=dark; access_token=junk; lang=en"


# ---- Keys ----


def test_the_previous_secret_is_accepted_while_keys_change(server_factory: Factory) -> None:
    running = server_factory(jwt_secret=SECRET, jwt_previous_secret=OTHER)
    assert admitted(running, bearer(mint(SECRET))) == "user-1"
    assert admitted(running, bearer(mint(OTHER))) == "user-1"
    assert refused(running, bearer(mint("x" * 40))) == "AUTH_FAILED"
    # It signs with the new one.
    minted = running.server.mint_token(claims())
    assert jwt.decode(minted, SECRET, algorithms=["HS256"])["sub"] == "user-1"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_from_the_mint_to_the_application(
    server_factory: Factory, algorithm: Algorithm
) -> None:
    current, other = keys(algorithm), keys(algorithm, "other")
    options: dict[str, Any] = {
        "jwt_secret": current.verifying,
        "jwt_algorithm": algorithm,
        "jwt_key_id": "k1",
    }
    if algorithm != "HS256":
        options["jwt_private_key"] = current.signing
    running = server_factory(**options)
    minted = running.server.mint_token(claims(sub="minted", room="x", big=2**70))
    decoded = jwt.decode(minted, current.verifying, algorithms=[algorithm])
    assert (decoded["sub"], decoded["room"], decoded["big"]) == ("minted", "x", 2**70)
    assert jwt.get_unverified_header(minted)["kid"] == "k1"
    assert admitted(running, bearer(minted)) == "minted"

    def foreign(key: bytes, name: str) -> str:
        return rust_jwt_encode(claims(sub=name), key, algorithm, "k1")

    assert admitted(running, bearer(foreign(current.signing, "encoded"))) == "encoded"
    assert refused(running, bearer(foreign(other.signing, "forged"))) == "AUTH_FAILED"
    # The oldest trick: HS256 with the public key as the secret.
    if algorithm != "HS256":
        head = jwt.utils.base64url_encode(b'{"alg":"HS256","typ":"JWT","kid":"k1"}')
        body = jwt.utils.base64url_encode(json.dumps(claims()).encode())
        signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
            head + b"." + body, current.verifying
        )
        forged = b".".join([head, body, jwt.utils.base64url_encode(signature)]).decode()
        assert refused(running, bearer(forged)) == "AUTH_FAILED"


def test_a_server_without_a_key_mints_nothing() -> None:
    server = RustWSEServer("127.0.0.1", 0)
    with pytest.raises(RuntimeError, match="jwt_secret"):
        server.mint_token(claims())
    public_only = RustWSEServer("127.0.0.1", 0, jwt_secret=keys("ES256").verifying, jwt_algorithm="ES256")
    with pytest.raises(RuntimeError, match="jwt_private_key"):
        public_only.mint_token(claims())


def test_tokens_may_be_minted_before_the_start_and_after_the_stop(server_factory: Factory) -> None:
    running = server_factory(jwt_secret=SECRET)
    before = RustWSEServer("127.0.0.1", 0, jwt_secret=SECRET).mint_token(claims())
    assert admitted(running, bearer(before)) == "user-1"
    running.server.stop()
    assert rust_jwt_decode(running.server.mint_token(claims(sub="late")), SECRET) == claims(sub="late")


# ---- What must never be seen ----


def test_no_token_and_no_secret_reaches_the_log(server_factory: Factory) -> None:
    with LogLines() as log:
        running = server_factory(jwt_secret=SECRET, jwt_previous_secret=OTHER, jwt_issuer="my-app")
        tokens = [
            mint(iss="my-app"),
            mint("y" * 40, iss="my-app"),
            mint(exp=1),
            mint(iss="x"),
            "junk-junk.token-token.here-here",
        ]
        tokens += [mint(iss="my-app", sub="user-who-is-nobodys-business"), "x" * 9000]
        for token in tokens:
            for place in (bearer, cookie, pair):
                with Wire(running.port, headers=place(token)) as wire:
                    wire.frame()
                    wire.send(TEXT, b"\xff" + token.encode()[:100])
            rust_jwt_decode(token, SECRET, issuer="my-app")
            # A request that is malformed around the token.
            with Wire(running.port) as wire:
                wire.send_raw(f"GET /wse HTTP/1.1\r\nAuthorization: Bearer {token}\r\n\r\n".encode())

        def told() -> bool:
            # One line a second at most, and others may just have had theirs.
            refused(running, bearer(tokens[1]))
            return "a token was refused" in log.text

        wait_until(told, "a line about a refused token")
        running.server.stop()
        log.wait("stopped")
        said = log.text
    assert "rust_jwt_decode" in said
    for secret in [SECRET, OTHER, "user-who-is-nobodys-business", *tokens]:
        for part in [secret, *secret.split(".")]:
            assert part not in said, part


def test_no_secret_is_shown_by_repr_or_error() -> None:
    server = RustWSEServer("127.0.0.1", 0, jwt_secret=SECRET, jwt_previous_secret=OTHER)
    assert SECRET not in repr(server)
    assert OTHER not in repr(server)
    assert "secret" not in repr(server)
    hush = "hush-hush"
    private = keys("ES256").signing.decode()
    wrong: list[dict[str, Any]] = [
        {"jwt_secret": hush},
        {"jwt_secret": hush.encode()},
        {"jwt_secret": SECRET, "jwt_previous_secret": hush},
        {"jwt_secret": [hush]},
        {"jwt_secret": hush * 10 + "\ud800"},
        {"jwt_secret": hush * 10, "jwt_algorithm": "RS256"},
        {"jwt_secret": private, "jwt_algorithm": "ES256"},
        {"jwt_secret": private, "jwt_algorithm": "HS256"},
        {"jwt_secret": keys("ES256").verifying, "jwt_algorithm": "ES256", "jwt_private_key": hush * 10},
        {"api_key": {"k": hush}},
    ]
    for options in wrong:
        with pytest.raises((ValueError, TypeError, NotImplementedError)) as caught:
            RustWSEServer("127.0.0.1", 0, **options)
        shown = f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
        assert hush not in shown
        assert not any(line in shown for line in private.splitlines()[1:-1])
    for call in (
        lambda: rust_jwt_encode({"sub": "u"}, hush),
        lambda: rust_jwt_decode("a.b.c", hush),
        lambda: rust_jwt_decode("a.b.c", SECRET, previous_secret=hush),
    ):
        with pytest.raises(ValueError, match="secret") as caught:
            call()
        assert hush not in str(caught.value)


def test_the_count_of_failures_goes_up(guarded: Running) -> None:
    refused(guarded, {})
    refused(guarded, bearer("junk"))
    wait_until(lambda: guarded.server.health_snapshot()["auth_failures"] == 2, "two failures")
    admitted(guarded, bearer(mint()))
    assert guarded.server.health_snapshot()["auth_failures"] == 2
    assert guarded.server.health_snapshot()["connections_accepted"] == 1
