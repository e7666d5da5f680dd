"""No code stands in the documents that nothing runs, unless this file says why."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import documents
from documents import Block

# What is shown rather than run: the wire, output, pictures, and directives for Sphinx.
SHOWN = {"", "json", "text", "{eval-rst}"}

ENGINE = "it takes a container engine; `tests/deploy` runs what it would run"

# page, language, a word of the block, and why no test runs it.
NOT_RUN = [
    ("README.md", "console", "$ make run", "it builds a release; `test_demo.py` runs the demo itself"),
    ("benches/README.md", "sh", "make bench BENCH", "it measures for an hour"),
    ("benches/README.md", "sh", "make bench-python", "it measures for a quarter of an hour"),
    (
        "compliance/README.md",
        "console",
        "$ make autobahn",
        "it takes half an hour; `make test` has the short run",
    ),
    ("compliance/README.md", "console", "autobahn.py cases", "the suite needs a Python 2.7, and minutes"),
    (
        "compliance/README.md",
        "console",
        "judgement.py",
        "it reads a report; `test_autobahn.py` tests it",
    ),
    ("docs/how-to/benchmarks.md", "console", "$ make bench", "it measures for an hour"),
    ("docs/how-to/certificates.md", "sh", "kubectl create secret", "it takes a Kubernetes"),
    ("docs/how-to/deployment.md", "ini", "[Unit]", "it takes a systemd that owns the machine"),
    ("docs/how-to/docker.md", "console", "docker run --rm --publish 127.0.0.1:5007:5007 wse-server", ENGINE),
    ("docs/how-to/docker.md", "console", "docker build --tag my-server", ENGINE),
    ("docs/how-to/docker.md", "console", "docker compose up --build", ENGINE),
    ("docs/how-to/docker.md", "console", "alias wse=", ENGINE),
    ("docs/how-to/docker.md", "console", "--profile monitoring", ENGINE),
    ("docs/how-to/http-api.md", "nginx", "location /api/", "it takes an nginx"),
    ("docs/how-to/load-balancers.md", "console", "nginx -t", "`tests/deploy/test_nginx.py` runs the files"),
    (
        "docs/how-to/load-balancers.md",
        "console",
        "haproxy -c",
        "`tests/deploy/test_haproxy.py` runs the files",
    ),
    (
        "docs/how-to/kubernetes.md",
        "console",
        "kubectl apply",
        "it takes a cluster; `tests/deploy` has its pods",
    ),
    ("docs/how-to/http-api.md", "nginx", "deny all", "it takes an nginx"),
    ("docs/how-to/serve.md", "console", "$ pip install 'wse", "`make wheel-smoke` installs the wheel"),
    ("docs/how-to/serve.md", "console", "$ systemctl reload", "it takes a systemd that owns the machine"),
    ("docs/how-to/reverse-proxies.md", "nginx", "proxy_add_x_forwarded_for", "it takes an nginx"),
    ("docs/how-to/reverse-proxies.md", "nginx", "X-Real-IP", "it takes an nginx"),
    ("docs/how-to/reverse-proxies.md", "nginx", "stream {", "it takes an nginx with certificates"),
    ("docs/tutorial/getting-started.md", "console", "$ make run", "it builds a release"),
    ("docs/topics/coming-from.md", "python", "import socketio", "it is the other side"),
    ("docs/topics/coming-from.md", "python", "from channels", "it is the other side"),
    ("docs/topics/coming-from.md", "javascript", "new Centrifuge(", "it is the other side"),
    ("docs/topics/coming-from.md", "console", "X-API-Key", "it is the other side"),
    ("docs/tutorial/chat.md", "console", "$ make wheel", "`make wheel-smoke` installs the wheel"),
    (
        "docs/tutorial/getting-started.md",
        "console",
        "$ make wheel",
        "`make wheel-smoke` installs the wheel",
    ),
]


# Of these pages `deploy/test_runbooks.py` runs every line, and refuses languages that it can not run.
RUNBOOKS = "docs/runbooks/"


def pages() -> list[str]:
    """Every page with code for its reader."""
    found = [path.relative_to(documents.ROOT).as_posix() for path in (documents.ROOT / "docs").rglob("*.md")]
    readmes = ["README.md", "python/wse_client/README.md", "benches/README.md", "compliance/README.md"]
    return [*sorted(found), *readmes, "CONTRIBUTING.md"]


def calls(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yields the calls of `block` and `every_block` in a test, with their arguments."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if function in {"block", "every_block"}:
            arguments = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            is_plain = len(arguments) == len(node.args) and not node.keywords
            assert is_plain, f"line {node.lineno}: write the arguments of {function} out"
            yield function, [str(argument) for argument in arguments]


def picked(function: str, page: str, word: str = "", language: str = "python") -> list[Block]:
    """The blocks that such a call means."""
    if function == "every_block":
        word, language = "", word or "python"
    return [block for block in documents.read(page) if block.language == language and word in block.code]


@cache
def taken() -> frozenset[Block]:
    """The blocks that some test takes."""
    tests = Path(__file__).parent.rglob("test_*.py")
    return frozenset(
        block
        for test in tests
        if test != Path(__file__)
        for function, arguments in calls(test.read_text(encoding="utf-8"))
        for block in picked(function, *arguments)
    )


def left_over() -> list[str]:
    """The blocks that no test takes and nobody excuses, each with its place and its first line."""
    excused = {
        block for page, language, word, _ in NOT_RUN for block in picked("block", page, word, language)
    }
    run = taken() | excused
    return [
        f"{page}:{block.line}: {block.language}: {block.code.splitlines()[0]}"
        for page in pages()
        for block in documents.read(page)
        if block.language not in SHOWN and block not in run and not page.startswith(RUNBOOKS)
    ]


def test_every_block_of_code_is_run_or_it_is_said_why_not() -> None:
    left = left_over()
    assert not left, "run them in a test, or say in NOT_RUN why not:\n" + "\n".join(left)


@pytest.mark.parametrize(("page", "language", "word", "why"), NOT_RUN, ids=lambda part: str(part)[:30])
def test_an_excuse_is_for_one_block_that_nothing_runs(page: str, language: str, word: str, why: str) -> None:
    found = picked("block", page, word, language)
    assert len(found) == 1
    assert why
    assert found[0] not in taken(), "a test runs it: strike it off the list"


def test_a_block_that_is_new_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    for page in pages():
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / page).write_text((documents.ROOT / page).read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "docs/new.md").write_text("# New\n\n```python\nprint('nobody runs me')\n```\n")
    monkeypatch.setattr(documents, "ROOT", tmp_path)
    assert left_over() == ["docs/new.md:3: python: print('nobody runs me')"]


@pytest.mark.parametrize(
    "call", ["block(PAGE, 'x')", "documents.every_block(f'{x}')", "block('a', word='b')"]
)
def test_a_call_that_can_not_be_read_is_refused(call: str) -> None:
    with pytest.raises(AssertionError, match="line 1: "):
        list(calls(call))
