"""Tokens: a corpus decided here and by PyJWT, and what the functions do with good and bad arguments."""

from __future__ import annotations

import enum
import json
import time
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from token_corpus import ALGORITHMS, CORPUS, Algorithm, Case, Keys, Mint, keys
from wse_server import RustWSEServer, rust_jwt_decode, rust_jwt_encode

HOST = "127.0.0.1"
LEEWAY = 30


def soon() -> int:
    """A good `exp`."""
    return int(time.time()) + 60


def pyjwt_accepts(token: str, algorithm: Algorithm, options: dict[str, Any]) -> bool:
    """What PyJWT says, told to check what this server checks and nothing else."""
    names = ["current", *([options["previous_secret"]] if "previous_secret" in options else [])]
    for name in names:
        try:
            decoded = jwt.decode_complete(
                token,
                keys(algorithm, name).verifying,
                algorithms=[algorithm],
                issuer=options.get("issuer"),
                audience=options.get("audience"),
                leeway=LEEWAY,
                options={
                    "require": ["exp", "sub"],
                    "verify_iat": False,
                    "verify_jti": False,
                    "verify_aud": "audience" in options,
                },
            )
        except (jwt.InvalidTokenError, UnicodeError):
            continue
        # PyJWT leaves the key id to its caller.
        return "key_id" not in options or decoded["header"].get("kid") == options["key_id"]
    return False


def decode(token: str, algorithm: Algorithm, options: dict[str, Any]) -> dict[str, Any] | None:
    arguments = dict(options)
    if "previous_secret" in arguments:
        arguments["previous_secret"] = keys(algorithm, arguments["previous_secret"]).verifying
    return rust_jwt_decode(token, keys(algorithm).verifying, algorithm, **arguments)


@pytest.mark.parametrize(
    ("algorithm", "case"),
    [pytest.param(algorithm, case, id=f"{algorithm}-{case.name}") for algorithm, case in CORPUS],
)
def test_corpus(algorithm: Algorithm, case: Case) -> None:
    token = case.build(Mint(algorithm))
    claims = decode(token, algorithm, case.options)
    assert (claims is not None) == case.accepted, claims
    second_opinion = pyjwt_accepts(token, algorithm, case.options)
    assert second_opinion == (case.accepted or bool(case.stricter)), case.stricter
    if claims is not None:
        assert claims == jwt.decode(token, options={"verify_signature": False})


def test_no_case_hides_another() -> None:
    names = [(algorithm, case.name) for algorithm, case in CORPUS]
    assert len(names) == len(set(names)) >= 200


def test_an_audience_nobody_asked_for_is_the_only_place_where_pyjwt_is_stricter() -> None:
    # RFC 7519 section 4.1.3 would refuse a token for some audience at a server that has none. Without
    # `jwt_audience` this server does not look at it, as the documentation says.
    mint = Mint("HS256")
    token = mint.token(claims=mint.claims(aud="my-api"))
    assert rust_jwt_decode(token, keys("HS256").verifying) is not None
    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(token, keys("HS256").verifying, algorithms=["HS256"])


# What is made here.


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_pyjwt_reads_what_is_encoded_here(algorithm: Algorithm) -> None:
    claims = {
        "sub": 'josé 漢字 \U0001f600 " \\ \n',
        "exp": soon(),
        "big": [2**63, -(2**64), 2**1000, 0, -1],
        "floats": [0.1, 1e300, -0.5, 5e-324, 1e16],
        "nested": {"list": [[], {}, ()], "none": None, "yes": True, "no": False},
        "": "empty name",
    }
    token = rust_jwt_encode(claims, keys(algorithm).signing, algorithm, key_id="2026")
    decoded = jwt.decode_complete(token, keys(algorithm).verifying, algorithms=[algorithm])
    assert decoded["payload"] == json.loads(json.dumps(claims))
    assert decoded["header"] == {"alg": algorithm, "typ": "JWT", "kid": "2026"}
    assert decode(token, algorithm, {"key_id": "2026"}) == decoded["payload"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_pyjwt_encodes_is_read_here(algorithm: Algorithm) -> None:
    claims = {"sub": "user-7", "exp": soon(), "big": 2**200, "float": 0.1}
    token = jwt.encode(claims, keys(algorithm).signing, algorithm=algorithm)
    assert decode(token, algorithm, {}) == claims


def test_defaults_are_hs256_and_no_key_id() -> None:
    token = rust_jwt_encode({"sub": "u"}, keys("HS256").signing)
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}


def test_keys_may_be_text() -> None:
    text = "a secret of at least 32 bytes, as text: é"
    token = rust_jwt_encode({"sub": "u", "exp": soon()}, text)
    assert rust_jwt_decode(token, text) is not None
    assert rust_jwt_decode(token, text.encode()) == rust_jwt_decode(token, text)
    pem = keys("ES256").verifying.decode()
    token = rust_jwt_encode({"sub": "u", "exp": soon()}, keys("ES256").signing.decode(), "ES256")
    assert rust_jwt_decode(token, pem, "ES256") is not None


