"""The pieces of programs in the pages, run with what the page says is there already."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest

import support
from certificates import Authority
from documents import block
from nodes import address
from support import HOST, PATIENCE, Peer, Running, free_port, wait_until
from token_corpus import keys
from wse_server import RustWSEServer

Factory = Callable[..., Running]


def run(code: str, **there: Any) -> dict[str, Any]:
    """Runs code of a page and returns its names."""
    exec(code, there)  # noqa: S102 - the page's own example
    return there


def login() -> dict[str, Any]:
    """What the first example of the page on authentication leaves behind, with its server on a free port."""
    code = block("docs/how-to/authentication.md", "# What your login does")
    return run(code.replace("5007", str(free_port())))


def shell(commands: str, directory: Path) -> str:
    """Runs commands after `$ ` one by one, as typed, and returns what they print."""
    lines = "\n".join(line.removeprefix("$ ") for line in commands.splitlines())
    done = subprocess.run(
        ["/bin/sh", "-e", "-c", lines], cwd=directory, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_token_of_the_login_is_let_in_and_read(capsys: pytest.CaptureFixture[str]) -> None:
    there = login()
    server: RustWSEServer = there["server"]
    server.enable_drain_mode()
    server.start()
    try:
        with support.dial(f"ws://{HOST}:{server.port}/wse", token=there["token"]) as client:
            assert json.loads(client.recv(PATIENCE))["t"] == "server_ready"
            assert server.drain_inbound(1, 5000)[0][::2] == ("auth_connect", "user-7")
    finally:
        server.stop()
    decode = block("docs/how-to/authentication.md", "rust_jwt_decode(token")
    assert run(decode, **there)["claims"]["sub"] == "user-7"
    assert capsys.readouterr().out == ""
    run(decode, **there | {"token": "nonsense"})
    assert capsys.readouterr().out == "not logged in\n"


def test_keys_of_an_issuer_are_taken_from_its_set(tmp_path: Path) -> None:
    pair = keys("RS256", "one")
    maker = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256)
    key = dict(maker.to_jwk(maker.prepare_key(pair.verifying), as_dict=True)) | {"kid": "one"}
    (tmp_path / "keys").write_text(json.dumps({"keys": [key]}))
    code = block("docs/how-to/authentication.md", "jwks=")
    # A file in place of the issuer, as the page says it may be.
    here = code.replace("https://idp.example.com/keys", str(tmp_path / "keys"))
    server = run(here.replace("5007", str(free_port())), RustWSEServer=RustWSEServer)["server"]
    claims = {"sub": "ann", "exp": 4102444800, "iss": "https://idp.example.com/", "aud": "my-api"}
    token = jwt.encode(claims, pair.signing, algorithm="RS256", headers={"kid": "one"})
    server.start()
    try:
        with support.dial(f"ws://{HOST}:{server.port}/wse", token=token) as client:
            assert json.loads(client.recv(PATIENCE))["p"]["details"]["user_id"] == "ann"
    finally:
        server.stop()
    RustWSEServer(HOST, 0, jwks="https://idp.example.com/keys", jwt_algorithm="RS256")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_the_commands_make_keys_that_the_server_takes(tmp_path: Path) -> None:
    commands = block("docs/how-to/authentication.md", "openssl genpkey", "console").splitlines()
    secret, edwards, curve, public = commands
    RustWSEServer(HOST, 0, jwt_secret=shell(secret, tmp_path).strip())
    for private, algorithm in ((edwards, "EdDSA"), (curve, "ES256")):
        shell(f"{private}\n{public}", tmp_path)
        RustWSEServer(
            HOST,
            0,
            jwt_algorithm=algorithm,  # type: ignore[arg-type]
            jwt_secret=(tmp_path / "public.pem").read_text(),
            jwt_private_key=(tmp_path / "private.pem").read_text(),
        )


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_nodes_with_certificates_find_each_other_and_tell_of_it(
    server_factory: Factory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = Authority(tmp_path).node("one")
    code = block("docs/how-to/cluster.md", 'tls_ca="/etc/wse/ca.pem"')
    for name, file in {"ca.pem": files.ca, "node.pem": files.cert, "node.key": files.key}.items():
        code = code.replace(f"/etc/wse/{name}", str(file))
    first, second = server_factory(), server_factory()
    peers = 'peers=["10.0.0.2:9999", "10.0.0.3:9999"]'
    assert peers in code
    run(code.replace(peers, "peers=[], cluster_port=0"), server=first.server)
    known = f'peers=["{address(first.server)}"], cluster_port=0'
    run(code.replace(peers, known), server=second.server)
    wait_until(second.server.cluster_connected, "they are linked")
    run(block("docs/how-to/cluster.md", "in server.cluster_info()"), server=second.server)
    assert capsys.readouterr().out.split()[:1] == [address(first.server)]


def test_a_client_in_python_reads_msgpack(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    read_prices = run(block("docs/how-to/encodings.md", "msgpack.unpackb("))["read_prices"]
    reader = threading.Thread(target=read_prices, args=(running.url,))
    reader.start()
    ((_, conn_id, _),) = running.events.wait("connect")
    running.server.send(conn_id, '{"t":"tick","p":{"ES":5234.75}}')
    running.server.disconnect(conn_id)
    reader.join(PATIENCE)
    assert not reader.is_alive()
    assert "{'t': 'tick', 'p': {'ES': 5234.75}}" in capsys.readouterr().out.splitlines()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_is_told_the_figures(running: Running, tmp_path: Path) -> None:
    command = block("docs/how-to/http.md", "curl -s", "console").replace("5007", str(running.port))
    assert set(json.loads(shell(command, tmp_path))) >= {"connections", "uptime_secs"}


def test_what_the_first_program_is_told_by_hand_is_what_it_answers(tmp_path: Path, free_port: int) -> None:
    program, talk, said, heard = block(
        "docs/tutorial/getting-started.md", "-m websockets ws://", "console"
    ).splitlines()
    assert program.endswith("/python chat.py")
    (tmp_path / "chat.py").write_text(
        block("docs/tutorial/getting-started.md", "server.run(").replace("5007", str(free_port))
    )
    with support.Program(tmp_path / "chat.py") as chat:
        chat.wait_for_port(free_port)
        peer = Peer(support.dial(talk.split()[-1].replace("localhost:5007", f"{HOST}:{free_port}")), "")
        peer.send(said.removeprefix("> "))
        assert peer.receive() == heard.removeprefix("< ")
        peer.close()


HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")


@pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed (Debian: apt-get install haproxy)")
def test_haproxy_takes_the_lines_for_it(tmp_path: Path) -> None:
    times = "".join(f"    timeout {what} 1h\n" for what in ("connect", "client", "server", "tunnel"))
    doors = "".join(
        f"frontend {mode}\n    mode {mode}\n    bind {HOST}:{free_port()}\n    default_backend wse_{mode}\n"
        for mode in ("http", "tcp")
    )
    lines = block("docs/how-to/reverse-proxies.md", "send-proxy-v2", "haproxy")
    (tmp_path / "haproxy.cfg").write_text(f"defaults\n{times}\n{doors}\n{lines}")
    done = subprocess.run(
        [str(HAPROXY), "-c", "-f", "haproxy.cfg"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
