"""The tutorial, typed and clicked through: its pieces in their order, in two windows of a browser."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import browser as browsers
from browser import Tab
from documents import block, every_block
from support import Program, free_port

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not (browsers.CHROMIUM and browsers.DRIVER), reason=browsers.MISSING),
]


class Chat:
    """The files as the tutorial has them, but for the ports, and how they are served."""

    def __init__(self, directory: Path) -> None:
        self.port, wse = free_port(), free_port()
        self._directory = directory
        (directory / "web").mkdir()
        for file, code in {
            "main.py": "\n\n".join(every_block("docs/tutorial/chat.md", "python")),
            "web/index.html": "".join(every_block("docs/tutorial/chat.md", "html")),
            "web/chat.js": "\n".join(every_block("docs/tutorial/chat.md", "javascript")),
        }.items():
            (directory / file).write_text(code.replace("5007", str(wse)))

    def serve(self, command: str) -> Program:
        """Types a command that begins with `bin/uvicorn`."""
        program, *arguments = shlex.split(command.strip().removeprefix("$ cd ~/chat && ").removeprefix("$ "))
        assert program == "bin/uvicorn"
        served = Program("-m", "uvicorn", *arguments, "--port", str(self.port), "--app-dir", self._directory)
        served.wait_for_port(self.port)
        return served


@pytest.fixture
def windows(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Tab]]:
    """Opens windows of a browser."""
    driver = browsers.start(tmp_path_factory.mktemp("chromium"))
    yield lambda url: Tab(driver, url, repository / "build" / "screenshots")
    driver.quit()


def says(tab: Tab, text: str) -> None:
    tab.write("input", text, enter=True)


def reads(tab: Tab, *lines: str) -> None:
    """Waits until exactly these lines stand there."""
    tab.wait(lambda tab: tab.texts("#said li") == list(lines), f"{lines}")


def sees(tab: Tab, state: str, people: str) -> None:
    tab.wait(lambda tab: (tab.text("#state"), tab.text("#people")) == (state, people), f"{state}: {people}")


def comes_back(tab: Tab, *, late: bool) -> None:
    """Has a page draw the longest or the shortest of the delays that it would draw by lot."""
    tab.run(f"Math.random = () => {int(late)}")


def test_the_tutorial_goes_as_it_says(windows: Callable[[str], Tab], tmp_path: Path) -> None:
    chat = Chat(tmp_path)
    first = chat.serve(block("docs/tutorial/chat.md", "cd ~/chat && bin/uvicorn", "console"))
    with first:
        ann, bob = (windows(f"http://localhost:{chat.port}/?name={name}") for name in ("Ann", "Bob"))
        for tab in (ann, bob):
            sees(tab, "open", "Ann, Bob")
        says(ann, "hello")
        for tab in (ann, bob):
            reads(tab, "Ann: hello")

        comes_back(ann, late=True)
        ann.click("#cut")
        ann.wait(lambda tab: tab.text("#state") == "waiting", "it is cut")
        sees(bob, "open", "Bob")
        says(bob, "are you there?")
        reads(ann, "Ann: hello", "Bob: are you there?")
        sees(ann, "open", "Ann, Bob")
        comes_back(ann, late=False)
        comes_back(bob, late=False)
        ann.picture("tutorial-ann")
        bob.picture("tutorial-bob")
        assert first.stop() == 0, first.output

    for tab in (ann, bob):
        tab.wait(lambda tab: tab.text("#state") in {"waiting", "connecting"}, "the server is gone")
    with chat.serve(block("docs/tutorial/chat.md", "$ bin/uvicorn", "console")) as second:
        for tab in (ann, bob):
            sees(tab, "open", "Ann, Bob")
            reads(tab, "Ann: hello", "Bob: are you there?", "(what was said meanwhile is lost)")
        says(bob, "here again")
        for tab in (ann, bob):
            tab.wait(lambda tab: tab.texts("#said li")[-1] == "Bob: here again", "the chat goes on")
            assert tab.complaints() == []
        ann.picture("tutorial-ann-again")
        bob.picture("tutorial-bob-again")
        assert second.stop() == 0, second.output
    assert "Traceback" not in first.output + second.output
