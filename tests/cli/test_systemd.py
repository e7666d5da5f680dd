"""What systemd is told, and the unit of `deploy/systemd`."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cli.service import Service, wse
from support import HOST, PATIENCE, dial, wait_until
from wse_server.cli.serve.ask import Asker
from wse_server.cli.systemd import Notifier, watchdog_interval


class Systemd:
    """The socket on which a service manager listens."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + path[1:] if path.startswith("@") else path)
        self._socket.settimeout(PATIENCE)

    def next(self, *but: str) -> dict[str, str]:
        """The fields of the next message that is none of these."""
        while True:
            fields = dict(line.split("=", 1) for line in self._socket.recv(4096).decode().splitlines())
            if not set(but) & set(fields):
                return fields

    def wait(self, field: str) -> dict[str, str]:
        """The next message with this field."""
        while field not in (fields := self.next()):
            pass
        return fields

    def hears_nothing_for(self, seconds: float) -> bool:
        self._socket.settimeout(seconds)
        try:
            self._socket.recv(4096)
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(PATIENCE)
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    manager = Systemd(str(tmp_path / "notify"))
    yield manager
    manager.close()


def test_without_a_socket_nothing_is_said_and_nothing_breaks() -> None:
    for environ in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}):
        notifier = Notifier.of(environ)
        assert not notifier.is_heard
        notifier.ready("up")


def test_a_socket_that_has_gone_is_logged_and_nothing_breaks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = Notifier(str(tmp_path / "gone"))
    notifier.alive()
    notifier.close()
    notifier.alive()
    assert caplog.text.count("systemd was not told WATCHDOG=1: No such file") == 1


def test_an_abstract_socket_is_found() -> None:
    manager = Systemd(f"@wse-test-{os.getpid()}")
    try:
        notifier = Notifier.of({"NOTIFY_SOCKET": manager.path})
        notifier.ready("two\nlines")
        notifier.close()
        assert manager.next() == {"READY": "1", "STATUS": "two lines"}
    finally:
        manager.close()


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
    ],
)
def test_the_watchdog_is_told_twice_as_often_as_it_looks(
    environ: dict[str, str], interval: float | None
) -> None:
    assert watchdog_interval(environ) == interval


def test_from_its_start_to_its_end_systemd_knows_how_it_is(systemd: Systemd) -> None:
    with Service("--drain-timeout", "7s", NOTIFY_SOCKET=systemd.path) as service:
        ready = systemd.wait("READY")
        assert ready["STATUS"] == f"{HOST}:{service.port}"
        before = time.monotonic_ns() // 1000
        service.signal(signal.SIGHUP)
        reloading = systemd.next()
        assert reloading["RELOADING"] == "1"
        assert before <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
        assert systemd.next()["READY"] == "1"
        service.signal(signal.SIGTERM)
        stopping = systemd.next()
        assert stopping["STOPPING"] == "1"
        assert int(stopping["EXTEND_TIMEOUT_USEC"]) >= 7_000_000
        assert service.wait() == 0


def test_a_node_is_ready_when_it_has_joined(systemd: Systemd) -> None:
    with Service(WSE_SEEDS="127.0.0.1:1", WSE_CLUSTER_PORT="0", NOTIFY_SOCKET=systemd.path) as service:
        assert systemd.next() == {"STATUS": "joining the cluster"}
        first = service.get("/ready")
        systemd.wait("READY")
        assert first == (503, '{"ready":false,"reason":"joining"}')
        assert service.get("/ready") == (200, '{"ready":true}')


@pytest.mark.parametrize("options", [(), ("--proxy-protocol", "--trusted-proxies", "127.0.0.0/8")])
def test_the_watchdog_is_told_while_the_server_answers_and_not_when_it_hangs(
    options: tuple[str, ...], systemd: Systemd
) -> None:
    with Service(*options, NOTIFY_SOCKET=systemd.path, WATCHDOG_USEC="200000") as service:
        for _ in range(3):
            assert systemd.wait("WATCHDOG") == {"WATCHDOG": "1"}
        service.signal(signal.SIGSTOP)
        while not systemd.hears_nothing_for(0.5):
            pass
        service.signal(signal.SIGCONT)
        systemd.wait("WATCHDOG")


