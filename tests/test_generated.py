"""What is generated from spec/ is up to date, and a stale file does not go unnoticed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wse_server import codes

CLI_ERRORS = "python/wse_server/cli/errors.py"
GENERATED = [
    "crates/wse-core/src/options/generated.rs",
    "crates/wse-core/src/protocol/codes.rs",
    "crates/wse-py/src/options/generated.rs",
    "docs/reference/cli.md",
    "docs/reference/codes.md",
    "docs/reference/http-api.md",
    "docs/reference/options.md",
    "python/wse_client/_version.py",
    "python/wse_client/codes.py",
    "python/wse_server/_native.pyi",
    "python/wse_server/codes.py",
    "python/wse_server/options/__init__.py",
    "python/wse_server/options/admission.py",
    "python/wse_server/options/authentication.py",
    "python/wse_server/options/behind_a_proxy.py",
    "python/wse_server/options/clients_on_their_own.py",
    "python/wse_server/options/engine.py",
    "python/wse_server/options/history.py",
    "python/wse_server/options/keepalive.py",
    "python/wse_server/options/limits_of_one_client.py",
    "python/wse_server/options/option.py",
    "python/wse_server/options/presence.py",
    "python/wse_server/options/queues.py",
    "python/wse_server/server_options.py",
    "crates/wse-core/src/options/spec.rs",
]


def generate(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the generator."""
    command = [sys.executable, str(repository / "tools/generate.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def copy(repository: Path, tmp_path: Path) -> Path:
    """The declarations and what is generated from them, in a place where they may be changed."""
    declared = ["Cargo.toml", "spec/options.toml", "spec/codes.toml", "spec/openapi.json", CLI_ERRORS]
    for path in [*declared, "rustfmt.toml", *GENERATED]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repository / path, tmp_path / path)
    return tmp_path


def replace(file: Path, old: str, new: str) -> None:
    """Edits a file, which must hold `old`."""
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_nothing_is_stale(repository: Path) -> None:
    done = generate(repository, "--check")
    assert (done.returncode, done.stdout) == (0, ""), f"{done.stdout}{done.stderr}"


@pytest.mark.parametrize("path", GENERATED)
def test_a_file_that_is_missing_or_was_edited_is_noticed_and_written_again(
    path: str, repository: Path, copy: Path
) -> None:
    wanted = (copy / path).read_text(encoding="utf-8")
    replace(copy / path, "Generated from", "Written by hand, not from")
    if not path.endswith(".pyi"):  # Only a region of the stub is generated; the rest can't be made up.
        (copy / path).unlink()
    done = generate(repository, "--root", str(copy), "--check")
    assert (done.returncode, done.stdout) == (1, f"stale: {path}\n")
    assert "tools/generate.py" in done.stderr
    assert generate(repository, "--root", str(copy)).stdout == f"written: {path}\n"
    assert (copy / path).read_text(encoding="utf-8") == wanted


def test_what_stands_around_the_region_of_the_stub_is_kept(repository: Path, copy: Path) -> None:
    stub = copy / "python/wse_server/_native.pyi"
    text = stub.read_text(encoding="utf-8") + "    def added_by_hand(self) -> None: ...\n"
    stub.write_text(text, encoding="utf-8")
    assert generate(repository, "--root", str(copy), "--check").returncode == 0
    replace(copy / "spec/options.toml", "default = 1000\n", "default = 2000\n")
    assert generate(repository, "--root", str(copy)).returncode == 0
    assert stub.read_text(encoding="utf-8") == text.replace(
        "max_connections: int = 1000", "max_connections: int = 2000"
    )


def test_a_changed_default_reaches_every_reader(repository: Path, copy: Path) -> None:
    replace(copy / "spec/options.toml", "default = 1000\n", "default = 2000\n")
    done = generate(repository, "--root", str(copy), "--check")
    assert done.returncode == 1
    assert set(done.stdout.split()) - {"stale:"} == {
        "crates/wse-core/src/options/generated.rs",
        "crates/wse-core/src/options/spec.rs",
        "docs/reference/options.md",
        "python/wse_server/_native.pyi",
        "python/wse_server/options/admission.py",
        "python/wse_server/server_options.py",
    }


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (("options", "default = 1000\n", "default = 0\n"), "max_connections: the default is out of range"),
        (("options", "default = 1000\n", ""), "max_connections: a default is missing"),
        (("options", 'type = "integer"', 'type = "whole"'), "max_connections: type 'whole' is none of"),
        (("options", 'unit = "connections"', 'unite = "x"'), "max_connections: unit missing"),
        (("options", "maximum = 16_000_000", "maximal = 1"), "max_connections: unknown keys ['maximal']"),
        (("options", 'name = "path"', 'name = "max_connections"'), "an option is declared twice"),
        (
            (
                "options",
                'choices = ["heal", "gap", "close"]',
                'choices = ["heal", "gap"]\nnot_built = ["heal"]',
            ),
            "slow_client: the default is not built",
        ),
        (("options", 'default = "heal"', 'default = "cure"'), "slow_client: the default is no choice"),
        (
            ("options", 'group = "Keepalive"', 'group = "Queues"'),
            "max_inbound_queue_size: the options of the group 'Queues' are not together",
        ),
        (("codes", "code = 1002", "code = 1000"), "a close code is declared twice"),
        (("codes", "close = 1009", "close = 1234"), "MESSAGE_TOO_LARGE closes with an unknown code"),
        (
            ("codes", 'reconnect = "no"', 'reconnect = "yes"'),
            "1000: times and reconnect contradict each other",
        ),
        (("codes", "max_ms = 15_000", "max_ms = 1"), "1002: min_ms is above max_ms"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(
    edit: tuple[str, str, str], complaint: str, repository: Path, copy: Path
) -> None:
    file, old, new = edit
    replace(copy / f"spec/{file}.toml", old, new)
    done = generate(repository, "--root", str(copy))
    assert done.returncode == 1
    assert f"spec/{file}.toml: {complaint}" in done.stderr


def test_the_codes_say_whether_to_come_back() -> None:
    assert set(codes.ERRORS) == set(codes.ErrorCode)
    assert set(codes.CLOSES) == set(codes.CloseCode)
    stay_away = {code for code, info in codes.CLOSES.items() if info.reconnect is codes.Reconnect.NEVER}
    assert stay_away == {1000, 1001, 1010, 4403}
    assert codes.close_info(4401).reconnect is codes.Reconnect.NEW_TOKEN
    assert codes.ERRORS[codes.ErrorCode.AUTH_FAILED].close == 4401
    unknown = codes.close_info(4999)
    assert (unknown.code, unknown.reconnect) == (4999, codes.Reconnect.BACKOFF)
    assert all(info.min_ms <= info.max_ms <= codes.BACKOFF_MAX_MS for info in codes.CLOSES.values())
