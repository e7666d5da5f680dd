"""What the server itself says, and what follows from it. One function for each word."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, cast

from .actions import State
from .codes import ErrorCode
from .errors import RefusedError
from .events import Connected, Trouble
from .feeds import Ask, Leave
from .messages import Position, Presence

if TYPE_CHECKING:
    from .link import Link
    from .session import Session

__all__ = ["hear"]

Word = dict[str, Any]

ASK_AGAIN = 2.0
"""Seconds after which a subscription is asked for again that the server could not make."""
REFRESH_AGAIN = 10.0
"""Seconds after which another token is fetched where one was refused on a live connection."""


def hear(session: Session, now: float, word: Word, size: int) -> bool:
    """Does what a word asks for. False if it is none that this client knows: it is the application's then.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: A field is missing, or is not what it should be.
    """
    kind = word.get("t")
    if kind in {"presence_join", "presence_leave", "presence_update"} and word.get("cid") is None:
        presence(session, kind, word["p"], size)
        return True
    handler = HANDLERS.get(kind) if isinstance(kind, str) else None
    if handler is None or session.link is None:
        return False
    handler(session, session.link, now, word)
    return True


def presence(session: Session, kind: str, p: Word, size: int) -> None:
    what = cast('Literal["join", "leave", "update"]', kind.removeprefix("presence_"))
    session.feeds.presence(Presence(what, str(p["topic"]), str(p["user_id"]), dict(p["data"])), size)


def server_ready(_session: Session, link: Link, _now: float, word: Word) -> None:
    link.user_id = word["p"]["details"].get("user_id")


def server_hello(session: Session, link: Link, now: float, word: Word) -> None:
    if session.state is not State.GREETING:
        return
    p = word["p"]
    problem = link.greeted(now, p)
    if problem is not None:
        session.unusable(now, problem)
        return
    is_return = session.has_connected
    session.opened()
    session.feeds.up(has_history=p["features"].get("recovery") is True, limit=link.max_message_size)
    session.events.append(
        Connected(
            session.retry.url,
            str(p["connection_id"]),
            link.user_id,
            str(p["server_version"]),
            is_return,
        )
    )


def ping(_session: Session, link: Link, _now: float, _word: Word) -> None:
    link.pulse.must_pong = True


def pong(_session: Session, _link: Link, _now: float, _word: Word) -> None:
    """That it came is all that it says."""


def subscription_update(session: Session, link: Link, _now: float, word: Word) -> None:
    cid = str(word.get("cid"))
    if cid == link.fence:
        unheard(session, link)
        return
    command = link.pending.pop(cid, None)
    if isinstance(command, Ask):
        session.feeds.asked(command, word["p"])
    elif isinstance(command, Leave):
        session.feeds.left(command)


def unheard(session: Session, link: Link) -> None:
    """Says again, or gives up, what the server has refused for its rate without a name."""
    for cid, command in link.not_heard():
        if isinstance(command, Ask | Leave):
            session.feeds.ask_again(command)
        else:
            error = RefusedError(
                "nothing was done", ErrorCode.RATE_LIMITED, "more messages than the server allows"
            )
            session.outbox.not_heard(cid, error)


def publish(session: Session, link: Link, _now: float, word: Word) -> None:
    cid, p = str(word.get("cid")), word["p"]
    position = Position(str(p["epoch"]), int(p["offset"])) if "epoch" in p else None
    link.pending.pop(cid, None)
    session.outbox.answered(cid, position=position)


def presence_update(session: Session, link: Link, _now: float, word: Word) -> None:
    cid = str(word.get("cid"))
    link.pending.pop(cid, None)
    session.outbox.answered(cid)


def gap(session: Session, _link: Link, _now: float, word: Word) -> None:
    session.feeds.gap(word["p"])


def error(session: Session, link: Link, now: float, word: Word) -> None:
    p = word["p"]
    code, detail, retry_after = str(p["code"]), str(p.get("message", "")), p.get("retry_after")
    command = link.pending.pop(str(word.get("cid")), None)
    if isinstance(command, Ask):
        if code in {ErrorCode.RATE_LIMITED, ErrorCode.SERVER_ERROR}:
            session.ask_later(now + float(retry_after or ASK_AGAIN), command)
        else:
            session.feeds.refused(command, code, detail)
    elif isinstance(command, Leave):
        session.feeds.left(command)
    elif command is not None:
        refusal = RefusedError("nothing was done", code, detail, retry_after)
        session.outbox.answered(str(word["cid"]), error=refusal)
    else:
        unnamed(session, link, now, Trouble(code, detail, retry_after))


def unnamed(session: Session, link: Link, now: float, trouble: Trouble) -> None:
    """Hears an error that answers no command by its name."""
    link.error = f"{trouble.code}: {trouble.message}"
    if trouble.code == ErrorCode.RATE_LIMITED:
        link.limited(now, float(trouble.retry_after or 1.0))
    if trouble.code == ErrorCode.AUTH_FAILED and link.is_refreshing:
        # The connection goes on with the token that it had.
        link.is_refreshing = False
        session.tokens.is_refused = True
        session.tokens.fetch_again_at(now + REFRESH_AGAIN)
    if session.state is not State.GREETING:
        session.events.append(trouble)


def rate_limit_warning(session: Session, _link: Link, _now: float, word: Word) -> None:
    p = word["p"]
    left, capacity, refill = p["remaining"], p["capacity"], p["refill_per_second"]
    text = f"{left:g} of {capacity:g} messages are left, and {refill:g} come each second"
    session.events.append(Trouble("rate_limit_warning", text))


def token_expiring(session: Session, _link: Link, now: float, word: Word) -> None:
    seconds = float(word["p"]["expires_in"])
    if session.tokens.is_provided:
        session.tokens.renew_at = now
    else:
        session.events.append(
            Trouble("token_expiring", f"the token ends in {seconds:g} s, and nobody gives another")
        )


def auth_refresh(session: Session, link: Link, now: float, word: Word) -> None:
    link.is_refreshing = False
    session.tokens.expires_in(now, float(word["p"]["expires_in"]))


def reconnect(session: Session, _link: Link, _now: float, word: Word) -> None:
    session.retry.advised = max(0.0, float(word["p"]["retry_in_ms"]) / 1000)


HANDLERS: dict[str, Callable[[Session, Link, float, Word], None]] = {
    "server_ready": server_ready,
    "server_hello": server_hello,
    "ping": ping,
    "PONG": pong,
    "subscription_update": subscription_update,
    "publish": publish,
    "presence_update": presence_update,
    "gap": gap,
    "error": error,
    "rate_limit_warning": rate_limit_warning,
    "token_expiring": token_expiring,
    "auth_refresh": auth_refresh,
    "reconnect": reconnect,
}
