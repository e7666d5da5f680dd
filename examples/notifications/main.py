"""Notifications for who is logged in: a token in an HttpOnly cookie, and a topic for each user.

    pip install wse-server fastapi uvicorn
    python examples/notifications/main.py           and open http://localhost:8000/; --help tells more

The login page gets a cookie that no script can read. The browser sends it to FastAPI and to WSE alike, since
cookies know no ports; WSE checks it, and lets each user hear nothing but her own topics. A page that was away
gets what it missed.
"""

import argparse
import hmac
import secrets
import time
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import Cookie, FastAPI, HTTPException, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, StringConstraints

from wse_server import Server, rust_jwt_decode

PEOPLE = {"ann": "tulip", "bob": "tractor"}
"""Users and their passwords. Yours are in a database, as hashes."""

COOKIE = "access_token"
Token = Annotated[str, Cookie(alias=COOKIE)]


class Login(BaseModel):
    """Who says who she is."""

    name: str
    password: str


class Notice(BaseModel):
    """What somebody lets somebody else know."""

    to: str
    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


def make(port: int, pages: list[str], secret: bytes, life: int) -> FastAPI:
    """Makes the application.

    Args:
        port: The port of WSE.
        pages: The origins whose pages may connect: a cookie is sent along by whatever page asks.
        secret: Signs the tokens.
        life: Seconds for which one is good.
    """
    server = Server(
        "127.0.0.1",
        port,
        jwt_secret=secret,
        jwt_cookie_name=COOKIE,
        client_subscriptions=True,
        recovery_enabled=True,
        allowed_origins=pages,
    )
    app = FastAPI(title="Notifications", lifespan=server.lifespan)

    def log_in(response: Response, name: str) -> dict[str, str]:
        """Gives the browser a fresh token, which says what its user may hear."""
        topics = {"allow": [f"user:{name}:*"]}
        token = server.mint_token({"sub": name, "exp": int(time.time()) + life, "wse_topics": topics})
        # With https add secure=True.
        response.set_cookie(COOKIE, token, max_age=life, httponly=True, samesite="strict")
        return {"name": name}

    def user_of(token: str) -> str:
        """Who is logged in, by the rules of WSE."""
        claims = rust_jwt_decode(token, secret)
        if claims is None:
            raise HTTPException(401, "log in first")
        return str(claims["sub"])

    @app.post("/login")
    def login(who: Login, response: Response) -> dict[str, str]:
        if (
            not hmac.compare_digest(PEOPLE.get(who.name, "").encode(), who.password.encode())
            or not who.password
        ):
            raise HTTPException(401, "no such user, or another password")
        return log_in(response, who.name)

    @app.post("/renew")
    def renew(response: Response, token: Token = "") -> dict[str, str]:
        return log_in(response, user_of(token))

    @app.post("/logout")
    async def logout(response: Response, token: Token = "") -> dict[str, Any]:
        name = user_of(token)
        response.delete_cookie(COOKIE)
        here = [connection for connection in server.connections if connection.user_id == name]
        for connection in here:
            await connection.close(
                4403, "logged out"
            )  # stay away, where 4401 is: come back with another token
        return {"closed": len(here)}

    @app.post("/notices")
    async def notify(notice: Notice, token: Token = "") -> dict[str, str]:
        sender = user_of(token)
        if notice.to not in PEOPLE:
            raise HTTPException(404, "there is nobody of that name")
        told = {"from": sender, "text": notice.text, "at": time.time()}
        await server.publish(f"user:{notice.to}:notices", told, event="notice")
        return {"to": notice.to}

    @app.get("/settings")
    def settings() -> dict[str, Any]:
        return {"port": server.port, "people": sorted(PEOPLE), "life": life}

    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(Path(__file__).with_name("page.html"))

    app.mount("/static", StaticFiles(packages=[("wse_server", "static")]))
    return app


def main() -> None:
    """Reads the command line and serves."""
    parser = argparse.ArgumentParser(description="Notifications for who is logged in.")
    parser.add_argument("--port", type=int, default=8000, help="of the pages (default: %(default)s)")
    parser.add_argument("--wse-port", type=int, default=5007, help="of the WebSocket (default: %(default)s)")
    parser.add_argument("--life", type=int, default=600, help="seconds that a token is good (default: 600)")
    options = parser.parse_args()
    pages = [f"http://{host}:{options.port}" for host in ("localhost", "127.0.0.1")]
    print("log in as " + " or ".join(f"{name} with {word}" for name, word in PEOPLE.items()), flush=True)
    app = make(options.wse_port, pages, secrets.token_bytes(32), options.life)
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
