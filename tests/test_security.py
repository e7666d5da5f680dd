"""What docs/topics/security.md says and no other test holds: where no secret appears, whom ports refuse."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import socket
import ssl
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from certificates import Files
from cli.service import Service
from command import process
from http_api import Worker
from loglines import LogLines
from mesh_peer import EndedError, MeshPeer, Opening
from nodes import CALM, Factory, join
from support import HOST, PATIENCE, dial
from wire import request
from wse_server import RustWSEServer, Server, rust_jwt_encode
from wse_server.cli.certs import issue

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


# ---- Secrets ----


def secret(name: str) -> str:
    """A secret that is not in any text by chance, with its name in it."""
    return f"{name}-{os.urandom(16).hex()}"


SECRETS = {
    name: secret(name)
    for name in ("jwt_secret", "jwt_previous_secret", "api_key", "cluster_secret", "a-wrong-key", "a-user")
}


@pytest.fixture(scope="module")
def authority() -> issue.Authority:
    return issue.make_authority(issue.make_key(), "WSE CA", days=9, now=NOW)


def write_node(directory: Path, authority: issue.Authority, **changes: Any) -> Files:
    """Writes the files of a node; `changes` are those of `certificate_of`."""
    directory.mkdir()
    key = issue.make_key()
    files = Files(directory / "ca.pem", directory / "node.pem", directory / "node.key")
    files.ca.write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    files.cert.write_bytes(certificate_of(authority, key, **changes).public_bytes(Encoding.PEM))
    files.key.write_bytes(issue.key_pem(key))
    return files


def certificate_of(
    authority: issue.Authority,
    key: issue.PrivateKey,
    *,
    begin: dt.timedelta = -DAY,
    end: dt.timedelta = DAY,
    usage: x509.ObjectIdentifier | None = None,
) -> x509.Certificate:
    """A node's certificate that is valid for this time, for this use alone if one is given."""
    if usage is None and (begin, end) == (-DAY, DAY):
        return authority.issue("node", ["localhost"], key, days=1, now=NOW)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "node")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + begin)
        .not_valid_after(NOW + end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    )
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return builder.sign(authority.key, issue.hash_of(authority.key))


def hear(port: int, data: bytes) -> bytes:
    """Sends bytes to a port and returns the first that come back."""
    with socket.create_connection((HOST, port), timeout=PATIENCE) as stranger:
        stranger.sendall(data)
        return stranger.recv(65536)


def provoke(service: Service, cluster: str) -> list[str]:
    """Does what makes a server talk: good and bad tokens and keys, wrong requests, strangers in the cluster.

    Returns what it was told and must not repeat.
    """
    claims = {"sub": SECRETS["a-user"], "exp": 4102444800}
    tokens = [
        rust_jwt_encode(claims, SECRETS["jwt_secret"]),
        rust_jwt_encode(claims, SECRETS["jwt_previous_secret"]),
        rust_jwt_encode(claims, SECRETS["a-wrong-key"]),
        rust_jwt_encode(claims | {"exp": 1}, SECRETS["jwt_secret"]),
    ]
    for token in tokens:
        places = (
            f"Authorization: Bearer {token}",
            f"Cookie: access_token={token}",
            f"Sec-WebSocket-Protocol: wse, bearer.{token}",
        )
        for place in places:
            hear(service.port, request("GET", "/wse", {}, place))
            hear(service.port, request("GET", f"/wse?token={token}", {"Upgrade": "nonsense"}, place))
            hear(service.port, request("GET", "/wse", {}, place, f"{token}"))
    for key in (SECRETS["api_key"], SECRETS["a-wrong-key"], SECRETS["api_key"][:-1]):
        for method, path, body in (
            ("GET", "/api/topics", None),
            ("POST", "/api/publish", {"topic": "t", "data": {}}),
            ("POST", "/api/publish", {"topic": "*", "data": key}),
            ("GET", "/api/nothing", None),
        ):
            with Worker(service.port, key=key) as worker:
                worker.ask(method, path, body)
    for opening in (Opening(), Opening(secret=SECRETS["a-wrong-key"].encode())):
        with suppress(AssertionError, EOFError, OSError), MeshPeer.dial(cluster, opening):
            pass
    return tokens


