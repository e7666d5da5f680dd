"""The HTTP API: what its requests do, and what they are answered."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from http_api import KEY, Worker, query
from loglines import LogLines
from nodes import FAST, NodeProcess, join, mesh
from support import PATIENCE, Running, dial, wait_until
from test_metrics import Scrape
from wire import ask, plain
from wse_server import RustWSEServer

Factory = Callable[..., Running]


# ---- The key ----


def test_without_a_key_there_is_no_api(running: Running) -> None:
    for path in ("/api/publish", "/api/topics", "/api/openapi.json", "/api/"):
        answer = ask(running.port, plain("GET", path))
        assert (answer.status, answer.headers["content-type"]) == (404, "text/plain; charset=utf-8")
    assert running.server.health_snapshot()["api_enabled"] is False


@pytest.mark.parametrize(
    "key", ["", "short", "k" * 31, "k" * 1025, "k" * 31 + " x", "k" * 40 + "\n", "é" * 32]
)
def test_a_key_that_can_be_guessed_or_lost_is_refused(key: str) -> None:
    for given in (key, key.encode()):
        with pytest.raises(ValueError, match="api_key must be 32 to 1024 visible ASCII characters") as caught:
            RustWSEServer("127.0.0.1", 0, api_key=given)
        assert len(key) < 5 or key not in str(caught.value)


def test_a_key_may_be_bytes(server_factory: Factory) -> None:
    running = server_factory(api_key=KEY.encode())
    with Worker(running.port) as worker:
        assert worker.publish("a", {})["topic"] == "a"


def test_requests_without_the_key_learn_nothing(api: Running) -> None:
    wrong: list[dict[str, str]] = [
        {},
        {"Authorization": f"Bearer {KEY}x"},
        {"Authorization": f"Bearer {KEY[:-1]}"},
        {"Authorization": f"Basic {KEY}"},
        {"X_API_Key": KEY.upper()},
        {"X_API_Key": KEY, "Authorization": "Bearer other"},
    ]
    for headers in wrong:
        for method, path in (("GET", "/api/topics"), ("GET", "/api/nothing"), ("DELETE", "/api/publish")):
            with Worker(api.port, key=None) as stranger:
                answer = stranger.ask(method, path, **headers)
            assert answer.status == 401
            assert answer.headers["www-authenticate"] == 'Bearer realm="wse"'
            assert answer.headers["connection"] == "close"
            assert json.loads(answer.body)["error"]["code"] == "UNAUTHORIZED"
    count = len(wrong) * 3
    assert api.server.health_snapshot()["api_auth_failures"] == count
    scrape = Scrape(api.server.prometheus_metrics())
    assert scrape("wse_api_auth_failures_total") == count
    assert scrape("wse_http_requests_total", path="/api/topics", code="401") == len(wrong)
    with Worker(api.port, key=None) as friend:
        assert friend.ask("GET", "/api/topics", X_API_Key=KEY).status == 200


def test_wrong_keys_are_told_in_the_log_once_and_without_the_key(api: Running) -> None:
    def try_wrong_keys() -> bool:
        for _ in range(20):
            with Worker(api.port, key="another-key-which-nobody-may-see") as stranger:
                stranger.ask("GET", "/api/topics")
        return "HTTP API" in log.text

    with LogLines() as log:
        # A test before this one may have had the line that is due.
        wait_until(try_wrong_keys, "a line about it")
        assert log.text.count("HTTP API") == 1
        assert "nobody-may-see" not in log.text
        assert KEY not in log.text


def test_pages_of_the_program_are_beside_the_api(api: Running, worker: Worker) -> None:
    for path in ("/api", "/api/page", "/apis/page"):
        api.server.add_static(path, "text/plain", "a page")
    assert ask(api.port, plain("GET", "/api")).body == b"a page"
    assert ask(api.port, plain("GET", "/apis/page")).body == b"a page"
    assert worker.refusal("GET", "/api/page")[:2] == (404, "NOT_FOUND")


def test_no_page_of_another_site_is_told_that_it_may_ask(worker: Worker) -> None:
    answer = worker.ask("GET", "/api/topics", Origin="https://a.example")
    assert not [name for name in answer.headers if name.startswith("access-control")]


# ---- Publishing ----


def test_what_a_worker_publishes_arrives_as_it_was_written(api: Running, worker: Worker) -> None:
    peer = api.subscriber("news")
    answer = worker.publish("news", {"t": "headline", "p": {"text": "Grüße"}})
    assert answer == {"topic": "news", "epoch": answer["epoch"], "offset": 1, "copies": 1}
    got = peer.receive_json()
    assert (got["tp"], got["e"], got["o"], got["c"]) == ("news", answer["epoch"], 1, "U")
    assert (got["t"], got["p"]) == ("headline", {"text": "Grüße"})
    second = worker.publish("news", {}, wait="stored", timeout=1)
    assert second == answer | {"offset": 2}


def test_without_history_there_is_no_position(server_factory: Factory) -> None:
    running = server_factory(api_key=KEY)
    peer = running.subscriber("a")
    with Worker(running.port) as worker:
        assert worker.publish("a", {"n": 1}) == {"topic": "a", "epoch": None, "offset": None, "copies": None}
    assert peer.receive_json() == {"c": "U", "n": 1}


def test_ten_thousand_publications_need_one_connection(api: Running, worker: Worker) -> None:
    peer = api.subscriber("a")
    read = [0]

    def count() -> None:
        while read[0] < 10_000:
            assert peer.receive_json()["n"] == read[0]
            read[0] += 1

    reader = threading.Thread(target=count)
    reader.start()
    for number in range(10_000):
        assert worker.publish("a", {"n": number})["offset"] == number + 1
    reader.join(PATIENCE)
    assert read[0] == 10_000
    assert api.server.health_snapshot()["api_connections"] == 1
    # The client of the test and the worker; nothing else was ever opened.
    scrape = Scrape(api.server.prometheus_metrics())
    assert scrape("wse_http_requests_total", path="/api/publish", code="200") == 10_000


def test_many_messages_go_out_in_their_order_and_each_topic_is_told(api: Running, worker: Worker) -> None:
    peer = api.dial()
    api.server.subscribe_connection(peer.conn_id, ["a", "b"])
    messages = [{"topic": "ab"[n % 2], "data": {"n": n}} for n in range(1001)]
    answer = worker.post("/api/publish_many", {"messages": messages, "wait": "stored"})
    assert answer["published"] == 1001
    assert [(topic["topic"], topic["offset"], topic["copies"]) for topic in answer["topics"]] == [
        ("a", 501, 1),
        ("b", 500, 1),
    ]
    assert [peer.receive_json()["n"] for _ in range(1001)] == list(range(1001))
    assert worker.post("/api/publish_many", {"messages": []}) == {"published": 0, "topics": []}


def test_one_wrong_message_among_many_keeps_all_back(api: Running, worker: Worker) -> None:
    peer = api.subscriber("a")
    messages = [{"topic": "a", "data": {"n": n}} for n in range(10)]
    wrong: list[tuple[object, str]] = [
        ({"topic": "a*", "data": {}}, "messages[10].topic"),
        ({"topic": "a"}, "messages[10].data is missing"),
        ({"topic": "a", "data": {"o": 1}}, "messages[10].data.o must not be there"),
        ({"topic": "a", "data": {}, "dta": 1}, 'messages[10]."dta" is no field'),
    ]
    for last, message in wrong:
        refusal = worker.refusal("POST", "/api/publish_many", {"messages": [*messages, last]})
        assert refusal[:2] == (400, "INVALID_FIELD")
        assert refusal[2].startswith(message)
    worker.publish("a", {"last": True})
    assert peer.receive_json()["last"] is True


def test_a_large_message_and_a_large_batch(server_factory: Factory) -> None:
    running = server_factory(api_key=KEY, max_message_size=1 << 20)
    peer = running.subscriber("a")
    with Worker(running.port) as worker:
        text = "x" * ((1 << 20) - 8)
        body = b'{"topic":"a","data":{"x":"%s"}}' % text.encode()
        assert worker.ask("POST", "/api/publish", body).status == 200
        assert peer.receive_json()["x"] == text
        body = body.replace(b'{"x"', b'{ "x"')
        assert worker.refusal("POST", "/api/publish", body)[:2] == (413, "TOO_LARGE")
        batch = {"messages": [{"topic": "a", "data": {"x": "y" * 1000}} for _ in range(8000)]}
        reader = threading.Thread(target=lambda: [peer.receive() for _ in range(8000)])
        reader.start()
        assert worker.post("/api/publish_many", batch)["published"] == 8000
        reader.join(PATIENCE)
        assert not reader.is_alive()


def test_a_message_longer_than_any_client_may_be_behind_is_refused(server_factory: Factory) -> None:
    running = server_factory(api_key=KEY, max_outbound_queue_bytes=64 << 10)
    with Worker(running.port) as worker:
        for count in (5, 20_000):
            body = {"messages": [{"topic": "a", "data": {"x": "y" * 70_000}}]}
            refusal = worker.refusal("POST", "/api/publish_many", body)
            assert refusal[:2] == (413, "TOO_LARGE"), count
            assert refusal[2].startswith("messages[0].data: a message of ")
            assert "max_outbound_queue_bytes (65536)" in refusal[2]


def test_a_publication_waits_for_room_and_keeps_nobody_waiting(server_factory: Factory) -> None:
    running = server_factory(api_key=KEY, shards=1, slow_client="gap", max_outbound_queue_bytes=64 << 20)
    slow = dial(running.url, max_queue=1)
    (_, conn_id, _) = running.events.wait("connect")[0]
    running.server.subscribe_connection(conn_id, ["slow"])
    healthy = running.subscriber("quick")
    done = threading.Event()

    def flood() -> None:
        with Worker(running.port, timeout=60) as worker:
            for _ in range(20):
                worker.publish("slow", {"x": "y" * 500_000})
        done.set()

    thread = threading.Thread(target=flood)
    thread.start()
    with Worker(running.port) as worker:
        for number in range(200):
            worker.publish("quick", {"n": number})
            assert healthy.receive_json(2)["n"] == number
            assert worker.get("/api/topics")["topics"]
    thread.join(60)
    assert done.is_set()
    slow.close()


# ---- What is wrong ----

BAD: list[tuple[str, str, object, tuple[int, str, str]]] = [
    (
        "POST",
        "/api/publish",
        b"",
        (400, "INVALID_JSON", "the body is no JSON: EOF while parsing a value at line 1"),
    ),
    ("POST", "/api/publish", b'{"topic": "a",}', (400, "INVALID_JSON", "at line 1 column 15")),
    ("POST", "/api/publish", b'{"topic":"\xff"}', (400, "INVALID_JSON", "the body is no UTF-8 at byte 10")),
    ("POST", "/api/publish", b'{"topic":"a","data":{"x":NaN}}', (400, "INVALID_JSON", "column 26")),
    ("POST", "/api/publish", [1], (400, "INVALID_FIELD", "the body must be an object, and is a list")),
    ("POST", "/api/publish", {"data": {}}, (400, "INVALID_FIELD", "topic is missing")),
    ("POST", "/api/publish", {"topic": "a"}, (400, "INVALID_FIELD", "data is missing")),
    ("POST", "/api/publish", {"topic": "a", "data": "x"}, (400, "INVALID_FIELD", "data must be an object")),
    (
        "POST",
        "/api/publish",
        {"topic": "a", "data": {}, "ttl": 5},
        (400, "INVALID_FIELD", '"ttl" is no field'),
    ),
    ("POST", "/api/publish", {"topic": "a", "data": {"e": 1}}, (400, "INVALID_FIELD", "data.e must not")),
    ("POST", "/api/publish", {"topic": "a\n", "data": {}}, (400, "INVALID_FIELD", "no control characters")),
    (
        "POST",
        "/api/publish",
        {"topic": "a", "data": {}, "wait": 1},
        (400, "INVALID_FIELD", "wait must be a text"),
    ),
    (
        "POST",
        "/api/publish",
        {"topic": "a", "data": {}, "timeout": 1e9},
        (400, "INVALID_FIELD", "timeout must"),
    ),
    ("POST", "/api/disconnect", {}, (400, "INVALID_FIELD", "connection_id or user_id is missing")),
    (
        "POST",
        "/api/disconnect",
        {"user_id": "a", "code": 1005},
        (400, "INVALID_FIELD", "code must be 1000-1003"),
    ),
    ("POST", "/api/refresh_acl", {"user_id": "a"}, (400, "INVALID_FIELD", "allow or deny is missing")),
    (
        "POST",
        "/api/refresh_acl",
        {"user_id": "a", "deny": [1]},
        (400, "INVALID_FIELD", "deny[0] must be a text"),
    ),
    ("GET", "/api/presence", None, (400, "INVALID_FIELD", "topic is missing")),
    ("GET", "/api/topics?limit=0", None, (400, "INVALID_FIELD", "limit must be 1 to 1000")),
    ("GET", "/api/topics?limit=1&limit=1", None, (400, "INVALID_FIELD", "limit is there twice")),
    ("GET", "/api/topics?prefix=a", None, (400, "INVALID_FIELD", '"prefix" is no parameter')),
    ("GET", "/api/connections?after=x", None, (400, "INVALID_FIELD", "after must be the id of a connection")),
    ("GET", f"/api/connections?after={'0' * 28}", None, (409, "UNKNOWN_CURSOR", "begin again")),
    ("GET", "/api/history?topic=a&since_epoch=1", None, (400, "INVALID_FIELD", "go together")),
    ("GET", "/api/publish", None, (405, "METHOD_NOT_ALLOWED", "POST")),
    ("PUT", "/api/topics", b"", (405, "METHOD_NOT_ALLOWED", "GET")),
    ("GET", "/api/nothing", None, (404, "NOT_FOUND", '"/api/nothing"')),
]


@pytest.mark.parametrize(("method", "path", "body", "expected"), BAD, ids=[f"{n}" for n in range(len(BAD))])
def test_a_wrong_request_is_told_what_is_wrong(
    worker: Worker, method: str, path: str, body: object, expected: tuple[int, str, str]
) -> None:
    status, code, message = worker.refusal(method, path, body)
    assert (status, code) == expected[:2]
    assert expected[2] in message
    # The next request is answered, on this connection or on another one.
    assert worker.get("/api/topics") == {"topics": [], "next": None}


def test_the_body_says_that_it_is_json(worker: Worker) -> None:
    body = b'{"topic":"a","data":{}}'
    for media_type in ("application/x-www-form-urlencoded", "text/plain", "application/jsonx", ""):
        refusal = worker.refusal("POST", "/api/publish", body, Content_Type=media_type)
        assert refusal[:2] == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert worker.refusal("POST", "/api/publish", body, Content_Encoding="gzip")[0] == 415
    for media_type in ("application/json", "Application/JSON; charset=utf-8"):
        assert worker.ask("POST", "/api/publish", body, Content_Type=media_type).status == 200


def test_a_wrong_method_is_told_the_right_one(worker: Worker) -> None:
    assert worker.ask("GET", "/api/publish").headers["allow"] == "POST"
    assert worker.ask("POST", "/api/topics", b"").headers["allow"] == "GET, HEAD"


# ---- In a cluster ----


def test_in_a_cluster_a_worker_waits_until_its_message_is_stored(server_factory: Factory) -> None:
    one, two = mesh(server_factory, 2, recovery_enabled=True, api_key=KEY)
    peer = two.subscriber("a")
    with Worker(one.port) as worker, Worker(two.port) as other:
        stored = worker.publish("a", {"n": 1}, wait="stored")
        assert (stored["offset"], stored["copies"]) == (1, 2)
        assert peer.receive_json()["n"] == 1
        local = worker.publish("a", {"n": 2})
        assert local == {"topic": "a", "epoch": None, "offset": None, "copies": None}
        assert peer.receive_json()["o"] == 2
        messages = [{"topic": f"t{n % 3}", "data": {"n": n}} for n in range(300)]
        many = worker.post("/api/publish_many", {"messages": messages, "wait": "stored"})
        assert many["published"] == 300
        assert [(topic["offset"], topic["copies"]) for topic in many["topics"]] == [(100, 2)] * 3
        # Any node answers for all, whether it has subscribers of the topic or not.
        for asked in (worker, other):
            page = asked.get("/api/history?topic=t1&limit=5")
            assert (page["offset"], page["confirmed"]) == (100, True)
            assert [message["offset"] for message in page["messages"]] == [96, 97, 98, 99, 100]
            since = query(topic="t2", since_epoch=many["topics"][2]["epoch"], since_offset=90)
            assert len(asked.get(f"/api/history?{since}")["messages"]) == 10


def test_in_a_cluster_what_can_not_be_stored_in_time_says_so_and_keeps_nobody_waiting(
    server_factory: Factory,
) -> None:
    one = server_factory(recovery_enabled=True, api_key=KEY)
    with NodeProcess({"seeds": [join(one.server)]}, recovery_enabled=True) as two, Worker(one.port) as worker:
        wait_until(lambda: one.server.cluster_peers_count() == 1, "both are linked")
        assert worker.publish("a", {}, wait="stored")["copies"] == 2
        waiting: list[tuple[int, str]] = []

        def wait() -> None:
            with Worker(one.port) as other:
                body = {"topic": "a", "data": {}, "wait": "stored", "timeout": 1.5}
                waiting.append(other.refusal("POST", "/api/publish", body)[:2])

        with two.stopped():
            threads = [threading.Thread(target=wait) for _ in range(30)]
            for thread in threads:
                thread.start()
            wait_until(lambda: one.server.health_snapshot()["api_requests_waiting"] == 30, "all wait")
            for _ in range(20):
                assert worker.get("/api/connections") == {"connections": [], "next": None}
            for thread in threads:
                thread.join(PATIENCE)
        assert waiting == [(504, "NOT_STORED")] * 30
        assert one.server.health_snapshot()["api_requests_waiting"] == 0
        # It was published, and is stored when that can be.
        wait_until(lambda: worker.get("/api/history?topic=a")["offset"] == 31, "they are stored later")


def test_in_a_cluster_the_history_of_a_busy_topic_is_told_and_so_is_a_home_that_is_silent(
    server_factory: Factory,
) -> None:
    one = server_factory(recovery_enabled=True, api_key=KEY)
    cluster = {"seeds": [join(one.server, **FAST)], **FAST}
    with NodeProcess(cluster, recovery_enabled=True, api_key=KEY) as two:
        wait_until(lambda: one.server.cluster_peers_count() == 1, "both are linked")
        stop = threading.Event()

        def publish() -> None:
            with Worker(one.port) as busy:
                while not stop.is_set():
                    busy.publish("busy", {"text": "x" * 100})

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            with Worker(two.port) as worker:
                wait_until(lambda: worker.get("/api/history?topic=busy")["offset"], "something is there")
                for _ in range(20):
                    page = worker.get("/api/history?topic=busy&limit=50")
                    offsets = [message["offset"] for message in page["messages"]]
                    assert offsets == list(range(page["offset"] - len(offsets) + 1, page["offset"] + 1))
                    assert page["confirmed"] is True
        finally:
            stop.set()
            thread.join()
        with two.stopped(), Worker(one.port, timeout=30) as worker:
            page = worker.get("/api/history?topic=never-heard-of")
            assert (page["offset"] or 0, page["messages"]) == (0, [])


def test_in_a_cluster_without_history_all_nodes_get_it(server_factory: Factory) -> None:
    one, two = mesh(server_factory, 2, api_key=KEY)
    peer = two.subscriber("a")
    with Worker(one.port) as worker:
        worker.publish("a", {"n": 1})
        worker.post("/api/publish_many", {"messages": [{"topic": "a", "data": {"n": n}} for n in (2, 3)]})
    assert [peer.receive_json()["n"] for _ in range(3)] == [1, 2, 3]


# ---- The end, and what is told ----


def test_a_server_that_is_emptied_or_stops_ends_its_connections(api: Running, worker: Worker) -> None:
    assert worker.ask("GET", "/api/topics").headers["connection"] == "keep-alive"
    api.server.drain(timeout=1)
    answer = worker.ask("POST", "/api/publish", {"topic": "a", "data": {}})
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    api.server.stop()
    api.server.start()
    with Worker(api.port) as again:
        assert again.publish("a", {})["offset"] == 1


def test_requests_are_counted_by_path_and_status(api: Running, worker: Worker) -> None:
    worker.publish("a", {})
    worker.refusal("POST", "/api/publish", {})
    worker.refusal("GET", "/api/made/up")
    ask(api.port, plain("GET", "/health"))
    ask(api.port, plain("GET", "/made/up"))
    scrape = Scrape(api.server.prometheus_metrics())
    counts = {
        tuple(sorted(sample.labels.items())): sample.value
        for sample in scrape.families["wse_http_requests"].samples
    }
    assert counts == {
        (("code", "200"), ("path", "/api/publish")): 1,
        (("code", "400"), ("path", "/api/publish")): 1,
        (("code", "404"), ("path", "other")): 2,
        (("code", "200"), ("path", "/health")): 1,
    }


def test_the_description_needs_no_key_and_keeps_no_connection(api: Running, repository: Path) -> None:
    answer = ask(api.port, plain("GET", "/api/openapi.json"))
    assert answer.status == 200
    assert json.loads(answer.body) == json.loads((repository / "spec" / "openapi.json").read_text())
    assert api.server.health_snapshot()["api_connections"] == 0


def test_head_is_get_without_the_body(worker: Worker) -> None:
    answer = worker.ask("HEAD", "/api/topics")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) == len(b'{"topics":[],"next":null}')
    assert worker.get("/api/topics") == {"topics": [], "next": None}
