"""The chat on picows and uvloop: a listener per client, called by the transport for each frame.

    python -m pybench.chat_picows PORT

A message is encoded once for its room. Nothing here waits for slow clients, which picows leaves to the
program.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from http.cookies import SimpleCookie

import uvloop
from picows import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    ws_create_server,
)

from pybench.serving import ready

rooms: dict[str, set[WSTransport]] = defaultdict(set)
said: dict[str, int] = defaultdict(int)


class Chat(WSListener):
    def __init__(self, request: WSUpgradeRequest) -> None:
        cookies = SimpleCookie(request.headers["Cookie"])
        self.name, self.room = cookies["name"].value, cookies["room"].value

    def on_ws_connected(self, transport: WSTransport) -> None:
        rooms[self.room].add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        rooms[self.room].discard(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()
        elif frame.msg_type == WSMsgType.TEXT:
            self.handle(transport, json.loads(frame.get_payload_as_utf8_text()))

    def handle(self, transport: WSTransport, message: dict[str, object]) -> None:
        payload = message.get("p")
        if message.get("t") != "chat.send" or not isinstance(payload, dict):
            transport.send(WSMsgType.TEXT, b'{"t":"error","p":{"code":"INVALID_ACTION"}}')
            return
        room = payload["room"]
        if transport not in rooms.get(room, ()):
            transport.send(WSMsgType.TEXT, b'{"t":"error","p":{"code":"NOT_ALLOWED"}}')
            return
        said[room] += 1
        p = {"room": room, "from": self.name, "n": said[room], "text": payload["text"]}
        text = json.dumps({"t": "chat.said", "p": p}, separators=(",", ":")).encode()
        for member in rooms[room]:
            member.send(WSMsgType.TEXT, text)


async def main() -> None:
    server = await ws_create_server(Chat, "127.0.0.1", int(sys.argv[1]), enable_auto_ping=True)
    ready("picows", "uvloop", "aiofastnet")
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