def told_over_http(service: Service) -> str:
    """Whatever the public port tells anybody, and the holder of its key about everything."""
    said = [
        service.get(path)[1] for path in ("/health", "/ready", "/metrics", "/api/topics", "/api/openapi.json")
    ]
    with Worker(service.port, key=SECRETS["api_key"]) as worker:
        paths = ("/api/topics", "/api/connections", "/api/presence?topic=t", "/api/openapi.json")
        said += [worker.ask("GET", path).body.decode() for path in paths]
    return "\n".join(said)


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_server_that_has_secrets_in_files_shows_them_nowhere(tmp_path: Path, form: str) -> None:
    names = ("jwt_secret", "jwt_previous_secret", "api_key", "cluster_secret")
    variables = {f"WSE_{name.upper()}_FILE": str(tmp_path / name) for name in names}
    for name in names:
        (tmp_path / name).write_text(SECRETS[name] + "\n")
    options = ["--log-level", "debug", "--log-format", form, "--seeds", f"{HOST}:1", "--cluster-port", "0"]
    options += ["--cluster-host", HOST, "--presence-enabled"]
    with Service(*options, environ=variables) as service:
        line = service.ready()
        cluster = (
            f"{HOST}:{json.loads(line)['cluster'].rpartition(':')[2]}" if form == "json" else service.cluster
        )
        with dial(
            f"ws://{HOST}:{service.port}/wse",
            token=rust_jwt_encode({"sub": SECRETS["a-user"], "exp": 4102444800}, SECRETS["jwt_secret"]),
        ):
            tokens = provoke(service, cluster)
            answers = told_over_http(service)
        service.signal(signal.SIGHUP)
        service.logged("reloaded")
        process = Path(f"/proc/{service.process.pid}")
        seen_by_ps = process.joinpath("cmdline").read_text() if process.exists() else ""
        environment = process.joinpath("environ").read_text() if process.exists() else ""
        assert service.stop() == 0
        said = "\n".join([service.log, *service.out])
    assert "refused" in said, "it was made to talk"
    hidden = [*(SECRETS[name] for name in (*names, "a-wrong-key")), *tokens]
    for one in hidden:
        for part in [one, *one.split(".")[1:]]:
            for place in (said, answers, seen_by_ps, environment):
                assert part not in place
    # Who is connected is what the holder of the key asks for, and nobody else is told.
    assert SECRETS["a-user"] in answers
    assert SECRETS["a-user"] not in said


@pytest.mark.parametrize("source", ["flags", "files", "variables", "a configuration"])
def test_secrets_that_are_refused_are_not_repeated(tmp_path: Path, source: str) -> None:
    hush = "hush-hush"
    (tmp_path / "secret").write_text(hush)
    names = ["jwt_secret", "jwt_previous_secret", "api_key"]
    toml = "".join(f'{name} = "{hush}"\n' for name in names) + f'[cluster]\nsecret = "{hush}"\n'
    (tmp_path / "wse.toml").write_text(toml)
    names.append("cluster_secret")
    arguments: list[str] = []
    variables = {"WSE_SEEDS": f"{HOST}:1", "WSE_PORT": "0"}
    if source == "flags":
        arguments = [part for name in names for part in (f"--{name.replace('_', '-')}", hush)]
    elif source == "files":
        variables |= {f"WSE_{name.upper()}_FILE": str(tmp_path / "secret") for name in names}
    elif source == "variables":
        variables |= {f"WSE_{name.upper()}": hush for name in names}
    else:
        variables["WSE_CONFIG"] = str(tmp_path / "wse.toml")
    done = process("serve", *arguments, env=variables, code=2)
    assert hush not in done.stdout + done.stderr
    told = done.stderr.replace("-", "_").lower()
    assert all(name in told for name in ("jwt_secret", "api_key", "has 9 bytes"))


def test_no_object_and_no_error_shows_the_secret_of_the_cluster() -> None:
    server = Server("127.0.0.1", 0, jwt_secret=SECRETS["jwt_secret"], api_key=SECRETS["api_key"])
    engine = RustWSEServer(HOST, 0, jwt_secret=SECRETS["jwt_secret"], api_key=SECRETS["api_key"])
    engine.enable_drain_mode()
    engine.start()
    try:
        for wrong in ("hush-hush", b"hush-hush", ["hush-hush" * 3]):
            with pytest.raises((ValueError, TypeError)) as caught:
                engine.connect_cluster([], cluster_port=0, cluster_secret=wrong)  # type: ignore[arg-type]
            shown = "".join(traceback.format_exception_only(caught.value))
            assert "hush" not in shown
            assert "hush" not in repr(caught.value.__cause__)
        join(engine, cluster_secret=SECRETS["cluster_secret"])
        told = [repr(server), repr(engine), str(engine.cluster_info()), str(engine.cluster_identity())]
        told += [str(engine.health_snapshot()), engine.prometheus_metrics()]
    finally:
        engine.stop()
    for text in told:
        for name in ("jwt_secret", "api_key", "cluster_secret"):
            assert SECRETS[name] not in text


