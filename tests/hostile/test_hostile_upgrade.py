"""Whoever attacks before the upgrade gets an answer, or the end, and nobody else notices."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

import pytest

from hostile import attacks_on_upgrade as attacks
from hostile.stage import KIB, RECORD, lasting, scaled, stage

pytestmark = pytest.mark.alone

HEAD = 16 * KIB
"""Bytes of an unfinished request that are kept at the most."""


def test_a_header_that_never_ends_is_answered_408(pool: ProcessPoolExecutor) -> None:
    count = scaled(500)
    with stage(pool) as it:
        ended, seen = it.under(attacks.slow_header, count)
        assert ended == {"HTTP 408": count}
        it.check(seen, memory=count * (RECORD + KIB))


@pytest.mark.parametrize("kind", ["one", "small", "endless"])
def test_too_much_header_is_answered_431(pool: ProcessPoolExecutor, kind: str) -> None:
    count = scaled(200)
    with stage(pool) as it:
        ended, seen = it.under(attacks.header_bombs, count, lasting(0.7), kind)
        assert list(ended) == ["HTTP 431"]
        it.check(seen, memory=count * (RECORD + HEAD))


@pytest.mark.parametrize("kind", ["random", "tls", "http2", "zeros"])
def test_what_is_no_http_is_answered_400(pool: ProcessPoolExecutor, kind: str) -> None:
    count = scaled(300)
    with stage(pool) as it:
        ended, seen = it.under(attacks.garbage, count, lasting(0.7), kind)
        assert list(ended) == ["HTTP 400"]
        it.check(seen, memory=count * (RECORD + HEAD))


def test_ten_thousand_that_never_finish_the_upgrade(pool: ProcessPoolExecutor) -> None:
    count = scaled(10_000)
    with stage(pool, handshake_timeout=3.0) as it:
        ended, seen = it.under(attacks.never_finish, count)
        assert ended == {"HTTP 408": count}
        it.check(seen, memory=count * (RECORD + KIB))
