"""The options of the server, as types for checkers.

Generated from spec/options.toml by `python3 tools/generate.py`; edit that file and run it again.
"""

from __future__ import annotations

from typing import Literal, TypedDict

__all__ = ["ServerOptions"]


class ServerOptions(TypedDict, total=False):
    """The keyword arguments of a server. Each may be left out."""

    max_connections: int
    """How many connections the server admits at a time.

    Default: 1000. Unit: connections. Allowed: an integer from 1 to 16000000.
    """
    handshake_timeout: float
    """How long a client may take to send its whole upgrade request.

    Default: 10.0. Unit: seconds. Allowed: a number of seconds from 0.01 to 3600.
    """
    allowed_origins: list[str] | tuple[str, ...] | None
    """The web origins whose pages may connect; None reads the variable ALLOWED_ORIGINS.

    Default: None. Unit: origins. Allowed: a list of origins such as 'https://app.example.com' (scheme, host
    and optional port; 'null'; or '*' alone), or None.
    """
    path: str | None
    """The only path at which an upgrade is accepted; None accepts any path.

    Default: None. Unit: path. Allowed: a path such as '/wse' (it begins with '/' and has no '?', '#', spaces
    or control characters), or None.
    """
    jwt_secret: bytes | str | None
    """The key that tokens are checked with; None switches authentication off.

    Default: None. Unit: key. Allowed: bytes or text (at least 32 bytes of secret for HS256, a PEM public key
    for RS256, ES256 and EdDSA), or None.
    """
    jwt_algorithm: Literal["HS256", "RS256", "ES256", "EdDSA"]
    """The one signature algorithm that is accepted.

    Default: "HS256". Unit: algorithm. Allowed: 'HS256', 'RS256', 'ES256' or 'EdDSA'.
    """
    jwt_issuer: str | None
    """The `iss` that a token must carry; None does not look at it.

    Default: None. Unit: issuer. Allowed: non-empty text or None.
    """
    jwt_audience: str | None
    """The `aud` that a token must carry; None does not look at it.

    Default: None. Unit: audience. Allowed: non-empty text or None.
    """
    jwt_cookie_name: str | None
    """The cookie that is looked up first for a token; None looks at no cookie.

    Default: "access_token". Unit: cookie. Allowed: a cookie name (letters, digits and !#$%&'*+-.^_`|~), or
    None.
    """
    jwt_previous_secret: bytes | str | None
    """A second key that is accepted while keys are rotated.

    Default: None. Unit: key. Allowed: bytes or text (at least 32 bytes of secret for HS256, a PEM public key
    for RS256, ES256 and EdDSA), or None.
    """
    jwt_key_id: str | None
    """The `kid` that a token's header must carry; None does not look at it.

    Default: None. Unit: key id. Allowed: non-empty text or None.
    """
    jwt_private_key: bytes | str | None
    """The private key with which `mint_token` signs under RS256, ES256 or EdDSA.

    Default: None. Unit: key. Allowed: bytes or text (a PEM private key that belongs to jwt_algorithm RS256,
    ES256 or EdDSA), or None.
    """
    jwks: str | None
    """A file or URL of the issuer's public keys (a JWK Set), in place of `jwt_secret`.

    Default: None. Unit: file or URL. Allowed: the path of a file, a URL that begins with https:// or http://,
    or None.
    """
    max_message_size: int
    """The largest message a client may send, reassembled and inflated.

    Default: 1_048_576. Unit: bytes. Allowed: an integer of bytes from 1 to 1073741824.
    """
    rate_limit_capacity: float
    """How many messages a client may send in one burst.

    Default: 100000.0. Unit: messages. Allowed: a number from 1 to 1e+15.
    """
    rate_limit_refill: float
    """How many messages a second a client may send for as long as it likes.

    Default: 10000.0. Unit: messages per second. Allowed: a number from 0.001 to 1e+15.
    """
    max_subscriptions_per_connection: int
    """How many topics, patterns and queue groups one connection may have together; 0 is unlimited.

    Default: 0. Unit: subscriptions. Allowed: an integer from 0 to 16000000.
    """
    max_outbound_queue_bytes: int
    """How many bytes one client may be behind before `slow_client` decides.

    Default: 16_777_216. Unit: bytes. Allowed: an integer of bytes from 4096 to 1099511627776.
    """
    slow_client: Literal["heal", "gap", "close"]
    """What happens to a client that is further behind than `max_outbound_queue_bytes`.

    Default: "heal". Unit: policy. Allowed: 'heal', 'gap' or 'close'.
    """
    compression: Literal["off", "shared", "full"]
    """How permessage-deflate (RFC 7692) is negotiated with clients that offer it.

    Default: "shared". Unit: mode. Allowed: 'off', 'shared' or 'full'.
    """
    ping_interval: float
    """How often the server pings a client.

    Default: 25.0. Unit: seconds. Allowed: a number of seconds from 0.01 to 86400.
    """
    idle_timeout: float
    """How long a client may be silent before it is closed with 4410.

    Default: 60.0. Unit: seconds. Allowed: a number of seconds from 0.02 to 604800.
    """
    max_inbound_queue_size: int
    """How many events may wait for the Python program.

    Default: 131_072. Unit: events. Allowed: an integer from 1 to 1000000000.
    """
    max_inbound_queue_bytes: int
    """How many bytes of events may wait for the Python program.

    Default: 268_435_456. Unit: bytes. Allowed: an integer of bytes from 1 to 1099511627776.
    """
    max_outbound_total_bytes: int
    """How many bytes may wait for all clients together.

    Default: 1_073_741_824. Unit: bytes. Allowed: an integer of bytes from 4096 to 1099511627776.
    """
    recovery_enabled: bool
    """Whether topics keep a history from which a client that comes back is sent what it missed.

    Default: False. Unit: switch. Allowed: True or False.
    """
    recovery_buffer_size: int
    """How many messages of a topic are kept, rounded up to a power of two.

    Default: 128. Unit: messages. Allowed: an integer from 1 to 16777216.
    """
    recovery_ttl: float
    """How long a message stays recoverable.

    Default: 300.0. Unit: seconds. Allowed: a number of seconds from 0.01 to 31536000.
    """
    recovery_max_messages: int
    """How many messages one recovery may replay.

    Default: 500. Unit: messages. Allowed: an integer from 1 to 16777216.
    """
    recovery_memory_budget: int
    """How many bytes the histories of all topics may hold together.

    Default: 268_435_456. Unit: bytes. Allowed: an integer of bytes from 65536 to 1099511627776.
    """
    presence_enabled: bool
    """Whether the server tracks which users are in a topic.

    Default: False. Unit: switch. Allowed: True or False.
    """
    presence_max_data_size: int
    """How large one user's presence data may be, as JSON.

    Default: 4096. Unit: bytes. Allowed: an integer of bytes from 2 to 1048576.
    """
    presence_max_members: int
    """How many users of one topic are tracked; 0 is unlimited.

    Default: 0. Unit: users. Allowed: an integer from 0 to 16000000.
    """
    client_subscriptions: bool
    """Whether clients may subscribe to topics themselves.

    Default: False. Unit: switch. Allowed: True or False.
    """
    client_publish: bool
    """Whether clients may publish to topics themselves.

    Default: False. Unit: switch. Allowed: True or False.
    """
    trusted_proxies: list[str] | tuple[str, ...]
    """The networks whose X-Forwarded-For and X-Real-IP headers are believed.

    Default: (). Unit: networks. Allowed: a list of networks such as '10.0.0.0/8' or addresses such as
    '192.0.2.7'.
    """
    proxy_protocol: bool
    """Whether connections from `trusted_proxies` begin with a PROXY header (version 1 or 2).

    Default: False. Unit: switch. Allowed: True or False.
    """
    shards: int
    """How many threads serve sockets; 0 is one for each core.

    Default: 0. Unit: threads. Allowed: an integer from 0 to 64.
    """
    api_key: bytes | str | None
    """The key of the HTTP API; None leaves the API off.

    Default: None. Unit: key. Allowed: 32 to 1024 visible ASCII characters without spaces, as bytes or text,
    or None.
    """
