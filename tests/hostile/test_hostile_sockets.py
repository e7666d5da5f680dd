"""Whoever comes and breaks, stays silent or does not read is let go of, and nobody else notices."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

import pytest

from hostile import attacks_on_sockets as attacks
from hostile import program
from hostile.stage import ALLOCATOR, KIB, OPTIONS, OVERSHOOT, RECORD, lasting, scaled, stage
from support import PATIENCE

pytestmark = pytest.mark.alone


def test_half_open_sockets_are_closed(pool: ProcessPoolExecutor) -> None:
    count = scaled(500)
    with stage(pool) as it:
        ended, seen = it.under(attacks.half_open, count)
        assert ended == {"end": count}
        it.check(seen, memory=count * RECORD)


def test_sockets_that_are_never_closed_are_let_go_of(pool: ProcessPoolExecutor) -> None:
    count = scaled(500)
    with stage(pool) as it:
        gone, seen = it.under(attacks.never_closing, count, 10.0)
        assert gone == count
        it.check(seen, memory=count * (RECORD + KIB))


def test_resets_at_every_stage_leave_nothing_behind(pool: ProcessPoolExecutor) -> None:
    count = scaled(200)
    with stage(pool) as it:
        gone, seen = it.under(attacks.resets, count, lasting(1.5))
        assert gone >= 5 * count
        it.check(seen, memory=count * (RECORD + KIB))


def test_python_may_do_with_a_connection_what_it_likes_while_it_is_reset(pool: ProcessPoolExecutor) -> None:
    count = scaled(200)
    with stage(pool) as it:
        juggling = it.node.begin(program.juggle)
        _, seen = it.under(attacks.resets, count, lasting(2.0))
        it.check(seen, memory=count * (RECORD + KIB))
        assert juggling.result(PATIENCE) > 0


def test_a_storm_of_connections_delays_nobody(pool: ProcessPoolExecutor) -> None:
    count = scaled(200)
    with stage(pool) as it:
        come, seen = it.under(attacks.connect_storm, count, lasting(1.5))
        assert come >= count
        it.check(seen, memory=count * (RECORD + KIB))


def test_subscribers_that_never_read_are_closed_as_too_slow(pool: ProcessPoolExecutor) -> None:
    count = scaled(200)
    with stage(pool, rate=100.0, size=8 * KIB) as it:
        ended, seen = it.under(attacks.never_reading, count, lasting(3.5))
        assert "open" not in ended
        it.check(seen, memory=OPTIONS["max_outbound_total_bytes"] + OVERSHOOT + ALLOCATOR + count * RECORD)
