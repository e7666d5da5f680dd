"""Whatever happens to the wire and the server: each message is read once and in order, or told as missing."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from client.world import World

TOPICS = ["a", "b"]
Step = tuple[str, Any]

STEPS: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from(TOPICS)),
    st.tuples(st.just("publish"), st.sampled_from(TOPICS)),
    st.tuples(st.just("client_publishes"), st.sampled_from(TOPICS)),
    st.tuples(st.just("carry_up"), st.integers(1, 4)),
    st.tuples(st.just("carry_down"), st.integers(1, 4)),
    st.tuples(st.just("carry_down"), st.integers(1, 4)),
    st.tuples(st.just("cut"), st.sampled_from([None, 1011, 1012, 4300, 4408, 4410])),
    st.tuples(st.just("pass_time"), st.sampled_from([0.01, 0.4, 3.0, 30.0])),
    st.tuples(st.just("read"), st.integers(1, 3)),
    st.tuples(st.just("fall_behind"), st.sampled_from(TOPICS)),
    st.tuples(st.just("restart"), st.none()),
    st.tuples(st.just("change_epoch"), st.tuples(st.sampled_from(TOPICS), st.booleans())),
)


def begin(world: World) -> None:
    """Subscribes to all topics and waits for the answer."""
    for topic in TOPICS:
        world.subscribe(topic)
    world.carry_up()
    world.carry_down()
    world.carry_up()
    world.carry_down()
    assert all(feed.is_ready for feed in world.feeds.values())


def do(world: World, step: Step) -> None:
    what, argument = step
    match what:
        case "publish":
            world.model.publish(argument)
        case "client_publishes":
            world.publish(argument)
        case "read":
            for topic in TOPICS:
                world.read(topic, argument)
        case "fall_behind":
            world.model.fall_behind(argument)
        case "restart":
            world.restart()
        case "change_epoch":
            topic, is_known = argument
            world.model.change_epoch(topic, is_known=is_known)
        case _:
            getattr(world, what)(argument)


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.lists(STEPS, max_size=60))
def test_each_message_is_read_once_and_in_order_or_told_exactly(seed: int, steps: list[Step]) -> None:
    world = World(seed)
    begin(world)
    for step in steps:
        do(world, step)
    world.calm_down()
    world.judge()


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(STEPS, max_size=40))
def test_an_application_that_begins_before_there_is_a_connection_misses_nothing_after_the_answer(
    steps: list[Step],
) -> None:
    world = World()
    for topic in TOPICS:
        world.subscribe(topic)
    for step in steps:
        if step[0] != "read":
            do(world, step)
    world.carry_all()
    for topic, feed in world.feeds.items():
        began = feed.tracks[topic].began
        assert began is not None
        world.oracle(topic).begins_after(began)
    world.calm_down()
    world.judge()


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(STEPS, max_size=50), limit=st.integers(300, 3000))
def test_a_reader_that_is_too_slow_is_told_exactly_what_made_room(steps: list[Step], limit: int) -> None:
    world = World(receive_buffer_bytes=limit, overflow="drop_oldest")
    begin(world)
    for step in steps:
        do(world, step)
        for feed in world.feeds.values():
            assert feed.inbox.bytes <= max(limit, 400)
    world.calm_down()
    world.judge()


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(STEPS, max_size=40),
    resent=st.lists(st.sampled_from(TOPICS), min_size=1, max_size=10),
    place=st.integers(0, 40),
)
def test_what_is_to_be_sent_again_is_published_in_the_end(
    steps: list[Step], resent: list[str], place: int
) -> None:
    world = World()
    begin(world)
    for step in steps[:place]:
        do(world, step)
    for topic in resent:
        world.publish(topic, resend=True)
    wanted = world.publications[-len(resent) :]
    for step in steps[place:]:
        do(world, step)
    world.calm_down()
    world.judge()
    assert [publication.error for publication in wanted] == [None] * len(resent)
