"""A worker that talks to the HTTP API over one connection, with the client of Python's library."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import pytest

from support import HOST, PATIENCE, Running
from wire import Answer

KEY = "the-key-of-the-tests-0123456789abcdef"


class Worker:
    """One connection that stays, and its key."""

    def __init__(self, port: int, key: str | None = KEY, timeout: float = PATIENCE) -> None:
        self.connection = http.client.HTTPConnection(HOST, port, timeout=timeout)
        self.headers = {} if key is None else {"Authorization": f"Bearer {key}"}

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """Sends a request and reads its answer.

        A body that is neither None nor bytes is sent as JSON; `_` in the name of a header is `-`.
        """
        sent = self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        data = json.dumps(body).encode() if body is not None and not isinstance(body, bytes) else body
        self.connection.request(method, path, data, sent)
        response = self.connection.getresponse()
        told = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, told, response.read())

    def get(self, path: str) -> dict[str, Any]:
        """What a path answers, which must be 200."""
        return self._good(self.ask("GET", path))

    def post(self, path: str, body: object) -> dict[str, Any]:
        """What an order is answered, which must be 200."""
        return self._good(self.ask("POST", path, body))

    def refusal(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, str, str]:
        """Status, code and message of an answer that must be an error."""
        answer = self.ask(method, path, body, **headers)
        assert answer.status >= 400, answer
        return answer.status, *error_of(answer)

    def publish(self, topic: str, data: object, **more: object) -> dict[str, Any]:
        """Publishes one message."""
        return self.post("/api/publish", {"topic": topic, "data": data, **more})

    @staticmethod
    def _good(answer: Answer) -> dict[str, Any]:
        assert answer.status == 200, answer
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        told = json.loads(answer.body)
        assert isinstance(told, dict), told
        return told

    def close(self) -> None:
        """Ends the connection."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def error_of(answer: Answer) -> tuple[str, str]:
    """Code and message of an error, which has the form that all errors have."""
    assert answer.headers["content-type"] == "application/json"
    document = json.loads(answer.body)
    assert set(document) == {"error"}
    error = document["error"]
    assert set(error) - {"published"} == {"code", "message"}, error
    return error["code"], error["message"]


def query(**parameters: object) -> str:
    """The parameters of a request."""
    return urllib.parse.urlencode(parameters)


@pytest.fixture
def api(server_factory: Callable[..., Running]) -> Running:
    """A server with the API, history and presence."""
    return server_factory(api_key=KEY, recovery_enabled=True, presence_enabled=True)


@pytest.fixture
def worker(api: Running) -> Iterator[Worker]:
    """A worker with the key."""
    with Worker(api.port) as worker:
        yield worker
