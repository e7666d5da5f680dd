"""A real Prometheus on the files of deploy/prometheus."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.monitoring import PROMETHEUS
from support import HOST, free_port, wait_until

TARGETS = '["10.0.0.1:5007", "10.0.0.2:5007", "10.0.0.3:5007"]'


class Prometheus:
    """A running Prometheus with the configuration of this repository."""

    def __init__(self, port: int) -> None:
        self._address = f"http://{HOST}:{port}"

    def ask(self, path: str, **query: str) -> Any:  # noqa: ANN401 - as the API answers
        """What its HTTP API answers, or None while it does not."""
        url = f"{self._address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def values(self, expression: str) -> dict[str, float]:
        """The values of an expression, by instance."""
        data = self.ask("query", query=expression)
        return {row["metric"]["instance"]: float(row["value"][1]) for row in data["result"]} if data else {}

    def firing(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The alerts that fire, by name and instance."""
        data = self.ask("alerts") or {"alerts": []}
        return {
            (alert["labels"]["alertname"], alert["labels"].get("instance", "")): alert
            for alert in data["alerts"]
            if alert["state"] == "firing"
        }


def hundredth(wait: re.Match[str]) -> str:
    return f"for: {int(wait[1]) * {'s': 10, 'm': 600, 'h': 36_000}[wait[2]]}ms"


@contextmanager
def prometheus(directory: Path, targets: list[str]) -> Iterator[Prometheus]:
    """Starts Prometheus on prometheus.yml with other targets, and every wait a hundredth as long."""
    configuration = (PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8")
    assert configuration.count(TARGETS) == 1
    assert configuration.count("_interval: 15s") == 2
    configuration = configuration.replace(TARGETS, json.dumps(targets))
    (directory / "prometheus.yml").write_text(configuration.replace("_interval: 15s", "_interval: 150ms"))
    rules = (PROMETHEUS / "alerts.yml").read_text(encoding="utf-8")
    (directory / "alerts.yml").write_text(re.sub(r"\bfor: (\d+)([smh])\b", hundredth, rules))
    port = free_port()
    arguments = [
        "prometheus",
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={HOST}:{port}",
    ]
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=log, cwd=directory)
    running = Prometheus(port)
    try:
        wait_until(lambda: running.ask("status/runtimeinfo"), "Prometheus answers", timeout=30)
        yield running
    finally:
        process.terminate()
        process.wait(30)
