"""Which results of the Autobahn suite are good enough: the rule, and the findings where it is broken.

python compliance/judgement.py build/autobahn/all-shared/report/index.json
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CASE = re.compile(r"[0-9]+(\.[0-9]+)+")

GOOD = frozenset({"OK", "INFORMATIONAL"})

NON_STRICT_ALLOWED = frozenset(
    {"3.2", "3.3", "3.4", "4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5", "5.15"}
)
"""Cases that send a good message and a violation right behind it.

Strictly, the echo of the message comes before the close. The server sees the violation while the echo is
still on its way through a Python program, and to fail the connection at once is what RFC 6455, section 7.1.7,
asks for; the suite calls that non-strict.
"""


class NotAnIndexError(ValueError):
    """The file is not an index.json of the suite. The text says what is wrong with it."""


@dataclass(frozen=True)
class Result:
    """What the suite says about one case.

    Attributes:
        behavior: How the case went: "OK", "NON-STRICT", "INFORMATIONAL", "FAILED", "UNIMPLEMENTED", ...
        close: How the connection ended: "OK", "INFORMATIONAL", "WRONG CODE", "UNCLEAN", ...
        close_code: The code in the server's close frame; None if none came or it had none.
    """

    behavior: str
    close: str
    close_code: int | None


def order(case: str) -> tuple[int, ...]:
    """Gives the key that sorts the names of cases as the suite numbers them: 1.2.10 comes after 1.2.9."""
    return tuple(int(part) for part in case.split("."))


def read_index(path: Path) -> dict[str, Result]:
    """Reads the results of the only server in an index.json.

    Raises:
        NotAnIndexError: The file is no such index, or it holds the results of several servers, or of none.
        OSError: It cannot be read.
    """
    try:
        servers = json.loads(path.read_text())
    except ValueError as error:
        raise NotAnIndexError(f"{path} is no JSON: {error}") from None
    if not isinstance(servers, dict) or len(servers) != 1:
        names = sorted(servers) if isinstance(servers, dict) else type(servers).__name__
        raise NotAnIndexError(f"{path} must hold the results of one server, not {names}")
    (cases,) = servers.values()
    if not isinstance(cases, dict):
        raise NotAnIndexError(f"{path} must hold an object of cases, not {type(cases).__name__}")
    for case in cases:
        if not CASE.fullmatch(case):
            raise NotAnIndexError(f"{path}: {case!r} is no name of a case, such as '1.2.10'")
    return {case: _result(path, case, cases[case]) for case in sorted(cases, key=order)}


def _result(path: Path, case: str, entry: Mapping[str, Any]) -> Result:
    try:
        behavior, close, code = entry["behavior"], entry["behaviorClose"], entry["remoteCloseCode"]
    except (KeyError, TypeError) as error:
        raise NotAnIndexError(f"{path}, case {case}: no result of a case: {error!r}") from None
    if not isinstance(behavior, str) or not isinstance(close, str) or not isinstance(code, int | None):
        raise NotAnIndexError(
            f"{path}, case {case}: {behavior!r}, {close!r}, {code!r} is no result of a case"
        )
    return Result(behavior, close, code)


def is_allowed(case: str, behavior: str) -> bool:
    """Tells whether this behaviour is good enough for this case."""
    return behavior in GOOD or (behavior == "NON-STRICT" and case in NON_STRICT_ALLOWED)


def judge(results: Mapping[str, Result], expected: Iterable[str] | None = None) -> list[str]:
    """Returns what breaks the rule, one line a finding; nothing if all is well.

    Args:
        results: What the suite said.
        expected: The cases that were to run. A run that broke off has too few of them, each of which looks
            good. None means that whatever ran is all that was to run.
    """
    return list(_findings(results, set(results) if expected is None else set(expected)))


def _findings(results: Mapping[str, Result], expected: set[str]) -> Iterator[str]:
    if not expected:
        yield "no case was run"
    for case in sorted(expected | set(results), key=order):
        result = results.get(case)
        if result is None:
            yield f"{case}: has no result"
        elif case not in expected:
            yield f"{case}: was not asked for"
        else:
            if not is_allowed(case, result.behavior):
                yield f"{case}: {result.behavior} (close {result.close_code})"
            if result.close not in GOOD:
                yield f"{case}: ended {result.close} (close {result.close_code})"


def main() -> int:
    """Prints the findings of one index.json. Returns 1 if there are any, 2 if it is no such file."""
    if len(sys.argv) != 2:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    try:
        results = read_index(Path(sys.argv[1]))
    except (NotAnIndexError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    findings = judge(results)
    for finding in findings:
        sys.stdout.write(f"{finding}\n")
    sys.stdout.write(f"{len(results)} cases, {len(findings)} findings\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
