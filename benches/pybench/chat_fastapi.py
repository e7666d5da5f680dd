"""The chat on FastAPI and `uvicorn[standard]`, which brings uvloop and httptools.

    python -m pybench.chat_fastapi PORT IMPLEMENTATION

IMPLEMENTATION is uvicorn's `--ws`: "websockets", or "websockets-sansio", which is what "auto" means by now.
A message is encoded once for its room. There is no access log, and no compression, which no client asks for.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from pybench.serving import listener, ready

app = FastAPI()
rooms: dict[str, set[WebSocket]] = defaultdict(set)
said: dict[str, int] = defaultdict(int)


async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    name, room = websocket.cookies["name"], websocket.cookies["room"]
    rooms[room].add(websocket)
    try:
        while True:
            await handle(websocket, name, json.loads(await websocket.receive_text()))
    except WebSocketDisconnect:
        pass
    finally:
        rooms[room].discard(websocket)


async def handle(websocket: WebSocket, name: str, message: dict[str, object]) -> None:
    payload = message.get("p")
    if message.get("t") != "chat.send" or not isinstance(payload, dict):
        await websocket.send_text('{"t":"error","p":{"code":"INVALID_ACTION"}}')
        return
    room = payload["room"]
    if websocket not in rooms.get(room, ()):
        await websocket.send_text('{"t":"error","p":{"code":"NOT_ALLOWED"}}')
        return
    said[room] += 1
    p = {"room": room, "from": name, "n": said[room], "text": payload["text"]}
    text = json.dumps({"t": "chat.said", "p": p}, separators=(",", ":"))
    for member in tuple(rooms[room]):
        await member.send_text(text)


app.add_api_websocket_route("/wse", chat)


def main() -> None:
    port, implementation = int(sys.argv[1]), sys.argv[2]
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws=implementation,
        ws_per_message_deflate=False,
        log_level="error",
    )
    accepting = listener(port)
    ready("fastapi", "uvicorn", "websockets", "uvloop")
    uvicorn.Server(config).run(sockets=[accepting])


if __name__ == "__main__":
    main()
