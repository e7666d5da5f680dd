"""What the tests of the monitoring share: the rules, and a live cluster whose metrics they may name."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from certificates import Authority
from nodes import mesh
from support import Running, start_server
from wire import ask, plain

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy/prometheus"
RUNBOOKS = ROOT / "docs/runbooks"

needs_prometheus = pytest.mark.skipif(
    shutil.which("promtool") is None or shutil.which("prometheus") is None,
    reason="prometheus and promtool are not installed (Debian: apt-get install prometheus)",
)

# A metric that somebody names. The packages are called wse_server and wse_client.
METRIC = re.compile(r"\bwse_(?!server\b|client\b)[a-z0-9_]+")
SELECTOR = re.compile(rf"(?P<metric>{METRIC.pattern})\{{(?P<matchers>[^}}]*)\}}")
MATCHER = re.compile(r'(?P<label>\w+)\s*(?P<operator>=~|!~|!=|=)\s*"(?P<value>[^"]*)"')

OF_PROMETHEUS = {"job", "instance", "cluster", "namespace"}
"""Labels that a target has from the configuration."""


@cache
def alerts() -> list[dict[str, Any]]:
    """All rules, in order."""
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


@dataclass
class Live:
    """What servers told at `/metrics`.

    Attributes:
        labels: The names of all samples, each with the values of its labels.
    """

    labels: dict[str, dict[str, set[str]]] = field(default_factory=dict)

    def add(self, text: str) -> None:
        """Takes a page in."""
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                known = self.labels.setdefault(sample.name, {})
                for label, value in sample.labels.items():
                    known.setdefault(label, set()).add(value)

    def unknown(self, text: str) -> set[str]:
        """The metrics that a text names and no server tells.

        A name that ends in `_` stands for all that begin so.
        """
        return {
            name
            for name in METRIC.findall(text)
            if not any(
                known == name or (name.endswith("_") and known.startswith(name)) for known in self.names()
            )
        }

    def names(self) -> Iterator[str]:
        """The names of samples, and those of the histograms that they belong to."""
        for name in self.labels:
            yield name
            if name.endswith("_bucket"):
                yield name.removesuffix("_bucket")

    def mistakes(self, expression: str) -> list[str]:
        """What an expression names that no server tells: metrics, labels, and the values of labels."""
        found = [f"there is no {name}" for name in sorted(self.unknown(expression))]
        for selector in SELECTOR.finditer(expression):
            known = self.labels.get(selector["metric"], {})
            for matcher in MATCHER.finditer(selector["matchers"]):
                label, value = matcher["label"], matcher["value"]
                if label in OF_PROMETHEUS or value.startswith("$"):
                    continue
                if label not in known:
                    found.append(f"{selector['metric']} has no label {label}")
                elif matcher["operator"] in {"=", "!="} and value not in known[label]:
                    found.append(f"no {selector['metric']} has {label}={value}")
        return found


@contextmanager
def cluster(directory: Path) -> Iterator[list[Running]]:
    """Three nodes with certificates, history, presence and the HTTP API, all of which were used."""
    options: dict[str, Any] = {"recovery_enabled": True, "presence_enabled": True, "api_key": "k" * 32}
    with ExitStack() as running:

        def start(**options: Any) -> Running:
            return running.enter_context(start_server(**options))

        files = Authority(directory).node("a").arguments
        nodes = mesh(start, 3, cluster=files, **options)
        clients = [node.subscriber("news") for node in nodes]
        nodes[0].server.broadcast("news", '{"t":"n"}', wait="stored")
        for client in clients:
            assert client.receive_json()["t"] == "n"
        # Of topics with history only what stays on a node counts as a topic's messages.
        nodes[0].server.broadcast_local("news", "here")
        clients[0].send("hello")
        for path in ("/health", "/ready", "/api/topics", "/nowhere"):
            ask(nodes[0].port, plain("GET", path, "Connection: close"))
        yield nodes


def scrape(nodes: list[Running]) -> Live:
    """What these nodes tell, over HTTP."""
    live = Live()
    for node in nodes:
        live.add(ask(node.port, plain("GET", "/metrics")).body.decode())
    return live


def promtool(*arguments: str | Path) -> str:
    """Runs promtool, which must be content, and returns what it prints."""
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def check_expressions(expressions: dict[str, str], directory: Path) -> None:
    """Lets promtool parse expressions, each with a name for the message."""
    rules = [{"record": f"e{number}", "expr": text} for number, text in enumerate(expressions.values())]
    file = directory / "expressions.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}), encoding="utf-8")
    done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nof {list(expressions)}"
