"""A chat with rooms on FastAPI: who is there, and no word lost by a cut, a reload or a restart.

    pip install wse-server fastapi uvicorn
    python examples/chat_fastapi/main.py            and open http://localhost:8000/; --help tells more

FastAPI serves the page and what was said before, on one port; WSE the live messages and presence, on another.
What is said is kept in SQLite, so a restart forgets nothing.
"""

import argparse
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, StringConstraints

from wse_server import Connection, Server

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=30)]
ROOM = r"^[a-z0-9-]{1,30}$"
Room = Annotated[str, StringConstraints(pattern=ROOM)]


class Said(BaseModel):
    """What somebody says in a room. There are no accounts here: you are whoever you say you are."""

    room: Room
    name: Name
    text: Text


class Where(BaseModel):
    """A room."""

    room: Room


def make(database: Path, port: int, pages: list[str]) -> FastAPI:
    """Makes the application.

    Args:
        database: Where what is said is kept.
        port: The port of WSE.
        pages: The origins whose pages may connect, such as "http://localhost:8000".
    """
    with closing(sqlite3.connect(database)) as db:
        db.execute("CREATE TABLE IF NOT EXISTS said (id INTEGER PRIMARY KEY, room, name, text, at)")

    server = Server(
        "127.0.0.1",
        port,
        client_subscriptions=True,
        recovery_enabled=True,
        presence_enabled=True,
        allowed_origins=pages,
    )
    app = FastAPI(title="Chat", lifespan=server.lifespan)

    @server.authorize("room:{room}")
    def may(connection: Connection, room: str) -> bool:
        return re.fullmatch(ROOM, room) is not None

    @server.on("chat.say")
    async def say(connection: Connection, said: Said) -> dict[str, Any]:
        # Kept before it is published: whoever hears of it finds it, whoever asks later too.
        message = keep(database, said)
        await server.publish(f"room:{said.room}", message, event="chat.said")
        return {"id": message["id"]}

    @server.on("chat.people")
    async def people(connection: Connection, where: Where) -> dict[str, Any]:
        return {user: who["data"] for user, who in server.presence(f"room:{where.room}").items()}

    @app.get("/rooms/{room}/messages")
    def messages(room: Room, last: int = 50) -> list[dict[str, Any]]:
        return read(database, room, min(last, 500))

    @app.get("/settings")
    def settings() -> dict[str, int]:
        return {"port": server.port}

    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(Path(__file__).with_name("page.html"))

    # wse.js comes with the package.
    app.mount("/static", StaticFiles(packages=[("wse_server", "static")]))
    return app


def keep(database: Path, said: Said) -> dict[str, Any]:
    """Keeps what was said, and returns it as it is told."""
    at = time.time()
    with closing(sqlite3.connect(database)) as db, db:
        insert = "INSERT INTO said (room, name, text, at) VALUES (?, ?, ?, ?)"
        number = db.execute(insert, (said.room, said.name, said.text, at)).lastrowid
    return {"id": number, "name": said.name, "text": said.text, "at": at}


def read(database: Path, room: str, last: int) -> list[dict[str, Any]]:
    """What was said last in a room, oldest first."""
    with closing(sqlite3.connect(database)) as db:
        db.row_factory = sqlite3.Row
        select = "SELECT id, name, text, at FROM said WHERE room = ? ORDER BY id DESC LIMIT ?"
        return [dict(row) for row in reversed(db.execute(select, (room, last)).fetchall())]


def main() -> None:
    """Reads the command line and serves."""
    parser = argparse.ArgumentParser(description="A chat with rooms.")
    parser.add_argument("--port", type=int, default=8000, help="of the page (default: %(default)s)")
    parser.add_argument("--wse-port", type=int, default=5007, help="of the WebSocket (default: %(default)s)")
    parser.add_argument("--database", type=Path, default=Path("chat.db"), help="default: %(default)s")
    options = parser.parse_args()
    pages = [f"http://{host}:{options.port}" for host in ("localhost", "127.0.0.1")]
    app = make(options.database, options.wse_port, pages)
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
