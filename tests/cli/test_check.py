"""`wse check`: what it warns of, and that it and `wse serve` see the same."""

from __future__ import annotations

import base64
import datetime
import json
import os
import random
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from certificates import Authority
from cli.service import wse
from wse_server.cli.check import look
from wse_server.cli.check.machine import memory_limit
from wse_server.cli.check.secrets import weakness
from wse_server.cli.settings import Level, deploy, resolve

GUIDE_KEY = "replace-with-a-strong-secret-key!"
GOOD = secrets.token_hex(32)
CALM = {"WSE_JWT_SECRET": GOOD, "ALLOWED_ORIGINS": "https://app.example.com", "WSE_TLS_DIR": "/nowhere"}


def found(level: Level, **environ: str) -> dict[str | None, str]:
    """What is found, by setting."""
    told = CALM | environ
    return {f.setting: f.line for f in look(deploy(resolve({}, told), told)) if f.level is level}


def warned(**environ: str) -> dict[str | None, str]:
    assert found(Level.PROBLEM, **environ) == {}
    return found(Level.WARNING, **environ)


# ---- The command ----


def test_a_good_configuration_has_nothing_and_exits_with_zero() -> None:
    done = wse("check", "--strict", environ=CALM)
    assert (done.code, done.out, done.err) == (0, "no problems and no warnings\n", "")


def test_warnings_are_told_and_only_strict_fails_for_them() -> None:
    done = wse("check", WSE_TLS_DIR="/nowhere")
    assert done.code == 0
    assert "OPEN TO EVERYBODY" in done.out
    assert done.out.endswith("no problems and 2 warnings\n")
    assert wse("check", "--strict", WSE_TLS_DIR="/nowhere").code == 1


def test_problems_are_a_table_or_json_each_with_its_source() -> None:
    environ = CALM | {"WSE_PORT": "x", "WSE_PROT": "1"}
    done = wse("check", environ=environ)
    assert done.code == 1
    lines = [line.split() for line in done.out.splitlines()]
    assert ["problem", "WSE_PORT", "must"] in [line[:3] for line in lines]
    told = json.loads(wse("check", "--json", environ=environ).out)
    assert told["ok"] is False
    assert {(one["source"], one["hint"]) for one in told["problems"]} == {
        ("WSE_PORT", None),
        ("WSE_PROT", "WSE_PORT?"),
    }
    assert told["warnings"] == []


def test_every_setting_is_shown_with_who_said_so_and_no_secret() -> None:
    done = wse("check", "--show", "--json", "--port", "6000", WSE_SEEDS="a:1", environ=CALM)
    told = json.loads(done.out)["settings"]
    assert told["port"] == {"value": 6000, "source": "--port"}
    assert told["recovery_enabled"] == {"value": True, "source": "wse serve"}
    assert told["jwt_secret"] == {"value": "***", "source": "WSE_JWT_SECRET"}
    assert told["dead_after"] == {"value": 8.0, "source": "default"}
    assert GOOD not in done.out + wse("check", "--show", environ=CALM).out


def test_it_starts_nothing_and_serve_refuses_what_it_finds() -> None:
    environ = CALM | {"WSE_MAX_CONNECTIONS": "0", "WSE_IDLE_TIMEOUT": "1s"}
    checked, served = wse("check", "--json", environ=environ), wse("serve", environ=environ)
    assert (checked.code, served.code) == (1, 2)
    for problem in json.loads(checked.out)["problems"]:
        assert f"wse: error: {problem['source']}: {problem['message']}" in served.err
    assert served.out == ""


def test_a_program_is_imported_and_asked_whether_the_settings_fit(tmp_path: Path) -> None:
    (tmp_path / "chat.py").write_text(
        "from wse_server import Server\nserver = Server(ping_interval=50.0, idle_timeout=100.0)\n"
    )
    environ = {"WSE_APP": "chat:server"}
    assert wse("check", "--strict", cwd=tmp_path, environ=environ).code == 0
    done = wse("check", cwd=tmp_path, WSE_IDLE_TIMEOUT="40s", environ=environ)
    assert done.code == 1
    assert "idle_timeout must be longer than ping_interval (50 seconds)" in done.out


# ---- Secrets ----


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (GUIDE_KEY, "the word 'secret'"),
        ("changeme" * 5, "the word 'changeme'"),
        ("aB3$aB3$aB3$aB3$aB3$aB3$aB3$aB3$", "repeats itself"),
        ("a" * 40, "repeats itself"),
        ("abababababababababababababababab1", "bits"),
        ("correct horse battery staple again", "made of words"),
    ],
)
def test_a_weak_secret_is_told_with_the_reason(key: str, why: str) -> None:
    assert why in str(weakness(key.encode()))
    assert why in warned(WSE_JWT_SECRET=key)["jwt_secret"]
    assert key not in warned(WSE_JWT_SECRET=key)["jwt_secret"]


def test_a_random_secret_is_not_called_weak() -> None:
    source = random.Random(5007)  # noqa: S311 - the same keys each time
    for _ in range(2000):
        key = source.randbytes(48)
        assert weakness(base64.b64encode(key)) is None
        assert weakness(key[:16].hex().encode()) is None


