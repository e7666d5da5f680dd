"""The JavaScript client against the server itself, in Node.js."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.server import Server as FakeServer
from websockets.sync.server import ServerConnection, serve

import javascript
from client.proxy import Proxy
from javascript import Probe
from support import HOST, Running, free_port, wait_until
from wse_server import rust_jwt_encode

pytestmark = pytest.mark.skipif(
    not javascript.command(), reason="no Node.js with WebSockets (20.10 or later)"
)

SECRET = b"a secret that has more than thirty-two bytes"
Factory = Callable[..., Running]


@pytest.fixture
def probe() -> Iterator[Probe]:
    with Probe() as probe:
        yield probe


@pytest.fixture
def serving(server_factory: Factory) -> Factory:
    """Starts a server that lets clients do everything, with history."""
    return lambda **options: server_factory(
        **{"client_subscriptions": True, "client_publish": True, "recovery_enabled": True} | options
    )


def token(user: str = "ann", life: float = 3600, **claims: Any) -> str:
    return rust_jwt_encode({"sub": user, "exp": int(time.time() + life)} | claims, SECRET)


def publish(running: Running, topic: str, *numbers: int) -> None:
    for n in numbers:
        running.server.broadcast(topic, json.dumps({"t": "n", "p": n}))


def cut(running: Running, code: int = 1012) -> None:
    """Ends all connections."""
    for conn_id in running.server.get_connections():
        running.server.disconnect(conn_id, code, "cut")


def test_the_table_of_close_codes_is_the_one_of_the_specification(probe: Probe, repository: Path) -> None:
    probe.close()
    with Probe(soon=False) as plain:
        plain.do("tables")
        told = plain.wait("tables")
    spec = tomllib.loads((repository / "spec" / "codes.toml").read_text())
    backoff = spec["backoff"]
    assert told["backoff"] == {"factor": backoff["factor"], "maxMs": backoff["max_ms"]}
    expected = {
        str(each["code"]): [each["reconnect"], each["min_ms"], each["max_ms"]]
        if "min_ms" in each
        else [each["reconnect"]]
        for each in spec["close"]
    }
    expected["unknown"] = [
        backoff["unknown_reconnect"],
        backoff["unknown_min_ms"],
        backoff["unknown_max_ms"],
    ]
    assert told["closes"] == expected


def test_the_module_needs_nothing_else(repository: Path) -> None:
    code = (repository / "python/wse_server/static/wse.js").read_text()
    assert re.findall(r"^import .*$|\bimport\(|\brequire\(", code, re.MULTILINE) == []
    lines = [line for line in code.splitlines() if re.match(r"\s*[^\s/*]", line)]
    assert len(lines) < 500


def test_messages_come_in_order_and_publications_tell_where_they_stand(
    probe: Probe, serving: Factory
) -> None:
    server = serving()
    probe.open(server.url)
    probe.subscribe("prices", "prices")
    probe.do("publish", name="first", topic="prices", data={"t": "n", "p": 1})
    at = probe.wait("resolved", name="first")["value"]
    publish(server, "prices", 2)
    assert probe.heard(2) == [1, 2]
    assert probe.of("heard")[0]["position"] == at
    assert probe.of("heard")[1]["position"] == {"epoch": at["epoch"], "offset": at["offset"] + 1}
    probe.do("positions", name="prices")
    assert probe.wait("positions")["positions"] == {"prices": {"epoch": at["epoch"], "offset": 2}}
    probe.do("unsubscribe", name="prices")
    wait_until(lambda: server.server.get_topic_subscriber_count("prices") == 0, "unsubscribed")
    probe.do("close")
    assert probe.wait("state", state="closed").get("error") is None
    wait_until(lambda: server.server.get_connection_count() == 0, "gone")


def test_a_client_that_comes_back_gets_what_it_missed_once(probe: Probe, serving: Factory) -> None:
    server = serving()
    probe.open(server.url)
    probe.subscribe("both", "a", "b")
    publish(server, "a", 1)
    probe.heard(1)
    cut(server)
    wait_until(lambda: server.server.get_topic_subscriber_count("a") == 0, "away")
    publish(server, "a", 2, 3)
    publish(server, "b", 4)
    probe.wait("ready", name="both")
    publish(server, "a", 5)
    assert sorted(probe.heard(5)) == [1, 2, 3, 4, 5]
    assert probe.of("gap") == []


def test_what_the_server_no_longer_has_is_told_as_an_exact_gap(probe: Probe, serving: Factory) -> None:
    server = serving(recovery_buffer_size=4)
    probe.open(server.url)
    probe.subscribe("prices", "prices")
    publish(server, "prices", 1)
    probe.heard(1)
    cut(server)
    wait_until(lambda: server.server.get_topic_subscriber_count("prices") == 0, "away")
    publish(server, "prices", *range(2, 12))
    gap = probe.wait("gap")
    assert (gap["topic"], gap["cause"], gap["missed"]) == ("prices", "not_recovered", 10)
    assert (gap["first"], gap["last"], gap["next"]["offset"]) == (2, 11, 11)
    publish(server, "prices", 12)
    assert probe.heard(2) == [1, 12]


def test_after_a_restart_of_the_server_the_gap_says_that_nobody_knows(
    probe: Probe, server_factory: Factory
) -> None:
    port = free_port()
    options = {"client_subscriptions": True, "recovery_enabled": True, "port": port}
    first = server_factory(**options)
    probe.open(first.url)
    probe.subscribe("prices", "prices")
    publish(first, "prices", 1)
    probe.heard(1)
    first.server.stop()
    probe.wait("state", state="waiting", code=1012)
    second = server_factory(**options)
    gap = probe.wait("gap")
    assert (gap["cause"], gap["missed"], gap["first"], gap["last"]) == ("not_recovered", None, 2, None)
    probe.wait("ready", name="prices")
    publish(second, "prices", 2)
    assert probe.heard(2) == [1, 2]


def test_an_offset_that_is_left_out_is_told_as_a_hole(probe: Probe, serving: Factory) -> None:
    server = serving()
    probe.open(server.url)
    probe.subscribe("prices", "prices")
    # A publication that is no JSON object takes an offset and carries no stamp.
    publish(server, "prices", 1)
    server.server.broadcast("prices", "plain text")
    publish(server, "prices", 3)
    gap = probe.wait("gap")
    assert (gap["cause"], gap["first"], gap["last"], gap["missed"]) == ("hole", 2, 2, 1)
    assert probe.heard(2) == [1, 3]


def test_a_position_from_before_is_gone_on_from(probe: Probe, serving: Factory) -> None:
    server = serving()
    publish(server, "prices", 1, 2, 3)
    at = server.server.broadcast("prices", json.dumps({"t": "n", "p": 4}))
    assert at is not None
    probe.open(server.url)
    probe.subscribe("prices", "prices", positions={"prices": {"epoch": at.epoch, "offset": 2}})
    assert probe.heard(2) == [3, 4]


def test_a_pattern_hears_its_topics_and_tells_that_it_has_no_history(probe: Probe, serving: Factory) -> None:
    server = serving()
    probe.open(server.url)
    probe.subscribe("rooms", "room:?.[a]*")
    publish(server, "room:1.[a]", 1)
    publish(server, "room:1.b", 2)
    publish(server, "room:22.[a]", 3)
    publish(server, "room:2.[a]bc", 4)
    assert probe.heard(2) == [1, 4]
    cut(server)
    assert probe.wait("gap")["cause"] == "no_history"


def test_without_history_the_only_subscription_gets_everything(probe: Probe, serving: Factory) -> None:
    server = serving(recovery_enabled=False)
    probe.open(server.url)
    probe.subscribe("news", "news")
    publish(server, "news", 1)
    told = probe.wait("heard")
    assert (told["topic"], told["payload"], told["position"]) == ("news", 1, None)
    cut(server)
    assert probe.wait("gap")["cause"] == "no_history"


def test_what_is_not_allowed_is_refused_and_the_rest_goes_on(probe: Probe, serving: Factory) -> None:
    server = serving(jwt_secret=SECRET)
    probe.open(server.url, options={"token": token(wse_topics={"allow": ["open:*"]})})
    probe.subscribe("open", "open:1")
    probe.do("subscribe", name="secret", topics=["open:2", "secret"])
    error = probe.wait("refused", name="secret")["error"]
    assert (error["code"], error["topics"]) == ("NOT_ALLOWED", ["secret"])
    wait_until(lambda: server.server.get_topic_subscriber_count("open:2") == 0, "all of it has ended")
    probe.do("publish", name="no", topic="secret", data={"t": "n"})
    assert probe.wait("rejected", name="no")["error"]["code"] == "NOT_ALLOWED"
    probe.do("subscribe", name="again", topics=["open:1"])
    assert probe.wait("thrown")["error"]["code"] == "INVALID_SUBSCRIPTION"
    publish(server, "open:1", 1)
    assert probe.heard(1) == [1]


def test_many_topics_and_a_low_rate_limit_take_their_time_and_are_all_heard(
    probe: Probe, serving: Factory
) -> None:
    server = serving(rate_limit_capacity=5.0, rate_limit_refill=20.0)
    probe.open(server.url)
    names = [f"topic:{n}" for n in range(1200)]
    probe.subscribe("all", *names)
    for n in range(12):
        probe.do("publish", name=str(n), topic=f"topic:{n * 100}", data={"t": "n", "p": n})
    assert probe.heard(12) == list(range(12))
    assert probe.of("trouble") == []


def test_presence_is_told_and_can_be_changed(probe: Probe, serving: Factory) -> None:
    server = serving(presence_enabled=True)
    probe.open(server.url)
    probe.subscribe("room", "room", presence={"name": "Ann"})
    told = probe.wait("presence", kind="join")
    assert (told["topic"], told["data"]) == ("room", {"name": "Ann"})
    probe.do("presence", name="away", data={"name": "Ann", "away": True})
    probe.wait("presence", kind="update", userId=told["userId"], data={"name": "Ann", "away": True})
    probe.wait("resolved", name="away")
    # Who comes back shows what was shown last.
    cut(server)
    again = probe.wait("presence", kind="join")
    assert again["data"] == {"name": "Ann", "away": True}


def test_what_is_said_without_a_connection_waits_within_bounds(probe: Probe, serving: Factory) -> None:
    port = free_port()
    url = f"ws://{HOST}:{port}/wse"
    probe.do("open", urls=[url], options={"maxQueueBytes": 2000})
    probe.do("subscribe", name="news", topics=["news"])
    for name in ("one", "two", "three"):
        probe.do("publish", name=name, topic="news", data={"t": "n", "p": name, "fill": "x" * 500})
    assert probe.wait("rejected", name="three")["error"]["code"] == "QUEUE_FULL"
    serving(port=port)
    for name in ("one", "two"):
        probe.wait("resolved", name=name)
    assert probe.heard(2) == ["one", "two"]


def test_a_message_that_the_server_would_not_take_is_not_sent(probe: Probe, serving: Factory) -> None:
    server = serving(max_message_size=4096)
    probe.open(server.url)
    probe.do("publish", name="long", topic="news", data={"t": "n", "p": "x" * 5000})
    assert probe.wait("rejected", name="long")["error"]["code"] == "MESSAGE_TOO_LARGE"
    probe.do("publish", name="short", topic="news", data={"t": "n", "p": "x" * 1000})
    probe.wait("resolved", name="short")


def test_the_program_is_asked_and_answers(probe: Probe, serving: Factory) -> None:
    server = serving()
    probe.open(server.url, options={"answerTimeout": 300})
    probe.do("request", name="sum", type="add", payload=[1, 2])
    _, conn_id, message = server.events.wait("msg")[0]
    assert (message["t"], message["p"]) == ("add", [1, 2])
    server.server.send(conn_id, json.dumps({"c": "U", "t": "add", "p": 3, "cid": message["cid"]}))
    assert probe.wait("resolved", name="sum")["value"] == 3
    server.server.send(conn_id, json.dumps({"t": "hello", "p": "you"}))
    assert probe.wait("message")["payload"] == "you"
    probe.do("request", name="silence", type="nothing")
    assert probe.wait("rejected", name="silence")["error"]["code"] == "OUTCOME_UNKNOWN"


def test_what_was_sent_and_not_answered_is_unknown_when_the_connection_is_lost(
    probe: Probe, serving: Factory
) -> None:
    server = serving()
    probe.open(server.url)
    probe.do("request", name="lost", type="work")
    server.events.wait("msg")
    cut(server)
    assert probe.wait("rejected", name="lost")["error"]["code"] == "OUTCOME_UNKNOWN"
    probe.wait("state", state="open")


def test_a_code_that_says_no_is_the_end_until_somebody_connects_again(probe: Probe, serving: Factory) -> None:
    server = serving()
    probe.open(server.url)
    probe.subscribe("prices", "prices")
    publish(server, "prices", 1)
    probe.heard(1)
    cut(server, 4403)
    told = probe.wait("state", state="closed")
    assert (told["code"], told["error"]["message"]) == (4403, "cut")
    publish(server, "prices", 2)
    probe.do("publish", name="late", topic="prices", data={"t": "n"})
    assert probe.wait("rejected", name="late")["error"]["code"] == "CLOSED"
    probe.do("connect")
    probe.wait("ready", name="prices")
    assert probe.heard(2) == [1, 2]


def test_a_drain_moves_the_client_to_the_next_server_when_it_says_so(probe: Probe, serving: Factory) -> None:
    first, second = serving(), serving()
    assert probe.open(first.url, second.url)["url"] == first.url
    draining = threading.Thread(target=first.server.drain, kwargs={"timeout": 1})
    draining.start()
    assert probe.wait("state", state="waiting")["code"] == 4300
    assert probe.wait("state", state="open")["url"] == second.url
    draining.join()


def test_a_server_that_is_not_there_is_passed_over(probe: Probe, serving: Factory) -> None:
    there = serving()
    nowhere = f"ws://{HOST}:{free_port()}/wse"
    assert probe.open(nowhere, there.url)["url"] == there.url
    # And back, when that one goes.
    there.server.stop()
    probe.wait("state", state="connecting", url=nowhere)


def test_delays_grow_with_each_round_of_failures_and_are_random(probe: Probe) -> None:
    probe.do("open", urls=[f"ws://{HOST}:{free_port()}/wse"])
    delays = [probe.wait("state", state="waiting")["delay"] for _ in range(5)]
    # 500 to 3000 ms by twenty, doubled by each failure, up to a second in this test.
    for number, delay in enumerate(delays):
        factor = 2 ** (number + 1)
        assert min(25 * factor, 500) - 1 <= delay <= min(150 * factor, 1000) + 1
    assert len(set(delays)) > 1


def test_a_refused_token_is_replaced_and_the_same_again_is_the_end(probe: Probe, serving: Factory) -> None:
    server = serving(jwt_secret=SECRET)
    old, bad = token(life=-100), "no.token.atall"
    probe.do("tokens", list=[old, token(), bad])
    probe.open(server.url, provided=True)
    assert probe.of("state")[1]["code"] == 4401
    cut(server)
    told = probe.wait("state", state="closed")
    assert told["error"]["code"] == "AUTH_FAILED"


def test_a_fixed_token_that_is_refused_is_the_end(probe: Probe, serving: Factory) -> None:
    server = serving(jwt_secret=SECRET)
    probe.do("open", urls=[server.url], options={"token": token(life=-100)})
    told = probe.wait("state", state="closed")
    assert (told["code"], told["error"]["code"], told["error"]["message"]) == (
        4401,
        "AUTH_FAILED",
        "token expired",
    )


def test_a_token_is_renewed_on_the_living_connection(probe: Probe, serving: Factory) -> None:
    server = serving(jwt_secret=SECRET)
    # The server warns half way, and of the second token only if it has taken it.
    probe.do("tokens", list=[token(life=4), token(life=6), token()])
    probe.open(server.url, provided=True)
    (conn_id,) = server.server.get_connections()
    wait_until(lambda: len(probe.of("token")) == 3, "renewed twice")
    assert server.server.get_connections() == [conn_id]
    assert probe.of("trouble") == []


def greet(connection: ServerConnection, interval_ms: int) -> None:
    """Says `server_hello` to a client that said hello."""
    assert json.loads(connection.recv())["t"] == "client_hello"
    limits = {"max_message_size": 65536, "rate_limit_capacity": 100.0, "rate_limit_refill": 10.0}
    p = {"server_version": "0", "features": {}, "limits": limits, "ping_interval": interval_ms}
    connection.send(json.dumps({"c": "WSE", "t": "server_hello", "p": p}))


def listen(connection: ServerConnection) -> None:
    """Says nothing, until the client has gone."""
    for _ in connection:
        pass


@pytest.fixture
def fake() -> Iterator[Callable[[Callable[[ServerConnection], None]], str]]:
    """Starts servers that do what no real one does."""
    servers: list[FakeServer] = []

    def start(handler: Callable[[ServerConnection], None]) -> str:
        server = serve(handler, HOST, 0)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"ws://{HOST}:{server.socket.getsockname()[1]}/wse"

    yield start
    for server in servers:
        server.shutdown()


def test_a_silent_server_is_asked_and_then_given_up(
    probe: Probe, serving: Factory, fake: Callable[[Callable[[ServerConnection], None]], str]
) -> None:
    heard: list[str] = []

    def silent(connection: ServerConnection) -> None:
        greet(connection, 200)
        heard.extend(json.loads(text)["t"] for text in connection)

    url, there = fake(silent), serving()
    probe.open(url, there.url, options={"pongTimeout": 300})
    told = probe.wait("state", state="waiting")
    assert (told["code"], told["reason"]) == (1006, "the server is silent")
    assert heard == ["ping"]
    # The same server greets again; so it is not passed over.
    assert probe.wait("state", state="open")["url"] == url


def test_a_server_that_does_not_greet_is_passed_over(
    probe: Probe, serving: Factory, fake: Callable[[Callable[[ServerConnection], None]], str]
) -> None:
    url, there = fake(listen), serving()
    assert probe.open(url, there.url, options={"attemptTimeout": 300})["url"] == there.url


def test_what_no_server_says_harms_nobody(
    probe: Probe, fake: Callable[[Callable[[ServerConnection], None]], str]
) -> None:
    strange: list[str | bytes] = [
        "",
        "null",
        "[]",
        '{"c":"WSE"}',
        '{"c":"WSE","t":"constructor"}',
        '{"t":7,"tp":3}',
        b"\x00",
        b"{no",
    ]

    def talk(connection: ServerConnection) -> None:
        greet(connection, 10_000)
        for message in strange:
            connection.send(message)
        connection.send('{"t":"last"}')
        listen(connection)

    probe.open(fake(talk))
    probe.wait("message", type="last")
    assert len(probe.of("message")) == len(strange) + 1


def test_what_the_server_says_about_gaps_moves_the_position(
    probe: Probe, fake: Callable[[Callable[[ServerConnection], None]], str]
) -> None:
    """The words of the specification, of which the last few take a slow client or a cluster in trouble."""
    old, new = "5f3a09c1", "0badcafe"

    def stamped(epoch: str, offset: int) -> str:
        return json.dumps({"tp": "news", "e": epoch, "o": offset, "t": "n", "p": [epoch, offset]})

    def gap(**p: object) -> str:
        return json.dumps({"c": "WSE", "t": "gap", "p": {"topic": "news", **p}})

    script = [
        stamped(old, 42),
        gap(epoch=old, **{"from": 43, "to": 45}, missed=3),
        stamped(old, 46),
        stamped(old, 46),  # once more
        gap(epoch=old, **{"from": 46, "to": 48}, missed=3),  # of which one came
        gap(epoch=old, **{"from": 49, "to": 48}, missed=0, next_epoch=new, next_offset=48),
        stamped(new, 49),
        gap(epoch=new, **{"from": 50, "to": None}, missed=None, next_epoch=old, next_offset=90),
        stamped(old, 91),
        stamped(old, 94),
    ]

    def tell(connection: ServerConnection) -> None:
        greet(connection, 10_000)
        ask = json.loads(connection.recv())
        recovery = {"news": {"epoch": old, "offset": 41, "recovered": False, "count": 0}}
        p = {"success_topics": ["news"], "failed_topics": [], "recovery": recovery}
        connection.send(json.dumps({"c": "WSE", "t": "subscription_update", "cid": ask["cid"], "p": p}))
        for word in script:
            connection.send(word)
        listen(connection)

    probe.do("open", urls=[fake(tell)])
    probe.do("subscribe", name="news", topics=["news"])
    assert probe.heard(5) == [[old, 42], [old, 46], [new, 49], [old, 91], [old, 94]]
    told = [(gap["cause"], gap["first"], gap["last"], gap["missed"], gap["next"]) for gap in probe.of("gap")]
    assert told == [
        ("server", 43, 45, 3, {"epoch": old, "offset": 45}),
        ("server", 47, 48, 2, {"epoch": old, "offset": 48}),
        ("server", 50, None, None, {"epoch": old, "offset": 90}),
        ("hole", 92, 93, 2, {"epoch": old, "offset": 93}),
    ]


def test_a_server_that_says_what_can_not_be_understood_is_left(
    probe: Probe, serving: Factory, fake: Callable[[Callable[[ServerConnection], None]], str]
) -> None:
    def lie(connection: ServerConnection) -> None:
        greet(connection, 10_000)
        connection.send('{"c":"WSE","t":"reconnect"}')
        listen(connection)

    probe.open(fake(lie), serving().url)
    told = probe.wait("state", state="waiting")
    assert told["code"] == 1002
    assert told["reason"].startswith("the server said what can't be understood")


def test_through_a_network_that_stalls_and_cuts_nothing_is_lost_or_doubled(serving: Factory) -> None:
    server = serving(recovery_buffer_size=4096, recovery_max_messages=4096)
    count = 400

    async def scenario() -> None:
        async with Proxy(server.port, seed=7) as proxy:
            with Probe() as probe:
                probe.do("open", urls=[proxy.url], options={"pongTimeout": 500, "attemptTimeout": 2000})
                await asyncio.to_thread(probe.subscribe, "n", "n")
                for n in range(count):
                    publish(server, "n", n)
                    await asyncio.sleep(0.01)
                proxy.is_calm = True
                heard = await asyncio.to_thread(probe.heard, count)
                assert heard == list(range(count))
                assert probe.of("gap") == []
                assert len([told for told in probe.of("state") if told["state"] == "open"]) > 1

    asyncio.run(scenario())
