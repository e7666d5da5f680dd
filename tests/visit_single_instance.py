"""Runs the deployment guide's program in this process and visits the server that it starts.

    python tests/visit_single_instance.py PROGRAM PORT

`test_examples.py` starts it, also on a network of its own, where the program may listen on every address and
on the port that is written in it.
"""

from __future__ import annotations

import fcntl
import runpy
import socket
import struct
import sys
import time
from typing import Any

import jwt

from support import HOST, PATIENCE, Events, dial

SECRET = b"replace-with-a-strong-secret-key!"

# From Linux' ioctl: set the flags of an interface, and the flag for "up".
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1


def main(program: str, port: int) -> None:
    """Fails with an error unless the server behaves as the guide says."""
    bring_loopback_up()
    server = runpy.run_path(program)["server"]
    events = Events(server)
    try:
        with dial(f"ws://{HOST}:{port}/wse", token=token(aud="my-api")) as client:
            assert '"server_ready"' in str(client.recv(PATIENCE))
            ((_, conn_id, user),) = events.wait("auth_connect")
            assert user == "alice", user

            client.send('{"type": "hello", "payload": {"n": 1}}')
            ((_, sender, message),) = events.wait("msg")
            assert (sender, message) == (conn_id, {"t": "hello", "p": {"n": 1}}), message

            server.send(conn_id, "welcome")
            assert client.recv(PATIENCE) == "welcome"
        with dial(
            f"ws://{HOST}:{port}/wse",
            additional_headers={"Cookie": f"access_token={token(aud='my-api')}"},
        ) as client:
            assert '"server_ready"' in str(client.recv(PATIENCE))
        with dial(f"ws://{HOST}:{port}/wse", token=token(aud="another-api")) as client:
            assert '"AUTH_FAILED"' in str(client.recv(PATIENCE))
    finally:
        server.stop()
        events.close()
    print("the guide's program works")


def token(**claims: Any) -> str:
    """Makes a token as the guide's issuer would."""
    now = int(time.time())
    return jwt.encode(
        {"sub": "alice", "iss": "my-app", "iat": now, "exp": now + 60} | claims, SECRET, "HS256"
    )


def bring_loopback_up() -> None:
    """Gives a fresh network its 127.0.0.1. On the machine's own network it is up already."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        try:
            control.bind((HOST, 0))
            control.connect((HOST, 9))
        except OSError:
            fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