def test_subclasses_of_plain_types_are_encoded_as_those() -> None:
    class Role(enum.IntEnum):
        ADMIN = 7

    class Name(enum.StrEnum):
        ANNE = "anne"

    class Claims(dict[str, object]):
        pass

    token = rust_jwt_encode(Claims(sub=Name.ANNE, role=Role.ADMIN), keys("HS256").signing)
    assert jwt.decode(token, options={"verify_signature": False}) == {"sub": "anne", "role": 7}


def cyclic() -> dict[str, Any]:
    claims: dict[str, Any] = {}
    claims["self"] = claims
    return claims


@pytest.mark.parametrize(
    ("claims", "error", "words"),
    [
        (None, TypeError, ["claims", "NoneType", "dict"]),
        ([("sub", "u")], TypeError, ["claims", "list", "dict"]),
        ({"sub": b"u"}, TypeError, ['claims["sub"]', "bytes", "str, int, float"]),
        ({"a": [1, {"b": {2}}]}, TypeError, ['claims["a"][1]["b"]', "set"]),
        ({"exp": datetime.now(UTC)}, TypeError, ['claims["exp"]', "datetime", "int(when.timestamp())"]),
        ({1: "u"}, TypeError, ["key 1", "str"]),
        ({"a": {None: 1}}, TypeError, ['claims["a"]', "key None"]),
        ({"a": float("nan")}, ValueError, ['claims["a"]', "NaN", "finite"]),
        ({"a": [float("-inf")]}, ValueError, ['claims["a"][0]', "-inf"]),
        ({"a": 10**308}, ValueError, ['claims["a"]', "308 digits"]),
        ({"a": 10**5000}, ValueError, ['claims["a"]', "308 digits"]),
        ({"a": "\ud800"}, ValueError, ['claims["a"]', "surrogate"]),
        ({"\ud800": 1}, ValueError, ["claims", "surrogate"]),
        (cyclic(), ValueError, ["claims", "contain themselves"]),
        ({"pad": "x" * 8192}, ValueError, ["at most 8192"]),
    ],
)
def test_claims_that_have_no_token(claims: object, error: type[Exception], words: list[str]) -> None:
    with pytest.raises(error) as caught:
        rust_jwt_encode(claims, keys("HS256").signing)  # type: ignore[arg-type]
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_claims_may_nest_as_deep_as_a_server_reads() -> None:
    deepest: Any = {}
    for _ in range(126):
        deepest = {"a": deepest}
    with pytest.raises(ValueError, match="at most 127 levels"):
        rust_jwt_encode({"a": deepest}, keys("HS256").signing)
    claims = deepest | {"sub": "u", "exp": soon()}
    token = rust_jwt_encode(claims, keys("HS256").signing)
    assert rust_jwt_decode(token, keys("HS256").verifying) == claims


EC_OTHER_CURVE = Keys("ES256", ec.generate_private_key(ec.SECP384R1()))
RSA_SMALL = Keys("RS256", rsa.generate_private_key(65537, 1024))  # noqa: S505


@pytest.mark.parametrize(
    ("algorithm", "key", "words"),
    [
        ("HS256", b"short", ["secret has 5 bytes", "at least 32"]),
        ("HS256", "é" * 15, ["secret has 30 bytes"]),
        ("HS256", keys("RS256").verifying, ["secret is a PEM", "at least 32 secret bytes"]),
        ("RS256", b"x" * 32, ["secret is not one PEM block", "BEGIN PUBLIC KEY"]),
        ("RS256", keys("RS256").signing, ["secret is a private key", "BEGIN PUBLIC KEY", "-pubout"]),
        ("RS256", keys("ES256").verifying, ["secret is not a usable public key for RS256"]),
        ("RS256", RSA_SMALL.verifying, ["1024 bits", "2048 to 8192"]),
        ("ES256", EC_OTHER_CURVE.verifying, ["secret is not a usable public key for ES256", "P-256"]),
        ("ES256", keys("EdDSA").verifying, ["ES256", "P-256"]),
        ("EdDSA", keys("ES256").verifying, ["EdDSA", "Ed25519"]),
    ],
)
def test_keys_that_can_verify_nothing(algorithm: Algorithm, key: bytes | str, words: list[str]) -> None:
    with pytest.raises(ValueError, match="allowed") as caught:
        rust_jwt_decode("a.b.c", key, algorithm)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    with pytest.raises(ValueError, match="previous_secret") as caught:
        rust_jwt_decode("a.b.c", keys(algorithm).verifying, algorithm, previous_secret=key)
    assert "allowed" in str(caught.value)


