"""The demo's page in a real browser: headless Chromium, driven by Selenium.

Screenshots are left in `build/screenshots/` for people to look at.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

import browser
import support

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (browser.CHROMIUM and browser.DRIVER),
        reason=browser.MISSING,
    ),
]


class Page:
    """The demo's page, read by what a person sees."""

    def __init__(self, browser: webdriver.Chrome) -> None:
        self._browser = browser

    def text(self, element: str) -> str:
        """Returns what the element shows."""
        return self._browser.find_element(By.ID, element).text

    def number(self, element: str) -> float:
        """Returns the number that the element begins with, 0 while it shows none."""
        first = self.text(element).split(" ")[0].replace(",", "")
        return float(first) if first[:1].isdigit() else 0.0

    def click(self, label: str) -> None:
        """Presses the button with this label."""
        self._browser.find_element(By.XPATH, f"//button[text()='{label}']").click()

    def save(self, path: Path) -> None:
        """Takes a screenshot."""
        path.parent.mkdir(parents=True, exist_ok=True)
        assert self._browser.save_screenshot(str(path)), path


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A headless Chromium that talks to nobody but the page."""
    driver = browser.start(tmp_path_factory.mktemp("chromium"))
    yield driver
    driver.quit()


def open_demo(chromium: webdriver.Chrome, demo: support.Program) -> Page:
    chromium.get(demo.wait_for_line("  page").split()[-1])
    return Page(chromium)


@pytest.fixture
def demo(free_port: int) -> Iterator[support.Program]:
    with support.Program("-m", "wse_server.demo", "--port", str(free_port)) as program:
        program.wait_for_line("Ctrl-C stops it.")
        yield program


def test_the_page_shows_messages_rate_and_latency(
    chromium: webdriver.Chrome, demo: support.Program, repository: Path
) -> None:
    page = open_demo(chromium, demo)
    support.wait_until(lambda: page.number("messages") >= 40, "40 messages", timeout=30)
    support.wait_until(lambda: 10 <= page.number("rate") <= 30, "a rate near 20 a second", timeout=30)
    support.wait_until(lambda: page.text("latency").endswith(" ms"), "a latency")
    support.wait_until(lambda: page.number("round-trip") > 0, "a round trip")
    assert page.text("state") == "connected"
    assert page.text("missed") == "0"
    assert page.text("log").startswith("{")
    page.save(repository / "build/screenshots/demo.png")


def test_a_faster_ticker_is_shown_without_a_miss(
    chromium: webdriver.Chrome, demo: support.Program, repository: Path
) -> None:
    page = open_demo(chromium, demo)
    support.wait_until(lambda: page.number("messages") > 0, "a first message", timeout=30)
    page.click("200")
    support.wait_until(lambda: page.number("rate") >= 100, "a rate near 200 a second", timeout=30)
    assert page.text("missed") == "0"
    page.save(repository / "build/screenshots/demo-200.png")


def test_the_page_says_when_the_server_has_gone(chromium: webdriver.Chrome, demo: support.Program) -> None:
    page = open_demo(chromium, demo)
    support.wait_until(lambda: page.number("messages") > 0, "a first message", timeout=30)
    assert demo.stop() == 0
    support.wait_until(lambda: page.text("state").startswith("disconnected (1012)"), "a word on the stop")


def test_with_auth_the_printed_address_enters_and_a_bare_one_does_not(
    chromium: webdriver.Chrome, free_port: int, repository: Path
) -> None:
    with support.Program("-m", "wse_server.demo", "--auth", "--port", str(free_port)) as demo:
        page = open_demo(chromium, demo)
        support.wait_until(lambda: page.number("messages") > 0, "a message with the token", timeout=30)

        # Another fragment alone would not load the page again.
        chromium.get("about:blank")
        chromium.get(f"http://localhost:{free_port}/")
        support.wait_until(lambda: page.text("state").startswith("AUTH_REQUIRED"), "a refusal", timeout=30)
        page.save(repository / "build/screenshots/demo-refused.png")
