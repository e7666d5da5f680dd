"""Wrong options: each is refused when the server is made, with a message that says how to mend it."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from wse_server import RustWSEServer
from wse_server.options import OPTIONS, Option, ServerOptions

SECRET = "correct-horse-battery-staple-and-more"
ROOT = Path(__file__).resolve().parent.parent
DECLARED: dict[str, dict[str, Any]] = {
    table["name"]: table
    for table in tomllib.loads((ROOT / "spec/options.toml").read_text(encoding="utf-8"))["option"]
}


def make(**options: Any) -> RustWSEServer:
    """A server that is never started."""
    return RustWSEServer("127.0.0.1", 0, **options)


def complaint(error: type[Exception], **options: Any) -> str:
    """The message of the error that these options raise."""
    with pytest.raises(error) as caught:
        make(**options)
    assert caught.type is error
    return str(caught.value)


CONNECTIONS = "max_connections must be an integer from 1 to 16000000"
PING = "ping_interval must be a number of seconds from 0.01 to 86400"
NO_KEY = "(without one no token would be checked), got None"

# What a user types when something is wrong, and what the server answers.
WRONG: list[tuple[type[Exception], dict[str, Any], str]] = [
    (TypeError, {"max_connections": "many"}, f"{CONNECTIONS}, got 'many'"),
    (TypeError, {"max_connections": True}, f"{CONNECTIONS}, got True"),
    (TypeError, {"max_connections": 1000.0}, f"{CONNECTIONS}, got 1000.0"),
    (TypeError, {"max_connections": None}, f"{CONNECTIONS}, got None"),
    (ValueError, {"max_connections": 0}, f"{CONNECTIONS}, got 0"),
    (ValueError, {"max_connections": -5}, f"{CONNECTIONS}, got -5"),
    (ValueError, {"shards": 65}, "shards must be an integer from 0 to 64, got 65"),
    (TypeError, {"ping_interval": "25s"}, f"{PING}, got '25s'"),
    (ValueError, {"ping_interval": 0}, f"{PING}, got 0"),
    (ValueError, {"ping_interval": math.nan}, f"{PING}, got nan"),
    (
        ValueError,
        {"idle_timeout": 20},
        "idle_timeout must be longer than ping_interval (25 seconds), got 20",
    ),
    (
        ValueError,
        {"ping_interval": 60},
        "idle_timeout must be longer than ping_interval (60 seconds), got 60",
    ),
    (
        ValueError,
        {"rate_limit_refill": math.inf},
        "rate_limit_refill must be a number from 0.001 to 1e+15, got inf",
    ),
    (
        ValueError,
        {"max_message_size": 2**20, "max_inbound_queue_bytes": 1000},
        (
            "max_inbound_queue_bytes must be at least max_message_size (1048576), so that the largest "
            "message fits, got 1000"
        ),
    ),
    (
        ValueError,
        {"max_outbound_total_bytes": 1_000_000},
        (
            "max_outbound_total_bytes must be at least max_outbound_queue_bytes (16777216), which one client "
            "alone may hold, got 1000000"
        ),
    ),
    (TypeError, {"recovery_enabled": 1}, "recovery_enabled must be True or False, got 1"),
    (TypeError, {"proxy_protocol": "yes"}, "proxy_protocol must be True or False, got 'yes'"),
    (ValueError, {"compression": "gzip"}, "compression must be 'off', 'shared' or 'full', got 'gzip'"),
    (
        ValueError,
        {"jwt_algorithm": "none"},
        "jwt_algorithm must be 'HS256', 'RS256', 'ES256' or 'EdDSA', got 'none'",
    ),
    (ValueError, {"jwt_secret": b"too short"}, "jwt_secret has 9 bytes; allowed: at least 32 for HS256"),
    (
        ValueError,
        {"jwt_secret": SECRET, "jwt_previous_secret": "old"},
        "jwt_previous_secret has 3 bytes; allowed: at least 32 for HS256",
    ),
    (
        ValueError,
        {"jwt_secret": SECRET, "jwt_algorithm": "RS256"},
        "jwt_secret is not one PEM block; allowed with RS256: a PEM public key (BEGIN PUBLIC KEY)",
    ),
    (
        ValueError,
        {"jwt_secret": SECRET, "jwt_private_key": SECRET},
        "jwt_private_key must be None with jwt_algorithm HS256, where jwt_secret signs as well, got a key",
    ),
    (
        ValueError,
        {"jwt_secret": None, "jwt_issuer": "my-app"},
        f"jwt_secret must be a key when jwt_issuer is given {NO_KEY}",
    ),
    (
        ValueError,
        {"jwt_algorithm": "ES256"},
        f"jwt_secret must be a key when jwt_algorithm is 'ES256' {NO_KEY}",
    ),
    (
        ValueError,
        {"jwt_secret": SECRET, "jwt_issuer": ""},
        "jwt_issuer must be non-empty text or None, got ''",
    ),
    (
        ValueError,
        {"path": "wse"},
        (
            "path must be a path such as '/wse' (it begins with '/' and has no '?', '#', spaces or control "
            "characters), or None, got 'wse'"
        ),
    ),
    (
        ValueError,
        {"trusted_proxies": ["10.1.2.3/8"]},
        (
            "trusted_proxies must be a list that names either the network '10.0.0.0/8' or the address "
            "'10.1.2.3', got '10.1.2.3/8' in it"
        ),
    ),
    (
        ValueError,
        {"trusted_proxies": ["::1", "proxy.example"]},
        (
            "trusted_proxies must be a list of networks such as '10.0.0.0/8' or addresses such as "
            "'192.0.2.7', got 'proxy.example' in it"
        ),
    ),
    (
        ValueError,
        {"proxy_protocol": True},
        "trusted_proxies must be a list that names the proxies when proxy_protocol is True, got []",
    ),
    (
        ValueError,
        {"api_key": "short"},
        (
            "api_key must be 32 to 1024 visible ASCII characters without spaces, as bytes or text, or None, "
            "got 5 bytes"
        ),
    ),
    (
        TypeError,
        {"max_conections": 10},
        "unknown option 'max_conections'; did you mean 'max_connections'?",
    ),
    (TypeError, {"pingInterval": 10}, "unknown option 'pingInterval'; did you mean 'ping_interval'?"),
    (
        TypeError,
        {"ssl_context": None},
        "unknown option 'ssl_context'; wse_server.options.OPTIONS lists all options",
    ),
]


@pytest.mark.parametrize(("error", "options", "message"), WRONG, ids=[message for _, _, message in WRONG])
def test_a_wrong_call_is_told_how_to_mend_it(
    error: type[Exception], options: dict[str, Any], message: str
) -> None:
    assert complaint(error, **options) == message


def test_the_table_and_the_types_name_what_is_declared() -> None:
    names = [option.name for option in OPTIONS]
    assert names == list(DECLARED) == list(ServerOptions.__annotations__)


def test_every_default_is_accepted_when_it_is_given() -> None:
    make()
    make(**{option.name: option.default for option in OPTIONS})


WRONG_TYPES: dict[str, list[object]] = {
    "integer": ["many", True, 1.5, None, [1], b"1"],
    "bytes": ["1 MiB", False, 1e6, None, {}, Decimal(1)],
    "seconds": ["soon", True, None, [], b"1", 1j],
    "number": ["fast", False, None, (), 1j],
    "boolean": [1, 0, "yes", None],
    "choice": [1, None, True, b"off"],
    "text": [5, b"text", True, ["text"]],
    "secret": [5, True, [SECRET], {"key": SECRET}],
    "origins": ["https://app.example.com", 5, {"https://a.test": 1}, [5], [None], [b"https://a.test"]],
    "networks": ["10.0.0.0/8", None, 5, [5], [b"::1"]],
}


def wrong_types() -> Iterator[Any]:
    """Every option with every wrong type."""
    for option in OPTIONS:
        for value in WRONG_TYPES[option.kind]:
            yield pytest.param(option, value, id=f"{option.name}={type(value).__name__}")


@pytest.mark.parametrize(("option", "value"), list(wrong_types()))
def test_a_wrong_type_is_named(option: Option, value: object) -> None:
    message = complaint(TypeError, **{option.name: value})
    assert message.startswith(f"{option.name} must be {option.allowed}, got ")
    if option.kind == "secret":
        assert message.endswith(f"got a value of type {type(value).__name__}")
        assert SECRET not in message
    elif isinstance(value, list) and value and option.kind in {"origins", "networks"}:
        assert message.endswith(f"got {value[0]!r} in it")
    else:
        assert message.endswith(f"got {value!r}")


def values_out_of_range(option: Option) -> list[object]:
    """Values of the right type that no server accepts, whatever else is given."""
    if option.minimum is not None and option.maximum is not None:
        below, above = option.minimum - 1, option.maximum * 2
        return [below, above, -(10**30), 10**30, *([math.nan, math.inf] if option.kind == "seconds" else [])]
    values: dict[str, list[object]] = {
        "boolean": [],
        "choice": ["", "nonsense", option.choices[0].swapcase() if option.choices else ""],
        "text": ["", "\ud800"],
        "secret": ["", b"", "\ud800" * 40],
        "origins": [
            ["nonsense"],
            ["https://a.test/path"],
            ["*", "https://a.test"],
            ("wss://a.test",),
            ["\ud800"],
        ],
        "networks": [["nonsense"], ["10.0.0.0/33"], ("",), ["10.1.2.3/8"]],
    }
    return values[option.kind]


def wrong_values() -> Iterator[Any]:
    """Every option with values that are not allowed; a switch has none."""
    for option in OPTIONS:
        for number, value in enumerate(values_out_of_range(option)):
            yield pytest.param(option, value, id=f"{option.name}-{number}")


@pytest.mark.parametrize(("option", "value"), list(wrong_values()))
def test_a_wrong_value_is_named(option: Option, value: object) -> None:
    message = complaint(ValueError, **{option.name: value})
    assert message.startswith(f"{option.name} must be ")
    assert ", got " in message
    if isinstance(value, (int, float)):
        said, _, got = message.rpartition(", got ")
        assert said == f"{option.name} must be {option.allowed}"
        assert got == str(value) or float(got) == value


# The other options that must give way when one is at the end of its range.
ROOM: dict[str, dict[str, Any]] = {
    "ping_interval": {"idle_timeout": 604_800},
    "idle_timeout": {"ping_interval": 0.01},
    "max_message_size": {"max_inbound_queue_bytes": 1_099_511_627_776},
    "max_inbound_queue_bytes": {"max_message_size": 1},
    "max_outbound_queue_bytes": {"max_outbound_total_bytes": 1_099_511_627_776},
    "max_outbound_total_bytes": {"max_outbound_queue_bytes": 4096},
}


@pytest.mark.parametrize(
    "option", [option for option in OPTIONS if option.minimum is not None], ids=lambda o: o.name
)
def test_both_ends_of_a_range_belong_to_it(option: Option) -> None:
    for end in (option.minimum, option.maximum):
        make(**{option.name: end, **ROOM.get(option.name, {})})


def test_all_options_are_built() -> None:
    assert not [name for name, table in DECLARED.items() if "not_built" in table]
    assert not [option.name for option in OPTIONS if option.for_now]


@pytest.mark.parametrize("choice", [option for option in OPTIONS if option.choices], ids=lambda o: o.name)
def test_every_choice_that_is_built_is_accepted(choice: Option) -> None:
    for name in set(choice.choices) - set(DECLARED[choice.name].get("not_built", [])):
        if choice.name != "jwt_algorithm":
            make(**{choice.name: name})


@pytest.mark.parametrize(
    "origins",
    [
        [],
        ["*"],
        ["null"],
        ("https://App.Example.com:443/", "http://localhost:3000"),
        ["http://[::1]:8080"],
        ["chrome-extension://abcdefghijklmnop"],
    ],
)
def test_origins_as_people_write_them(origins: list[str] | tuple[str, ...]) -> None:
    make(allowed_origins=origins)


def test_numbers_come_as_integers_floats_and_what_acts_like_them() -> None:
    class Index:
        def __index__(self) -> int:
            return 5

    make(max_connections=Index(), ping_interval=Decimal("0.05"), idle_timeout=1, rate_limit_capacity=10**12)


def pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> tuple[bytes, bytes]:
    """The public and the private half."""
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return public, private


def test_keys_are_tried_with_the_algorithm_they_are_for() -> None:
    public, private = pem(ec.generate_private_key(ec.SECP256R1()))
    other_public, other_private = pem(ed25519.Ed25519PrivateKey.generate())
    make(jwt_secret=public, jwt_algorithm="ES256")
    make(jwt_secret=public.decode(), jwt_algorithm="ES256", jwt_private_key=private.decode())
    make(jwt_secret=other_public, jwt_algorithm="EdDSA", jwt_private_key=other_private)
    wrong_pairs: list[tuple[str, dict[str, Any]]] = [
        ("jwt_secret", {"jwt_secret": private, "jwt_algorithm": "ES256"}),
        ("jwt_secret", {"jwt_secret": other_public, "jwt_algorithm": "ES256"}),
        ("jwt_secret", {"jwt_secret": public}),
        (
            "jwt_previous_secret",
            {"jwt_secret": public, "jwt_algorithm": "ES256", "jwt_previous_secret": SECRET},
        ),
        ("jwt_private_key", {"jwt_secret": public, "jwt_algorithm": "ES256", "jwt_private_key": public}),
        (
            "jwt_private_key",
            {"jwt_secret": public, "jwt_algorithm": "ES256", "jwt_private_key": other_private},
        ),
    ]
    for wrong, options in wrong_pairs:
        message = complaint(ValueError, **options)
        assert message.startswith(f"{wrong} is ")
        keys = (public + other_public + private + other_private).decode().splitlines()
        assert not any(line in message for line in keys if not line.startswith("-----"))


@pytest.mark.parametrize("name", ["jwt_secert", "jwtsecret", "JWT_SECRET", "api-key", "password"])
def test_the_value_of_an_unknown_option_is_not_repeated(name: str) -> None:
    message = complaint(TypeError, **{name: SECRET})
    assert repr(name) in message
    assert SECRET not in message


def test_a_value_without_a_repr_and_one_with_a_huge_one_are_told_too() -> None:
    silent = type("Silent", (), {"__repr__": lambda _: 1 / 0})
    assert complaint(TypeError, max_connections=silent()).endswith("got a value of type Silent")
    assert complaint(ValueError, path="x" * 100_000).endswith("x...'")
    assert len(complaint(TypeError, max_connections="x" * 100_000)) < 300


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=50),
    st.binary(max_size=50),
    st.lists(st.text(max_size=20), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
)


@given(option=st.sampled_from(OPTIONS), value=ANYTHING)
def test_no_value_does_anything_but_pass_or_be_refused_by_name(option: Option, value: object) -> None:
    refusal = ""
    try:
        make(**{option.name: value})
    except (TypeError, ValueError, NotImplementedError) as error:
        refusal = str(error)
    assert not refusal or any(refusal.startswith(known.name) for known in OPTIONS)
