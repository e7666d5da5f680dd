"""Fixtures of the examples' tests."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from selenium import webdriver

import browser as browsers
from browser import Tab
from support import Program

Begin = Callable[..., Program]
"""Starts an example by its path under `examples/`, with arguments."""
MEANT = ("a status of 401", "/favicon.ico")
"""What the console may complain of: the answer to who is not logged in, and a page without an icon."""
Visit = Callable[[str], Tab]
"""Opens a page in a tab of its own."""


def address(line: str) -> str:
    """The address in a line, behind which a line of the log may have slipped in before its end."""
    found = re.search(r"http://\w+:\d+/", line)
    assert found, line
    return found[0]


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """One browser for all tests."""
    if not (browsers.CHROMIUM and browsers.DRIVER):
        pytest.skip(browsers.MISSING)
    driver = browsers.start(tmp_path_factory.mktemp("chromium"))
    yield driver
    driver.quit()


@pytest.fixture
def visit(chromium: webdriver.Chrome, repository: Path) -> Iterator[Visit]:
    """Opens pages. When the test is over none of them may have complained."""
    with ExitStack() as tabs:

        def visit(url: str) -> Tab:
            tab = tabs.enter_context(closing(Tab(chromium, url, repository / "build" / "screenshots")))
            opened.append(tab)
            return tab

        opened: list[Tab] = []
        yield visit
        for tab in opened:
            assert [line for line in tab.complaints() if not any(part in line for part in MEANT)] == []
            assert tab.unlabelled() == []


@pytest.fixture
def begin(repository: Path) -> Iterator[Begin]:
    """Starts examples, and ends them with the test as Ctrl-C does."""
    running: list[Program] = []

    def begin(example: str, *arguments: str | Path | int) -> Program:
        program = Program(repository / "examples" / example, *map(str, arguments))
        running.append(program)
        return program

    yield begin
    for program in reversed(running):
        status = program.stop()
        assert status == 0, f"exit status {status}:\n{program.output}"
