"""deploy/grafana/wse.json, read as Grafana would read it, and asked of a real Prometheus.

Grafana itself does not run here. So what is tested is what it goes by: the structure of the file, and that
each query of each panel has an answer.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.monitoring import METRIC, ROOT, Live, check_expressions, cluster, needs_prometheus, scrape
from deploy.prometheus import Prometheus, prometheus
from support import HOST, Running, wait_until

DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/wse.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
SHOWN = [panel for panel in PANELS if panel["type"] != "row"]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
ROWS = [
    "Overview",
    "Traffic",
    "Clients",
    "Memory and back-pressure",
    "Recovery",
    "Cluster",
    "HTTP and handshakes",
]

UNITS = {"short", "none", "s", "bytes", "Bps", "cps", "reqps", "percentunit"}
"""As Grafana calls them: `cps` is a count each second, `percentunit` a part of 1."""

NOT_SHOWN = {"wse_draining"}
"""Metrics that no panel has: of this one `wse_ready` and `wse_draining_clients` say more."""

VARIABLE = re.compile(r"\$\{?(\w+)\}?")


def queries() -> dict[str, str]:
    """The expressions of all panels and marks, by where they are."""
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in SHOWN
        for target in panel["targets"]
    }
    return found | {mark["name"]: mark["expr"] for mark in DASHBOARD["annotations"]["list"]}


def filled_in(text: str) -> str:
    """An expression as Grafana sends it with `All` chosen everywhere."""
    text = text.replace("$__rate_interval", "1m").replace('"$job"', '".*"')
    return text.replace('"$cluster"', '".*"').replace('"$instance"', '".*"')


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("grafana")


@pytest.fixture(scope="module")
def nodes(directory: Path) -> Iterator[list[Running]]:
    with cluster(directory / "authority") as nodes:
        yield nodes


@pytest.fixture(scope="module")
def live(nodes: list[Running]) -> Live:
    return scrape(nodes)


# ---- The structure ----


def test_it_is_a_dashboard_that_takes_its_source_from_whoever_looks() -> None:
    assert DASHBOARD["schemaVersion"] == 39
    assert (DASHBOARD["uid"], DASHBOARD["title"]) == ("wse", "WSE")
    assert "id" not in DASHBOARD, "Grafana gives it one"
    assert "__inputs" not in DASHBOARD, "it can be provisioned as a file"
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert list(variables) == ["datasource", "job", "cluster", "instance"]
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    for name in ("job", "cluster", "instance"):
        assert variables[name]["type"] == "query"
        assert variables[name]["datasource"] == SOURCE
        # A server without the label `cluster` is shown too.
        assert (variables[name]["includeAll"], variables[name]["allValue"]) == (True, ".*")


def test_its_rows_are_those_of_the_documents() -> None:
    assert [panel["title"] for panel in PANELS if panel["type"] == "row"] == ROWS


def test_panels_have_ids_of_their_own_and_do_not_lie_on_each_other() -> None:
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["w"] > 0
        assert place["h"] > 0
        assert 0 <= place["x"] <= 24 - place["w"], panel["title"]
        cells = set(
            itertools.product(
                range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
            )
        )
        assert not cells & taken, panel["title"]
        taken |= cells
    # No holes: each line of the grid is full.
    assert taken == set(itertools.product(range(24), range(max(y for _, y in taken) + 1)))


@pytest.mark.parametrize("panel", SHOWN, ids=lambda panel: str(panel["title"]))
def test_a_panel_says_what_it_shows_in_which_unit(panel: dict[str, Any]) -> None:
    assert panel["type"] in {"timeseries", "stat"}
    assert panel["description"].endswith(".")
    assert panel["datasource"] == SOURCE
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    names = [target["refId"] for target in panel["targets"]]
    assert names == sorted(set(names))
    for target in panel["targets"]:
        assert target["datasource"] == SOURCE
        assert target["legendFormat"], target
        # What a legend names must be left by the expression.
        for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
            by = re.search(r"\bby \(([^)]*)\)", target["expr"])
            assert by is None or label in by[1].replace(" ", "").split(","), target
            assert by or "sum(" not in target["expr"], target


def test_titles_are_told_once_and_what_is_overridden_is_there() -> None:
    titles = [panel["title"] for panel in PANELS]
    assert len(set(titles)) == len(titles)
    for panel in SHOWN:
        legends = [target["legendFormat"] for target in panel["targets"]]
        for override in panel["fieldConfig"]["overrides"]:
            kind, wanted = override["matcher"]["id"], override["matcher"]["options"]
            if kind == "byName":
                assert wanted in legends
            else:
                assert kind == "byRegexp"
                assert any(re.search(wanted.strip("/"), legend) for legend in legends)


def test_every_variable_that_is_used_is_there() -> None:
    known = {variable["name"] for variable in DASHBOARD["templating"]["list"]} | {"__rate_interval", "__all"}
    assert set(VARIABLE.findall(json.dumps(DASHBOARD))) <= known


def test_every_counter_is_asked_for_its_rate() -> None:
    for place, expression in queries().items():
        for counter in re.findall(r"\bwse_\w+_total\b", expression):
            assert re.search(rf"(rate|increase)\({counter}\{{[^}}]*\}}\[", expression), place


# ---- What it asks ----


def test_every_query_names_what_servers_tell(live: Live) -> None:
    mistakes = {place: live.mistakes(query) for place, query in queries().items()}
    assert not any(mistakes.values()), mistakes
    for variable in DASHBOARD["templating"]["list"][1:]:
        assert live.unknown(variable["query"]["query"]) == set()


def test_everything_that_servers_tell_is_shown(live: Live) -> None:
    def family(name: str) -> str:
        return re.sub(r"_(bucket|sum|count)$", "", name)

    asked = {family(name) for query in queries().values() for name in METRIC.findall(query)}
    assert {family(name) for name in live.labels} - asked == NOT_SHOWN


@needs_prometheus
def test_every_query_can_be_read(directory: Path) -> None:
    check_expressions({place: filled_in(query) for place, query in queries().items()}, directory)


@needs_prometheus
def test_every_panel_has_something_to_show(nodes: list[Running], tmp_path: Path) -> None:
    with prometheus(tmp_path, [f"{HOST}:{node.port}" for node in nodes]) as running:
        # Rates take two scrapes.
        wait_until(
            lambda: running.values("count_over_time(wse_uptime_seconds[1m]) >= 3"),
            "three scrapes",
            timeout=30,
        )
        empty = {panel["title"] for panel in SHOWN if not any(answers(running, panel))}
    assert empty == {"Why connections end"}, "nobody has gone"


def answers(running: Prometheus, panel: dict[str, Any]) -> Iterator[bool]:
    """Whether each query of a panel gives anything."""
    for target in panel["targets"]:
        data = running.ask("query", query=filled_in(target["expr"]))
        assert data is not None, f"{panel['title']}: {target['expr']}"
        yield bool(data["result"])