def test_keys_of_the_api_and_the_cluster_are_looked_at_too() -> None:
    weak = "password-password-password-password1"
    told = warned(WSE_API_KEY=weak, WSE_CLUSTER_SECRET=weak, WSE_SEEDS="a:1")
    assert "api_key is weak" in told["api_key"]
    assert "cluster_secret is weak" in told["cluster_secret"]


def test_a_secret_that_others_can_read_is_told(tmp_path: Path) -> None:
    environ = {key: value for key, value in CALM.items() if key != "WSE_JWT_SECRET"}
    file = tmp_path / "key"
    file.write_text(GOOD)
    file.chmod(0o644)
    done = wse("check", WSE_JWT_SECRET_FILE=str(file), environ=environ)
    assert "can be read by every user of this machine (mode 0644)" in done.out
    file.chmod(0o600)
    assert wse("check", "--strict", WSE_JWT_SECRET_FILE=str(file), environ=environ).code == 0
    done = wse("check", "--jwt-secret", GOOD, environ=environ)
    assert "is seen by everybody who lists the processes" in done.out


# ---- Who may come in ----


def test_what_stands_open_is_told() -> None:
    assert "OPEN TO EVERYBODY" in wse("check", "--client-publish").out
    assert "no origins" in warned(ALLOWED_ORIGINS="")["allowed_origins"]
    assert "no origins" in warned(ALLOWED_ORIGINS="*")["allowed_origins"]
    assert "over http" in warned_keys("http://idp.example/keys")["jwks"]
    assert "can't be read: No such file" in warned_keys("/nowhere/keys")["jwks"]
    assert warned_keys("https://idp.example/keys") == {}


def warned_keys(place: str) -> dict[str | None, str]:
    environ = {key: value for key, value in CALM.items() if key != "WSE_JWT_SECRET"}
    told = environ | {"WSE_JWKS": place, "WSE_JWT_ALGORITHM": "ES256"}
    return {f.setting: f.line for f in look(deploy(resolve({}, told), told))}


def test_clients_that_publish_without_a_token_are_told_of() -> None:
    environ = {"WSE_CLIENT_PUBLISH": "1", "WSE_TLS_DIR": "/nowhere"}
    told = [f.setting for f in look(deploy(resolve({}, environ), environ))]
    assert told == ["jwt_secret", "client_publish", "allowed_origins"]


def test_a_mesh_that_is_guarded_by_nothing_or_can_be_heard_is_told() -> None:
    bare = warned(WSE_SEEDS="10.0.0.2:9999")
    assert "guarded by nothing" in bare["tls_cert"]
    assert "open on all addresses" in bare["cluster_host"]
    heard = warned(WSE_SEEDS="10.0.0.2:9999", WSE_CLUSTER_SECRET=GOOD, WSE_CLUSTER_HOST="10.0.0.1")
    assert list(heard) == ["tls_cert"]
    assert "no TLS: who listens" in heard["tls_cert"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WSE_SEEDS", "8.8.8.8:9999"),
        ("WSE_PEERS", "[2001:4860:4860::8888]:9999"),
        ("WSE_CLUSTER_ADDR", "8.8.8.8:9999"),
        ("WSE_CLUSTER_HOST", "8.8.8.8"),
    ],
)
def test_a_mesh_on_a_public_address_is_told(name: str, value: str) -> None:
    told = warned(**({"WSE_SEEDS": "a:1", "WSE_CLUSTER_SECRET": GOOD} | {name: value}))
    assert "is a public address" in told[name.removeprefix("WSE_").lower()]


# ---- Certificates ----


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def place(authority: Authority, tmp_path: Path) -> Path:
    """A directory as /etc/wse is, with good certificates of the guide's commands."""
    files = authority.node(tmp_path.name)
    for name, file in {"ca.pem": files.ca, "node.pem": files.cert, "node.key": files.key}.items():
        (tmp_path / name).write_bytes(file.read_bytes())
        (tmp_path / name).chmod(0o600)
    return tmp_path


Key = ec.EllipticCurvePrivateKey


