"""`wse certs`: what it makes is what OpenSSL and nodes accept, and nothing is lost of what was there."""

from __future__ import annotations

import datetime as dt
import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certificates import Authority, Files
from cli.service import Service
from command import Done, command, process
from loglines import LogLines
from nodes import Factory, instance, join, linked, wait_until_whole
from support import HOST, wait_until
from wse_server.cli.certs import issue


def certs(*arguments: object, code: int = 0) -> Done:
    """Runs `wse certs` in this process, which is a second quicker, and checks how it exits."""
    return command("certs", *arguments, code=code)


def openssl(*arguments: object) -> str:
    """Runs OpenSSL, the second opinion, and returns what it prints."""
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def described(certificate: Path) -> str:
    """A certificate as OpenSSL reads it, in one line."""
    return " ".join(openssl("x509", "-in", certificate, "-noout", "-text").split())


def files_of(directory: Path) -> Files:
    """The three files of a node."""
    return Files(directory / "ca.pem", directory / "node.pem", directory / "node.key")


def fits(directory: Path) -> bool:
    """Whether OpenSSL finds that the key belongs to the certificate."""
    return openssl("x509", "-in", directory / "node.pem", "-noout", "-pubkey") == openssl(
        "pkey", "-in", directory / "node.key", "-pubout"
    )


