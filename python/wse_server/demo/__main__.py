"""The command line of the demo."""

from __future__ import annotations

import argparse
import importlib.util
import logging
import signal
import sys
from pathlib import Path
from typing import NoReturn

from wse_server.demo.server import Demo
from wse_server.demo.ticker import MAX_RATE


def main(arguments: list[str] | None = None) -> int:
    """Runs the demo until Ctrl-C or SIGTERM. Returns the exit status of the process."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    # SIGTERM, which service managers send, ends the demo the way Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupt)
    demo = Demo(options.host, options.port, rate=options.rate, auth=options.auth)
    try:
        demo.start()
    except OSError as error:
        print(f"{error}\nAnother port: python -m wse_server.demo --port {options.port + 1}", file=sys.stderr)
        return 1
    try:
        print(_welcome(options.host, options.port, demo.token("visitor")), flush=True)
        _serve(demo)
    except KeyboardInterrupt:
        print("\nStopping.", flush=True)
    finally:
        demo.stop()
    return 0


def _serve(demo: Demo) -> NoReturn:
    told = 0
    while True:
        demo.serve_for(250)
        visitors = demo.visitors()
        if visitors != told:
            print(f"{visitors} connected", flush=True)
            told = visitors


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _welcome(host: str, port: int, token: str | None) -> str:
    shown = "localhost" if host in {"127.0.0.1", "0.0.0.0", "::"} else host  # noqa: S104 (compared, not bound)
    page = f"http://{shown}:{port}/"
    socket = f"ws://{shown}:{port}/wse"
    lines = [
        "",
        f"  page       {page}" + (f"#token={token}" if token else ""),
        f"  WebSocket  {socket}",
        f"  health     {page}health",
        *([f"  token      {token}"] if token else []),
        "",
        "  Try next, in another terminal:",
        f"    {_try_next(socket, token)}",
        "",
        "Ctrl-C stops it.",
    ]
    return "\n".join(lines)


def _try_next(socket: str, token: str | None) -> str:
    python = Path(sys.executable)
    if python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    install = "" if importlib.util.find_spec("websockets") else f"{python} -m pip install websockets && "
    if token is None:
        return f"{install}{python} -m websockets {socket}"
    code = (
        "from websockets.sync.client import connect; "
        f"[print(m) for m in connect('{socket}', additional_headers={{'Authorization': 'Bearer {token}'}})]"
    )
    return f'{install}{python} -c "{code}"'


def _rate(text: str) -> int:
    rate = int(text)
    if not 1 <= rate <= MAX_RATE:
        raise argparse.ArgumentTypeError(f"{rate} is not a rate from 1 to {MAX_RATE} messages a second")
    return rate


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m wse_server.demo",
        description="Publishes a ticker from Python to every browser that opens the page.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=5007, help="port to listen on (default: %(default)s)")
    parser.add_argument("--rate", type=_rate, default=20, help="messages a second (default: %(default)s)")
    parser.add_argument("--auth", action="store_true", help="ask visitors for a token, and print one")
    return parser


if __name__ == "__main__":
    sys.exit(main())
