"""The HTTP API looks around: connections, topics, who is present, and what was said."""

from __future__ import annotations

from collections.abc import Callable

import presence
from http_api import KEY, Worker, query
from support import Running, wait_until
from test_metrics import Scrape

Factory = Callable[..., Running]


# ---- Connections ----


def test_a_connection_is_closed_by_its_id(api: Running, worker: Worker) -> None:
    peer = api.dial()
    order = {"connection_id": peer.conn_id, "code": 4001, "reason": "bye"}
    assert worker.post("/api/disconnect", order) == {"closed": 1}
    assert peer.close_code() == 4001
    wait_until(lambda: api.server.get_connection_count() == 0, "it is gone")
    assert worker.post("/api/disconnect", order) == {"closed": 0}
    for unknown in ("", "x", "0" * 28):
        assert worker.post("/api/disconnect", {"connection_id": unknown}) == {"closed": 0}


def test_all_connections_of_a_user_are_closed(server_factory: Factory) -> None:
    running = server_factory(api_key=KEY, jwt_secret=presence.SECRET, shards=2)
    mine = [presence.user(running, "ann") for _ in range(5)]
    other = presence.user(running, "bob")
    with Worker(running.port) as worker:
        assert worker.post("/api/disconnect", {"user_id": "ann"}) == {"closed": 5}
        assert [peer.close_code() for peer in mine] == [1000] * 5
        told = worker.get("/api/connections")["connections"]
    assert [one["connection_id"] for one in told] == [other.conn_id]


def test_an_access_list_ends_what_it_does_not_allow(server_factory: Factory) -> None:
    running = server_factory(api_key=KEY, jwt_secret=presence.SECRET)
    first, second = presence.user(running, "ann"), presence.user(running, "ann")
    running.server.subscribe_connection(first.conn_id, ["room:1", "room:2", "news"])
    running.server.subscribe_connection(second.conn_id, ["news"])
    with Worker(running.port) as worker:
        order = {"user_id": "ann", "allow": ["room:*", "news"], "deny": ["room:2"]}
        answer = worker.post("/api/refresh_acl", order)
        assert answer == {"connections": 2, "ended": {first.conn_id: ["room:2"], second.conn_id: []}}
        refused = running.server.subscribe_connection(second.conn_id, ["room:2"])["refused"]
        assert list(refused) == ["room:2"]
        answer = worker.post("/api/refresh_acl", {"connection_id": first.conn_id, "allow": []})
        assert answer == {"connections": 1, "ended": {first.conn_id: ["news", "room:1"]}}
        answer = worker.post("/api/refresh_acl", {"connection_id": first.conn_id, "allow": None})
        assert answer == {"connections": 1, "ended": {first.conn_id: []}}
        assert running.server.subscribe_connection(first.conn_id, ["room:2"])["refused"] == {}
        assert worker.post("/api/refresh_acl", {"user_id": "eve", "deny": ["a"]})["connections"] == 0


def test_connections_are_told_as_python_is_told_of_them(api: Running, worker: Worker) -> None:
    peer = api.dial(query="?format=msgpack")
    api.server.subscribe_connection(peer.conn_id, ["b", "a", "a*"])
    (told,) = worker.get("/api/connections")["connections"]
    info = dict(api.server.get_connection_info(peer.conn_id) or {})
    assert told == {"connection_id": peer.conn_id, "subscriptions": 3, **info}


def test_connections_come_in_pages_and_each_once(server_factory: Factory) -> None:
    running = server_factory(api_key=KEY, shards=3)
    peers = {running.dial().conn_id for _ in range(23)}
    with Worker(running.port) as worker:
        seen: list[str] = []
        after = ""
        while True:
            page = worker.get(f"/api/connections?limit=5{after}")
            assert len(page["connections"]) <= 5
            seen += [one["connection_id"] for one in page["connections"]]
            if page["next"] is None:
                break
            assert page["next"] == seen[-1]
            after = f"&after={page['next']}"
    assert len(seen) == 23
    assert set(seen) == peers


def test_a_connection_with_many_topics_shows_the_first_hundred(api: Running, worker: Worker) -> None:
    peer = api.dial()
    names = [f"t{n:03}" for n in range(250)]
    api.server.subscribe_connection(peer.conn_id, names[::-1])
    (told,) = worker.get("/api/connections")["connections"]
    assert (told["topics"], told["subscriptions"]) == (names[:100], 250)


# ---- Topics ----


def test_topics_come_in_order_and_in_pages(api: Running, worker: Worker) -> None:
    peer = api.dial()
    names = [f"room:{n}" for n in range(250)] + ["news", "é"]
    api.server.subscribe_connection(peer.conn_id, [*names, "pattern:*"])
    other = api.dial()
    api.server.subscribe_connection(other.conn_id, ["news"])
    api.server.subscribe_connection(other.conn_id, ["jobs", "news"], queue_group="workers")
    seen: dict[str, tuple[int, int]] = {}
    after = ""
    while True:
        page = worker.get(f"/api/topics?limit=100{after}")
        for one in page["topics"]:
            assert one["topic"] not in seen
            seen[one["topic"]] = (one["subscribers"], one["group_members"])
        if page["next"] is None:
            break
        after = "&" + query(after=page["next"])
    expected = dict.fromkeys(names, (1, 0)) | {"news": (2, 1), "jobs": (0, 1)}
    assert seen == expected
    assert list(seen) == sorted(expected, key=str.encode)
    page = worker.get("/api/topics?" + query(pattern="room:?", limit=1000))
    assert [one["topic"] for one in page["topics"]] == [f"room:{n}" for n in range(10)]
    assert worker.get("/api/topics?pattern=new")["topics"] == []