def certificate(
    name: str,
    key: Key,
    issuer: tuple[str, Key] | None = None,
    days: tuple[int, int] = (-1, 100),
    usage: list[x509.ObjectIdentifier] | None = None,
) -> bytes:
    """A certificate in PEM, valid between these days from now; it signs itself if there is no issuer."""
    above, signer = issuer if issuer is not None else (name, key)
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, above)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1], minutes=1))
    )
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM)


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def put(place: Path, node: bytes, authority: bytes, key: Key) -> None:
    (place / "node.pem").write_bytes(node)
    (place / "ca.pem").write_bytes(authority)
    (place / "node.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def issue(place: Path, begin: int, end: int) -> None:
    """Puts a certificate that signs itself there, valid between these days from now."""
    key = new_key()
    pem = certificate("node", key, days=(begin, end))
    put(place, pem, pem, key)


def for_one_thing(place: Path) -> None:
    key = new_key()
    pem = certificate("node", key, usage=[ExtendedKeyUsageOID.SERVER_AUTH])
    put(place, pem, pem, key)


def of_node(place: Path, level: Level, **environ: str) -> dict[str | None, str]:
    return found(level, **({"WSE_SEEDS": "a:1", "WSE_TLS_DIR": str(place)} | environ))


def test_the_certificates_of_the_guide_have_nothing(place: Path) -> None:
    assert of_node(place, Level.PROBLEM) == {}
    assert of_node(place, Level.WARNING) == {}


def another_key(place: Path) -> None:
    pem = (place / "node.pem").read_bytes(), (place / "ca.pem").read_bytes()
    issue(place, -1, 100)
    (place / "node.pem").write_bytes(pem[0])
    (place / "ca.pem").write_bytes(pem[1])


def another_authority(place: Path) -> None:
    authority = (place / "ca.pem").read_bytes()
    issue(place, -1, 100)
    (place / "ca.pem").write_bytes(authority)


def encrypted_key(place: Path) -> None:
    key = new_key()
    form = (Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    (place / "node.key").write_bytes(key.private_bytes(*form))


@pytest.mark.parametrize(
    ("spoil", "setting", "message"),
    [
        (another_key, "tls_key", "does not belong to the certificate"),
        (another_authority, "tls_cert", "is not signed by an authority of"),
        (encrypted_key, "tls_key", "is encrypted"),
        (for_one_thing, "tls_cert", "may not be used for clientAuth"),
        (lambda place: issue(place, -10, -1), "tls_cert", "has expired on"),
        (lambda place: issue(place, 1, 10), "tls_cert", "is not valid before"),
        (lambda place: (place / "node.pem").write_text("nonsense"), "tls_cert", "no certificate in PEM"),
        (lambda place: (place / "ca.pem").write_text(""), "tls_ca", "no certificate in PEM"),
        (lambda place: (place / "node.key").write_text("nonsense"), "tls_key", "no private key in PEM"),
    ],
)
def test_a_certificate_with_which_nobody_lets_it_in_is_a_problem(
    spoil: Callable[[Path], object], setting: str, message: str, place: Path
) -> None:
    spoil(place)
    assert message in of_node(place, Level.PROBLEM)[setting]


def test_an_authority_between_is_followed(place: Path) -> None:
    top, between, key = new_key(), new_key(), new_key()
    chain = certificate("node", key, ("between", between)) + certificate("between", between, ("top", top))
    put(place, chain, certificate("top", top), key)
    assert of_node(place, Level.PROBLEM) == {}
    put(place, chain, certificate("top", new_key()), key)
    assert "is not signed by an authority" in of_node(place, Level.PROBLEM)["tls_cert"]


def test_a_certificate_that_runs_out_soon_is_told(place: Path) -> None:
    issue(place, -1, 10)
    assert "expires in 10 days" in of_node(place, Level.WARNING)["tls_cert"]
    assert of_node(place, Level.PROBLEM) == {}


def test_while_authorities_change_the_old_one_may_end(place: Path) -> None:
    good = (
        (place / "ca.pem").read_bytes(),
        (place / "node.pem").read_bytes(),
        (place / "node.key").read_bytes(),
    )
    issue(place, -10, -1)
    (place / "ca.pem").write_bytes((place / "ca.pem").read_bytes() + good[0])
    (place / "node.pem").write_bytes(good[1])
    (place / "node.key").write_bytes(good[2])
    assert of_node(place, Level.PROBLEM) == {}


def test_a_key_that_others_can_read_and_a_certificate_without_names_are_told(place: Path) -> None:
    key = place / "node.key"
    key.chmod(key.stat().st_mode | stat.S_IROTH)
    assert "can be read by every user" in of_node(place, Level.WARNING)["tls_key"]
    named = of_node(place, Level.WARNING, WSE_TLS_VERIFY_NAME="yes")
    assert "has no names (subjectAltName)" in named["tls_verify_name"]


# ---- The machine ----


def test_what_the_machine_does_not_have_is_told() -> None:
    assert "file descriptors" in warned(WSE_MAX_CONNECTIONS="16000000")["max_connections"]
    assert "queues may hold" in warned(WSE_MAX_OUTBOUND_TOTAL_BYTES="1TiB")["max_outbound_total_bytes"]


def test_the_limit_of_the_control_group_counts_that_of_a_parent_too(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    group = tmp_path / "sys/fs/cgroup/kubepods/pod"
    group.mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/kubepods/pod\n")
    (group / "memory.max").write_text("max\n")
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert memory_limit(tmp_path) == (machine, "this machine")
    (group.parent / "memory.max").write_text("268435456\n")
    assert memory_limit(tmp_path) == (268435456, "its control group")


def test_the_limit_of_a_control_group_of_version_one_counts(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    group = tmp_path / "sys/fs/cgroup/memory"
    group.mkdir(parents=True)
    # In a container the path is that of the host, and what is mounted is the group itself.
    (tmp_path / "proc/self/cgroup").write_text("5:cpu,memory:/docker/0123\n4:pids:/docker/0123\n")
    (group / "memory.limit_in_bytes").write_text("536870912\n")
    assert memory_limit(tmp_path) == (536870912, "its control group")
