"""deploy/prometheus, as a real Prometheus takes it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.monitoring import PROMETHEUS, ROOT, Live, alerts, cluster, needs_prometheus, promtool, scrape
from deploy.prometheus import prometheus
from documents import block
from support import HOST, Running, start_server, wait_until

RULE_TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
KUBERNETES = "    kubernetes_sd_configs:\n      - role: pod\n"


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Running]]:
    with cluster(tmp_path_factory.mktemp("authority")) as nodes:
        yield nodes


@pytest.fixture(scope="module")
def live(nodes: list[Running]) -> Live:
    return scrape(nodes)


# ---- The files ----


def test_every_alert_names_what_servers_tell(live: Live) -> None:
    assert {rule["alert"]: live.mistakes(rule["expr"]) for rule in alerts()} == {
        rule["alert"]: [] for rule in alerts()
    }


def test_a_metric_a_label_or_a_value_that_nobody_tells_is_noticed(live: Live) -> None:
    assert live.mistakes("rate(wse_nonsense_total[5m])") == ["there is no wse_nonsense_total"]
    assert live.mistakes('wse_closes_total{reason="1006"}') == ["wse_closes_total has no label reason"]
    assert live.mistakes('wse_closes_total{code="999"}') == ["no wse_closes_total has code=999"]
    assert live.mistakes('wse_closes_total{code="1006", cluster!=""}') == []


def test_every_alert_says_how_bad_it_is_what_it_means_and_where_to_read_on() -> None:
    names = [rule["alert"] for rule in alerts()]
    assert len(set(names)) == len(names)
    for rule in alerts():
        assert rule["labels"]["severity"] in {"page", "ticket"}, rule
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}, rule
        assert rule["annotations"]["runbook_url"].endswith(f"/runbooks/{rule['alert']}.html")


def test_few_alerts_wake_somebody() -> None:
    pages = [rule["alert"] for rule in alerts() if rule["labels"]["severity"] == "page"]
    assert len(pages) <= 15, pages


@cache
def rule_tests() -> list[dict[str, Any]]:
    return [case for file in RULE_TESTS for case in yaml.safe_load(file.read_text())["tests"]]


@pytest.mark.parametrize("name", [rule["alert"] for rule in alerts()])
def test_every_alert_is_tested_where_it_fires_and_where_it_must_not(name: str) -> None:
    def firing(case: dict[str, Any]) -> set[str]:
        samples = [sample for test in case.get("promql_expr_test", []) for sample in test["exp_samples"]]
        return {found for sample in samples for found in re.findall(r'alertname="(\w+)"', sample["labels"])}

    assert any(case["name"].startswith(f"{name} fires ") and name in firing(case) for case in rule_tests())
    assert any(
        case["name"].startswith(f"{name} is quiet ") and name not in firing(case) for case in rule_tests()
    )


@needs_prometheus
@pytest.mark.parametrize("file", RULE_TESTS, ids=lambda file: file.stem)
def test_the_rules_fire_when_they_should_and_not_otherwise(file: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", file)


@needs_prometheus
def test_promtool_takes_the_rules_and_the_configuration() -> None:
    assert f"SUCCESS: {len(alerts())} rules found" in promtool("check", "rules", PROMETHEUS / "alerts.yml")
    assert "SUCCESS: 1 rule files found" in promtool("check", "config", PROMETHEUS / "prometheus.yml")


@needs_prometheus
def test_the_commands_of_the_page_put_them_in_their_place(tmp_path: Path) -> None:
    lines = block("docs/how-to/monitoring.md", "promtool check config", "console").splitlines()
    assert all(line.startswith("$ ") for line in lines)
    script = "\n".join(line[2:].replace("/etc/prometheus", str(tmp_path)) for line in lines)
    done = subprocess.run(
        ["sh", "-ec", script], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "https://docs.internal/wse/runbooks/WseNodeDown.html" in (tmp_path / "alerts.yml").read_text()
    assert '["10.1.1.1:5007", "10.1.1.2:5007", "10.1.1.3:5007"]' in (tmp_path / "prometheus.yml").read_text()


def test_the_page_lists_what_wakes_somebody() -> None:
    page = (ROOT / "docs/how-to/monitoring.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[(\w+)\]\(\.\./runbooks/\1\.md\) \|", page, re.MULTILINE)
    assert listed == [rule["alert"] for rule in alerts() if rule["labels"]["severity"] == "page"]
    tickets = sum(rule["labels"]["severity"] == "ticket" for rule in alerts())
    assert f"\n{tickets} more are tickets" in page


def test_the_page_has_every_metric_and_no_other(live: Live) -> None:
    page = (ROOT / "docs/how-to/monitoring.md").read_text(encoding="utf-8")
    assert live.unknown(page) == set()
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in live.labels}
    assert families <= set(re.findall(r"\bwse_\w+", page[page.index("## Every metric") :]))


def test_the_commands_of_the_page_say_how_a_server_is(nodes: list[Running]) -> None:
    for line in block("docs/how-to/monitoring.md", "wse health", "console").splitlines():
        assert line.startswith("$ wse ")
        arguments = line.removeprefix("$ wse ").replace(":5007", f":{nodes[0].port}").split()
        command = [sys.executable, "-m", "wse_server", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        assert str(nodes[0].port) in done.stdout


# ---- Kubernetes ----


def pod(name: str, *, app: str = "wse", port: str = "websocket", phase: str = "Running") -> dict[str, Any]:
    """A target as the discovery of pods tells it."""
    told = {"namespace": "chat", "pod_name": name, "pod_phase": phase}
    told |= {"pod_label_app": app, "pod_container_port_name": port}
    labels = {f"__meta_kubernetes_{key}": value for key, value in told.items()}
    return {"targets": [f"{HOST}:5007"], "labels": labels}


@needs_prometheus
def test_of_all_pods_the_nodes_are_taken_and_called_by_their_names(tmp_path: Path) -> None:
    # Debian builds its promtool without the discovery itself. What is done with the pods is the same.
    text = (PROMETHEUS / "kubernetes.yml").read_text(encoding="utf-8")
    assert text.count(KUBERNETES) == 1
    pods = [
        pod("wse-0"),
        pod("wse-0", port="cluster"),
        pod("web-1", app="web"),
        pod("wse-1", phase="Failed"),
        pod("wse-2"),
    ]
    file = tmp_path / "kubernetes.yml"
    file.write_text(text.replace(KUBERNETES, f"    static_configs: {json.dumps(pods)}\n"))
    (tmp_path / "alerts.yml").write_text((PROMETHEUS / "alerts.yml").read_text())
    promtool("check", "config", file)
    found = promtool("check", "service-discovery", "--timeout", "500ms", file, "wse")
    kept = [target["labels"] for target in json.loads(found) if target["labels"]]
    assert sorted((it["instance"], it["cluster"], it["namespace"]) for it in kept) == [
        ("wse-0", "chat/wse", "chat"),
        ("wse-2", "chat/wse", "chat"),
    ]


def test_the_pods_of_this_repository_are_taken() -> None:
    manifests = PROMETHEUS.parent / "kubernetes"
    template = yaml.safe_load((manifests / "statefulset.yaml").read_text())["spec"]["template"]
    (container,) = [it for it in template["spec"]["containers"] if it["name"] == "wse"]
    assert template["metadata"]["labels"]["app"] == "wse"
    assert "websocket" in {port["name"] for port in container["ports"]}


def test_the_operator_of_prometheus_gives_the_same_labels() -> None:
    manifests = PROMETHEUS.parent / "kubernetes"
    (endpoint,) = yaml.safe_load((manifests / "service-monitor.yaml").read_text())["spec"]["endpoints"]
    told = [(it["sourceLabels"], it.get("separator"), it["targetLabel"]) for it in endpoint["relabelings"]]
    (job,) = yaml.safe_load((PROMETHEUS / "kubernetes.yml").read_text())["scrape_configs"]
    ours = [
        (it["source_labels"], it.get("separator"), it["target_label"])
        for it in job["relabel_configs"]
        if it.get("target_label") in {"instance", "cluster"}
    ]
    assert told == ours
    services = yaml.safe_load_all((manifests / "services.yaml").read_text())
    # The name of the Service is the job, for which the rules ask.
    chosen = [it["metadata"] for it in services if it["metadata"].get("labels", {}).get("scope") == "nodes"]
    assert [metadata["name"] for metadata in chosen] == ["wse"]


# ---- A real Prometheus ----


@needs_prometheus
def test_a_real_prometheus_scrapes_a_cluster_and_fires_when_a_node_is_gone(tmp_path: Path) -> None:
    with cluster(tmp_path / "authority") as nodes, ExitStack() as alone:
        names = [f"{HOST}:{node.port}" for node in nodes]
        single = alone.enter_context(start_server())
        (tmp_path / "targets").mkdir()
        (tmp_path / "targets/more.yml").write_text(json.dumps([{"targets": [f"{HOST}:{single.port}"]}]))
        with prometheus(tmp_path, names) as running:
            wait_until(lambda: len(running.values('up{job="wse"} == 1')) == 4, "all are scraped", timeout=30)
            assert running.values('wse_cluster_peers{cluster="main"}') == dict.fromkeys(names, 2)
            assert running.values("wse_connections") == dict.fromkeys(names, 1) | {f"{HOST}:{single.port}": 0}
            # Until Prometheus has looked for targets there were none.
            wait_until(lambda: not running.firing(), "four servers that are well", timeout=30)
            nodes[2].close()
            fired = wait_until(running.firing, "an alert", timeout=30)
            assert set(fired) == {("WseNodeDown", names[2])}
            (alert,) = fired.values()
            assert alert["labels"] | {"job": "wse", "severity": "page", "cluster": "main"} == alert["labels"]
            assert alert["annotations"]["summary"] == f"{names[2]} does not answer"
            assert alert["annotations"]["runbook_url"].endswith("/runbooks/WseNodeDown.html")
