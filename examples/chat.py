"""A chat room: whoever connects is in it and hears what anybody says."""

from wse_server import Connection, Server

server = Server("127.0.0.1", 5007)


@server.on_connect
async def enter(connection: Connection) -> None:
    await connection.subscribe("room")


@server.on("say")
async def say(connection: Connection, text: str) -> None:
    await server.publish("room", text, event="said")


server.run(drain_timeout=0)
