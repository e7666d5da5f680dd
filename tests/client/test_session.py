"""What a client does when the server says this or that, without a network."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from client.world import World
from wse_client import (
    AuthenticationError,
    ClosedError,
    ConnectError,
    Disconnected,
    DroppedError,
    FellBehindError,
    Gap,
    GapCause,
    Message,
    OutcomeUnknownError,
    Position,
    QueueFullError,
    RefusedError,
    SubscriptionError,
    Trouble,
)
from wse_client.actions import FetchToken, State
from wse_client.feeds import Feed
from wse_client.inbox import Item
from wse_client.outbox import Stage


def connected(**options: Any) -> World:
    world = World(**options)
    world.carry_up()
    world.carry_down()
    assert world.is_in(State.OPEN)
    return world


def say(world: World, kind: str, cid: str | None = None, **p: Any) -> None:
    word: dict[str, Any] = {"c": "WSE", "t": kind, "p": p, "v": 1}
    world.session.handle_frame(world.now, json.dumps(word if cid is None else word | {"cid": cid}))
    world.settle()


def last_delay(world: World) -> float | None:
    return next(event.retry_in for event in reversed(world.events) if isinstance(event, Disconnected))


def items(feed: Feed) -> list[Item]:
    return list(iter(feed.inbox.take, None))


def token(expires: int) -> str:
    claims = (
        base64.urlsafe_b64encode(json.dumps({"sub": "ann", "exp": expires}).encode()).decode().rstrip("=")
    )
    return f"e30.{claims}.c2ln"


# ---- Coming back ----


@pytest.mark.parametrize(
    ("code", "least", "most"), [(1006, 0.5, 3), (1012, 0.5, 5), (4300, 0, 1), (4429, 5, 30), (4999, 1, 3)]
)
def test_it_waits_as_the_table_says(code: int, least: float, most: float) -> None:
    delays = []
    for seed in range(40):
        world = connected(seed=seed)
        world.cut(code)
        delay = last_delay(world)
        assert delay is not None
        delays.append(delay)
    assert least <= min(delays) < max(delays) <= most
    assert max(delays) - min(delays) > (most - least) / 2, "everybody comes back at the same time"


def test_delays_double_up_to_a_minute_and_begin_anew_after_a_connection() -> None:
    world = connected()
    world.refuses = True
    world.cut()
    world.pass_time(2000)
    delays = [event.retry_in for event in world.events if isinstance(event, Disconnected)]
    for count, delay in enumerate(delays):
        assert min(0.5 * 2**count, 30) <= delay <= min(3 * 2**count, 60)
    assert len(delays) > 10
    world.refuses = False
    world.pass_time(61)
    world.carry_all()
    world.cut()
    delay = last_delay(world)
    assert delay is not None
    assert delay <= 3


def test_it_obeys_what_the_server_asks_for_before_it_closes() -> None:
    world = connected()
    say(world, "reconnect", retry_in_ms=12345, reason="update")
    world.cut(4300)
    assert last_delay(world) == 12.345


@pytest.mark.parametrize("code", [1000, 1001, 4403])
def test_it_stays_away_after_a_close_that_says_so(code: int) -> None:
    world = connected()
    feed = world.subscribe("a")
    world.cut(code)
    assert world.is_in(State.CLOSED)
    assert isinstance(world.session.error, ClosedError)
    assert world.session.error.code == code
    assert feed.inbox.error is world.session.error
    with pytest.raises(ClosedError):
        world.session.publish("a", {"t": "x"})


def test_a_client_that_never_connected_gives_up_where_each_server_refuses_it() -> None:
    world = World()
    world.cut()
    for status in (403, 403):
        world.session.handle_dial_error(world.now, "no", status)
        if world.is_in(State.CLOSED):
            break
        world.settle()
    assert isinstance(world.session.error, ConnectError)


def test_a_limit_on_attempts_ends_it() -> None:
    world = connected(max_attempts=3)
    world.refuses = True
    world.cut()
    world.pass_time(100)
    assert isinstance(world.session.error, ConnectError)


def test_a_silent_server_is_asked_and_then_given_up() -> None:
    world = connected(ping_interval=5.0, pong_timeout=2.0)
    world.pass_time(4.9)
    assert not world.up
    world.pass_time(0.2)
    assert json.loads(world.up[0])["t"] == "ping"
    world.carry_up()
    world.carry_down()
    world.pass_time(4.9)
    assert world.is_in(State.OPEN)
    world.pass_time(2.2)
    assert world.hung_up
    assert world.is_in(State.WAITING)


def test_its_own_pause_does_not_count_as_the_servers_silence() -> None:
    world = connected(ping_interval=5.0, pong_timeout=2.0, receive_buffer_bytes=600)
    feed = world.subscribe("a")
    world.carry_up()
    world.carry_down()
    for _ in range(3):
        world.model.publish("a")
    world.carry_down()
    assert world.session.is_full
    world.pass_time(100)
    assert world.is_in(State.OPEN)
    pings = [frame for frame in world.up if json.loads(frame)["t"] == "ping"]
    assert len(pings) >= 15, "the server is told that the client lives"
    items(feed)
    assert not world.session.is_full


def test_a_word_that_can_not_be_understood_ends_the_connection_and_nothing_else() -> None:
    world = connected()
    say(world, "gap", nothing=True)
    assert world.is_in(State.WAITING)
    assert world.hung_up[-1].code == 1002


# ---- Tokens ----


def fetch(world: World) -> bool:
    """Whether a token is asked for now."""
    actions = []
    while (action := world.session.poll_action()) is not None:
        actions.append(action)
    return FetchToken() in actions


def with_provider() -> World:
    world = World.__new__(World)
    world.__init__(token=lambda: "never called here")  # type: ignore[misc]
    return world


def test_a_token_is_fetched_before_the_first_connection_and_before_it_ends() -> None:
    world = with_provider()
    assert world.is_in(State.FETCHING)
    assert world.dialled == []
    world.session.handle_token(world.now, 1_000_000.0, token(1_000_300))
    world.settle()
    assert world.dialled[0].token == token(1_000_300)
    world.carry_up()
    world.carry_down()
    assert world.session.tokens.renew_at == world.now + 240
    world.session.handle_timeout(world.now + 239)
    assert not fetch(world)
    world.session.handle_timeout(world.now + 240)
    assert fetch(world)
    world.session.handle_token(world.now, 1_000_240.0, token(1_009_999))
    world.settle()
    assert json.loads(world.up[-1]) == {"t": "auth_refresh", "p": {"token": token(1_009_999)}}


def test_the_server_may_say_that_the_token_ends() -> None:
    world = with_provider()
    world.session.handle_token(world.now, 0.0, "opaque")
    world.settle()
    world.carry_up()
    world.carry_down()
    say(world, "token_expiring", expires_in=30)
    world.session.handle_timeout(world.now)
    assert fetch(world)


def test_after_a_refusal_another_token_is_fetched_and_the_same_one_ends_it() -> None:
    world = with_provider()
    world.session.handle_token(world.now, 0.0, "first")
    world.settle()
    say(world, "error", code="AUTH_FAILED", message="expired", timestamp="")
    world.cut(4401)
    world.pass_time(10)
    assert world.is_in(State.FETCHING)
    world.session.handle_token(world.now, 0.0, "second")
    world.settle()
    assert world.dialled[-1].token == "second"
    world.cut(4401)
    world.pass_time(10)
    world.session.handle_token(world.now, 0.0, "second")
    assert isinstance(world.session.error, AuthenticationError)


def test_a_token_without_a_provider_is_tried_once() -> None:
    world = World(token="only")
    say(world, "error", code="AUTH_FAILED", message="the token has expired", timestamp="")
    world.cut(4401)
    assert isinstance(world.session.error, AuthenticationError)
    assert "the token has expired" in str(world.session.error)


def test_a_provider_that_fails_is_asked_again() -> None:
    world = with_provider()
    world.session.handle_token_error(world.now, "no network")
    world.settle()
    assert Trouble("TOKEN_UNAVAILABLE", "no network") in world.events
    assert world.is_in(State.WAITING)
    world.pass_time(10)
    assert world.is_in(State.FETCHING)


# ---- Subscriptions ----


def test_a_refused_subscription_ends_with_the_servers_reason() -> None:
    world = connected()
    feed = world.subscribe("secret")
    cid = json.loads(world.up[-1])["cid"]
    why = {"secret": {"code": "NOT_ALLOWED", "message": "the access list does not allow it"}}
    say(
        world,
        "subscription_update",
        cid,
        success_topics=[],
        failed_topics=["secret"],
        errors=why,
        recovery={},
    )
    assert isinstance(feed.inbox.error, SubscriptionError)
    assert feed.inbox.error.topics == ("secret",)
    assert feed.inbox.error.code == "NOT_ALLOWED"


def test_a_pattern_hears_each_message_once_beside_its_topic() -> None:
    world = connected()
    exact, pattern = world.subscribe("room:1"), world.subscribe("room:*")
    world.carry_up()
    world.carry_down()
    world.model.publish("room:1")
    world.model.publish("room:2")
    world.carry_down()
    assert [item.topic for item in items(exact)] == ["room:1"]
    assert [item.topic for item in items(pattern)] == ["room:1", "room:2"]
    world.cut()
    world.model.publish("room:1")
    world.carry_all()
    assert [type(item) for item in items(exact)] == [Message]
    away, *replayed = items(pattern)
    assert away == Gap("room:*", GapCause.NO_HISTORY)
    assert len(replayed) <= 1


def test_an_application_goes_on_from_positions_that_it_kept() -> None:
    world = connected()
    at = [world.model.publish("a") for _ in range(4)]
    feed = world.subscribe("a", positions={"a": at[1]})
    world.carry_up()
    world.carry_down()
    assert [item.position for item in items(feed) if isinstance(item, Message)] == at[2:]


def test_a_message_says_whether_it_was_published_before_the_server_answered() -> None:
    world = connected()
    at = [world.model.publish("a") for _ in range(3)]
    feed = world.subscribe("a", positions={"a": at[0]})
    world.carry_up()
    world.model.publish("a")
    world.carry_down()
    heard = [item for item in items(feed) if isinstance(item, Message)]
    assert [message.is_recovered for message in heard] == [True, True, False]


def test_without_history_one_subscription_gets_everything_and_a_second_is_refused() -> None:
    world = connected(has_history=False)
    feed = world.subscribe("a")
    world.carry_up()
    world.carry_down()
    world.session.handle_frame(world.now, '{"c":"U","t":"n","p":1}')
    (message,) = items(feed)
    assert isinstance(message, Message)
    assert (message.topic, message.position, message.payload) == ("a", None, 1)
    second = world.subscribe("b")
    assert isinstance(second.inbox.error, SubscriptionError)
    assert second.inbox.error.code == "NO_HISTORY"
    world.cut()
    world.carry_all()
    assert items(feed) == [Gap("a", GapCause.NO_HISTORY)]


def test_messages_of_no_subscription_are_the_applications() -> None:
    world = connected()
    for frame in ('{"c":"U","t":"hello","p":1}', "no json", b"\x00\xff", '{"c":"WSE","t":"from_the_future"}'):
        world.session.handle_frame(world.now, frame)
    contents = [item.content for item in iter(world.session.direct.take, None) if isinstance(item, Message)]
    assert contents == [
        {"c": "U", "t": "hello", "p": 1},
        "no json",
        b"\x00\xff",
        {"c": "WSE", "t": "from_the_future"},
    ]


def test_a_hole_in_the_offsets_is_told() -> None:
    world = connected()
    feed = world.subscribe("a")
    world.carry_up()
    world.carry_down()
    epoch = world.model.logs["a"].top.epoch
    for offset in (1, 4):
        world.session.handle_frame(world.now, json.dumps({"tp": "a", "e": epoch, "o": offset, "t": "n"}))
    _, gap, _ = items(feed)
    assert gap == Gap("a", GapCause.HOLE, 2, epoch, 2, 3, Position(epoch, 3))


def test_a_reader_that_falls_behind_may_be_ended() -> None:
    world = connected(overflow="error", receive_buffer_bytes=900)
    feed = world.subscribe("a")
    world.carry_up()
    world.carry_down()
    for _ in range(5):
        world.model.publish("a")
    world.carry_down()
    assert len(items(feed)) == 2
    assert isinstance(feed.inbox.error, FellBehindError)
    assert json.loads(world.up[-1])["p"] == {"action": "unsubscribe", "topics": ["a"]}


def test_what_the_server_refuses_for_its_rate_is_asked_again_or_told() -> None:
    world = connected()
    feed = world.subscribe("a")
    world.publish("a")
    world.publish("a", resend=True)
    world.up.clear()  # All three were refused, and the server does not say which.
    say(world, "error", code="RATE_LIMITED", message="slower", retry_after=2.0, timestamp="")
    world.pass_time(1.9)
    assert not world.up
    world.pass_time(0.2)
    world.carry_all()
    assert feed.is_ready
    told, resent = world.publications
    assert isinstance(told.error, RefusedError)
    assert resent.error is None
    assert resent.position is not None


# ---- Publishing ----


def test_what_is_published_without_a_connection_is_kept_within_its_bytes() -> None:
    world = connected(publish_queue_bytes=1000)
    world.refuses = True
    world.cut()
    for _ in range(3):
        world.publish("a")
    with pytest.raises(QueueFullError, match="publish_queue_bytes, 1000"):
        world.publish("a")
    world.refuses = False
    world.pass_time(10)
    world.carry_all()
    world.judge()
    assert len(world.oracle("a").published) == 3


def test_the_oldest_may_make_room() -> None:
    world = connected(publish_queue_bytes=1000, publish_overflow="drop_oldest")
    world.refuses = True
    world.cut()
    for _ in range(5):
        world.publish("a")
    assert [type(each.error) for each in world.publications] == [
        DroppedError,
        DroppedError,
        *[type(None)] * 3,
    ]


def test_an_answer_that_is_lost_is_not_guessed() -> None:
    world = connected()
    world.publish("a")
    world.carry_up()
    world.cut()
    assert isinstance(world.publications[0].error, OutcomeUnknownError)


def test_what_is_too_large_for_the_server_is_not_sent() -> None:
    world = connected()
    publication = world.session.publish("a", {"t": "n", "p": "x" * 70_000})
    world.settle()
    assert not world.up
    assert isinstance(publication.error, RefusedError)
    assert publication.error.code == "MESSAGE_TOO_LARGE"


def test_closing_sends_what_waits() -> None:
    world = connected()
    world.publish("a")
    world.session.close(world.now)
    world.settle()
    assert world.is_in(State.CLOSING)
    world.carry_up()
    world.carry_down()
    assert world.is_in(State.CLOSED)
    assert world.publications[0].stage is Stage.DONE
    assert world.publications[0].error is None
    assert world.hung_up[-1].code == 1000
