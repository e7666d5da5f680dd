"""Who attacks with what clients may do themselves is answered, slowed down or cut; nobody else notices."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

from hostile import attacks_on_commands as attacks
from hostile.stage import ALLOCATOR, KIB, MIB, OPTIONS, OVERSHOOT, RECORD, lasting, scaled, stage

pytestmark = pytest.mark.alone

OUTBOUND = OPTIONS["max_outbound_total_bytes"] + OVERSHOOT + ALLOCATOR
"""What clients that do not read may cost together."""
HISTORY = 8 * MIB
ALLOWED: dict[str, Any] = {
    "client_subscriptions": True,
    "client_publish": True,
    "max_subscriptions_per_connection": 1000,
    "recovery_enabled": True,
    "recovery_memory_budget": HISTORY,
    # Without a limit on their number: what is tested is what each of them costs.
    "rate_limit_capacity": 1e9,
    "rate_limit_refill": 1e9,
}
SUBSCRIPTION = KIB
"""Bytes of a topic with one subscriber, its name and its lists included, beside its history."""


@pytest.mark.parametrize("reading", [True, False], ids=["read", "not read"])
def test_a_flood_of_mistakes_is_answered_or_its_clients_are_cut(
    pool: ProcessPoolExecutor, reading: bool
) -> None:
    count = scaled(100)
    with stage(pool, **ALLOWED) as it:
        ended, seen = it.under(attacks.mistakes, count, lasting(2.0), reading=reading)
        # On a busy machine some do not get that far, and are found to be silent instead.
        assert set(ended) <= ({"open", "close 4408"} if reading else {"close 4408", "close 4410", "reset"})
        assert it.node.call("health_snapshot")["messages_received"] > count * 100
        it.check(seen, memory=OUTBOUND + count * RECORD)


def test_mistakes_at_the_end_of_long_commands_delay_nobody(pool: ProcessPoolExecutor) -> None:
    count, size = scaled(50), OPTIONS["max_message_size"]
    with stage(pool, **ALLOWED) as it:
        ended, seen = it.under(attacks.long_mistakes, count, size, lasting(2.0))
        assert ended == {"open": count}
        it.check(seen, memory=count * (RECORD + 2 * size) + OVERSHOOT)


def test_clients_that_come_to_a_thousand_topics_and_go_again_leave_nothing(pool: ProcessPoolExecutor) -> None:
    count, topics = scaled(30), 1000
    with stage(pool, **ALLOWED) as it:
        ended, seen = it.under(attacks.coming_and_going, count, topics, lasting(2.0))
        assert set(ended) <= {"open", "close 4408"}
        it.check(seen, memory=OUTBOUND + HISTORY + topics * SUBSCRIPTION + count * (RECORD + topics * 64))


def test_topics_that_are_ever_new_stay_within_the_budget_of_histories(pool: ProcessPoolExecutor) -> None:
    count = scaled(30)
    with stage(pool, **ALLOWED) as it:
        ended, seen = it.under(attacks.ever_new_topics, count, 100, lasting(2.0))
        assert set(ended) <= {"open", "close 4408"}
        health = it.node.call("health_snapshot")
        assert 0 < health["recovery_total_bytes"] <= HISTORY
        it.check(seen, memory=OUTBOUND + HISTORY + count * (RECORD + 64 * SUBSCRIPTION))


@pytest.mark.parametrize("size", [10, 50_000])
@pytest.mark.parametrize("reading", [True, False], ids=["read", "not read"])
@pytest.mark.parametrize("recovery", [True, False], ids=["history", "no history"])
def test_a_crowd_that_shouts_at_itself_delays_nobody_else(
    pool: ProcessPoolExecutor, size: int, reading: bool, recovery: bool
) -> None:
    count = scaled(30)
    with stage(pool, **ALLOWED | {"recovery_enabled": recovery}) as it:
        _, seen = it.under(attacks.shouting, count, size, lasting(2.0), reading=reading)
        assert it.node.call("health_snapshot")["messages_received"] > 2 * count
        it.check(seen, memory=OUTBOUND + HISTORY + count * (RECORD + 128 * KIB))