def test_a_key_of_a_node_that_can_not_be_used_is_not_repeated(
    tmp_path: Path, authority: issue.Authority
) -> None:
    files = write_node(tmp_path / "node", authority)
    lines = files.key.read_text().splitlines()
    files.key.write_text("\n".join([lines[0], lines[1][:-4] + "AAAA", *lines[2:]]))
    server = RustWSEServer(HOST, 0)
    server.enable_drain_mode()
    server.start()
    try:
        with LogLines() as log, pytest.raises(ValueError, match=r"node\.key") as caught:
            join(server, **files.arguments)
    finally:
        server.stop()
    shown = "".join(traceback.format_exception_only(caught.value)) + log.text
    assert not any(line[:20] in shown for line in lines[1:-1])


# ---- The public port ----


def test_tls_to_the_public_port_gets_no_session(server_factory: Factory) -> None:
    running = server_factory()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((HOST, running.port), timeout=PATIENCE) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(plain)
    assert running.events.seen == []
    assert running.server.health_snapshot()["connections_rejected"] == 1


# ---- The port of the cluster, with certificates ----


def context_of(files: Files | None, *, server: bool = False) -> ssl.SSLContext:
    """What a stranger speaks TLS with, who believes whatever he is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if files is not None:
        context.load_cert_chain(files.cert, files.key)
    return context


def is_let_in(where: str, context: ssl.SSLContext) -> bool:
    """Whether a node answers the first frame of whoever dials it so."""
    host, _, port = where.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as plain:
        try:
            # With TLS 1.3 a client has its session before the server has looked at its certificate.
            with context.wrap_socket(plain) as link:
                link.sendall(Opening().challenge(0, os.urandom(32)))
                return link.recv(1) != b""
        except (ssl.SSLError, ConnectionError):
            return False


STRANGERS: dict[str, dict[str, Any]] = {
    "expired": {"begin": -3 * DAY, "end": -DAY},
    "not valid yet": {"begin": DAY, "end": 3 * DAY},
    "for servers only": {"usage": ExtendedKeyUsageOID.SERVER_AUTH},
}


def test_a_node_answers_nobody_without_a_certificate_that_is_good_now(
    server_factory: Factory, tmp_path: Path, authority: issue.Authority
) -> None:
    good = write_node(tmp_path / "good", authority)
    where = join(server_factory().server, **good.arguments)
    assert is_let_in(where, context_of(good)), "a member is"
    for name, changes in STRANGERS.items():
        stranger = write_node(tmp_path / name, authority, **changes)
        assert not is_let_in(where, context_of(stranger)), name
    another = issue.make_authority(issue.make_key(), "WSE CA", days=9, now=NOW)
    assert not is_let_in(where, context_of(write_node(tmp_path / "another", another))), "of another authority"
    assert not is_let_in(where, context_of(None)), "without a certificate"
    old = context_of(good)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert not is_let_in(where, old), "TLS 1.2"
    with pytest.raises((EOFError, OSError, EndedError)):
        MeshPeer.dial(where)
    assert is_let_in(where, context_of(good)), "and a member still is"


@contextmanager
def acceptor(context: ssl.SSLContext) -> Iterator[str]:
    """A port where TLS is spoken and nothing follows; its address."""
    with socket.create_server((HOST, 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    accepted, _ = listener.accept()
                    with accepted, suppress(OSError):
                        accepted.settimeout(PATIENCE)
                        context.wrap_socket(accepted, server_side=True).recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"{HOST}:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(PATIENCE)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"begin": -3 * DAY, "end": -DAY}, "has expired"),
        ({"usage": ExtendedKeyUsageOID.CLIENT_AUTH}, "is not allowed for serverAuth"),
    ],
)
def test_a_node_says_nothing_to_an_acceptor_whose_certificate_is_not_good(
    server_factory: Factory, tmp_path: Path, authority: issue.Authority, changes: dict[str, Any], words: str
) -> None:
    good = write_node(tmp_path / "good", authority)
    bad = context_of(write_node(tmp_path / "bad", authority, **changes), server=True)
    with acceptor(bad) as where, LogLines() as log:
        server = server_factory().server
        join(server, where, **good.arguments)
        assert words in log.wait(f"no link with {where}")[0].getMessage()
        assert not server.cluster_connected()
        server.stop()


@pytest.mark.parametrize("name", ["expired", "not valid yet", "for servers only"])
def test_a_node_does_not_start_with_a_certificate_that_others_would_refuse(
    server_factory: Factory, tmp_path: Path, authority: issue.Authority, name: str
) -> None:
    files = write_node(tmp_path / "node", authority, **STRANGERS[name])
    server = server_factory().server
    with pytest.raises(ValueError, match=r"node\.pem"):
        server.connect_cluster([], cluster_port=0, **CALM, **files.arguments)
    assert server.cluster_identity() is None