def snapshot(directory: Path) -> dict[str, bytes]:
    """Every file below a directory, with its content."""
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one command makes for three nodes. Not to be changed."""
    out = tmp_path_factory.mktemp("three") / "certs"
    process(
        "certs", "create", "--out", out, "wse-1", "wse-2=wse-2,10.0.0.2,fd00::2,WSE-2.example.com", "wse-3"
    )
    return out


# ---- What is made ----


def test_one_command_makes_an_authority_and_a_directory_for_each_node(three: Path) -> None:
    assert sorted(snapshot(three)) == [
        "ca.key",
        "ca.pem",
        *(f"wse-{n}/{name}" for n in (1, 2, 3) for name in ("ca.pem", "node.key", "node.pem")),
    ]
    for path in three.rglob("*"):
        assert path.is_dir() or path.stat().st_mode & 0o777 == (0o600 if path.suffix == ".key" else 0o644)
    for node in (1, 2, 3):
        assert fits(three / f"wse-{node}")
        assert (three / f"wse-{node}/ca.pem").read_bytes() == (three / "ca.pem").read_bytes()


def test_openssl_accepts_them_for_both_sides_of_a_link(three: Path) -> None:
    names = {"wse-2": "-verify_hostname", "wse-2.example.com": "-verify_hostname"}
    names |= {"10.0.0.2": "-verify_ip", "fd00::2": "-verify_ip"}
    for purpose in ("sslserver", "sslclient"):
        for name, option in names.items():
            verify = (
                "verify",
                "-x509_strict",
                "-purpose",
                purpose,
                option,
                name,
                "-CAfile",
                three / "ca.pem",
            )
            assert openssl(*verify, three / "wse-2/node.pem").strip().endswith(": OK")


def test_a_nodes_certificate_says_what_it_is_for(three: Path) -> None:
    text = described(three / "wse-2/node.pem")
    for part in [
        "Version: 3 (0x2)",
        "ASN1 OID: prime256v1",
        "X509v3 Basic Constraints: critical CA:FALSE",
        "X509v3 Key Usage: critical Digital Signature",
        "X509v3 Extended Key Usage: TLS Web Server Authentication, TLS Web Client Authentication",
        "DNS:wse-2, IP Address:10.0.0.2, IP Address:FD00:0:0:0:0:0:0:2, DNS:wse-2.example.com",
        "X509v3 Subject Key Identifier:",
        "X509v3 Authority Key Identifier:",
    ]:
        assert part in text
    assert "X509v3 Basic Constraints: critical CA:TRUE, pathlen:0" in described(three / "ca.pem")
    serials = {openssl("x509", "-in", three / f"wse-{n}/node.pem", "-noout", "-serial") for n in (1, 2, 3)}
    assert len(serials) == 3


def test_nodes_that_mount_one_directory_share_a_certificate_and_never_the_authoritys_key(
    tmp_path: Path,
) -> None:
    out = tmp_path / "certs"
    certs(
        "create",
        "--out",
        out,
        "--shared",
        "wse-1",
        "wse-2",
        "*.wse.default.svc.cluster.local",
        "--san",
        "wse-1=::1",
    )
    assert sorted(snapshot(out)) == ["ca.pem", "node.key", "node.pem"]
    assert sorted(snapshot(tmp_path / "certs-ca")) == ["ca.key", "ca.pem"]
    for name in ("wse-1", "wse-2", "wse-0.wse.default.svc.cluster.local"):
        verify = ("verify", "-verify_hostname", name, "-CAfile", out / "ca.pem")
        assert openssl(*verify, out / "node.pem").strip().endswith(": OK")
    # Again it finds the authority.
    done = certs("create", "--out", out, "--shared", "--force", "wse-4")
    assert "kept authority" in done.stdout
    assert "DNS:wse-4 " in described(out / "node.pem")
    assert fits(out)


def test_days_are_counted_and_no_certificate_outlives_its_authority(tmp_path: Path) -> None:
    done = certs("create", "--out", tmp_path, "--ca-days", 20, "--days", 10, "a", "--json")
    made = json.loads(done.stdout)
    assert (made["ca"]["new"], [node["names"] for node in made["nodes"]]) == (True, [["a"]])
    assert "outlives" not in done.stderr
    done = certs("create", "--out", tmp_path, "--days", 40, "b")
    assert "no certificate outlives its authority" in done.stderr
    ends = {
        name: openssl("x509", "-in", tmp_path / name, "-noout", "-enddate")
        for name in ("ca.pem", "a/node.pem", "b/node.pem")
    }
    assert ends["b/node.pem"] == ends["ca.pem"] != ends["a/node.pem"]


# ---- The authority that is there ----


def test_the_authority_of_the_guides_commands_signs(tmp_path: Path) -> None:
    Authority(tmp_path)
    before = snapshot(tmp_path)
    done = certs("create", "--out", tmp_path, "wse-1")
    assert "kept authority" in done.stdout
    assert snapshot(tmp_path).items() >= before.items()
    verify = ("verify", "-CAfile", tmp_path / "ca.pem")
    assert openssl(*verify, tmp_path / "wse-1/node.pem").strip().endswith(": OK")


@pytest.mark.parametrize("kind", ["rsa:2048", "ed25519"])
def test_an_authority_may_have_another_kind_of_key(tmp_path: Path, kind: str) -> None:
    files = (
        "-keyout",
        tmp_path / "ca.key",
        "-out",
        tmp_path / "ca.pem",
        "-days",
        9,
        "-subj",
        "/O=Us/CN=Ours",
    )
    openssl("req", "-x509", "-newkey", kind, "-noenc", *files)
    certs("create", "--out", tmp_path, "wse-1")
    verify = ("verify", "-CAfile", tmp_path / "ca.pem")
    assert openssl(*verify, tmp_path / "wse-1/node.pem").strip().endswith(": OK")


def make_broken(directory: Path, how: str) -> None:
    """An authority that can't sign."""
    other = directory / "other"
    other.mkdir()
    files = ("-keyout", directory / "ca.key", "-out", directory / "ca.pem", "-subj", "/CN=WSE CA")
    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", *files)
    if how == "no authority":
        openssl(*new, "-noenc", "-addext", "basicConstraints=critical,CA:FALSE")
    elif how == "passphrase":
        openssl(*new, "-passout", "pass:secret")
    elif how == "expired":
        then = dt.datetime.now(dt.UTC) - dt.timedelta(days=9)
        old = issue.make_authority(issue.make_key(), "WSE CA", days=8, now=then)
        (directory / "ca.pem").write_bytes(old.certificate.public_bytes(Encoding.PEM))
        (directory / "ca.key").write_bytes(issue.key_pem(old.key))
    else:
        openssl(*new, "-noenc")
    if how == "another key":
        Authority(other)
        (other / "ca.key").rename(directory / "ca.key")
    elif how == "no key":
        (directory / "ca.key").unlink()
    elif how == "garbage":
        (directory / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("no authority", "basic constraints do not say CA:TRUE"),
        ("expired", "has expired on"),
        ("another key", "ca.key does not belong to the certificate in"),
        ("no key", "ca.key is not there, but"),
        ("passphrase", "the key has a passphrase"),
        ("garbage", "is no certificate that can be read"),
    ],
)
def test_an_authority_that_can_not_sign_is_refused_and_kept(tmp_path: Path, how: str, words: str) -> None:
    make_broken(tmp_path, how)
    before = snapshot(tmp_path)
    done = certs("create", "--out", tmp_path, "wse-1", code=1)
    assert words in done.stderr
    assert "hint:" in done.stderr or how in {"passphrase", "garbage"}
    assert snapshot(tmp_path) == before


