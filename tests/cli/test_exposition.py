"""The reader of metrics against the library of Prometheus, and with what neither has seen."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from support import Running
from wse_server.cli.exposition import Sample, parse

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,20}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.floats(allow_nan=False) | st.integers(-(2**40), 2**40).map(float)


def theirs(text: str) -> list[Sample]:
    return [
        Sample(sample.name, dict(sample.labels), float(sample.value))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def same(first: list[Sample], second: list[Sample]) -> bool:
    def key(sample: Sample) -> tuple[str, list[tuple[str, str]], float]:
        return sample.name, sorted(sample.labels.items()), sample.value

    return sorted(map(key, first)) == sorted(map(key, second))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS, VALUES), max_size=5), st.lists(VALUES, max_size=5), TEXTS)
def test_what_the_library_writes_is_read_as_the_library_reads_it(
    labelled: list[tuple[str, str, float]], observed: list[float], text: str
) -> None:
    registry = CollectorRegistry()
    gauge = Gauge("a_gauge", text, ["first", "second"], registry=registry)
    counter = Counter("a_counter", "count", ["topic"], registry=registry)
    histogram = Histogram("a_histogram", "spread", registry=registry)
    for first, second, value in labelled:
        gauge.labels(first, second).set(value)
        counter.labels(first).inc(abs(value))
    for value in observed:
        histogram.observe(value)
    page = generate_latest(registry).decode()
    found = list(parse(page))
    assert same(found, theirs(page))
    assert len(found) >= len({(first, second) for first, second, _ in labelled})


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NAMES, st.dictionaries(NAMES, TEXTS, max_size=3), VALUES), max_size=5))
def test_lines_of_any_names_are_read_as_the_library_reads_them(
    lines: list[tuple[str, dict[str, str], float]],
) -> None:
    def escaped(text: str) -> str:
        return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')

    page = ""
    for name, labels, value in lines:
        inner = ",".join(f'{label}="{escaped(text)}"' for label, text in labels.items())
        page += f"{name}{{{inner}}} {value!r}\n" if labels else f"{name} {value!r}\n"
    assert list(parse(page)) == [Sample(*line) for line in lines]
    if not any("__" in name[:2] for _, labels, _ in lines for name in labels):
        assert same(list(parse(page)), theirs(page))


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_no_page_is_too_strange_for_it(text: str) -> None:
    for sample in parse(text):
        assert isinstance(sample.value, float)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a 1", [("a", {}, 1.0)]),
        ("a  1  1395066363000", [("a", {}, 1.0)]),
        ('a{b="c",} 1', [("a", {"b": "c"}, 1.0)]),
        ('a{ b = "}" , c="\\"{x}\\\\" } +Inf', [("a", {"b": "}", "c": '"{x}\\'}, math.inf)]),
        ("a{} -Inf", [("a", {}, -math.inf)]),
        ("# TYPE a gauge", []),
        ("a one", []),
        ("a 1_000", []),
        ('a{b="c} 1', []),
        ('a{b="c" d="e"} 1', []),
        ("a", []),
        ("1a 1", []),
    ],
)
def test_a_line_is_read_or_passed_over(line: str, expected: list[tuple[str, dict[str, str], float]]) -> None:
    assert list(parse(line)) == expected


def test_the_page_of_a_server_is_read_whole(running: Running) -> None:
    page = running.server.prometheus_metrics()
    found = list(parse(page))
    assert same(found, theirs(page))
    assert len(found) == sum(1 for line in page.splitlines() if line and not line.startswith("#"))
