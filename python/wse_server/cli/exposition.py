"""The text format of Prometheus (version 0.0.4), read: what `wse top` needs, and tolerant of the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Sample", "parse"]

_LINE = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{(.*)\}\s*|\s)\s*(\S+)(?:\s+-?\d+)?\s*")
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_ESCAPED = re.compile(r"\\(.)")
_MEANT = {"n": "\n"}


class Sample(NamedTuple):
    """One value of a metric.

    Attributes:
        name: The metric, with `_bucket`, `_sum` or `_count` where it is part of a histogram.
        labels: Its labels.
        value: Its value.
    """

    name: str
    labels: dict[str, str]
    value: float


def parse(text: str) -> Iterator[Sample]:
    """Yields what a page of metrics says. Lines that are not understood are passed over.

    Args:
        text: The page.
    """
    # Not `splitlines`: within a label other ends of lines than this one are letters like all others.
    for line in text.split("\n"):
        if line.lstrip().startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        labels = _labels(found[2] or "")
        try:
            value = float(found[3])
        except ValueError:
            continue
        if labels is not None and "_" not in found[3]:
            yield Sample(found[1], labels, value)


def _labels(text: str) -> dict[str, str] | None:
    """The labels between braces, or None if that is not what they are."""
    labels: dict[str, str] = {}
    at = 0
    while at < len(text) and text[at:].strip():
        found = _LABEL.match(text, at)
        if found is None:
            return None
        labels[found[1]] = _ESCAPED.sub(lambda escaped: _MEANT.get(escaped[1], escaped[1]), found[2])
        at = found.end()
    return labels