# ---- Nothing is overwritten silently ----


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    certs("create", "--out", tmp_path, "wse-1")
    before = snapshot(tmp_path)
    done = certs("create", "--out", tmp_path, "wse-0", "wse-1", code=2)
    assert f"{tmp_path}/wse-1/node.pem: a certificate is there already" in done.stderr
    assert "certs renew" in done.stderr
    assert "--force" in done.stderr
    assert snapshot(tmp_path) == before, "the other node was not made either"
    certs("create", "--out", tmp_path, "--force", "wse-1=wse-1,10.0.0.1")
    assert "IP Address:10.0.0.1" in described(tmp_path / "wse-1/node.pem")
    assert fits(tmp_path / "wse-1")
    after = snapshot(tmp_path)
    assert {name for name in before if before[name] != after[name]} == {"wse-1/node.pem", "wse-1/node.key"}


def test_a_key_without_a_certificate_gets_one(tmp_path: Path) -> None:
    certs("create", "--out", tmp_path, "wse-1")
    keys = {name: (tmp_path / name).read_bytes() for name in ("ca.key", "wse-1/node.key")}
    for name in ("ca.pem", "wse-1/node.pem", "wse-1/ca.pem"):
        (tmp_path / name).unlink()
    done = certs("create", "--out", tmp_path, "wse-1")
    assert done.stderr.count("was there without a certificate") == 2
    assert {name: (tmp_path / name).read_bytes() for name in keys} == keys
    assert fits(tmp_path / "wse-1")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Missing argument"),
        (["a b"], "'a b' is no label of a host's name"),
        (["10.0.0.1:9999"], "hosts without ports"),
        (["../ca"], "is no label"),
        (["../ca=wse-1"], "is no name for a directory"),
        (["*.a.b"], "is no name for a directory"),
        (["wse-1", "wse-1=b"], "'wse-1' is there twice"),
        (["wse-1", "--san", "wse-2=b"], "there is no node 'wse-2'"),
        (["wse-1", "--days", "0"], "--days"),
    ],
)
def test_a_command_line_that_is_wrong_changes_nothing(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    done = certs("create", "--out", tmp_path / "certs", *arguments, code=2)
    assert words in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_can_not_be_written_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = process("certs", "create", "--out", tmp_path / "file/certs", "wse-1", code=1)
    assert done.stderr == f"wse: error: {tmp_path}/file: File exists\n"


# ---- Renewal ----


def test_what_ends_soon_is_renewed_with_the_same_names_and_a_new_key(tmp_path: Path) -> None:
    certs("create", "--out", tmp_path, "--days", 20, "wse-1=wse-1,10.0.0.1")
    certs("create", "--out", tmp_path, "wse-2")
    (tmp_path / "wse-1/node.key").chmod(0o640)
    before = snapshot(tmp_path)
    done = certs("renew", "--out", tmp_path)
    assert "wse-1/node.pem: renewed" in done.stdout
    assert "wse-2/node.pem: kept" in done.stdout
    assert "SIGHUP" in done.stderr
    assert "wse-2" not in done.stderr
    after = snapshot(tmp_path)
    assert {name for name in before if before[name] != after[name]} == {"wse-1/node.pem", "wse-1/node.key"}
    assert sorted(after) == sorted(before), "nothing is left beside them"
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))
    assert (tmp_path / "wse-1/node.key").stat().st_mode & 0o777 == 0o640, "the mode is the operator's"
    assert fits(tmp_path / "wse-1")
    assert "DNS:wse-1, IP Address:10.0.0.1" in described(tmp_path / "wse-1/node.pem")


