"""Live prices: every change is heard, also those of a time without a connection."""

from __future__ import annotations

import pytest

import support
from browser import Tab
from examples.conftest import Begin, Visit, address
from wse_client import SubscriptionError, SyncClient


def test_a_client_hears_each_change_of_an_instrument(begin: Begin, free_port: int) -> None:
    begin("prices/main.py", "--port", free_port, "--rate", 1000).wait_for_port(free_port)
    with SyncClient(f"ws://127.0.0.1:{free_port}/wse", proxy=None) as client:
        with client.subscribe("price:AKX") as changes:
            numbers = [next(changes).payload["n"] for _ in range(5)]
        assert numbers == list(range(numbers[0], numbers[0] + 5))
        for topic in ("price:NONE", "price:*"):
            with pytest.raises(SubscriptionError, match="NOT_ALLOWED"), client.subscribe(topic):
                pass


@pytest.mark.browser
def test_the_table_goes_on_after_a_cut_and_misses_nothing(begin: Begin, visit: Visit, free_port: int) -> None:
    program = begin("prices/main.py", "--port", free_port, "--rate", 200)
    program.wait_for_port(free_port)
    tab = visit(address(program.wait_for_line("http://")))
    tab.wait(lambda page: len(page.all("#prices tr")) == 100, "a hundred instruments")
    tab.wait_for_more("#changes", 50)
    tab.click("#cut")
    tab.wait(lambda page: page.text("#state").startswith("back in"), "cut")
    tab.wait(lambda page: page.text("#state") == "live", "and back")
    tab.wait_for_more("#caught", 20)
    tab.wait_for_more("#changes", tab.number("#changes") + 100)
    assert tab.number("#missed") == 0
    tab.pictures("prices")
    tab.picture("docs-prices", size=(860, 560))  # as in docs/images

    tab.write("#filter", "b")
    assert visible(tab) == [f"B{letter}X" for letter in "KLMNOPQRST"]


def visible(tab: Tab) -> list[str]:
    """The instruments that are shown."""
    return [text for text in tab.texts("#prices tr:not([hidden]) td:first-child") if text]


@pytest.mark.browser
def test_after_a_restart_the_table_begins_anew(begin: Begin, visit: Visit, free_port: int) -> None:
    first = begin("prices/main.py", "--port", free_port, "--rate", 200, "--seed", 1)
    first.wait_for_port(free_port)
    tab = visit(f"http://127.0.0.1:{free_port}/")
    tab.wait_for_more("#changes", 50)
    assert first.stop() == 0
    second = begin("prices/main.py", "--port", free_port, "--rate", 0.01, "--seed", 2)
    second.wait_for_port(free_port)
    with SyncClient(f"ws://127.0.0.1:{free_port}/wse", proxy=None) as client:
        client.send({"t": "prices.all"})
        expected = f"{next(iter(client)).payload[50]['price']:.2f}"
    shown = "#prices tr:nth-child(51) td:nth-child(2)"
    support.wait_until(lambda: tab.text(shown) == expected, "the prices of the second", 30)