@pytest.mark.parametrize(
    ("algorithm", "key", "words"),
    [
        ("HS256", b"short", ["secret has 5 bytes"]),
        ("RS256", keys("RS256").verifying, ["secret is a public key", "BEGIN PRIVATE KEY"]),
        ("RS256", RSA_SMALL.signing, ["secret is not a usable private key for RS256", "2048 to 8192"]),
        ("ES256", EC_OTHER_CURVE.signing, ["ES256", "P-256"]),
        ("EdDSA", keys("RS256").signing, ["EdDSA", "Ed25519"]),
    ],
)
def test_keys_that_can_sign_nothing(algorithm: Algorithm, key: bytes, words: list[str]) -> None:
    with pytest.raises(ValueError, match="allowed") as caught:
        rust_jwt_encode({"sub": "u"}, key, algorithm)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_no_message_shows_a_key() -> None:
    secret = "Tr0ub4dor&3"
    with pytest.raises(ValueError, match="11 bytes") as caught:
        rust_jwt_encode({"sub": "u"}, secret)
    assert secret not in str(caught.value)
    with pytest.raises(TypeError, match="secret is of type list") as raised:
        rust_jwt_encode({"sub": "u"}, [secret])  # type: ignore[arg-type]
    assert secret not in str(raised.value)


@pytest.mark.parametrize("name", ["none", "hs256", "HS512", "Ed25519", ""])
def test_algorithms_are_named_exactly(name: str) -> None:
    message = r"algorithm: .* allowed: HS256, RS256, ES256, EdDSA"
    with pytest.raises(ValueError, match=message):
        rust_jwt_encode({}, b"x" * 32, name)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        rust_jwt_decode("", b"x" * 32, name)  # type: ignore[arg-type]


def test_a_token_is_text() -> None:
    with pytest.raises(TypeError):
        rust_jwt_decode(b"a.b.c", b"x" * 32)  # type: ignore[arg-type]
    assert rust_jwt_decode("\ud800", b"x" * 32) is None


# What a server mints.


def test_a_server_mints_what_it_accepts() -> None:
    server = RustWSEServer(
        HOST,
        0,
        jwt_secret=keys("HS256").verifying,
        jwt_issuer="my-app",
        jwt_audience="my-api",
        jwt_key_id="2026",
    )
    expires = soon()
    token = server.mint_token({"sub": "user-7", "exp": expires, "role": "x"})
    assert jwt.get_unverified_header(token)["kid"] == "2026"
    claims = decode(token, "HS256", {"issuer": "my-app", "audience": "my-api", "key_id": "2026"})
    assert claims == {"iss": "my-app", "aud": "my-api", "sub": "user-7", "exp": expires, "role": "x"}
    token = server.mint_token({"sub": "user-7", "exp": expires, "iss": "my-app", "aud": ["other", "my-api"]})
    claims = decode(token, "HS256", {"issuer": "my-app", "audience": "my-api", "key_id": "2026"})
    assert claims == {"iss": "my-app", "aud": ["other", "my-api"], "sub": "user-7", "exp": expires}


@pytest.mark.parametrize("algorithm", ALGORITHMS[1:])
def test_a_server_mints_with_its_private_key(algorithm: Algorithm) -> None:
    pair = keys(algorithm)
    server = RustWSEServer(
        HOST, 0, jwt_secret=pair.verifying, jwt_algorithm=algorithm, jwt_private_key=pair.signing
    )
    claims = {"sub": "user-7", "exp": soon()}
    assert decode(server.mint_token(claims), algorithm, {}) == claims


@pytest.mark.parametrize(
    ("claims", "word"),
    [({"exp": 1}, "sub"), ({"sub": "u"}, "exp"), ({"sub": "u", "exp": 1, "iss": "another"}, "iss")],
)
def test_a_server_mints_nothing_that_it_would_refuse(claims: dict[str, Any], word: str) -> None:
    server = RustWSEServer(HOST, 0, jwt_secret=keys("HS256").verifying, jwt_issuer="my-app")
    with pytest.raises(ValueError, match=f"would refuse the token: the token's {word}"):
        server.mint_token(claims)


def test_a_server_without_a_key_mints_nothing() -> None:
    for server in (
        RustWSEServer(HOST, 0),
        RustWSEServer(HOST, 0, jwt_secret=keys("ES256").verifying, jwt_algorithm="ES256"),
    ):
        with pytest.raises(RuntimeError, match="jwt_private_key"):
            server.mint_token({"sub": "u", "exp": 1})


def test_a_private_key_of_another_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="jwt_private_key"):
        RustWSEServer(
            HOST,
            0,
            jwt_secret=keys("ES256").verifying,
            jwt_algorithm="ES256",
            jwt_private_key=keys("ES256", "another").signing,
        )