def test_a_key_may_be_kept_and_nodes_may_be_named(tmp_path: Path) -> None:
    certs("create", "--out", tmp_path, "wse-1", "wse-2")
    before = snapshot(tmp_path)
    answer = json.loads(certs("renew", "--out", tmp_path, "--force", "--keep-key", "--json", "wse-2").stdout)
    assert [node["renewed"] for node in answer["nodes"]] == [True]
    after = snapshot(tmp_path)
    assert {name for name in before if before[name] != after[name]} == {"wse-2/node.pem"}
    assert fits(tmp_path / "wse-2")
    assert "there is no such file" in certs("renew", "--out", tmp_path, "wse-3", code=2).stderr


def test_another_authority_signs_only_when_it_is_told_to(tmp_path: Path) -> None:
    out = tmp_path / "certs"
    certs("create", "--out", out, "--shared", "wse-1")
    Authority(tmp_path / "new")
    before = snapshot(out)
    done = certs("renew", "--out", out, "--ca", tmp_path / "new", "--before", 999, code=1)
    assert "was issued by another authority" in done.stderr
    assert snapshot(out) == before
    done = certs("renew", "--out", out, "--ca", tmp_path / "new", "--force")
    assert "ca.pem is now that of" in done.stderr
    verify = ("verify", "-CAfile", tmp_path / "new/ca.pem")
    assert openssl(*verify, out / "node.pem").strip().endswith(": OK")


def test_a_certificate_without_names_can_not_be_renewed_as_it_is(tmp_path: Path) -> None:
    Authority(tmp_path).node("wse-1")
    done = certs("renew", "--out", tmp_path, "--force", code=1)
    assert "there are no names in it" in done.stderr
    assert "create --force" in done.stderr


# ---- Looking ----


def test_inspect_tells_of_each_certificate(three: Path) -> None:
    shown = json.loads(certs("inspect", "--json", three).stdout)
    assert len(shown) == 7, "the authority, at four places, and three nodes"
    (one,) = [one for one in shown if one["file"].endswith("wse-2/node.pem")]
    fingerprint = openssl("x509", "-in", three / "wse-2/node.pem", "-noout", "-fingerprint", "-sha256")
    assert one["sha256"] == fingerprint.strip().partition("=")[2]
    assert one["subject"] == "CN=wse-2"
    assert one["issuer"] == "CN=WSE CA"
    assert one["names"] == ["wse-2", "wse-2.example.com", "10.0.0.2", "fd00::2"]
    assert one["days_left"] == 364
    assert one["key_type"] == "ECDSA P-256"
    assert one["key"] == {"file": str(three / "wse-2/node.key"), "mode": "0600", "belongs": True}
    assert one["signed_by"] == str(three / "wse-2/ca.pem")
    assert one["problems"] == []
    text = certs("inspect", three / "wse-2").stdout
    assert one["sha256"] in text
    assert "364 days left" in text
    assert "belongs to it, mode 0600" in text


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("expired", "has expired on"),
        ("another key", "does not belong to it"),
        ("another authority", "is not signed by an authority of"),
        ("one purpose", "does not allow both serverAuth and clientAuth"),
        ("open to all", "everybody on this host may use it"),
        ("soon", "ends in 19 days"),
    ],
)
def test_what_does_not_fit_is_a_problem(tmp_path: Path, how: str, words: str) -> None:
    certs("create", "--out", tmp_path, "--days", 20, "wse-1")
    node = tmp_path / "wse-1"
    if how in {"expired", "one purpose"}:
        extension = "extendedKeyUsage=serverAuth" if how == "one purpose" else "subjectAltName=DNS:wse-1"
        days = -1 if how == "expired" else 9
        (tmp_path / "ext").write_text(extension)
        openssl("req", "-new", "-key", node / "node.key", "-subj", "/CN=wse-1", "-out", tmp_path / "csr")
        signer = ("-CA", tmp_path / "ca.pem", "-CAkey", tmp_path / "ca.key", "-extfile", tmp_path / "ext")
        openssl("x509", "-req", "-in", tmp_path / "csr", *signer, "-days", days, "-out", node / "node.pem")
    elif how == "another key":
        (tmp_path / "ca.key").rename(node / "node.key")
    elif how == "another authority":
        Authority(tmp_path / "new")
        (tmp_path / "new/ca.pem").rename(node / "ca.pem")
    elif how == "open to all":
        (node / "node.key").chmod(0o644)
    warn = ["--warn-days", "30"] if how == "soon" else []
    done = certs("inspect", node / "node.pem", *warn, code=1)
    assert words in done.stderr
    assert words in done.stdout
    if how == "soon":
        certs("inspect", node / "node.pem")


