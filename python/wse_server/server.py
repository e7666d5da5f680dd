"""The server for asyncio: handlers, rules, events, publishing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack

from wse_server._native import Position, RustWSEServer
from wse_server._typing import override
from wse_server.background import Background, check_background
from wse_server.checks import check_count, check_seconds
from wse_server.connection import Connection
from wse_server.dispatch import Dispatcher, Limits, Registry
from wse_server.feed import EventFeed
from wse_server.handlers import Function, Handler
from wse_server.payloads import encode
from wse_server.rules import Action, Rule
from wse_server.running import run, serve
from wse_server.server_options import ServerOptions
from wse_server.types import ClusterOptions, DrainResult, HealthSnapshot, PresenceStats, PresentUser
from wse_server.waiting import Waiting

__all__ = ["Server"]

F = TypeVar("F", bound=Function)

# How long a publisher waits before it looks again whether there is room; the engine itself looks as often.
_LOOK_AGAIN = 0.001
# Messages of `publish_many` that are put together at a time: more would keep the loop from others.
_PORTION = 256


class Server:
    """A WebSocket server for asyncio programs.

    For example::

        server = Server("127.0.0.1", 5007, client_subscriptions=True)

        @server.on("chat.send")
        async def chat(connection: Connection, payload: dict) -> None:
            await server.publish("room:1", payload, event="chat.message")

        server.run()

    The engine under it is [`RustWSEServer`][wse_server.RustWSEServer], which does everything that needs no
    decision of the program in threads of its own. The loop is woken by one descriptor, and not at all while
    nothing happens.

    Args:
        host: Address to listen on, such as "0.0.0.0" for all of IPv4.
        port: Port to listen on; 0 lets the kernel choose one, which `port` tells after the start.
        cluster: The other nodes, as the arguments of
            [`connect_cluster`][wse_server.RustWSEServer.connect_cluster]; None is a node alone.
        max_running_handlers: How many `async` handlers run at a time.
        max_waiting_messages: How many messages of one connection wait for their handlers; beyond it the
            connection is not read.
        slow_step: Seconds that something may keep the event loop from everything else before the log says
            where; 0 never looks.
        stop_timeout: Seconds that handlers which still run have to end when the server stops, before they are
            cancelled.
        **options: Every option of the engine, see the reference of options.

    Raises:
        TypeError: There is no such option, or its value has another type.
        ValueError: The value is not allowed, or two options do not go together.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 5007,
        *,
        cluster: ClusterOptions | None = None,
        max_running_handlers: int = 1000,
        max_waiting_messages: int = 256,
        slow_step: float = 0.25,
        stop_timeout: float = 5.0,
        **options: Unpack[ServerOptions],
    ) -> None:
        check_count("max_running_handlers", max_running_handlers)
        check_count("max_waiting_messages", max_waiting_messages)
        check_seconds("slow_step", slow_step)
        check_seconds("stop_timeout", stop_timeout)
        self._engine = RustWSEServer(host, port, **options)
        self._options = options
        self._cluster = cluster
        self._limits = Limits(max_running_handlers, max_waiting_messages, slow_step)
        self._stop_timeout = stop_timeout
        self._statics: list[tuple[str, str, str | bytes]] = []
        self._engine_is_taken = False
        self._registry = Registry()
        self._waiting = Waiting()
        self._dispatcher: Dispatcher | None = None
        self._background: Background | None = None

    # ---- What is registered ----

    def on_connect(self, function: F) -> F:
        """Registers a function that is called with each [`Connection`][wse_server.Connection] that has come.

        Its messages are handled after that. It may raise [`Refusal`][wse_server.Refusal] to tell the client
        something; to send it away it calls `connection.close(4403)`.

        Raises:
            TypeError: It can't be called so.
            RuntimeError: The server runs.
        """
        self._check_stopped("on_connect")
        self._registry.connect.append(Handler.of(function, "on_connect", second=None))
        return function

    def on_disconnect(self, function: F) -> F:
        """Registers a function that is called with each connection that has ended.

        It is called after the last message was handled.

        Raises:
            TypeError, RuntimeError: As `on_connect`.
        """
        self._check_stopped("on_disconnect")
        self._registry.disconnect.append(Handler.of(function, "on_disconnect", second=None))
        return function

    def on(self, event: str, *, ordered: bool = True) -> Callable[[F], F]:
        """Registers a function for messages `{"t": event, "p": payload}` of clients.

        It is called with the connection and, if it takes a second parameter, with the payload, checked
        against what that is annotated with: dict, a dataclass, a TypedDict, a msgspec struct, a pydantic
        model, or anything made of them. A payload that does not fit is answered with INVALID_ACTION and the
        path of the field. What the function returns, unless it is None, goes back to the client as `{"t":
        event, "p": ..., "cid": ...}`, with the `cid` of its message. When it raises
        [`Refusal`][wse_server.Refusal] the client gets that; after any other exception HANDLER_ERROR with an
        id that is in the log too.

        Args:
            event: The type of the messages.
            ordered: Whether the connection's next message waits until this one is handled.

        Raises:
            TypeError: The function can't be called so; the message names the parameter.
            ValueError: There is a handler for this event already.
            RuntimeError: The server runs.
        """
        if not isinstance(event, str):
            raise TypeError(
                f"on() takes the type of an event, a str, as in @server.on('chat.send'); got {event!r}"
            )

        def register(function: F) -> F:
            self._check_stopped(f"on({event!r})")
            if event in self._registry.events:
                raise ValueError(f"there is a handler for {event!r} already")
            handler = Handler.of(function, f"on({event!r})", second="payload", ordered=ordered)
            self._registry.events[event] = handler
            return function

        return register

    def on_text(self, function: F) -> F:
        """Registers a function for text that is no JSON object; it is called with the connection and a str.

        Raises:
            TypeError, RuntimeError: As `on_connect`.
            ValueError: There is one already.
        """
        self._check_stopped("on_text")
        if self._registry.text is not None:
            raise ValueError("there is a handler for text already")
        self._registry.text = Handler.of(function, "on_text", second="text")
        return function

    def on_binary(self, function: F) -> F:
        """Registers a function for binary messages; it is called with the connection and bytes.

        Raises:
            TypeError, RuntimeError, ValueError: As `on_text`.
        """
        self._check_stopped("on_binary")
        if self._registry.binary is not None:
            raise ValueError("there is a handler for binary messages already")
        self._registry.binary = Handler.of(function, "on_binary", second="data")
        return function

    def authorize(
        self, template: str, *, actions: tuple[Action, ...] = ("subscribe", "publish")
    ) -> Callable[[F], F]:
        """Registers a rule: whether a client may have a topic that it asks for itself.

        The function is called with the connection and by name with the fields of the template, converted to
        the types they are annotated with; a topic whose parts can't become that is not meant. It may take
        `action` too, "subscribe" or "publish". The topic is allowed if it returns True; it may raise
        [`Refusal`][wse_server.Refusal] to say why not. With one rule registered, what no rule allows is
        refused, patterns included. Access lists (the claim `wse_topics`, `set_acl`) hold beside the rules.
        What is allowed for publishing holds for the length of the connection; each subscription is asked for
        anew.

        Args:
            template: Topics of one form, such as "room:{room_id}": `{name}` is one part, up to the next ":"
                or "/", `{name:path}` any rest.
            actions: What the rule is about.

        Raises:
            TypeError: The function can't be called so; the message names the parameter or the field.
            ValueError: The template is malformed, or the server lets clients neither subscribe nor publish.
            RuntimeError: The server runs.
        """
        if not isinstance(template, str):
            raise TypeError(
                f"authorize() takes a template of topics, as in @server.authorize('room:{{id}}'); "
                f"got {template!r}"
            )
        if not (self._options.get("client_subscriptions") or self._options.get("client_publish")):
            raise ValueError(
                f"authorize({template!r}) is about what clients do themselves: it needs "
                "client_subscriptions=True, client_publish=True or both"
            )

        def register(function: F) -> F:
            self._check_stopped(f"authorize({template!r})")
            self._registry.rules.append(Rule.of(template, function, actions))
            return function

        return register

    def background(self, function: F) -> F:
        """Registers an `async` function without parameters that runs while the server does.

        It begins when the port is open, and is cancelled when the server stops, after the handlers have
        ended. If it raises the log has the traceback and the server goes on without it; if it returns that
        is all.

        Raises:
            TypeError: It is not `async`, or has a parameter.
            RuntimeError: The server runs.
        """
        self._check_stopped("background")
        check_background(function)
        self._registry.background.append(function)
        return function

    def _check_stopped(self, what: str) -> None:
        if self._dispatcher is not None:
            raise RuntimeError(f"{what} comes before the server is started")

    def events(self) -> EventFeed:
        """What happens at the server from now on, beside the handlers: `async for event in server.events()`.

        While anybody listens, messages that have no handler are not answered with INVALID_ACTION. Nothing is
        lost: a listener that is too slow holds the clients back. It ends when the server stops.

        Raises:
            RuntimeError: The server does not run.
        """
        return self._running("events").feed()

    # ---- Life ----

    def configure(
        self,
        host: str | None = None,
        port: int | None = None,
        *,
        cluster: ClusterOptions | None = None,
        **options: Unpack[ServerOptions],
    ) -> None:
        """Changes what the server was made with, before it starts.

        That is how `wse serve --app` gives a program the settings of the place where it runs.

        Args:
            host: Address to listen on; None leaves it.
            port: Port to listen on; None leaves it.
            cluster: Arguments of `connect_cluster` that are added, or take the place of others.
            **options: Options of the engine, likewise.

        Raises:
            TypeError, ValueError: As the constructor; nothing has changed then.
            RuntimeError: The server runs, or the program has taken `engine` already, which would be another.
        """
        self._check_stopped("configure")
        if self._engine_is_taken:
            raise RuntimeError("configure comes before the program takes server.engine")
        merged: ServerOptions = {**self._options, **options}
        engine = RustWSEServer(
            self.host if host is None else host, self.port if port is None else port, **merged
        )
        for path, content_type, body in self._statics:
            engine.add_static(path, content_type, body)
        self._engine, self._options = engine, merged
        if cluster is not None:
            together: ClusterOptions = {**(self._cluster or {"peers": []}), **cluster}
            self._cluster = together

    async def start(self) -> None:
        """Opens the port and takes clients; in a cluster it looks for the other nodes from here on.

        Until it has joined them `/ready` says 503.

        Raises:
            OSError: The address can't be bound.
            RuntimeError: The server runs already.
            ValueError: The environment's ALLOWED_ORIGINS, or an argument of the cluster, is malformed.
        """
        if self._dispatcher is not None:
            raise RuntimeError("the server is already running")
        engine = self._engine
        engine.enable_drain_mode(claims=True, authorize=bool(self._registry.rules))
        dispatcher = Dispatcher(engine, self._registry, self._limits, self._waiting)
        self._dispatcher = dispatcher
        try:
            await self._waiting.in_thread(engine.start, joining=self._cluster is not None)
            if self._cluster is not None:
                self._waiting.in_cluster = True
                await self._waiting.in_thread(self._join, self._cluster)
        except BaseException:
            engine.stop()
            self._dispatcher = None
            await dispatcher.finish(0)
            raise
        dispatcher.begin()
        self._background = Background(self._registry.background)

    def _join(self, cluster: ClusterOptions) -> None:
        self._engine.connect_cluster(**cluster)

    async def stop(self) -> None:
        """Closes all connections with 1012, which lets clients come back, and waits for the handlers.

        A second stop does nothing.
        """
        dispatcher = self._dispatcher
        if dispatcher is None:
            return
        await self._waiting.in_thread(self._engine.stop)
        if self._dispatcher is dispatcher:
            self._dispatcher = None
            await dispatcher.finish(self._stop_timeout)
            if self._background is not None:
                await self._background.end(self._stop_timeout)
                self._background = None
            self._waiting.close()
            self._waiting.in_cluster = False

    async def drain(
        self, close_code: int = 4300, close_reason: str = "", timeout: float = 30.0
    ) -> DrainResult:
        """Sends new clients elsewhere, and those that are here over `timeout` seconds.

        It returns as soon as all are gone.

        Returns:
            `drained` and `cut`, as [`drain`][wse_server.RustWSEServer.drain].
        """
        return await self._waiting.in_thread(self._engine.drain, close_code, close_reason, timeout)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:  # noqa: ARG002 - as ASGI calls it
        """Starts and stops with an ASGI application: `FastAPI(lifespan=server.lifespan)`, or Starlette."""
        async with self:
            yield

    async def serve(self, *, drain_timeout: float = 30.0) -> None:
        """Runs until SIGTERM or SIGINT, then drains and stops; a second signal hurries.

        Args:
            drain_timeout: Seconds over which clients are sent away; 0 stops at once.
        """
        await serve(self, drain_timeout)

    def run(
        self,
        *,
        drain_timeout: float = 30.0,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        """Runs as the whole program: `serve` in a loop of its own.

        Args:
            drain_timeout: As `serve`.
            loop_factory: Makes the event loop, such as `uvloop.new_event_loop`; None is asyncio's own.
        """
        run(self, drain_timeout, loop_factory)

    @property
    def is_running(self) -> bool:
        """Whether the port accepts."""
        return self._engine.is_running()

    # ---- Publishing ----

    async def publish(
        self,
        topic: str,
        message: object,
        *,
        event: str | None = None,
        wait: Literal["local", "stored"] = "local",
        timeout: float = 10.0,
    ) -> Position | None:
        """Publishes a message to the subscribers of a topic, in a cluster on all nodes.

        It waits, without blocking the loop, while most subscribers are far behind. A publisher that is
        cancelled meanwhile has not published.

        Args:
            topic: 1-255 bytes of UTF-8 without control characters and wildcards.
            message: A dict with a text `t` is a whole message, unless `event` is given; anything else is a
                payload.
            event: The type of the message that carries the payload; None is "message".
            wait: "local" returns when this node has taken it, "stored" when the topic's home and its replicas
                hold it.
            timeout: Seconds to wait for "stored".

        Returns:
            The position, as [`broadcast`][wse_server.RustWSEServer.broadcast].

        Raises:
            TypeError: Something in the message has no JSON form.
            ValueError: The topic is malformed, or the message too long, or has a field that only the server
                writes.
            PublishTimeout: With "stored": it is not known whether it is stored.
        """
        text = encode(message, event)
        engine = self._engine
        if not engine.has_room(topic):
            await self._room(topic)
        if wait == "local":
            return engine.broadcast(topic, text)
        return await self._waiting.call(engine.broadcast, topic, text, wait=wait, timeout=timeout)

    async def publish_many(
        self,
        topic: str,
        messages: Iterable[object],
        *,
        event: str | None = None,
        wait: Literal["local", "stored"] = "local",
        timeout: float = 10.0,
    ) -> Position | None:
        """Publishes many messages to one topic, in order; cheaper than a call for each.

        Args:
            topic: As `publish`.
            messages: What `publish` takes, several of it; they are all read before the first is sent.
            event: As `publish`, of each.
            wait: As `publish`; "stored" waits for the last.
            timeout: Seconds to wait for "stored".

        Returns:
            The position of the last message.

        Raises:
            TypeError, ValueError: As `publish`; nothing is sent then.
            PublishTimeout: With "stored": it is not known how many are stored.
        """
        texts = [encode(message, event) for message in messages]
        engine = self._engine
        position = None
        if wait != "local":
            await self._room(topic)
            return await self._waiting.call(engine.broadcast_many, topic, texts, wait=wait, timeout=timeout)
        for start in range(0, len(texts), _PORTION):
            if not engine.has_room(topic):
                await self._room(topic)
            position = engine.broadcast_many(topic, texts[start : start + _PORTION])
        return position

    async def _room(self, topic: str) -> None:
        while not self._engine.has_room(topic):  # noqa: ASYNC110 - nobody tells when there is
            await asyncio.sleep(_LOOK_AGAIN)

    async def send_all(self, message: object, event: str | None = None) -> None:
        """Sends a message to every connection of this node, whatever it is subscribed to."""
        self._engine.broadcast_all(encode(message, event))

    # ---- People ----

    def connection(self, conn_id: str) -> Connection | None:
        """The connection with this id; None if there is none, or its end was handled."""
        return None if self._dispatcher is None else self._dispatcher.connections.get(conn_id)

    @property
    def connections(self) -> list[Connection]:
        """The connections that the program has heard of, of this node."""
        return (
            []
            if self._dispatcher is None
            else [it for it in self._dispatcher.connections.values() if it.is_open]
        )

    def presence(self, topic: str) -> dict[str, PresentUser]:
        """Who is present in a topic, in the whole cluster: {user_id: {"data", "connections"}}."""
        return self._engine.presence(topic)

    def presence_stats(self, topic: str) -> PresenceStats:
        """How many are."""
        return self._engine.presence_stats(topic)

    # ---- The rest ----

    @property
    def engine(self) -> RustWSEServer:
        """The engine, for everything else; its events belong to this server."""
        self._engine_is_taken = True
        return self._engine

    @property
    def options(self) -> ServerOptions:
        """The options of the engine that it was made with, or that `configure` gave it."""
        return self._options.copy()

    @property
    def host(self) -> str:
        """The address that it listens on."""
        return self._engine.host

    @property
    def port(self) -> int:
        """The port; the one that the kernel chose, once started."""
        return self._engine.port

    def add_static(self, path: str, content_type: str, body: str | bytes) -> None:
        """Serves a small page at a path of the same port."""
        self._engine.add_static(path, content_type, body)
        self._statics.append((path, content_type, body))

    def mint_token(self, claims: dict[str, Any]) -> str:
        """Signs a token with the server's own key."""
        return self._engine.mint_token(claims)

    def health(self) -> HealthSnapshot:
        """The figures of `GET /health`."""
        return self._engine.health_snapshot()

    def _running(self, what: str) -> Dispatcher:
        if self._dispatcher is None:
            raise RuntimeError(f"{what} needs a server that runs: await server.start(), or async with server")
        return self._dispatcher

    @override
    def __repr__(self) -> str:
        state = "running" if self.is_running else "stopped"
        return f"<Server {self.host}:{self.port} {state}>"
