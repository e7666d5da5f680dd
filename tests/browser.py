"""A headless Chromium, and pages read by what a person sees."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from support import wait_until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
MISSING = "no Chromium with its driver (Debian: apt-get install chromium-driver)"

DESK = (1100, 800)
PHONE = (390, 844)


def start(profile: Path) -> webdriver.Chrome:
    """Starts a browser that talks to nobody but the pages it is sent to."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (
        "--headless",
        "--no-sandbox",  # CI runs as root
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--window-size={DESK[0]},{DESK[1]}",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(str(DRIVER)))


class Tab:
    """A page in a tab of its own.

    Args:
        browser: The browser.
        url: Where the page is.
        pictures: The directory of screenshots.
    """

    def __init__(self, browser: webdriver.Chrome, url: str, pictures: Path) -> None:
        self._browser = browser
        self._pictures = pictures
        browser.switch_to.new_window("tab")
        self._handle = browser.current_window_handle
        browser.get_log("browser")  # type: ignore[no-untyped-call]
        browser.get(url)

    def _front(self) -> webdriver.Chrome:
        if self._browser.current_window_handle != self._handle:
            self._browser.switch_to.window(self._handle)
        return self._browser

    def find(self, selector: str) -> WebElement:
        """The first element that a CSS selector means."""
        return self._front().find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        """All of them."""
        return self._front().find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """What an element shows."""
        return str(self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def texts(self, selector: str) -> list[str]:
        """What each of the elements shows."""
        script = "return [...document.querySelectorAll(arguments[0])].map((each) => each.innerText.trim())"
        return list(self.run(script, selector))

    def number(self, selector: str) -> int:
        """The number that an element shows."""
        return int(self.text(selector).replace(",", "") or 0)

    def click(self, selector: str) -> None:
        """Presses what a CSS selector means, as a finger does."""
        self.find(selector).click()

    def write(self, selector: str, text: str, *, enter: bool = False) -> None:
        """Types into a field."""
        field = self.find(selector)
        field.clear()
        field.send_keys(text, *([Keys.ENTER] if enter else []))

    def run(self, script: str, *arguments: Any) -> Any:  # noqa: ANN401 - whatever it returns
        """Runs a piece of JavaScript in the page."""
        return self._front().execute_script(script, *arguments)

    def reload(self) -> None:
        """Loads the page anew."""
        self._front().refresh()

    def wait(self, probe: Callable[[Tab], Any], what: str, timeout: float = 20.0) -> None:
        """Waits until something about the page is true."""
        wait_until(lambda: probe(self), what, timeout)

    def wait_for_more(self, selector: str, number: int, timeout: float = 20.0) -> None:
        """Waits until an element shows a number above this one."""
        wait_until(lambda: self.number(selector) > number, f"more than {number} in {selector}", timeout)

    def complaints(self) -> list[str]:
        """What the console has of errors, without those of connections that were cut on purpose."""
        log = self._front().get_log("browser")  # type: ignore[no-untyped-call]
        lines = [line["message"] for line in log if line["level"] == "SEVERE"]
        return [line for line in lines if "WebSocket connection to" not in line]

    def picture(self, name: str, *, size: tuple[int, int] = DESK, dark: bool = False) -> None:
        """Takes a screenshot, and sees to it that nothing sticks out of the window."""
        browser = self._front()
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        try:
            # Drawn once more before the picture is taken.
            browser.execute_async_script("requestAnimationFrame(() => setTimeout(arguments[0], 150))")
            width = self.run("return document.documentElement.scrollWidth")
            assert width <= size[0], f"{name}: {width} pixels wide in a window of {size[0]}"
            self._pictures.mkdir(parents=True, exist_ok=True)
            assert browser.save_screenshot(str(self._pictures / f"{name}.png"))
        finally:
            browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

    def pictures(self, name: str) -> None:
        """Takes it as it is on a desk and on a phone, light and dark."""
        self.picture(name)
        self.picture(f"{name}-dark", dark=True)
        self.picture(f"{name}-phone", size=PHONE)
        self.picture(f"{name}-phone-dark", size=PHONE, dark=True)

    def unlabelled(self) -> list[str]:
        """The fields, buttons and links that have no name for who can't see them."""
        script = """
            const label = (each) => each.getAttribute("aria-label") || each.labels?.[0]?.innerText;
            const all = document.querySelectorAll("button, input, select, textarea, a");
            return [...all].filter((it) => !(label(it) || it.innerText)?.trim()).map((it) => it.outerHTML);
        """
        return list(self.run(script))

    def close(self) -> None:
        """Closes the tab, and leaves the browser with another one."""
        self._front().close()
        self._browser.switch_to.window(self._browser.window_handles[0])
