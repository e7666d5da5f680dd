"""The Autobahn suite is judged rightly, its echo server echoes, and the report that is kept is whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import websockets.sync.client
from websockets.exceptions import ConnectionClosed

import suite
from judgement import NON_STRICT_ALLOWED, NotAnIndexError, Result, judge, read_index
from record import Record, keep, page, read
from support import HOST, PATIENCE

GOOD = Result("OK", "OK", 1000)


def entry(behavior: str = "OK", close: str = "OK", code: int | None = 1000) -> dict[str, Any]:
    """One case as index.json has it."""
    return {
        "behavior": behavior,
        "behaviorClose": close,
        "remoteCloseCode": code,
        "duration": 2,
        "reportfile": "x.json",
    }


def index(directory: Path, content: object) -> Path:
    """Writes an index.json."""
    path = directory / "index.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


# ---- The rule ----


def test_good_cases_give_no_finding(tmp_path: Path) -> None:
    cases = {
        "1.1.1": entry(),
        "7.1.6": entry("INFORMATIONAL", "INFORMATIONAL"),
        "3.2": entry("NON-STRICT", "OK", 1002),
        "2.9": entry("OK", "OK", None),
    }
    results = read_index(index(tmp_path, {"WSE": cases}))
    assert judge(results, cases) == []


@pytest.mark.parametrize(
    "behavior", ["FAILED", "UNIMPLEMENTED", "NON-STRICT", "WRONG CODE", "UNCLEAN", "", "ok", "NEW WORD"]
)
def test_any_other_behaviour_is_a_finding(behavior: str) -> None:
    assert judge({"1.1.1": Result(behavior, "OK", 1000)}) == [f"1.1.1: {behavior} (close 1000)"]


@pytest.mark.parametrize("close", ["FAILED", "WRONG CODE", "UNCLEAN", "FAILED BY CLIENT", "NON-STRICT"])
def test_a_close_that_is_not_as_it_should_be_is_a_finding_though_the_case_is_ok(close: str) -> None:
    assert judge({"7.3.1": Result("OK", close, 1006)}) == [f"7.3.1: ended {close} (close 1006)"]


def test_only_the_cases_that_race_an_echo_may_be_non_strict() -> None:
    cases = {f"{chapter}.{case}" for chapter in range(1, 8) for case in range(1, 30)}
    cases |= {f"4.{part}.{case}" for part in (1, 2) for case in range(1, 6)}
    lenient = {case for case in cases if not judge({case: Result("NON-STRICT", "OK", 1002)})}
    expected = {"3.2", "3.3", "3.4", "4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5", "5.15"}
    assert lenient == expected == NON_STRICT_ALLOWED


def test_a_run_that_broke_off_is_a_finding_for_each_case_it_did_not_reach() -> None:
    findings = judge({"1.1.1": GOOD}, ["1.1.1", "1.1.10", "1.1.2"])
    assert findings == ["1.1.2: has no result", "1.1.10: has no result"]


def test_a_case_that_nobody_asked_for_is_a_finding() -> None:
    assert judge({"1.1.1": GOOD, "1.1.2": GOOD}, ["1.1.1"]) == ["1.1.2: was not asked for"]


def test_nothing_at_all_is_a_finding() -> None:
    assert judge({}) == ["no case was run"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "is no JSON"),
        ([], "one server, not list"),
        ({}, "one server, not []"),
        ({"a": {}, "b": {}}, "one server, not ['a', 'b']"),
        ({"WSE": []}, "an object of cases, not list"),
        (
            {"WSE": {"1.1.1": {"behavior": "OK"}}},
            "case 1.1.1: no result of a case: KeyError('behaviorClose')",
        ),
        ({"WSE": {"1.1.1": "OK"}}, "case 1.1.1: no result of a case"),
        ({"WSE": {"1.1.1": entry(close=None)}}, "case 1.1.1: 'OK', None, 1000 is no result"),  # type: ignore[arg-type]
        ({"WSE": {"one": entry()}}, "'one' is no name of a case"),
    ],
)
def test_a_file_that_is_no_index_is_refused(content: object, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(NotAnIndexError) as refused:
        read_index(index(tmp_path, content))
    assert complaint in str(refused.value)


def test_the_judge_on_the_command_line_fails_with_its_findings(tmp_path: Path, repository: Path) -> None:
    bad = index(tmp_path, {"WSE": {"1.1.1": entry(), "1.1.2": entry("FAILED", "UNCLEAN", None)}})
    command = [sys.executable, str(repository / "compliance/judgement.py"), str(bad)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "1.1.2: FAILED (close None)",
        "1.1.2: ended UNCLEAN (close None)",
        "2 cases, 2 findings",
    ]


# ---- What is kept ----


def test_the_report_that_is_kept_obeys_the_rule_and_its_page_is_made_from_it(repository: Path) -> None:
    directory = repository / "compliance/report"
    records = read(directory)
    assert "all-shared" in [kept.name for kept in records]
    for kept in records:
        results = {case: Result(kept.cases[case], "OK", kept.close_codes[case]) for case in kept.cases}
        assert judge(results, kept.close_codes) == [], kept.name
    assert (directory / "README.md").read_text() == page(records)


def test_a_record_is_kept_in_place_of_the_last_one_and_the_page_names_what_is_not_ok(tmp_path: Path) -> None:
    def made(behavior: str) -> Record:
        return Record(
            name="some",
            compression="off",
            suite="25.10.1",
            date="2000-01-01 00:00",
            commit="abc",
            machine="1 core",
            python="3.11.0",
            seconds=61,
            categories={"3": "Reserved Bits", "10": "Misc"},
            cases={"3.1": "OK", "3.2": behavior, "10.1.1": "OK"},
            close_codes={"3.1": 1002, "3.2": 1002, "10.1.1": None},
        )

    keep(made("FAILED"), tmp_path)
    assert "FAILED: 3.2." in (tmp_path / "README.md").read_text()
    keep(made("NON-STRICT"), tmp_path)
    assert read(tmp_path) == [made("NON-STRICT")]
    text = (tmp_path / "README.md").read_text()
    assert "FAILED" not in text
    assert "it took 1 min 1 s" in text
    assert "| 3. Reserved Bits | 2 | 1 | 1 |" in text
    assert "| 10. Misc | 1 | 1 |  |" in text
    assert "| all | 3 | 2 | 1 |" in text


# ---- The echo server, and the way to the suite ----


def test_the_echo_server_gives_back_what_it_got_and_refuses_what_it_could_not() -> None:
    with (
        suite.echo_server("off") as port,
        websockets.sync.client.connect(f"ws://{HOST}:{port}/wse", max_size=None) as client,
    ):
        messages: list[str | bytes] = [
            "",
            "é" * 70_000,
            '[{"t": 1}]',
            "U{",
            '{"t": ',
            b"",
            bytes(range(256)) * 5_000,
        ]
        for message in messages:
            client.send(message)
            assert client.recv(timeout=PATIENCE) == message
        client.send('{"t":  1}')
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=PATIENCE)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011


def test_an_echo_server_that_dies_is_not_overlooked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def lives_for(program: str) -> None:
        (tmp_path / "echo_server.py").write_text(program)

    monkeypatch.setattr(suite, "HERE", tmp_path)
    lives_for("raise SystemExit(7)")
    with pytest.raises(suite.SuiteError, match="did not start"), suite.echo_server("off"):
        pass
    lives_for("import signal; print(1, flush=True); signal.pause()")
    with pytest.raises(suite.SuiteError, match="ended with -15"), suite.echo_server("off"):
        pass


def without_python27(repository: Path, command: list[str], home: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command on a machine that has no Python 2.7."""
    environment = {**os.environ, "PYTHON27": str(home / "python2.7"), "HOME": str(home)}
    return subprocess.run(
        command, cwd=repository, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_without_python_2_7_setup_says_so_and_how_to_get_it(repository: Path, tmp_path: Path) -> None:
    done = without_python27(repository, ["sh", "compliance/setup.sh"], tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"tried: {tmp_path}/python2.7" in done.stderr
    assert "pyenv install 2.7.18" in done.stderr


@pytest.mark.parametrize(("what", "status"), [("short", 0), ("full", 2)])
def test_without_python_2_7_the_short_run_is_skipped_loudly_and_the_full_one_fails(
    what: str, status: int, repository: Path, tmp_path: Path
) -> None:
    done = without_python27(repository, [sys.executable, "compliance/autobahn.py", what], tmp_path)
    assert done.returncode == status
    assert "missing: Python 2.7" in done.stderr
    assert ("SKIPPED: the Autobahn suite did not run" in done.stdout) == (what == "short")
