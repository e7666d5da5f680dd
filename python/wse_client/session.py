"""The client as a machine without sockets, clocks or threads: whoever drives it brings the world.

The world speaks by `handle_*`, the application by plain verbs, and the machine answers by `poll_*`. After
each call all of `poll_action`, `poll_event` and `poll_transmit` are asked until they have nothing more to
say, and `handle_timeout` is called at the time that `poll_timeout` names. `now` is any clock that only goes
forward, in seconds.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from ._typing import override
from .actions import Action, Dial, FetchToken, Finish, HangUp, State
from .codes import CloseCode, ErrorCode, Reconnect, close_info
from .errors import AuthenticationError, ClosedError, ConnectError, OutcomeUnknownError, RefusedError
from .events import Disconnected, Event, Trouble
from .feeds import Ask, Feed, Feeds, Leave
from .inbox import Inbox, Overflow
from .link import Link, Pulse
from .messages import Message, Position
from .options import Options
from .outbox import Outbox, Publication
from .retry import REFUSALS, Retry
from .tokens import Tokens
from .wire import Content, Wire, WireError, with_format
from .words import hear

if TYPE_CHECKING:
    from .encryption import KeyExchange

__all__ = ["Session"]

TOKEN_AGAIN = 5.0
"""Seconds after which a token provider that failed is asked again on a live connection."""


class Session:
    """A client from its first attempt to its end.

    Args:
        options: What was asked for.
        random: Draws the delays between attempts.
        exchange: Makes a key pair for a connection; needed with `encryption`.
    """

    def __init__(
        self, options: Options, random: Random, exchange: Callable[[], KeyExchange] | None = None
    ) -> None:
        self.options = options
        self.state = State.NEW
        self.error: ClosedError | None = None
        """Why it has ended; None as long as it has not, and where the application wanted it so."""
        self.feeds = Feeds()
        self.direct = Inbox(options.receive_buffer_bytes, "drop_oldest", self.feeds.full)
        """Messages that belong to no subscription."""
        self.outbox = Outbox(options.publish_queue_bytes, options.publish_overflow)
        self.link: Link | None = None
        self.has_connected = False
        """Whether there ever was a connection."""
        self.retry = Retry(options.urls, random)
        is_provided = callable(options.token)
        token = options.token if isinstance(options.token, str) else None
        self.tokens = Tokens(token, is_provided=is_provided, margin=options.token_margin)
        self.events: deque[Event] = deque()
        self._actions: deque[Action] = deque()
        self._exchange = exchange
        self._writer = self._new_wire()
        self._cids = itertools.count(1)
        self._due = 0.0
        """When the state's time is over, where it has one."""
        self._refusals = 0
        self._is_fetching = False
        self._later: list[tuple[float, Ask]] = []
        self._farewell = (int(CloseCode.NORMAL), "")

    def _new_wire(self) -> Wire:
        options = self.options
        return Wire(options.format, is_zlib=options.compression == "zlib", limit=options.max_message_size)

    # ---- What the application says ----

    def open(self, now: float) -> None:
        """Begins to connect."""
        if self.state is not State.NEW:
            raise RuntimeError("a client is opened once; make another one")
        self._attempt(now)

    def subscribe(
        self,
        topics: Sequence[str],
        *,
        queue_group: str | None = None,
        presence: Mapping[str, Any] | None = None,
        hears_presence: bool = False,
        positions: Mapping[str, Position] | None = None,
        limit: int | None = None,
        overflow: Overflow | None = None,
    ) -> Feed:
        """Makes a subscription, also while there is no connection. `Client.subscribe` tells the arguments."""
        self._check_alive()
        if presence is not None:
            self._writer.write({"presence": dict(presence)})  # Refuses here what could not be sent later.
        return self.feeds.add(
            topics,
            limit=limit or self.options.receive_buffer_bytes,
            overflow=overflow or self.options.overflow,
            queue_group=queue_group,
            presence=presence,
            hears_presence=hears_presence,
            positions=positions,
        )

    def unsubscribe(self, feed: Feed) -> None:
        """Ends a subscription; what waits is dropped."""
        self.feeds.remove(feed, clear=True)

    def publish(self, topic: str, message: Mapping[str, Any], *, resend: bool = False) -> Publication:
        """Publishes, now or when there is a connection. `Client.publish` tells the arguments and errors."""
        return self._command("publish", {"topic": topic, "data": dict(message)}, resend=resend)

    def update_presence(self, data: Mapping[str, Any]) -> Publication:
        """Changes what others see, here and in the subscriptions with presence when the client comes back."""
        publication = self._command("presence_update", {"data": dict(data)}, resend=True)
        for feed in self.feeds:
            if feed.presence is not None:
                feed.presence = dict(data)
        return publication

    def _command(self, kind: str, p: dict[str, Any], *, resend: bool) -> Publication:
        self._check_alive()
        cid = self.next_cid()
        frame = self._writer.write({"t": kind, "p": p, "cid": cid})
        publication = Publication(frame, cid=cid, resend=resend)
        self.outbox.push(publication)
        return publication

    def send(self, content: Content) -> Publication:
        """Says something to the server's application, which answers as it likes."""
        self._check_alive()
        publication = Publication(self._writer.write(content), cid=None)
        self.outbox.push(publication)
        return publication

    def close(self, now: float, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Says goodbye, after what waits was sent if there is a connection."""
        self._farewell = (code, reason)
        if self.state is State.OPEN:
            self.state = State.CLOSING
            self._due = now + self.options.close_timeout
            self._close_if_done()
        elif self.state is not State.CLOSED and self.state is not State.CLOSING:
            if self.state is not State.NEW:
                self._actions.append(HangUp(code, reason))
            self.finish(None)

    def _check_alive(self) -> None:
        if self.state in {State.CLOSING, State.CLOSED}:
            raise self.error or ClosedError("the client was closed")

    # ---- What the world says ----

    def handle_token(self, now: float, unix: float, token: str) -> None:
        """A fresh token is there; `unix` is the time since 1970, in which tokens tell their end."""
        self._is_fetching = False
        is_other = token != self.tokens.current
        is_taken = self.tokens.take(now, unix, token)
        if self.state is State.FETCHING and is_taken:
            self._dial(now)
        elif self.state is State.FETCHING:
            self.finish(
                AuthenticationError("the server refuses the token, and the provider gives the same again")
            )
        elif not is_taken:
            self.tokens.fetch_again_at(now + TOKEN_AGAIN)
        elif self.link is not None and is_other:
            self.link.must_refresh = True

    def handle_token_error(self, now: float, reason: str) -> None:
        """The provider has failed."""
        self._is_fetching = False
        self.events.append(Trouble("TOKEN_UNAVAILABLE", reason))
        self.tokens.fetch_again_at(now + TOKEN_AGAIN)
        if self.state is State.FETCHING:
            self._attempt_failed(now, f"no token: {reason}")

    def handle_dialled(self, now: float) -> None:
        """The connection stands."""
        options = self.options
        exchange = self._exchange() if options.encryption and self._exchange is not None else None
        pulse = Pulse(now, options.ping_interval, options.pong_timeout)
        self.link = Link(now, self._new_wire(), pulse, exchange, wants_zlib=options.compression == "zlib")
        self.state = State.GREETING

    def handle_dial_error(
        self, now: float, reason: str, status: int | None = None, retry_after: float | None = None
    ) -> None:
        """The connection could not be made; `status` is the answer to the upgrade if there was one."""
        self._refusals = self._refusals + 1 if status in REFUSALS else 0
        if status == 401:
            self.tokens.is_refused = True
            if not self.tokens.is_provided:
                return self.finish(AuthenticationError(f"{self.retry.url}: {reason}"))
        return self._attempt_failed(now, reason, retry_after)

    def handle_life(self, now: float) -> None:
        """Bytes came, be they a whole frame or not; or the connection is read again after a pause."""
        if self.link is not None:
            self.link.pulse.heard(now)

    def handle_frame(self, now: float, frame: str | bytes) -> bool:
        """A text or binary message came.

        Returns:
            False if nothing follows from it but that a reader has something to read.
        """
        link = self.link
        if link is None:
            return False
        link.pulse.heard(now)
        try:
            content = link.wire.read(frame)
            if isinstance(content, dict) and content.get("c") == "WSE":
                if not hear(self, now, content, len(frame)):
                    self.direct.push(Message(content), len(frame))
            else:
                self._take(content, len(frame))
                return self.feeds.has_command
        except WireError as error:
            self.drop(now, CloseCode.INVALID_PAYLOAD, str(error))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self.drop(now, CloseCode.PROTOCOL_ERROR, f"the server said what can't be understood: {error!r}")
        if self.state is State.CLOSING:
            self._close_if_done()
        return True

    def _take(self, content: Content, size: int) -> None:
        message = Message(content)
        if isinstance(content, dict) and "tp" in content:
            topic, epoch, offset = content["tp"], content.get("e"), content.get("o")
            if isinstance(topic, str) and isinstance(epoch, str) and isinstance(offset, int):
                message.topic = topic
                message.position = Position(epoch, offset)
        if not self.feeds.offer(message, size):
            self.direct.push(message, size)

    def handle_lost(self, now: float, code: int | None, reason: str) -> None:
        """The connection has ended; `code` is that of the close frame, None if there was none."""
        if self.link is not None:
            self._lost(now, CloseCode.ABNORMAL if code is None else code, reason)

    def handle_timeout(self, now: float) -> None:
        """Some time has passed."""
        if self.state is State.WAITING and now >= self._due:
            self._attempt(now)
        elif self.state in {State.DIALLING, State.GREETING} and now >= self._due:
            where = "the server" if self.state is State.DIALLING else "the server's greeting"
            self._actions.append(HangUp(CloseCode.GOING_AWAY, "too slow"))
            self._attempt_failed(
                now, f"{where} took longer than attempt_timeout, {self.options.attempt_timeout} s"
            )
        elif self.state is State.CLOSING and now >= self._due:
            self._hang_up_and_finish()
        elif self.state is State.OPEN and self.link is not None:
            self._tend(now, self.link)

    def _tend(self, now: float, link: Link) -> None:
        if link.pulse.is_dead(now, is_read=not self.is_full):
            self.drop(now, CloseCode.ABNORMAL, "the server is silent", CloseCode.GOING_AWAY)
            return
        if self.tokens.renew_at is not None and now >= self.tokens.renew_at and not self._is_fetching:
            self.tokens.renew_at = None
            self._fetch()
        if link.fence_at is not None and link.fence is None and now >= link.fence_at:
            link.fence_at = None
            link.must_fence = True
        for when, ask in self._later[:]:
            if now >= when:
                self._later.remove((when, ask))
                self.feeds.ask_again(ask)

    # ---- What the machine answers ----

    @property
    def is_full(self) -> bool:
        """Whether the connection should not be read, because readers are behind."""
        return bool(self.feeds.full)

    def poll_action(self) -> Action | None:
        """What has to be done."""
        return self._actions.popleft() if self._actions else None

    def poll_event(self) -> Event | None:
        """What the application should know."""
        return self.events.popleft() if self.events else None

    def poll_transmit(self, now: float) -> str | bytes | None:
        """The next frame to send.

        Asked for one at a time, when the last was taken: so what waits is counted here and nowhere else.
        """
        link = self.link
        if link is None:
            return None
        if self.state is State.GREETING and link.must_greet:
            link.must_greet = False
            return link.wire.packed(link.wire.write(link.hello()))
        if self.state not in {State.OPEN, State.CLOSING}:
            return None
        command = self._urgent(now, link)
        if command is not None:
            return link.wire.packed(link.wire.write(command))
        return self._ordinary(now, link)

    def _urgent(self, now: float, link: Link) -> dict[str, Any] | None:
        """What goes out before all else, whatever the rate."""
        if link.pulse.must_pong:
            link.pulse.must_pong = False
            return {"t": "pong"}
        if link.pulse.must_ping:
            link.pulse.must_ping = False
            return {"t": "ping", "p": {"timestamp": int(now * 1000)}}
        if link.must_refresh:
            link.must_refresh, link.is_refreshing = False, True
            return {"t": "auth_refresh", "p": {"token": self.tokens.current}}
        if link.must_fence:
            link.must_fence = False
            link.fence = self.next_cid()
            return Leave(()).command() | {"cid": link.fence}
        return None

    def _ordinary(self, now: float, link: Link) -> str | bytes | None:
        """What keeps to the server's rate limit: subscriptions first, then what the application says."""
        if not (self.feeds.has_command or self.outbox.has_queued) or not link.allowance.take(now):
            return None
        command = self.feeds.poll_command()
        if command is not None:
            cid = self.next_cid()
            link.pending[cid] = command
            return link.wire.packed(link.wire.write(command.command() | {"cid": cid}))
        while (publication := self.outbox.poll()) is not None:
            if link.fits(publication):
                if publication.cid is not None:
                    link.pending[publication.cid] = publication
                return link.wire.packed(publication.frame)
            self._refuse_size(publication, link)
        return None

    def _refuse_size(self, publication: Publication, link: Link) -> None:
        detail = f"{publication.bytes_on_wire} bytes, and the server takes {link.max_message_size}"
        error = RefusedError("nothing was sent", ErrorCode.MESSAGE_TOO_LARGE, detail)
        if publication.cid is not None:
            self.outbox.answered(publication.cid, error=error)
        else:
            publication.error = error
            self.events.append(Trouble(error.code, detail))

    def poll_timeout(self) -> float | None:
        """When `handle_timeout` has to be called, None for never."""
        if self.state in {State.WAITING, State.DIALLING, State.GREETING, State.CLOSING}:
            return self._due
        if self.state is not State.OPEN or self.link is None:
            return None
        link = self.link
        times = [link.pulse.due, *(when for when, _ in self._later)]
        if self.tokens.renew_at is not None and not self._is_fetching:
            times.append(self.tokens.renew_at)
        if link.fence_at is not None and link.fence is None:
            times.append(link.fence_at)
        if link.allowance.is_exhausted:
            times.append(link.allowance.due)
        return min(times)

    # ---- Leaves that the words of the server use as well ----

    def next_cid(self) -> str:
        """A name for a command that no other has, on whatever connection."""
        return f"c{next(self._cids)}"

    def opened(self) -> None:
        """The server has greeted."""
        self.state = State.OPEN
        self.has_connected = True
        self._refusals = 0
        self.retry.connected()

    def ask_later(self, when: float, ask: Ask) -> None:
        """Asks again at that time for what the server could not do just now."""
        self._later.append((when, ask))

    def drop(self, now: float, code: int, reason: str, farewell: int | None = None) -> None:
        """Ends the connection from this side.

        Args:
            now: The time.
            code: The close code that says when to come back.
            reason: Why.
            farewell: The code that the server is told; None for the same.
        """
        if self.link is not None:
            self._actions.append(HangUp(farewell or code, reason[:100]))
            self._lost(now, code, reason)

    def unusable(self, now: float, reason: str) -> None:
        """The server is not one that this client can use."""
        self._refusals += 1
        self._actions.append(HangUp(CloseCode.GOING_AWAY, reason[:100]))
        self._attempt_failed(now, reason)

    def finish(self, error: ClosedError | None) -> None:
        """Comes to the end."""
        self.state = State.CLOSED
        self.error = error
        self._forget_link(error or ClosedError("the client was closed"))
        self.outbox.close(error or ClosedError("the client was closed"))
        for feed in list(self.feeds):
            self.feeds.remove(feed, error)
        self.direct.end(error)
        self._actions.append(Finish())

    # ---- The way back ----

    def _attempt(self, now: float) -> None:
        if self.tokens.must_be_fetched(now):
            self.state = State.FETCHING
            if not self._is_fetching:
                self._fetch()
        elif self.tokens.is_refused:
            self.finish(AuthenticationError("the server refuses the token, and there is no other"))
        else:
            self._dial(now)

    def _fetch(self) -> None:
        self._is_fetching = True
        self._actions.append(FetchToken())

    def _dial(self, now: float) -> None:
        self.state = State.DIALLING
        self._due = now + self.options.attempt_timeout
        self._actions.append(Dial(with_format(self.retry.url, self.options.format), self.tokens.current))

    def _attempt_failed(self, now: float, reason: str, retry_after: float | None = None) -> None:
        url = self.retry.url
        self._forget_link(None)
        self._wait(now, url, None, reason, self.retry.after_failure(retry_after))

    def _lost(self, now: float, code: int, reason: str) -> None:
        """What follows the end of a connection: the code says whether and when there is another."""
        url, was_greeted, is_over = self.retry.url, self.state is State.OPEN, self.state is State.CLOSING
        said = self.link.error if self.link is not None else None
        reason = reason or said or close_info(code).meaning
        self._forget_link(OutcomeUnknownError(f"the connection was lost before the answer came: {reason}"))
        if is_over:
            return self.finish(None)
        delay = self.retry.after_close(code)
        if delay is None:
            self.events.append(Disconnected(url, code, reason, None))
            return self.finish(ClosedError(reason, code))
        if close_info(code).reconnect is Reconnect.NEW_TOKEN:
            self.tokens.is_refused = True
            if not self.tokens.is_provided:
                self.events.append(Disconnected(url, code, reason, None))
                return self.finish(AuthenticationError(said or reason, code))
        if not was_greeted:
            delay = max(delay, self.retry.after_failure())
        return self._wait(now, url, code, reason, delay)

    def _forget_link(self, error: Exception | None) -> None:
        self.link = None
        self._later.clear()
        self.feeds.down()
        if error is not None:
            self.outbox.lost(error)

    def _wait(self, now: float, url: str, code: int | None, reason: str, delay: float) -> None:
        limit = self.options.max_attempts
        is_refused_by_all = not self.has_connected and self._refusals >= len(self.options.urls)
        if is_refused_by_all or (limit is not None and self.retry.failures >= limit):
            self.events.append(Disconnected(url, code, reason, None))
            return self.finish(ConnectError(f"{url}: {reason}", code))
        self.events.append(Disconnected(url, code, reason, delay))
        self.state = State.WAITING
        self._due = now + delay
        return None

    def _close_if_done(self) -> None:
        if self.state is State.CLOSING and not self.outbox:
            self._hang_up_and_finish()

    def _hang_up_and_finish(self) -> None:
        self._actions.append(HangUp(*self._farewell))
        self.finish(None)

    @override
    def __repr__(self) -> str:
        return f"<Session {self.state.name.lower()} {self.retry.url}, {len(self.feeds)} subscriptions>"
