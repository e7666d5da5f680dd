from wse_server import RustWSEServer

server = RustWSEServer(
    "0.0.0.0", 5007,
    max_connections=50_000,
    jwt_secret=b"replace-with-a-strong-secret-key!",
    jwt_issuer="my-app",
    jwt_audience="my-api",
    jwt_cookie_name="access_token",  # optional, default: "access_token"
)
server.enable_drain_mode()
server.start()
