"""What `pybench.waker` sends, taken by picows and uvloop in the one thread that there is.

python -m pybench.wake_picows PORT
"""

from __future__ import annotations

import json
import sys
import time

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from pybench.serving import ready, say_delays

handled: list[tuple[int, int]] = []


class Wake(WSListener):
    def __init__(self, _: WSUpgradeRequest) -> None:
        pass

    def on_ws_frame(self, _: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.TEXT:
            return
        message = json.loads(frame.get_payload_as_utf8_text())
        if message["t"] == "wake":
            handled.append((time.monotonic_ns(), message["p"]["at"]))
        else:
            say_delays(handled, message["p"]["written"])


async def main() -> None:
    server = await ws_create_server(Wake, "127.0.0.1", int(sys.argv[1]))
    ready("picows", "uvloop", "aiofastnet")
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
