"""The demo of a cluster: nodes are killed, and the page loses nothing."""

from __future__ import annotations

import re

import pytest

from browser import Tab
from examples.conftest import Begin, Visit, address

pytestmark = pytest.mark.browser


def serving_node(tab: Tab) -> int:
    """The number of the node that serves the page, 0 while there is none."""
    found = re.fullmatch(r"served by node (\d)", tab.text("#state"))
    return int(found[1]) if found else 0


def kill(tab: Tab, number: int) -> None:
    """Presses the button of a node, as soon as that is allowed."""
    button = f"#nodes section:nth-child({number}) button"
    tab.wait(lambda page: page.find(button).is_enabled(), "all nodes are there and keep copies", 30)
    tab.click(button)


def test_killing_the_node_that_serves_the_page_loses_nothing(begin: Begin, visit: Visit) -> None:
    demo = begin("cluster_demo", "--away", 3, "--rate", 40)
    tab = visit(address(demo.wait_for_line("node 1 is up")))
    demo.wait_for_line("Open any of the pages")
    tab.wait_for_more("#messages", 20)
    tab.pictures("cluster")

    for _ in range(2):
        node, reconnections = serving_node(tab), tab.number("#reconnections")
        kill(tab, node)
        demo.wait_for_line(f"node {node} is killed")
        tab.wait_for_more("#reconnections", reconnections, timeout=30)
        tab.wait_for_more("#messages", tab.number("#messages") + 20)
        assert tab.number("#lost") == 0

    assert tab.number("#caught") > 0
    assert not any("gap" in line for line in tab.texts("#log li"))
    tab.pictures("cluster-after")
    tab.picture("docs-cluster-demo", size=(860, 740))  # as in docs/images


def test_a_node_that_does_not_serve_the_page_may_die_too(begin: Begin, visit: Visit) -> None:
    demo = begin("cluster_demo", "--away", 2, "--rate", 40)
    tab = visit(address(demo.wait_for_line("node 2 is up")))
    tab.wait_for_more("#messages", 20)
    kill(tab, 3)
    demo.wait_for_line("node 3 is gone (-9)")
    tab.wait(lambda page: "killed" in page.texts("#nodes p")[2], "the page shows it")
    tab.wait_for_more("#messages", tab.number("#messages") + 40)
    tab.wait(lambda page: page.find("#nodes section:nth-child(3) button").is_enabled(), "it is back", 30)
    assert (serving_node(tab), tab.number("#reconnections"), tab.number("#lost")) == (2, 0, 0)
