"""What holds of what was told, where it was told, and what is wrong with it; without a process."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.services import SERVICES
from wse_server import Server
from wse_server.cli.settings import SETTINGS, Deployment, Finding, Level, deploy, resolve
from wse_server.cli.settings.declaration import BY_NAME, OTHER_VARIABLES, POD_VARIABLES, Setting
from wse_server.cli.settings.environment import is_of_a_service
from wse_server.cli.settings.values import Wrong, of_text, of_toml
from wse_server.options import OPTIONS

KEY = "Yk3v9RzqL0tWm7XcBd2NfHs8GjPa5Ue1"


def made(environ: dict[str, str] | None = None, toml: str | None = None, **flags: object) -> Deployment:
    """What these make together, without certificates of this machine."""
    environ = {"WSE_TLS_DIR": "/nowhere"} | (environ or {})
    with tempfile.TemporaryDirectory() as directory:
        if toml is not None:
            file = Path(directory) / "wse.toml"
            file.write_text(toml)
            flags["config"] = str(file)
        return deploy(resolve(flags, environ), environ)


def problems(deployment: Deployment) -> list[tuple[str, str]]:
    return [(found.source, found.message) for found in deployment.findings if found.level is Level.PROBLEM]


def of_level(findings: Iterable[Finding], level: Level) -> list[str]:
    return [found.line for found in findings if found.level is level]


# ---- The declaration ----


def test_every_option_of_the_engine_is_a_setting_and_names_are_unique() -> None:
    assert {option.name for option in OPTIONS} <= set(BY_NAME)
    assert len(BY_NAME) == len(SETTINGS)
    keys = [setting.key for setting in SETTINGS if setting.path]
    assert len(set(keys)) == len(keys)
    assert BY_NAME["cluster_port"].path == ("cluster", "port")
    assert BY_NAME["tls_ca"].path == ("cluster", "tls_ca")


def test_no_setting_has_a_name_that_kubernetes_writes() -> None:
    for setting in SETTINGS:
        assert not is_of_a_service(setting.variable, "5007")
        assert not is_of_a_service(f"{setting.variable}_FILE", "/run/secrets/key")


def test_the_defaults_have_no_problem_and_are_those_of_the_engine() -> None:
    deployment = made()
    assert deployment.findings == []
    assert deployment.options == {"client_subscriptions": True}
    assert (deployment.host, deployment.port, deployment.cluster) == ("0.0.0.0", 5007, None)


# ---- Which source holds ----

NUMBERED = st.sampled_from([s for s in SETTINGS if s.kind in {"integer", "bytes"} and s.maximum is not None])


@given(setting=NUMBERED, data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_flag_goes_before_the_environment_and_that_before_the_file(
    setting: Setting, data: st.DataObject
) -> None:
    assert setting.minimum is not None
    assert setting.maximum is not None
    numbers = st.none() | st.integers(int(setting.minimum), int(setting.maximum))
    flag, variable, key = data.draw(numbers), data.draw(numbers), data.draw(numbers)
    toml = "" if key is None else f"{setting.key} = {key}\n"
    environ = {} if variable is None else {setting.variable: str(variable)}
    resolution = made(environ, toml, **({} if flag is None else {setting.name: str(flag)})).resolution
    told = [
        (value, source)
        for value, source in (
            (flag, setting.flag),
            (variable, setting.variable),
            (key, f"wse.toml: {setting.key}"),
            (setting.default, "default"),
        )
        if value is not None
    ]
    assert (resolution[setting.name], resolution.source(setting.name)) == told[0]


SOURCES = st.sampled_from(["flag", "flag-file", "variable", "variable-file", "key", "key-file"])


@given(given=st.sets(SOURCES))
@settings(max_examples=64, deadline=None)
def test_a_secret_comes_from_the_first_place_that_tells_one_and_a_place_tells_one(given: set[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        files = {name: Path(directory) / name for name in given}
        for name, file in files.items():
            file.write_text(f"{name}-{KEY}\n")
        flags: dict[str, Any] = {}
        environ, lines = {}, []
        for name in given:
            place, _, is_file = name.partition("-")
            value = str(files[name]) if is_file else f"{name}-{KEY}"
            if place == "flag":
                flags["jwt_secret_file" if is_file else "jwt_secret"] = value
            elif place == "variable":
                environ["WSE_JWT_SECRET_FILE" if is_file else "WSE_JWT_SECRET"] = value
            else:
                lines.append(f'jwt_secret{"_file" if is_file else ""} = "{value}"\n')
        deployment = made(environ, "".join(lines), **flags)
    for place in ("flag", "variable", "key"):
        here = {name for name in given if name.startswith(place)}
        if len(here) == 2:
            ((_, message),) = problems(deployment)
            assert message == "both are given, and they mean the same"
            return
        if here:
            (name,) = here
            expected = f"{name}-{KEY}"
            assert deployment.options["jwt_secret"] in {expected, expected.encode()}
            return
    assert "jwt_secret" not in deployment.options


def test_the_variable_of_the_guide_tells_origins_and_the_one_of_wse_goes_before_it() -> None:
    both = {
        "ALLOWED_ORIGINS": "https://a.example, https://b.example",
        "WSE_ALLOWED_ORIGINS": "https://c.example",
    }
    assert made(both).options["allowed_origins"] == ("https://c.example",)
    del both["WSE_ALLOWED_ORIGINS"]
    deployment = made(both, 'allowed_origins = ["https://d.example"]')
    assert deployment.options["allowed_origins"] == ("https://a.example", "https://b.example")
    assert deployment.resolution.source("allowed_origins") == OTHER_VARIABLES["allowed_origins"]


def test_paths_in_a_file_begin_where_the_file_lies(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "wse.toml").write_text('jwt_secret_file = "key"\n[cluster]\ntls_dir = "tls"\n')
    resolution = resolve({}, {"WSE_CONFIG": str(tmp_path / "wse.toml")})
    assert resolution["jwt_secret"] == KEY.encode()
    assert resolution["tls_dir"] == str(tmp_path / "tls")


# ---- Values ----


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("port", "5007", 5007),
        ("recovery_enabled", "YES", True),
        ("recovery_enabled", "off", False),
        ("max_message_size", "64MiB", 64 * 1024**2),
        ("max_message_size", "64 MB", 64_000_000),
        ("max_message_size", "1.5KiB", 1536),
        ("max_message_size", "1_000", 1000),
        ("drain_timeout", "30", 30.0),
        ("drain_timeout", "1h30m", 5400.0),
        ("drain_timeout", "500ms", 0.5),
        ("slow_client", "GAP", "gap"),
        ("jwt_algorithm", "eddsa", "EdDSA"),
        ("log_level", "WARNING", "warning"),
        ("peers", "a:1, b:2,", ("a:1", "b:2")),
        ("peers", "", ()),
        ("jwt_cookie_name", "", None),
        ("app", "my.chat:servers.public", "my.chat:servers.public"),
        ("rate_limit_capacity", "1e12", 1e12),
    ],
)
def test_a_text_has_a_value(name: str, text: str, value: object) -> None:
    assert of_text(BY_NAME[name], text) == value


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("port", "65536", "must be an integer from 0 to 65535, got 65536"),
        ("port", "tcp", "must be an integer from 0 to 65535, got 'tcp'"),
        ("recovery_enabled", "perhaps", "must be true or false"),
        ("max_message_size", "64M", "say 64MiB (1024) or 64MB (1000)"),
        ("max_message_size", "64 parsecs", "sizes such as 64MiB"),
        ("max_message_size", "9" * 5000, "must be an integer of bytes"),
        ("max_message_size", "9" * 400 + ".1", "must be an integer of bytes"),
        ("max_message_size", "-1", "must be an integer of bytes"),
        ("drain_timeout", "nan", "must be a number of seconds from 0 to 86400"),
        ("drain_timeout", "5 minutes", "durations such as 500ms"),
        ("slow_client", "fast", "must be 'heal', 'gap' or 'close', got 'fast'"),
        ("jwt_secret", "", "a forgotten key must not open the door"),
        ("jwt_issuer", " ", "is empty"),
        ("max_connections", "", "is empty"),
        ("app", "chat", "must be a module and a name in it"),
        ("app", "chat.py:server!", "must be a module and a name in it"),
        ("path", "/\udcff", "is no UTF-8"),
    ],
)
def test_a_text_that_is_not_allowed_is_told_with_what_is(name: str, text: str, message: str) -> None:
    with pytest.raises(Wrong) as wrong:
        of_text(BY_NAME[name], text)
    assert message in str(wrong.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", True),
        ("port", 1.0),
        ("peers", [1]),
        ("peers", {"a": 1}),
        ("path", 1),
        ("recovery_enabled", 1),
    ],
)
def test_a_value_of_toml_of_another_type_is_refused(name: str, value: object) -> None:
    with pytest.raises(Wrong, match="must be"):
        of_toml(BY_NAME[name], value)


@given(st.sampled_from(SETTINGS), st.text(max_size=20))
@settings(deadline=None)
def test_whatever_is_typed_has_a_value_or_is_wrong(setting: Setting, text: str) -> None:
    with suppress(Wrong):
        value = of_text(setting, text)
        assert value is None or isinstance(value, bool | int | float | str | tuple)


# ---- What is wrong ----


def test_all_of_it_is_told_at_once() -> None:
    deployment = made(
        {
            "WSE_JWT_SECRET": "short",
            "WSE_JWT_ISSUER": "me",
            "WSE_PORT": "x",
            "WSE_JWT_SECRT": "typo",
            "WSE_API_KEY": "a",
            "WSE_API_KEY_FILE": "/b",
            "WSE_PEERS": "wse-2",
        },
        "prot = 1\ncluster = 2\n",
        ping_interval="2m",
        jwt_cookie_name="a b",
    )
    sources = [source for source, _ in problems(deployment)]
    assert sorted(sources) == [
        "--jwt-cookie-name",
        "--ping-interval",
        "WSE_API_KEY and WSE_API_KEY_FILE",
        "WSE_JWT_SECRET",
        "WSE_JWT_SECRT",
        "WSE_PEERS",
        "WSE_PORT",
        "wse.toml: cluster",
        "wse.toml: prot",
    ]


@pytest.mark.parametrize(
    ("environ", "source", "message"),
    [
        ({"WSE_JWT_ISSUER": "me"}, "WSE_JWT_ISSUER", "jwt_secret must be a key when jwt_issuer is given"),
        ({"WSE_PROXY_PROTOCOL": "1"}, "WSE_PROXY_PROTOCOL", "trusted_proxies must be a list"),
        ({"WSE_TRUSTED_PROXIES": "10.0.0"}, "WSE_TRUSTED_PROXIES", "must be a list of networks"),
        ({"WSE_HOST": "a b"}, "WSE_HOST", "must be an address or a name"),
        ({"WSE_JWT_SECRET_FILE": "/nowhere/key"}, "WSE_JWT_SECRET_FILE", "can't be read: No such file"),
        ({"WSE_JWT_SECRET_FILE": ""}, "WSE_JWT_SECRET_FILE", "must be the path of a file"),
        ({"WSE_CONFIG": "/nowhere/wse.toml"}, "WSE_CONFIG", "can't be read"),
        ({"WSE_JWKS": "https://a.example/keys"}, "WSE_JWKS", "jwt_algorithm must be RS256, ES256 or EdDSA"),
        (
            {"WSE_SEEDS": "a:1", "WSE_CLUSTER_PORT": "5007"},
            "port of default and cluster_port of",
            "two ports",
        ),
        ({"WSE_SEEDS": "a:1", "WSE_CLUSTER_SECRET": "short"}, "WSE_CLUSTER_SECRET", "has 5 bytes"),
        ({"WSE_SEEDS": "a:1", "WSE_CLUSTER_NAME": "x" * 256}, "WSE_CLUSTER_NAME", "has 256 bytes"),
        ({"WSE_SEEDS": "a:1", "WSE_DEAD_AFTER": "3s"}, "WSE_DEAD_AFTER", "at least twice heartbeat_interval"),
        (
            {"WSE_SEEDS": "a:1", "WSE_TLS_CA": "/dev/null"},
            "WSE_TLS_CA",
            "WSE_TLS_CERT and WSE_TLS_KEY not given",
        ),
        ({"WSE_SEEDS": "::1:9999"}, "WSE_SEEDS", "[host]:port for IPv6"),
        ({"WSE_SEEDS": "a:0"}, "WSE_SEEDS", "from 1 to 65535"),
        ({"WSE_SEEDS": "a:1", "WSE_CLUSTER_ADDR": "a"}, "WSE_CLUSTER_ADDR", "host:port"),
        ({"WSE_SEEDS": "a:1", "WSE_RECOVERY_REPLICAS": "5"}, "WSE_RECOVERY_REPLICAS", "from 0 to 4"),
    ],
)
def test_what_does_not_go_together_is_told_by_who_said_so(
    environ: dict[str, str], source: str, message: str
) -> None:
    ((where, what),) = problems(made(environ))
    assert where.startswith(source)
    assert message in what


ODD = [
    "", " ", "0", "1", "-1", "5007", "99999", "1e3", "nan", "yes", "x", "a b", "a:1", "[::1]:1", "a:1,b",
    "10.0.0.0/8", "https://a.example", "*", "/wse", "64KiB", "1TiB", "5m", "HS256", "ES256", "gap", "full",
    KEY, "short", "-----BEGIN PUBLIC KEY-----", "chat:server", "/nowhere", "tcp://10.0.0.1:5007",
    "\udcff", "ä" * 200,
]  # fmt: skip
VARIABLES = [setting.variable for setting in SETTINGS]
VARIABLES += [f"{setting.variable}_FILE" for setting in SETTINGS if setting.kind == "secret"]


@given(
    st.dictionaries(
        st.sampled_from([*VARIABLES, "POD_IP", "ALLOWED_ORIGINS"]), st.sampled_from(ODD), max_size=12
    )
)
@settings(max_examples=150, deadline=None)
def test_whatever_the_environment_says_there_is_a_server_or_a_problem(environ: dict[str, str]) -> None:
    told = {"WSE_TLS_DIR": "/nowhere"} | environ
    deployment = deploy(resolve({}, told), told)
    if problems(deployment):
        return
    if deployment.app is None:
        Server(deployment.host, deployment.port, cluster=deployment.cluster, **deployment.options)


def test_a_secret_is_never_shown() -> None:
    deployment = made(
        {"WSE_JWT_SECRET": "hunter2", "WSE_API_KEY": "hunter2", "WSE_CLUSTER_SECRET": "hunter2"}
    )
    assert len(problems(deployment)) == 3
    assert "hunter2" not in repr(deployment.findings)


def test_a_typo_has_a_hint_and_what_other_commands_read_is_no_typo() -> None:
    (found,) = resolve({}, {"WSE_JWT_SECRT": "x"}).findings
    assert (found.level, found.hint) == (Level.PROBLEM, "WSE_JWT_SECRET?")
    assert resolve({}, {"WSE_URL": "x"}, lambda: ["WSE_URL"]).findings == []
    (found,) = resolve({}, {"WSE_CHAT_COLOUR": "red", "WSE_APP": "chat:server"}).findings
    assert found.level is Level.WARNING


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("prot = 1", "port?"),
        ("cluster_port = 1", "cluster.port?"),
        ("[cluster]\ncluster_secret = 'x'", "cluster.secret?"),
    ],
)
def test_a_key_that_is_not_known_has_a_hint(line: str, hint: str) -> None:
    (found,) = [found for found in made(toml=line).findings if found.level is Level.PROBLEM]
    assert found.hint == hint


# ---- The cluster ----


def test_peers_or_seeds_make_a_cluster_with_history_unless_that_is_switched_off() -> None:
    deployment = made({"WSE_PEERS": "wse-2:9999,wse-3:9999"})
    assert deployment.cluster == {"peers": ["wse-2:9999", "wse-3:9999"]}
    assert deployment.options["recovery_enabled"] is True
    seeded = made({"WSE_SEEDS": "wse-0:9999", "WSE_RECOVERY_ENABLED": "no"})
    assert seeded.cluster == {"peers": [], "seeds": ["wse-0:9999"]}
    assert seeded.options["recovery_enabled"] is False
    alone = made({"WSE_CLUSTER_PORT": "9999"})
    assert (alone.cluster, alone.findings) == (None, [])


def test_what_is_for_a_cluster_and_has_none_is_warned_of() -> None:
    (line,) = of_level(made({"WSE_CLUSTER_SECRET": KEY}).findings, Level.WARNING)
    assert line == "WSE_CLUSTER_SECRET: has no effect (a cluster needs WSE_PEERS or WSE_SEEDS)"


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({}, None),
        ({"POD_IP": "10.1.2.3"}, "10.1.2.3:9999"),
        ({"POD_IP": "10.1.2.3", "WSE_POD_IP": "10.9.9.9"}, "10.9.9.9:9999"),
        ({"POD_IP": "fd00::7", "WSE_CLUSTER_PORT": "7000"}, "[fd00::7]:7000"),
        ({"POD_IP": "10.1.2.3", "WSE_CLUSTER_ADDR": "outside:1"}, "outside:1"),
        ({"POD_IP": "10.1.2.3", "WSE_CLUSTER_PORT": "0"}, None),
        ({"POD_IP": "not an address"}, None),
    ],
)
def test_a_pod_tells_its_own_address(environ: dict[str, str], address: str | None) -> None:
    deployment = made({"WSE_SEEDS": "wse-0:9999"} | environ)
    assert deployment.cluster is not None
    assert deployment.cluster.get("cluster_addr") == address
    assert problems(deployment) == []
    assert set(POD_VARIABLES) == {"POD_IP", "WSE_POD_IP"}


def test_the_three_files_are_taken_together_or_not_at_all(tmp_path: Path) -> None:
    environ = {"WSE_SEEDS": "a:1", "WSE_TLS_DIR": str(tmp_path)}
    assert made(environ).cluster == {"peers": [], "seeds": ["a:1"]}
    (tmp_path / "ca.pem").write_text("")
    (tmp_path / "node.pem").write_text("")
    ((source, message),) = problems(made(environ))
    assert source == f"WSE_TLS_DIR: {tmp_path}"
    assert message == "has no node.key: all three files of TLS, or none of them"
    (tmp_path / "node.key").symlink_to("nowhere")
    ((_, message),) = problems(made(environ))
    assert "node.key can't be read: No such file" in message
    (tmp_path / "node.key").unlink()
    (tmp_path / "node.key").write_text("")
    cluster = made(environ).cluster
    assert cluster is not None
    assert cluster["tls_key"] == str(tmp_path / "node.key")


# ---- Kubernetes ----


def test_what_kubernetes_writes_for_services_tells_nothing() -> None:
    deployment = made(SERVICES | {"WSE_SEEDS": "wse-0.wse.default.svc.cluster.local:9999"})
    (found,) = deployment.findings
    assert found.level is Level.NOTE
    assert set(found.source.split(", ")) == set(SERVICES)
    assert deployment.port == 5007
    assert deployment.resolution["cluster_port"] == 9999


def test_a_port_that_is_told_is_told_beside_services_too() -> None:
    deployment = made(SERVICES | {"WSE_PORT": "6000"})
    assert deployment.port == 6000


@pytest.mark.parametrize("name", ["WSE_PROT", "WSE_PORTS_5007_TCP", "WSE_SERVICES_HOST", "WSE_PORT_X_TCP"])
def test_a_typo_is_no_variable_of_a_service(name: str) -> None:
    assert not is_of_a_service(name, "1")