def test_a_server_without_descriptors_lives_on(systemd: Systemd) -> None:
    few = ("/bin/sh", "-c", 'ulimit -n 64 && exec "$@"', "sh")
    environ = {"NOTIFY_SOCKET": systemd.path, "WATCHDOG_USEC": "400000"}
    with Service(prefix=few, environ=environ) as service, ExitStack() as crowd:
        systemd.wait("WATCHDOG")
        for _ in range(100):
            crowd.enter_context(socket.create_connection((HOST, service.port)))
        service.logged("accepting pauses")
        for _ in range(4):
            assert systemd.wait("WATCHDOG") == {"WATCHDOG": "1"}


def test_a_full_server_lives_on(systemd: Systemd) -> None:
    environ = {"NOTIFY_SOCKET": systemd.path, "WATCHDOG_USEC": "200000"}
    with Service("--max-connections", "1", environ=environ) as service:
        client = dial(f"ws://{HOST}:{service.port}/wse")
        for _ in range(3):
            systemd.wait("WATCHDOG")
        client.close()


def test_a_server_that_accepts_and_does_not_answer_is_not_alive() -> None:
    with socket.socket() as silent:
        silent.bind((HOST, 0))
        silent.listen()
        port = silent.getsockname()[1]
        assert asyncio.run(Asker(HOST, port).status("/health", 0.1)) is None
    assert asyncio.run(Asker(HOST, port).status("/health", 0.1)) is None


def test_drained_clients_do_not_keep_it_from_telling(systemd: Systemd) -> None:
    with Service("--drain-timeout", "1h", NOTIFY_SOCKET=systemd.path) as service:
        clients = [dial(f"ws://{HOST}:{service.port}/wse") for _ in range(5)]
        systemd.wait("READY")
        service.signal(signal.SIGTERM)
        assert int(systemd.wait("EXTEND_TIMEOUT_USEC")["EXTEND_TIMEOUT_USEC"]) > 3600 * 1_000_000
        service.signal(signal.SIGTERM)
        assert service.wait() == 0
        for client in clients:
            client.close()


# ---- The unit ----

ANALYZE = shutil.which("systemd-analyze")


@pytest.mark.skipif(
    ANALYZE is None, reason="systemd-analyze is not installed (Debian: apt-get install systemd)"
)
def test_systemd_takes_the_unit_and_finds_it_hardened(repository: Path, tmp_path: Path) -> None:
    program = shutil.which("wse") or str(Path(sys.executable).with_name("wse"))
    text = (repository / "deploy/systemd/wse.service").read_text()
    assert text.count("/opt/wse/bin/wse") == 2
    unit = tmp_path / "wse.service"
    unit.write_text(text.replace("/opt/wse/bin/wse", program if Path(program).exists() else "/bin/true"))
    done = subprocess.run(
        [str(ANALYZE), "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    about_ours = [line for line in done.stderr.splitlines() if "wse.service" in line]
    assert (done.returncode, about_ours) == (0, []), done.stderr
    # Exposure from 0 to 100; what is not hardened has 96.
    security = [str(ANALYZE), "security", "--offline=yes", "--threshold=20", str(unit)]
    done = subprocess.run(security, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_server_takes_the_file_of_the_unit(repository: Path, tmp_path: Path) -> None:
    text = (repository / "deploy/systemd/wse.toml").read_text()
    unit = (repository / "deploy/systemd/wse.service").read_text()
    credentials = [line.split("=", 1)[1] for line in unit.splitlines() if line.startswith("LoadCredential=")]
    assert [name.partition(":")[0] for name in credentials] == ["jwt_secret", "api_key"]
    (tmp_path / "wse.toml").write_text(text)
    for name in ("jwt_secret", "api_key"):
        (tmp_path / name).write_text("0123456789abcdef" * 4 + "\n")
    variables = {f"WSE_{name.upper()}_FILE": str(tmp_path / name) for name in ("jwt_secret", "api_key")}
    with Service("--config", tmp_path / "wse.toml", environ=variables) as service:
        wait_until(lambda: service.get("/ready")[0] == 200, "it is ready")
        assert service.stop() == 0
    done = wse("check", "--config", tmp_path / "wse.toml", environ=variables)
    assert done.code == 0, done.out + done.err