# ---- Presence ----


def test_presence_tells_who_is_there_and_how_many(server_factory: Factory) -> None:
    running = server_factory(api_key=KEY, presence_enabled=True, jwt_secret=presence.SECRET)
    names = ["ann", "bob", "cyd", "dan", "eve"]
    for name in [*names, "ann"]:
        peer = presence.user(running, name)
        running.server.subscribe_connection(peer.conn_id, ["room"], presence_data={"name": name.title()})
    with Worker(running.port) as worker:
        page = worker.get("/api/presence?topic=room&limit=3")
        assert (page["topic"], page["num_users"], page["num_connections"]) == ("room", 5, 6)
        assert page["users"][0] == {"user_id": "ann", "data": {"name": "Ann"}, "connections": 2}
        assert [one["user_id"] for one in page["users"]] == names[:3]
        rest = worker.get("/api/presence?" + query(topic="room", limit=3, after=page["next"]))
        assert [one["user_id"] for one in rest["users"]] == names[3:]
        assert rest["next"] is None
        empty = worker.get("/api/presence?topic=nowhere")
        assert empty == {"topic": "nowhere", "num_users": 0, "num_connections": 0, "users": [], "next": None}


def test_what_is_switched_off_says_so(server_factory: Factory) -> None:
    running = server_factory(api_key=KEY)
    with Worker(running.port) as worker:
        for path, option in (("presence", "presence_enabled"), ("history", "recovery_enabled")):
            refusal = worker.refusal("GET", f"/api/{path}?topic=a")
            assert refusal == (409, "NOT_ENABLED", f"this server was made without {option}")


# ---- History ----


def test_history_goes_on_from_a_position(worker: Worker) -> None:
    for number in range(1, 21):
        position = worker.publish("a", {"n": number})
    epoch = position["epoch"]
    newest = worker.get("/api/history?topic=a&limit=3")
    assert (newest["epoch"], newest["offset"], newest["confirmed"]) == (epoch, 20, True)
    assert [(one["epoch"], one["offset"], one["data"]["n"]) for one in newest["messages"]] == [
        (epoch, 18, 18),
        (epoch, 19, 19),
        (epoch, 20, 20),
    ]
    assert newest["messages"][0]["data"] == {"tp": "a", "e": epoch, "o": 18, "c": "U", "n": 18}
    assert (newest["recovered"], newest["more"]) == (True, False)
    seen: list[int] = []
    since = 0
    while True:
        page = worker.get("/api/history?" + query(topic="a", since_epoch=epoch, since_offset=since, limit=7))
        assert page["recovered"] is True
        seen += [one["data"]["n"] for one in page["messages"]]
        since = page["messages"][-1]["offset"]
        if not page["more"]:
            break
    assert seen == list(range(1, 21))
    assert len(worker.get("/api/history?topic=a")["messages"]) == 20


def test_history_says_why_it_can_not_go_on(server_factory: Factory) -> None:
    running = server_factory(api_key=KEY, recovery_enabled=True, recovery_buffer_size=8)
    with Worker(running.port) as worker:
        for number in range(30):
            epoch = worker.publish("a", {"n": number})["epoch"]
        for since_epoch, since_offset, reason in (
            ("00000000", 1, "unknown_epoch"),
            (epoch, 31, "ahead"),
            (epoch, 2, "gone"),
            (epoch, 2**64 - 1, "ahead"),
        ):
            asked = query(topic="a", since_epoch=since_epoch, since_offset=since_offset)
            page = worker.get(f"/api/history?{asked}")
            assert (page["recovered"], page["reason"], page["messages"]) == (False, reason, [])
            assert (page["epoch"], page["offset"]) == (epoch, 30)
        page = worker.get("/api/history?" + query(topic="b", since_epoch=epoch, since_offset=1))
        assert (page["recovered"], page["reason"]) == (False, "unknown_epoch")
    scrape = Scrape(running.server.prometheus_metrics())
    assert sum(scrape.labelled("wse_recoveries_total", "outcome").values()) == 0


def test_history_of_a_topic_without_any(worker: Worker) -> None:
    assert worker.get("/api/history?topic=a") == {
        "topic": "a",
        "epoch": None,
        "offset": None,
        "confirmed": True,
        "recovered": True,
        "reason": None,
        "messages": [],
        "more": False,
    }


def test_history_of_texts_that_are_no_objects_is_json_all_the_same(api: Running, worker: Worker) -> None:
    texts = ['plain "text"', "[1, 2]", "{broken", '{"a": NaN}', "é\n"]
    for text in texts:
        api.server.broadcast("a", text)
    told = [one["data"] for one in worker.get("/api/history?topic=a")["messages"]]
    assert [told[0], told[1], told[2], told[4]] == [texts[0], texts[1], texts[2], texts[4]]
    # It looks like an object, so that it has its stamp, and is none.
    assert isinstance(told[3], str)
    assert told[3].endswith('"a": NaN}')
