"""`wse serve` while it runs: what signals make of it."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from certificates import Authority
from cli.service import Service
from support import HOST, PATIENCE, Peer, dial, wait_until
from wse_server import rust_jwt_encode

OLD = "the-old-secret-of-more-than-thirty-two-bytes"
NEW = "the-new-secret-of-more-than-thirty-two-bytes"


def token(secret: str) -> str:
    return rust_jwt_encode({"sub": "ann", "exp": int(time.time()) + 600}, secret)


def is_let_in(service: Service, secret: str) -> bool:
    peer = Peer(dial(f"ws://{HOST}:{service.port}/wse", token=token(secret)), "")
    if peer.receive_json()["t"] == "server_ready":
        peer.close()
        return True
    assert peer.close_code() == 4401
    return False


def origin_is_allowed(service: Service, origin: str) -> bool:
    try:
        dial(f"ws://{HOST}:{service.port}/wse", additional_headers={"Origin": origin}).close()
    except InvalidStatus as refused:
        return refused.response.status_code != 403
    return True


def reload(service: Service, *words: str) -> str:
    before = len(service.err)
    service.signal(signal.SIGHUP)
    return wait_until(
        lambda: next((line for line in service.err[before:] if all(word in line for word in words)), ""),
        f"no line with {words}",
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_first_signal_drains_and_the_exit_is_good(number: signal.Signals) -> None:
    with Service("--drain-timeout", "20s") as service:
        peer = Peer(dial(f"ws://{HOST}:{service.port}/wse"), "")
        service.signal(number)
        assert peer.close_code(PATIENCE) == 4300
        assert service.wait() == 0


def test_while_it_drains_it_is_not_ready_and_a_second_signal_hurries() -> None:
    with Service("--drain-timeout", "1h") as service:
        # Their turns are spread over the hour.
        peers = [dial(f"ws://{HOST}:{service.port}/wse") for _ in range(20)]
        service.signal(signal.SIGTERM)
        wait_until(lambda: service.get("/ready")[0] == 503, "it is ready")
        assert service.get("/health")[0] == 200
        service.signal(signal.SIGTERM)
        assert service.wait() == 0
        service.logged("a second signal")
        for peer in peers:
            peer.close()


def test_a_drain_timeout_of_zero_stops_at_once() -> None:
    with Service("--drain-timeout", "0") as service:
        peer = Peer(dial(f"ws://{HOST}:{service.port}/wse"), "")
        service.signal(signal.SIGTERM)
        assert peer.close_code(PATIENCE) == 1012
        assert service.wait() == 0


def test_a_signal_in_the_middle_of_the_start_ends_it_well(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import signal\nprint('importing', flush=True)\nsignal.pause()\n")
    with Service("--app", "slow:server", cwd=tmp_path) as service:
        assert service.ready() == "importing"
        service.signal(signal.SIGHUP)
        service.signal(signal.SIGTERM)
        assert service.wait() == 0


def test_keys_in_files_are_read_anew_and_the_old_one_may_stay_for_a_while(tmp_path: Path) -> None:
    secret, previous = tmp_path / "secret", tmp_path / "previous"
    secret.write_text(OLD + "\n")
    previous.write_text(OLD + "\n")
    config = tmp_path / "wse.toml"
    config.write_text('jwt_secret_file = "secret"\n')
    with Service("--config", config) as service:
        assert is_let_in(service, OLD)
        assert not is_let_in(service, NEW)
        secret.write_text(NEW)
        config.write_text('jwt_secret_file = "secret"\njwt_previous_secret_file = "previous"\n')
        reload(service, "INFO", "reloaded: the keys of tokens")
        assert is_let_in(service, OLD)
        assert is_let_in(service, NEW)
        config.write_text('jwt_secret_file = "secret"\n')
        reload(service, "INFO", "reloaded: the keys of tokens")
        assert not is_let_in(service, OLD)
        assert is_let_in(service, NEW)
        assert OLD not in service.log
        assert NEW not in service.log


def test_origins_and_the_log_are_read_anew(tmp_path: Path) -> None:
    config = tmp_path / "wse.toml"
    config.write_text('allowed_origins = ["https://one.example"]\nlog_level = "warning"\n')
    with Service("--config", config) as service:
        assert origin_is_allowed(service, "https://one.example")
        assert not origin_is_allowed(service, "https://two.example")
        config.write_text('allowed_origins = "https://two.example"\nlog_level = "info"\n')
        reload(service, "reloaded: the origins, the log")
        assert origin_is_allowed(service, "https://two.example")
        assert not origin_is_allowed(service, "https://one.example")


def test_a_mistake_changes_nothing_and_is_told(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(OLD)
    config = tmp_path / "wse.toml"
    config.write_text('allowed_origins = "https://one.example"\n')
    with Service("--config", config, WSE_JWT_SECRET_FILE=str(secret)) as service:
        assert is_let_in(service, OLD)
        config.write_text('allowed_origins = "https://two.example"\n')
        secret.write_text("too short")
        reload(service, "ERROR", "the configuration has mistakes")
        service.logged("ERROR", "not reloaded: WSE_JWT_SECRET_FILE: has 9 bytes")
        assert is_let_in(service, OLD)
        secret.write_text(OLD)
        config.write_text("allowed_origins = [\n")
        reload(service, "ERROR", "not reloaded", "is no TOML")
        secret.unlink()
        config.write_text('allowed_origins = "https://two.example"\n')
        reload(service, "ERROR", "not reloaded: WSE_JWT_SECRET_FILE", "can't be read: No such file")
        assert is_let_in(service, OLD)
        secret.write_text(OLD)
        reload(service, "INFO", "reloaded: the origins")


def test_what_takes_a_restart_is_named(tmp_path: Path) -> None:
    config = tmp_path / "wse.toml"
    config.write_text("max_connections = 10\n")
    with Service("--config", config) as service:
        service.ready()
        config.write_text(f'max_connections = 20\njwt_secret = "{NEW}"\n')
        for _ in range(2):
            reload(service, "nothing that can be changed has changed")
        changed = [
            line.partition("wse_server.serve: ")[2] for line in service.err if "takes a restart" in line
        ]
        told = [f"{name} has changed: that takes a restart" for name in ("max_connections", "jwt_secret")]
        assert changed == told * 2


def test_the_key_of_the_http_api_is_read_anew(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("a" * 32)
    with Service(WSE_API_KEY_FILE=str(key)) as service:
        service.ready()
        key.write_text("b" * 32)
        reload(service, "reloaded: the key of the HTTP API")


def test_certificates_of_the_cluster_are_read_anew(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path / "ca"), Authority(tmp_path / "other")
    mine, theirs = authority.node("mine"), other.node("theirs")
    names = {"ca.pem": "ca", "node.pem": "cert", "node.key": "key"}
    place = tmp_path / "etc"
    place.mkdir()

    def put(files: object) -> None:
        for name, attribute in names.items():
            (place / name).write_bytes(Path(getattr(files, attribute)).read_bytes())

    put(mine)
    with Service(WSE_TLS_DIR=str(place), WSE_SEEDS="127.0.0.1:1", WSE_CLUSTER_PORT="0") as first:
        first.ready()
        (place / "node.key").write_bytes(theirs.key.read_bytes())
        reload(first, "ERROR", "not reloaded", "node.key does not belong to the certificate")
        put(theirs)
        reload(first, "INFO", "reloaded: the certificates of the cluster")
        arguments = {f"WSE_TLS_{name.upper()}": str(getattr(theirs, name)) for name in ("ca", "cert", "key")}
        with Service(WSE_SEEDS=first.cluster, WSE_CLUSTER_PORT="0", environ=arguments) as second:
            wait_until(lambda: second.health()["cluster_connected"], "they are linked")
