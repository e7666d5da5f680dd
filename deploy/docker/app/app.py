"""A room in which everybody hears what anybody says."""

from dataclasses import dataclass

from wse_server import Connection, Server

server = Server(client_subscriptions=True)


@dataclass
class Line:
    """What somebody says."""

    text: str


@server.on("say")
async def say(connection: Connection, line: Line) -> None:
    """Tells the room."""
    await server.publish("room", {"by": connection.id, "text": line.text}, event="said")