def test_inspect_of_what_is_no_certificate_is_an_error_of_a_line(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("nothing")
    assert "has no certificate in PEM" in certs("inspect", tmp_path / "x.pem", code=1).stderr
    assert "there is no certificate in it" in certs("inspect", tmp_path, code=1).stderr
    assert "does not exist" in certs("inspect", tmp_path / "none", code=2).stderr


# ---- Nodes ----


def test_nodes_link_by_them_and_compare_names(server_factory: Factory, tmp_path: Path) -> None:
    certs("create", "--out", tmp_path, "one=localhost", f"two={HOST}", "three=elsewhere.example")
    one, two, three = (files_of(tmp_path / name) for name in ("one", "two", "three"))
    first, second = server_factory().server, server_factory().server
    options: dict[str, Any] = {"tls_verify_name": True}
    seed = join(first, **one.arguments, **options)
    by_name = f"localhost:{seed.rpartition(':')[2]}"
    join(second, by_name, **two.arguments, **options)
    wait_until_whole([first, second])
    # The third's own name is not what it is dialled by.
    other = server_factory().server
    place = join(other, **three.arguments)
    late = server_factory().server
    with LogLines() as log:
        join(late, by_name, place, **one.arguments, **options)
        log.wait("does not name the host that was dialled (tls_verify_name)")
    wait_until(lambda: instance(first) in linked(late), "the one with the right name is linked")


def test_nodes_take_renewed_ones_under_way(server_factory: Factory, tmp_path: Path) -> None:
    certs("create", "--out", tmp_path, f"one={HOST}", f"two={HOST}")
    one, two = files_of(tmp_path / "one"), files_of(tmp_path / "two")
    first, second, third = (server_factory().server for _ in range(3))
    seed = join(first, tls_verify_name=True, **one.arguments)
    join(second, seed, tls_verify_name=True, **two.arguments)
    wait_until_whole([first, second])
    certs("renew", "--out", tmp_path, "--force")
    for server, files in ((first, one), (second, two)):
        server.reload_cluster_tls(files.cert, files.key, files.ca)
    join(third, seed, tls_verify_name=True, **two.arguments)
    wait_until_whole([first, second, third])
    assert first.health_snapshot()["cluster_reconnect_count"] == 0


def test_wse_serve_takes_a_directory_as_it_is_and_the_renewed_one_on_sighup(tmp_path: Path) -> None:
    certs("create", "--out", tmp_path, "--shared", "localhost", HOST)

    def serve(seed: str) -> Service:
        options = ("--cluster-port", 0, "--cluster-host", HOST, "--tls-verify-name", "--log-level", "debug")
        return Service(*options, WSE_TLS_DIR=str(tmp_path), WSE_SEEDS=seed)

    with serve(f"{HOST}:1") as first, serve(first.cluster) as second:
        wait_until(lambda: first.health()["cluster_peer_count"] == 1, "they are linked")
        old = described(tmp_path / "node.pem")
        certs("renew", "--out", tmp_path, "--force")
        assert described(tmp_path / "node.pem") != old
        for node in (first, second):
            node.signal(signal.SIGHUP)
            node.logged("reloaded", "certificates")
        with serve(first.cluster):
            wait_until(lambda: first.health()["cluster_peer_count"] == 2, "the third is linked with both")
        assert first.health()["cluster_reconnect_count"] == 0
