"""Whoever attacks with frames is closed with a code, or held to a limit, and nobody else notices."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

import pytest

from hostile import attacks_on_frames as attacks
from hostile import program
from hostile.stage import ALLOCATOR, KIB, MIB, OPTIONS, OVERSHOOT, RECORD, lasting, scaled, stage

pytestmark = pytest.mark.alone

REASSEMBLY = 2
"""Bytes of memory for each byte of a message whose pieces come: its buffer grows by doubling."""
OUTBOUND = OPTIONS["max_outbound_total_bytes"] + OVERSHOOT + ALLOCATOR
"""What clients that do not read may cost together."""
INBOUND = 6 * OPTIONS["max_inbound_queue_bytes"]
"""What a full queue may cost: its events, those that the program has taken, the objects that Python makes of
them, and as much again in pages that one thread allocated and another freed, which are used again late."""


def test_clients_that_fall_silent_within_a_header_or_at_once_are_closed_as_idle(
    pool: ProcessPoolExecutor,
) -> None:
    count = scaled(500)
    with stage(pool) as it:
        ended, seen = it.under(attacks.silence, count)
        assert ended == {"close 4410": count}
        it.check(seen, memory=count * RECORD)


def test_frame_headers_that_drip_cost_nobody_anything(pool: ProcessPoolExecutor) -> None:
    count = scaled(500)
    with stage(pool) as it:
        ended, seen = it.under(attacks.dripping_frame_header, count, lasting(2.0))
        assert ended == {"open": count}
        it.check(seen, memory=count * RECORD)


def test_a_frame_that_is_announced_costs_only_what_has_come(pool: ProcessPoolExecutor) -> None:
    count = scaled(500)
    with stage(pool) as it:
        ended, seen = it.under(attacks.slow_body, count, OPTIONS["max_message_size"], 10, lasting(2.0))
        assert ended == {"open": count}
        it.check(seen, memory=count * RECORD)


def test_frames_that_stop_short_of_their_end_are_bounded_by_max_message_size(
    pool: ProcessPoolExecutor,
) -> None:
    count, size = scaled(300), OPTIONS["max_message_size"]
    with stage(pool) as it:
        ended, seen = it.under(attacks.slow_body, count, size, size - 100, lasting(2.0))
        assert ended == {"open": count}
        assert seen.memory > count * size // 2, "the attack has not reached the server"
        it.check(seen, memory=count * (RECORD + REASSEMBLY * size))


def test_random_bytes_for_frames_are_closed_with_1002(pool: ProcessPoolExecutor) -> None:
    count = scaled(500)
    with stage(pool) as it:
        ended, seen = it.under(attacks.garbage_frames, count)
        assert ended == {"close 1002": count}
        it.check(seen, memory=count * (RECORD + KIB))


def test_a_flood_of_pings_whose_pongs_are_never_read_is_cut(pool: ProcessPoolExecutor) -> None:
    count = scaled(300)
    with stage(pool) as it:
        ended, seen = it.under(attacks.ping_flood, count, lasting(2.0), reading=False)
        assert "open" not in ended
        it.check(seen, memory=OUTBOUND + count * RECORD)


def test_floods_of_pings_that_come_again_and_again_do_not_fill_the_log(pool: ProcessPoolExecutor) -> None:
    count = scaled(100)
    with stage(pool) as it:
        _, seen = it.under(attacks.ping_floods, count, lasting(4.0))
        assert it.node.call("health_snapshot")["slow_consumer_drops"] > 0
        it.check(seen, memory=OUTBOUND + count * RECORD)


def test_a_flood_of_pings_whose_pongs_are_read_delays_nobody(pool: ProcessPoolExecutor) -> None:
    count = scaled(100)
    with stage(pool) as it:
        ended, seen = it.under(attacks.ping_flood, count, lasting(2.0), reading=True)
        assert set(ended) <= {"open", "close 4408"}
        it.check(seen, memory=OUTBOUND + count * RECORD)


def test_a_million_fragments_of_one_byte_are_one_message(pool: ProcessPoolExecutor) -> None:
    messages = scaled(1)
    with stage(pool, max_message_size=MIB) as it:
        ended, seen = it.under(attacks.one_byte_fragments, messages, 1_000_000)
        assert ended == {"close 1000": 1}
        assert it.node.do(program.counts)["largest"] == 1_000_000
        it.check(seen, memory=(REASSEMBLY + 2) * MIB)


def test_fragments_beyond_max_message_size_are_closed_with_1009(pool: ProcessPoolExecutor) -> None:
    count = scaled(50)
    with stage(pool) as it:
        ended, seen = it.under(attacks.endless_fragments, count, b"a", attacks.PATIENT)
        assert ended == {"close 1009": count}
        it.check(seen, memory=count * (RECORD + REASSEMBLY * OPTIONS["max_message_size"]))


def test_empty_fragments_without_end_delay_nobody(pool: ProcessPoolExecutor) -> None:
    count = scaled(50)
    with stage(pool) as it:
        ended, seen = it.under(attacks.endless_fragments, count, b"", lasting(2.0))
        assert ended == {"open": count}
        it.check(seen, memory=count * RECORD)


def test_messages_that_inflate_beyond_max_message_size_are_closed_with_1009(
    pool: ProcessPoolExecutor,
) -> None:
    count, size = scaled(200), OPTIONS["max_message_size"]
    # The longest that is let in compressed: inflated it would be a thousand times as much.
    with stage(pool) as it:
        ended, seen = it.under(attacks.inflate_bombs, count, 1000 * size)
        assert ended == {"close 1009": count}
        it.check(seen, memory=count * (RECORD + REASSEMBLY * size))


def test_messages_that_inflate_to_max_message_size_cost_no_more_than_the_queue(
    pool: ProcessPoolExecutor,
) -> None:
    count, size = 20, OPTIONS["max_message_size"]
    with stage(pool) as it:
        ended, seen = it.under(attacks.inflate_flood, count, size, lasting(2.0))
        assert ended == {"open": count}
        assert it.node.do(program.counts)["largest"] == size
        it.check(seen, memory=INBOUND + count * (RECORD + REASSEMBLY * size))


@pytest.mark.parametrize("size", [10, 60_000])
def test_talk_after_a_close_frame_is_heard_by_nobody(pool: ProcessPoolExecutor, size: int) -> None:
    count = scaled(100)
    with stage(pool) as it:
        before = it.node.do(program.counts)
        ended, seen = it.under(attacks.talk_after_close, count, lasting(2.0), size)
        assert ended == {"close 1000": count}
        heard = it.node.do(program.counts)
        assert heard.get("raw", 0) - before.get("raw", 0) <= heard["connect"] - before["connect"] - count
        it.check(seen, memory=count * RECORD)
